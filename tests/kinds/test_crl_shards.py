"""Shards and generations of CRLs: who is on which list, which lists are signed when, and how numbers rise."""

import os
import shutil
from pathlib import Path

import pytest
from cryptography import x509

from pkicode.model.event import Event
from pkicode.model.instants import DAY
from pkicode.model.problem import ConfigError
from pkicode.ports import Certificate, Want
from pkicode.revocation import crl
from tests.kinds.generations import add_generation, stored
from tests.kinds.site import BASE, Site, told
from tests.kinds.test_altered_state import edit
from tests.oracles import Refused, assert_verifies, revoked_serials

FLEET = """
[cert.fleet]
profile = "server"
for_each = { values = [%s] }
dns = ["${each.value}.corp.example"]
on_remove = "revoke"
"""
HOSTS = [f"h{number}" for number in range(12)]


def fleet(*hosts: str) -> str:
    return FLEET % ", ".join(f'"{one}"' for one in hosts)


def sharded(count: int, *hosts: str, base: str = BASE) -> str:
    """The site's PKI with so many shards, and a certificate for each host."""
    return base.replace("path_len = 0", f"path_len = 0\ncrl = {{ shards = {count} }}") + fleet(*hosts)


def named(one: Certificate) -> list[str]:
    """The URLs in the certificate."""
    points = x509.load_der_x509_certificate(one.der).extensions.get_extension_for_class(x509.CRLDistributionPoints)
    return [str(name.value) for point in points.value for name in point.full_name or ()]


def leaves(site: Site) -> dict[str, Certificate]:
    """Host -> its newest certificate."""
    return {one.address.split('"')[1]: one for one in site.open().inventory(Want(block="cert.fleet"))}


def shard_of(one: Certificate) -> str:
    return named(one)[0].rsplit("/", 1)[1].removesuffix(".crl")


def applied(site: Site) -> list[Event]:
    """Apply; what was told of the issuing CA's lists as wrong."""
    events: list[Event] = []
    assert site.open().apply(emit=events.append).exit_code == 0
    assert site.plan().changes == ()
    return [one for one in events if one.failed and one.address == "crl.issuing"]


@pytest.fixture
def four(site: Site) -> Site:
    """Four shards and twelve hosts, applied."""
    site.write(base=sharded(4, *HOSTS))
    assert applied(site) == []
    return site


def test_a_plan_says_how_many_shards_are_signed(site: Site) -> None:
    site.write(base=sharded(4, *HOSTS))
    found = {str(one.address): one.after for one in site.plan().changes if one.address.kind == "crl"}
    assert {address: after and after.get("shards") for address, after in found.items()} == {
        "crl.root": None,
        "crl.issuing": 4,
    }


def test_each_leaf_names_the_shard_of_its_serial_and_owes_it(four: Site) -> None:
    for one in leaves(four).values():
        url = f"http://pki.corp.example/crl/issuing-g1/{int(one.serial, 16) % 4}.crl"
        assert named(one) == [url]
        assert one.duty == f'["{url}"]'
    (issuing,) = four.open().inventory(Want(address="ca.issuing"))
    assert named(issuing) == ["http://pki.corp.example/crl/root-g1.crl"]


def test_a_shard_says_critically_which_url_it_is_and_the_full_list_is_beside_it(four: Site) -> None:
    files = {str(one.relative_to(four.root / "public/crl")) for one in (four.root / "public/crl").rglob("*.crl")}
    assert files == {"root-g1.crl", "issuing-g1.crl", *(f"issuing-g1/{shard}.crl" for shard in range(4))}
    loaded = x509.load_der_x509_crl((four.root / "public/crl/issuing-g1/3.crl").read_bytes())
    point = loaded.extensions.get_extension_for_class(x509.IssuingDistributionPoint)
    assert point.critical
    assert [name.value for name in point.value.full_name or ()] == ["http://pki.corp.example/crl/issuing-g1/3.crl"]
    assert stored(four)["issuing-g1"].facts.urls == ()


