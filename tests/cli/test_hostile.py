"""Strings of strangers through every face: nothing moves a cursor, starts a formula or a workflow command."""

import csv
import io

import pytest

from tests.cli.running import CONFIG
from tests.cli.test_files import FROM_CSV

HOSTILE = "\x1b[31m\u202e\x9b"
SIGNS = ("\x1b", "\u202e", "\x9b")
ROWS = ["=1+1", "@SUM(A1)", "::error::x", "<script>", "a`b", "it's"]


@pytest.fixture
def hostile(folder):
    note = 'note = "\\u001b[31m\\u202e\\u009b"\n'
    config = FROM_CSV.replace("[ca.root]\n", "[ca.root]\n" + note).replace("[cert.portal]\n", "[cert.portal]\n" + note)
    (folder / "pki.toml").write_text(config, "utf-8")
    rows = [(key, f"h{number}.corp.example") for number, key in enumerate(ROWS)]
    with (folder / "fleet.csv").open("w", newline="") as out:
        csv.writer(out).writerows([("host", "fqdn"), *rows])
    return folder


def _is_calm(text):
    return not any(sign in text for sign in SIGNS) and not any(
        line.lstrip().startswith("::") for line in text.splitlines()
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["validate"],
        ["plan"],
        ["plan", "--full"],
        ["plan", "--format", "json"],
        ["plan", "--format", "markdown"],
        ["plan", "--format", "html"],
        ["graph"],
        ["graph", "--format", "mermaid"],
        ["config", "show", "--resolved", "--origin"],
        ["config", "show", "--format", "json"],
        ["explain", 'cert.app["::error::x"]'],
    ],
)
def test_no_command_that_reads_lets_a_hostile_string_through(run, hostile, arguments):
    ran = run(*arguments)
    assert ran.code == 0, ran.err
    assert _is_calm(ran.out)
    assert _is_calm(ran.err)


def test_no_command_after_an_apply_lets_a_hostile_string_through(run, hostile):
    assert run("-v", "apply", "-y", "--allow-clock").code == 0
    for arguments in (["inventory"], ["audit", "log"], ["keystore", "list"], ["show", 'cert.app["::error::x"]']):
        ran = run(*arguments)
        assert ran.code == 0, ran.err
        assert not any(sign in ran.out for sign in SIGNS)
    rows = csv.reader(io.StringIO(run("inventory", "--format", "csv").out))
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row)


@pytest.mark.parametrize(
    "broken",
    [
        CONFIG.replace('profile = "server"\ndns', 'profile = "\\u001b[31m\\u202e"\ndns'),
        CONFIG.replace("[cert.portal]", '[cert."\\u001b[31m"]'),
        CONFIG + f'\n# {HOSTILE}\nnonsense = "{HOSTILE}"\n',
        CONFIG + '\n["\\u202e\\n::error::x"]\n',
    ],
)
def test_a_mistake_with_a_hostile_string_is_shown_and_does_nothing_else(run, folder, broken):
    (folder / "pki.toml").write_text(broken, "utf-8")
    ran = run("plan")
    assert ran.code == 1
    assert _is_calm(ran.err)
    assert "error[" in ran.err


@pytest.mark.parametrize(
    "arguments",
    [["explain", HOSTILE], ["show", HOSTILE], ["--var", f"domain={HOSTILE}", "plan"], ["--env", HOSTILE, "plan"]],
)
def test_a_hostile_argument_comes_back_visible(run, arguments):
    ran = run(*arguments)
    assert ran.code == 1
    assert _is_calm(ran.err)
