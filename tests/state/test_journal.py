"""The issuance journal: what was appended is there, and a crash costs the torn end only."""

import asyncio
import base64
import fcntl
import hashlib
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pkicode.adapters.journal import Journal, to_be_signed
from pkicode.model.problem import StateError
from pkicode.x509 import der
from tests.oracles import openssl


def certificate(number: int) -> tuple[bytes, bytes]:
    """A TBS and a certificate around it, as far as the journal looks."""
    tbs = der.tlv(der.SEQUENCE, der.integer(number))
    return tbs, der.tlv(der.SEQUENCE, tbs, der.tlv(der.SEQUENCE), der.bit_string(b"signature"))


NO_CERTIFICATES = (b"no certificate", certificate(1)[0], certificate(1)[1] + b"\0")


def key(tbs: bytes) -> str:
    return hashlib.sha256(tbs).hexdigest()


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.log")


def test_what_was_appended_is_found_by_its_tbs(journal, run):
    made = [certificate(n) for n in range(5)]
    run(journal.append([whole for _, whole in made[:2]]))
    run(journal.append([whole for _, whole in made[2:]]))
    assert dict(run(journal.journalled())) == {key(tbs): whole for tbs, whole in made}


def test_a_journal_that_is_not_there_holds_nothing(journal, run):
    assert dict(run(journal.journalled())) == {}
    run(journal.append([]))
    assert dict(run(journal.journalled())) == {}


def test_the_tbs_of_a_real_certificate_is_what_openssl_hashes(journal, run, tmp_path):
    pem, whole = tmp_path / "c.pem", tmp_path / "c.der"
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x",
            "-keyout", str(tmp_path / "k.pem"), "-out", str(pem))  # fmt: skip
    openssl("x509", "-in", str(pem), "-outform", "DER", "-out", str(whole))
    openssl("asn1parse", "-inform", "DER", "-in", str(whole), "-strparse", "4", "-noout", "-out", str(tmp_path / "tbs"))
    assert to_be_signed(whole.read_bytes()) == (tmp_path / "tbs").read_bytes()
    run(journal.append([whole.read_bytes()]))
    assert run(journal.journalled())[key((tmp_path / "tbs").read_bytes())] == whole.read_bytes()


def test_only_its_owner_may_read_it_and_others_are_refused(journal, run):
    run(journal.append([certificate(1)[1]]))
    assert journal.path.stat().st_mode & 0o777 == 0o600
    journal.path.chmod(0o620)
    with pytest.raises(StateError, match="others"):
        run(journal.append([certificate(2)[1]]))
    assert len(run(journal.journalled())) == 1


@pytest.mark.parametrize("torn", [1, 10, 20])
def test_a_torn_end_is_not_read_and_gives_way_to_the_next_batch(journal, run, torn):
    run(journal.append([certificate(1)[1], certificate(2)[1]]))
    with journal.path.open("r+b") as file:
        file.truncate(journal.path.stat().st_size - torn)
    assert list(run(journal.journalled())) == [key(certificate(1)[0])]
    run(journal.append([certificate(3)[1]]))
    assert list(run(journal.journalled())) == [key(certificate(1)[0]), key(certificate(3)[0])]


@pytest.mark.parametrize(
    "line", [b"", b"????", base64.b64encode(b"no certificate"), base64.b64encode(certificate(1)[0])]
)
def test_a_line_before_the_end_that_is_no_certificate_is_damage(journal, run, line):
    good = base64.b64encode(certificate(1)[1])
    journal.path.write_bytes(good + b"\n" + line + b"\n" + good + b"\n")
    journal.path.chmod(0o600)
    with pytest.raises(StateError, match=f"damaged at octet {len(good) + 1}"):
        run(journal.journalled())


def test_an_endless_line_is_damage_and_is_not_read_into_memory(journal, run):
    journal.path.write_bytes(b"A" * (3 << 20))
    with pytest.raises(StateError, match="too long"):
        run(journal.journalled())


def test_a_link_planted_in_its_place_is_not_followed(journal, run, tmp_path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    victim.chmod(0o600)
    journal.path.symlink_to(victim)
    with pytest.raises(StateError):
        run(journal.append([certificate(1)[1]]))
    assert victim.read_bytes() == b"precious"


def test_a_full_disk_leaves_no_half_batch(journal, run):
    run(journal.append([certificate(1)[1]]))
    size = journal.path.stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 50, hard))
        with pytest.raises(StateError, match="no certificate was recorded"):
            run(journal.append([certificate(n)[1] for n in range(2, 9)]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert journal.path.stat().st_size == size
    run(journal.append([certificate(2)[1]]))
    assert len(run(journal.journalled())) == 2


def test_a_certificate_too_long_to_be_read_back_is_not_appended(journal, run):
    with pytest.raises(StateError, match="too long"):
        run(journal.append([certificate(1)[1], der.tlv(der.SEQUENCE, certificate(2)[0], b"\0" * (1 << 20))]))
    assert dict(run(journal.journalled())) == {}


def test_a_line_that_is_still_being_written_is_not_taken_for_torn(journal, run):
    run(journal.append([certificate(1)[1]]))
    line = base64.b64encode(certificate(2)[1]) + b"\n"

    async def meanwhile():
        with journal.path.open("ab", buffering=0) as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            other.write(line[:9])
            waiting = asyncio.create_task(journal.append([certificate(3)[1]]))
            for _ in range(1000):
                await asyncio.sleep(0)
            other.write(line[9:])
        await waiting

    run(meanwhile())
    assert list(run(journal.journalled())) == [key(certificate(number)[0]) for number in (1, 2, 3)]


_WRITER = """
import asyncio, sys
from pathlib import Path
from pkicode.adapters.journal import Journal
from pkicode.x509 import der
first = int(sys.argv[2])
async def main():
    for number in range(first, first + 40):
        tbs = der.tlv(der.SEQUENCE, der.integer(number))
        await Journal(Path(sys.argv[1])).append([der.tlv(der.SEQUENCE, tbs, b"\\x30\\x00" * number)])
asyncio.run(main())
"""


def test_two_processes_append_without_tearing_one_another(journal, run):
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(journal.path), str(first)], env={"PYTHONPATH": os.getcwd()}
        )
        for first in (100, 200)
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    assert len(run(journal.journalled())) == 80
