"""The engine of change: what differs between pki.toml and state at one instant, and doing it.  Knows no kind."""
