"""CSV (RFC 4180, UTF-8, header line) and JSON Lines as records, within limits.  Knows no keys and no fields."""

import csv
import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO

from pkicode.model.problem import Place, Problem, Related

Record = Sequence[str]
LONGEST_ROW = 64 * 1024
MOST_PROBLEMS = 100


class _BadRow(Exception):
    """Reading cannot go on."""

    def __init__(self, message: str, line: int, mend: str = "") -> None:
        super().__init__(message)
        self.line = line
        self.mend = mend


class RowNotes:
    """Problems of rows, at most a hundred of them: a wrong file is wrong in every row."""

    def __init__(self, root: Path, path: str) -> None:
        self.root = root
        self.path = path
        self.problems: list[Problem] = []

    def full(self) -> bool:
        """Whether enough was told."""
        return len(self.problems) >= MOST_PROBLEMS

    def add(self, code: str, message: str, place: Place, *, help: str = "", label: str = "") -> None:  # noqa: A002 - the word users read
        """Note one problem."""
        self.problems.append(Problem(code, message, help=help, label=label, place=place))

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


def _lines(stream: IO[str]) -> Iterator[str]:
    number = 0
    for line in iter(partial(stream.readline, LONGEST_ROW + 1), ""):
        number += 1
        if len(line) > LONGEST_ROW:
            raise _BadRow(f"line {number} is longer than {LONGEST_ROW:,} characters", number)
        yield line


def csv_records(file: Path, notes: RowNotes) -> tuple[tuple[str, ...], Iterator[tuple[int, Record]]]:
    """The header, and (line, fields) of every row; problems go to `notes` and end the reading where it cannot go on."""
    rows = _guarded(_csv(file, notes), notes)
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
    with file.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(_lines(stream), strict=True)
        width = 0
        last = 0
        for record in reader:
            line = reader.line_num
            width = width or len(record)
            if len(record) != width:
                if record and not notes.full():
                    mend = "quote fields that hold a comma"
                    notes.row("E0320", f"line {line} has {len(record)} fields, the header has {width}", line, mend)
            elif line - last > 1 and sum(map(len, record)) > LONGEST_ROW:
                raise _BadRow(f"the row that ends in line {line} is longer than {LONGEST_ROW:,} characters", line)
            else:
                yield line, record
            last = line


def _guarded(records: Iterator[tuple[int, Record]], notes: RowNotes) -> Iterator[tuple[int, Record]]:
    line = 0
    try:
        for line, record in records:
            yield line, record
    except _BadRow as error:
        notes.row("E0320", str(error), error.line, error.mend)
    except UnicodeDecodeError:
        notes.row("E0320", f"not UTF-8 text, after line {line}", line + 1, "save the file as UTF-8")
    except (csv.Error, OSError) as error:
        notes.row("E0320", f"cannot be read after line {line}: {error}", line + 1)


def jsonl_records(
    file: Path, notes: RowNotes, columns: tuple[str, ...]
) -> tuple[tuple[str, ...], Iterator[tuple[int, Record]]]:
    """(line, values of `columns`) of every object; a column that no object has is missing, one that some lack is a row's."""
    rows = _guarded(_jsonl(file, notes, columns), notes)
    return columns, rows


def _jsonl(file: Path, notes: RowNotes, columns: tuple[str, ...]) -> Iterator[tuple[int, Record]]:
    with file.open(encoding="utf-8-sig") as stream:
        for line, text in enumerate(_lines(stream), 1):
            if not text.strip() or notes.full():
                continue
            try:
                item = json.loads(text)
            except (ValueError, RecursionError):
                notes.row("E0320", f"line {line} is not JSON", line, "write one object a line")
                continue
            if not isinstance(item, dict):
                notes.row("E0320", f"line {line} is not an object", line, "write one object a line")
                continue
            wrong = [name for name in columns if not isinstance(item.get(name), str)]
            if wrong:
                there = ", ".join(str(name) for name in item)
                notes.row(
                    "E0317", f"line {line} has no text `{wrong[0]}`", line, f"it has: {there}; numbers go in quotes"
                )
                continue
            yield line, [item[name] for name in columns]