def test_one_revocation_signs_the_full_list_and_one_shard_again(four: Site) -> None:
    gone = leaves(four)["h3"]
    four.write(base=sharded(4, *(host for host in HOSTS if host != "h3"))).later(0.25)
    assert four.plan().next_due == four.now + int(0.75 * DAY)
    assert applied(four) == []
    mine = f"issuing-g1/{shard_of(gone)}"
    found = stored(four)
    assert {name: one.facts.number for name, one in found.items() if name != "root-g1"} == {
        name: 2 if name in ("issuing-g1", mine) else 1 for name in found if name != "root-g1"
    }
    assert {name for name, one in found.items() if gone.serial in one.serials} == {"issuing-g1", mine}
    assert four.plan().next_due == four.now + int(0.75 * DAY)
    for name in ("issuing-g1", mine):
        assert revoked_serials((four.root / f"public/crl/{name}.crl").read_bytes()) == [gone.serial]


def test_openssl_refuses_the_revoked_and_accepts_the_good_by_their_shards_alone(four: Site) -> None:
    gone = leaves(four)["h5"]
    four.write(base=sharded(4, *(host for host in HOSTS if host != "h5"))).later(0.1)
    assert applied(four) == []
    root = (four.root / "public/bundle/trust.pem").read_bytes()
    chain = [(four.root / "public/ca/issuing-g1.pem").read_bytes()]
    parts = [one.read_bytes() for one in sorted((four.root / "public/crl/issuing-g1").glob("*.crl"))]
    crls = [(four.root / "public/crl/root-g1.crl").read_bytes(), *parts]
    for host, one in leaves(four).items():
        if host == "h5":
            continue
        assert_verifies(one.der, chain=chain, root=root, crls=crls, at=four.now)
    with pytest.raises(Refused, match="certificate revoked"):
        assert_verifies(gone.der, chain=chain, root=root, crls=crls, at=four.now)


def test_more_shards_leave_the_old_urls_alive_until_their_last_certificate_expires(four: Site) -> None:
    old = leaves(four)
    four.write(base=sharded(2, *HOSTS)).later(0.5)
    plan = four.plan()
    assert "sign crl.issuing@1 spec-changed" in told(plan.changes)
    assert [one.fields for one in plan.pending] == [("crl.shards of its issuer",)]
    assert applied(four) == []
    victim = next(host for host, one in old.items() if shard_of(one) in ("2", "3"))
    four.write(base=sharded(2, *(host for host in HOSTS if host != victim))).later(1)
    assert applied(four) == []
    found = stored(four)
    assert old[victim].serial in found[f"issuing-g1/{shard_of(old[victim])}"].serials
    assert old[victim].serial not in found[f"issuing-g1/{int(old[victim].serial, 16) % 2}"].serials
    last = max(one.not_after for one in old.values())
    while four.now <= last:
        four.later(30)
        assert applied(four) == []
    before = stored(four)
    four.later(2)
    assert applied(four) == []
    after = stored(four)
    again = {name for name in after if after[name].facts.number > before[name].facts.number}
    assert again == {"root-g1", "issuing-g1", "issuing-g1/0", "issuing-g1/1"}


def test_shards_that_are_given_up_are_signed_for_the_certificates_that_name_them(four: Site) -> None:
    four.write(base=BASE + fleet(*HOSTS)).later(1)
    assert applied(four) == []
    mine = {shard_of(one) for one in leaves(four).values()}
    assert {name: one.facts.number for name, one in stored(four).items() if "/" in name} == {
        f"issuing-g1/{shard}": 2 if str(shard) in mine else 1 for shard in range(4)
    }


