"""A network of real servers and closed ports, scanned by one command, killed, and gone on with."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter

import pytest
from distributed import Client

import pkicode
from tests.guards.tree import ROOT
from tests.real.fleet import fleet
from tests.real.same import same
from tests.scan.cluster import cluster

PARTS, RENAMES = 64, 8
"""Targets of a part, and files that are put in place for one, its mark the last."""
COMMAND = """
import os, signal, sys
from pkicode.cli import main
limit, switches = int(sys.argv[1]), 0
def count(event, args):
    global switches
    if event == "os.rename":
        switches += 1
        if switches > limit:
            os.kill(os.getpid(), signal.SIGKILL)
if limit:
    sys.addaudithook(count)
if __name__ == "__main__":
    sys.exit(main(sys.argv[2:]))
"""


@pytest.fixture
def command(tmp_path):
    """`pkicode` that is killed when it would put another file in place after so many; 0: never."""
    script = tmp_path / "command.py"
    script.write_text(COMMAND)

    def run(limit, *arguments):
        return subprocess.run(
            [sys.executable, script, str(limit), "-q", *arguments], cwd=tmp_path, capture_output=True, text=True,
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        )  # fmt: skip

    return run


def true(found, there, unseen=()):
    """Whether everybody was found who is there, with what they speak and serve, and nobody else."""
    spoken = {address: tuple(one for one in those if one not in unseen) for address, those in there.versions.items()}
    tls = found.endpoints[found.endpoints["state"] == "tls"]
    assert dict(zip(tls["address"], tls["versions"], strict=True)) == spoken
    served = found.chains[found.chains["role"] == "leaf"].drop_duplicates(["target", "sha256"])
    address = dict(zip(found.endpoints["target"], found.endpoints["address"], strict=True))
    assert {address[one.target]: one.sha256 for one in served.itertuples()} == there.leaves
    assert found.verdicts[found.verdicts["store"] == "root.pem"]["ok"].all()


def test_a_network_is_scanned_killed_and_gone_on_with_to_the_same_frame(tmp_path, command):
    with fleet(tmp_path, "127.71.7", 30) as there:
        asked = [f"127.71.7.0/25:{there.port}", "--checks", "quick", "--rate", "100000", "--trust", str(there.root)]
        whole = command(0, "scan", *asked, "-o", "whole", "--format", "json")
        assert whole.returncode == 0, whole.stderr
        killed = command(1 + RENAMES + 3, "scan", *asked, "-o", "cut")
        assert killed.returncode == -signal.SIGKILL
        assert [path.name for path in (tmp_path / "cut/done").iterdir()] == ["0000000"]
        assert command(0, "scan", *asked, "-o", "cut").returncode == 0
    found = pkicode.read_scan(tmp_path / "whole")
    assert Counter(found.endpoints["state"]) == {"tls": 30, "closed": 96}
    # Of TLS 1.0 and 1.1 a quick scan tells the newer.
    true(found, there, unseen=("TLSv1.0",))
    same(found, pkicode.read_scan(tmp_path / "cut"))
    told = json.loads(whole.stdout)
    assert (told["format"], len(told["endpoints"]), told["scan_id"]) == ("pkicode.scan", 126, found.scan_id)


@pytest.mark.heavy
def test_two_hundred_servers_are_asked_everything_in_one_command_and_after_a_kill(tmp_path, command):
    with fleet(tmp_path, "127.72.8", 200) as there:
        asked = [f"127.72.8.0/24:{there.port}", "--rate", "100000", "--trust", str(there.root)]
        assert command(1 + 2 * RENAMES + 5, "scan", *asked, "-o", "cut").returncode == -signal.SIGKILL
        assert len(list((tmp_path / "cut/done").iterdir())) == 2
        assert command(0, "scan", *asked, "-o", "cut").returncode == 0
        assert command(0, "scan", *asked, "-o", "whole").returncode == 0
    found = pkicode.read_scan(tmp_path / "cut")
    assert Counter(found.endpoints["state"]) == {"tls": 200, "closed": 54}
    true(found, there)
    same(found, pkicode.read_scan(tmp_path / "whole"))


@pytest.mark.heavy
def test_a_cluster_that_loses_a_worker_and_who_asked_finds_the_same(tmp_path, command):
    with fleet(tmp_path, "127.73.9", 200) as there, cluster(tmp_path) as scheduler:
        asked = [f"127.73.9.0/24:{there.port}", "--rate", "100000", "--trust", str(there.root)]
        spread = ["--engine", "dask", "--scheduler", scheduler]
        assert command(1 + RENAMES + 3, "scan", *asked, *spread, "-o", "cut").returncode == -signal.SIGKILL
        assert len(list((tmp_path / "cut/done").iterdir())) == 1
        with Client(scheduler, set_as_default=False) as client:
            os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)
        assert command(0, "scan", *asked, *spread, "-o", "cut").returncode == 0
        assert command(0, "scan", *asked, "-o", "whole").returncode == 0
    found = pkicode.read_scan(tmp_path / "cut")
    assert Counter(found.endpoints["state"]) == {"tls": 200, "closed": 54}
    true(found, there)
    same(found, pkicode.read_scan(tmp_path / "whole"))
