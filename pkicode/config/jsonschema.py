"""JSON Schema (draft 2020-12) of pki.toml, made from the classes of language.py: completion and checks in editors.

It knows keys, types and forms of single values; references and everything between tables only `validate` knows.
"""

from collections.abc import Iterable
from enum import EnumType
from typing import Any, get_args, get_origin

import attrs

from pkicode.config.forms import FORMS
from pkicode.config.language import Rekey, Secret
from pkicode.config.tables import LISTED, NAMED, SINGLE, SUBJECT, Key, keys_of
from pkicode.model.change import Action

_NAME = "^[A-Za-z0-9_-]{1,64}$"
_TEXT = {"type": "string"}
_TEXTS = {"type": "array", "items": _TEXT}


def schema() -> dict[str, Any]:
    """The whole schema as JSON values."""
    variables = {"type": "object", "additionalProperties": _TEXT, "description": "plain texts for ${var.x}"}
    tables = {"vars": variables, **_tables()}
    overlay = {"type": "object", "additionalProperties": False, "properties": _loosened(tables)}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "pki.toml",
        "type": "object",
        "additionalProperties": False,
        "required": ["version", "project"],
        "properties": {
            "version": {"const": 1, "description": "the version of this language"},
            "include": {**_TEXTS, "description": "globs relative to this file, inside its folder"},
            **tables,
            "env": {
                "type": "object",
                "additionalProperties": overlay,
                "description": "[env.NAME] merges onto the rest",
            },
        },
    }


def _tables() -> dict[str, Any]:
    found: dict[str, Any] = {name: _table(one.keys.values()) for name, one in SINGLE.items()}
    for name, one in NAMED.items():
        below = _table(one.keys.values())
        found[name] = {"type": "object", "propertyNames": {"pattern": _NAME}, "additionalProperties": below}
    for name, one in LISTED.items():
        found[name] = {"type": "array", "items": _table(one.keys.values())}
    return found


def _loosened(item: Any) -> Any:
    """The same without `required`: an overlay says only what differs."""
    if isinstance(item, dict):
        return {name: _loosened(below) for name, below in item.items() if name not in ("required", "minProperties")}
    return item


def _table(keys: Iterable[Key]) -> dict[str, Any]:
    listed = list(keys)
    made: dict[str, Any] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {key.name: {**_value(key), "description": key.doc} for key in listed},
    }
    required = [key.name for key in listed if key.required]
    return {**made, "required": required} if required else made


def _value(key: Key) -> dict[str, Any]:
    kind: Any = key.type
    if key.form == "subject":
        return _closed(SUBJECT, {"anyOf": [_TEXT, _TEXTS]})
    if kind is Secret:
        return {**_table(keys_of(Secret).values()), "minProperties": 1}
    if kind is Rekey:
        return {"enum": [True, False, str(Rekey.REQUIRE)]}
    if key.form == "instant":
        return {"type": "string", "format": "date-time"}
    if get_origin(kind) in (tuple, dict):
        return _collection(key)
    if key.form in FORMS:
        return _formed(key)
    if attrs.has(kind):
        return _table(keys_of(kind).values())
    return _scalar(key)


def _formed(key: Key) -> dict[str, Any]:
    # A text with ${var.x} in it has its form only after substitution.
    pattern = FORMS[key.form].pattern
    return {"type": "string", "pattern": rf"{pattern}|\$\{{"} if pattern else dict(_TEXT)


def _collection(key: Key) -> dict[str, Any]:
    inner = get_args(key.type)[-1 if get_origin(key.type) is dict else 0]
    below = _value(attrs.evolve(key, type=inner))
    if get_origin(key.type) is tuple:
        return {"type": "array", "items": below}
    if inner is int:
        return _closed([str(action) for action in Action], below)
    return {"type": "object", "additionalProperties": {"anyOf": [below, _TEXT]} if key.name == "where" else below}


def _closed(names: Iterable[str], below: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": dict.fromkeys(names, below)}


def _scalar(key: Key) -> dict[str, Any]:
    if key.choices:
        return {"enum": list(key.choices)}
    if isinstance(key.type, EnumType):
        return {"enum": list(map(str, key.type))}
    return {"type": {bool: "boolean", int: "integer"}.get(key.type, "string")}
