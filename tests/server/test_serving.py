"""A responder from its start to its end: what it serves, news, sources that go bad, and slow clients."""

import os
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography.x509 import ocsp

from pkicode.model.instants import DAY, HOUR
from pkicode.revocation import pack
from pkicode.revocation.ocsp_request import cert_id, encode
from pkicode.revocation.ocsp_response import verified
from pkicode.server.responder import Responder
from tests.kinds.site import Site
from tests.kinds.test_ocsp import OCSP, OTHER, PORTAL, newest
from tests.revocation.asked import GONE, LEAF, NOW, ca
from tests.server.running import Server, is_closed, post, read, serving
from tests.server.test_http import status

ASKED = encode(cert_id(ca().issuer, LEAF, "sha1"))


def answer(server: Server) -> str:
    return status(server.ask(post(ASKED))[0])


def put(folder: Path, data: bytes) -> Path:
    """As a publisher does it: a reader never sees half a file."""
    path = folder / "a.pack"
    path.with_suffix(".draft").write_bytes(data)
    path.with_suffix(".draft").replace(path)
    return path


def look(server: Server, word: str) -> None:
    """Have it look for news, and wait until it tells of them."""
    server.process.send_signal(signal.SIGHUP)
    server.hears(word)


def test_news_are_served_without_a_request_being_dropped(tmp_path: Path) -> None:
    path = put(tmp_path, ca().packed(ca().due()))
    with serving(tmp_path, "--pack", path, "--every", "3600") as server:
        with server.connected() as kept:
            kept.sendall(post(ASKED)[:50])
            assert answer(server) == "good"
            put(tmp_path, ca().packed(ca().due(standing=GONE), made=NOW + 1))
            look(server, "corp-g1: 1 certificate")
            kept.sendall(post(ASKED)[50:])
            assert status(read(kept)) == "revoked"
        assert answer(server) == "revoked"


BAD = {
    "an older one": lambda: ca().packed(ca().due(), made=NOW - 1),
    "cut short": lambda: ca().packed(ca().due(), made=NOW + 1)[:-1],
    "altered": lambda: ca().packed(ca().due(), made=NOW + 1).replace(b"corp-g1", b"corp-g2"),
    "another CA's": lambda: ca("Another CA").packed(made=NOW + 1),
    "nothing": lambda: b"",
    "a web page": lambda: b"<html>captive portal</html>" * 100,
}


@pytest.mark.parametrize("bad", BAD)
def test_a_pack_that_is_not_right_changes_nothing_and_is_told(bad: str, tmp_path: Path) -> None:
    path = put(tmp_path, ca().packed(ca().due(standing=GONE)))
    with serving(tmp_path, "--pack", path, "--every", "3600") as server:
        put(tmp_path, BAD[bad]())
        look(server, "warning: the pack")
        assert answer(server) == "revoked"
        # A later pack is taken all the same, and what was refused was never told as news.
        put(tmp_path, ca().packed(ca().due(standing=GONE), ca().due(LEAF + 1), made=NOW + 2))
        look(server, "corp-g1: ")
        assert server.said[-1].endswith("corp-g1: 2 certificates\n")
        other = cert_id(ca().issuer, LEAF + 1, "sha1")
        (said,) = server.ask(post(encode(other)))
        assert verified(said.body, other, ca().maker.ca, now=NOW).status == "good"
        assert answer(server) == "revoked"


def test_while_its_source_is_missing_it_asks_to_try_later(tmp_path: Path) -> None:
    path = tmp_path / "a.pack"
    with serving(tmp_path, "--pack", path, "--every", "3600") as server:
        assert any("warning: the pack" in one for one in server.said)
        assert answer(server) == "try_later"
        put(tmp_path, ca().packed(ca().due()))
        look(server, "corp-g1: 1 certificate")
        assert answer(server) == "good"
        path.unlink()
        look(server, "warning: the pack")
        assert answer(server) == "good"


def test_a_source_that_is_a_pipe_is_waited_for_by_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.pack")
    with serving(tmp_path, "--pack", tmp_path / "a.pack") as server:
        assert any("not a regular file" in one for one in server.said)
        assert answer(server) == "try_later"


