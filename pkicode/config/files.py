"""The files of a configuration: pki.toml and what it includes, limited, inside the root.  Knows no meaning of keys."""

import errno
import hashlib
import os
import re
import tomllib
from io import BufferedReader
from pathlib import Path
from typing import Any

from attrs import field, frozen

from pkicode.config.locate import shown, unclosed_secret
from pkicode.config.spans import Positions
from pkicode.config.tree import Notes, Tree, merged
from pkicode.model.problem import ConfigError, Part, Place, Problem, Related, Span

LARGEST = 8 * 1024 * 1024
LARGEST_ROWS = 2 * 1024 * 1024 * 1024
"""Of a CSV or JSONL file, whose million rows are read one by one, and whole for its digest."""
DEEPEST = 32
MOST_FILES = 10_000
PRIVATE = frozenset((".pkicode", ".git"))
"""Folders of the root that nothing declared may read or write: a message that shows a line must never show a secret."""
_LISTED = ("moved", "revoke")
_NAMED = ("cert", "scan")
_MAY_INCLUDE = (*_NAMED, *_LISTED)
_SEGMENT = r"""(?:[\w-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')[ \t]*\.[ \t]*"""
_DEEP_KEY = re.compile(r"(?:^|[\[{,])[ \t]*(?:" + _SEGMENT + r"){" + str(DEEPEST) + r"}", re.MULTILINE)
_AT = re.compile(r" \(at line ([0-9]+), column ([0-9]+)\)")
_TWICE = re.compile(r"Cannot declare \((.*)\) twice")


@frozen
class Document:
    """One TOML file, read."""

    path: str
    """Relative to the root, with /."""
    text: str = field(repr=False)
    data: dict[str, Any] = field(repr=False)
    digest: str


