"""CRLs (RFC 5280 section 5): build, read and verify full lists and shards.  Who is revoked, and when to sign, others
decide; what a shard is called stands in shards.py.

The DER is written by hand because cryptography's builder is quadratic in the entries; it is this module's oracle in the
tests.  Delta CRLs and certificateHold are not made here.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

from attrs import field, frozen
from cryptography import x509

from pkicode.model.instants import DAY, MINUTE, from_datetime
from pkicode.model.reason import REASONS
from pkicode.x509 import der as asn1
from pkicode.x509.der import (
    INTEGER,
    OCTET_STRING,
    SEQUENCE,
    TRUE,
    UTC_TIME,
    bit_string,
    generalized,
    integer,
    oid,
    opening,
    tlv,
    utc_or_generalized,
)
from pkicode.x509.der import read as header
from pkicode.x509.keys import signature_algorithm
from pkicode.x509.keys import verify as verify_signature
from pkicode.x509.tbs import IssuerFacts

MOST = 1 << 159
"""Serials and CRL numbers stay below this: 20 octets, positive (sections 4.1.2.2 and 5.2.3)."""

_ENUMERATED, _KEY_ID, _CRL_EXTENSIONS = 0x0A, 0x80, 0xA0
_POINT, _FULL_NAME, _URI = 0xA0, 0xA0, 0x86
_NUMBER, _AKI, _IDP, _REASON, _INVALIDITY = "2.5.29.20", "2.5.29.35", "2.5.29.28", "2.5.29.21", "2.5.29.24"
_MINUTES = tuple(b"%02d%02d" % divmod(minute, 60) for minute in range(DAY // MINUTE))
_SECONDS = tuple(b"%02dZ" % second for second in range(MINUTE))
_MINUTE_OF = {text: minute * MINUTE for minute, text in enumerate(_MINUTES)}
_SECOND_OF = {text[:2]: second for second, text in enumerate(_SECONDS)}
_Z = ord("Z")
_REMEMBERED = 1 << 14
"""Days and entry extensions that are kept while a list is written or read."""
_WORDS = {bytes((_ENUMERATED, 1, code)): word for word, code in REASONS.items()}


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
    urls: tuple[str, ...] = ()
    """Of a shard: the fullName of its issuingDistributionPoint.  None: a full list."""


def tbs(
    issuer: IssuerFacts,
    entries: Iterable[Entry],
    *,
    number: int,
    this_update: int,
    next_update: int,
    urls: Sequence[str] = (),
) -> bytes:
    """The TBSCertList of a v2 CRL, in time linear in the entries.

    Args:
        issuer: who signs; its DN and key identifier are copied byte for byte.
        entries: in ascending order of serial, each serial once.
        number: cRLNumber, above every number this issuer has published for this scope.
        this_update: epoch seconds.
        next_update: epoch seconds.
        urls: of a shard, its distribution point: the very URLs in the certificates it is for (critical, 5.2.5).

    Raises:
        ValueError: a number, serial, reason or date that a CRL cannot say, or entries out of order.
    """
    if not 0 <= number < MOST:
        raise ValueError(f"CRL number {number:x} does not fit in 20 octets (RFC 5280 section 5.2.3)")
    if next_update <= this_update:
        raise ValueError("a CRL's nextUpdate must lie after its thisUpdate")
    listed = _revoked(entries)
    extensions = [_extension(_AKI, tlv(SEQUENCE, tlv(_KEY_ID, issuer.ski))), _extension(_NUMBER, integer(number))]
    if urls:
        name = tlv(_FULL_NAME, *(tlv(_URI, url.encode("ascii")) for url in urls))
        extensions.append(_extension(_IDP, tlv(SEQUENCE, tlv(_POINT, name)), critical=True))
    before = (
        integer(1),
        signature_algorithm(issuer.alg),
        issuer.dn,
        utc_or_generalized(this_update),
        utc_or_generalized(next_update),
        # An empty revokedCertificates must be absent (section 5.1.2.6).
        opening(SEQUENCE, len(listed)) if listed else b"",
    )
    after = tlv(_CRL_EXTENSIONS, tlv(SEQUENCE, *extensions))
    return _sequence(*before, listed, after)


def crl(tbs: bytes, alg: str, signature: bytes) -> bytes:
    """The CertificateList of a TBSCertList and its signature by a key of algorithm `alg`."""
    return _sequence(tbs, signature_algorithm(alg), bit_string(signature))


def _sequence(*parts: bytes | bytearray) -> bytes:
    """tlv with one copy of its parts: some are 50 MB."""
    return b"".join((opening(SEQUENCE, sum(map(len, parts))), *parts))


def read(der: bytes, *, limit: int) -> CrlFacts:
    """What a stranger's CRL says.

    Raises:
        ValueError: longer than `limit` bytes, not a v2 CRL with number and key identifier, or neither full nor a shard.
    """
    if len(der) > limit:
        raise ValueError(f"the CRL has {len(der)} bytes, more than the {limit} allowed")
    loaded, number, aki, urls = _loaded(der)
    if loaded.next_update_utc is None:
        raise ValueError("the CRL lacks nextUpdate (RFC 5280 section 5.1.2.5)")
    return CrlFacts(
        number=number,
        this_update=from_datetime(loaded.last_update_utc),
        next_update=from_datetime(loaded.next_update_utc),
        dn=issuer_dn(der),
        aki=aki,
        entries=entries_of(der, loaded),
        urls=urls,
    )


def entries_of(der: bytes, loaded: x509.CertificateRevocationList) -> tuple[Entry, ...]:
    """Every entry of a list, whoever made it; a reason may be one that REASONS does not have.

    Raises:
        ValueError: an entry is malformed, or has a critical extension nobody here knows.
    """
    _, start, end = _places(der)
    found = _quickly(der[start:end])
    try:
        return tuple(map(_entry, loaded)) if found is None else found
    except (x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise ValueError(f"the CRL is malformed: {error}") from error


def issuer_dn(der: bytes) -> bytes:
    """The issuer's Name (DER) as it stands."""
    return _places(der)[0]


