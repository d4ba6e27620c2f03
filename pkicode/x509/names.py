"""Names in certificates: subjects and alternative names, their normal forms and DER (RFC 5280 4.1.2.4, 4.2.1.6).

One name has one normal form, so that equal names compare equal; junk is refused with the reason.  Who may have which
name is decided in constraints.py.
"""

import difflib
import ipaddress
import re
import unicodedata
from collections.abc import Iterable

from attrs import frozen

from pkicode.model.names import San, Sans, SanType, Subject
from pkicode.x509 import der

UPN = "1.3.6.1.4.1.311.20.2.3"


@frozen
class _Attribute:
    oid: str
    text: str
    """Its name in RFC 4514 text; beyond the RFC's nine, the one OpenSSL prints."""
    longest: int
    """Characters: RFC 5280 appendix A.1; where it has no bound, one of our own."""
    tag: int = der.UTF8


_ATTRIBUTES = {
    "cn": _Attribute("2.5.4.3", "CN", 64),
    "sn": _Attribute("2.5.4.4", "SN", 64),
    "serialnumber": _Attribute("2.5.4.5", "serialNumber", 64, der.PRINTABLE),
    "c": _Attribute("2.5.4.6", "C", 2, der.PRINTABLE),
    "l": _Attribute("2.5.4.7", "L", 128),
    "st": _Attribute("2.5.4.8", "ST", 128),
    "street": _Attribute("2.5.4.9", "street", 128),
    "o": _Attribute("2.5.4.10", "O", 64),
    "ou": _Attribute("2.5.4.11", "OU", 64),
    "title": _Attribute("2.5.4.12", "title", 64),
    "gn": _Attribute("2.5.4.42", "GN", 64),
    "email": _Attribute("1.2.840.113549.1.9.1", "emailAddress", 254, der.IA5),
    "uid": _Attribute("0.9.2342.19200300.100.1.1", "UID", 256),
    "dc": _Attribute("0.9.2342.19200300.100.1.25", "DC", 63, der.IA5),
}
_BY_TEXT = {attribute.text.lower(): name for name, attribute in _ATTRIBUTES.items()}
_BY_OID = {der.oid(attribute.oid): name for name, attribute in _ATTRIBUTES.items()}

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_HOST = re.compile(rf"(?:{_LABEL.pattern}\.)*(?![0-9]+$){_LABEL.pattern}")
"""A host name in normal form, but for its length."""
_PRINTABLE = re.compile(r"[A-Za-z0-9 '()+,./:=?-]+")
_LOCAL_PART = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):((?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+)")
_DOT_SEGMENT = re.compile(r"(?:^|/)(?:\.|%2e){1,2}(?:/|[?#]|$)", re.IGNORECASE)
_RFC4514 = re.compile(r"\s*([A-Za-z]+)=(?!#)((?:\\[0-9A-Fa-f]{2}|\\[^0-9A-Za-z]|[^\\,+\"<>;\0])+),")
_HOSTLIKE = re.compile(r"(?:\*\.)?(?:[A-Za-z0-9_-]+\.)+[A-Za-z0-9_-]+\.?")


def _no_junk(text: str) -> None:
    """Refuse what no name may hold: nothing at all, outer blanks, controls, and marks that change how text reads."""
    if not text:
        raise ValueError("an empty name is no name; leave the line out")
    if text != text.strip():
        raise ValueError("a name neither begins nor ends with a blank")
    if text.isascii() and text.isprintable():
        return
    for character in text:
        if unicodedata.category(character) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}:
            raise ValueError(f"the character U+{ord(character):04X} is invisible or a control; remove it")


def _ascii(text: str) -> None:
    if not text.isascii():
        raise ValueError("only ASCII letters, digits and signs can stand here")


