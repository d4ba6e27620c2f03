"""`serve ocsp` and `ocsp query`: one answers, the other asks and believes nothing that it cannot verify."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.running import CONFIG, Ran, spawn
from tests.quick import quick_keystore
from tests.server.running import Server, serving

OCSP = CONFIG.replace(
    'base_url = "http://pki.corp.example"',
    'base_url = "http://pki.corp.example"\ncontent = ["ca", "crl", "ocsp", "bundle"]',
).replace('validity = "5y"', 'validity = "5y"\nocsp = { url = "http://ocsp.corp.example" }')


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """cert.portal is good, cert.app["search"] was revoked; both chains are kept."""
    root = tmp_path_factory.mktemp("answers") / "pki"
    root.mkdir()
    quick_keystore(root)
    config = OCSP.replace('for_each = { values = ["api", "billing", "search"] }', 'on_remove = "revoke"\nfor_each = {}')
    for values in ('["api", "search"]', '["api"]'):
        (root / "pki.toml").write_text(config.replace("for_each = {}", f"for_each = {{ values = {values} }}"))
        ran = spawn(root, "apply", "-y", "--allow-clock", "--allow", "remove=9")
        assert ran.code == 0, ran.err
        if not (root / "search.pem").exists():
            chain = spawn(root, "export", """cert.app["search"]""", "--allow-clock")
            assert chain.code == 0, chain.err
            (root / "search.pem").write_text(chain.out)
    return root


@pytest.fixture(scope="module")
def server(pki: Path) -> Iterator[Server]:
    with serving(pki) as server:
        yield server


def asking(run: Callable[..., Ran], pki: Path, server: Server, leaf: str, *more: str) -> Ran:
    return run("ocsp", "query", pki / leaf, pki / "public/ca/issuing-g1.pem", "--url", server.url, *more)


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_serve_ocsp_answers_from_the_state_and_ocsp_query_says_good(
    run: Callable[..., Ran], pki: Path, server: Server, algorithm: str
) -> None:
    ran = asking(run, pki, server, "out/portal.pem", "--hash", algorithm, "--format", "json")
    assert (ran.code, ran.err) == (0, "")
    assert ran.json["format"] == "pkicode.ocsp"
    assert (ran.json["status"], ran.json["reason"], ran.json["revoked_at"]) == ("good", None, None)
    assert (ran.json["this_update"], ran.json["next_update"]) == ("2026-11-23T09:00:00Z", "2026-11-27T09:00:00Z")
    assert (ran.json["responder"], ran.json["url"]) == ("CN=OCSP issuing-g1", server.url)


def test_ocsp_query_ends_with_3_where_it_is_revoked(run: Callable[..., Ran], pki: Path, server: Server) -> None:
    ran = asking(run, pki, server, "search.pem")
    assert ran.code == 3
    assert "revoked" in ran.out
    assert "cessationOfOperation" in ran.out
    assert asking(run, pki, server, "search.pem", "--format", "json").json["revoked_at"] == "2026-11-23T09:00:00Z"


def test_ocsp_query_refuses_what_it_cannot_rely_on(
    run: Callable[..., Ran], pki: Path, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = run("ocsp", "query", pki / "public/ca/issuing-g1.pem", pki / "public/ca/root-g1.pem", "--url", server.url)
    assert (root.code, root.out) == (1, "")
    assert "the responder answers unauthorized" in root.err
    swapped = run("ocsp", "query", pki / "public/ca/issuing-g1.pem", pki / "out/portal.pem", "--url", server.url)
    assert (swapped.code, swapped.out) == (1, "")
    unnamed = run("ocsp", "query", pki / "public/ca/issuing-g1.pem", pki / "public/ca/root-g1.pem")
    assert "names no OCSP responder" in unnamed.err
    os.mkfifo(tmp_path / "pipe")
    assert "is not a file" in run("ocsp", "query", tmp_path / "pipe", pki / "public/ca/root-g1.pem").err
    (tmp_path / "large").write_bytes(bytes((1 << 20) + 1))
    assert "1,048,576 octets" in run("ocsp", "query", tmp_path / "large", pki / "public/ca/root-g1.pem").err
    nobody = run(
        "ocsp", "query", pki / "out/portal.pem", pki / "public/ca/issuing-g1.pem", "--url", "http://127.0.0.1:9"
    )
    assert "http://127.0.0.1:9 cannot be reached" in nobody.err
    monkeypatch.setenv("PKICODE_NOW", "2026-11-30T09:00:00Z")
    late = asking(run, pki, server, "out/portal.pem")
    assert (late.code, late.out) == (1, "")
    assert "stale" in late.err


def test_serve_ocsp_answers_from_a_pack_far_from_any_pki_toml(
    run: Callable[..., Ran], pki: Path, tmp_path: Path
) -> None:
    shutil.copyfile(pki / "public/ocsp/issuing-g1.pack", tmp_path / "p")
    with serving(tmp_path, "--pack", (tmp_path / "p").as_uri()) as elsewhere:
        ran = asking(run, pki, elsewhere, "out/portal.pem", "--format", "json")
        assert json.loads(ran.out)["status"] == "good"
        assert elsewhere.end() == 0


def test_serve_ocsp_lets_no_escape_of_a_stranger_onto_the_terminal(tmp_path: Path) -> None:
    with serving(tmp_path, "--pack", "http://127.0.0.1:9/\x1b[31m") as server:
        assert "/\\u{1b}[31m" in server.said[0]


@pytest.mark.parametrize("bind", ["127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000", ""])
def test_serve_ocsp_needs_to_know_where_to_listen(run: Callable[..., Ran], bind: str) -> None:
    ran = run("serve", "ocsp", "--bind", bind)
    assert ran.code == 64
    assert "is not HOST:PORT" in ran.err
