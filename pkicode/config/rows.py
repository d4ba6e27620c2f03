"""Fan-outs: the rows of values, matrix, CSV and JSON Lines, and the spec of one row.  Streams; keeps keys only."""

import json
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from json.encoder import encode_basestring
from math import prod
from typing import Any

import attrs

from pkicode.config.columns import columns_in, compiled, picker
from pkicode.config.csr import CsrError, CsrFiles
from pkicode.config.language import CertSpec, ForEach
from pkicode.config.reader import Config
from pkicode.config.row_paths import RowPaths, written
from pkicode.config.substitute import HOLE
from pkicode.config.tables import closest
from pkicode.config.tabular import Record, RowNotes, csv_records, jsonl_records
from pkicode.model.address import Address
from pkicode.model.problem import ConfigError, Place, Problem
from pkicode.model.row import Block, Row

MOST_ROWS = 1_000_000
LONGEST_KEY = 200


def rows(config: Config, block: Block, doubts: list[Problem] | None = None) -> Iterator[Row]:
    """The rows of a block: one with key "" where it is no fan-out.

    `Row.values` is a JSON list of the used columns' values, in CSR mode followed by the sha256 of the CSR file
    ("" where no file is there that can be read).  Sound rows are given as they are read, so a caller must read to the
    end before it believes them.

    Args:
        doubts: gets a warning for each CSR that cannot be read: that one's row waits, and no other.

    Raises:
        ConfigError: at the end, with every mistake in rows (the first hundred).
    """
    spec = block.spec
    csr = CsrFiles(config.root) if block.kind == "cert" and spec.csr else None
    doubts = [] if doubts is None else doubts
    if block.kind != "cert" or spec.for_each is None:
        one = RowNotes(config.root, block.source.path)
        yield Row(
            "",
            _text([_digest(csr, spec.csr.dir, spec.csr.file, one, doubts, block)] if csr else []),
        )
        _raise(config, one)
        return
    notes = RowNotes(config.root, _source(spec.for_each) or block.source.path)
    yield from _fanned(block, _records(config, block, notes), csr, notes, doubts)
    _raise(config, notes)


def written_twice(config: Config) -> Iterator[Problem]:
    """Files that rows of two blocks would write, which their texts alone do not tell.

    Only rows of blocks whose texts could meet are read, so that fleets in folders of their own cost nothing.
    """
    writing = [block for block in config.blocks if block.kind == "cert" and block.spec.output]
    first: dict[str, tuple[str, str]] = {}
    for block in _near(writing):
        for row, path in _paths(config, block):
            other, key = first.setdefault(path, (block.name, row.key))
            if other != block.name:
                address = Address("cert", block.name, row.key)
                message = f"`{path}` is written by {Address('cert', other, key)} and by {address}"
                mend = "the last one would win: give each a folder of its own"
                yield Problem("E0322", message, help=mend, place=place_of(block, row), address=str(address))


def _near(writing: Sequence[Block]) -> list[Block]:
    """The fan-outs in whose paths what stands before `${` begins the path of another block, and those blocks."""
    starts: dict[str, set[str]] = {}
    for block in writing:
        for path in written(block.spec) if block.spec.for_each else ():
            starts.setdefault(path.partition("${")[0], set()).add(block.name)
    near: set[str] = set()
    for block in writing if starts else ():
        for path in written(block.spec):
            start = path.partition("${")[0] if block.spec.for_each else path
            for length in range(len(start) + 1):
                if starts.get(start[:length], {block.name}) != {block.name}:
                    near |= {block.name, *starts[start[:length]]}
    return [block for block in writing if block.name in near]


def _paths(config: Config, block: Block) -> Iterator[tuple[Row, str]]:
    """Every row with each of its files, filled in."""
    if block.spec.for_each is None:
        yield from ((Row("", "[]"), path) for path in written(block.spec))
        return
    at = {name: index for index, name in enumerate(block.columns)}
    makes = [compiled(path, at) for path in written(block.spec)]
    notes = RowNotes(config.root, block.source.path)  # what is wrong with rows is told where they are read
    for row in _fanned(block, _records(config, block, notes), None, notes, []):
        values = json.loads(row.values)
        yield from ((row, make(values)) for make in makes)