def test_a_stale_source_asks_to_try_later_and_is_never_good(tmp_path: Path) -> None:
    path = put(tmp_path, ca().packed(ca().due(), made=NOW - 5 * DAY))
    with serving(tmp_path, "--pack", path) as server:
        assert answer(server) == "try_later"


def test_an_answer_ends_at_its_next_update_even_if_it_is_kept_ready() -> None:
    responder = Responder()
    responder.replace([pack.read(ca().packed(ca().due(), validity=HOUR))], complete=True)
    assert responder.answer(ASKED, NOW).next_update == NOW + HOUR
    assert responder.answer(ASKED, NOW + HOUR - 1).next_update == NOW + HOUR
    assert responder.answer(ASKED, NOW + HOUR).der == b"\x30\x03\x0a\x01\x03"


def test_several_packs_are_served_side_by_side(tmp_path: Path) -> None:
    other = ca("Another CA")
    (tmp_path / "b.pack").write_bytes(other.packed(other.due()))
    with serving(tmp_path, "--pack", put(tmp_path, ca().packed(ca().due())), "--pack", tmp_path / "b.pack") as server:
        assert answer(server) == "good"
        (theirs,) = server.ask(post(encode(cert_id(other.issuer, LEAF, "sha256"))))
        assert ocsp.load_der_ocsp_response(theirs.body).response_status.name == "SUCCESSFUL"


def test_sigterm_ends_it_in_good_order(tmp_path: Path) -> None:
    with serving(tmp_path, "--pack", put(tmp_path, ca().packed(ca().due()))) as server:
        with server.connected() as idle, server.connected() as busy:
            busy.sendall(post(ASKED)[:-1])
            assert answer(server) == "good"
            server.process.send_signal(signal.SIGTERM)
            assert is_closed(idle)
            busy.sendall(post(ASKED)[-1:])
            last = read(busy)
            assert (status(last), last.headers["connection"]) == ("good", "close")
        assert server.process.wait(20) == 0


@pytest.mark.heavy
def test_who_never_finishes_a_request_is_shown_out(tmp_path: Path) -> None:
    with serving(tmp_path, "--pack", put(tmp_path, ca().packed(ca().due()))) as server, server.connected() as slow:
        slow.sendall(b"POST / HTTP/1.1\r\n")
        began = time.monotonic()
        assert read(slow).status == 408
        assert time.monotonic() - began > 5
        assert answer(server) == "good"


def test_more_connections_than_it_has_room_for_shut_nobody_out(tmp_path: Path) -> None:
    with serving(tmp_path, "--pack", put(tmp_path, ca().packed(ca().due()))) as server:
        open_ = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(1001)]
        for one in open_:
            one.sendall(b"POST /")
        assert answer(server) == "good"
        for one in open_:
            one.close()


def test_a_responder_from_a_pack_opens_nothing_to_write(tmp_path: Path) -> None:
    """What the process has open: its socket, its pipes, and no file of ours."""
    path = put(tmp_path, ca().packed(ca().due()))
    with serving(tmp_path, "--pack", path) as server:
        assert answer(server) == "good"
        files = []
        for one in Path(f"/proc/{server.process.pid}/fd").iterdir():
            # The connection of the question may just be closing.
            with suppress(FileNotFoundError):
                files.append(os.readlink(one))
        assert not [one for one in files if str(tmp_path) in one]
        maps = Path(f"/proc/{server.process.pid}/maps").read_text()
        assert "pkcs11" not in maps


def test_the_state_is_served_as_it_changes(site: Site) -> None:
    site.write(PORTAL + OTHER, base=OCSP)
    site.apply()
    portal = newest(site, "cert.portal")
    found = pack.read((site.root / "public/ocsp/issuing-g1.pack").read_bytes())
    asked = cert_id(found.maker.issuer, int(portal.serial, 16), "sha1")
    with serving(site.root, "--every", "3600") as server:
        (good,) = server.ask(post(encode(asked)))
        assert verified(good.body, asked, found.maker.ca, now=site.now).status == "good"
        site.write(OTHER, base=OCSP)
        site.apply()
        look(server, "issuing-g1: ")
        (revoked,) = server.ask(post(encode(asked)))
        assert verified(revoked.body, asked, found.maker.ca, now=site.now).status == "revoked"
