"""TOML values to the classes of language.py: nothing is coerced, every mistake is told once.  Joins nothing."""

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from enum import EnumType
from typing import Any, get_args, get_origin

import attrs

from pkicode.config.cfssl import HERE
from pkicode.config.forms import FORMS, MOST
from pkicode.config.language import Rekey, Secret
from pkicode.config.tables import LISTED, NAMED, NESTED_ELSEWHERE, SUBJECT, Key, Table, closest, keys_of
from pkicode.config.tree import Notes, Path
from pkicode.config.wrong import WrongForm
from pkicode.model.change import Action
from pkicode.model.instants import from_datetime
from pkicode.model.problem import Part

MISSING: Any = object()
"""What a reader gives back when it has told a problem."""

_ROWS = {"a list": "values = [...]", "a text": 'csv = "FILE", key = "COLUMN"'}
"""What was meant where a list or a text stands for the table of a for_each."""
_BLOCK_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")


def _depth(path: Path) -> int:
    """How many keys of a path name its table: two in [ca.root] and [[moved]], one in [policy]."""
    return min(len(path), 2 if path and (path[0] in NAMED or path[0] in LISTED or path[0] == "env") else 1)


def title(path: Path) -> str:
    """The table as it is written in the file: `[ca.root]`, `[[moved]]`."""
    if len(path) > 1 and isinstance(path[1], int):
        return f"[[{path[0]}]]"
    return f"[{'.'.join(map(str, path[: _depth(path)]))}]" if path else "the root of the file"


def _named(path: Path) -> str:
    """A table, or what stands in one, as people find it: `[ca.root]`, "`key.alg` in [ca.root]"."""
    inner = ".".join(str(key) for key in path[_depth(path) :] if isinstance(key, str))
    return f"`{inner}` in {title(path)}" if inner else title(path)


def what(raw: Any) -> str:
    """The type of a TOML value in words; never the value, which may be a secret."""
    words = {bool: "true or false", int: "a number", float: "a number", str: "a text", list: "a list", dict: "a table"}
    return next((word for kind, word in words.items() if isinstance(raw, kind)), "a date or time")


def table(notes: Notes, path: Path, raw: Any, shape: Table) -> dict[str, Any]:
    """The decoded attributes of a table that are there and sound; problems go to `notes`."""
    if not isinstance(raw, dict):
        given = _ROWS.get(what(raw)) if path[-1] == "for_each" else None
        start = given or f"{next(iter(shape.keys))} = ..."
        name = "" if isinstance(path[-1], int) else f"{path[-1]} = "
        mend = f"write {name}{{ {start} }}; its keys are {', '.join(shape.keys)}"
        notes.add("E0202", f"{_named(path)} must be a table, not {what(raw)}", path, help=mend)
        return {}
    meant = _unknown(notes, path, raw, shape)
    for name, key in shape.keys.items():
        if key.required and name not in raw and name not in meant:
            notes.add("E0201", f"{_named(path)} has no `{name}`", path, part=Part.TABLE, help=f"add {name}: {key.doc}")
    found = {
        key.attribute: value(notes, (*path, name), raw[name], key) for name, key in shape.keys.items() if name in raw
    }
    return {name: decoded for name, decoded in found.items() if decoded is not MISSING}


def _unknown(notes: Notes, path: Path, raw: Mapping[str, Any], shape: Table) -> set[str]:
    """Tell of keys that are not known; the names that were probably meant, which are not missing then."""
    meant = set()
    for name in raw:
        if name in shape.keys:
            continue
        if name in shape.later:
            later(notes, (*path, name), shape.later[name])
        elif name in shape.elsewhere:
            notes.add(
                "E0307",
                f"`{name}` may not be set in {_named(path)}",
                (*path, name),
                part=Part.KEY,
                help=shape.elsewhere[name],
            )
        else:
            meant.add(unknown_key(notes, (*path, name), shape.keys, elsewhere=tuple(shape.elsewhere)))
    return meant


