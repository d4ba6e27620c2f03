"""Positions: every key and value of a TOML text is found where it stands."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkicode.config.spans import Path, Positions, extents
from pkicode.model.problem import Part

TEXT = '''\
# a comment with [brackets] and = signs
"quoted key" = 1
site."example.org".port = 2 # dotted
[ca.root]
subject = { cn = "a # b", o = 'x = "y"' }
list = [
  "one", # first
  """two
lines""",
]
\t[[moved]]
from = "a"
[[moved]]
from = "b"
[moved.deeper]
x = [[1, 2], { y = 3 }]
'''


def text_at(path: Path, part: Part = Part.VALUE) -> str:
    span = Positions("f", TEXT).span(path, part)
    lines = TEXT.split("\n")
    if span.line == span.end_line:
        return lines[span.line - 1][span.column - 1 : span.end_column - 1]
    return f"{span.line}..{span.end_line}"


@pytest.mark.parametrize(
    ("path", "part", "found"),
    [
        (("quoted key",), Part.KEY, '"quoted key"'),
        (("site", "example.org", "port"), Part.VALUE, "2"),
        (("site", "example.org"), Part.KEY, '"example.org"'),
        (("ca", "root"), Part.TABLE, "[ca.root]"),
        (("ca",), Part.KEY, "ca"),
        (("ca", "root", "subject", "cn"), Part.VALUE, '"a # b"'),
        (("ca", "root", "subject", "o"), Part.KEY, "o"),
        (("ca", "root", "list", 0), Part.VALUE, '"one"'),
        (("ca", "root", "list", 1), Part.VALUE, "8..9"),
        (("moved", 0, "from"), Part.VALUE, '"a"'),
        (("moved", 1, "from"), Part.VALUE, '"b"'),
        (("moved", 1), Part.TABLE, "[[moved]]"),
        (("moved", 1, "deeper", "x", 0, 1), Part.VALUE, "2"),
        (("moved", 1, "deeper", "x", 1, "y"), Part.VALUE, "3"),
        (("ca", "root", "subject", "missing"), Part.VALUE, """{ cn = "a # b", o = 'x = "y"' }"""),
    ],
)
def test_a_part_is_found_where_it_stands(path: Path, part: Part, found: str) -> None:
    assert text_at(path, part) == found


def test_carriage_returns_do_not_move_anything() -> None:
    before = Positions("f", TEXT).span(("moved", 1, "from"), Part.VALUE)
    after = Positions("f", TEXT.replace("\n", "\r\n")).span(("moved", 1, "from"), Part.VALUE)
    assert (before.line, before.column, before.text) == (after.line, after.column, after.text)


def test_columns_count_characters_not_bytes() -> None:
    assert Positions("f", 'x = { ä = "é", b = 1 }').span(("x", "b"), Part.KEY).column == 16


KEYS = st.one_of(
    st.from_regex(r"[A-Za-z0-9_-]{1,8}", fullmatch=True), st.text(st.characters(codec="utf-8"), max_size=5)
)
SCALARS = st.one_of(
    st.integers(-(2**60), 2**60), st.booleans(), st.text(st.characters(codec="utf-8"), max_size=12), st.dates()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=8,
)


def toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{toml(key)} = {toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[\n" + "".join(f"  {toml(item)}, # ]\n" for item in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(c):08x}" if c in '\\"' or not c.isprintable() else c for c in value) + '"'
    return str(value)


def leaves(value: object, path: Path) -> dict[Path, object]:
    found: dict[Path, object] = {path: value} if path else {}
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found |= leaves(item, (*path, key))
    return found


@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_what_stands_at_a_span_reads_as_the_value_at_its_path(data: dict[str, object]) -> None:
    one_line = "\n".join(f"{toml(key)}={toml(value)}" for key, value in data.items() if not has_list_in_dict(value))
    parsed = tomllib.loads(one_line)
    found = extents(one_line)
    for path, value in leaves(parsed, ()).items():
        _, _, start, end = found[path]
        assert tomllib.loads(f"v = {one_line[start:end]}")["v"] == value


def has_list_in_dict(value: object) -> bool:
    """TOML 1.0 has no line ends in inline tables, and our lists have some."""
    if isinstance(value, dict):
        return any(isinstance(item, list) or has_list_in_dict(item) for item in value.values())
    return isinstance(value, list) and any(map(has_list_in_dict, value))
