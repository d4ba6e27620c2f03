"""A stranger's CRL (RFC 5280 sections 5 and 6.3): what it says, and whether to believe it.  Needs no state and no key.

Lenient where it shows, strict where it judges: what cannot be understood is a finding, never passed over.
"""

import hashlib
from collections.abc import Iterable, Iterator
from typing import TypeVar

from attrs import field, frozen
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from pkicode.model.instants import from_datetime, rfc3339
from pkicode.revocation import crl
from pkicode.x509 import der as asn1
from pkicode.x509 import pem, tbs
from pkicode.x509.keys import SignatureError, verify

LIMIT = 128 * 1024 * 1024
"""Octets of a CRL: two million entries."""

_OF_USERS, _OF_CAS = "user certificates only", "CA certificates only"
_MALFORMED = (x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError, TypeError)
_Kind = TypeVar("_Kind", bound=x509.ExtensionType)


@frozen
class Shown:
    """What a CRL says; nothing in here was verified."""

    issuer: str
    """RFC 4514 text, of a stranger."""
    number: int | None
    this_update: int
    next_update: int | None
    aki: str
    """keyIdentifier, hex; "" where there is none."""
    signature: str
    """OID of the signature algorithm."""
    urls: tuple[str, ...]
    """Of the issuing distribution point: a shard's."""
    scope: tuple[str, ...]
    """What else limits it: `delta of 7`, `user certificates only`, ..."""
    unknown: tuple[str, ...]
    """OIDs of critical extensions that are not understood."""
    entries: tuple[crl.Entry, ...] = field(repr=False)
    sha256: str
    der: bytes = field(repr=False)
    loaded: x509.CertificateRevocationList = field(repr=False, eq=False)
    """The same, taken apart: a large one takes its time for each."""


def show(data: bytes) -> Shown:
    """Read a CRL, DER or PEM.

    Raises:
        ValueError: it is none, more than one, or larger than LIMIT.
    """
    der = _der(data)
    try:
        loaded = x509.load_der_x509_crl(der)
        extensions = loaded.extensions
        point, delta = _value(extensions, x509.IssuingDistributionPoint), _value(extensions, x509.DeltaCRLIndicator)
        number, aki = _value(extensions, x509.CRLNumber), _value(extensions, x509.AuthorityKeyIdentifier)
        return Shown(
            issuer=loaded.issuer.rfc4514_string(),
            number=number.crl_number if number else None,
            this_update=from_datetime(loaded.last_update_utc),
            next_update=from_datetime(loaded.next_update_utc) if loaded.next_update_utc else None,
            aki=(aki.key_identifier or b"").hex() if aki else "",
            signature=loaded.signature_algorithm_oid.dotted_string,
            urls=_urls(point.full_name if point else None),
            scope=tuple(_limits(point, delta)),
            unknown=tuple(
                one.oid.dotted_string
                for one in extensions
                if one.critical and not isinstance(one.value, x509.IssuingDistributionPoint | x509.DeltaCRLIndicator)
            ),
            entries=crl.entries_of(der, loaded),
            sha256=hashlib.sha256(der).hexdigest(),
            der=der,
            loaded=loaded,
        )
    except _MALFORMED as error:
        raise ValueError(f"it is not a CRL: {error}") from error


def _der(data: bytes) -> bytes:
    if len(data) > LIMIT:
        raise ValueError(f"it has more than {LIMIT:,} octets")
    if b"-----BEGIN" not in data[:4096]:
        return data
    found = pem.decode(data, "X509 CRL", limit=LIMIT)
    if len(found) > 1:
        raise ValueError(f"there are {len(found)} CRLs in it; give one at a time")
    return found[0]


def _value(extensions: x509.Extensions, kind: type[_Kind]) -> _Kind | None:
    try:
        return extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _urls(names: Iterable[x509.GeneralName] | None) -> tuple[str, ...]:
    return tuple(one.value for one in names or () if isinstance(one, x509.UniformResourceIdentifier))


def _limits(point: x509.IssuingDistributionPoint | None, delta: x509.DeltaCRLIndicator | None) -> Iterator[str]:
    if delta:
        yield f"a delta of number {delta.crl_number}"
    if point:
        yield from (
            words
            for words, holds in (
                (_OF_USERS, point.only_contains_user_certs),
                (_OF_CAS, point.only_contains_ca_certs),
                ("attribute certificates only", point.only_contains_attribute_certs),
                ("some reasons only", point.only_some_reasons is not None),
                ("indirect: entries of other issuers", point.indirect_crl),
                ("a distribution point that is no URL", not _urls(point.full_name) and point.full_name),
                ("a distribution point relative to its issuer", point.relative_name is not None),
            )
            if holds
        )


@frozen
class Verdict:
    """What is to be thought of a CRL, and of the certificate that was asked about."""

    findings: tuple[str, ...]
    """Why the list may not be relied on, a sentence each; none: it may."""
    notes: tuple[str, ...]
    """What RFC 5280 wants otherwise, and relying parties bear."""
    status: str
    """`good`, `revoked`, `unknown` where the list may not be relied on; "" when nobody asked about a certificate."""
    entry: crl.Entry | None


