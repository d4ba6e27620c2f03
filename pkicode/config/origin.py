"""Every resolved value with where it comes from, for `config show --resolved --origin`.  Secrets: only where from."""

from collections.abc import Iterator
from typing import Any

import attrs

from pkicode.config.reader import Config
from pkicode.config.resolve import plain
from pkicode.config.tables import keys_of
from pkicode.model.instants import duration
from pkicode.model.problem import Place
from pkicode.model.row import Block

Told = tuple[str, Any, str]
"""(dotted path, value as JSON, origin)"""
_Keys = tuple[str | int, ...]


def resolved(config: Config) -> list[Told]:
    """All settings and blocks, field by field.

    Returns:
        (dotted path, JSON value, "pki.toml:35" | "default" | "derived" | "profile server at pki.toml:70"); a derived
        value follows from the issuer's publish targets.
    """
    settings = config.settings
    found: list[Told] = []
    for name in ("project", "state", "policy"):
        found += _settings(config, (name,), getattr(settings, name))
    for kind, items in (
        ("keystore", settings.keystores),
        ("publish", settings.publish),
        ("scan", settings.scans),
        ("approver", settings.approvers),
    ):
        for item in items:
            found += _settings(config, (kind, item.name), item)
    for kind, listed in (("moved", settings.moved), ("forget", settings.forget)):
        for index, one in enumerate(listed):
            found += _settings(config, (kind, index), one)
    for block in config.blocks:
        found += _block(config, block)
    return found


def _settings(config: Config, path: _Keys, item: Any) -> Iterator[Told]:
    for at, value in _leaves(item, ()):
        keys = (*path, *at)
        written = config.written(*keys)
        yield ".".join(map(str, keys)), value, _line(config, config.place(*keys)) if written else "default"


def _block(config: Config, block: Block) -> Iterator[Told]:
    derived = {one.name for one in attrs.fields(type(block.spec)) if one.metadata.get("derived")}
    for at, value in _leaves(block.spec, ()):
        path = ".".join([block.kind, block.name, *map(str, at)])
        place = block.source.place(*at)
        if at[0] in derived:
            yield path, value, "derived"
        elif at not in block.source.origins:
            yield path, value, "default"
        else:
            profile = f"profile {place.keys[-len(at) - 1]} at " if "profile" in place.keys[: -len(at)] else ""
            yield path, value, profile + _line(config, place)


def _leaves(item: Any, at: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every field with a value of its own; nested tables are entered, lists are one value."""
    cls: type = type(item)
    names = {key.attribute: key.name for key in keys_of(cls).values()}
    for one in attrs.fields(cls):
        value, path = getattr(item, one.name), (*at, names.get(one.name, one.name))
        if one.name == "name" and one.name not in names:
            continue
        if attrs.has(type(value)):
            yield from _leaves(value, path)
        elif one.metadata.get("form") == "subject":
            for name in dict(value):
                yield (*path, name), next(text for short, text in value if short == name)
        elif one.metadata.get("form") == "duration" and value is not None:
            yield path, duration(value)
        else:
            yield path, plain(value)


def _line(config: Config, place: Place) -> str:
    span = config.span(place)
    return f"{span.path}:{span.line}" if span else place.path
