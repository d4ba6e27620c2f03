"""What a certificate of a stranger says (RFC 5280), as far as it can be read.  Never raises, and believes nothing.

Texts are the stranger's: faces show them by printable().
"""

import hashlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import TypeVar

from attrs import field, frozen
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import AuthorityInformationAccessOID

from pkicode.ct import sct
from pkicode.model.instants import from_datetime
from pkicode.x509 import der

LIMIT = 64 * 1024
"""Octets of one certificate that are read."""
MOST_SANS = 1_000
"""Alternative names that are kept."""

_SHOWN = 120
_MOST_EXTENSIONS = 100

_Value = TypeVar("_Value")
_Extension = TypeVar("_Extension", bound=x509.ExtensionType)
MALFORMED = (
    ValueError,
    TypeError,
    OverflowError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What cryptography raises of a certificate or response where it is not as its RFC wants it."""
_SAN_TYPES: tuple[tuple[type[x509.GeneralName], str], ...] = (
    (x509.DNSName, "dns"),
    (x509.IPAddress, "ip"),
    (x509.RFC822Name, "email"),
    (x509.UniformResourceIdentifier, "uri"),
    (x509.RegisteredID, "rid"),
    (x509.DirectoryName, "dirname"),
    (x509.OtherName, "other"),
)
_HASHES = {"1.3.101.112": "ed25519", "1.3.101.113": "ed448", "1.2.840.113549.1.1.2": "md2"}
"""Signature OIDs whose hash is inside them, or of which nobody else knows the hash."""


@frozen
class Facts:
    """One certificate; what could not be read is empty, and `trouble` says so."""

    sha256: str
    subject: str
    """RFC 4514."""
    issuer: str
    serial_number: str
    """Lower-case hex; with a sign if somebody signed a negative one."""
    not_before: int | None
    not_after: int | None
    key_alg: str
    """rsa, ec-secp256r1, ed25519, dsa; the OID of others."""
    key_bits: int
    """0 where the algorithm has no size, or is not known."""
    signature_hash: str
    """sha256, sha1, md5, ...; ed25519 and ed448 have theirs inside; the OID of others."""
    spki: str
    """SHA-256 of the SubjectPublicKeyInfo."""
    sans: tuple[str, ...]
    """`type:value`, MOST_SANS at most."""
    sans_count: int
    is_ca: bool
    self_issued: bool
    """Subject and issuer are one name."""
    self_signed: bool
    """Its own key verifies its signature."""
    must_staple: bool
    ocsp_urls: tuple[str, ...]
    crl_urls: tuple[str, ...]
    eku: tuple[str, ...]
    """OIDs; none: for any purpose."""
    scts: tuple[bytes, ...] = field(repr=False)
    """Of RFC 6962 section 3.3, each as it is encoded."""
    trouble: tuple[str, ...]
    loaded: x509.Certificate | None = field(repr=False, eq=False)

    @property
    def called(self) -> str:
        """Its subject for a sentence, or what stands in for one."""
        return short(self.subject) or f"sha256:{self.sha256[:16]}"


def short(text: str) -> str:
    """A stranger's text for a sentence: a name may have 60,000 characters."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


class _Reader:
    """Reads one value after the other, and notes which could not be read."""

    def __init__(self) -> None:
        self.trouble: list[str] = []

    def get(self, what: str, read: Callable[[], _Value], default: _Value) -> _Value:
        try:
            return read()
        except MALFORMED:
            self.trouble.append(f"its {what} cannot be read")
            return default


@lru_cache(maxsize=512)
def facts(certificate: bytes) -> Facts:
    """Everything that is read of a certificate, DER.  One chain serves thousands of hosts, so it is remembered."""
    digest = hashlib.sha256(certificate).hexdigest()
    if len(certificate) > LIMIT:
        return _nothing(digest, f"it has {len(certificate):,} octets, more than the {LIMIT:,} that are read")
    with quietly():
        found = load(certificate)
        return _read(digest, found) if found else _nothing(digest, "it is no certificate")


def load(certificate: bytes) -> x509.Certificate | None:
    """A certificate, DER, without a look at what is in it; None where it is none.  Within `quietly`."""
    try:
        return x509.load_der_x509_certificate(certificate)
    except MALFORMED:
        return None


@contextmanager
def quietly() -> Iterator[None]:
    """What the library will one day refuse, such as a negative serial number, it warns of; a scan meets them all."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        warnings.filterwarnings("ignore", "Attribute's length")
        yield


def public_key(certificate: bytes) -> CertificatePublicKeyTypes | None:
    """The key of a certificate, DER; None where it cannot be read."""
    loaded = facts(certificate).loaded
    try:
        with quietly():
            return loaded.public_key() if loaded else None
    except MALFORMED:
        return None


def name_text(name: bytes) -> str:
    """A distinguished name, DER, as RFC 4514 writes it; "" where it cannot be read."""
    try:
        with quietly():
            return x509.Name.from_bytes(name).rfc4514_string()
    except MALFORMED:
        return ""


def _nothing(digest: str, trouble: str) -> Facts:
    return Facts(
        digest, "", "", "", None, None, "", 0, "", "", (), 0, is_ca=False, self_issued=False, self_signed=False,
        must_staple=False, ocsp_urls=(), crl_urls=(), eku=(), scts=(), trouble=(trouble,), loaded=None,
    )  # fmt: skip


def _read(digest: str, loaded: x509.Certificate) -> Facts:
    reader = _Reader()
    get = reader.get
    extensions, unread = _extensions(loaded)
    reader.trouble += [f"its extension {oid} cannot be read" for oid in unread]
    key_alg, key_bits = get("key", lambda: _key(loaded), ("", 0))
    no_names: tuple[tuple[str, ...], int] = ((), 0)
    sans, count = get("alternative names", lambda: _sans(extensions), no_names)
    basic = _value(extensions, x509.BasicConstraints)
    features = _value(extensions, x509.TLSFeature)
    purposes = _value(extensions, x509.ExtendedKeyUsage)
    self_issued = bool(dn(loaded, "subject")) and dn(loaded, "subject") == dn(loaded, "issuer")
    if count > MOST_SANS:
        reader.trouble.append(f"it has {count:,} alternative names, of which {MOST_SANS:,} are kept")
    return Facts(
        sha256=digest,
        subject=get("subject", lambda: _text(loaded.subject), ""),
        issuer=get("issuer", lambda: _text(loaded.issuer), ""),
        serial_number=get("serial number", lambda: f"{loaded.serial_number:x}", ""),
        not_before=get("notBefore", lambda: from_datetime(loaded.not_valid_before_utc), None),
        not_after=get("notAfter", lambda: from_datetime(loaded.not_valid_after_utc), None),
        key_alg=key_alg,
        key_bits=key_bits,
        signature_hash=get("signature algorithm", lambda: _hash(loaded), ""),
        spki=get("key", lambda: hashlib.sha256(spki(loaded)).hexdigest(), ""),
        sans=sans,
        sans_count=count,
        is_ca=basic.ca if basic else False,
        self_issued=self_issued,
        self_signed=self_issued and is_signed_by(loaded, loaded),
        must_staple=features is not None and x509.TLSFeatureType.status_request in features,
        ocsp_urls=get("authority information access", lambda: _ocsp_urls(extensions), ()),
        crl_urls=get("CRL distribution points", lambda: _crl_urls(extensions), ()),
        eku=tuple(one.dotted_string for one in purposes or ()),
        scts=get("SCTs", lambda: _scts(extensions, unread), ()),
        trouble=tuple(dict.fromkeys(reader.trouble)),
        loaded=loaded,
    )


def _extensions(loaded: x509.Certificate) -> tuple[x509.Extensions, dict[str, bytes]]:
    """What can be read of them, and OID -> value of the others: the library reads all of them or none."""
    try:
        return loaded.extensions, {}
    except MALFORMED:
        pass
    readable: list[x509.Extension[x509.ExtensionType]] = []
    unread: dict[str, bytes] = {}
    try:
        body, algorithm, signature = der.children(der.only(loaded.public_bytes(Encoding.DER), der.SEQUENCE))
        *fields, (_, wrapped) = der.children(body[1])
        rest = b"".join(der.tlv(*field) for field in fields)
        for one in der.children(der.only(wrapped, der.SEQUENCE))[:_MOST_EXTENSIONS]:
            alone = der.tlv(der.SEQUENCE, rest, der.tlv(0xA3, der.tlv(der.SEQUENCE, der.tlv(*one))))
            again = x509.load_der_x509_certificate(
                der.tlv(der.SEQUENCE, alone, der.tlv(*algorithm), der.tlv(*signature))
            )
            try:
                readable += again.extensions
            except MALFORMED:
                parts = der.children(one[1])
                unread[der.dotted(parts[0][1])] = parts[-1][1]
    except MALFORMED:
        unread[""] = b""
    return x509.Extensions(readable), unread or {"that is there twice": b""}


def dn(loaded: x509.Certificate, which: str) -> bytes:
    """The subject or issuer in DER, by which issuers are found; b"" where it has a value that is no text."""
    try:
        return (loaded.subject if which == "subject" else loaded.issuer).public_bytes(Encoding.DER)
    except MALFORMED:
        return b""


def spki(loaded: x509.Certificate) -> bytes:
    """DER SubjectPublicKeyInfo.

    Raises:
        ValueError, UnsupportedAlgorithm: the key is no key, or of an algorithm nobody here knows.
    """
    key = loaded.public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def is_signed_by(issued: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether names and signature fit.  Of validity and CA bits it says nothing."""
    try:
        issued.verify_directly_issued_by(issuer)
    except InvalidSignature:
        return False
    except MALFORMED:
        return _is_signed_the_old_way(issued, issuer)
    return True


def _is_signed_the_old_way(issued: x509.Certificate, issuer: x509.Certificate) -> bool:
    """RSA over SHA-1 or MD5: no longer verified by the library, and still what many roots say of themselves."""
    try:
        key, digest = issuer.public_key(), issued.signature_hash_algorithm
        if issued.issuer != issuer.subject or not isinstance(key, rsa.RSAPublicKey) or digest is None:
            return False
        key.verify(issued.signature, issued.tbs_certificate_bytes, padding.PKCS1v15(), digest)
    except (InvalidSignature, *MALFORMED):
        return False
    return True


def _value(extensions: x509.Extensions, kind: type[_Extension]) -> _Extension | None:
    try:
        return extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _text(name: x509.Name) -> str:
    return name.rfc4514_string()


def _key(loaded: x509.Certificate) -> tuple[str, int]:
    oid = loaded.public_key_algorithm_oid.dotted_string
    if oid in _HASHES:
        return _HASHES[oid], 0
    key = loaded.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return "rsa", key.key_size
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"ec-{key.curve.name}", key.key_size
    return ("dsa", key.key_size) if isinstance(key, dsa.DSAPublicKey) else (oid, 0)


def _hash(loaded: x509.Certificate) -> str:
    oid = loaded.signature_algorithm_oid.dotted_string
    if oid in _HASHES:
        return _HASHES[oid]
    try:
        algorithm = loaded.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return oid
    return algorithm.name if algorithm else oid


def _sans(extensions: x509.Extensions) -> tuple[tuple[str, ...], int]:
    names = _value(extensions, x509.SubjectAlternativeName)
    listed = [] if names is None else list(names)
    return tuple(_san(one) for one in listed[:MOST_SANS]), len(listed)


def _san(name: x509.GeneralName) -> str:
    kind = next((word for cls, word in _SAN_TYPES if isinstance(name, cls)), "other")
    if isinstance(name, x509.DirectoryName):
        return f"{kind}:{name.value.rfc4514_string()}"
    if isinstance(name, x509.RegisteredID):
        return f"{kind}:{name.value.dotted_string}"
    if isinstance(name, x509.OtherName):
        return f"{kind}:{name.type_id.dotted_string}"
    return f"{kind}:{name.value}"


def _ocsp_urls(extensions: x509.Extensions) -> tuple[str, ...]:
    access = _value(extensions, x509.AuthorityInformationAccess)
    return tuple(
        one.access_location.value
        for one in access or ()
        if one.access_method == AuthorityInformationAccessOID.OCSP
        and isinstance(one.access_location, x509.UniformResourceIdentifier)
    )


def _crl_urls(extensions: x509.Extensions) -> tuple[str, ...]:
    points = _value(extensions, x509.CRLDistributionPoints)
    return tuple(
        name.value
        for point in points or ()
        for name in point.full_name or ()
        if isinstance(name, x509.UniformResourceIdentifier)
    )


def _scts(extensions: x509.Extensions, unread: Mapping[str, bytes]) -> tuple[bytes, ...]:
    found = _value(extensions, x509.PrecertificateSignedCertificateTimestamps)
    encoded = (
        found.public_bytes() if found else unread.get(x509.PrecertificateSignedCertificateTimestamps.oid.dotted_string)
    )
    return () if encoded is None else sct.split(der.only(encoded, der.OCTET_STRING))
