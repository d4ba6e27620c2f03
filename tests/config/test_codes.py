"""The registry of codes: every code that is raised anywhere has a page, and every page is whole."""

import ast
import re

import pytest

from pkicode.config.codes import codes, explain
from tests.guards.tree import package

CODE = re.compile(r"[EW]0[0-9]{3}\Z")


def raised() -> dict[str, str]:
    """Code -> where it stands in the package."""
    return {
        node.value: source.at(node)
        for source in package()
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and CODE.match(node.value)
    }


def test_every_code_that_is_raised_has_a_page() -> None:
    missing = {code: at for code, at in raised().items() if code not in codes()}
    assert not missing, f"write what it means into pkicode/config/codes.toml: {missing}"


def test_every_page_is_of_a_code_that_is_raised() -> None:
    assert not set(codes()) - set(raised())


@pytest.mark.parametrize("code", sorted(codes()))
def test_a_page_says_what_it_means_and_how_to_mend_it(code: str) -> None:
    page = explain(code)
    assert page is not None
    assert page.startswith(f"{code}: ")
    assert all(part.strip() for part in page.split("\n\n"))
    assert "Mend: " in page


def test_an_unknown_code_has_no_page() -> None:
    assert explain("E9999") is None