def verify(der: bytes, issuer: IssuerFacts) -> None:
    """Check that `issuer` signed this CRL: DN, key identifier, algorithm and signature.  Which scope it is of, `read`
    says: another shard's list verifies as well.

    Raises:
        ValueError: no such CRL, or another issuer's.
        SignatureError: the signature is not by the issuer's key.
    """
    loaded, _, aki, _ = _loaded(der)
    body = signed(der)
    if aki != issuer.ski or issuer_dn(der) != issuer.dn:
        raise ValueError("the CRL is of another issuer, or of another key of this issuer")
    if not der.endswith(signature_algorithm(issuer.alg) + bit_string(loaded.signature)):
        raise ValueError("the CRL is signed with another algorithm than its issuer's")
    verify_signature(issuer.spki, issuer.alg, body, loaded.signature)


def _loaded(der: bytes) -> tuple[x509.CertificateRevocationList, int, bytes, tuple[str, ...]]:
    """The list with its cRLNumber, keyIdentifier and distribution point.

    Any other critical extension, and any other word in an issuingDistributionPoint, would make it a list of a scope
    that is not made here (section 5.2.5).
    """
    try:
        loaded = x509.load_der_x509_crl(der)
        extensions = loaded.extensions
    except (x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise ValueError(f"the CRL is malformed: {error}") from error
    urls: tuple[str, ...] = ()
    for extension in extensions:
        if isinstance(extension.value, x509.IssuingDistributionPoint):
            urls = tuple(one.value for one in extension.value.full_name or () if isinstance(one.value, str))
            if not extension.critical or extension.value != _point(urls):
                raise ValueError("the CRL's issuing distribution point is more, or less, than the URLs of a shard")
        elif extension.critical:
            raise ValueError(f"the CRL has a critical extension no full list has: {extension.oid.dotted_string}")
    try:
        number = extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        aki = extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    except x509.ExtensionNotFound as error:
        raise ValueError("the CRL lacks its number or its authority key identifier (RFC 5280 section 5.2)") from error
    if aki is None:
        raise ValueError("the CRL's authority key identifier has no keyIdentifier (RFC 5280 section 5.2.1)")
    return loaded, number, aki, urls


def _point(urls: Sequence[str]) -> x509.IssuingDistributionPoint | None:
    """What a shard's extension says, and nothing beside."""
    if not urls:
        return None
    names = [x509.UniformResourceIdentifier(url) for url in urls]
    return x509.IssuingDistributionPoint(
        full_name=names,
        relative_name=None,
        only_contains_user_certs=False,
        only_contains_ca_certs=False,
        only_some_reasons=None,
        indirect_crl=False,
        only_contains_attribute_certs=False,
    )


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


def signed(der: bytes) -> bytes:
    """The TBSCertList as it stands: cryptography would encode every entry anew."""
    _, start, _ = header(der)
    _, _, end = header(der, start)
    return der[start:end]


def _places(der: bytes) -> tuple[bytes, int, int]:
    """The issuer as it stands, and where the content of revokedCertificates starts and ends.

    A stranger's list may lack version, nextUpdate and entries.
    """
    _, place, _ = header(der)
    _, place, signed_end = header(der, place)
    tag, _, end = header(der, place)
    if tag == INTEGER:
        _, _, end = header(der, end)
    _, _, place = header(der, end)
    issuer = der[end:place]
    for _ in range(3):
        tag, start, end = header(der, place) if place < signed_end else (0, 0, place)
        if tag == SEQUENCE:
            return issuer, start, end
        place = end
    return issuer, 0, 0


def _quickly(listed: bytes) -> tuple[Entry, ...] | None:
    """The entries of a list that is written as ours are, in a fifth of the time; None if anything in it is otherwise.

    The list was parsed already: lengths are right, and what is left to find out is whether the shape is ours.
    """
    days, told = _DaysRead(), _Told()
    found: list[Entry] = []
    place, size = 0, len(listed)
    try:
        while place < size:
            start = place + 4
            middle, end = start + listed[place + 3], place + 2 + listed[place + 1]
            # Two octets of header, six of the date, four to the minute, two of seconds, and Z.
            if listed[start - 2] != INTEGER or listed[start] >= 0x80 or listed[middle + 14] != _Z or end > size:
                return None
            clock = _MINUTE_OF[listed[middle + 8 : middle + 12]] + _SECOND_OF[listed[middle + 12 : middle + 14]]
            at = days[listed[middle : middle + 8]] + clock
            found.append(Entry(int.from_bytes(listed[start:middle]), at, *told[listed[middle + 15 : end]]))
            place = end
    except (ValueError, LookupError):
        return None
    return tuple(found)


class _DaysRead(dict[bytes, int]):
    """The header and the date of a UTCTime -> epoch seconds."""

    def __missing__(self, time: bytes) -> int:
        if time[:2] != bytes((UTC_TIME, 13)):
            raise ValueError("not a UTCTime")
        year = int(time[2:4])
        text = f"{1900 + year if year >= 50 else 2000 + year}{time[4:].decode()}"
        found = from_datetime(datetime.strptime(text, "%Y%m%d").replace(tzinfo=UTC))
        if len(self) < _REMEMBERED:
            self[time] = found
        return found


class _Told(dict[bytes, tuple[str | None, int | None]]):
    """crlEntryExtensions (DER, with header; b"" for none) -> reason and invalidity."""

    def __missing__(self, extensions: bytes) -> tuple[str | None, int | None]:
        reason, invalidity = None, None
        for _, content in asn1.children(asn1.only(extensions, SEQUENCE)) if extensions else ():
            (_, name), (tag, value) = asn1.children(content)
            if tag != OCTET_STRING:
                raise ValueError("a critical entry extension")
            if asn1.dotted(name) == _REASON:
                reason = _WORDS.get(value)
            elif asn1.dotted(name) == _INVALIDITY and len(value) == 17:
                invalidity = from_datetime(datetime.strptime(value[2:].decode(), "%Y%m%d%H%M%SZ").replace(tzinfo=UTC))
            if reason is None and invalidity is None:
                raise ValueError("an entry extension that is not written here")
        if len(self) < _REMEMBERED:
            self[extensions] = reason, invalidity
        return reason, invalidity


def _revoked(entries: Iterable[Entry]) -> bytearray:
    """revokedCertificates without its header.  One bytearray: a million small objects would cost 100 MB."""
    out = bytearray()
    days = _Days()
    last = 0
    at: int | None = None
    reason: str | None = None
    invalidity: int | None = None
    told = rest = b""
    for serial, revoked_at, why, since in entries:
        if not last < serial < MOST:
            raise ValueError(f"serial {serial:x} in a CRL is below 1, above 20 octets, or not after {last:x}")
        last = serial
        if revoked_at != at or why != reason or since != invalidity:
            if why != reason or since != invalidity:
                told = _entry_extensions(why, since)
            at, reason, invalidity = revoked_at, why, since
            minute, second = divmod(revoked_at % DAY, MINUTE)
            rest = days[revoked_at // DAY] + _MINUTES[minute] + _SECONDS[second] + told
        length = (serial.bit_length() >> 3) + 1
        # Times take 15 or 17 octets, and never more than 84 all together: the short form of a length is enough.
        out += b"0%c\x02%c%b%b" % (2 + length + len(rest), length, serial.to_bytes(length), rest)
    return out


class _Days(dict[int, bytes]):
    """Days since 1970 -> tag, length and date of a Time: a million different instants cost little."""

    def __missing__(self, day: int) -> bytes:
        text = utc_or_generalized(day * DAY)[: -len(b"hhmmssZ")]
        if len(self) < _REMEMBERED:
            self[day] = text
        return text


@lru_cache(maxsize=1024)
def _entry_extensions(reason: str | None, invalidity: int | None) -> bytes:
    code = REASONS.get("unspecified" if reason is None else reason)
    if code is None:
        raise ValueError(f"`{reason}` is not a reason a CRL entry may give; use one of {', '.join(REASONS)}")
    told = _extension(_REASON, tlv(_ENUMERATED, bytes((code,)))) if code else b""
    if invalidity is not None:
        told += _extension(_INVALIDITY, generalized(invalidity))
    return tlv(SEQUENCE, told) if told else b""


def _extension(dotted: str, value: bytes, *, critical: bool = False) -> bytes:
    return tlv(SEQUENCE, oid(dotted), TRUE if critical else b"", tlv(OCTET_STRING, value))
