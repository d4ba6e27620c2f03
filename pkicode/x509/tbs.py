"""To-be-signed certificates (RFC 5280 section 4.1), spliced: the parts a profile fixes are encoded once.

What goes in is checked elsewhere (profile.py, names.py, constraints.py, lint/); the law that the bytes are those of
an independent builder stands in tests/x509/test_tbs.py.
"""

import hashlib

from attrs import frozen

from pkicode.model.names import Sans
from pkicode.x509 import constraints, der, extensions, keys
from pkicode.x509.profile import Profile

_V3 = der.tlv(0xA0, der.integer(2))
_EMPTY_NAME = der.tlv(der.SEQUENCE)
SERIAL_LIMIT = 1 << 159
"""Serials are positive and take at most 20 octets (RFC 5280 section 4.1.2.2)."""


@frozen
class IssuerFacts:
    """What a certificate says of its issuer, copied byte for byte from the issuer's own certificate."""

    dn: bytes
    """DER Name."""
    ski: bytes
    spki: bytes
    """DER SubjectPublicKeyInfo."""
    alg: str
    """Key algorithm, x509/keys.py's name."""


def self_issued(subject: bytes, spki: bytes) -> IssuerFacts:
    """The facts of a root that signs itself."""
    return IssuerFacts(subject, ski(spki), spki, keys.alg_of_spki(spki))


def facts_of(certificate: bytes) -> IssuerFacts:
    """What certificates below an issuer say of it, byte for byte from its certificate.

    Raises:
        ValueError: not a certificate.
    """
    fields = leading(certificate, 7)
    return self_issued(fields[5], fields[6])


def leading(certificate: bytes, count: int) -> list[bytes]:
    """The first fields of a certificate's TBS, headers included: version, serialNumber, signature, issuer, validity,
    subject, subjectPublicKeyInfo (RFC 5280 section 4.1).

    Raises:
        ValueError: not a certificate.
    """
    _, start, _ = der.read(certificate)
    _, offset, _ = der.read(certificate, start)
    fields = []
    for _ in range(count):
        _, _, end = der.read(certificate, offset)
        fields.append(certificate[offset:end])
        offset = end
    return fields


def ski(spki: bytes) -> bytes:
    """Key identifier: the leftmost 160 bits of the SHA-256 of the BIT STRING's value (RFC 7093 section 2, method 1)."""
    return hashlib.sha256(keys.key_bits(spki)).digest()[:20]


@frozen
class Form:
    """A profile under an issuer, compiled; picklable, and cheap to fill in."""

    _signature_and_issuer: bytes
    _fixed_extensions: bytes

    def tbs(self, *, serial: int, not_before: int, not_after: int, subject: bytes, spki: bytes, sans: Sans) -> bytes:
        """The TBSCertificate.

        Args:
            serial: positive, at most 20 octets.
            not_before: first second of validity.
            not_after: last second of validity.
            subject: DER Name.
            spki: DER SubjectPublicKeyInfo.
            sans: in normal form; without any there is no SAN extension.

        Raises:
            ValueError: a serial out of range, a validity that ends before it begins, or no name at all.
        """
        if not 0 < serial < SERIAL_LIMIT:
            raise ValueError("a serial number is positive and takes at most 20 octets (RFC 5280 section 4.1.2.2)")
        if not_after < not_before:
            raise ValueError("the validity ends before it begins")
        unnamed = subject == _EMPTY_NAME
        if unnamed and not sans:
            raise ValueError("a certificate needs a subject or an alternative name (RFC 5280 section 4.1.2.6)")
        parts = [self._fixed_extensions, extensions.subject_key_identifier(ski(spki))]
        if sans:
            parts.append(extensions.subject_alt_name(sans, critical=unnamed))
        return der.tlv(
            der.SEQUENCE,
            _V3,
            der.integer(serial),
            self._signature_and_issuer,
            der.tlv(der.SEQUENCE, der.utc_or_generalized(not_before), der.utc_or_generalized(not_after)),
            subject,
            spki,
            der.tlv(0xA3, der.tlv(der.SEQUENCE, *parts)),
        )


def form(profile: Profile, issuer: IssuerFacts, subject_alg: str = "") -> Form:
    """Compile a profile for an issuer; give `subject_alg` when every key of the batch is of one algorithm.

    Extensions stand in this order: those the profile fixes, then SKI and SAN, so that lint can know the fixed ones by
    their bytes.  A leaf has no basicConstraints: absent is not a CA (RFC 5280 section 4.2.1.9), in fewer octets than
    the empty SEQUENCE that would say the same.

    Raises:
        ValueError: the profile is wrong; all of `Profile.check` in one text.
    """
    wrong = profile.check(subject_alg)
    if wrong:
        raise ValueError("; ".join(wrong))
    return Form(keys.signature_algorithm(issuer.alg) + issuer.dn, b"".join(_fixed(profile, issuer)))


def _fixed(profile: Profile, issuer: IssuerFacts) -> list[bytes]:
    parts = [extensions.basic_constraints(profile.path_len)] if profile.is_ca else []
    parts.append(extensions.key_usage(profile.usage))
    if profile.eku:
        parts.append(extensions.extended_key_usage(profile.eku))
    if profile.constraints is not None and not profile.constraints.is_empty:
        parts.append(extensions.name_constraints(constraints.extension_der(profile.constraints)))
    if profile.policies:
        parts.append(extensions.certificate_policies(profile.policies))
    if profile.crl_urls:
        parts.append(extensions.crl_distribution_points(profile.crl_urls))
    if profile.ocsp_urls or profile.ca_issuer_urls:
        parts.append(extensions.authority_info_access(profile.ocsp_urls, profile.ca_issuer_urls))
    if profile.ocsp_nocheck:
        parts.append(extensions.ocsp_nocheck())
    if profile.must_staple:
        parts.append(extensions.must_staple())
    if profile.no_rev_avail:
        parts.append(extensions.no_rev_avail())
    parts.append(extensions.authority_key_identifier(issuer.ski))
    return parts


def certificate(tbs: bytes, alg: str, signature: bytes) -> bytes:
    """The certificate: `alg` is the issuer's key algorithm."""
    return der.tlv(der.SEQUENCE, tbs, keys.signature_algorithm(alg), der.bit_string(signature))
