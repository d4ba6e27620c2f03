"""What versions of TLS are called in pki.toml, findings and tables; their numbers on the wire stand in tls/hello.py."""

VERSIONS = ("SSLv2", "SSLv3", "TLSv1.0", "TLSv1.1", "TLSv1.2", "TLSv1.3")
"""Oldest first (RFC 6101, 2246, 4346, 5246 and 8446; SSLv2 was never one)."""
