"""STARTTLS of eight protocols: servers that `openssl s_client` accepts, and those that nobody should."""

import asyncio
from collections.abc import Sequence

import pytest

from pkicode.scanner.finding import Endpoint
from pkicode.scanner.registry import QUICK
from tests.scan.clear import LDAP_LONG, POSTGRES, PROTOCOLS, Turn, clear
from tests.scan.scanning import found, scan
from tests.scan.servers import NAME, Identity, identity, openssl
from tests.scan.strange import serving


@pytest.fixture(scope="module")
def rsa(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return identity(tmp_path_factory.mktemp("rsa"), "rsa")


def scanned(mine: Identity, protocol: str, turns: Sequence[Turn]) -> Endpoint:
    async def both() -> Endpoint:
        with openssl(mine) as port:
            async with serving(clear(port, turns)) as before:
                return await scan(before, QUICK, server_name=NAME, starttls=protocol)

    return asyncio.run(both())


async def s_client(mine: Identity, protocol: str) -> str:
    """What the openssl command makes of the same server."""
    with openssl(mine) as port:
        async with serving(clear(port, PROTOCOLS[protocol])) as before:
            process = await asyncio.create_subprocess_exec(
                "openssl", "s_client", "-connect", f"127.0.0.1:{before}", "-starttls", protocol, "-brief",
                "-xmpphost", NAME,
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            )  # fmt: skip
            said, _ = await process.communicate()
            return said.decode()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_tls_is_found_behind_every_protocol(rsa: Identity, protocol: str):
    assert "CONNECTION ESTABLISHED" in asyncio.run(s_client(rsa, protocol))
    endpoint = scanned(rsa, protocol, PROTOCOLS[protocol])
    assert endpoint.versions == ("TLSv1.2", "TLSv1.3")
    assert endpoint.chains[0].der == rsa.der
    assert endpoint.connections == 4


def test_an_ldap_answer_with_long_lengths_is_understood(rsa: Identity):
    assert scanned(rsa, "ldap", [(PROTOCOLS["ldap"][0][0], LDAP_LONG)]).state == "tls"


@pytest.mark.parametrize(
    ("protocol", "turns"),
    [
        ("smtp", [(b"", b"554 go away\r\n")]),
        ("smtp", [*PROTOCOLS["smtp"][:2], (b"STARTTLS\r\n", b"454 TLS not available\r\n")]),
        ("smtp", [*PROTOCOLS["smtp"][:2], (b"STARTTLS\r\n", b"220 Go\r\n250 injected\r\n")]),
        ("imap", [(b"", b"* BYE\r\n")]),
        ("imap", [PROTOCOLS["imap"][0], (b"STARTTLS\r\n", b"%(tag)s BAD no\r\n")]),
        ("pop3", [(b"", b"+OK\r\n"), (b"STLS\r\n", b"-ERR no\r\n")]),
        ("ftp", [(b"", b"220 ready\r\n"), (b"AUTH TLS\r\n", b"502 no\r\n")]),
        ("ldap", [(b"1466.20037", bytes.fromhex("300c02010178070a010204000400"))]),
        ("xmpp", [(rb"<stream:stream[^>]*>", b"<stream:stream><stream:features></stream:features>")]),
        ("xmpp", [PROTOCOLS["xmpp"][0], (rb"<starttls[^>]*>", b"<failure/></stream:stream>")]),
        ("postgres", [(POSTGRES, b"N")]),
        ("postgres", [(POSTGRES, b"Sand more")]),
        ("mysql", [(b"", b"\x4a\0\0\0" + b"\x0a8.0\0" + bytes(69))]),
        ("mysql", [(b"", b"\x10\0\0\0\xff" + b"Host is blocked")]),
    ],
)
def test_whoever_does_not_say_that_tls_may_begin_speaks_no_tls(rsa: Identity, protocol: str, turns: Sequence[Turn]):
    endpoint = scanned(rsa, protocol, turns)
    assert (endpoint.state, endpoint.connections, endpoint.versions) == ("not-tls", 1, ())
    assert found(endpoint, "TLSDial").grade == "Bad"
    assert "server" in found(endpoint, "TLSDial").detail
