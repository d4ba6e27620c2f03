"""Certificate extensions (RFC 5280 section 4.2, RFC 6960, 7633, 9608): one encoder each, with its criticality.

Which of them a certificate has is its profile's; their order is the form's (tbs.py).
"""

from collections.abc import Sequence

from pkicode.model.names import Sans
from pkicode.x509 import der, names

SUBJECT_KEY_IDENTIFIER = der.oid("2.5.29.14")
KEY_USAGE = der.oid("2.5.29.15")
SUBJECT_ALT_NAME = der.oid("2.5.29.17")
BASIC_CONSTRAINTS = der.oid("2.5.29.19")
NAME_CONSTRAINTS = der.oid("2.5.29.30")
CRL_DISTRIBUTION_POINTS = der.oid("2.5.29.31")
CERTIFICATE_POLICIES = der.oid("2.5.29.32")
AUTHORITY_KEY_IDENTIFIER = der.oid("2.5.29.35")
EXTENDED_KEY_USAGE = der.oid("2.5.29.37")
NO_REV_AVAIL = der.oid("2.5.29.56")
AUTHORITY_INFO_ACCESS = der.oid("1.3.6.1.5.5.7.1.1")
TLS_FEATURE = der.oid("1.3.6.1.5.5.7.1.24")
OCSP_NOCHECK = der.oid("1.3.6.1.5.5.7.48.1.5")

OCSP, CA_ISSUERS = der.oid("1.3.6.1.5.5.7.48.1"), der.oid("1.3.6.1.5.5.7.48.2")

KEY_USAGES = {
    "digitalSignature": 0,
    "nonRepudiation": 1,
    "contentCommitment": 1,
    "keyEncipherment": 2,
    "dataEncipherment": 3,
    "keyAgreement": 4,
    "keyCertSign": 5,
    "cRLSign": 6,
    "encipherOnly": 7,
    "decipherOnly": 8,
}
"""Bit of each word; contentCommitment is X.509's newer word for nonRepudiation."""

EXTENDED_KEY_USAGES = {
    "serverAuth": "1.3.6.1.5.5.7.3.1",
    "clientAuth": "1.3.6.1.5.5.7.3.2",
    "codeSigning": "1.3.6.1.5.5.7.3.3",
    "emailProtection": "1.3.6.1.5.5.7.3.4",
    "timeStamping": "1.3.6.1.5.5.7.3.8",
    "OCSPSigning": "1.3.6.1.5.5.7.3.9",
    "ipsecIKE": "1.3.6.1.5.5.7.3.17",
    "documentSigning": "1.3.6.1.5.5.7.3.36",
    "anyExtendedKeyUsage": "2.5.29.37.0",
}


def _extension(oid: bytes, value: bytes, *, critical: bool = False) -> bytes:
    return der.tlv(der.SEQUENCE, oid, der.TRUE if critical else b"", der.tlv(der.OCTET_STRING, value))


def basic_constraints(path_len: int | None) -> bytes:
    """cA TRUE, critical (4.2.1.9)."""
    length = b"" if path_len is None else der.integer(path_len)
    return _extension(BASIC_CONSTRAINTS, der.tlv(der.SEQUENCE, der.TRUE, length), critical=True)


def key_usage(usage: Sequence[str]) -> bytes:
    """Critical (4.2.1.3)."""
    return _extension(KEY_USAGE, der.named_bits({KEY_USAGES[word] for word in usage}), critical=True)


def extended_key_usage(eku: Sequence[str]) -> bytes:
    """Critical only for time stamping, where RFC 3161 section 2.3 wants it so (4.2.1.12)."""
    oids = [der.oid(EXTENDED_KEY_USAGES.get(word, word)) for word in eku]
    return _extension(EXTENDED_KEY_USAGE, der.tlv(der.SEQUENCE, *oids), critical="timeStamping" in eku)


def name_constraints(value: bytes) -> bytes:
    """Critical (4.2.1.10); the value is made in constraints.py."""
    return _extension(NAME_CONSTRAINTS, value, critical=True)


def certificate_policies(policies: Sequence[str]) -> bytes:
    """OIDs without qualifiers, as 4.2.1.4 recommends."""
    values = [der.tlv(der.SEQUENCE, der.oid(policy)) for policy in policies]
    return _extension(CERTIFICATE_POLICIES, der.tlv(der.SEQUENCE, *values))


def crl_distribution_points(urls: Sequence[str]) -> bytes:
    """One point: several URLs are several ways to the same CRL (4.2.1.13)."""
    full_name = der.tlv(0xA0, *(_uri(url) for url in urls))
    point = der.tlv(der.SEQUENCE, der.tlv(0xA0, full_name))
    return _extension(CRL_DISTRIBUTION_POINTS, der.tlv(der.SEQUENCE, point))


def authority_info_access(ocsp_urls: Sequence[str], ca_issuer_urls: Sequence[str]) -> bytes:
    """OCSP responders, then the issuer's certificate (4.2.2.1)."""
    methods = [(OCSP, url) for url in ocsp_urls] + [(CA_ISSUERS, url) for url in ca_issuer_urls]
    values = [der.tlv(der.SEQUENCE, method, _uri(url)) for method, url in methods]
    return _extension(AUTHORITY_INFO_ACCESS, der.tlv(der.SEQUENCE, *values))


def subject_key_identifier(ski: bytes) -> bytes:
    """4.2.1.2."""
    return _extension(SUBJECT_KEY_IDENTIFIER, der.tlv(der.OCTET_STRING, ski))


def authority_key_identifier(ski: bytes) -> bytes:
    """keyIdentifier only (4.2.1.1): issuer and serial would nail the chain to one certificate of the issuer."""
    return _extension(AUTHORITY_KEY_IDENTIFIER, der.tlv(der.SEQUENCE, der.tlv(0x80, ski)))


def subject_alt_name(sans: Sans, *, critical: bool) -> bytes:
    """Critical exactly when the subject is empty (4.2.1.6)."""
    return _extension(SUBJECT_ALT_NAME, names.sans_der(sans), critical=critical)


def ocsp_nocheck() -> bytes:
    """RFC 6960 section 4.2.2.2.1."""
    return _extension(OCSP_NOCHECK, der.tlv(der.NULL))


def must_staple() -> bytes:
    """TLS feature status_request (RFC 7633)."""
    return _extension(TLS_FEATURE, der.tlv(der.SEQUENCE, der.integer(5)))


def no_rev_avail() -> bytes:
    """RFC 9608."""
    return _extension(NO_REV_AVAIL, der.tlv(der.NULL))


def _uri(url: str) -> bytes:
    return der.tlv(0x86, url.encode("ascii"))