def _raise(config: Config, notes: RowNotes) -> None:
    if notes.problems:
        raise ConfigError(config.located(notes.problems))


def _digest(
    csr: CsrFiles,
    folder: str,
    file: str,
    notes: RowNotes,
    doubts: list[Problem],
    block: Block,
    key: str = "",
    line: int = 0,
) -> str:
    try:
        return csr.digest(folder, file)
    except CsrError as error:
        place = Place(notes.path, (), line=line) if line else block.source.place("csr", "file")
        address = Address(block.kind, block.name, key)
        if error.code.startswith("W"):
            message = f"{address}: {error}"
            doubts.append(Problem(error.code, message, help=error.help, place=place, address=str(address)))
        elif not notes.full():
            notes.of_row(error.code, str(error), place, address, error.help)
        return ""


def _source(fan: ForEach) -> str | None:
    return fan.csv or fan.jsonl


def _records(config: Config, block: Block, notes: RowNotes) -> tuple[tuple[str, ...], Iterator[tuple[int, Record]]]:
    """The columns there are, and (line, record) of every row."""
    fan: ForEach = block.spec.for_each
    if fan.csv:
        return csv_records(config.root / fan.csv, notes)
    if fan.jsonl:
        return jsonl_records(config.root / fan.jsonl, notes, tuple(_needed(block)))
    if fan.values is not None:
        return ("value",), ((0, (item,)) for item in fan.values)
    matrix = fan.matrix or {}
    if prod(map(len, matrix.values())) > MOST_ROWS:  # whatever `where` leaves of it: all of it is looked through
        notes.add("E0321", f"more than {MOST_ROWS:,} rows", block.source.place("for_each"))
    return tuple(matrix), ((0, items) for items in product(*matrix.values()))


def _needed(block: Block) -> dict[str, tuple[str | int, ...]]:
    """Every column that is asked for -> the field that asks."""
    fan: ForEach = block.spec.for_each
    asked: dict[str, tuple[str | int, ...]] = {}
    key = fan.key or "value"
    for name in columns_in(key) if "${" in key else [key]:
        asked.setdefault(name, ("for_each", "key"))
    for name in fan.where:
        asked.setdefault(name, ("for_each", "where", name))
    for path, text in _texts(block.spec, ()):
        for match in HOLE.finditer(text):
            if match[1] and match[1].startswith("each."):
                asked.setdefault(match[1][5:], path)
    return asked


