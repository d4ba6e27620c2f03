"""What `state adopt` records of certificates that only the journal knows, and what apply does then."""

from pathlib import Path

import pytest

from pkicode.adapters import loop
from pkicode.model.problem import KeyStoreError
from pkicode.project.breakglass import Asked
from pkicode.project.checks import Level
from pkicode.revocation import pack
from pkicode.revocation.ocsp_response import GOOD
from tests.faults.corp import BASE as ANSWERED
from tests.kinds.rollover import ALLOW, CROSS_SIGNED
from tests.kinds.site import Site, certificates, told
from tests.oracles import Refused, openssl, openssl_bytes, revoked_serials
from tests.quick import quick_keystore
from tests.state.older import KEYS, NEW, PORTAL, STATE, Older, copied, fleet, inventory, serial_of, warned


@pytest.mark.parametrize("names", [STATE, KEYS])
def test_what_was_adopted_is_as_it_was_and_apply_goes_on_with_other_numbers(
    site: Site, older: Older, names: tuple[str, ...]
) -> None:
    was = {one.serial: one for one in inventory(site)}
    older.put_back(*names)
    upkeep = site.open().upkeep
    known = {one.serial for one in inventory(site)}
    assert {one.serial for one in upkeep.adoptable().certificates} == was.keys() - known
    assert {one.serial for one in inventory(site)} == known
    adopted = upkeep.adopt().certificates
    assert {f"{one.address}@{one.generation}" for one in adopted} == {
        "cert.portal@2",
        "cert.new@1",
        'ocsp.issuing["g1"]@2',
    }
    for one in inventory(site):
        before = was[one.serial]
        assert (one.der, one.address, one.generation, one.ca, one.ca_generation, one.subject, one.sans, one.duty,
                one.not_after, one.spki, one.sha256, one.key_alg, one.issuer_dn, one.status) == (
            before.der, before.address, before.generation, before.ca, before.ca_generation, before.subject, before.sans,
            before.duty, before.not_after, before.spki, before.sha256, before.key_alg, before.issuer_dn, before.status,
        )  # fmt: skip
    assert upkeep.verify() == []
    assert warned(site) == []
    assert upkeep.adopt().is_empty
    assert [one.action for one in upkeep.audit(0, 1000)].count("adopt") == 1
    assert certificates(site.plan()) == ["issue cert.new@2 new", "renew cert.portal@3 due"]
    assert site.apply().exit_code == 0
    assert told(site.plan().changes) == []
    assert upkeep.verify() == []
    numbers = [(one.address, one.generation) for one in inventory(site)]
    assert len(numbers) == len(set(numbers))


def test_what_replaced_a_revoked_one_is_not_revoked_for_having_been_adopted(site: Site) -> None:
    """The entry of `pkicode revoke` means what was issued before it, and its replacement came seconds after."""
    older = copied(site)
    site.now += 10
    site.open().revoke(Asked("cert.portal", "keyCompromise"))
    assert "issued_before" in (site.root / "pki.toml").read_text()
    site.now += 10
    assert site.apply().exit_code == 0
    replaced = serial_of(site, "cert.portal", 2)
    older.put_back(*STATE)
    site.open().upkeep.adopt()
    assert site.apply().exit_code == 0
    assert replaced not in revoked_serials((site.root / "public/crl/issuing-g1.crl").read_bytes())
    assert {one.serial: one.status for one in inventory(site)}[replaced] == "issued"


def test_an_adopted_certificate_is_revoked_by_its_serial_and_openssl_reads_so(site: Site, older: Older) -> None:
    serial, chain = serial_of(site, "cert.new"), site.chain("cert.new")
    older.put_back(*KEYS)
    site.open().upkeep.adopt()
    site.open().revoke(Asked(serial, "superseded"))
    assert serial in revoked_serials((site.root / "public/crl/issuing-g1.crl").read_bytes())
    leaf, *rest = [b"-----BEGIN" + one for one in chain.split(b"-----BEGIN")[1:]]
    (site.root / "leaf.pem").write_bytes(leaf)
    (site.root / "rest.pem").write_bytes(b"".join(rest))
    crls = b"".join(openssl_bytes("crl", "-inform", "DER", stdin=one) for one in site.crls())
    (site.root / "crls.pem").write_bytes(crls)
    with pytest.raises(Refused, match="certificate revoked"):
        openssl("verify", "-crl_check_all", "-CAfile", site.root / "public/bundle/trust.pem", "-untrusted",
                site.root / "rest.pem", "-CRLfile", site.root / "crls.pem", "-attime", str(site.now),
                site.root / "leaf.pem")  # fmt: skip
    assert answered(site, serial) == "revoked"
    assert site.apply().exit_code == 0
    assert told(site.plan().changes) == []


