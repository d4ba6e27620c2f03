"""The law of no friendly fallbacks: one wrong letter in a key or a reference is exactly one error, at its line."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pkicode.config.reader import read
from pkicode.config.spans import extents
from pkicode.model.problem import ConfigError, Problem
from tests.config.told import problems

EXAMPLE = Path(__file__).parent / "example" / "pki.toml"
TEXT = EXAMPLE.read_text(encoding="utf-8")
REFERENCE = re.compile(
    r'(?:issuer|profile|extends|store) = "([^"]+)"|publish = \["([^"]+)"\]|\$\{(?:var|each)\.([a-z]+)\}'
)
DECLARED = re.compile(r"(?<=cert\.)\w+|(?<=env\.)\w+|(?<=scan\.)\w+|(?<=profile\.)mtls$")
"""Names in headers that nothing refers to: another name there is another thing, not a mistake."""


def targets() -> Iterator[tuple[int, int]]:
    """Offsets of every key and reference."""
    for path, (start, end, _, _) in extents(TEXT).items():
        if isinstance(path[-1], str) and not (len(path) == 2 and path[0] == "env"):
            declared = {match.span() for match in DECLARED.finditer(TEXT[start:end])}
            words = {match.span() for match in re.finditer(r"[a-z0-9_]+", TEXT[start:end])}
            yield from ((start + first, start + last) for first, last in words - declared)
    for match in REFERENCE.finditer(TEXT):
        yield match.span(next(group for group in (1, 2, 3) if match[group]))


def mutants(word: str) -> Iterator[str]:
    yield from (word[1:], word[0] + word)
    for at, letter in enumerate(word):
        yield word[:at] + ("z" if letter == "q" else "q") + word[at + 1 :]
    for at in range(len(word) - 1):
        if word[at] != word[at + 1]:
            yield word[:at] + word[at + 1] + word[at] + word[at + 2 :]


def told(text: str) -> tuple[Problem, ...]:
    try:
        return problems(read(EXAMPLE, environ={}, text=text))
    except ConfigError as error:
        return error.problems


def lines(problem: Problem) -> set[int]:
    spans = [problem.span, *(other.span for other in problem.related)]
    return {span.line for span in spans if span and span.path == "pki.toml"}


def offences(start: int, end: int, words: list[str]) -> list[str]:
    line = TEXT.count("\n", 0, start) + 1
    found = []
    for word in filter(None, words):
        problems_ = told(TEXT[:start] + word + TEXT[end:])
        if len(problems_) != 1 or line not in lines(problems_[0]):
            found.append(f"line {line}, {TEXT[start:end]} -> {word}: {[problem.message for problem in problems_]}")
    return found


ALL = sorted(set(targets()))


def test_the_example_is_sound() -> None:
    assert told(TEXT) == ()


def test_a_wrong_letter_is_one_error_at_its_line() -> None:
    """Each key and reference with one of its mutants, a different one each; the heavy test has them all."""
    found = []
    for number, (start, end) in enumerate(ALL):
        words = list(mutants(TEXT[start:end]))
        found += offences(start, end, [words[number % len(words)]])
    assert len(ALL) > 100
    assert not found


@pytest.mark.heavy
def test_each_wrong_letter_is_one_error_at_its_line() -> None:
    found = [one for start, end in ALL for one in offences(start, end, list(dict.fromkeys(mutants(TEXT[start:end]))))]
    assert not found
