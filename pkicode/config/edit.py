"""The layout of pki.toml, and the files that init writes.  Changes no value, no order and no comment."""

import json
import re
from collections.abc import Mapping
from importlib.resources import files

from pkicode.config.files import document
from pkicode.config.jsonschema import schema
from pkicode.config.spans import extents

TEMPLATES = ("single", "two-tier", "mtls")
_EQUALS = re.compile(r"[ \t]*=[ \t]*")
_IGNORED = "/.pkicode/\n/out/\n/public/\n"


def init_files(template: str) -> Mapping[str, str]:
    """File name -> text of a new project.

    Raises:
        KeyError: there is no such template.
    """
    if template not in TEMPLATES:
        raise KeyError(template)
    return {
        "pki.toml": files("pkicode.config").joinpath("templates", f"{template}.toml").read_text(encoding="utf-8"),
        "pki.schema.json": json.dumps(schema(), indent=2) + "\n",
        ".gitignore": _IGNORED,
    }


def fmt(text: str) -> str:
    """The text with one blank around each =, one blank line before each table, no indentation, no blanks at line ends.

    What stands inside lists and strings of several lines is left alone.  Formatting twice changes nothing more.

    Raises:
        ConfigError: the text is not TOML.
    """
    document("pki.toml", text.encode())
    text = text.replace("\r\n", "\n")
    kept, opened = _several_lines(text)
    lines: list[str] = []
    for number, line in enumerate(_spaced(text).split("\n")):
        if number in kept:
            lines.append(line)
        else:
            _append(lines, line.lstrip(" \t") if number in opened else line.strip(" \t"))
    while lines and not lines[-1]:
        lines.pop()
    return "\n".join(lines) + "\n"


def _several_lines(text: str) -> tuple[set[int], set[int]]:
    """Lines inside values of several lines, and the lines where these begin."""
    kept: set[int] = set()
    opened: set[int] = set()
    for _, _, start, end in extents(text).values():
        if "\n" in text[start:end]:
            first = text.count("\n", 0, start)
            opened.add(first)
            kept.update(range(first + 1, first + 1 + text.count("\n", start, end)))
    return kept, opened - kept


def _spaced(text: str) -> str:
    pieces, position = [], 0
    for key_end, start in sorted({(key_end, start) for _, key_end, start, _ in extents(text).values()}):
        if key_end >= position and _EQUALS.fullmatch(text, key_end, start):
            pieces += [text[position:key_end], " = "]
            position = start
    return "".join([*pieces, text[position:]])


def _append(lines: list[str], line: str) -> None:
    if not line and (not lines or not lines[-1]):
        return
    if line.startswith("["):
        above = len(lines)
        while above and lines[above - 1].startswith("#"):
            above -= 1
        if above and lines[above - 1]:
            lines.insert(above, "")
    lines.append(line)
