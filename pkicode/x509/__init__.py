"""X.509 (RFC 5280): keys, names, profiles, requests, to-be-signed bytes, chains and their lint."""
