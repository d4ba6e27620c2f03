"""Outputs and hooks: files that follow their certificate, and hooks that are tried until they succeed."""

import pytest

from pkicode.model.problem import ConfigError
from tests.kinds.site import Site, told
from tests.oracles import assert_key_matches, openssl

PORTAL = """
[cert.portal]
profile = "server"
dns = ["portal.corp.example"]
output = { chain = "out/portal.pem", key = "out/portal.key" }
"""


def test_chain_and_key_are_written_and_belong_together(site: Site) -> None:
    site.write(PORTAL)
    site.apply()
    chain, key = (site.root / "out/portal.pem").read_bytes(), (site.root / "out/portal.key").read_bytes()
    assert_key_matches(key, chain)
    assert chain.count(b"BEGIN CERTIFICATE") == 2
    assert (site.root / "out/portal.key").stat().st_mode & 0o777 == 0o600


def test_outputs_follow_a_renewal(site: Site) -> None:
    site.write(PORTAL)
    site.apply()
    before = (site.root / "out/portal.key").read_bytes()
    site.later(61)
    assert "update output.portal@2 due" in told(site.plan().changes)
    site.apply()
    after = (site.root / "out/portal.key").read_bytes()
    assert before != after
    assert_key_matches(after, (site.root / "out/portal.pem").read_bytes())
    assert site.plan().changes == ()


def test_another_path_rewrites_without_a_signature(site: Site) -> None:
    site.write(PORTAL)
    site.apply()
    site.write(PORTAL.replace("out/portal.pem", "out/chain.pem"))
    changes = site.plan().changes
    assert {one.action for one in changes} == {"update"}
    site.apply()
    assert (site.root / "out/chain.pem").read_bytes().count(b"BEGIN CERTIFICATE") == 2
    assert site.plan().changes == ()


FLEET = """
[cert.fleet]
profile = "server"
for_each = { values = ["portal", "search"] }
dns = ["fleet-${each.value}.corp.example"]
output = { chain = "out/${each.value}.pem" }
"""
PAIRS = """
[cert.pairs]
profile = "server"
for_each = { values = ["a", "search.pem"] }
dns = ["pairs-${each.value}.corp.example"]
output = { chain = "pairs/${each.value}.pem", key = "out/${each.value}" }
"""


@pytest.mark.parametrize(
    ("more", "first", "second"),
    [
        (PORTAL + FLEET, "cert.portal", 'cert.fleet["portal"]'),
        (FLEET + PAIRS, 'cert.fleet["search"]', 'cert.pairs["search.pem"]'),
    ],
    ids=["a certificate and a row", "two rows"],
)
def test_two_blocks_whose_rows_would_write_one_file_are_refused(site: Site, more: str, first: str, second: str) -> None:
    site.write(more)
    with pytest.raises(ConfigError) as refused:
        site.plan()
    assert [(one.code, one.address) for one in refused.value.problems] == [("E0322", second)]
    assert f"is written by {first} and by {second}" in refused.value.problems[0].message
    assert site.open().validate() == refused.value.problems


def test_rows_of_two_blocks_may_share_a_folder(site: Site) -> None:
    site.write(PORTAL + FLEET.replace('"portal", ', "") + PAIRS.replace(', "search.pem"', ""))
    assert site.apply().exit_code == 0
    assert site.plan().changes == ()


def test_a_hook_runs_after_its_files_changed_and_not_again(site: Site) -> None:
    site.write(PORTAL + 'after = ["sh", "-c", "cat out/portal.pem >> seen"]\n')
    site.apply()
    assert (site.root / "seen").read_bytes() == (site.root / "out/portal.pem").read_bytes()
    site.apply()
    assert (site.root / "seen").read_bytes() == (site.root / "out/portal.pem").read_bytes()


def test_a_failed_hook_is_told_and_tried_again(site: Site) -> None:
    site.write(PORTAL + 'after = ["sh", "-c", "test -e ready"]\n')
    applied = site.apply()
    assert applied.exit_code == 8
    assert [one.code for one in applied.problems] == ["E0531"]
    assert (site.root / "out/portal.pem").exists()
    assert "update output.portal@1 spec-changed" in told(site.plan().changes)
    (site.root / "ready").touch()
    assert site.apply().exit_code == 0
    assert site.plan().changes == ()


def test_a_pkcs12_file_opens_with_its_password(site: Site) -> None:
    (site.root / "password").write_text("a long enough password\n")
    (site.root / "password").chmod(0o600)
    output = 'output = { p12 = "out/portal.p12", p12_password = { file = "password" } }'
    site.write(PORTAL.replace('output = { chain = "out/portal.pem", key = "out/portal.key" }', output))
    assert site.apply().exit_code == 0
    args = ("pkcs12", "-in", site.root / "out/portal.p12", "-passin", f"file:{site.root / 'password'}", "-nodes")
    told_text = openssl(*args)
    assert told_text.count("BEGIN CERTIFICATE") == 2
    assert "BEGIN PRIVATE KEY" in told_text


def test_a_foreign_file_at_a_declared_path_is_never_overwritten(site: Site) -> None:
    (site.root / "out").mkdir()
    (site.root / "out/portal.pem").write_text("mine")
    site.write(PORTAL)
    applied = site.apply()
    assert [one.code for one in applied.problems] == ["E0530"]
    assert (site.root / "out/portal.pem").read_text() == "mine"