def test_what_a_published_list_says_is_revoked_is_never_good_again(site: Site, older: Older) -> None:
    """Both of what is adopted, and of what the state knows; a compromised key stays blocked."""
    portal, new = serial_of(site, "cert.portal"), serial_of(site, "cert.new")
    site.open().revoke(Asked(new, "superseded"))
    site.open().revoke(Asked("cert.portal@1", "keyCompromise"))
    spki = inventory(site, "cert.portal")[0].spki
    text = (site.root / "pki.toml").read_text()
    (site.root / "pki.toml").write_text(text[: text.index("[[revoke]]")])
    older.put_back(*STATE)
    site.open().upkeep.adopt()
    status = {one.serial: (one.status, one.revocation_reason) for one in inventory(site)}
    assert (status[portal], status[new]) == (("revoked", "keyCompromise"), ("revoked", "superseded"))

    async def blocked() -> bool:
        async with site.open().state.existing() as store:
            return spki in await store.blocked()

    assert loop.run(blocked())
    assert site.apply().exit_code == 0
    assert {portal, new} <= set(revoked_serials((site.root / "public/crl/issuing-g1.crl").read_bytes()))
    assert (answered(site, portal), answered(site, new)) == ("revoked", "revoked")
    assert site.open().upkeep.verify() == []


def issuing_twice(quick_path: Path, root: str = CROSS_SIGNED) -> tuple[Site, Older]:
    """A copy from before the second generation of the issuing CA, which has issued since."""
    quick_keystore(quick_path)
    site = Site(quick_path).write(base=root)
    assert site.apply().exit_code == 0
    site.later(100).apply(allow=ALLOW)
    older = copied(site)
    for days in (80, 20):
        site.later(days).apply(allow=ALLOW)
    site.write(NEW, base=root).later(1).apply(allow=ALLOW)
    assert inventory(site, "cert.new")[0].ca_generation == 2
    return site, older


def test_a_ca_whose_key_is_at_hand_goes_on(quick_path: Path) -> None:
    site, older = issuing_twice(quick_path)
    was = (site.root / "public/ca/issuing-g2.cer").read_bytes()
    new = serial_of(site, "cert.new")
    older.put_back(*STATE)
    adoption = site.open().upkeep.adopt()
    assert ([one.at for one in adoption.going_on], adoption.keyless) == (["ca.issuing@2"], ())
    site.open().revoke(Asked(new, "superseded"))
    assert new in revoked_serials((site.root / "public/crl/issuing-g2.crl").read_bytes())
    assert site.apply(allow=ALLOW).exit_code == 0
    assert told(site.plan(allow=ALLOW).changes) == []
    assert [one.der for one in inventory(site, "ca.issuing") if one.generation == 2] == [was]
    assert inventory(site, "cert.new")[-1].ca_generation == 2
    site.verify("cert.new")
    assert site.open().upkeep.verify() == []


def strays(site: Site) -> list[str]:
    """What status says of the generation whose key was lost."""
    checks = site.open().vitals.status().checks
    return [
        one.message for one in checks if (one.name, one.subject, one.level) == ("ca", "ca.issuing@2", Level.WARNING)
    ]


def test_the_number_of_a_ca_whose_key_is_gone_is_not_given_to_another_key(quick_path: Path) -> None:
    site, older = issuing_twice(quick_path)
    [lost] = [one for one in inventory(site, "ca.issuing") if one.generation == 2]
    new = serial_of(site, "cert.new")
    older.put_back(*KEYS)
    adoption = site.open().upkeep.adopt()
    assert (adoption.going_on, [one.serial for one in adoption.keyless]) == ((), [lost.serial])
    assert strays(site) == [
        "its key is not known here: what can be done about the 1 valid certificate that it signed is to revoke it,"
        f" `pkicode revoke {lost.serial}`"
    ]
    assert [(one.ca, one.ca_generation) for one in inventory(site, "cert.new")] == [("issuing", 2)]
    assert site.open().upkeep.verify() == []
    assert site.apply(allow=ALLOW).exit_code == 0
    assert told(site.plan(allow=ALLOW).changes) == []
    names = {(one.generation, one.subject, one.spki) for one in inventory(site, "ca.issuing")}
    assert {(number, subject) for number, subject, _ in names} == {
        (number, f"CN=Site Issuing A{number},O=Site") for number in (1, 2, 3)
    }
    assert len(names) == 3
    assert len(strays(site)) == 1
    site.open().revoke(Asked(lost.serial, "cACompromise"), allow={"ca-revoke": "issuing"})
    assert strays(site) == []
    assert lost.serial in revoked_serials((site.root / "public/crl/root-g1.crl").read_bytes())
    assert new not in revoked_serials((site.root / "public/crl/issuing-g1.crl").read_bytes())
    assert site.apply(allow={**ALLOW, "ca-revoke": "issuing"}).exit_code == 0
    site.verify("cert.portal")
    assert told(site.plan(allow={**ALLOW, "ca-revoke": "issuing"}).changes) == []