def digest(data: bytes) -> str:
    """`sha256:...` as plans record it."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def digest_of(stream: BufferedReader) -> str:
    """`sha256:...` of a file of any size."""
    return "sha256:" + hashlib.file_digest(stream, "sha256").hexdigest()


def resolved(path: Path) -> Path:
    """A path, links followed; one that leads to itself stays as it is, and whoever opens it is told."""
    # Path.resolve raises RuntimeError for that before Python 3.13.
    return Path(os.path.realpath(path))


def contained(root: Path, path: Path) -> bool:
    """Whether a path, links followed, is inside the root (which is resolved already) and in no private folder."""
    aim = resolved(path)
    return aim.is_relative_to(root) and PRIVATE.isdisjoint(aim.relative_to(root).parts)


def read_bytes(file: Path, path: str, limit: int) -> bytes:
    """At most `limit` bytes of a file.

    Raises:
        ConfigError: it cannot be read (E0104) or is larger (E0103).
    """
    try:
        # A pipe without a writer would keep us waiting for ever.
        if file.exists() and not (file.is_file() or file.is_dir()):
            raise OSError(errno.EINVAL, "not a regular file")
        with file.open("rb") as stream:
            data = stream.read(limit + 1)
    except OSError as error:
        reason = (error.strerror or "cannot be read").lower()
        raise ConfigError((Problem("E0104", f"{path}: {reason}", place=Place(path)),)) from error
    if len(data) > limit:
        raise ConfigError((Problem("E0103", f"{path} is larger than {limit:,} bytes", place=Place(path)),))
    return data


def document(path: str, data: bytes) -> Document:
    """Parse one file.

    Raises:
        ConfigError: not UTF-8 (E0102), not TOML (E0101), a table twice (E0108), nested too deeply (E0103).
    """
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = len(data[data.rfind(b"\n", 0, error.start) + 1 : error.start].decode(errors="replace")) + 1
        span = Span(path, line, column, line, column + 1)
        mend = "save the file as UTF-8"
        raise ConfigError((Problem("E0102", f"{path} is not UTF-8 text", help=mend, span=span),)) from error
    # tomllib takes time and memory by the square of a key's depth: 40 KB of dots would take minutes and gigabytes.
    if _DEEP_KEY.search(text):
        raise ConfigError((_too_deep(path),))
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError((_syntax(path, text, str(error)),)) from error
    except ValueError as error:  # what Python says of an integer of more than 4,300 digits
        raise ConfigError((Problem("E0101", "not TOML: a number is too long", place=Place(path)),)) from error
    except RecursionError as error:
        raise ConfigError((_too_deep(path),)) from error
    _check_depth(path, tables)
    return Document(path, text, tables, digest(data))


def _too_deep(path: str) -> Problem:
    return Problem("E0103", f"{path} nests tables and lists more than {DEEPEST} deep", place=Place(path))


def _check_depth(path: str, tables: dict[str, Any]) -> None:
    level: list[Any] = [tables]
    for _ in range(DEEPEST):
        below = (item.values() if isinstance(item, dict) else item for item in level)
        level = [item for items in below for item in items if isinstance(item, dict | list)]
    if level:
        raise ConfigError((_too_deep(path),))


_MENDS = {
    "Invalid value": 'a text stands in quotes, as in profile = "server"',
    "Expected ']' at the end of a table declaration": "a table is written [cert.NAME], in one line",
    "Expected '=' after a key in a key/value pair": 'write key = value, as in profile = "server"',
}
"""What newcomers meant, by what tomllib says."""


def _syntax(path: str, text: str, message: str) -> Problem:
    lines = text.splitlines() or [""]
    at = _AT.search(message)
    number, column = (int(at[1]), int(at[2])) if at else (len(lines), len(lines[-1]) + 1)
    line = lines[number - 1] if number <= len(lines) else ""
    told = _AT.sub("", message).replace(" (at end of document)", " at the end of the file")
    before = "\n".join(lines[: number - 1])
    visible = "***" if unclosed_secret(before) else shown(line)
    twice = _TWICE.match(told)
    if twice or told.startswith("Cannot overwrite"):
        span = Span(path, number, 1, number, len(line) + 1, visible)
        return _declared_twice(path, before, span, twice[1] if twice else "")
    mend = "save the file without a byte order mark" if text.startswith("\ufeff") else _MENDS.get(told, "")
    span = Span(path, number, column, number, column + 1, visible)
    return Problem("E0101", f"not TOML: {told[:1].lower()}{told[1:]}", help=mend, span=span)


def _declared_twice(path: str, before: str, span: Span, names: str) -> Problem:
    keys = tuple(re.findall(r"'([^']*)'", names))
    if not keys:
        return Problem("E0108", "this key is set already in the same table", help="remove one of the two", span=span)
    first = Positions(path, before, shown=shown).span(keys, Part.TABLE)
    related = (Related("declared here first", span=first),)
    return Problem(
        "E0108", f"[{'.'.join(keys)}] is declared twice", help="rename or remove one", span=span, related=related
    )


def with_includes(root: Path, document_: Document) -> tuple[Tree, list[Document], list[Problem]]:
    """The root file's tables and what its `include` adds: the tree, all documents, and what is wrong."""
    notes = Notes(Tree(document_.path, document_.data))
    documents = [document_]
    patterns = document_.data.get("include", [])
    if not isinstance(patterns, list) or not all(isinstance(pattern, str) for pattern in patterns):
        notes.add("E0202", '`include` must be a list of texts, such as ["teams/*.toml"]', ("include",))
        return notes.tree, documents, notes.problems
    seen = {document_.path}
    for index, pattern in enumerate(patterns):
        for file in _matches(notes, root, pattern, index):
            path = file.relative_to(root).as_posix()
            if path in seen:
                continue
            seen.add(path)
            try:
                documents.append(document(path, read_bytes(file, path, LARGEST)))
            except ConfigError as error:
                notes.problems += error.problems
    tree = notes.tree
    for one in documents[1:]:
        tree = _added(notes, tree, one)
    return tree, documents, notes.problems


