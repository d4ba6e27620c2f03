"""PKI as code: certificates, CAs, revocation and publication described in one pki.toml, planned and applied."""

__version__ = "0.1.0"