def check(
    shown: Shown, issuer: bytes, *, now: int, serial: int | None = None, certificate: bytes | None = None
) -> Verdict:
    """Whether `issuer` signed this list, it is in force, and what it says of one certificate.

    Args:
        shown: what `show` read.
        issuer: the CA's certificate, DER.
        now: epoch seconds.
        serial: of the certificate asked about.
        certificate: the same certificate, DER, whose scope is then looked at too.

    Raises:
        ValueError: a certificate is none.
    """
    ca = x509.load_der_x509_certificate(issuer)
    leaf = x509.load_der_x509_certificate(certificate) if certificate else None
    findings = [*in_force(shown, ca, now=now), *scope(shown, leaf, ca)]
    wanted = leaf.serial_number if leaf else serial
    entry = next((one for one in shown.entries if one.serial == wanted), None)
    status = ""
    if wanted is not None:
        status = "revoked" if entry else "unknown" if findings else "good"
    return Verdict(tuple(findings), tuple(_bearable(shown)), status, entry)


def in_force(shown: Shown, ca: x509.Certificate, *, now: int) -> tuple[str, ...]:
    """Why a list is not this CA's of today, whomever it is asked about; costs a second for each 300 MB."""
    return (*_signed(shown, ca), *_fresh(shown, now))


def _signed(shown: Shown, ca: x509.Certificate) -> Iterator[str]:
    loaded = shown.loaded
    if crl.issuer_dn(shown.der) != ca.subject.public_bytes(Encoding.DER) and loaded.issuer != ca.subject:
        yield f"it is of `{shown.issuer}`, not of `{ca.subject.rfc4514_string()}`"
        return
    ski, usage = _value(ca.extensions, x509.SubjectKeyIdentifier), _value(ca.extensions, x509.KeyUsage)
    if ski and shown.aki and ski.digest.hex() != shown.aki:
        yield f"it is signed with the key {shown.aki}; this certificate has the key {ski.digest.hex()}"
        return
    if usage and not usage.crl_sign:
        yield "this certificate may not sign CRLs (RFC 5280 section 6.3.3)"
    try:
        _verify(shown, ca)
    except (TypeError, ValueError, UnsupportedAlgorithm, InvalidSignature, SignatureError):
        yield "its signature is not by the key of this certificate"


def _verify(shown: Shown, ca: x509.Certificate) -> None:
    """Over the octets as they stand: the library's own check encodes every entry anew, once for each CA that a stranger
    names.

    Raises:
        ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature, SignatureError: another key's, or nobody's.
    """
    loaded, key, signed = shown.loaded, ca.public_key(), crl.signed(shown.der)
    how, digest = loaded.signature_algorithm_parameters, loaded.signature_hash_algorithm
    if isinstance(key, rsa.RSAPublicKey) and isinstance(how, padding.PKCS1v15 | padding.PSS) and digest:
        key.verify(loaded.signature, signed, how, digest)
    elif isinstance(key, ec.EllipticCurvePublicKey) and isinstance(how, ec.ECDSA):
        key.verify(loaded.signature, signed, how)
    else:
        _, algorithm, _ = asn1.children(asn1.only(shown.der, asn1.SEQUENCE))
        spki = tbs.facts_of(ca.public_bytes(Encoding.DER)).spki
        verify(spki, asn1.tlv(*algorithm), signed, loaded.signature)


def _fresh(shown: Shown, now: int) -> Iterator[str]:
    if shown.this_update > now:
        yield f"it is not in force yet: its thisUpdate is {rfc3339(shown.this_update)}"
    if shown.next_update is not None and shown.next_update < now:
        yield f"it is stale: its nextUpdate was {rfc3339(shown.next_update)}"


def scope(shown: Shown, leaf: x509.Certificate | None, ca: x509.Certificate) -> Iterator[str]:
    """Why a list cannot tell of this certificate, or, without one, not of all of the CA's."""
    own = _ofs(leaf) if leaf else ""
    yield from (f"it is not a complete list: {limit}" for limit in shown.scope if limit != own)
    yield from (f"it has a critical extension that is not understood: {oid}" for oid in shown.unknown)
    if leaf is None:
        return
    try:
        leaf.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature):
        yield "the certificate asked about was not issued by this CA"
        return
    points = _value(leaf.extensions, x509.CRLDistributionPoints)
    named = {url for point in points or () for url in _urls(point.full_name)}
    if shown.urls and not named.intersection(shown.urls):
        yield f"it is a shard of other certificates: {', '.join(shown.urls)}"


def _ofs(leaf: x509.Certificate) -> str:
    """The limit of a list that is for certificates of this kind: many CAs have one list for each."""
    basic = _value(leaf.extensions, x509.BasicConstraints)
    return _OF_CAS if basic and basic.ca else _OF_USERS


def _bearable(shown: Shown) -> Iterator[str]:
    if shown.number is None:
        yield "it has no number (RFC 5280 section 5.2.3)"
    if not shown.aki:
        yield "it has no authority key identifier (RFC 5280 section 5.2.1)"
    if shown.next_update is None:
        yield "it has no nextUpdate (RFC 5280 section 5.1.2.5)"
