"""Fetches from whom a certificate names: whatever a hostile server does ends soon, small, and with a reason."""

import asyncio
import zlib
from collections.abc import Awaitable, Callable

import pytest

from pkicode.adapters import guarded
from pkicode.adapters.guarded import Guarded, NotFetchedError
from pkicode.scanner.target import is_private
from tests.scan import strange
from tests.scan.revoking import Asked, answering, leaf, root, write
from tests.scan.servers import HOST, NAME, free_port, openssl

LIMIT = 100_000
SHORT = 0.5


async def at_once(_address: str) -> None:
    """Nobody has to wait."""


async def resolve(host: str) -> tuple[str, ...]:
    return (HOST,)


def fetching(**more) -> Guarded:
    return Guarded(**{"allow_private": True, "turn": at_once, "seconds": 10.0, "resolve": resolve, **more})


def fetched(url: str, fetch: Guarded | None = None) -> bytes:
    return asyncio.run((fetch or fetching()).get(url, limit=LIMIT))


def why(fetch: Guarded, url: str) -> tuple[str, str]:
    with pytest.raises(NotFetchedError) as caught:
        fetched(url, fetch)
    return caught.value.word, str(caught.value)


def raw(*said: bytes, ever: bytes = b"", stays: bool = False) -> strange.Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for one in said:
            writer.write(one)
        while ever:
            writer.write(ever)
            await writer.drain()
        await writer.drain()
        if stays:
            await strange.tarpit(reader, writer)

    return serve


def served(serve: strange.Serve, ask: Callable[[Asked], Awaitable[bytes]]) -> bytes:
    async def both() -> bytes:
        async with answering({"x": serve, "good": b"good"}) as server:
            return await ask(server)

    return asyncio.run(both())


def ended(serve: strange.Serve, **more) -> tuple[str, str]:
    """Why nothing came of it."""
    with pytest.raises(NotFetchedError) as caught:
        served(serve, lambda server: fetching(**more).get(server.url("x"), limit=LIMIT))
    return caught.value.word, str(caught.value)


OK = b"HTTP/1.1 200 OK\r\n"
BOMB = zlib.compress(bytes(1 << 20))


