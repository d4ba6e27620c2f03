"""`--engine dask`: the parts of a scan as tasks of a cluster, whose workers may die, and whoever asked too."""

import asyncio
import os
import pickle
import shutil
import signal
import socket
import subprocess
import threading
from contextlib import contextmanager

import psutil
import pytest
from attrs import evolve
from distributed import Client

import pkicode
from pkicode.adapters import loop
from pkicode.adapters.asked import Wanted, jobs
from pkicode.adapters.cluster import spread
from pkicode.adapters.scanning import reach_of
from pkicode.cli import main
from pkicode.project import open_project
from pkicode.project.asked import declared
from tests.cli.running import CONFIG
from tests.guards.tree import ROOT
from tests.real.same import same
from tests.scan.cluster import cluster, started
from tests.scan.servers import HOST, identity, openssl

COMMAND = ROOT / ".venv/bin/pkicode"
QUICK = ("--checks", "quick", "--rate", "100000")


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    with cluster(tmp_path_factory.mktemp("cluster")) as address:
        yield address


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    """A server at every address of loopback."""
    with openssl(identity(tmp_path_factory.mktemp("identity"), "ecdsa"), "-www", host="0.0.0.0") as found:
        yield found


@pytest.fixture
def run(tmp_path):
    def ran(*arguments, **environ):
        return subprocess.run(
            [COMMAND, "-q", "scan", *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=120,
            env={"PATH": "/usr/bin:/bin", **environ},
        )  # fmt: skip

    return ran


@contextmanager
def heard(said, host=HOST):
    """A port; `said(connection)` is called in a thread for each connection."""
    with socket.create_server((host, 0), backlog=200) as server:

        def serve():
            # Closing the server ends it.
            try:
                while True:
                    threading.Thread(target=said, args=server.accept()[:1], daemon=True).start()
            except OSError:
                return

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)


def owner(pids, connection):
    """Whose the other end of a connection is."""
    mine = connection.getpeername()
    return next(pid for pid in pids if any(one.laddr == mine for one in psutil.Process(pid).net_connections("tcp")))


def workers(scheduler):
    with Client(scheduler, set_as_default=False) as client:
        return list(client.run(os.getpid).values())


def test_workers_find_what_one_machine_finds_which_goes_on_where_they_stopped(tmp_path, run, scheduler, port):
    asked = (f"127.0.21.0/26:{port}", f"127.0.22.0/29:{port}", *QUICK)
    assert run(*asked, "-o", "here").returncode == 0
    spread_out = run(*asked, "-o", "there", "--engine", "dask", "--scheduler", scheduler)
    assert spread_out.returncode == 0, spread_out.stderr
    done = tmp_path / "there/done"
    assert {one.name for one in done.iterdir()} == {"0000000", "0000001"}
    same(pkicode.read_scan(tmp_path / "here"), pkicode.read_scan(tmp_path / "there"))
    (done / "0000001").unlink()
    assert run(*asked, "-o", "there").returncode == 0
    same(pkicode.read_scan(tmp_path / "here"), pkicode.read_scan(tmp_path / "there"))


def test_a_part_whose_worker_is_killed_is_scanned_again_and_counted_once(run, scheduler):
    first, alive = threading.Lock(), workers(scheduler)
    killed = []

    def said(connection):
        if first.acquire(blocking=False):
            killed.append(owner(alive, connection))
            os.kill(killed[0], signal.SIGKILL)
        connection.close()

    with heard(said) as port:
        targets = [f"127.0.0.1:{port}", *(f"127.0.22.{number}:1" for number in range(1, 100))]
        ran = run(*targets, *QUICK, "--format", "csv", "--engine", "dask", "--scheduler", scheduler)
    assert ran.returncode == 0, ran.stderr
    told = [line.split(",")[0] for line in ran.stdout.splitlines()[1:] if "TCPDial" in line]
    assert (len(killed), sorted(told)) == (1, sorted(targets))


def executing(dask_worker):
    return len(dask_worker.state.executing)


def test_workers_let_go_of_a_scan_whose_client_was_killed(tmp_path, scheduler):
    asking, connections = threading.Event(), []

    def said(connection):
        connections.append(connection)
        asking.set()
        connection.close()

    # At this rate one part of that many takes minutes.
    with heard(said, "0.0.0.0") as port, Client(scheduler, set_as_default=False) as client:
        slow = (f"127.0.23.0/26:{port}", "--rate", "1", "--engine", "dask", "--scheduler", scheduler)
        with subprocess.Popen([COMMAND, "-q", "scan", *slow], cwd=tmp_path) as scan:
            assert asking.wait(60)
            scan.kill()
        while any(client.run(executing).values()):
            continue
    assert len(connections) < 62


