"""Which keys each table of pki.toml may have, taken from the classes of language.py.  Reads no TOML."""

from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import attrs
from attrs import frozen

from pkicode.config import language, scans
from pkicode.config.spans import Path


@frozen
class Key:
    """One key of a table."""

    name: str
    attribute: str
    type: Any
    """The annotation, without None."""
    form: str
    required: bool
    default: Any
    choices: tuple[str, ...]
    doc: str


@frozen
class Table:
    """One table: its keys, and words kept for later versions with what they will do."""

    keys: Mapping[str, Key]
    later: Mapping[str, str]
    elsewhere: Mapping[str, str]
    """Keys that belong to another table -> how to say it there."""


@cache
def keys_of(cls: type) -> Mapping[str, Key]:
    """The keys of a class by their TOML names; derived fields and the block's own name are not keys."""
    hints = get_type_hints(cls)
    found = {}
    for field in attrs.fields(cls):
        if "doc" not in field.metadata or field.metadata.get("derived"):
            continue
        name = field.name.rstrip("_")
        found[name] = Key(
            name,
            field.name,
            _without_none(hints[field.name]),
            field.metadata["form"],
            field.default is attrs.NOTHING,
            field.default,
            field.metadata.get("choices", ()),
            field.metadata["doc"],
        )
    return found


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) in (Union, UnionType):
        return next(part for part in get_args(annotation) if part is not NoneType)
    return annotation


PROFILE_KEYS = [
    "issuer",
    "key",
    "validity",
    "backdate",
    "usage",
    "eku",
    "policies",
    "allow",
    "must_staple",
    "ocsp_nocheck",
    "revocation",
    "renew",
    "on_remove",
    "reissue",
    "lint",
    "copy",
]
NARROWED = ("key", "validity", "renew", "on_remove", "reissue")
"""What a [cert.X] may set although its profile sets it too."""

_CERT = keys_of(language.CertSpec)
_IN_PROFILE = {name: "set it in the [profile.X] that this certificate follows" for name in PROFILE_KEYS}
_EXTENDS = Key("extends", "extends", str, "", False, None, (), "the [profile.Y] it starts from")  # noqa: FBT003 - attrs positional

CA = Table(
    keys_of(language.CaSpec),
    {"ceremony": "approvals of ceremonies"},
    {},
)
PROFILE = Table(
    {"extends": _EXTENDS, **{name: attrs.evolve(_CERT[name], required=False) for name in PROFILE_KEYS}},
    {"ct": "Certificate Transparency"},
    {name: "set it in [cert.X]; a profile names nobody" for name in _CERT if name not in PROFILE_KEYS},
)
CERT = Table(
    {name: key for name, key in _CERT.items() if name not in PROFILE_KEYS or name in NARROWED},
    {"ct": "Certificate Transparency"},
    {name: mend for name, mend in _IN_PROFILE.items() if name not in NARROWED},
)
SINGLE = {
    "project": Table(keys_of(language.ProjectSpec), {}, {}),
    "state": Table(keys_of(language.StateSpec), {}, {}),
    "policy": Table(keys_of(language.PolicySpec), {}, {}),
}
NAMED = {
    "keystore": Table(
        keys_of(language.KeystoreSpec),
        {},
        {},
    ),
    "publish": Table(keys_of(language.PublishSpec), {}, {}),
    "approver": Table(keys_of(language.ApproverSpec), {}, {}),
    "ca": CA,
    "profile": PROFILE,
    "cert": CERT,
    "scan": Table(keys_of(scans.ScanSpec), {}, {}),
}
LISTED = {
    "moved": Table(keys_of(language.Moved), {}, {}),
    "forget": Table(keys_of(language.Forget), {}, {}),
    "revoke": Table(keys_of(language.Revoke), {}, {}),
}
_KEY_BY_URI = {"uri": 'name the key in its keystore: keys = { "ca.root@1" = "pkcs11:id=%01" }'}
NESTED_ELSEWHERE: Mapping[type, Mapping[str, str]] = {language.CaKeySpec: _KEY_BY_URI, language.KeySpec: _KEY_BY_URI}
TOP_LATER = {
    "ct": "Certificate Transparency",
    "auth": "the API",
    "import": "adopting existing certificates",
}
TOP = ("version", "include", "vars", "env", *SINGLE, *NAMED, *LISTED)
SUBJECT = ("dc", "c", "st", "l", "street", "o", "ou", "title", "sn", "gn", "serialnumber", "uid", "cn", "email")
"""Attribute names a subject may have, in the order in which they are encoded (the file's order never matters)."""


def known(path: Path) -> bool:
    """Whether every key of a path is one; what stands below a misspelt key is not worth a word."""
    first = path[0]
    keys: Mapping[str, Key] | None = None
    if first in SINGLE:
        keys, rest = SINGLE[str(first)].keys, path[1:]
    elif first in NAMED or first in LISTED:
        keys, rest = {**NAMED, **LISTED}[str(first)].keys, path[2:]
    else:
        return first in TOP
    for name in rest:
        if keys is None:
            return True
        if name not in keys:
            return False
        kind = keys[str(name)].type
        keys = keys_of(kind) if attrs.has(kind) else None
    return True


def misspelt(data: Mapping[str, Any], table: str) -> bool:
    """Whether an unknown table was probably meant to be this one, which is told already."""
    return any(closest(name, TOP) == table for name in data if name not in TOP)


def nameless(data: Mapping[str, Any], kind: str) -> bool:
    """Whether there is a [ca] where [ca.NAME] was meant: keys of a CA stand where names of CAs should."""
    raw = data.get(kind)
    return isinstance(raw, dict) and any(name in NAMED[kind].keys and not isinstance(raw[name], dict) for name in raw)


def closest(word: str, options: Any) -> str:
    """The option that was probably meant, or ""."""
    found = get_close_matches(word.lower(), [str(option) for option in options], 1, 0.5 if len(word) < 4 else 0.6)
    return found[0] if found else ""
