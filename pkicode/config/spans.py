"""Positions in TOML 1.0 text: key path -> line and column.  Takes text that tomllib has accepted; checks nothing."""

import re
import tomllib
from bisect import bisect_right
from collections.abc import Callable, Mapping

from pkicode.model.problem import Part, Span

Path = tuple[str | int, ...]
Extent = tuple[int, int, int, int]
"""Offsets: key start, key end, value start, value end.  Of a `[header]` the value is the header itself."""

_SPACE = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_BLANK = re.compile(r"[ \t]*")
_KEY = re.compile(r'[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|\'[^\']*\'')
_TEXT = re.compile(
    r'"""(?:[^"\\]|\\.|""?(?!"))*"{3,5}'
    r"|'''(?:[^']|''?(?!'))*'{3,5}"
    r'|"(?:[^"\\]|\\.)*"'
    r"|'[^']*'",
    re.S,
)
_ATOM = re.compile(r"[^,\]}#\r\n]+")
_PLAIN = re.compile(r"[ \t]*([A-Za-z0-9_-]+)[ \t]*=[ \t]*")


def extents(text: str) -> Mapping[Path, Extent]:
    """The extent of every key, value and header."""
    return _Scan(text).found


class Positions:
    """Where everything stands in one file.  Scans once, when it is made."""

    def __init__(self, path: str, text: str, *, shown: Callable[[str], str] = str) -> None:
        self._path = path
        self._text = text
        self._shown = shown
        self._found = extents(text)
        self._lines = [0, *(match.end() for match in re.finditer("\n", text))]

    def span(self, keys: Path, part: Part) -> Span:
        """The span of a key path, or of the nearest table or list around it."""
        while keys and keys not in self._found:
            keys = keys[:-1]
        key_start, key_end, start, end = self._found.get(keys, (0, 0, 0, 0))
        is_header = start <= key_start < end
        if part is Part.KEY or (part is Part.TABLE and not is_header):
            start, end = key_start, key_end
        return self.between(start, end)

    def between(self, start: int, end: int) -> Span:
        """The span of two offsets."""
        line, column = self._line(start)
        end_line, end_column = self._line(end)
        return Span(self._path, line, column, end_line, end_column, self._shown(self.line(line)))

    def line(self, number: int) -> str:
        """The text of a line, counted from 1."""
        end = self._lines[number] if number < len(self._lines) else len(self._text)
        return self._text[self._lines[number - 1] : end].rstrip("\r\n")

    def _line(self, offset: int) -> tuple[int, int]:
        line = bisect_right(self._lines, offset)
        return line, offset - self._lines[line - 1] + 1


class _Scan:
    def __init__(self, text: str) -> None:
        self.text = text
        self.found: dict[Path, Extent] = {}
        self._counts: dict[Path, int] = {}
        table: Path = ()
        position = self._skip(0)
        while position < len(text):
            if text[position] == "[":
                table, position = self._header(position)
            else:
                position = self._pair(table, position)
            position = self._skip(position)

    def _skip(self, position: int) -> int:
        match = _SPACE.match(self.text, position)
        return match.end() if match else position

    def _header(self, start: int) -> tuple[Path, int]:
        is_array = self.text.startswith("[[", start)
        names, end = self._keys(start + 1 + is_array)
        end += 1 + is_array
        path: Path = ()
        for index, (name, key_start, key_end) in enumerate(names):
            path = (*path, name)
            self.found.setdefault(path, (key_start, key_end, start, end))
            last = index == len(names) - 1
            if last and is_array:
                self._counts[path] = self._counts.get(path, 0) + 1
            if path in self._counts:
                path = (*path, self._counts[path] - 1)
            if last:
                self.found[path] = (names[0][1], key_end, start, end)
        return path, end

    def _keys(self, position: int) -> tuple[list[tuple[str, int, int]], int]:
        """A dotted key and the offset of what follows it and its blanks."""
        names: list[tuple[str, int, int]] = []
        while True:
            start = _blank(self.text, position)
            match = _KEY.match(self.text, start)
            if not match:
                return names, start
            names.append((_name(match[0]), start, match.end()))
            position = _blank(self.text, match.end())
            if not self.text.startswith(".", position):
                return names, position
            position += 1

    def _pair(self, table: Path, position: int) -> int:
        plain = _PLAIN.match(self.text, position)
        if plain:
            path, key, start = (*table, plain[1]), plain.span(1), plain.end()
        else:
            names, equals = self._keys(position)
            if not names or not self.text.startswith("=", equals):
                return equals + 1
            start = _blank(self.text, equals + 1)
            for name, key_start, key_end in names[:-1]:
                table = (*table, name)
                self.found.setdefault(table, (key_start, key_end, key_start, names[-1][2]))
            path, key = (*table, names[-1][0]), names[-1][1:]
        end = self._value(path, start)
        self.found[path] = (key[0], key[1], start, end)
        return end

    def _value(self, path: Path, start: int) -> int:
        first = self.text[start : start + 1]
        if first in ('"', "'"):
            match = _TEXT.match(self.text, start)
            return match.end() if match else start + 1
        if first == "[":
            return self._array(path, start)
        if first == "{":
            return self._inline(path, start)
        match = _ATOM.match(self.text, start)
        return start + len(match[0].rstrip()) if match else start + 1

    def _array(self, path: Path, start: int) -> int:
        position, index = self._skip(start + 1), 0
        while position < len(self.text) and self.text[position] != "]":
            end = self._value((*path, index), position)
            self.found[(*path, index)] = (position, end, position, end)
            position, index = self._skip(end), index + 1
            if self.text.startswith(",", position):
                position = self._skip(position + 1)
        return position + 1

    def _inline(self, path: Path, start: int) -> int:
        position = self._skip(start + 1)
        while position < len(self.text) and self.text[position] != "}":
            position = self._skip(self._pair(path, position))
            if self.text.startswith(",", position):
                position = self._skip(position + 1)
        return position + 1


def _blank(text: str, position: int) -> int:
    match = _BLANK.match(text, position)
    return match.end() if match else position


def _name(token: str) -> str:
    if token[0] == '"':
        return str(tomllib.loads(f"k={token}")["k"]) if "\\" in token else token[1:-1]
    return token[1:-1] if token[0] == "'" else token
