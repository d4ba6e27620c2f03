"""Targets that are no TLS server, or a bad one: a record of it comes back, in time, and nothing is made up."""

import asyncio
import resource
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from pkicode.adapters.network import AT_ONCE, Network
from pkicode.scanner.finding import Endpoint, Grade, Target
from pkicode.scanner.session import Ended
from pkicode.tls.conversation import Talk
from pkicode.tls.groups import X25519
from pkicode.tls.groups import groups as all_groups
from pkicode.tls.hello import TLS12, client_hello
from pkicode.tls.records import HANDSHAKE, Message, record
from tests.scan import strange
from tests.scan.scanning import found, grades, scan, suites
from tests.scan.servers import HOST, Identity, free_port, identity, openssl

PATIENCE = 0.5
GARBAGE = bytes(range(128, 256)) * 4
PLAIN_HTTP = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\nThe plain HTTP request was sent to HTTPS port\r\n"
BOMB = strange.server_hello(0xC02F, Message(11, (3000).to_bytes(3, "big") + b"\0\0\1\0" * 750))
ENDLESS = strange.server_hello(0xC02F) + record(HANDSHAKE, 0x0303, Message(11, bytes(16000)).encode())
RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")


def retry_for_ever() -> bytes:
    extensions = bytes.fromhex("000c") + bytes.fromhex("003300020017002b00020304")
    return record(HANDSHAKE, 0x0303, Message(2, b"\3\3" + RETRY + b"\0\x13\1\0" + extensions).encode())


