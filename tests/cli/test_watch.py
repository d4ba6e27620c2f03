"""apply --watch as a process: a line a round, SIGTERM and ^C end it, and a frozen clock is refused."""

import os
import signal
import subprocess

import pytest

from tests.cli.running import COMMAND, CONFIG, ONE_MORE, environment


def start(folder):
    environ = environment()
    del environ["PKICODE_NOW"]
    return subprocess.Popen(
        [*COMMAND, "apply", "--watch", "-y"], cwd=folder, env=environ, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_apply_watch_applies_what_is_edited_and_ends_when_it_is_told(folder, number):
    process = start(folder)
    assert "Applied: 6 issued, 2 CRLs signed, 1 published, 1 updated." in process.stderr.readline()
    (folder / "pki.toml").write_text(CONFIG + "junk", "utf-8")
    line = _after_quiet(process)
    assert f"error: pki.toml:{CONFIG.count(chr(10)) + 1}: [E0101] not TOML" in line
    assert "Only CRLs, OCSP answers and what is published" in line
    (folder / "pki.toml").write_text(CONFIG + ONE_MORE, "utf-8")
    assert "Applied: 1 issued." in process.stderr.readline()
    os.kill(process.pid, number)
    assert "stopped; what was begun is done and recorded" in process.communicate(timeout=60)[1]
    assert process.returncode == 0


def _after_quiet(process) -> str:
    """The next line that tells something; a round that follows its own commits says only when it wakes."""
    line = process.stderr.readline()
    return process.stderr.readline() if "nothing to do.   Next wake" in line and "error" not in line else line


def test_apply_watch_refuses_what_it_cannot_hold_to(run, folder):
    assert "a clock that stands still wakes nobody" in run("apply", "--watch", "-y").err
    for more in (("-y", "--allow", "issue=9"), ("-y", "--format", "json"), (), ("-y", "plan.json")):
        ran = run("apply", "--watch", *more)
        assert (ran.code, "--watch needs -y or --auto" in ran.err) == (64, True)
