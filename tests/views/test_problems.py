"""Problems as people read them, and strangers' characters made visible."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkicode.model.problem import Place, Problem, Related, Span
from pkicode.views.problems import human
from pkicode.views.text import printable


def test_a_problem_points_at_its_line_and_says_how_to_mend_it() -> None:
    span = Span("pki.toml", 45, 12, 45, 17, 'validity = "25y"')
    first = Span("pki.toml", 5, 12, 5, 17, 'validity = "20y"')
    problem = Problem(
        "E0311", "too long", help="shorten it", label="25y", span=span, related=(Related("declared here", span=first),)
    )
    assert human([problem]) == (
        "error[E0311]: too long\n"
        "  --> pki.toml:45:12\n"
        '45 | validity = "25y"\n'
        "   |            ^^^^^ 25y\n"
        "  ::: pki.toml:5:12\n"
        ' 5 | validity = "20y"\n'
        "   |            ----- declared here\n"
        "   = help: shorten it"
    )


def test_a_warning_says_that_it_is_one() -> None:
    assert human([Problem("W0302", "not used")]) == "warning[W0302]: not used"


def test_a_problem_of_a_whole_file_names_the_file() -> None:
    assert human([Problem("E0104", "gone", place=Place("pki.toml"))]).endswith("  --> pki.toml")


def test_carets_stand_under_what_is_shown_also_behind_hostile_characters() -> None:
    line = 'a = "\x1b[31m", b = 1'
    span = Span("f", 1, line.index("b = ") + 1, 1, line.index("b = ") + 2, line)
    shown, carets = human([Problem("E0203", "m", span=span)]).split("\n")[2:4]
    assert shown.index("b = ") == carets.index("^")
    assert "\x1b" not in shown


def test_a_long_line_is_cut_around_the_caret() -> None:
    line = "x" * 5000 + "HERE" + "y" * 5000
    shown, carets = human([Problem("E0203", "m", span=Span("f", 1, 5001, 1, 5005, line))]).split("\n")[2:4]
    assert len(shown) < 200
    assert shown[carets.index("^") :].startswith("HERE")


@pytest.mark.parametrize(
    "character", ["\x00", "\x1b", "\x7f", "\x9b", "\u202e", "\u2066", "\u200b", "\ufeff", "\ud800", "\u2028"]
)
def test_a_character_that_deceives_is_spelt_out(character: str) -> None:
    assert printable(f"a{character}b") == f"a\\u{{{ord(character):x}}}b"


@given(st.text())
def test_everything_printable_can_be_written_and_stays_on_its_line(text: str) -> None:
    shown = printable(text)
    assert shown.encode().decode() == shown
    assert len(shown.splitlines()) <= 1


@given(st.text(st.characters(categories=["L", "N", "P", "S"])))
def test_letters_of_every_script_stay_as_they_are(text: str) -> None:
    assert printable(text) == text
