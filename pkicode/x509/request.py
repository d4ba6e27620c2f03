"""Certification requests (PKCS#10, RFC 2986): read one from a stranger and check proof of possession.

Only the public key is taken from it unless a profile names more; never usages or basicConstraints.
"""

import ipaddress
from collections.abc import Iterator

from attrs import field, frozen
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from pkicode.model.names import San, Sans, SanType, Subject
from pkicode.x509 import der, idn, keys, names, pem, weak
from pkicode.x509.extensions import SUBJECT_ALT_NAME

LIMIT = 64 * 1024
_MOST_NAMES = 1000
_VERSION_1 = (der.INTEGER, b"\0")
_EXTENSION_REQUEST, _UPN = der.oid("1.2.840.113549.1.9.14"), der.oid(names.UPN)
_TEXTS = {0x81: SanType.EMAIL, 0x82: SanType.DNS, 0x86: SanType.URI}


@frozen
class Request:
    """A request whose signature verified."""

    spki: bytes
    """DER SubjectPublicKeyInfo."""
    alg: str
    """x509/keys.py's name."""
    _subject: bytes = field(repr=False)
    _attributes: bytes = field(repr=False)

    @property
    def subject(self) -> Subject:
        """The subject it asks for.

        Raises:
            ValueError: it asks for something we could not issue; with the reason.
        """
        return names.subject_from_der(self._subject)

    @property
    def sans(self) -> Sans:
        """The alternative names it asks for, in normal form, each once.

        Raises:
            ValueError: it asks for something we could not issue; with the reason.
        """
        found = list(_general_names(self._attributes))
        if len(found) > _MOST_NAMES:
            raise ValueError(f"the request asks for {len(found)} names; at most {_MOST_NAMES} are read")
        asked = tuple(dict.fromkeys(san_of(tag, content) for tag, content in found))
        for name in asked:
            idn.check(name)
        return asked


def csr(data: bytes) -> Request:
    """Read a request, PEM or DER.

    Raises:
        ValueError: too large, damaged, several at once, a weak or foreign key, or no proof of possession.
    """
    if len(data) > LIMIT:
        raise ValueError(f"a request of {len(data)} octets; at most {LIMIT} are read")
    encoded = data if data[:1] == b"\x30" else _from_pem(data)
    outer = der.children(der.only(encoded, der.SEQUENCE))
    if [tag for tag, _ in outer] != [der.SEQUENCE, der.SEQUENCE, der.BIT_STRING]:
        raise ValueError("not a certification request (RFC 2986 section 4.2)")
    info = der.children(outer[0][1])
    if [tag for tag, _ in info[1:]] != [der.SEQUENCE, der.SEQUENCE, 0xA0] or info[0] != _VERSION_1:
        raise ValueError("not a certification request of version 1 (RFC 2986 section 4.1)")
    spki, signature = der.tlv(*info[2]), outer[2][1]
    alg = keys.alg_of_spki(spki)
    if alg.startswith("rsa-") and isinstance(key := keys.load_spki(spki), RSAPublicKey):
        weak.refuse(key.public_numbers().n)
    if signature[:1] != b"\0":
        raise ValueError("the request's signature is not whole octets")
    try:
        keys.verify(spki, der.tlv(*outer[1]), der.tlv(*outer[0]), signature[1:])
    except keys.SignatureError as error:
        raise ValueError(f"no proof of possession: {error}; make the request again with its private key") from error
    return Request(spki, alg, der.tlv(*info[1]), info[3][1])


def _from_pem(data: bytes) -> bytes:
    # Windows and old OpenSSL write NEW before the label.
    label = "NEW CERTIFICATE REQUEST" if b"-----BEGIN NEW " in data else "CERTIFICATE REQUEST"
    blocks = pem.decode(data, label, limit=LIMIT)
    if len(blocks) > 1:
        raise ValueError(f"{len(blocks)} requests in one file; write each into a file of its own")
    return blocks[0]


def _general_names(attributes: bytes) -> Iterator[tuple[int, bytes]]:
    """The GeneralNames of the SAN extension asked for, if there is one (RFC 2985 section 5.4.2)."""
    for _, attribute in der.children(attributes):
        parts = der.children(attribute)
        if len(parts) != 2 or der.tlv(*parts[0]) != _EXTENSION_REQUEST:
            continue
        for _, extension in der.children(der.only(parts[1][1], der.SEQUENCE)):
            fields = der.children(extension)
            if fields and der.tlv(*fields[0]) == SUBJECT_ALT_NAME:
                yield from der.children(der.only(fields[-1][1], der.SEQUENCE))


def san_of(tag: int, content: bytes) -> San:
    """A GeneralName (RFC 5280 section 4.2.1.6) in normal form.

    Raises:
        ValueError: it is none that we could issue.
    """
    if tag in _TEXTS:
        return names.san(_TEXTS[tag], content.decode("ascii"))
    if tag == 0x87 and len(content) in {4, 16}:
        return names.san(SanType.IP, str(ipaddress.ip_address(content)))
    if tag == 0x88:
        return names.san(SanType.RID, der.dotted(content))
    if tag == 0xA4:
        return names.san(SanType.DIRNAME, names.subject_text(names.subject_from_der(content)))
    if tag == 0xA0:
        (_, oid), (wrapped, value) = der.children(content)
        if der.tlv(der.OID, oid) == _UPN and wrapped == 0xA0:
            return names.san(SanType.UPN, der.only(value, der.UTF8).decode("utf-8"))
    raise ValueError(f"the request asks for a name of tag {tag:#04x} that is not supported")
