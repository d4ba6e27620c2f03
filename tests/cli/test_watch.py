"""apply --watch as a process: a line a round, SIGTERM and ^C end it, and a frozen clock is refused."""

import signal
import subprocess

import pytest

from tests.cli.running import COMMAND, CONFIG, ONE_MORE, environment
from tests.quick import quick_keystore


@pytest.fixture
def watching(folder):
    """The process, in a folder where nothing was applied yet."""
    quick_keystore(folder)
    environ = environment()
    del environ["PKICODE_NOW"]
    command = [*COMMAND, "apply", "--watch", "-y"]
    with subprocess.Popen(command, cwd=folder, env=environ, stderr=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def heard(process, text):
    """The line that says it; reading waits for it, and the test's limit for reading."""
    return next(line for line in process.stderr if text in line)


def test_apply_watch_applies_what_is_edited(folder, watching):
    heard(watching, "Applied: 6 issued, 2 CRLs signed, 1 published, 1 updated.")
    (folder / "pki.toml").write_text(CONFIG + "junk", "utf-8")
    broken = heard(watching, "error")
    assert f"error: pki.toml:{CONFIG.count(chr(10)) + 1}: [E0101] not TOML" in broken
    assert "Only CRLs, OCSP answers and what is published" in broken
    (folder / "pki.toml").write_text(CONFIG + ONE_MORE, "utf-8")
    heard(watching, "Applied: 1 issued.")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_apply_watch_ends_when_it_is_told(watching, number):
    heard(watching, "Applied: ")
    watching.send_signal(number)
    heard(watching, "stopped; what was begun is done and recorded")
    assert watching.wait(60) == 0


def test_apply_watch_refuses_what_it_cannot_hold_to(run, folder):
    assert "a clock that stands still wakes nobody" in run("apply", "--watch", "-y").err
    for more in (("-y", "--allow", "issue=9"), ("-y", "--format", "json"), (), ("-y", "plan.json")):
        ran = run("apply", "--watch", *more)
        assert (ran.code, "--watch needs -y or --auto" in ran.err) == (64, True)
