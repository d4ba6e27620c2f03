"""Hostile text in certificates, rows and audit: shown by every face, and nothing else happens (decisions, test 15)."""

import csv
import io
import json
import re
from collections.abc import Callable

import pytest

from pkicode.cli import main
from tests.kinds.site import Site
from tests.oracles import openssl

ANSI, BIDI, C1 = "\x1b[31m", "\u202e", "\x9b2J"
ORGANISATIONS = [
    "=cmd|' /C calc'!A0",
    "::error file=x::y",
    "<script>alert(1)</script>",
    "a`b|c$(id)",
]
FACES = [
    ["plan"],
    ["plan", "--full"],
    ["plan", "--format", "json"],
    ["plan", "--format", "markdown"],
    ["plan", "--format", "html"],
    ["inventory"],
    ["inventory", "--format", "json"],
    ["inventory", "--format", "csv"],
    ["audit", "log"],
    ["audit", "log", "--format", "json"],
    ["graph"],
    ["graph", "--format", "mermaid"],
    ["explain", "cert.evil0"],
    ["show", "cert.evil0"],
    ["-v", "apply", "-y", "--allow-clock"],
]


def stanzas(hosts: str) -> str:
    def one(number: int, organisation: str) -> str:
        return (
            f'[cert.evil{number}]\nprofile = "server"\nsubject = {{ o = {json.dumps(organisation)} }}\n'
            f"note = {json.dumps(ANSI + BIDI + C1)}\n"
            f'dns = ["{hosts}{number}.corp.example"]\n'
        )

    return "".join(one(number, organisation) for number, organisation in enumerate(ORGANISATIONS))


@pytest.fixture
def run(site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """What the command prints on both streams; it succeeds."""
    monkeypatch.setenv("PKICODE_NOW", "2026-11-23T09:00:00Z")
    monkeypatch.setenv("PKICODE_ACTOR", f"{ANSI}root{BIDI}")

    def call(*arguments: str) -> str:
        capsys.readouterr()
        assert main(["-C", str(site.root), *arguments]) == 0
        told = capsys.readouterr()
        return told.out + told.err

    return call


def assert_calm(text: str) -> None:
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
    assert not [line for line in text.splitlines() if line.lstrip().startswith("::")]


@pytest.mark.parametrize("face", FACES, ids=" ".join)
def test_a_hostile_subject_is_shown_and_does_nothing(face: list[str], site: Site, run: Callable[..., str]) -> None:
    site.write(stanzas("a"))
    run("apply", "-y", "--allow-clock")
    site.write(stanzas("b"))
    text = run(*face)
    assert_calm(text)
    if "html" in face:
        assert "<script>alert" not in text
    if "markdown" in face:
        assert "<script>alert" not in text
    if "csv" in face:
        cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
        assert any("cmd" in cell for cell in cells)
        assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]


def test_the_certificate_says_to_the_letter_what_was_declared(site: Site, run: Callable[..., str]) -> None:
    """Shown harmlessly is not changed: what is signed is what stands in pki.toml."""
    site.write(stanzas("a"))
    run("apply", "-y", "--allow-clock")
    said = openssl("x509", "-noout", "-subject", "-nameopt", "utf8,sep_multiline", stdin=site.chain("cert.evil1"))
    assert "::error file=x::y" in said


def test_a_subject_that_would_be_read_backwards_is_refused(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.write(stanzas("a").replace("alert(1)", BIDI))
    assert main(["-C", str(site.root), "plan"]) == 1
    told = capsys.readouterr()
    assert "error[E" in told.err
    assert_calm(told.out + told.err)
