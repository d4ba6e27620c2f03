"""PKCS #11 URIs (RFC 7512): which token, which key on it, which module speaks for it.  Opens nothing.

Two things are stricter than the RFC.  A PIN, or where to read one, is refused inside a URI: pki.toml is shown and
logged.  What is not understood is refused too: the RFC lets it match nothing, and nobody would see why.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal
from urllib.parse import unquote_to_bytes

from attrs import frozen

from pkicode.config.wrong import WrongForm
from pkicode.model.address import parse as parse_address

LIMIT = 2000
"""Characters; the fields of a token are 32 and 64 octets."""
_EXAMPLE = "write pkcs11:token=NAME, with %XX for what is not a letter, a digit, -, ., _ or ~"
_PAIR = re.compile(r"([A-Za-z0-9_-]+)=(.*)\Z", re.DOTALL)
_PATH_VALUE = re.compile(r"(?:[A-Za-z0-9._~:\[\]@!$'()*+,=&-]|%[0-9A-Fa-f]{2})*\Z")
_QUERY_VALUE = re.compile(r"(?:[A-Za-z0-9._~:\[\]@!$'()*+,=/?|-]|%[0-9A-Fa-f]{2})*\Z")
_VERSION = re.compile(r"([0-9]{1,3})(?:\.([0-9]{1,3}))?\Z")
_SLOT = re.compile(r"[0-9]{1,19}\Z")
_TYPES = ("public", "private", "cert", "secret-key", "data")
_PINS = ("pin-value", "pin-source")

ObjectType = Literal["public", "private", "cert", "secret-key", "data"]


@frozen
class Pkcs11Uri:
    """The attributes of a URI; None where it says nothing, which matches everything."""

    token: str | None = None
    manufacturer: str | None = None
    serial: str | None = None
    model: str | None = None
    library_manufacturer: str | None = None
    library_description: str | None = None
    library_version: tuple[int, int] | None = None
    slot_description: str | None = None
    slot_manufacturer: str | None = None
    slot_id: int | None = None
    object: str | None = None
    """CKA_LABEL."""
    type: ObjectType | None = None
    id: bytes | None = None
    """CKA_ID."""
    module_name: str | None = None
    module_path: str | None = None


def parse(text: str) -> Pkcs11Uri:
    """What a URI says.

    Raises:
        WrongForm: it is none, says something twice, or holds a PIN; a PIN is never shown.
    """
    scheme, colon, rest = text.partition(":")
    path, _, query = rest.partition("?")
    if any(f"{pin}=" in rest.lower() for pin in _PINS):
        raise WrongForm(
            "E0343",
            "a PIN, or where to read one, stands in a PKCS #11 URI",
            'take it out, write pin = { env = "NAME" } beside the URI, and change a PIN that stood there',
        )
    if not colon or scheme.lower() != "pkcs11" or len(text) > LIMIT:
        raise WrongForm("E0206", "this is not a PKCS #11 URI (RFC 7512)", _EXAMPLE)
    found: dict[str, Any] = {}
    for part, separator, attributes, value in ((path, ";", _PATH, _PATH_VALUE), (query, "&", _QUERY, _QUERY_VALUE)):
        for name, raw in _pairs(part, separator, value):
            if name not in attributes:
                raise WrongForm("E0206", f"a PKCS #11 URI has no `{name}` here", f"known are {', '.join(attributes)}")
            field = name.replace("-", "_")
            if field in found:
                raise WrongForm("E0206", f"`{name}` stands twice in a PKCS #11 URI", "leave one of them")
            found[field] = attributes[name](name, raw)
    return Pkcs11Uri(**found)


def _pairs(part: str, separator: str, form: re.Pattern[str]) -> Iterator[tuple[str, str]]:
    for one in part.split(separator) if part else ():
        match = _PAIR.match(one)
        if not match:
            raise WrongForm("E0206", "a PKCS #11 URI is made of NAME=VALUE", _EXAMPLE)
        if not form.match(match[2]):
            message = f"`{match[1]}` of a PKCS #11 URI holds a character that is written as %XX"
            raise WrongForm("E0206", message, _EXAMPLE)
        yield match[1], match[2]


def _text(name: str, raw: str) -> str:
    try:
        text = unquote_to_bytes(raw).decode("utf-8")
    except UnicodeDecodeError as error:
        raise WrongForm("E0206", f"`{name}` of a PKCS #11 URI is not UTF-8", _EXAMPLE) from error
    if not text.isprintable():
        raise WrongForm("E0206", f"`{name}` of a PKCS #11 URI holds a control character", _EXAMPLE)
    return text


def _octets(_name: str, raw: str) -> bytes:
    return unquote_to_bytes(raw)


def _type(name: str, raw: str) -> str:
    if (text := _text(name, raw)) not in _TYPES:
        raise WrongForm("E0206", f"`{text}` is no type of a PKCS #11 URI", f"one of {', '.join(_TYPES)}")
    return text


def _version(name: str, raw: str) -> tuple[int, int]:
    match = _VERSION.match(_text(name, raw))
    numbers = (int(match[1]), int(match[2] or 0)) if match else (256, 0)
    if max(numbers) > 255:
        raise WrongForm("E0206", f"`{name}` of a PKCS #11 URI is not a version such as 2.40")
    return numbers


def _slot(name: str, raw: str) -> int:
    if not _SLOT.match(text := _text(name, raw)):
        raise WrongForm("E0206", f"`{name}` of a PKCS #11 URI is not a number")
    return int(text)


_PATH: Mapping[str, Callable[[str, str], Any]] = {
    "token": _text,
    "manufacturer": _text,
    "serial": _text,
    "model": _text,
    "library-manufacturer": _text,
    "library-description": _text,
    "library-version": _version,
    "slot-description": _text,
    "slot-manufacturer": _text,
    "slot-id": _slot,
    "object": _text,
    "type": _type,
    "id": _octets,
}
_QUERY: Mapping[str, Callable[[str, str], Any]] = {"module-name": _text, "module-path": _text}


def token(text: str) -> str:
    """The URI, if it names a token and nothing on it.

    Raises:
        WrongForm: see `parse`, or it names an object, or nothing at all.
    """
    uri = parse(text)
    if (uri.object, uri.type, uri.id) != (None, None, None):
        mend = "take object, type and id out; a key that is there already is named in `keys`"
        raise WrongForm("E0206", "the URI of a keystore names a token, not an object on it", mend)
    if (uri.token, uri.serial, uri.slot_id) == (None, None, None):
        raise WrongForm("E0206", "the URI says neither token, nor serial, nor slot-id", _EXAMPLE)
    return text


def key(text: str) -> str:
    """The URI, if it names a key pair on the token of its keystore.

    Raises:
        WrongForm: see `parse`, or it names none, or a token.
    """
    uri = parse(text)
    if uri.object is None and uri.id is None:
        raise WrongForm(
            "E0206", "the URI of a key has neither object nor id", "write pkcs11:id=%01 or pkcs11:object=NAME"
        )
    if uri != Pkcs11Uri(object=uri.object, id=uri.id, type=uri.type) or uri.type not in (None, "private", "public"):
        raise WrongForm(
            "E0206", "the URI of a key has object and id only", "which token it is, the keystore's `uri` says"
        )
    return text


def label(text: str) -> str:
    """The label, if it is one that a key has: ADDRESS@GENERATION.

    Raises:
        WrongForm: it is not.
    """
    try:
        address, generation = parse_address(text)
    except ValueError as error:
        raise WrongForm("E0206", str(error)) from error
    if generation is None or address.kind not in ("ca", "cert", "ocsp"):
        raise WrongForm("E0206", f"`{text}` is not the label of a key", "write ca.NAME@1 or cert.NAME@1")
    return text
