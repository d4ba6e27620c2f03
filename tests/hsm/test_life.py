"""A PKI with both CAs on a token: issued, renewed, revoked, published and answered for, as OpenSSL sees it."""

from pathlib import Path

import pytest

from pkicode.model.faults import FaultPoint
from pkicode.model.instants import rfc3339
from pkicode.model.problem import KeyStoreError
from pkicode.ports import Want
from pkicode.project import open_project
from pkicode.revocation import pack
from pkicode.revocation.ocsp_request import cert_id
from pkicode.revocation.ocsp_response import verified
from tests.hsm.site import LEAVES, on_token, text, with_pin
from tests.kinds.site import Site
from tests.oracles import Refused, crl_number, openssl, revoked_serials
from tests.softhsm import PIN, SoftHsm


def statuses(site: Site) -> dict[str, list[str]]:
    """Address -> status of each of its certificates, oldest first."""
    found: dict[str, list[str]] = {}
    for one in site.open().inventory(Want()):
        found.setdefault(one.address, []).append(one.status)
    return found


def answers(site: Site) -> dict[str, str]:
    """Serial -> what the published pack of ca.issuing says, each signature checked."""
    found = pack.read((site.root / "public/ocsp/issuing-g1.pack").read_bytes())
    said = {}
    for record in map(pack.unpack, found.raw()):
        dates = {"this_update": record.this_update, "next_update": record.next_update}
        tbs = found.maker.form.tbs("sha1", record.serial, record.standing, **dates)
        answer = found.maker.form.response(tbs, record.signatures[0])
        asked = cert_id(found.maker.issuer, record.serial, "sha1")
        said[f"{record.serial:x}"] = verified(answer, asked, found.maker.ca, now=site.now).status
    return said


@pytest.mark.parametrize("alg", ["ec-p256", "ec-p384", "rsa-2048", "ed25519"])
def test_both_cas_on_a_token_issue_renew_and_revoke(hsm: SoftHsm, token: str, quick_path: Path, alg: str) -> None:
    site = on_token(quick_path, hsm, token, alg=alg)
    assert site.apply().exit_code == 0
    site.verify("cert.portal")
    assert not site.plan().changes
    first = crl_number((site.root / "public/crl/issuing-g1.crl").read_bytes())

    site.later(61)
    assert site.apply().exit_code == 0
    site.verify("cert.portal")
    assert len(statuses(site)["cert.portal"]) == 2

    stolen = f"""
[[revoke]]
id = "INC-1"
cert = "cert.portal"
issued_before = {rfc3339(site.now)}
reason = "keyCompromise"
"""
    site.later(1).write(LEAVES.partition("[cert.old]")[0] + stolen, base=text(hsm, token, alg=alg))
    assert site.apply().exit_code == 0
    site.verify("cert.portal")
    issued = site.open().inventory(Want(ca="issuing"))
    gone = {one.serial for one in issued if one.status == "revoked"}
    assert {one.address for one in issued if one.status == "revoked"} == {"cert.portal", "cert.old"}
    crl = (site.root / "public/crl/issuing-g1.crl").read_bytes()
    assert set(revoked_serials(crl)) >= gone
    assert crl_number(crl) > first
    said = answers(site)
    assert {serial for serial, status in said.items() if status == "revoked"} == {
        one.serial for one in issued if one.status == "revoked" and one.not_after >= site.now
    }
    assert "good" in said.values()
    assert site.open().upkeep.verify() == []
    assert site.open().upkeep.verify_keys("hsm") == []
    labels = {one.label for one in site.open().upkeep.keys("hsm")}
    assert {"ca.root@1", "ca.issuing@1"} <= set(labels)
    assert not [one for one in labels if one.startswith("cert.")]
    shown = hsm.tool(token, "--list-objects", "--type", "privkey")
    assert shown.count("sensitive, always sensitive, never extractable, local") == len(labels)


