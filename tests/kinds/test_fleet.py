"""Fan-outs and CSRs: rows by key, brakes, and keys that stay on their hosts."""

from pathlib import Path

import pytest

from pkicode.model.change import Readiness
from pkicode.model.problem import ConfigError
from pkicode.ports import Want
from pkicode.x509.pem import encode
from tests.kinds.site import Site, certificates, told
from tests.oracles import openssl

FLEET = """
[cert.fleet]
profile = "server"
for_each = { csv = "fleet.csv", key = "host" }
dns = ["${each.host}.corp.example"]
"""
CSR = """
[cert.host]
profile = "server"
for_each = { values = ["a", "b"] }
dns = ["${each.value}.corp.example"]
csr = { dir = "csr", file = "${each.value}.csr" }
"""


def rows(site: Site, hosts: list[str]) -> None:
    (site.root / "fleet.csv").write_text("host,site\n" + "".join(f"{one},hel\n" for one in hosts))


def csr(site: Site, name: str, *, cn: str = "ignored", extra: tuple[str, ...] = ()) -> Path:
    path = site.root / "csr" / f"{name}.csr"
    path.parent.mkdir(exist_ok=True)
    key = path.with_suffix(".key")
    args = ("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl(*args, "-subj", f"/CN={cn}", "-keyout", key, "-out", path, *extra)
    return path


def test_a_row_is_known_by_its_key_and_not_by_its_place(site: Site) -> None:
    hosts = [f"h{one}" for one in range(20)]
    rows(site, hosts)
    site.write(FLEET)
    site.apply()
    rows(site, hosts[::-1])
    assert site.plan().changes == ()


def test_another_value_says_nothing_about_the_rows_there_are(site: Site) -> None:
    hosts = FLEET.replace('{ csv = "fleet.csv", key = "host" }', '{ values = ["a", "b"] }').replace(
        "each.host", "each.value"
    )
    site.write(hosts)
    site.apply()
    site.write(hosts.replace('"b"]', '"b", "c"]'))
    assert certificates(site.plan()) == ['issue cert.fleet["c"]@1 new']


def test_a_new_line_issues_and_a_deleted_one_lets_go(site: Site) -> None:
    rows(site, ["a", "b", "c"])
    site.write(FLEET)
    site.apply()
    rows(site, ["a", "b", "d"])
    assert certificates(site.plan()) == ['issue cert.fleet["d"]@1 new', 'forget cert.fleet["c"]@1 removed']


def test_an_emptied_source_is_stopped_by_the_brake(site: Site) -> None:
    rows(site, [f"h{one}" for one in range(12)])
    site.write(FLEET.replace("dns =", 'on_remove = "revoke"\ndns ='))
    site.apply()
    rows(site, [])
    with pytest.raises(ConfigError) as caught:
        site.plan()
    assert [one.code for one in caught.value.problems] == ["E0370"]
    assert "the source is empty" in caught.value.problems[0].message
    rows(site, [f"n{one}" for one in range(3)])
    with pytest.raises(ConfigError) as caught:
        site.plan()
    assert "none of the 12 keys it had is left, which would remove 12 certificates" in caught.value.problems[0].message
    assert {one.action for one in site.plan(allow={"remove": "12"}).changes} >= {"revoke"}


def test_a_truncated_source_is_stopped_by_the_brake(site: Site) -> None:
    rows(site, [f"h{one}" for one in range(40)])
    site.write(FLEET)
    site.apply()
    rows(site, [f"h{one}" for one in range(29)])
    with pytest.raises(ConfigError) as caught:
        site.plan()
    assert [one.code for one in caught.value.problems] == ["E0370"]
    rows(site, [f"h{one}" for one in range(30)])
    assert len(site.plan().changes) == 10


def test_a_bad_name_in_a_row_is_told_at_its_line(site: Site) -> None:
    rows(site, ["ok", "bad name!", "fine"])
    site.write(FLEET)
    with pytest.raises(ConfigError) as caught:
        site.plan()
    (problem,) = caught.value.problems
    assert problem.code == "E0401"
    assert problem.span is not None
    assert (problem.span.path, problem.span.line) == ("fleet.csv", 3)


def test_a_row_whose_names_change_is_reissued_alone(site: Site) -> None:
    (site.root / "fleet.csv").write_text("host,fqdn\na,a.corp.example\nb,b.corp.example\n")
    site.write(FLEET.replace("${each.host}.corp.example", "${each.fqdn}"))
    site.apply()
    (site.root / "fleet.csv").write_text("host,fqdn\na,a.corp.example\nb,b2.corp.example\n")
    plan = site.plan()
    assert certificates(plan) == ['renew cert.fleet["b"]@2 spec-changed']


def test_without_a_csr_the_row_waits_and_the_rest_is_done(site: Site) -> None:
    csr(site, "a")
    site.write(CSR)
    waiting = [one for one in site.plan().changes if one.readiness is Readiness.WAITING]
    assert [str(one.address) for one in waiting] == ['cert.host["b"]']
    assert waiting[0].waits == "no CSR yet: csr/b.csr"
    assert site.apply().exit_code == 7
    site.verify('cert.host["a"]')
    csr(site, "b")
    assert site.apply().exit_code == 0


def test_a_csr_gives_its_key_and_nothing_else(site: Site) -> None:
    evil = ("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "subjectAltName=DNS:evil.test")
    path = csr(site, "a", cn="evil.test", extra=evil)
    csr(site, "b")
    site.write(CSR)
    site.apply()
    text = openssl("x509", "-noout", "-text", stdin=site.chain('cert.host["a"]'))
    assert "evil" not in text
    assert "CA:TRUE" not in text
    public = openssl("req", "-in", path, "-noout", "-pubkey")
    assert openssl("x509", "-noout", "-pubkey", stdin=site.chain('cert.host["a"]')) == public


def test_another_csr_is_a_key_change(site: Site) -> None:
    csr(site, "a")
    csr(site, "b")
    site.write(CSR)
    site.apply()
    csr(site, "a")
    assert certificates(site.plan()) == ['renew cert.host["a"]@2 key-changed']
    site.apply()
    assert site.plan().changes == ()


def test_a_bad_csr_fails_alone(site: Site) -> None:
    csr(site, "a")
    path = csr(site, "b")
    data = path.read_bytes()
    path.write_bytes(data.replace(data.splitlines()[2][:4], b"AAAA"))
    site.write(CSR)
    applied = site.apply()
    assert applied.exit_code == 8
    assert [one.address for one in applied.problems] == ['cert.host["b"]']
    site.verify('cert.host["a"]')
    assert [one.address for one in site.open().inventory(Want(block="cert.host"))] == ['cert.host["a"]']


def test_rekey_require_waits_for_another_csr(site: Site) -> None:
    csr(site, "a")
    csr(site, "b")
    site.write(CSR + 'renew = { rekey = "require" }\n')
    site.apply()
    site.later(61)
    plan = site.plan()
    assert {one.readiness for one in plan.changes if one.address.kind == "cert"} == {Readiness.WAITING}
    csr(site, "a")
    plan = site.plan()
    ready = [one for one in plan.changes if one.address.kind == "cert" and one.readiness is Readiness.READY]
    assert told(ready) == ['renew cert.host["a"]@2 key-changed']


def test_a_request_that_is_used_again_is_told_once_unless_its_key_may_stay(site: Site) -> None:
    csr(site, "a")
    csr(site, "b")
    site.write(CSR)
    assert site.plan().problems == ()
    site.apply()
    site.later(61)
    assert [(one.code, one.address) for one in site.plan().problems] == [("W0416", "cert.host")]
    csr(site, "a")
    csr(site, "b")
    assert site.plan().problems == ()
    assert site.apply().exit_code == 0
    site.later(61)
    site.write(CSR + "renew = { rekey = false }\n")
    assert site.plan().problems == ()


def test_a_csr_with_the_key_of_another_address_is_refused(site: Site) -> None:
    first = csr(site, "a")
    site.write(CSR.replace('"a", "b"', '"a"'))
    site.apply()
    (site.root / "csr/b.csr").write_bytes(first.read_bytes())
    site.write(CSR)
    applied = site.apply()
    assert [(one.code, one.address) for one in applied.problems] == [("E0526", 'cert.host["b"]')]
    site.later(91)
    (site.root / "csr/b.csr").unlink()
    assert site.apply().exit_code == 7


def test_a_csr_with_a_cas_key_is_refused_be_it_a_ca_far_above(site: Site) -> None:
    site.apply()
    exported = site.open().export("ca.root", with_key=True)
    key = exported.key_pkcs8
    assert key
    assert "key_pkcs8" not in repr(exported)
    (site.root / "root.key").write_bytes(encode("PRIVATE KEY", key))
    csr(site, "a", extra=("-key", str(site.root / "root.key")))
    site.write(CSR.replace('"a", "b"', '"a"'))
    (problem,) = site.apply().problems
    assert problem.code == "E0526"
    assert "also ca.root's" in problem.message


def test_a_fleet_with_another_name_keeps_its_certificates_and_their_dates(site: Site) -> None:
    rows(site, [f"h{one}" for one in range(12)])
    fleet = FLEET + 'output = { chain = "out/${each.host}.pem", key = "out/${each.host}.key" }\n'
    site.write(fleet)
    site.apply()
    told_before = {one: _valid(site, f'cert.fleet["h{one}"]') for one in range(12)}
    site.write(fleet.replace("cert.fleet", "cert.hosts") + '[[moved]]\nfrom = "cert.fleet"\nto = "cert.hosts"\n')
    plan = site.plan()
    assert {str(one.action) for one in plan.changes if one.address.kind == "cert"} == {"move"}
    site.apply()
    assert site.plan().changes == ()
    assert {one: _valid(site, f'cert.hosts["h{one}"]') for one in range(12)} == told_before


def _valid(site: Site, address: str) -> list[str]:
    """The dates as `explain` works them out from the row."""
    return [line for line in site.open().explain(address).lines if line.startswith("valid ")]


def test_files_that_go_with_their_certificates_are_not_told_of_twice(site: Site) -> None:
    rows(site, [f"h{one}" for one in range(12)])
    files = 'output = { chain = "out/${each.host}.pem", key = "out/${each.host}.key" }\n'
    site.write(FLEET + files)
    site.apply()
    rows(site, [])
    with pytest.raises(ConfigError) as caught:
        site.plan()
    assert [(one.code, one.address) for one in caught.value.problems] == [("E0370", "cert.fleet")]
    rows(site, [f"h{one}" for one in range(12)])
    site.write(FLEET)
    with pytest.raises(ConfigError) as caught:
        site.plan()
    assert [(one.code, one.address) for one in caught.value.problems] == [("E0370", "output.fleet")]