def host(text: str) -> str:
    """A DNS host name in normal form: A-labels, lower case, no trailing dot.

    Raises:
        ValueError: with the reason.
    """
    if len(text) <= 253 and _HOST.fullmatch(text):
        return text  # nearly every one; what is wrong with the others is told below
    _no_junk(text)
    if not text.isascii():
        raise ValueError(f"`{text}` is not ASCII; write its A-label form{_a_label(text)}")
    lower = text.lower()
    labels = lower.split(".")
    if lower.endswith("."):
        raise ValueError("no trailing dot: certificates hold relative names only")
    if "" in labels:
        raise ValueError("two dots follow each other, or a name begins with one")
    if len(lower) > 253:
        raise ValueError(f"a host name has at most 253 characters, this one {len(lower)}")
    for label in labels:
        if not _LABEL.fullmatch(label):
            raise ValueError(f"`{label}` is not a host label: {_wrong_label(label)}")
    if labels[-1].isdigit():
        raise ValueError("a host name does not end in a number; an address belongs in `ip`")
    return lower


def _a_label(text: str) -> str:
    try:
        return ", `" + text.encode("idna").decode("ascii").lower() + "`"
    except UnicodeError:
        return ""


def _wrong_label(label: str) -> str:
    if "_" in label:
        return "an underscore belongs in service records, not in certificates"
    if "*" in label:
        return "a wildcard is the whole left label and nothing else"
    if len(label) > 63:
        return f"it has {len(label)} characters, at most 63 are allowed"
    if label.startswith("-") or label.endswith("-"):
        return "a hyphen neither begins nor ends it"
    return "letters, digits and inner hyphens only"


def _dns(text: str) -> str:
    if not text.startswith("*"):
        return host(text)
    below = text.removeprefix("*.")
    if below == text:
        raise ValueError("a wildcard is one whole left label: `*.` and a name below which it stands")
    name = host(below)
    if "." not in name:
        raise ValueError(f"`*.{name}` would stand for all of a top-level domain")
    return f"*.{name}"


def _ip(text: str) -> str:
    _no_junk(text)
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise ValueError("not an IPv4 or IPv6 address; networks belong in constraints and allow-lists") from None
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id:
        raise ValueError("a zone index means something on one host only; remove it")
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        raise ValueError(f"write the IPv4 address itself, {address.ipv4_mapped}")
    return str(address)


def mailbox(text: str) -> str:
    """`local@host`, the host in normal form; the local part keeps its case (RFC 5321 section 2.4).

    Raises:
        ValueError: with the reason.
    """
    _no_junk(text)
    _ascii(text)
    local, at, domain = text.rpartition("@")
    if not at or not _LOCAL_PART.fullmatch(local) or len(local) > 64:
        raise ValueError("not a mailbox; write local-part@host, without quotes, brackets or a display name")
    if len(text) > 254:
        raise ValueError("a mailbox has at most 254 characters")
    return f"{local}@{host(domain)}"


def uri_host(uri: str) -> str | None:
    """The host of a URI in normal form, None where it has no authority."""
    _, _, rest = uri.partition(":")
    if not rest.startswith("//"):
        return None
    authority = re.split(r"[/?#]", rest[2:], maxsplit=1)[0]
    return authority if authority.startswith("[") else authority.partition(":")[0]


def _uri(text: str) -> str:
    _no_junk(text)
    _ascii(text)
    match = _URI.fullmatch(text)
    if not match:
        raise ValueError("not an absolute URI; write scheme:..., with % and two digits for other characters")
    if len(text) > 2048:
        raise ValueError("a URI has at most 2048 characters here")
    scheme, rest = match[1].lower(), match[2]
    if _DOT_SEGMENT.search(rest):
        raise ValueError("`.` and `..` in a path let one URI pass for another; write the path they lead to")
    if not rest.startswith("//"):
        return f"{scheme}:{rest}"
    end = next((at for at in range(2, len(rest)) if rest[at] in "/?#"), len(rest))
    return f"{scheme}://{_authority(rest[2:end])}{rest[end:]}"


