"""Each folder in broken/ is one mistake (or a few): its expected.txt is what people read, word for word."""

import os
import tomllib
from functools import cache
from pathlib import Path

import pytest

from pkicode.config.codes import codes
from pkicode.config.reader import read
from pkicode.model.problem import ConfigError, Problem
from pkicode.views.problems import human
from tests.config.told import problems

BROKEN = Path(__file__).parent / "broken"
CASES = sorted(path.name for path in BROKEN.iterdir())


@cache
def told(folder: Path) -> tuple[Problem, ...]:
    options = folder / "options.toml"
    given = tomllib.loads(options.read_text()) if options.exists() else {}
    try:
        config = read(folder / "pki.toml", environ={}, **given)
    except ConfigError as error:
        return error.problems
    return problems(config)


@pytest.mark.parametrize("case", CASES)
def test_a_broken_file_is_told_as_expected(case: str) -> None:
    expected = BROKEN / case / "expected.txt"
    text = human(told(BROKEN / case)) + "\n"
    if os.environ.get("UPDATE_GOLDEN"):
        expected.write_text(text, encoding="utf-8")
    assert text == expected.read_text(encoding="utf-8")


def test_every_code_of_the_language_has_a_broken_file() -> None:
    seen = {problem.code for case in CASES for problem in told(BROKEN / case)}
    assert {code for code in codes() if code < "E0350"} - seen == {"E0104"}, "E0104 is in test_reader.py"


@pytest.mark.parametrize("case", CASES)
def test_no_secret_is_shown(case: str) -> None:
    assert "hunter" not in (BROKEN / case / "expected.txt").read_text(encoding="utf-8")
    assert not [problem for problem in told(BROKEN / case) if "hunter" in repr(problem)]


def test_there_are_many() -> None:
    assert len(CASES) >= 60