def unknown_key(notes: Notes, path: Path, options: Any, *, elsewhere: Sequence[str] = ()) -> str:
    """Tell of one unknown key; gives the key that was probably meant, or "".

    Args:
        elsewhere: what may be meant, and is refused here with words of its own.
    """
    guess = closest(str(path[-1]), (*options, *elsewhere))
    # CFSSL's words are no slips: what is spelt nearly like one means something else.
    here = HERE.get(str(path[-1]), "")
    mend = "" if guess else f"known here: {', '.join(options)}"
    notes.add(
        "E0203",
        f"unknown key `{path[-1]}` in {_named(path[:-1])}",
        path,
        part=Part.KEY,
        label=f"did you mean `{guess}`?" if guess and not here else "",
        help=f"for CFSSL's `{path[-1]}` write {here}" if here else mend,
    )
    return guess


def later(notes: Notes, path: Path, feature: str) -> None:
    """Tell that a reserved word does nothing yet."""
    notes.add(
        "E0210",
        f"`{path[-1]}` is not yet in this version: {feature}",
        path,
        part=Part.KEY,
        help="remove it; it is refused rather than ignored, because an ignored rule is worse than none",
    )


def block_name(notes: Notes, path: Path) -> bool:
    """Whether the name of a [kind.NAME] is one; tells if not."""
    if _BLOCK_NAME.match(str(path[1])):
        return True
    notes.add(
        "E0211", f"`{path[1]}` is not a name", path, part=Part.TABLE, help="use letters, digits, _ and -, at most 64"
    )
    return False


def value(notes: Notes, path: Path, raw: Any, key: Key) -> Any:
    """One value, or MISSING after a problem was told."""
    kind: Any = key.type
    if notes.spoiled(path):
        return MISSING
    if isinstance(raw, datetime | date | time) or key.form == "instant":
        return _date(notes, path, raw, takes_one=key.form == "instant")
    if kind is Secret:
        return _secret(notes, path, raw)
    if key.form == "subject":
        return _subject(notes, path, raw)
    if kind is Rekey and isinstance(raw, bool):
        return Rekey.YES if raw else Rekey.NO
    if get_origin(kind) is tuple:
        return _list(notes, path, raw, key)
    if key.form in FORMS:
        return _formed(notes, path, raw, key)
    if attrs.has(kind):
        return _nested(notes, path, raw, kind)
    if get_origin(kind) is dict:
        return _dict(notes, path, raw, kind)
    return _scalar(notes, path, raw, key)


def _wrong(notes: Notes, path: Path, raw: Any, expected: str, mend: str = "") -> Any:
    notes.add("E0202", f"{_named(path)} must be {expected}, not {what(raw)}", path, help=mend)
    return MISSING


def _date(notes: Notes, path: Path, raw: Any, *, takes_one: bool) -> Any:
    if not isinstance(raw, datetime | date | time):
        return _wrong(notes, path, raw, "an instant", f"write {path[-1]} = 2026-11-20T00:00:00Z, without quotes")
    if takes_one and isinstance(raw, datetime) and raw.tzinfo is not None:
        return from_datetime(raw)
    local = not isinstance(raw, datetime) or raw.tzinfo is None
    if local:
        mend = "write an offset or Z, as in 2026-11-20T00:00:00Z"
        mend = mend if takes_one else f"no key here takes a time; where one does, {mend}"
        notes.add("E0209", f"{_named(path)} is a local date or time, another instant on every host", path, help=mend)
        return MISSING
    return _wrong(notes, path, raw, "something else")


def _formed(notes: Notes, path: Path, raw: Any, key: Key) -> Any:
    form = FORMS[key.form]
    if not isinstance(raw, str):
        return _wrong(notes, path, raw, form.expected, f"write {key.name} = {form.example}, in quotes")
    try:
        return form.read(raw)
    except WrongForm as error:
        notes.add(error.code, f"{_named(path)}: {error}", path, help=error.mend)
        return MISSING


def _scalar(notes: Notes, path: Path, raw: Any, key: Key) -> Any:
    if isinstance(key.type, EnumType) or key.choices:
        return _choice(notes, path, raw, key)
    if key.type is bool and not isinstance(raw, bool):
        return _wrong(notes, path, raw, "true or false", "write it without quotes" if isinstance(raw, str) else "")
    if key.type is int:
        return _int(notes, path, raw)
    if key.type is str and not isinstance(raw, str):
        return _wrong(notes, path, raw, "a text", "put it in quotes")
    return raw