def _texts(item: Any, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Every string in a spec with its field path, for_each left out."""
    if isinstance(item, str):
        yield path, item
    elif attrs.has(type(item)) and not isinstance(item, ForEach):
        for one in attrs.fields(type(item)):
            yield from _texts(getattr(item, one.name), (*path, one.name))
    elif isinstance(item, tuple) and path and path[-1] == "subject":
        for name, value in item:
            yield (*path, name), value
    elif isinstance(item, tuple):
        for index, below in enumerate(item):
            yield from _texts(below, (*path, index))


def _fanned(
    block: Block,
    source: tuple[tuple[str, ...], Iterator[tuple[int, Record]]],
    csr: CsrFiles | None,
    notes: RowNotes,
    doubts: list[Problem],
) -> Iterator[Row]:
    columns, records = source
    if notes.problems or not _has_columns(block, columns, notes):
        return
    fan: ForEach = block.spec.for_each
    at = {name: index for index, name in enumerate(columns)}
    wanted = [(at[name], frozenset(values)) for name, values in fan.where.items()]
    key = fan.key or "value"
    key_of = compiled(key if "${" in key else f"${{each.{key}}}", at)
    values_of = picker([at[name] for name in block.columns])
    files_of = (compiled(block.spec.csr.dir, at), compiled(block.spec.csr.file, at)) if csr else None
    place = block.source.place("for_each")
    paths = RowPaths(block.spec, key, at)
    seen: dict[str, int] = {}
    for line, record in records:
        if wanted and any([record[index] not in values for index, values in wanted]):
            continue
        key = key_of(record)
        if key in seen or not key.isprintable() or not key or len(key) > LONGEST_KEY:
            if notes.full():
                return
            notes.key(key, line, seen, place)
            continue
        seen[key] = line
        if paths.any and (wrong := paths.wrong(record, line)):
            if notes.full():
                return
            at_row = Place(notes.path, (), line=line) if line else place
            notes.of_row(*wrong, at_row, Address(block.kind, block.name, key))
            continue
        values = values_of(record)
        if csr and files_of:
            values = (*values, _digest(csr, files_of[0](record), files_of[1](record), notes, doubts, block, key, line))
        if len(seen) > MOST_ROWS:
            notes.add("E0321", f"more than {MOST_ROWS:,} rows", place)
            return
        yield Row(key, _text(values), line)


def _text(values: Any) -> str:
    """A JSON list of texts; the same as json.dumps(..., ensure_ascii=False), four times as fast."""
    return "[" + ",".join(map(encode_basestring, values)) + "]"


def _has_columns(block: Block, columns: tuple[str, ...], notes: RowNotes) -> bool:
    sound = True
    for name, path in _needed(block).items():
        if name in columns:
            continue
        sound = False
        guess = closest(name, columns)
        label = f"did you mean `{guess}`?" if guess else ""
        fan: ForEach = block.spec.for_each
        where = f"{_source(fan)} has" if _source(fan) else "for_each has"
        message = f"{where} no column `{name}`"
        notes.add("E0317", message, block.source.place(*path), label=label, help=f"columns: {', '.join(columns)}")
    return sound


def filler(block: Block) -> Callable[[Row], CertSpec]:
    """A function from a row to its spec: every `${each.x}` replaced, everything else shared between the rows."""
    spec: CertSpec = block.spec
    if spec.for_each is None:
        return lambda _: spec
    at = {name: index for index, name in enumerate(block.columns)}
    names = [one.name for one in attrs.fields(CertSpec)]
    fixed = [getattr(spec, name) for name in names]
    varying = [
        (place, _filled(fixed[place], at))
        for place, name in enumerate(names)
        if name != "for_each" and _varies(fixed[place])
    ]
    decode = json.JSONDecoder().decode

    def fill(row: Row) -> CertSpec:
        values, items = decode(row.values), fixed.copy()
        for place, make in varying:
            items[place] = make(values)
        return CertSpec(*items)

    return fill


def _varies(item: Any) -> bool:
    if isinstance(item, str):
        return "${" in item
    if isinstance(item, tuple):
        return any(map(_varies, item))
    return attrs.has(type(item)) and any(_varies(getattr(item, one.name)) for one in attrs.fields(type(item)))


def _filled(item: Any, at: dict[str, int]) -> Callable[[Any], Any]:
    """The item as a function of the values; what does not vary is shared."""
    if not _varies(item):
        return lambda _: item
    if isinstance(item, str):
        return compiled(item, at)
    if isinstance(item, tuple):
        parts = [_filled(below, at) for below in item]
        return lambda values: tuple([part(values) for part in parts])
    cls = type(item)
    makers = [(one.name, _filled(getattr(item, one.name), at)) for one in attrs.fields(cls)]
    return lambda values: cls(**{name: make(values) for name, make in makers})


def place_of(block: Block, row: Row) -> Place:
    """Where a row stands: its line in the CSV or JSONL file, else the block's for_each."""
    fan = block.spec.for_each if block.kind == "cert" else None
    source = _source(fan) if fan else None
    return Place(source, (), line=row.line) if source else block.source.place("for_each")