def test_openssl_refuses_what_the_token_revoked(hsm: SoftHsm, token: str, quick_path: Path) -> None:
    site = on_token(quick_path, hsm, token)
    assert site.apply().exit_code == 0
    chain = site.chain("cert.old")
    site.later(1).write(LEAVES.partition("[cert.old]")[0], base=text(hsm, token))
    assert site.apply().exit_code == 0
    (site.root / "old.pem").write_bytes(chain)
    lists = "".join(openssl("crl", "-inform", "DER", stdin=one) for one in site.crls())
    (site.root / "crls.pem").write_text(lists)
    with pytest.raises(Refused, match="certificate revoked"):
        openssl(
            "verify", "-crl_check_all", "-attime", str(site.now), "-CAfile", site.root / "public/bundle/trust.pem",
            "-untrusted", site.root / "old.pem", "-CRLfile", site.root / "crls.pem", site.root / "old.pem",
        )  # fmt: skip


def test_plan_and_validate_need_neither_pin_nor_token(hsm: SoftHsm, token: str, quick_path: Path) -> None:
    site = on_token(quick_path, hsm, token)
    (site.root / ".pkicode/pin").unlink()
    hsm.remove()
    try:
        assert len(site.plan().changes) > 4
    finally:
        hsm.put_back()


def test_a_token_that_is_missing_ends_an_apply_before_anything_is_reserved(
    hsm: SoftHsm, token: str, quick_path: Path
) -> None:
    site = on_token(quick_path, hsm, token)
    hsm.remove()
    try:
        with pytest.raises(KeyStoreError, match=r"no token matches the URI of \[keystore.hsm\]"):
            site.apply()
        assert statuses(site) == {}
    finally:
        hsm.put_back()
    assert site.apply().exit_code == 0
    site.verify("cert.portal")


def test_a_wrong_pin_ends_an_apply_and_the_right_one_goes_on(hsm: SoftHsm, token: str, quick_path: Path) -> None:
    site = on_token(quick_path, hsm, token)
    with_pin(site.root, "planted-Wrong-Pin")
    with pytest.raises(KeyStoreError, match="refuses the PIN") as told:
        site.apply()
    assert "planted" not in f"{told.value}{told.value.help}"
    with pytest.raises(KeyStoreError, match="was refused before, and is not tried again"):
        site.apply()
    with_pin(site.root)
    assert site.apply().exit_code == 0


def test_a_token_pulled_out_in_the_middle_of_an_apply_loses_nothing(hsm: SoftHsm, token: str, quick_path: Path) -> None:
    site = on_token(quick_path, hsm, token)
    stored: list[FaultPoint] = []

    def pull(point: FaultPoint) -> None:
        if point is FaultPoint.INTENTS_STORED:
            stored.append(point)
            # The third: root and issuing are signed, the leaves are reserved.
            if len(stored) == 3:
                hsm.remove()

    with pytest.raises(KeyStoreError, match="no token matches"):
        open_project(site.root / "pki.toml", environ={}, now=site.now, reach=pull).apply()
    hsm.put_back()
    site.now += 60
    assert site.apply().exit_code == 0
    # What was reserved when the token went away is burnt, and issued anew.
    assert sorted(one for many in statuses(site).values() for one in many).count("revoked") == 1
    site.verify("cert.portal")
    assert not site.plan().changes
    assert site.open().upkeep.verify() == []


def test_the_pin_is_in_no_file_but_its_own(hsm: SoftHsm, token: str, quick_path: Path) -> None:
    site = on_token(quick_path, hsm, token)
    assert site.apply().exit_code == 0
    holding = [path for path in site.root.rglob("*") if path.is_file() and PIN.encode() in path.read_bytes()]
    assert holding == [site.root / ".pkicode/pin"]


def test_an_adopted_key_becomes_a_ca(hsm: SoftHsm, token: str, quick_path: Path) -> None:
    hsm.tool(token, "--keypairgen", "--key-type", "EC:prime256v1", "--label", "made elsewhere", "--id", "a1")
    site = on_token(quick_path, hsm, token, more='keys = { "ca.root@1" = "pkcs11:id=%A1" }')
    assert site.apply().exit_code == 0
    site.verify("cert.portal")
    public = quick_path / "public.der"
    hsm.tool(token, "--read-object", "--type", "pubkey", "--id", "a1", "--output-file", str(public))
    root = openssl("x509", "-in", site.root / "public/bundle/trust.pem", "-noout", "-pubkey")
    assert root == openssl("pkey", "-pubin", "-inform", "DER", "-in", public)