def _matches(notes: Notes, root: Path, pattern: str, index: int) -> list[Path]:
    where = ("include", index)
    if pattern.startswith(("/", "~")) or ".." in pattern.split("/") or not pattern or not pattern.isprintable():
        notes.add(
            "E0106",
            "an include may not leave the project's root",
            where,
            help="write a path relative to pki.toml, without ..",
        )
        return []
    try:
        found = sorted(file for file in root.glob(pattern) if file.is_file() or not file.exists())
    except (ValueError, IndexError):  # pathlib says of "a**b" the one and of "." the other
        notes.add("E0105", f"`{pattern}` is no pattern", where, help="write a pattern such as teams/*.toml")
        return []
    if not found and not re.search(r"[*?\[]", pattern):
        notes.add(
            "E0105", f"there is no file `{pattern}`", where, help="create it, or write a pattern such as teams/*.toml"
        )
    outside = [file for file in found if not contained(root, file)]
    for file in outside:
        mend = "an included file may not be a link to outside; copy it in"
        notes.add("E0106", f"{file.relative_to(root)} leads out of the project's root", where, help=mend)
    if len(found) > MOST_FILES:
        notes.add("E0103", f"more than {MOST_FILES:,} files", where)
        return []
    return [file for file in found if file not in outside]


def _added(notes: Notes, tree: Tree, one: Document) -> Tree:
    """The tree with what an included file declares."""
    data, origins = dict(tree.data), dict(tree.origins)
    inside = Notes(Tree(one.path, one.data))
    _shaped(inside, one)
    for kind in _NAMED:
        more, base = one.data.get(kind, {}), data.get(kind, {})
        if not (isinstance(more, dict) and isinstance(base, dict) and more):
            continue
        for name in more:
            keys = (kind, name)
            if name in base:
                first = Related("declared here first", tree.place(keys, Part.TABLE))
                place = Place(one.path, keys, Part.TABLE)
                message, mend = f"{kind}.{name} is declared twice", "rename or remove one"
                inside.problems.append(Problem("E0108", message, help=mend, place=place, related=(first,)))
                continue
            origins[keys] = Place(one.path, keys)
        data[kind] = {**base, **{name: table for name, table in more.items() if name not in base}}
    for kind in _LISTED:
        more, listed = one.data.get(kind, []), data.get(kind, [])
        if isinstance(more, list) and isinstance(listed, list) and more:
            origins.update({(kind, len(listed) + at): Place(one.path, (kind, at)) for at in range(len(more))})
            data[kind] = listed + more
    notes.problems += inside.problems
    return Tree(tree.path, data, origins)


def _shaped(inside: Notes, one: Document) -> None:
    """Tell of what an included file may not declare, or not in this shape."""
    for name in one.data:
        if name not in _MAY_INCLUDE:
            mend = "declare it in pki.toml; included files may add only [cert.X], [scan.X], [[moved]] and [[revoke]]"
            inside.add("E0107", f"an included file may not declare `{name}`", (name,), part=Part.KEY, help=mend)
    # Of the wrong shape nothing would be added, and nothing said: a [revoke] would revoke nothing.
    for name in _NAMED:
        if not isinstance(one.data.get(name, {}), dict):
            inside.add("E0202", f"`{name}` must be tables such as [{name}.NAME]", (name,), part=Part.KEY)
    for name in _LISTED:
        if not isinstance(one.data.get(name, []), list):
            inside.add("E0202", f"`{name}` must be written [[{name}]]", (name,), part=Part.KEY)


def with_overlay(tree: Tree, name: str) -> Tree:
    """The tree with `[env.NAME]` merged onto it, if there is one."""
    overlays = tree.data.get("env", {})
    if not isinstance(overlays, dict) or not isinstance(overlays.get(name), dict):
        return tree
    origins = dict(tree.origins)
    data = merged(tree.data, overlays[name], (), Place(tree.path, ("env", name)), origins)
    return Tree(tree.path, data, origins)
