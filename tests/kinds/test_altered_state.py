"""What somebody who can write the state database cannot have: another CA's signature, anybody's key."""

import base64
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pkicode.model.problem import PkicodeError, StateError
from pkicode.ports import Want
from pkicode.revocation import pack
from pkicode.revocation.ocsp_response import GOOD, Standing
from tests.kinds.site import BASE, Site
from tests.oracles import openssl, revoked_serials

TWO = """
[ca.other]
issuer = "root"
subject = { cn = "Site Other", o = "Site" }
validity = "5y"
path_len = 0
publish = ["web"]
[cert.portal]
profile = "server"
dns = ["portal.corp.example"]
output = { chain = "out/portal.pem", key = "out/portal.key" }
[cert.vault]
profile = "server"
dns = ["vault.corp.example"]
"""


def alter(site: Site, kind: str, name: str, **changes: object) -> None:
    """Edit a record behind pkicode's back."""
    with closing(sqlite3.connect(site.root / ".pkicode/state.db")) as database, database:
        where = (kind, name)
        (text,) = database.execute("SELECT record FROM resources WHERE kind = ? AND name = ?", where).fetchone()
        record = json.dumps({**json.loads(text), **changes})
        database.execute("UPDATE resources SET record = ? WHERE kind = ? AND name = ?", (record, *where))


def record(site: Site, kind: str, name: str) -> dict[str, object]:
    with closing(sqlite3.connect(site.root / ".pkicode/state.db")) as database:
        where = (kind, name)
        (text,) = database.execute("SELECT record FROM resources WHERE kind = ? AND name = ?", where).fetchone()
    return dict(json.loads(text))


def forget_outputs(site: Site) -> None:
    with closing(sqlite3.connect(site.root / ".pkicode/state.db")) as database, database:
        database.execute("DELETE FROM resources WHERE kind = 'output'")


def test_a_ca_record_cannot_make_another_ca_sign(site: Site) -> None:
    site.write(TWO)
    site.apply()
    alter(site, "ca", "issuing", **record(site, "ca", "other"))
    site.later(61)
    with pytest.raises(StateError, match="not what it should be"):
        site.apply()


def test_a_ca_certificate_that_nobody_above_signed_is_refused(site: Site) -> None:
    site.write(TWO)
    site.apply()
    evil = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "/dev/null")
    pem = openssl(*evil, "-subj", "/O=Site/CN=Site Issuing", "-days", "3000")
    der = base64.b64encode(base64.b64decode("".join(pem.splitlines()[1:-1]))).decode()
    alter(site, "ca", "issuing", der=der)
    site.later(61)
    with pytest.raises(StateError, match="not what it should be"):
        site.apply()


@pytest.mark.parametrize("label", ["ca.root@1", "ca.issuing@1", "cert.vault@1"])
def test_a_record_cannot_have_another_key_written_to_an_output(site: Site, label: str) -> None:
    site.write(TWO)
    site.apply()
    alter(site, "cert", "portal", key_label=label)
    forget_outputs(site)
    before = (site.root / "out/portal.key").read_bytes()
    applied = site.apply()
    assert [one.code for one in applied.problems] == ["E0533"]
    assert (site.root / "out/portal.key").read_bytes() == before


def test_a_record_cannot_have_another_certificate_with_its_key_written(site: Site) -> None:
    site.write(TWO)
    site.apply()
    alter(site, "cert", "portal", **record(site, "cert", "vault"))
    forget_outputs(site)
    assert [one.code for one in site.apply().problems] == ["E0533"]
    with pytest.raises(PkicodeError, match="not the key of"):
        site.open().export("cert.portal", with_key=True)


WITH_ANSWERS = BASE.replace("base_url", 'content = ["ca", "crl", "ocsp"]\nbase_url').replace(
    "path_len = 0", 'path_len = 0\nocsp = { url = "http://ocsp.corp.example" }'
)
REMOVED = """
[cert.gone]
profile = "server"
dns = ["gone.corp.example"]
on_remove = "revoke"
"""


def edit(site: Site, statement: str, *values: object) -> None:
    """Change the state behind pkicode's back."""
    with closing(sqlite3.connect(site.root / ".pkicode/state.db")) as database, database:
        database.execute(statement, values)