def _int(notes: Notes, path: Path, raw: Any) -> Any:
    if not isinstance(raw, int) or isinstance(raw, bool):
        return _wrong(notes, path, raw, "a whole number", "write it without quotes" if isinstance(raw, str) else "")
    if not 0 <= raw <= MOST:
        notes.add("E0212", f"{_named(path)} is not between 0 and {MOST:,}", path)
        return MISSING
    return raw


def _choice(notes: Notes, path: Path, raw: Any, key: Key) -> Any:
    options = key.choices or tuple(str(member) for member in key.type)
    if not isinstance(raw, str):
        return _wrong(notes, path, raw, f"one of {', '.join(options)}")
    if raw in options:
        return key.type(raw) if isinstance(key.type, EnumType) else raw
    guess = closest(raw, options)
    notes.add(
        "E0204",
        f"{_named(path)} is none of the choices",
        path,
        label=f"did you mean `{guess}`?" if guess else "",
        help=f"one of {', '.join(options)}",
    )
    return MISSING


def _nested(notes: Notes, path: Path, raw: Any, cls: type) -> Any:
    before = len(notes.problems)
    found = table(notes, path, raw, Table(keys_of(cls), {}, NESTED_ELSEWHERE.get(cls, {})))
    if len(notes.problems) != before:
        return MISSING
    whole = all(key.attribute in found for name, key in keys_of(cls).items() if name in raw or key.required)
    return cls(**found) if whole else MISSING


def _list(notes: Notes, path: Path, raw: Any, key: Key) -> Any:
    inner = get_args(key.type)[0]
    if not isinstance(raw, list):
        mend = f'write {path[-1]} = ["..."]' if isinstance(raw, str) else ""
        return _wrong(notes, path, raw, "a list", mend)
    one = attrs.evolve(key, type=inner)
    found = tuple(value(notes, (*path, index), item, one) for index, item in enumerate(raw))
    return MISSING if any(item is MISSING for item in found) else found


def _dict(notes: Notes, path: Path, raw: Any, kind: Any) -> Any:
    inner = get_args(kind)[1]
    if not isinstance(raw, dict):
        return _wrong(notes, path, raw, "a table")
    if inner is int:
        for name in raw:
            if name not in tuple(Action):
                unknown_key(notes, (*path, name), [str(action) for action in Action])
    found = {}
    for name, item in raw.items():
        single = isinstance(item, str) and path[-1] == "where"
        key = Key(name, name, inner, "", False, None, (), "")  # noqa: FBT003 - attrs positional
        found[name] = value(notes, (*path, name), [item] if single else item, key)
    return MISSING if any(item is MISSING for item in found.values()) else found


def _subject(notes: Notes, path: Path, raw: Any) -> Any:
    if not isinstance(raw, dict):
        return _wrong(notes, path, raw, "a table", 'write { cn = "Corp Root", o = "Corp", c = "FI" }')
    before = len(notes.problems)
    pairs = []
    for name in sorted(raw, key=lambda name: SUBJECT.index(name) if name in SUBJECT else 0):
        items = raw[name] if isinstance(raw[name], list) else [raw[name]]
        if name not in SUBJECT:
            unknown_key(notes, (*path, name), SUBJECT)
        for item in items:
            if not isinstance(item, str):
                _wrong(notes, (*path, name), item, "a text or a list of texts")
            pairs.append((name, item))
    return tuple(pairs) if len(notes.problems) == before else MISSING


def _secret(notes: Notes, path: Path, raw: Any) -> Any:
    if not isinstance(raw, dict):
        notes.add(
            "E0207",
            f"{_named(path)} is written into the file; a secret may only be pointed at",
            path,
            part=Part.KEY,
            help=f'write {path[-1]} = {{ env = "NAME" }}, {{ file = "path" }} or {{ command = ["..."] }}, '
            "and change the secret",
        )
        return MISSING
    found = _nested(notes, path, raw, Secret)
    if found is MISSING:
        return MISSING
    sources = [name for name in ("env", "file", "command") if getattr(found, name)]
    if len(sources) != 1 or (found.create and not found.file):
        what_is_wrong = (
            "has `create` without `file`" if len(sources) == 1 else "needs exactly one of env, file, command"
        )
        notes.add("E0208", f"{_named(path)} {what_is_wrong}", path, part=Part.KEY)
        return MISSING
    return found
