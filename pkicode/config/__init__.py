"""pki.toml: read, resolve, check and edit.  Knows TOML and the shapes of tables, nothing of X.509."""