def a_revoked_certificate(site: Site) -> int:
    """Its serial; the CRL that says so is signed and published."""
    site.write(REMOVED)
    site.apply()
    (row,) = site.open().inventory(Want(address="cert.gone"))
    site.write()
    site.later(0.1).apply()
    assert revoked_serials(site.crls()[0]) == [row.serial]
    return row.serial


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM revocations",
        "UPDATE revocations SET not_after = 0",
        "UPDATE artefacts SET this_update = 99999999999",
        "UPDATE revocations SET not_after = 0, serial = '0' || serial",
    ],
)
def test_nothing_in_the_database_un_revokes(site: Site, statement: str) -> None:
    serial = a_revoked_certificate(site)
    edit(site, statement)
    site.later(1).apply()
    assert revoked_serials(site.crls()[0]) == [serial]


@pytest.mark.parametrize(
    "statement",
    ["UPDATE revocations SET revoked_at = revoked_at + 40000", "UPDATE revocations SET reason = 'superseded'"],
)
def test_neither_a_later_date_nor_a_lesser_reason_in_the_database_takes_back_what_a_list_said(
    site: Site, statement: str
) -> None:
    compromised = '[[revoke]]\nid = "A"\ncert = "cert.gone"\ngeneration = 1\nreason = "keyCompromise"\n'
    site.write(REMOVED, base=WITH_ANSWERS)
    site.apply()
    site.write(REMOVED + compromised, base=WITH_ANSWERS).later(0.1).apply()
    before = revoked_in(site)
    edit(site, statement)
    site.later(1.1).apply()
    assert revoked_in(site) == before


def revoked_in(site: Site) -> tuple[list[str], set[tuple[int, Standing]]]:
    """What the published CRL and the published answers say of each revoked certificate: one certificate, one reason."""
    said = openssl("crl", "-inform", "DER", "-in", site.root / "public/crl/issuing-g1.crl", "-noout", "-text")
    lines = [line for line in said.splitlines() if "Revocation Date" in line or "Key Compromise" in line]
    assert len(lines) == 2
    told = pack.read((site.root / "public/ocsp/issuing-g1.pack").read_bytes())
    return lines, {(one.serial, one.standing) for one in map(pack.unpack, told.raw()) if one.standing != GOOD}


def test_a_revocation_that_is_gone_from_state_and_target_is_still_on_the_list_that_state_keeps(site: Site) -> None:
    serial = a_revoked_certificate(site)
    edit(site, "DELETE FROM revocations")
    (site.root / "public/crl/issuing-g1.crl").unlink()
    site.later(1).apply()
    assert revoked_serials(site.crls()[0]) == [serial]


def test_a_revoked_certificate_leaves_the_list_once_it_has_expired(site: Site) -> None:
    serial = a_revoked_certificate(site)
    site.later(91).apply()
    assert revoked_serials(site.crls()[0]) == [serial]
    site.later(2).apply()
    assert revoked_serials(site.crls()[0]) == []


def test_a_root_that_somebody_else_signed_is_no_trust_anchor(site: Site, tmp_path: Path) -> None:
    site.apply()
    (tmp_path / "theirs").mkdir()
    theirs = Site(tmp_path / "theirs").write()
    theirs.apply()
    alter(site, "ca", "root", der=record(theirs, "ca", "root")["der"])
    site.later(1)
    with pytest.raises(StateError, match=r"no generation of ca\.root signed it"):
        site.apply()
    alter(site, "ca", "issuing", der=record(theirs, "ca", "issuing")["der"])
    with pytest.raises(StateError, match="its key is not the one in the keystore"):
        site.apply()


def test_a_cross_certificate_that_nobody_of_ours_signed_is_neither_published_nor_sent(site: Site) -> None:
    site.apply()
    evil = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "/dev/null")
    pem = openssl(*evil, "-subj", "/O=Site/CN=Site Root", "-days", "3000")
    alter(site, "ca", "root", crosses=[["root", 1, "".join(pem.splitlines()[1:-1])]])
    site.later(1)
    with pytest.raises(StateError, match="not of its name and key"):
        site.apply()
    assert not list((site.root / "public/ca").glob("*-by-*"))
    alter(site, "ca", "root", crosses=[["root", "one", "AA=="]])
    with pytest.raises(StateError, match="cannot be read"):
        site.plan()


FLEET = """
[cert.fleet]
profile = "server"
for_each = { values = ["a", "b"] }
dns = ["${each.value}.corp.example"]
"""


@pytest.mark.parametrize("kind", ["cert", "crl"])
@pytest.mark.parametrize("values", ["x", '"a"', "{}", "[]", "[5]", "[[]]", "[null]", "9" * 5000, "[" * 5000])
def test_a_row_with_other_values_is_made_anew(site: Site, kind: str, values: str) -> None:
    site.write(FLEET)
    site.apply()
    edit(site, "UPDATE resources SET vals = ? WHERE kind = ?", values, kind)
    assert site.later(0.1).apply().exit_code == 0
    assert not site.plan().has_changes