def test_another_base_url_is_named_by_shards_beside_the_one_in_older_certificates(four: Site) -> None:
    base = sharded(4, *HOSTS).replace("http://pki.corp.example", "http://crl.corp.example")
    four.write(base=base).later(0.1)
    assert "sign crl.issuing@1 spec-changed" in told(four.plan().changes)
    assert applied(four) == []
    shard = shard_of(leaves(four)["h1"])
    assert stored(four)[f"issuing-g1/{shard}"].facts.urls == (
        f"http://crl.corp.example/crl/issuing-g1/{shard}.crl",
        f"http://pki.corp.example/crl/issuing-g1/{shard}.crl",
    )


def test_with_two_targets_certificate_and_shard_name_both(site: Site) -> None:
    second = '[publish.mirror]\nurl = "mirror"\nbase_url = "http://mirror.corp.example"\n'
    base = sharded(2, "h1", base=second.join(BASE.split("[ca.root]", 1)).replace(second, f"{second}[ca.root]"))
    site.write(base=base.replace('publish = ["web"]\n[profile', 'publish = ["web", "mirror"]\n[profile'))
    assert applied(site) == []
    one = leaves(site)["h1"]
    urls = stored(site)[f"issuing-g1/{shard_of(one)}"].facts.urls
    assert sorted(named(one)) == sorted(urls)
    assert len(urls) == 2


def test_a_shard_that_a_certificate_names_is_signed_even_if_pki_toml_never_got_so_far(four: Site) -> None:
    """As after a crash between issuance and lists, and an edit before the next apply."""
    edit(four, "DELETE FROM artefacts WHERE scope <> ''")
    shutil.rmtree(four.root / "public/crl/issuing-g1")
    four.write(base=BASE + fleet(*HOSTS)).later(1)
    assert applied(four) == []
    assert {shard_of(one) for one in leaves(four).values()} == {
        name.partition("/")[2] for name in stored(four) if "/" in name
    }


@pytest.mark.parametrize(
    ("statement", "gone_files"),
    [
        ("DELETE FROM revocations", False),
        ("DELETE FROM artefacts WHERE scope <> ''", False),
        ("UPDATE certificates SET duty = '[]'", False),
        ("DELETE FROM revocations", True),
    ],
)
def test_nothing_in_the_database_takes_a_serial_off_its_shard(four: Site, statement: str, gone_files: bool) -> None:
    gone = leaves(four)["h7"]
    mine = f"issuing-g1/{shard_of(gone)}"
    four.write(base=sharded(4, *(host for host in HOSTS if host != "h7"))).later(0.1)
    assert applied(four) == []
    edit(four, statement)
    if gone_files:
        shutil.rmtree(four.root / "public/crl")
    four.later(1)
    applied(four)
    found = stored(four)
    assert gone.serial in found[mine].serials
    assert gone.serial in found["issuing-g1"].serials
    assert found[mine].facts.number > 2


def test_another_shards_list_in_a_shards_place_is_told_and_replaced(four: Site) -> None:
    folder = four.root / "public/crl/issuing-g1"
    shutil.copy(folder / "1.crl", folder / "2.crl")
    shutil.copy(folder / "1.crl", four.root / "public/crl/issuing-g1.crl")
    alarms = applied(four.later(1))
    assert len(alarms) == 2
    assert all("it is of another scope" in one.message for one in alarms)
    for shard in range(4):
        facts = crl.read((folder / f"{shard}.crl").read_bytes(), limit=10_000)
        assert (facts.number, facts.urls) == (2, (f"http://pki.corp.example/crl/issuing-g1/{shard}.crl",))


