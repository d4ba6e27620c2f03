"""Names in certificates as plain tuples: subjects and alternative names (RFC 5280 sections 4.1.2.6 and 4.2.1.6).

Syntax and normal forms are decided in x509/names.py; here are only the shapes everybody passes around.
"""

from enum import StrEnum

Subject = tuple[tuple[str, str], ...]
"""Attribute short name (lower case, as in pki.toml: cn, o, ou, c, st, l, ...) and value, in encoding order."""


class SanType(StrEnum):
    DNS = "dns"
    IP = "ip"
    EMAIL = "email"
    URI = "uri"
    RID = "rid"
    UPN = "upn"
    """otherName 1.3.6.1.4.1.311.20.2.3 with a UTF8String."""
    DIRNAME = "dirname"
    """An RFC 4514 string."""


San = tuple[SanType, str]
Sans = tuple[San, ...]