@pytest.mark.parametrize(
    ("serve", "word", "said"),
    [
        (raw(OK + b"\r\n", ever=b"x" * 65536), "large", "more than the 100,000 octets"),
        (raw(OK + b"Content-Length: 100001\r\n\r\n", stays=True), "large", "more than the 100,000 octets"),
        (
            raw(OK + b"Transfer-Encoding: chunked\r\n\r\n", ever=(b"400\r\n" + b"x" * 1024 + b"\r\n") * 64),
            "large",
            "100,000",
        ),
        (raw(OK + b"Transfer-Encoding: chunked\r\n\r\nffffffff\r\n", stays=True), "large", "100,000"),
        (raw(OK + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n", stays=True), "refused", "chunks that are none"),
        (raw(OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nxxxx\r\n", stays=True), "refused", "chunks that are none"),
        (raw(OK + b"Transfer-Encoding: chunked\r\n\r\n", ever=b"1" * 65536), "refused", "chunks that are none"),
        (raw(OK + b"Transfer-Encoding: gzip\r\n\r\n" + BOMB), "refused", "in a way that nobody asked for"),
        (raw(OK + b"Content-Encoding: gzip\r\n\r\n" + BOMB), "refused", "compressed"),
        (raw(OK + b"Content-Length: -1\r\n\r\n"), "refused", "no length that is one"),
        (raw(OK + b"Content-Length: 9\r\n\r\nshort"), "unreachable", "hangs up before its answer ends"),
        (raw(OK, ever=b"X-More: more\r\n" * 8192), "large", "headers have more than"),
        (raw(b"220 mail.example ESMTP\r\n\r\n"), "refused", "does not speak HTTP"),
        (raw(b"HTTP/1.1 404 Not Found\r\n\r\n"), "refused", "HTTP status 404"),
        (raw(b"HTTP/1.1 301 Moved\r\n\r\n"), "refused", "HTTP status 301"),
        (raw(b"HTTP/1.1 301 Moved\r\nLocation: x\r\n\r\n"), "refused", "redirects more than 3 times"),
        (raw(b"HTTP/1.1 301 Moved\r\nLocation: file:///etc/passwd\r\n\r\n"), "refused", "no http or https URL"),
        (raw(b"HTTP/1.1 301 Moved\r\nLocation: http://[x/\r\n\r\n"), "refused", "no URL"),
        (strange.reset, "unreachable", "cannot be reached"),
        (strange.leave, "unreachable", "hangs up"),
    ],
)
def test_what_a_hostile_server_does_ends_with_a_reason(serve: strange.Serve, word: str, said: str):
    told = ended(serve)
    assert told[0] == word
    assert said in told[1]


def drip(first: bytes, one: bytes) -> strange.Serve:
    """An octet after the other, as fast as nobody notices."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        while True:
            writer.write(one)
            await writer.drain()
            await asyncio.sleep(0.01)

    return serve


@pytest.mark.parametrize(
    "serve",
    [
        strange.tarpit,
        drip(b"", b"H"),
        drip(OK, b"x"),
        drip(OK + b"\r\n", b"x"),
        drip(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    ],
    ids=["silence", "in the first line", "in the headers", "in the body", "in chunks"],
)
def test_one_limit_of_time_is_for_all_of_an_answer_however_slowly_it_drips(serve: strange.Serve):
    assert ended(serve, seconds=SHORT) == ("unreachable", "it gave no answer within 0.5 s")


@pytest.mark.parametrize(
    "said",
    [
        OK + b"\r\ngood",
        OK + b"Content-Length: 4\r\n\r\ngood and more",
        OK + b"Transfer-Encoding: chunked\r\n\r\n2;x=y\r\ngo\r\n2\r\nod\r\n0\r\n\r\n",
        b"HTTP/1.0 200 \r\nContent-Encoding: identity\r\n\r\ngood",
        b"HTTP/1.1 302 Found\r\nLocation: /good\r\n\r\n",
    ],
)
def test_an_answer_is_read_however_its_end_is_told(said: bytes):
    assert served(raw(said), lambda server: fetching().get(server.url("x"), limit=LIMIT)) == b"good"


def test_no_question_goes_where_a_redirect_leads():
    moved = raw(b"HTTP/1.1 307 Moved\r\nLocation: /good\r\n\r\n")
    with pytest.raises(NotFetchedError, match="HTTP status 307"):
        served(moved, lambda server: fetching().post(server.url("x"), b"?", kind="text/plain", limit=LIMIT))


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a.example/", "file:///etc/passwd", "http://", "http:///x", "http://user@a.example/", "http://a.example:x/",
        "http://a.example:99999/", "http://[fe80::1%25eth0]/", "http://a.example/\r\nX: y", "http://a.example/ä",
        "http://a.example/" + "x" * 2048, "http://[::1", "",
    ],
)  # fmt: skip
def test_what_is_no_http_url_of_a_host_is_not_fetched(url: str):
    assert why(fetching(), url)[0] == "refused"


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.64.0.1", "224.0.0.1",
        "255.255.255.255", "::1", "::", "fe80::1", "fc00::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::",
    ],
)  # fmt: skip
def test_nobody_private_is_met_by_whichever_name(address: str):
    async def here(_host: str) -> tuple[str, ...]:
        return (address,)

    word, said = why(fetching(allow_private=False, resolve=here), "http://pki.example/list.crl")
    assert (word, is_private(address)) == ("private", True)
    assert address in said


def test_a_redirect_to_somebody_private_is_not_followed():
    """The first hop is allowed by its address, so that only the second is judged: here both are this machine."""

    async def both() -> list[str]:
        async with answering({"x": b""}) as inner:
            moved = raw(f"HTTP/1.1 302 Found\r\nLocation: {inner.url('x')}\r\n\r\n".encode())
            async with answering({"x": moved}) as outer:
                asked = []

                async def first_public(host: str) -> tuple[str, ...]:
                    asked.append(host)
                    fetch.allow_private = len(asked) == 1
                    return (HOST,)

                fetch = fetching(resolve=first_public)
                with pytest.raises(NotFetchedError, match="private address"):
                    await fetch.get(f"http://outer.example:{outer.port}/x", limit=LIMIT)
                assert asked == ["outer.example", HOST]
                return inner.paths

    assert asyncio.run(both()) == []


def test_a_name_is_resolved_once_and_the_judged_address_is_met():
    """A name that means another address a moment later (DNS rebinding) gains nothing by it."""
    asked = []

    async def changing(host: str) -> tuple[str, ...]:
        asked.append(host)
        return (HOST,) if len(asked) == 1 else ("192.0.2.1",)

    async def both() -> bytes:
        async with answering({"x": b"good"}) as server:
            return await fetching(resolve=changing).get(f"http://pki.example:{server.port}/x", limit=LIMIT)

    assert (asyncio.run(both()), asked) == (b"good", ["pki.example"])


def test_over_tls_the_host_must_be_who_it_says(tmp_path, monkeypatch):
    def over_tls(name: str) -> bytes:
        with openssl(mine, "-WWW") as port:
            return fetched(f"https://{name}:{port}/list.crl")

    mine, ca = write(tmp_path, leaf(), "leaf"), write(tmp_path, root(), "root").chain
    (tmp_path / "list.crl").write_bytes(b"good")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFetchedError, match="CERTIFICATE_VERIFY_FAILED"):
        over_tls(NAME)
    monkeypatch.setenv("SSL_CERT_FILE", str(ca))
    guarded._tls.cache_clear()
    assert over_tls(NAME) == b"good"
    with pytest.raises(NotFetchedError, match="not valid for 'other"):
        over_tls("other.example")
    guarded._tls.cache_clear()


def test_a_host_that_fails_three_times_is_left_alone():
    async def failing() -> list[str]:
        fetch, url, said = fetching(), f"http://{HOST}:{free_port()}/", []
        for _ in range(5):
            with pytest.raises(NotFetchedError) as caught:
                await fetch.get(url, limit=LIMIT)
            said.append(str(caught.value))
        return said

    said = asyncio.run(failing())
    assert [("left alone" in one) for one in said] == [False, False, False, True, True]


def test_a_scan_makes_no_more_fetches_than_one_scan_makes():
    word, said = why(fetching(fetches=guarded.FETCHES_MOST), "http://pki.example/")
    assert (word, "10,000 fetches" in said) == ("unreachable", True)


@pytest.mark.parametrize(
    "ends",
    [b"Content-Length: 90000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\nffff\r\n", b"\r\n" + bytes(LIMIT)],
    ids=["hangs up", "breaks off a chunk", "too large"],
)
def test_octets_that_come_to_nothing_are_counted_too(ends: bytes):
    async def both() -> int:
        async with answering({"x": raw(OK + ends + bytes(50_000))}) as server:
            fetch = fetching()
            with pytest.raises(NotFetchedError):
                await fetch.get(server.url("x"), limit=LIMIT)
            return fetch.octets

    assert asyncio.run(both()) >= 50_000


def test_an_answer_is_left_where_the_octets_of_a_scan_are_spent():
    async def both() -> str:
        async with answering({"x": raw(OK + b"\r\n", ever=bytes(65536))}) as server:
            with pytest.raises(NotFetchedError) as caught:
                await fetching(octets=guarded.OCTETS_MOST - 70_000).get(server.url("x"), limit=1 << 30)
            return str(caught.value)

    assert "1,073,741,824 octets" in asyncio.run(both())


def test_one_host_gets_two_connections_at_a_time():
    async def crowd() -> int:
        here = most = 0
        both = asyncio.Barrier(2)

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal here, most
            here += 1
            most = max(most, here)
            await both.wait()
            here -= 1
            writer.write(OK + b"\r\n")
            await writer.drain()

        async with answering({"x": serve}) as server:
            fetch = fetching()
            await asyncio.gather(*(fetch.get(server.url("x"), limit=LIMIT) for _ in range(10)))
        return most

    assert asyncio.run(crowd()) == 2
