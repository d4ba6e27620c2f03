"""Whatever a pull request writes, reading it ends with problems that point somewhere, never with a crash."""

import os
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pkicode.config.origin import resolved
from pkicode.config.reader import read
from pkicode.config.rows import filler, rows
from pkicode.model.problem import ConfigError, Place, Problem
from tests.kinds.site import BASE

EXAMPLE = Path(__file__).parent / "example" / "pki.toml"
LINES = EXAMPLE.read_text(encoding="utf-8").splitlines()
ODD = [
    "1", "true", "1.5", "-1", '"x"', '""', "[]", "{}", "[1]", "[[]]", "[{}]", "{ a = 1 }", "1979-05-27", '"${each.x}"',
    '"${var.domain}"', '"\\u0000"', "{ env = 1 }", '"ca.root"', "{ x = { y = 1 } }",
]  # fmt: skip
HEADERS = ["[ca]", "[cert]", "[vars]", "[env.dev]", "[[moved]]", "[[cert]]", "[profile.base.x]", "[publish.web.url]"]


@st.composite
def texts(draw: st.DrawFn) -> str:
    """The example with a few lines moved, values exchanged, headers put where they do not belong."""
    lines = list(LINES)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(lines) - 1))
        change = draw(st.sampled_from(["value", "header", "swap", "drop"]))
        if change == "value" and "=" in lines[at]:
            lines[at] = f"{lines[at].split('=')[0]}= {draw(st.sampled_from(ODD))}"
        elif change == "header":
            lines.insert(at, draw(st.sampled_from(HEADERS)))
        elif change == "swap":
            other = draw(st.integers(0, len(lines) - 1))
            lines[at], lines[other] = lines[other], lines[at]
        else:
            del lines[at]
    return "\n".join(lines)


@settings(max_examples=300)
@given(texts())
def test_nothing_that_is_written_crashes_the_reader(text: str) -> None:
    try:
        config = read(EXAMPLE, environ={}, text=text)
        resolved(config)
        for block in config.blocks:
            fill = filler(block) if block.kind == "cert" else None
            for row in rows(config, block):
                if fill:
                    fill(row)
        told: tuple[Problem, ...] = ()
    except ConfigError as error:
        told = error.problems or (Problem("E0000", "an error that says nothing"),)
    assert all(problem.span or (problem.place and not problem.place.keys) for problem in told)


REVOKED = '[[revoke]]\nid = "X"\ncsv = "aside/list.csv"\nreason = "superseded"\n'
FLEET = (
    '[cert.fleet]\nprofile = "server"\nfor_each = { csv = "aside/list.csv", key = "host" }\ndns = ["${each.host}"]\n'
)


@pytest.mark.parametrize("more", [REVOKED, FLEET, 'include = ["aside/list.csv"]\n'])
@pytest.mark.parametrize("is_link", [False, True])
def test_a_pipe_in_the_place_of_a_file_is_waited_for_by_nobody(tmp_path: Path, more: str, *, is_link: bool) -> None:
    (tmp_path / "aside").mkdir()
    os.mkfifo(tmp_path / ("pipe" if is_link else "aside/list.csv"))
    if is_link:
        (tmp_path / "aside/list.csv").symlink_to(tmp_path / "pipe")
    text = more + BASE if more.startswith("include") else BASE + more
    (tmp_path / "pki.toml").write_text(text)
    with pytest.raises(ConfigError) as refused:
        read(tmp_path / "pki.toml", environ={})
    assert [one.code for one in refused.value.problems] == ["E0105"]


def test_a_message_shows_the_beginning_of_what_is_too_long(tmp_path: Path) -> None:
    (tmp_path / "pki.toml").write_text(BASE + f'[[revoke]]\nid = "X"\nserial = "{"f" * 5000}"\nreason = "superseded"\n')
    with pytest.raises(ConfigError) as refused:
        read(tmp_path / "pki.toml", environ={})
    assert [len(one.message) < 150 for one in refused.value.problems] == [True]


def test_a_file_of_rows_that_nobody_wrote_is_not_read(tmp_path: Path) -> None:
    """10 GB of nothing take no room on the disk, and a minute to read."""
    (tmp_path / "aside").mkdir()
    with (tmp_path / "aside/list.csv").open("wb") as file:
        file.truncate(10 << 30)
    (tmp_path / "pki.toml").write_text(BASE + FLEET)
    with pytest.raises(ConfigError) as refused:
        read(tmp_path / "pki.toml", environ={})
    (problem,) = refused.value.problems
    assert (problem.code, "larger than 2,147,483,648 bytes" in problem.message) == ("E0105", True)


def test_a_line_without_an_end_is_not_read_to_be_shown(tmp_path: Path) -> None:
    (tmp_path / "aside").mkdir()
    with (tmp_path / "aside/list.csv").open("wb") as file:
        file.truncate(2 << 30)
    (tmp_path / "pki.toml").write_text(BASE + FLEET)
    config = read(tmp_path / "pki.toml", environ={})
    tracemalloc.start()
    (problem,) = config.located((Problem("E0320", "long", place=Place("aside/list.csv", line=1)),))
    assert tracemalloc.get_traced_memory()[1] < 1 << 22
    tracemalloc.stop()
    assert problem.span


def test_a_pipe_in_the_place_of_pki_toml_is_waited_for_by_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pki.toml")
    with pytest.raises(ConfigError) as refused:
        read(tmp_path / "pki.toml", environ={})
    assert [one.message for one in refused.value.problems] == ["pki.toml: not a regular file"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('x = "' + "a" * 2_000_000 + '"', "E0203"),
        ("a" + ".a" * 1_000_000 + " = 1", "E0103"),
        ("x = { b = 1, a" + '."b"' * 500_000 + " = 1 }", "E0103"),
        ("[a" + " . a" * 32 + "]", "E0103"),
        ("x = " + "9" * 100_000, "E0101"),
    ],
    ids=["word", "key", "inline key", "table", "number"],
)
def test_what_is_endless_is_told_in_time_that_grows_with_its_length_and_not_its_square(text: str, code: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read(EXAMPLE, environ={}, text=f"{text}\n{BASE}")
    assert code in [one.code for one in refused.value.problems]


def test_a_text_with_many_dots_is_no_deep_key() -> None:
    dots = "a." * 40
    config = read(EXAMPLE, environ={}, text=f"{BASE}allow = {{ dns = [\n'{dots}org', \"{dots}net\"] }}\n")
    assert config.blocks


@pytest.mark.parametrize("text", ['[revoke]\nid = "A"', "moved = 1", '[[cert]]\nprofile = "server"', 'scan = "x"'])
def test_an_included_file_of_the_wrong_shape_is_not_passed_over(tmp_path: Path, text: str) -> None:
    """A [revoke] in the place of a [[revoke]] revoked nothing, and nobody was told."""
    (tmp_path / "more.toml").write_text(text)
    (tmp_path / "pki.toml").write_text(f'include = ["more.toml"]\n{BASE}')
    with pytest.raises(ConfigError) as refused:
        read(tmp_path / "pki.toml", environ={})
    assert [(one.code, one.span and one.span.path) for one in refused.value.problems] == [("E0202", "more.toml")]
