"""TLS as a scanner needs it, without a socket: hellos, records, what servers say."""
