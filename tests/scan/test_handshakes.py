"""What takes a whole handshake to know: sessions that come back, and what a web server tells browsers."""

import asyncio
from pathlib import Path

import pytest

from pkicode.scanner.finding import Endpoint
from tests.scan import strange
from tests.scan.scanning import found, grades, scan, scanned
from tests.scan.servers import NAME, Identity, gnutls, identity, nginx, openssl

HEADERS = {
    "Content-Security-Policy": "default-src 'self'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}


@pytest.fixture(scope="module")
def rsa(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return identity(tmp_path_factory.mktemp("rsa"), "rsa")


@pytest.mark.parametrize(
    ("options", "ways"),
    [
        ([], "psk ticket id"),
        (["-no_ticket"], "psk id"),
        (["-num_tickets", "0"], "ticket id"),
        (["-num_tickets", "0", "-no_cache"], "ticket"),
        (["-tls1_2", "-no_cache"], "ticket"),
        (["-tls1_3"], "psk"),
        (["-tls1_2", "-no_ticket", "-no_cache"], "no"),
        (["-tls1_3", "-num_tickets", "0"], "no"),
    ],
)
@pytest.mark.parametrize("web", [[], ["-www", "-alpn", "http/1.1"]], ids=["plain", "web"])
def test_the_ways_in_which_sessions_of_openssl_come_back_are_found(
    rsa: Identity, options: list[str], ways: str, web: list[str]
):
    with openssl(rsa, *options, *web) as port:
        resume = found(scanned(port, server_name=NAME), "SessionResume")
    assert resume.value == ways
    assert resume.grade == ("Warning" if ways == "no" else "Good")


def test_the_session_of_a_browsers_question_is_the_one_that_comes_back(rsa: Identity):
    with openssl(rsa, "-www") as port:
        plain = scanned(port)
    with openssl(rsa, "-www", "-alpn", "http/1.1") as port:
        asked = scanned(port)
    assert (found(plain, "HSTS").grade, found(asked, "HSTS").grade) == ("Skipped", "Warning")
    assert asked.connections == plain.connections


def test_sessions_of_gnutls_come_back(rsa: Identity):
    with gnutls(rsa, "NORMAL") as port:
        assert found(scanned(port), "SessionResume").value == "psk ticket id"


def web(mine: Identity, folder: Path, headers: dict[str, str]) -> Endpoint:
    settings = "".join(f'add_header {name} "{value}" always;' for name, value in headers.items())
    with nginx(folder, [mine], settings) as port:
        return scanned(port, server_name=NAME)


def test_the_headers_of_a_good_web_server_are_good(rsa: Identity, tmp_path: Path):
    endpoint = web(rsa, tmp_path, {**HEADERS, "Strict-Transport-Security": "max-age=31536000; includeSubDomains"})
    assert grades(endpoint, "HSTS", "SecurityHeaders") == {"HSTS": "Good", "SecurityHeaders": "Good"}
    assert found(endpoint, "HSTS").value == "max-age=31536000; includeSubDomains"


@pytest.mark.parametrize("headers", [{}, {"Strict-Transport-Security": "max-age=15551999"}], ids=["none", "short"])
def test_a_web_server_that_promises_little_is_warned_of(rsa: Identity, tmp_path: Path, headers: dict[str, str]):
    endpoint = web(rsa, tmp_path, headers)
    assert grades(endpoint, "HSTS", "SecurityHeaders") == {"HSTS": "Warning", "SecurityHeaders": "Warning"}


def test_a_server_of_something_else_is_not_asked_as_a_browser_would(rsa: Identity):
    with openssl(rsa) as port:
        assert grades(scanned(port), "HSTS", "SecurityHeaders") == {"HSTS": "Skipped", "SecurityHeaders": "Skipped"}


def test_a_web_server_that_answers_something_else_speaks_no_http(rsa: Identity):
    with openssl(rsa, "-alpn", "http/1.1", "-rev") as port:
        assert found(scanned(port), "HSTS").grade == "Skipped"


def test_a_box_that_lets_no_handshake_end_makes_nothing_known(rsa: Identity):
    hellos = 0

    def bears(hello: bytes) -> bool:
        nonlocal hellos
        hellos += 1
        # The scanner's own hellos name a heartbeat or an empty key_share, those of whole handshakes neither.
        return b"\0\x0f\0\1\1" in hello or b"\0\x33\0\2\0\0" in hello or hellos == 1

    async def both() -> Endpoint:
        with openssl(rsa) as port:
            async with strange.serving(strange.box(port, bears, strange.reset)) as before:
                return await scan(before, patience=3)

    assert grades(asyncio.run(both()), "SessionResume") == {"SessionResume": "Unknown"}
