"""What somebody who can write the state database cannot have: another CA's signature, anybody's key."""

import base64
import json
import sqlite3
from contextlib import closing

import pytest

from pkicode.model.problem import PkicodeError, StateError
from tests.kinds.site import Site
from tests.oracles import openssl

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
