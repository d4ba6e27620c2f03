"""Scans of many targets: good and bad ones among each other, names, networks, processes.  Every one is a record."""

import asyncio
import threading
from collections import Counter
from contextlib import AsyncExitStack

import pytest
from attrs import evolve

from pkicode.adapters.asked import Wanted, jobs
from pkicode.adapters.network import addresses
from pkicode.adapters.scanning import AT_ONCE, reach_of, whole
from pkicode.model.problem import ConfigError
from pkicode.scanner.asking import looked_up
from pkicode.scanner.finding import Grade
from pkicode.scanner.terms import RATE
from tests.scan import strange
from tests.scan.scanning import found
from tests.scan.servers import HOST, free_port, identity, openssl
from tests.scan.test_strange import BOMB, ENDLESS, GARBAGE, PLAIN_HTTP

PATIENCE = 2.0
BAD = {
    "tarpit": (strange.tarpit, "failed"),
    "hangs up": (strange.hangs_up, "failed"),
    "resets": (strange.resets, "reset"),
    "garbage": (strange.says(GARBAGE), "not-tls"),
    "http": (strange.says(PLAIN_HTTP), "not-tls"),
    "bomb": (strange.says(BOMB), "failed"),
    "endless": (strange.says(ENDLESS, then_stays=True), "failed"),
}


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    """A server at every address of loopback."""
    with openssl(identity(tmp_path_factory.mktemp("identity"), "ecdsa"), "-www", host="0.0.0.0") as found:
        yield found


def meant(*targets, **more):
    (made,) = jobs(Wanted(targets, rate=100_000, **more))
    return evolve(made, terms=evolve(made.terms, patience=PATIENCE))


def scanned(*targets, jobs=1, told=None, **more):
    told = [] if told is None else told
    return asyncio.run(whole(meant(*targets, **more), emit=told.append, jobs=jobs))


def test_among_bad_servers_the_good_ones_are_found_and_each_is_a_record_in_its_place(port):
    async def both():
        async with AsyncExitStack() as stack:
            ports = {name: await stack.enter_async_context(strange.serving(serve)) for name, (serve, _) in BAD.items()}
            targets = [f"{HOST}:{one}" for one in ports.values()]
            targets += [f"127.0.9.{number}:{port}" for number in range(1, AT_ONCE + 1)]
            return targets, await whole(meant(*targets, checks="quick"), emit=told.append, jobs=1)

    told = []
    targets, records = asyncio.run(both())
    assert [str(one.target) for one in records] == targets
    states = [one.state for one in records]
    expected = [state for _, state in BAD.values()]
    # Half a conversation with a server that begins as TLS 1.2 does is TLS to some hellos, and none to others.
    assert [one for one, bad in zip(states, expected, strict=False) if one not in (bad, "tls")] == []
    assert states[len(BAD) :] == ["tls"] * AT_ONCE
    assert [one.done for one in told] == list(range(1, len(targets) + 1))


def test_processes_find_what_one_process_finds(port):
    targets = [f"127.0.8.{number}:{port}" for number in range(1, AT_ONCE + 9)]

    def plain(records):
        return [evolve(one, at=0, seconds=0, octets=0, connections=0) for one in records]

    assert plain(scanned(*targets, jobs=2, checks="quick")) == plain(scanned(*targets, jobs=1, checks="quick"))


def test_a_discovery_counts_among_the_connections(port):
    few = scanned(f"127.0.7.1:{port}", checks="quick")[0]
    many = scanned(*(f"127.0.7.{number}:{port}" for number in range(1, AT_ONCE + 2)), checks="quick")[0]
    assert (few.connections, many.connections) == (4, 5)


def test_a_name_has_a_record_for_each_address_and_says_that_it_resolves(port):
    records = scanned(f"localhost:{port}", checks="quick")
    four = next(one for one in records if one.target.address == HOST)
    lookup = found(four, "DNSLookup")
    assert (four.state, four.target.server_name, lookup.grade) == ("tls", "localhost", Grade.GOOD)
    assert lookup.value.split() == [one.target.address for one in records]


