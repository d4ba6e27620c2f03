"""From places to spans, for problems only: lines are counted when something must be pointed at.  Secrets are masked."""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from itertools import islice
from pathlib import Path

import attrs

from pkicode.config.spans import Positions
from pkicode.config.told import once
from pkicode.model.problem import Place, Problem, Related, Span

_SECRETS = ("passphrase", "password", "p12_password", "secret", "token", "pin", "pin-value", "pin-source")
# From the beginning of a word only: else a line of one long word takes its square.
_ASSIGNED = re.compile(r"""(?<![A-Za-z0-9_-])([A-Za-z0-9_-]+)["']?[ \t]*=[ \t]*""")
_USERINFO = re.compile(r"(://[^/@\s:]*:)[^/@\s]*@")
_OPEN = re.compile(r"""(?<![A-Za-z0-9_-])([A-Za-z0-9_-]+)["']?[ \t]*=[ \t]*(\"\"\"|''')""")
_LONGEST_LINE = 64 * 1024


def shown(line: str) -> str:
    """A source line as it may be printed: what is assigned to a key that reads like a secret's is masked."""
    for match in _ASSIGNED.finditer(line):
        # A token in a PKCS #11 URI is the name of a device.
        is_device = match[1] == "token" and line[: match.start()].endswith(("pkcs11:", ";"))
        if _is_secret(match[1]) and not is_device:
            return line[: match.end()] + "***"
    return _USERINFO.sub(r"\1***@", line)


def _is_secret(name: str) -> bool:
    word = name.lower()
    # The private half of a key may have been put there by mistake.
    return word == "public_key" or word.endswith(_SECRETS) or bool(get_close_matches(word, _SECRETS, 1, 0.75))


def unclosed_secret(before: str) -> bool:
    """Whether a text ends inside a multi-line string that is assigned to a secret."""
    secrets = (match for match in _OPEN.finditer(before) if _is_secret(match[1]))
    return any(before.find(match[2], match.end()) < 0 for match in secrets)


class Locator:
    """Fills spans from places.  `texts` are the TOML files; CSV and JSONL lines are read when asked for."""

    def __init__(self, root: Path, texts: Mapping[str, str]) -> None:
        self._root = root
        self._texts = texts
        self._positions: dict[str, Positions] = {}

    def located(self, problems: Iterable[Problem]) -> tuple[Problem, ...]:
        """The problems with their spans, in the order of files and lines; one mistake in many rows is one."""
        found = [
            attrs.evolve(problem, span=self._of(problem.span, problem.place), related=self._related(problem))
            for problem in once(problems)
        ]
        order = {path: index for index, path in enumerate(self._texts)}
        return tuple(sorted(found, key=lambda problem: _rank(problem, order)))

    def _related(self, problem: Problem) -> tuple[Related, ...]:
        return tuple(attrs.evolve(other, span=self._of(other.span, other.place)) for other in problem.related)

    def _of(self, span: Span | None, place: Place | None) -> Span | None:
        return span or (self.span(place) if place else None)

    def span(self, place: Place) -> Span | None:
        """The span of a place; None where a whole file is meant."""
        if place.line is not None:
            return self._row(place, place.line)
        if place.path not in self._texts or not place.keys:
            return None
        if place.path not in self._positions:
            self._positions[place.path] = Positions(place.path, self._texts[place.path], shown=shown)
        return self._positions[place.path].span(place.keys, place.part)

    def _row(self, place: Place, number: int) -> Span:
        try:
            with (self._root / place.path).open(encoding="utf-8-sig", errors="replace") as lines:
                # A line that is too long to be read is not read to be shown.
                read = (lines.readline(2 * _LONGEST_LINE) for _ in range(number))
                line = next(islice(read, number - 1, None), "")[:_LONGEST_LINE].rstrip("\r\n")
        except OSError:  # the file went away since the row was read; the number still helps
            line = ""
        return Span(place.path, number, 1, number, len(line) + 1, line)


def _rank(problem: Problem, order: Mapping[str, int]) -> tuple[int, str, int, int]:
    span = problem.span
    if span is None:
        return (-1, "", 0, 0)
    return (order.get(span.path, len(order)), span.path, span.line, span.column)