def _authority(text: str) -> str:
    if "@" in text:
        raise ValueError("a user before the host hides which host is meant; remove it")
    match = re.fullmatch(r"(\[[^\]]*\]|[^:\[\]]*)(?::([0-9]{1,5}))?", text)
    if not match:
        raise ValueError("what follows // is not a host with an optional port")
    name, port = match[1], f":{match[2]}" if match[2] else ""
    if name.startswith("["):
        return f"[{ipaddress.IPv6Address(name[1:-1])}]{port}"
    try:
        return f"{ipaddress.IPv4Address(name)}{port}"
    except ValueError:
        return f"{host(name)}{port}"


def _rid(text: str) -> str:
    der.oid(text)
    return text


def _upn(text: str) -> str:
    _no_junk(text)
    user, at, realm = text.rpartition("@")
    if not at or not user or not realm or "@" in user or any(character.isspace() for character in text):
        raise ValueError("not a user principal name; write user@realm")
    if len(text) > 1024:
        raise ValueError("a user principal name has at most 1024 characters")
    return text


def _dirname(text: str) -> str:
    _no_junk(text)
    return subject_text(subject_from_text(text))


_NORMAL = {
    SanType.DNS: _dns,
    SanType.IP: _ip,
    SanType.EMAIL: mailbox,
    SanType.URI: _uri,
    SanType.RID: _rid,
    SanType.UPN: _upn,
    SanType.DIRNAME: _dirname,
}
_TYPES: dict[str, SanType] = {one: one for one in SanType}  # SanType(text) is slow


def san(type: SanType | str, text: str) -> San:  # noqa: A002 - the word of model/names.py and of every user
    """An alternative name in normal form.

    Raises:
        ValueError: with the reason; unknown types name the known ones.
    """
    kind = _TYPES.get(type)
    if kind is None:
        raise ValueError(f"`{type}` is not a type of name; write one of {' '.join(SanType)}")
    return kind, _NORMAL[kind](text)


def san_text(name: San) -> str:
    """`dns:a.example`, as the inventory keeps it."""
    return ":".join(name)


def _san_der(name: San) -> bytes:
    """One GeneralName of a name in normal form."""
    kind, text = name
    if kind is SanType.DNS:
        return der.tlv(0x82, text.encode("ascii"))
    if kind is SanType.IP:
        return der.tlv(0x87, ipaddress.ip_address(text).packed)
    if kind is SanType.EMAIL:
        return der.tlv(0x81, text.encode("ascii"))
    if kind is SanType.URI:
        return der.tlv(0x86, text.encode("ascii"))
    if kind is SanType.RID:
        return b"\x88" + der.oid(text)[1:]
    if kind is SanType.UPN:
        return der.tlv(0xA0, der.oid(UPN), der.tlv(0xA0, der.tlv(der.UTF8, text.encode())))
    return der.tlv(0xA4, subject_der(subject_from_text(text)))


def sans_der(sans: Sans) -> bytes:
    """GeneralNames of names in normal form, in their order."""
    return der.tlv(der.SEQUENCE, *map(_san_der, sans))


def subject(pairs: Iterable[tuple[str, str]]) -> Subject:
    """A distinguished name, checked; the order stays.  No pairs give the empty name.

    Raises:
        ValueError: an unknown attribute, or a value its type cannot hold; with the reason.
    """
    return tuple((name.lower(), _value(name.lower(), value)) for name, value in pairs)


def _value(name: str, value: str) -> str:
    if name not in _ATTRIBUTES:
        near = difflib.get_close_matches(name, _ATTRIBUTES, 1)
        hint = f"did you mean `{near[0]}`?" if near else f"write one of {' '.join(_ATTRIBUTES)}"
        raise ValueError(f"`{name}` is not an attribute of a distinguished name; {hint}")
    try:
        return _checked(name, _ATTRIBUTES[name], value)
    except ValueError as error:
        raise ValueError(f"`{name}`: {error}") from None