def test_numbers_of_shards_rise_above_what_is_published_after_a_restore(four: Site, tmp_path: Path) -> None:
    backup = tmp_path / "backup.db"
    shutil.copy(four.root / ".pkicode/state.db", backup)
    gone = leaves(four)["h9"]
    four.write(base=sharded(4, *(host for host in HOSTS if host != "h9"))).later(0.1)
    assert applied(four) == []
    mine = f"issuing-g1/{shard_of(gone)}"
    assert stored(four)[mine].facts.number == 2
    for name in ("state.db", "state.db-wal", "state.db-shm"):
        (four.root / ".pkicode" / name).unlink(missing_ok=True)
    shutil.copy(backup, four.root / ".pkicode/state.db")
    four.write(base=sharded(4, *HOSTS)).later(1)
    alarms = applied(four)
    assert any("not in the state: 1 serial on an earlier CRL of ca.issuing@1" in one.message for one in alarms)
    for name in ("issuing-g1", mine):
        published = crl.read((four.root / f"public/crl/{name}.crl").read_bytes(), limit=10_000)
        assert published.number == 3
        assert [f"{entry.serial:x}" for entry in published.entries] == [gone.serial]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (sharded(1), "`crl.shards` is 2 to 256"),
        (sharded(257), "`crl.shards` is 2 to 256"),
        (sharded(4).replace('publish = ["web"]\n[profile', "[profile"), "no certificate could name its shards"),
    ],
)
def test_shards_that_there_cannot_be_are_refused(site: Site, text: str, words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        site.write(base=text.replace("[cert.fleet]" + fleet().partition("[cert.fleet]")[2], "")).plan()
    (problem,) = [one for one in refused.value.problems if one.code == "E0418"]
    assert words in problem.message
    assert problem.span


ROTATING = BASE.replace('cn = "Site Issuing"', 'cn = "Site Issuing ${generation}"')


def test_an_older_generation_goes_on_signing_under_a_row_of_its_own(site: Site) -> None:
    site.write(base=ROTATING + fleet("h1", "h2"))
    applied(site)
    gone = leaves(site)["h1"]
    site.later(1)
    applied(site)
    add_generation(site.later(0.1), "issuing", 2)
    lists = [one for one in site.plan().changes if one.address.kind == "crl"]
    assert told(lists) == ["sign crl.issuing@2 new", 'sign crl.issuing["g1"]@1 new']
    assert applied(site) == []
    found = stored(site)
    assert {name: one.facts.number for name, one in found.items()} == {"issuing-g1": 3, "issuing-g2": 1, "root-g1": 2}
    assert found["issuing-g1"].facts.aki != found["issuing-g2"].facts.aki
    site.write(base=ROTATING + fleet("h2")).later(0.1)
    assert applied(site) == []
    found = stored(site)
    assert found["issuing-g1"].serials == [gone.serial]
    assert found["issuing-g2"].serials == []


def test_both_generations_lists_are_due_on_their_own_and_the_older_one_ends_with_its_certificate(site: Site) -> None:
    site.write(base=ROTATING + fleet("h1"))
    applied(site)
    add_generation(site.later(300), "issuing", 2)
    applied(site)
    site.later(2)
    plan = site.plan(only=["crl.*"])
    assert told([one for one in plan.changes if one.address.name == "issuing"]) == [
        "sign crl.issuing@2 crl-due",
        'sign crl.issuing["g1"]@1 crl-due',
    ]
    (first, second) = site.open().inventory(Want(address="ca.issuing"))
    site.now = first.not_after + 1
    assert second.not_after > site.now
    lists = [one for one in site.plan(only=["crl.*"]).changes if one.address.name == "issuing"]
    assert told(lists) == ["sign crl.issuing@2 crl-due", 'forget crl.issuing["g1"]@1 removed']


def test_a_ca_that_was_let_go_and_comes_back_under_another_name_owes_nothing_for_the_old(site: Site) -> None:
    site.apply()
    without = BASE[: BASE.index("[ca.issuing]")]
    site.write(base=without).later(0.1)
    assert site.apply().exit_code == 0
    site.write(base=BASE.replace('cn = "Site Issuing"', 'cn = "Quite Another ${generation}"')).later(0.1)
    assert site.apply().exit_code == 0
    assert site.plan().changes == ()
    assert os.listdir(site.root / "public/crl")
