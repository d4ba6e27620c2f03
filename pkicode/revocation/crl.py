"""CRLs (RFC 5280 section 5): build, read and verify full lists.  Who is revoked, and when to sign, others decide.

The DER is written by hand because cryptography's builder is quadratic in the entries; it is this module's oracle in the
tests.  Delta CRLs, shards and certificateHold are not made here.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NamedTuple

from attrs import field, frozen
from cryptography import x509

from pkicode.model.instants import DAY, HOUR, MINUTE, from_datetime
from pkicode.x509.der import (
    INTEGER,
    OCTET_STRING,
    SEQUENCE,
    bit_string,
    generalized,
    integer,
    oid,
    tlv,
    utc_or_generalized,
)
from pkicode.x509.der import read as header
from pkicode.x509.keys import signature_algorithm
from pkicode.x509.keys import verify as verify_signature
from pkicode.x509.tbs import IssuerFacts

REASONS: Final = {
    "unspecified": 0,
    "keyCompromise": 1,
    "cACompromise": 2,
    "affiliationChanged": 3,
    "superseded": 4,
    "cessationOfOperation": 5,
    "privilegeWithdrawn": 9,
    "aACompromise": 10,
}
"""CRLReason (section 5.3.1) without certificateHold and removeFromCRL: nothing here un-revokes."""

MOST = 1 << 159
"""Serials and CRL numbers stay below this: 20 octets, positive (sections 4.1.2.2 and 5.2.3)."""

_ENUMERATED, _KEY_ID, _CRL_EXTENSIONS = 0x0A, 0x80, 0xA0


class Entry(NamedTuple):
    """One revoked serial.  A tuple: there are a million of them, and it is made in a third of the time."""

    serial: int
    revoked_at: int
    reason: str | None = None
    """A word of REASONS; None and `unspecified` are left out of the entry (section 5.3.1)."""
    invalidity: int | None = None
    """invalidityDate: since when the key is thought to have been compromised."""


@frozen
class CrlFacts:
    """What a CRL says; nothing in here was verified."""

    number: int
    this_update: int
    next_update: int
    dn: bytes
    """DER of the issuer's Name."""
    aki: bytes
    """keyIdentifier."""
    entries: tuple[Entry, ...] = field(repr=False)


def tbs(issuer: IssuerFacts, entries: Iterable[Entry], *, number: int, this_update: int, next_update: int) -> bytes:
    """The TBSCertList of a full v2 CRL, in time linear in the entries.

    Args:
        issuer: who signs; its DN and key identifier are copied byte for byte.
        entries: in ascending order of serial, each serial once.
        number: cRLNumber, above every number this issuer has published.
        this_update: epoch seconds.
        next_update: epoch seconds.

    Raises:
        ValueError: a number, serial, reason or date that a CRL cannot say, or entries out of order.
    """
    if not 0 <= number < MOST:
        raise ValueError(f"CRL number {number:x} does not fit in 20 octets (RFC 5280 section 5.2.3)")
    if next_update <= this_update:
        raise ValueError("a CRL's nextUpdate must lie after its thisUpdate")
    listed = _revoked(entries)
    key_id = tlv(SEQUENCE, tlv(_KEY_ID, issuer.ski))
    return tlv(
        SEQUENCE,
        integer(1),
        signature_algorithm(issuer.alg),
        issuer.dn,
        utc_or_generalized(this_update),
        utc_or_generalized(next_update),
        # An empty revokedCertificates must be absent (section 5.1.2.6).
        tlv(SEQUENCE, listed) if listed else b"",
        tlv(
            _CRL_EXTENSIONS,
            tlv(SEQUENCE, _extension("2.5.29.35", key_id), _extension("2.5.29.20", integer(number))),
        ),
    )


def crl(tbs: bytes, alg: str, signature: bytes) -> bytes:
    """The CertificateList of a TBSCertList and its signature by a key of algorithm `alg`."""
    return tlv(SEQUENCE, tbs, signature_algorithm(alg), bit_string(signature))


