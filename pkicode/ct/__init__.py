"""Certificate Transparency (RFC 6962): what logs promise.  Logs themselves, and which to ask, are not here."""
