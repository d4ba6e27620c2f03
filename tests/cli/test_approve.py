"""approve, and apply with what it made: what people are told, and exit codes; what is refused is in tests/security."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.running import CONFIG, ONE_MORE, Ran
from tests.oracles import openssl

Run = Callable[..., Ran]
RULE = '\n[policy]\nrequire_approval = ["cert.new"]\n[approver.alice]\npublic_key = """\n'


@pytest.fixture
def ruled(applied: Path) -> Path:
    """CONFIG applied, then ONE_MORE that wants alice's approval; her key is enciphered."""
    key = applied / "alice.pem"
    openssl("genpkey", "-algorithm", "ED25519", "-aes256", "-pass", "pass:hunter2", "-out", key)
    public = openssl("pkey", "-in", key, "-passin", "pass:hunter2", "-pubout")
    (applied / "pki.toml").write_text(f'{CONFIG}{ONE_MORE}{RULE}{public}"""\n')
    (applied / "pass").write_text("hunter2\n")
    return applied


APPROVE = ("approve", "new.plan", "--key", "alice.pem", "--passphrase-file", "pass")


def test_approve_shows_the_plan_and_writes_a_new_file(run: Run, ruled: Path) -> None:
    assert run("plan", "-e", "-o", "new.plan").code == 7
    assert run(*APPROVE).code == 64, "nobody can be asked"
    assert not (ruled / "new.plan.approval").exists()
    ran = run(*APPROVE, "-y")
    assert ran.code == 0, ran.err
    assert "+ cert.new" in ran.out
    assert ran.out.endswith("Approved by alice until 2026-11-24T09:00:00Z.\n")
    again = run(*APPROVE, "-y")
    assert (again.code, "is there already" in again.err) == (1, True)


def test_apply_waits_for_an_approval_and_finds_it_beside_the_plan(run: Run, ruled: Path) -> None:
    ran = run("apply", "-y", "--allow-clock")
    assert ran.code == 7
    assert "? cert.new" in ran.out
    assert "an approval: `pkicode plan -o FILE`, `pkicode approve FILE`" in ran.out
    run("plan", "-o", "new.plan")
    assert run("apply", "new.plan", "--allow-clock").code == 7
    assert run("apply", "new.plan", "--detached", "--allow-clock").code == 7
    assert run(*APPROVE, "-y").code == 0
    ran = run("apply", "new.plan", "--allow-clock")
    assert (ran.code, "1 issued" in ran.out) == (0, True), ran.err


def test_apply_takes_an_approval_from_where_it_is_told(run: Run, ruled: Path) -> None:
    run("plan", "-o", "new.plan")
    assert run(*APPROVE, "-y", "--out", "by-alice").code == 0
    assert run("apply", "--approval", "by-alice", "-y", "--allow-clock").code == 64
    (ruled / "bent").write_bytes((ruled / "by-alice").read_bytes().replace(b"alice", b"alicf"))
    ran = run("apply", "new.plan", "--approval", "bent", "--allow-clock")
    assert (ran.code, "there is no [approver.alicf] in pki.toml" in ran.err) == (1, True)
    assert run("apply", "new.plan", "--approval", "by-alice", "--allow-clock").code == 0


def test_approve_with_a_key_that_does_not_open_shows_nothing_of_it(run: Run, ruled: Path) -> None:
    run("plan", "-o", "new.plan")
    (ruled / "pass").write_text("hunter3\n")
    ran = run(*APPROVE, "-y")
    assert (ran.code, "hunter" in ran.out + ran.err) == (1, False)
    assert "the private key: it does not open" in ran.err


@pytest.mark.parametrize("arguments", [APPROVE[:2], APPROVE[:4]])
def test_what_never_ends_is_not_read_to_its_end(run: Run, ruled: Path, arguments: tuple[str, ...]) -> None:
    run("plan", "-o", "new.plan")
    more = ("--key", "/dev/zero") if arguments == APPROVE[:2] else ("--passphrase-file", "/dev/zero")
    ran = run(*arguments, *more, "-y")
    assert (ran.code, "/dev/zero has more than" in ran.err) == (1, True)


def test_a_plan_or_approval_that_is_a_pipe_is_waited_for_by_nobody(run: Run, ruled: Path) -> None:
    os.mkfifo(ruled / "pipe")
    run("plan", "-o", "new.plan")
    for arguments in (("pipe",), ("new.plan", "--approval", "pipe")):
        ran = run("apply", *arguments, "-y", "--allow-clock")
        assert (ran.code, "pipe: not a regular file" in ran.err) == (1, True)