def read(der: bytes, *, limit: int) -> CrlFacts:
    """What a stranger's CRL says.

    Raises:
        ValueError: longer than `limit` bytes, not a v2 CRL with number and key identifier, or not a full list.
    """
    if len(der) > limit:
        raise ValueError(f"the CRL has {len(der)} bytes, more than the {limit} allowed")
    try:
        loaded = x509.load_der_x509_crl(der)
        number, aki = _extensions(loaded)
        entries = tuple(map(_entry, loaded))
    except (x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise ValueError(f"the CRL is malformed: {error}") from error
    if loaded.next_update_utc is None:
        raise ValueError("the CRL lacks nextUpdate (RFC 5280 section 5.1.2.5)")
    return CrlFacts(
        number=number,
        this_update=from_datetime(loaded.last_update_utc),
        next_update=from_datetime(loaded.next_update_utc),
        dn=_issuer_dn(_signed(der)),
        aki=aki,
        entries=entries,
    )


def verify(der: bytes, issuer: IssuerFacts) -> None:
    """Check that `issuer` signed this full CRL: DN, key identifier, algorithm and signature.

    Raises:
        ValueError: not a full CRL, or another issuer's.
        SignatureError: the signature is not by the issuer's key.
    """
    try:
        loaded = x509.load_der_x509_crl(der)
        _, aki = _extensions(loaded)
    except (x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise ValueError(f"the CRL is malformed: {error}") from error
    signed = _signed(der)
    if aki != issuer.ski or _issuer_dn(signed) != issuer.dn:
        raise ValueError("the CRL is of another issuer, or of another key of this issuer")
    if not der.endswith(signature_algorithm(issuer.alg) + bit_string(loaded.signature)):
        raise ValueError("the CRL is signed with another algorithm than its issuer's")
    verify_signature(issuer.spki, issuer.alg, signed, loaded.signature)


def _extensions(loaded: x509.CertificateRevocationList) -> tuple[int, bytes]:
    """cRLNumber and keyIdentifier; a critical extension would make it another scope's list (section 5.2.5)."""
    for extension in loaded.extensions:
        if extension.critical:
            raise ValueError(f"the CRL has a critical extension no full list has: {extension.oid.dotted_string}")
    try:
        number = loaded.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        aki = loaded.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    except x509.ExtensionNotFound as error:
        raise ValueError("the CRL lacks its number or its authority key identifier (RFC 5280 section 5.2)") from error
    if aki is None:
        raise ValueError("the CRL's authority key identifier has no keyIdentifier (RFC 5280 section 5.2.1)")
    return number, aki


def _entry(revoked: x509.RevokedCertificate) -> Entry:
    reason, invalidity = None, None
    for extension in revoked.extensions:
        if isinstance(extension.value, x509.CRLReason):
            reason = extension.value.reason.value
        elif isinstance(extension.value, x509.InvalidityDate):
            invalidity = from_datetime(extension.value.invalidity_date_utc)
        elif extension.critical:
            raise ValueError(f"serial {revoked.serial_number:x} has an unknown critical entry extension")
    return Entry(revoked.serial_number, from_datetime(revoked.revocation_date_utc), reason, invalidity)


def _signed(der: bytes) -> bytes:
    """The TBSCertList as it stands: cryptography would encode every entry anew."""
    _, start, _ = header(der)
    _, _, end = header(der, start)
    return der[start:end]


def _issuer_dn(signed: bytes) -> bytes:
    """The Name as it stands, after version and signature."""
    _, place, _ = header(signed)
    for _ in range(2):
        _, _, place = header(signed, place)
    _, _, end = header(signed, place)
    return signed[place:end]


def _revoked(entries: Iterable[Entry]) -> bytes:
    """revokedCertificates without its header.  One bytearray: a million small objects would cost 100 MB."""
    out = bytearray()
    last = 0
    for serial, revoked_at, reason, invalidity in entries:
        if not last < serial < MOST:
            raise ValueError(f"serial {serial:x} in a CRL is below 1, above 20 octets, or not after {last:x}")
        last = serial
        length = (serial.bit_length() >> 3) + 1
        told = _entry_extensions(reason, invalidity)
        day, second = divmod(revoked_at, DAY)
        clock = second // HOUR * 10000 + second % HOUR // MINUTE * 100 + second % MINUTE
        # Times take 15 or 17 octets, and never more than 84 all together: the short form of a length is enough.
        rest = b"%b%06dZ%b" % (_midnight(day), clock, told)
        out += b"%c%c%c%c%b%b" % (SEQUENCE, 2 + length + len(rest), INTEGER, length, serial.to_bytes(length), rest)
    return bytes(out)


@lru_cache(maxsize=4096)
def _midnight(day: int) -> bytes:
    """Tag, length and date of any Time of this day: a million different instants cost little."""
    return utc_or_generalized(day * DAY)[: -len(b"hhmmssZ")]


@lru_cache(maxsize=1024)
def _entry_extensions(reason: str | None, invalidity: int | None) -> bytes:
    code = REASONS.get("unspecified" if reason is None else reason)
    if code is None:
        raise ValueError(f"`{reason}` is not a reason a CRL entry may give; use one of {', '.join(REASONS)}")
    told = _extension("2.5.29.21", tlv(_ENUMERATED, bytes((code,)))) if code else b""
    if invalidity is not None:
        told += _extension("2.5.29.24", generalized(invalidity))
    return tlv(SEQUENCE, told) if told else b""


def _extension(dotted: str, value: bytes) -> bytes:
    return tlv(SEQUENCE, oid(dotted), tlv(OCTET_STRING, value))
