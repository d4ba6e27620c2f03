"""pkicode plan --refresh endpoints: what is served where pki.toml says, and that it decides nothing."""

import json

import jsonschema
import pytest

from pkicode.views.json import plan_schema
from tests.scan.servers import HOST, free_port, identity, started

LATER = "2027-02-21T09:00:00Z"
"""The portal is due, and what was served before is good for two days yet."""


@pytest.fixture
def port():
    return free_port()


@pytest.fixture
def declared(applied, port):
    """The applied project, which says where its portal is served."""
    toml = applied / "pki.toml"
    toml.write_text(toml.read_text().replace("[cert.portal]", f'[cert.portal]\nendpoints = ["{HOST}:{port}"]'))
    return applied


@pytest.fixture
def serving(declared, port):
    """How to serve a chain there."""

    def serve(chain=declared / "out/portal.pem", key=declared / "out/portal.key"):
        # Read once: what is written there later is not served.
        return started(["openssl", "s_server", "-accept", f"{HOST}:{port}", "-cert", chain, "-key", key], "ACCEPT")

    return serve


def seen(run, *more):
    told = run("plan", "--refresh", "endpoints", "--format", "json", *more).json
    jsonschema.validate(told, plan_schema())
    return [(one["address"], one["generation"], one["state"], one["drift"]) for one in told["endpoints"]]


def test_plan_says_that_what_was_issued_is_served(run, serving):
    with serving():
        assert seen(run) == [("cert.portal", 1, "tls", None)]
        assert "Endpoints: 1 of 1 as issued\n" in run("plan", "--refresh", "endpoints").out


def test_plan_says_who_was_not_reached_and_is_no_error(run, declared, port):
    run("apply", "-y", "--allow-clock")
    assert seen(run) == [("cert.portal", 1, "closed", None)]
    ran = run("plan", "-e", "--refresh", "endpoints")
    assert ran.code == 0
    assert f"closed  cert.portal@1  {HOST}:{port}  no certificate was seen, so that nothing is known" in ran.out


def test_plan_says_which_foreign_certificate_is_served_instead(run, serving, tmp_path):
    run("apply", "-y", "--allow-clock")
    mine = identity(tmp_path, "ecdsa")
    with serving(mine.chain, mine.key):
        ran = run("plan", "-e", "--refresh", "endpoints")
        (told,) = run("plan", "--refresh", "endpoints", "--format", "json").json["endpoints"]
    assert ran.code == 0, "drift changes no exit code: `pkicode drift -e` is there for that"
    (leaf,) = told["served"]
    line = next(line for line in ran.out.splitlines() if line.startswith("  unknown"))
    assert f'serial {leaf["serial_number"]}, issuer "CN=scanned.example", until {leaf["not_after"]}' in line
    assert "= help: unknown: install ours there" in ran.out
    assert "No changes." in ran.out


def test_plan_says_that_an_older_generation_is_served_than_was_issued(run, serving, monkeypatch):
    with serving():
        monkeypatch.setenv("PKICODE_NOW", LATER)
        assert run("apply", "-y", "--allow-clock").code == 0
        assert seen(run) == [("cert.portal", 2, "tls", "superseded")]


def test_plan_says_that_what_is_served_was_revoked(run, serving):
    with serving():
        assert run("revoke", "cert.portal", "--reason", "superseded", "--allow-clock").code == 0
        assert seen(run) == [("cert.portal", None, "tls", "revoked")]


def test_plan_says_that_another_certificate_of_ours_is_served(run, declared, serving, port):
    toml = declared / "pki.toml"
    toml.write_text(toml.read_text().replace("[cert.app]", f'[cert.app]\nendpoints = ["{HOST}:{port}"]'))
    with serving():
        assert seen(run, "--only", 'cert.app["api"]', "--only", "cert.portal") == [
            ("cert.portal", 1, "tls", None),
            ('cert.app["api"]', 1, "tls", "not-served"),
        ]


def test_a_plan_that_was_saved_with_it_is_applied_like_any_other(run, serving, tmp_path, declared):
    toml = declared / "pki.toml"
    toml.write_text(toml.read_text() + '\n[cert.new]\nprofile = "server"\ndns = ["new.corp.example"]\n')
    with serving():
        plan = run("plan", "--refresh", "endpoints", "-o", tmp_path / "plan.json", "--format", "json").json
    saved = json.loads((tmp_path / "plan.json").read_text())
    assert (saved["plan_id"], "endpoints" in saved) == (plan["plan_id"], False)
    assert run("apply", tmp_path / "plan.json", "--allow-clock").code == 0


def test_plan_looks_at_nobody_when_nobody_asks_or_for_another_day(run, declared):
    assert "endpoints" not in run("plan", "--format", "json").json
    ran = run("plan", "--refresh", "endpoints", "--at", "+3d")
    assert (ran.code, "goes with no --at" in ran.err) == (64, True)
    assert run("plan", "--refresh", "published", "--at", "+3d").code == 64
    assert run("plan", "--refresh", "crl").code == 64


def test_apply_puts_back_what_is_gone_where_it_was_published(run, declared):
    run("apply", "-y", "--allow-clock")
    lost = declared / "public/bundle/trust.pem"
    there = lost.read_bytes()
    lost.unlink()
    assert run("plan", "-e").code == 0
    ran = run("plan", "-e", "--refresh", "published")
    assert (ran.code, "bundle/trust.pem is gone" in ran.out) == (2, True)
    assert run("apply", "-y", "--allow-clock", "--refresh", "published").code == 0
    assert lost.read_bytes() == there
    assert run("plan", "-e", "--refresh", "published").code == 0
    assert run("apply", "--watch", "-y", "--refresh", "published").code == 64