def _checked(name: str, attribute: _Attribute, value: str) -> str:
    _no_junk(value)
    if len(value) > attribute.longest:
        raise ValueError(f"at most {attribute.longest} characters, not {len(value)}")
    if name in _VALUES:
        return _VALUES[name](value)
    if attribute.tag == der.PRINTABLE and not _PRINTABLE.fullmatch(value):
        raise ValueError("letters, digits, blanks and '()+,-./:=? only (PrintableString)")
    return value


def _country(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z]{2}", value):
        raise ValueError("two letters of ISO 3166, as in FI")
    return value.upper()


_VALUES = {"c": _country, "email": mailbox, "dc": host}


def subject_der(name: Subject) -> bytes:
    """RDNSequence of a checked subject, one attribute an RDN, in its order."""
    return der.tlv(der.SEQUENCE, *(_rdn(*pair) for pair in name))


def _rdn(name: str, value: str) -> bytes:
    attribute = _ATTRIBUTES[name]
    return der.tlv(der.SET, der.tlv(der.SEQUENCE, der.oid(attribute.oid), der.tlv(attribute.tag, value.encode())))


def subject_text(name: Subject) -> str:
    """RFC 4514: last attribute first."""
    return ",".join(f"{_ATTRIBUTES[key].text}={_escaped(value)}" for key, value in reversed(name))


def _escaped(value: str) -> str:
    """RFC 4514 section 2.4."""
    text = re.sub(r'([\\"+,;<>])', r"\\\1", value)
    return f"\\{text}" if text[:1] in {"#", " "} else text


def subject_from_text(text: str) -> Subject:
    """A distinguished name written as RFC 4514: the last attribute first, names in any case.

    Raises:
        ValueError: not RFC 4514, an RDN of several attributes, or see `subject`.
    """
    pairs: list[tuple[str, str]] = []
    rest = text + ","
    while rest:
        match = _RFC4514.match(rest)
        if not match:
            raise ValueError(f"`{rest[:-1]}` is not RFC 4514; write NAME=value with commas between, as in CN=a,O=Corp")
        pairs.append((_BY_TEXT.get(match[1].lower(), match[1]), _unescaped(match[2])))
        rest = rest[match.end() :]
    return subject(reversed(pairs))


def _unescaped(value: str) -> str:
    octets = re.sub(
        rb"\\([0-9A-Fa-f]{2})|\\(.)",
        lambda m: bytes.fromhex(m[1].decode()) if m[1] else m[2],
        value.encode(),
        flags=re.S,
    )
    return octets.decode("utf-8")


def subject_from_der(data: bytes) -> Subject:
    """A distinguished name as a stranger encoded it.

    Raises:
        ValueError: an RDN of several attributes, an attribute or string type we do not use, or see `subject`.
    """
    pairs = []
    for tag, rdn in der.children(der.only(data, der.SEQUENCE)):
        attribute = der.children(der.only(rdn, der.SEQUENCE)) if tag == der.SET else []
        if [tag for tag, _ in attribute[:1]] != [der.OID] or len(attribute) != 2:
            raise ValueError("the subject is not a list of single attributes")
        (_, oid), (kind, value) = attribute
        if kind not in {der.UTF8, der.PRINTABLE, der.IA5}:
            raise ValueError(f"the subject holds a string of tag {kind:#04x}; use UTF8String")
        if (name := _BY_OID.get(der.tlv(der.OID, oid))) is None:
            raise ValueError(f"the attribute {der.dotted(oid)} is not one of {' '.join(_ATTRIBUTES)}")
        pairs.append((name, value.decode("utf-8")))
    return subject(pairs)


def looks_like_host(cn: str) -> bool:
    """Whether a verifier may take a common name for a host: labels with dots (wildcards too), or an address."""
    return bool(_HOSTLIKE.fullmatch(cn)) or is_address(cn)


def is_address(text: str) -> bool:
    """Whether it is an IPv4 or IPv6 address."""
    if ":" not in text and not text[-1:].isdigit():
        return False  # spares 3 us on each of 100,000 host names
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
