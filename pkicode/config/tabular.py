"""CSV (RFC 4180, UTF-8, header line) and JSON Lines as records, within limits.  Knows no keys and no fields."""

import csv
import json
from collections.abc import Hashable, Iterator, Sequence
from functools import partial
from pathlib import Path

from pkicode.config.told import cause
from pkicode.model.address import Address
from pkicode.model.problem import Place, Problem, Related

Record = Sequence[str]
LONGEST_ROW = 64 * 1024
MOST_PROBLEMS = 100


class _BadRow(Exception):
    """Reading cannot go on."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


class RowNotes:
    """Problems of rows, of at most a hundred causes: a wrong file is wrong in every row."""

    def __init__(self, root: Path, path: str) -> None:
        self.root = root
        self.path = path
        self.problems: list[Problem] = []
        self._again = 0
        self._causes: set[Hashable] = set()

    def full(self) -> bool:
        """Whether enough was told."""
        return len(self.problems) - self._again >= MOST_PROBLEMS

    def add(self, code: str, message: str, place: Place, *, help: str = "", label: str = "") -> None:  # noqa: A002 - the word users read
        """Note one problem."""
        self.problems.append(Problem(code, message, help=help, label=label, place=place))

    def of_row(self, code: str, message: str, place: Place, address: Address, mend: str = "") -> None:
        """Note what is wrong with a row that has its key; with all of them, if need be: it is told once."""
        problem = Problem(code, f"{address}: {message}", help=mend, place=place, address=str(address))
        self._again += cause(problem) in self._causes
        self._causes.add(cause(problem))
        self.problems.append(problem)

    def row(self, code: str, message: str, line: int, mend: str = "") -> None:
        """Note that a line of the file is wrong."""
        self.add(code, f"{self.path}: {message}", Place(self.path, (), line=line), help=mend)

    def key(self, key: str, line: int, seen: dict[str, int], declared: Place) -> None:
        """Note a key that is empty, too long, unprintable or there twice (both rows named)."""
        place = Place(self.path, (), line=line) if line else declared
        if key in seen:
            related = (Related("first here", Place(self.path, (), line=seen[key])),) if line else ()
            rows = f" in lines {seen[key]} and {line}" if line else ""
            mend = "each row needs its own key; choose another column, or remove one"
            self.problems.append(
                Problem("E0318", f"two rows have the key `{key}`{rows}", help=mend, place=place, related=related)
            )
        elif not key:
            self.add("E0319", "the key of this row is empty", place, help="every row needs a key")
        else:
            what = "is longer than 200 characters" if key.isprintable() else "holds control or invisible characters"
            self.add(
                "E0319",
                f"the key of this row {what}",
                place,
                help="keys are part of addresses, which people read and type",
            )


def _short_lines(file: Path) -> None:
    """Refuse a line that would fill the memory, before anything reads lines.

    A block without a line's end stands inside a line that is longer than a block: what passes is below two blocks.
    """
    with file.open("rb") as stream:
        for number, block in enumerate(iter(partial(stream.read, LONGEST_ROW), b"")):
            if b"\n" not in block and len(block) == LONGEST_ROW:
                raise _BadRow(f"a line is longer than {LONGEST_ROW:,} bytes, at byte {number * LONGEST_ROW:,}", 1)


def csv_records(file: Path, notes: RowNotes) -> tuple[tuple[str, ...], Iterator[tuple[int, Record]]]:
    """The header, and (line, fields) of every row; problems go to `notes` and end the reading where it cannot go on."""
    rows = _csv(file, notes)
    first = next(rows, None)
    if first is None:
        if not notes.problems:
            notes.row("E0320", "there is no header line", 1, "the first line names the columns")
        return (), rows
    header = tuple(first[1])
    if len(set(header)) != len(header) or not all(header):
        notes.row("E0320", "two columns have one name, or one has none", 1, "give each column its own name")
    return header, rows


def _csv(file: Path, notes: RowNotes) -> Iterator[tuple[int, Record]]:
    line = width = 0
    try:
        _short_lines(file)
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            for record in reader:
                last, line = line, reader.line_num
                width = width or len(record)
                if (len(record) == width and line - last == 1) or _is_sound(record, line, width, notes):
                    yield line, record
    except (_BadRow, UnicodeDecodeError, csv.Error, OSError) as error:
        _tell(error, line, notes)


def _is_sound(record: Record, line: int, width: int, notes: RowNotes) -> bool:
    """Whether a row that is not plain has the header's width and a size within the limit; an empty line is no row."""
    if not record or notes.full():
        return False
    if len(record) != width:
        mend = "quote fields that hold a comma"
        notes.row("E0320", f"line {line} has {len(record)} fields, the header has {width}", line, mend)
        return False
    if sum(map(len, record)) > LONGEST_ROW:
        notes.row("E0320", f"the row that ends in line {line} is longer than {LONGEST_ROW:,} characters", line)
        return False
    return True


def _tell(error: Exception, line: int, notes: RowNotes) -> None:
    if isinstance(error, _BadRow):
        notes.row("E0320", str(error), error.line)
    elif isinstance(error, UnicodeDecodeError):
        notes.row("E0320", "not UTF-8 text", _first_odd_line(notes.root / notes.path), "save the file as UTF-8")
    else:
        notes.row("E0320", f"cannot be read after line {line}: {error}", line + 1)


def _first_odd_line(file: Path) -> int:
    """The first line that is not UTF-8; decoding goes by blocks, so the reader does not know."""
    with file.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return 1


def jsonl_records(
    file: Path, notes: RowNotes, columns: tuple[str, ...]
) -> tuple[tuple[str, ...], Iterator[tuple[int, Record]]]:
    """`columns`, and (line, their values) of every object."""
    return columns, _jsonl(file, notes, columns)


def _jsonl(file: Path, notes: RowNotes, columns: tuple[str, ...]) -> Iterator[tuple[int, Record]]:
    line = 0
    try:
        _short_lines(file)
        with file.open(encoding="utf-8-sig") as stream:
            for line, text in enumerate(stream, 1):
                record = _values(text, line, columns, notes) if text.strip() and not notes.full() else None
                if record is not None:
                    yield line, record
    except (_BadRow, UnicodeDecodeError, OSError) as error:
        _tell(error, line, notes)


def _values(text: str, line: int, columns: tuple[str, ...], notes: RowNotes) -> Record | None:
    try:
        item = json.loads(text)
    except (ValueError, RecursionError):
        item = None
    if not isinstance(item, dict):
        notes.row("E0320", f"line {line} is not a JSON object", line, "write one object a line")
        return None
    for name in columns:
        if not isinstance(item.get(name), str) or not _is_text(item[name]):
            there = ", ".join(list(item)[:20])
            notes.row("E0317", f"line {line} has no text `{name}`", line, f"it has: {there}; numbers go in quotes")
            return None
    return [item[name] for name in columns]


def _is_text(value: str) -> bool:
    r"""Whether a string can be stored: JSON lets half a surrogate pair through as `\ud800`."""
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)