def test_python_takes_a_client_or_an_address_and_says_what_it_cannot_take(scheduler, port):
    target = f"{HOST}:{port}"
    with Client(scheduler, set_as_default=False) as client:
        found = pkicode.scan(target, checks="quick", engine="dask", client=client)
        assert list(found.endpoints["state"]) == ["tls"]
        assert client.status == "running", "it is the caller's, and stays open"
    with pytest.raises(pkicode.PkicodeError, match="needs a cluster"):
        pkicode.scan(target, engine="dask")
    with pytest.raises(pkicode.PkicodeError, match="is for the engine `dask`"):
        pkicode.scan(target, client=scheduler)
    with pytest.raises(pkicode.PkicodeError, match="no engine `spark`"):
        pkicode.scan(target, engine="spark", client=scheduler)

    async def asynchronous():
        async with Client(scheduler, asynchronous=True, set_as_default=False) as client:
            await pkicode.ascan(target, engine="dask", client=client)

    with pytest.raises(pkicode.PkicodeError, match="asynchronous"):
        asyncio.run(asynchronous())


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("tcp://10.0.0.5:8786", "neither encrypted nor authenticated"),
        ("scheduler.example:8786", "neither encrypted nor authenticated"),
        ("tls://10.0.0.5:8786", "DASK_DISTRIBUTED__COMM__TLS__CA_FILE"),
        ("127.0.0.1", "missing port"),
        ("carrier-pigeon://127.0.0.1:1", "unknown address scheme"),
    ],
)
def test_an_address_that_will_not_do_is_refused_before_anybody_is_spoken_to(address, told):
    with pytest.raises(pkicode.PkicodeError, match=told):
        pkicode.scan(HOST, engine="dask", client=address)


def test_engine_and_scheduler_go_together():
    assert main(["scan", HOST, "--engine", "dask"]) == 64
    assert main(["scan", HOST, "--scheduler", "127.0.0.1:1"]) == 64


def test_nobody_at_the_address_is_told_with_the_mend(run):
    ran = run(HOST, "--engine", "dask", "--scheduler", "tcp://127.0.0.1:1", DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP="1s")
    assert (ran.returncode, "no dask scheduler answers at `tcp://127.0.0.1:1`" in ran.stderr) == (1, True), ran.stderr
    assert "help: start one (dask scheduler)" in ran.stderr


@pytest.mark.heavy
def test_a_scheduler_without_workers_is_told_with_the_mend(tmp_path, run):
    with cluster(tmp_path, 0, apart=False) as address:
        ran = run(HOST, "--engine", "dask", "--scheduler", address)
    assert (ran.returncode, "has no workers" in ran.stderr, "dask worker ADDRESS" in ran.stderr) == (1, True, True)


@pytest.mark.heavy
def test_a_scheduler_that_goes_away_is_one_error_and_what_was_done_stays(tmp_path, run):
    gone = threading.Event()

    def said(connection):
        # Silence, until the scheduler is gone.
        with connection:
            os.kill(process.pid, signal.SIGKILL) if not gone.is_set() else None
            gone.set()
            connection.recv(100_000)

    with heard(said) as port, started(tmp_path, 1, apart=False) as (process, address):
        ran = run(f"{HOST}:{port}", "-o", "found", "--engine", "dask", "--scheduler", address)
    assert (ran.returncode, ran.stderr.splitlines()) == (
        1,
        ["error: the scheduler is gone", "   = help: run the same command again: with -o it goes on where it stopped"],
    )
    assert (tmp_path / "found/scan.json").exists()


@pytest.mark.heavy
def test_a_worker_of_another_release_is_refused_with_what_differs(tmp_path, run):
    other = tmp_path / "other"
    shutil.copytree(ROOT / "pkicode", other / "pkicode", ignore=shutil.ignore_patterns("__pycache__"))
    (other / "pkicode/model/version.py").write_text('VERSION = "0.0.1"\n')
    with cluster(tmp_path, 1, apart=False, code=other) as address:
        ran = run(HOST, "--engine", "dask", "--scheduler", address)
    assert ran.returncode == 1
    assert "has pkicode 0.0.1 (here 0.1.0)" in ran.stderr
    assert "help: install the same releases" in ran.stderr


@pytest.mark.parametrize("shares", [1, 3, 50])
def test_all_shares_together_begin_no_more_than_one_scan_may(shares):
    terms = jobs(Wanted(["127.0.0.1"], rate=500))[0].terms

    def begun(address, share):
        """How many connections one share lets begin within ten seconds."""
        pace = evolve(reach_of(terms, share).pace)  # its buckets are new
        return sum(pace.take(address(turn), turn / 1000) == 0.0 for turn in range(10_000))

    for address in (lambda _: HOST, lambda turn: f"127.0.1.{turn % 250}", lambda turn: f"127.{turn % 250}.1.1"):
        # No share is less than a connection.
        assert begun(address, shares) * shares <= begun(address, 1) + shares


def test_a_worker_gets_targets_and_terms_and_nothing_of_the_project(tmp_path, monkeypatch):
    monkeypatch.setenv("PKI_PASSPHRASE", "planted-in-the-environment")
    (tmp_path / ".pkicode").mkdir(mode=0o700)
    (tmp_path / ".pkicode/passphrase").write_text("planted-in-a-file")
    (tmp_path / ".pkicode/passphrase").chmod(0o600)
    text = CONFIG.replace("[cert.portal]", '[cert.portal]\nendpoints = ["127.0.0.1:4433"]')
    (tmp_path / "pki.toml").write_text(text)
    project = open_project(tmp_path / "pki.toml")
    project.apply()
    told = loop.run(declared(project.config, project.state, ["cert.portal"], now=project.clock()))
    sent = pickle.dumps(jobs(Wanted(["cert.portal"]), told))
    assert b"127.0.0.1" in sent
    assert [one for one in (b"planted", b"PRIVATE KEY", str(tmp_path).encode()) if one in sent] == []
    assert spread.__kwdefaults__ == {"jobs": None, "before": 0}
