"""The only rooms with windows: SQL, files, tokens, sockets, processes."""
