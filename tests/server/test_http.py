"""OCSP over HTTP: every form a client may use, and everything it must not get through (RFC 6960 A, RFC 9919, 9110)."""

import base64
import email.utils
import random
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography.x509 import ocsp

from pkicode.model.instants import DAY
from pkicode.revocation.ocsp_request import LIMIT, cert_id, encode
from pkicode.revocation.ocsp_response import verified
from pkicode.server.http import HEAD_MOST, asked_by_get
from tests.revocation.asked import GONE, LEAF, NOW, ca
from tests.revocation.test_ocsp_request import MALFORMED, NONCE, extended, extension
from tests.server.running import Answer, Server, get, is_closed, post, read, serving


def asked(serial: int = LEAF, algorithm: str = "sha1") -> bytes:
    return encode(cert_id(ca().issuer, serial, algorithm))


def drawn(having: bytes, count: int) -> list[int]:
    """Serials whose request has this in its base64."""
    draw, found = random.Random(having), []
    while len(found) < count:
        # Of several lengths: what is 20 octets long never needs padding.
        serial = draw.getrandbits(draw.randint(90, 158)) | 1
        if having in base64.b64encode(asked(serial)):
            found.append(serial)
    return found


SERIALS = [LEAF, LEAF + 1, *drawn(b"M", 100), *drawn(b"//", 20), *drawn(b"+", 20), *drawn(b"=", 20)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("responder")
    due = (ca().due(one, GONE) if one == LEAF + 1 else ca().due(one) for one in SERIALS)
    (folder / "a.pack").write_bytes(ca().packed(*due))
    with serving(folder, "--pack", folder / "a.pack") as server:
        yield server


def status(answer: Answer, serial: int = LEAF, algorithm: str = "sha1") -> str:
    """good or revoked, verified; or the word of an unsigned error."""
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/ocsp-response"
    found = ocsp.load_der_ocsp_response(answer.body).response_status.name
    if found != "SUCCESSFUL":
        assert answer.headers["cache-control"] == "no-store"
        return found.lower()
    return verified(answer.body, cert_id(ca().issuer, serial, algorithm), ca().maker.ca, now=NOW).status


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_post_gets_good_and_revoked(server: Server, algorithm: str) -> None:
    good, revoked = server.ask(post(asked(LEAF, algorithm)), post(asked(LEAF + 1, algorithm)))
    assert status(good, LEAF, algorithm) == "good"
    assert status(revoked, LEAF + 1, algorithm) == "revoked"


def forms(der: bytes) -> dict[str, str]:
    """The path of a GET in every form that clients are known to write."""
    text = base64.b64encode(der).decode()
    return {
        "all encoded": quote(text, safe=""),
        "slashes as they are": quote(text, safe="/"),
        "plus as it is": quote(text, safe="+"),
        "nothing encoded": text,
        "no padding": text.rstrip("="),
        "no padding, encoded": quote(text.rstrip("="), safe=""),
        "plus taken for a space": quote(text.replace("+", " "), safe="/"),
        "lower-case escapes": quote(text, safe="").replace("%2F", "%2f").replace("%2B", "%2b").replace("%3D", "%3d"),
        "below a path": f"ocsp/issuing/{quote(text, safe='')}",
        "below a path like base64": f"My/MEM/{text}",
        "with a query": f"{quote(text, safe='')}?nothing",
    }


@pytest.mark.parametrize("form", forms(b"0"))
def test_get_is_answered_in_every_form(server: Server, form: str) -> None:
    ders = [asked(serial) for serial in SERIALS]
    answers = server.ask(*(get("/" + forms(der)[form]) for der in ders))
    for serial, answer in zip(SERIALS, answers, strict=True):
        assert status(answer, serial) == ("revoked" if serial == LEAF + 1 else "good")


def test_get_of_a_proxy_names_the_host(server: Server) -> None:
    (answer,) = server.ask(get(f"http://ocsp.corp.example/{forms(asked())['all encoded']}"))
    assert status(answer) == "good"


def test_caches_learn_how_long_an_answer_holds(server: Server) -> None:
    (answer,) = server.ask(get("/" + forms(asked())["all encoded"]))
    headers = answer.headers
    assert headers["cache-control"] == f"max-age={4 * DAY}, public, no-transform, must-revalidate"
    dates = {
        name: email.utils.parsedate_to_datetime(headers[name]).timestamp() for name in ("last-modified", "expires")
    }
    assert dates == {"last-modified": NOW, "expires": NOW + 4 * DAY}
    assert all(headers[name].endswith(" GMT") for name in ("date", "last-modified", "expires"))


def test_what_a_cache_has_already_is_not_sent_again(server: Server) -> None:
    path = "/" + forms(asked())["all encoded"]
    (answer,) = server.ask(get(path))
    etag = answer.headers["etag"]
    same, weak, listed, star, other = server.ask(
        *(get(path, f"If-None-Match: {one}") for one in (etag, f"W/{etag}", f'"x", {etag}', "*", '"x"'))
    )
    for one in (same, weak, listed, star):
        assert (one.status, one.body, one.headers["etag"]) == (304, b"", etag)
        assert one.headers["cache-control"].startswith("max-age=")
    assert (other.status, other.body) == (200, answer.body)


def test_head_is_get_without_its_body(server: Server) -> None:
    path = "/" + forms(asked())["all encoded"]
    got, head = server.ask(get(path), get(path, method="HEAD"))
    assert (head.status, head.headers, head.body) == (got.status, got.headers, b"")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"])
def test_other_methods_are_not_allowed_and_the_connection_goes_on(server: Server, method: str) -> None:
    refused, answer = server.ask(get("/", method=method), post(asked()))
    assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD, POST")
    assert status(answer) == "good"


@pytest.mark.parametrize("serial", [-1, 0, 1, LEAF - 1, 2**159, 2**400])
def test_a_serial_without_an_answer_is_unauthorized_and_never_good(server: Server, serial: int) -> None:
    name, key = cert_id(ca().issuer, 5, "sha1")[1:3]
    from pkicode.revocation.ocsp_request import CertId

    (answer,) = server.ask(post(encode(CertId("sha1", name, key, serial))))
    assert status(answer) == "unauthorized"


def test_a_certificate_of_another_ca_is_unauthorized(server: Server) -> None:
    (answer,) = server.ask(post(encode(cert_id(ca("Another CA").issuer, LEAF, "sha1"))))
    assert status(answer) == "unauthorized"


def test_two_certificates_at_once_are_unauthorized(server: Server, tmp_path: Path) -> None:
    from pkicode.x509.der import SEQUENCE, tlv
    from tests.revocation.test_ocsp_request import ID, listed, wrapped

    (answer,) = server.ask(post(wrapped(listed(ID, ID))))
    assert status(answer) == "unauthorized"
    assert tlv(SEQUENCE)


@pytest.mark.parametrize("octets", [1, 32, 128])
def test_a_nonce_is_read_over(server: Server, octets: int) -> None:
    (answer,) = server.ask(
        post(
            extended(extension(NONCE, b"\x04" + (b"\x81" if octets > 127 else b"") + bytes((octets,)) + bytes(octets)))
        )
    )
    assert status(answer) == "good"


def test_whatever_is_malformed_gets_the_standards_word(server: Server) -> None:
    small = [der for name, der in MALFORMED.items() if len(der) <= LIMIT]
    answers = server.ask(*map(post, small))
    assert [status(one) for one in answers] == ["malformed_request"] * len(small)


def test_a_thousand_mutated_requests_never_get_an_http_error_nor_good_for_another(server: Server) -> None:
    draw, whole, mutants = random.Random(4), asked(), []
    for _ in range(1000):
        mutant = bytearray(whole)
        for _ in range(draw.randint(0, 3)):
            mutant[draw.randrange(len(mutant))] = draw.randrange(256)
        mutants.append(bytes(mutant[: draw.choice([None, draw.randrange(len(mutant))])]))
    words = set()
    for part in range(0, 1000, 100):
        for mutant, answer in zip(
            mutants[part : part + 100], server.ask(*map(post, mutants[part : part + 100])), strict=True
        ):
            assert answer.status == 200
            word = ocsp.load_der_ocsp_response(answer.body).response_status.name
            words.add(word)
            # What is answered with a signature was about this very certificate, however it was asked.
            if word == "SUCCESSFUL":
                assert status(answer) == "good", mutant.hex()
    assert words == {"MALFORMED_REQUEST", "UNAUTHORIZED", "SUCCESSFUL"}


@pytest.mark.parametrize(
    "path", ["/", "//", "/favicon.ico", "/M", "/MA==", "/%", "/%zz", "/" + "M" * 3000, "*", "/\xff", "/MEUw%00"]
)
def test_get_of_anything_else_is_malformed(server: Server, path: str) -> None:
    (answer,) = server.ask(f"GET {path} HTTP/1.1\r\nHost: ocsp\r\n\r\n".encode("latin-1"))
    assert status(answer) == "malformed_request"


REFUSED = {
    "another content type": (post(asked(), content_type="text/plain"), 415),
    "no content type": (b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 415),
    "no length": (b"POST / HTTP/1.1\r\nContent-Type: application/ocsp-request\r\n\r\n", 411),
    "chunks": (post(b"", "Transfer-Encoding: chunked"), 411),
    "a body beyond the limit": (post(bytes(LIMIT + 1))[:200], 413),
    "a length that is none": (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
    "two lengths": (post(b"abc", "Content-Length: 4"), 400),
    "no HTTP": (b"hello\r\n\r\n", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    "a folded header": (get("/", "X: a", " b"), 400),
    "a header without a name": (get("/", ": x"), 400),
    "a header that is none": (get("/", "nothing"), 400),
    "a bare CR": (get("/", "X: a\rb"), 400),
    "endless headers": (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * HEAD_MOST, 431),
    "an endless line": (b"GET /" + b"M" * HEAD_MOST, 431),
}


@pytest.mark.parametrize(("request_", "code"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_request_is_refused_and_the_connection_closed(server: Server, request_: bytes, code: int) -> None:
    with server.connected() as one:
        one.sendall(request_)
        answer = read(one)
        assert (answer.status, answer.headers["connection"], answer.body) == (code, "close", b"")
        assert is_closed(one)
    assert status(server.ask(post(asked()))[0]) == "good"


def test_a_request_may_come_octet_by_octet(server: Server) -> None:
    with server.connected() as one:
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for octet in post(asked()):
            one.send(bytes((octet,)))
        assert status(read(one)) == "good"


def test_who_asks_to_continue_is_told_to(server: Server) -> None:
    with server.connected() as one:
        whole = post(asked(), "Expect: 100-continue")
        end = whole.index(b"\r\n\r\n") + 4
        one.sendall(whole[:end])
        assert read(one).status == 100
        one.sendall(whole[end:])
        assert status(read(one)) == "good"


@pytest.mark.parametrize(
    ("version", "connection", "stays"),
    [("1.1", "", True), ("1.1", "close", False), ("1.0", "", False), ("1.0", "Keep-Alive", True)],
)
def test_a_connection_stays_open_as_its_client_wants(
    server: Server, version: str, connection: str, stays: bool
) -> None:
    more = f"\r\nConnection: {connection}" if connection else ""
    request = (
        post(asked()).replace(b"HTTP/1.1", f"HTTP/{version}".encode()).replace(b"\r\nHost", more.encode() + b"\r\nHost")
    )
    with server.connected() as one:
        one.sendall(request)
        assert status(read(one)) == "good"
        if stays:
            one.sendall(post(asked()))
            assert status(read(one)) == "good"
        else:
            assert is_closed(one)


def test_requests_that_are_sent_at_once_are_answered_in_their_order(server: Server) -> None:
    answers = server.ask(*(post(asked(serial)) for serial in SERIALS))
    for serial, answer in zip(SERIALS, answers, strict=True):
        assert status(answer, serial) == ("revoked" if serial == LEAF + 1 else "good")


def test_a_client_that_reads_nothing_is_not_read_from_for_ever(server: Server) -> None:
    with server.connected() as one:
        one.settimeout(3)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        many, sent = post(asked()) * 1000, 0
        with suppress(TimeoutError, ConnectionError):
            while sent < 100_000_000:
                sent += one.send(many)
        assert sent < 100_000_000
    assert status(server.ask(post(asked()))[0]) == "good"


def test_an_unfinished_request_holds_nobody_up(server: Server) -> None:
    with server.connected() as one:
        one.sendall(post(asked())[:-1])
        assert status(server.ask(post(asked()))[0]) == "good"
        one.sendall(post(asked())[-1:])
        assert status(read(one)) == "good"


def test_the_path_of_a_get_is_taken_for_what_it_is() -> None:
    der = asked()
    for form in forms(der).values():
        assert asked_by_get(b"/" + form.encode()) == der
    assert asked_by_get(b"") == b""
