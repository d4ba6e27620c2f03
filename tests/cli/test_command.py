"""The command itself: global options, exit codes, errors, completion."""

import os
import signal
import subprocess

import click
import pytest

from pkicode.cli import root
from tests.cli.running import COMMAND, CONFIG, environment, spawn


def test_version_is_told_without_looking_for_a_configuration(tmp_path):
    ran = spawn(tmp_path, "--version")
    assert (ran.code, ran.out, ran.err) == (0, "pkicode 0.1.0\n", "")


@pytest.mark.parametrize("arguments", [["plan", "--nonsense"], ["nonsense"], ["apply", "--jobs", "0"], ["show"], []])
def test_a_usage_error_exits_64_and_never_2(run, arguments):
    ran = run(*arguments)
    assert ran.code == 64
    assert ran.out == ""
    assert "Usage: pkicode" in ran.err


def test_every_command_has_help_that_says_what_it_does(run):
    for name in root.list_commands(click.Context(root)):
        ran = run(name, "--help")
        assert ran.code == 0
        assert len(ran.out.splitlines()[2]) > 10


def test_pki_toml_is_looked_for_upward_but_not_beyond_the_repository(run, folder):
    inner = folder / "teams" / "a"
    inner.mkdir(parents=True)
    assert run("-C", inner, "graph").code == 0
    (folder / "teams" / ".git").mkdir()
    ran = run("-C", inner, "graph")
    assert ran.code == 1
    assert "no pki.toml in" in ran.err
    assert "pkicode init" in ran.err


def test_the_file_option_and_the_environment_name_another_file(run, folder, monkeypatch):
    other = folder / "other.toml"
    other.write_text(CONFIG.replace("cert.portal", "cert.gate"), "utf-8")
    assert "cert.gate" in run("-f", "other.toml", "graph").out
    assert "cert.portal" in run("graph").out
    monkeypatch.setenv("PKICODE_CONFIG", str(other))
    assert "cert.gate" in run("graph").out
    assert "cert.portal" in run("-f", "pki.toml", "graph").out


def test_a_variable_is_set_on_the_command_line(run):
    assert "portal.b.example" in run("--var", "domain=b.example", "config", "show").out
    assert run("--var", "domain", "graph").code == 64


def test_a_mistake_in_pki_toml_is_shown_at_its_line_and_exits_1(run, folder):
    (folder / "pki.toml").write_text(CONFIG.replace('validity = "5y"', 'validty = "5y"'), "utf-8")
    ran = run("graph")
    assert ran.code == 1
    assert ran.out == ""
    assert "unknown key `validty`" in ran.err
    assert "--> pki.toml:" in ran.err
    assert "error: 1 error in the configuration" in ran.err


def test_a_missing_file_is_an_error_with_its_name(run):
    ran = run("-f", "absent.toml", "graph")
    assert ran.code == 1
    assert "absent.toml" in ran.err


@pytest.mark.parametrize("clock", ["tomorrow", "+60d", "2027-01-11T09:00:00", "1970-01-01T00:00:00Z"])
def test_a_frozen_clock_must_be_an_instant(run, monkeypatch, clock):
    monkeypatch.setenv("PKICODE_NOW", clock)
    ran = run("plan")
    assert ran.code == 64
    assert "PKICODE_NOW" in ran.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["apply", "-y"],
        ["state", "restore", "x"],
        ["state", "lock", "break"],
        ["keystore", "rewrap"],
        ["export", "cert.portal"],
    ],
)
def test_commands_that_write_refuse_a_frozen_clock(run, arguments):
    ran = run(*arguments)
    assert ran.code == 64
    assert "--allow-clock" in ran.err


@pytest.mark.parametrize(
    ("option", "environ", "coloured"),
    [
        ([], {}, False),
        (["--color", "always"], {"NO_COLOR": "1"}, True),
        (["--color", "never"], {"FORCE_COLOR": "1"}, False),
        ([], {"PKICODE_COLOR": "always", "NO_COLOR": "1"}, True),
        ([], {"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
        ([], {"FORCE_COLOR": "1"}, True),
        (["--color", "auto"], {"PKICODE_COLOR": "always"}, False),
    ],
)
def test_colour_is_decided_by_option_then_environment_then_terminal(run, monkeypatch, option, environ, coloured):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert ("\x1b[32m" in run(*option, "plan").out) is coloured


def test_a_reader_that_goes_away_gets_no_error_message(folder):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as out:
        done = subprocess.run(
            [*COMMAND, "schema", "config"], cwd=folder, env=environment(), stdout=out, stderr=subprocess.PIPE
        )
    assert done.returncode == 1
    assert done.stderr == b""


def test_an_interrupt_exits_130_without_a_traceback(folder):
    keyboard, typing = os.pipe()
    process = subprocess.Popen(
        [*COMMAND, "keystore", "rewrap", "--allow-clock", "--new-passphrase-file", "/dev/stdin"],
        cwd=folder,
        env=environment(),
        stdin=keyboard,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.write(typing, b"half a passphra")
    # It waits for the rest of the line: /proc says so, and then ^C comes.
    while "pipe_read" not in _waits_in(process.pid) and process.poll() is None:
        os.sched_yield()
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    os.close(typing)
    os.close(keyboard)
    assert process.returncode == 130
    assert "interrupted" in told
    assert "Traceback" not in told


def _waits_in(pid):
    with open(f"/proc/{pid}/wchan") as file:
        return file.read()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_for_each_shell(run, shell):
    ran = run("completion", shell)
    assert ran.code == 0
    assert "_PKICODE_COMPLETE" in ran.out


def _typed(line):
    return {"_PKICODE_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}


def test_completion_completes_addresses(applied):
    assert spawn(applied, **_typed("pkicode explain cert.")).out.splitlines() == ["plain,cert.app", "plain,cert.portal"]
    assert "plain,cert.app[" in spawn(applied, **_typed("pkicode explain cert.app[")).out


def test_completion_is_silent_where_there_is_no_configuration(tmp_path):
    ran = spawn(tmp_path, **_typed("pkicode explain cert."))
    assert (ran.out.strip(), ran.err) == ("", "")