@pytest.fixture(scope="module")
def rsa(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return identity(tmp_path_factory.mktemp("rsa"), "rsa")


def scanned(serve: strange.Serve, *, patience: float = PATIENCE, seconds: float = 20) -> Endpoint:
    async def both() -> Endpoint:
        async with strange.serving(serve) as port:
            return await scan(port, patience=patience, seconds=seconds)

    return asyncio.run(both())


@pytest.mark.parametrize(
    ("serve", "state"),
    [
        (strange.tarpit, "failed"),
        (strange.hangs_up, "failed"),
        (strange.resets, "reset"),
        (strange.says(GARBAGE), "not-tls"),
        (strange.says(PLAIN_HTTP), "not-tls"),
        (strange.says(b"SSH-2.0-OpenSSH_9.2\r\n", then_stays=True), "not-tls"),
        (strange.says(strange.server_hello(0xC02F)[:20], then_stays=True), "failed"),
        (strange.says(b"\x16\3\3\xff\xff" + bytes(70000)), "failed"),
        (strange.says(record(HANDSHAKE, 0x0303, bytes(16384)), again=True), "failed"),
    ],
    ids=["tarpit", "hangs-up", "resets", "garbage", "http", "ssh", "half-a-hello", "64-KiB-record", "endless-zeros"],
)
def test_what_speaks_no_tls_is_a_record_of_that(serve: strange.Serve, state: str):
    endpoint = scanned(serve)
    assert (endpoint.state, endpoint.versions, endpoint.ciphers, endpoint.chains) == (state, (), (), ())
    assert found(endpoint, "TCPDial").grade == "Good"
    assert found(endpoint, "TLSDial").grade in {"Bad", "Unknown"}
    assert len(endpoint.findings) == 2


def test_a_closed_port_is_a_record_of_that():
    endpoint = asyncio.run(scan(free_port()))
    assert (endpoint.state, endpoint.connections) == ("closed", 1)
    assert grades(endpoint, "TCPDial") == {"TCPDial": "Bad"}


def test_whoever_has_no_socket_left_says_nothing_of_the_target():
    async def starved() -> Endpoint:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        # The lowest number that is free is the first that may not be had.
        with socket.socket() as probe:
            free = probe.fileno()
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
        try:
            return await scan(443)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    endpoint = asyncio.run(starved())
    assert (endpoint.state, endpoint.connections) == ("failed", 1)
    assert grades(endpoint, "TCPDial") == {"TCPDial": "Unknown"}


@pytest.mark.parametrize("name", ["bücher.example", "ü" * 300, "a..ü", "\udc80", ".", "-", "a" * 64000])
def test_a_name_that_is_none_is_no_exception(rsa: Identity, name: str):
    async def both() -> Endpoint:
        with openssl(rsa) as port:
            return await scan(port, server_name=name)

    assert asyncio.run(both()).state in {"tls", "failed", "reset"}


def test_a_name_without_an_address_is_a_record_of_that():
    assert asyncio.run(scan(443, address="")).state == "unresolved"


@pytest.mark.parametrize("said", [BOMB, ENDLESS, strange.server_hello(0xC02F)], ids=["bomb", "endless", "alone"])
def test_a_hello_counts_whatever_follows_it(said: bytes):
    endpoint = scanned(strange.says(said, then_stays=True), seconds=30)
    assert endpoint.state == "tls"
    assert "TLSv1.2" in endpoint.versions
    assert not endpoint.chains


def test_a_server_that_takes_what_it_was_not_offered_is_not_believed():
    endpoint = scanned(strange.says(strange.server_hello(0xABCD) + b"\x15\3\3\0\2\2\x28"))
    assert len(suites(endpoint, "TLSv1.2")) <= 1
    assert found(endpoint, "RC4").grade == "Unknown"


def test_a_server_that_asks_again_for_ever_is_left():
    endpoint = scanned(strange.says(retry_for_ever(), again=True))
    assert endpoint.state == "tls"
    assert endpoint.octets < 30 << 20
    assert {group.name for group in endpoint.groups} <= {group.name for group in all_groups().values()}


def test_when_time_is_up_what_is_not_known_is_unknown(rsa: Identity):
    async def slow() -> Endpoint:
        with openssl(rsa) as port:
            async with strange.serving(strange.box(port, first_only(), strange.tarpit)) as before:
                return await scan(before, patience=30, seconds=2)

    endpoint = asyncio.run(slow())
    assert (endpoint.state, endpoint.versions) == ("tls", ("TLSv1.3",))
    assert endpoint.chains[0].der == rsa.der
    assert grades(endpoint, "RC4", "DROWN", "Versions") == {"RC4": "Unknown", "DROWN": "Unknown", "Versions": "Unknown"}


def test_when_time_is_up_what_was_taken_by_then_is_told(rsa: Identity):
    async def slow() -> Endpoint:
        with openssl(rsa) as port:
            hellos = iter(range(1000))
            bears = strange.box(port, lambda _hello: next(hellos) < 20, strange.tarpit)
            async with strange.serving(bears) as before:
                return await scan(before, patience=30, seconds=2)

    endpoint = asyncio.run(slow())
    assert len(endpoint.ciphers) > 5
    assert "TLSv1.2" in endpoint.versions
    late = ("RC4", "NULL", "ROBOT", "CCS", "Heartbleed", "FallbackSCSV", "SessionResume", "HSTS", "ECCurves", "SigAlgs")
    assert grades(endpoint, *late) == dict.fromkeys(late, "Unknown")


def first_only() -> Callable[[bytes], bool]:
    """Bears one hello."""
    hellos = iter([True])
    return lambda _hello: next(hellos, False)


def boxed(mine: Identity, bears: Callable[[bytes], bool], refuse: strange.Serve, *options: str) -> Endpoint:
    async def both() -> Endpoint:
        with openssl(mine, *options) as port:
            async with strange.serving(strange.box(port, bears, refuse)) as before:
                return await scan(before, patience=5)

    return asyncio.run(both())


@pytest.mark.parametrize("refuse", [strange.reset, strange.leave], ids=["reset", "hangs-up"])
def test_a_box_that_bears_no_long_hello_hides_nothing(rsa: Identity, refuse: strange.Serve):
    plain = boxed(rsa, lambda _hello: True, refuse, "-tls1_2")
    boxed_in = boxed(rsa, lambda hello: len(hello) < 520, refuse, "-tls1_2")
    assert set(suites(boxed_in, "TLSv1.2")) == set(suites(plain, "TLSv1.2"))
    assert len(suites(plain, "TLSv1.2")) > 15
    assert found(boxed_in, "Intolerance").value == "long hellos"
    assert found(plain, "Intolerance").grade == "Good"


def test_a_box_that_bears_no_empty_key_share_hides_nothing(rsa: Identity):
    endpoint = boxed(rsa, lambda hello: b"\0\x33\0\2\0\0" not in hello, strange.leave, "-groups", "X448:X25519")
    assert len(suites(endpoint, "TLSv1.3")) == 3
    assert {group.name for group in endpoint.groups if group.version == "TLSv1.3"} == {"x25519", "x448"}


def test_a_box_that_bears_no_grease_is_found(rsa: Identity):
    endpoint = boxed(rsa, lambda hello: b"\x0a\x0a" not in hello[:200], strange.leave)
    assert found(endpoint, "Intolerance").value == "GREASE"
    assert found(endpoint, "Intolerance").grade == "Warning"


def test_a_box_that_hangs_up_after_the_first_connection_makes_nothing_unsupported(rsa: Identity):
    endpoint = boxed(rsa, first_only(), strange.leave)
    assert endpoint.versions == ("TLSv1.3",)
    assert grades(endpoint, "RC4", "Versions") == {"RC4": "Unknown", "Versions": "Unknown"}


def test_a_box_that_resets_after_ten_connections_makes_nothing_unsupported(rsa: Identity):
    seen = 0

    def bears(_hello: bytes) -> bool:
        nonlocal seen
        seen += 1
        return seen <= 10

    endpoint = boxed(rsa, bears, strange.reset, "-cipher", "ALL:@SECLEVEL=0")
    unsure = ("Heartbleed", "RC4", "NULL", "SWEET32", "FREAK", "LOGJAM", "CRIME")
    assert grades(endpoint, *unsure) == dict.fromkeys(unsure, "Unknown")
    assert "reset" in found(endpoint, "RC4").detail


def test_a_host_bears_no_more_than_five_connections_at_once(rsa: Identity):
    at_once = most = 0

    async def counted() -> None:
        nonlocal at_once, most
        with openssl(rsa) as port:

            async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                nonlocal at_once, most
                at_once += 1
                most = max(most, at_once)
                try:
                    await strange.box(port, lambda _hello: True, strange.reset)(reader, writer)
                finally:
                    at_once -= 1

            async with strange.serving(serve) as one:
                await scan(one)

    asyncio.run(counted())
    # A connection that the client left counts until its server hears of it.
    assert 2 <= most <= AT_ONCE + 2


def test_a_host_that_nobody_talks_to_is_forgotten():
    network, known = Network(), []

    def talk() -> Talk[None]:
        known.extend(network._open)
        yield client_hello([TLS12], [0xC02F], [X25519], bytes(64)).record()

    async def once() -> Ended:
        async with strange.serving(strange.hangs_up) as port:
            return await network(Target(HOST, HOST, port), talk())

    assert asyncio.run(once()).how == "eof"
    assert (known, list(network._open)) == ([HOST], [])


def test_a_hostile_record_is_never_an_exception(tmp_path: Path):
    """Certificates that are none, in a flight that is otherwise whole."""
    sent = Message(11, b"\0\0\x09\0\0\x06\xff\xff\xff\xff\xff\xff").encode()
    flight = strange.server_hello(0x009C, Message(11, sent[4:]), Message(14, b""))
    endpoint = scanned(strange.says(flight, then_stays=True), seconds=30)
    assert endpoint.chains[0].der == b"\xff" * 6
    assert all(isinstance(finding.grade, Grade) for finding in endpoint.findings)