def test_a_root_that_the_one_before_has_signed_is_known_by_it(quick_path: Path) -> None:
    quick_keystore(quick_path)
    site = Site(quick_path).write(base=CROSS_SIGNED)
    assert site.apply().exit_code == 0
    older = copied(site)
    while len({one.generation for one in inventory(site, "ca.root")}) < 2:
        site.later(40).apply(allow=ALLOW)
    was = {one.serial: (one.address, one.generation, one.ca, one.ca_generation) for one in inventory(site)}
    older.put_back(*STATE)
    adoption = site.open().upkeep.adopt()
    assert "ca.root@2" in [one.at for one in adoption.going_on]
    assert {one.serial: (one.address, one.generation, one.ca, one.ca_generation) for one in inventory(site)} == was
    assert site.apply(allow=ALLOW).exit_code == 0
    assert told(site.plan(allow=ALLOW).changes) == []
    assert {one.generation for one in inventory(site, "ca.root")} == {1, 2}
    site.verify("cert.portal")


def test_without_its_keystore_nothing_is_adopted(site: Site, older: Older) -> None:
    """As on a disk that is not mounted: an empty one would leave CAs without keys for good."""
    older.put_back(*STATE)
    keys, before = site.root / ".pkicode/keys.db", inventory(site)
    keys.rename(site.root / "elsewhere")
    with pytest.raises(KeyStoreError, match="is not there, so nobody knows which keys are"):
        site.open().upkeep.adopt()
    assert inventory(site) == before
    (site.root / "elsewhere").rename(keys)
    assert not site.open().upkeep.adopt().is_empty


def test_what_nothing_tells_the_address_of_has_one_of_its_own(site: Site, older: Older) -> None:
    serial = serial_of(site, "cert.new")
    older.put_back(*KEYS)
    site.write(PORTAL, base=ANSWERED)
    site.open().upkeep.adopt()
    assert [one.address for one in inventory(site) if one.serial == serial] == [f"journal.{serial}"]
    site.open().revoke(Asked(serial, "superseded"))
    assert serial in revoked_serials((site.root / "public/crl/issuing-g1.crl").read_bytes())
    assert site.apply().exit_code == 0
    assert told(site.plan().changes) == []


def test_two_addresses_of_the_same_names_are_told_apart_by_nothing(site: Site) -> None:
    twins = "".join(f'[cert.{name}]\nprofile = "server"\ndns = ["twin.corp.example"]\n' for name in ("left", "right"))
    older = copied(site)
    site.write(PORTAL + twins, base=ANSWERED)
    assert site.apply().exit_code == 0
    older.put_back(*KEYS)
    site.open().upkeep.adopt()
    assert [one.address.partition(".")[0] for one in inventory(site) if "twin" in one.sans] == ["journal", "journal"]
    assert certificates(site.plan()) == ["issue cert.left@1 new", "issue cert.right@1 new"]


def test_a_fleet_comes_back_as_it_was(site: Site) -> None:
    """Where a batch after the other was signed since, whichever of them the copy knows."""
    site.write(PORTAL + fleet(2000), base=ANSWERED)
    older = copied(site)
    assert site.apply(jobs=2).exit_code == 0
    was = {(one.serial, one.address, one.generation) for one in inventory(site)}
    older.put_back(*KEYS)
    assert len(site.open().upkeep.adopt().certificates) == 2000
    assert {(one.serial, one.address, one.generation) for one in inventory(site)} == was
    assert site.open().upkeep.verify() == []
    plan = site.plan()
    assert {one.generation for one in plan.changes if one.address.kind == "cert"} == {2}


def answered(site: Site, serial: str) -> str:
    """What the published pack says of a certificate of the issuing CA."""
    found = pack.read((site.root / "public/ocsp/issuing-g1.pack").read_bytes())
    one = next(one for one in map(pack.unpack, found.raw()) if f"{one.serial:x}" == serial)
    return "good" if one.standing == GOOD else "revoked"


def test_a_number_is_not_given_again_where_the_address_moves_in_the_same_plan(site: Site, older: Older) -> None:
    older.put_back(*KEYS)
    site.open().upkeep.adopt()
    moved = '[[moved]]\nfrom = "cert.portal"\nto = "cert.front"\n'
    site.write(PORTAL.replace("cert.portal", "cert.front") + moved, base=ANSWERED)
    assert site.apply().exit_code == 0
    assert [one.generation for one in inventory(site, "cert.front")] == [1, 2, 3]
    assert told(site.plan().changes) == []