def test_a_name_without_an_address_is_a_record_too():
    (one,) = scanned("nobody.invalid")
    assert (one.state, found(one, "DNSLookup").grade) == ("unresolved", Grade.BAD)


def test_names_that_nobody_answers_for_starve_no_other():
    held = threading.Event()

    def never(_: str) -> list[str]:
        held.wait()
        return []

    async def all_of_them() -> tuple[list[object], object]:
        slow = await asyncio.gather(*(addresses(f"n{n}.example", seconds=0.05, resolve=never) for n in range(100)))
        return slow, await addresses("localhost")

    try:
        slow, there = asyncio.run(all_of_them())
    finally:
        held.set()
    assert slow == [None] * 100
    assert there
    assert set(there) <= {"127.0.0.1", "::1"}
    assert looked_up((), is_late=True).grade is Grade.UNKNOWN


def test_silence_in_a_network_is_no_finding_but_a_named_host_that_is_silent_is():
    closed = free_port()
    records = scanned(f"127.0.6.0/28:{closed}", f"127.0.5.1:{closed}")
    grades = Counter(finding.grade for one in records for finding in one.findings)
    assert grades == {Grade.SKIPPED: 14, Grade.BAD: 1}


def test_what_pkicode_itself_gets_wrong_is_in_the_record_and_the_others_go_on(port):
    broken = meant(f"{HOST}:{port}", f"{HOST}:{free_port()}", checks="quick")
    terms = evolve(broken.terms, stores=(("damaged since it was read", b"no PEM"),))
    one, closed = asyncio.run(whole(evolve(broken, terms=terms), emit=lambda _: None))
    assert (one.state, found(one, "TLSDial").value) == ("failed", "unexpected")
    assert "please report it" in found(one, "TLSDial").detail
    assert closed.target.port != one.target.port


def test_processes_share_the_rate():
    terms = meant("127.0.0.1").terms
    whole_rate, half = reach_of(terms, 1).pace, reach_of(terms, 2).pace
    assert half.everything.per_second * 2 == whole_rate.everything.per_second == 100_000
    assert whole_rate.network.per_second > whole_rate.host.per_second
    assert jobs(Wanted(["127.0.0.1"]))[0].terms.rate == RATE


def test_a_protocol_is_for_targets_that_name_none():
    made = meant("a.example", "b.example:2525", "c.example/imap", "d.example/tls", "10.0.0.0/30", starttls="smtp")
    told = [(one.port, one.starttls) for one in (made.targets[number] for number in range(len(made.targets)))]
    assert told == [(25, "smtp"), (2525, "smtp"), (143, "imap"), (443, ""), (25, "smtp"), (25, "smtp")]


def test_a_scan_is_the_same_scan_by_its_targets_checks_and_trust(tmp_path):
    roots = tmp_path / "roots.pem"
    identity(tmp_path, "ecdsa").chain.rename(roots)
    first = meant("a.example", "10.0.0.0/24")
    assert meant("a.example:443", "10.0.0.0/24").scan_id == first.scan_id
    others = [
        meant("a.example"), meant("a.example", "10.0.0.0/24", checks="quick"),
        meant("a.example", "10.0.0.0/24", scanner="ROBOT"), meant("a.example", "10.0.0.0/24", trust=[roots]),
    ]  # fmt: skip
    assert len({one.scan_id for one in (first, *others)}) == 5


def test_a_file_of_targets_is_read_beside_the_folder_it_is_named_in(tmp_path):
    (tmp_path / "hosts.csv").write_text("host,port,server_name\n127.0.0.1,8443,a.example\n")
    (target,) = [meant("@hosts.csv", folder=tmp_path).targets[0]]
    assert (target.port, target.server_name) == (8443, "a.example")
    with pytest.raises(ConfigError):
        meant("@hosts.csv")
