"""Diagnostic codes: the one registry of what each means and how it is mended.  Raising them is everybody's."""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from attrs import frozen


@frozen
class Code:
    title: str
    means: str
    example: str
    mend: str


@cache
def codes() -> Mapping[str, Code]:
    """Every code with its page, from codes.toml."""
    text = files("pkicode.config").joinpath("codes.toml").read_text(encoding="utf-8")
    return {name: Code(**page) for name, page in tomllib.loads(text).items()}


def explain(code: str) -> str | None:
    """The page of a code as Markdown, None if there is no such code.

    >>> print(explain("e0205").splitlines()[0])
    E0205: not a duration
    """
    page = codes().get(code.upper())
    if page is None:
        return None
    return f"{code.upper()}: {page.title}\n\n{page.means}\n\nFor example:\n\n    {page.example}\n\nMend: {page.mend}\n"
