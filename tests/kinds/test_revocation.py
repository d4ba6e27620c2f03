"""[[revoke]]: what it selects, in which order it is done, and that nothing takes it back (decisions 7 to 9)."""

import hashlib
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pkicode.model.change import Plan, Readiness
from pkicode.model.instants import DAY, rfc3339
from pkicode.model.problem import ConfigError, Denied
from pkicode.ports import Certificate, Want
from pkicode.project.breakglass import Asked
from pkicode.revocation import crl
from tests.kinds.site import BASE, NOW, Site, certificates, told
from tests.laws.corporate import told as bytes_of
from tests.oracles import Refused, assert_verifies, openssl, openssl_bytes, revoked_serials

PORTAL = """
[cert.portal]
profile = "server"
dns = ["portal.corp.example"]
"""
HANDED_OUT = PORTAL + 'output = { chain = "out/portal.pem", key = "out/portal.key" }\n'
FLEET = """
[cert.fleet]
profile = "server"
for_each = { values = ["a", "b", "c"] }
dns = ["${each.value}.corp.example"]
"""


def revoke(name: str, selector: str, reason: str, more: str = "") -> str:
    return f'[[revoke]]\nid = "{name}"\n{selector}\nreason = "{reason}"\n{more}\n'


def before(site: Site) -> str:
    """A selector of what cert.portal was given until now."""
    return f'cert = "cert.portal"\nissued_before = {rfc3339(site.now)}'


def rows(site: Site, address: str = "cert.portal") -> list[Certificate]:
    return [*site.open().inventory(Want(address=address))]


def statuses(site: Site, address: str = "cert.portal") -> list[str]:
    return [one.status for one in rows(site, address)]


def listed(site: Site, stem: str = "issuing-g1") -> list[str]:
    return revoked_serials((site.root / f"public/crl/{stem}.crl").read_bytes())


def codes(site: Site) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        site.plan()
    assert all(one.span for one in caught.value.problems)
    return [one.code for one in caught.value.problems]


def warned(plan: Plan) -> list[str]:
    return [one.code for one in plan.problems]


@pytest.fixture
def issued(site: Site) -> Site:
    """cert.portal, a day old."""
    site.write(HANDED_OUT).apply()
    return site.later(1)


def test_a_compromise_is_revoked_and_published_before_there_is_a_new_key(issued: Site) -> None:
    old = issued.chain("cert.portal")
    issued.write(HANDED_OUT + revoke("INC-1", before(issued), "keyCompromise"))
    assert told(issued.plan().changes)[0] == 'revoke revoke.INC-1["cert.portal@1"]@1 new'
    assert certificates(issued.plan()) == ["renew cert.portal@2 revoked"]
    applied = issued.apply()
    assert (applied.exit_code, applied.counts["revoke"], applied.counts["renew"]) == (0, 1, 1)
    events = [one.action for one in issued.open().upkeep.audit(0, 1000)]
    after = events[events.index("revoke") :]
    assert after.index("publish") < after.index("issue.intent")
    assert issued.plan().changes == ()
    issued.verify("cert.portal")
    root = (issued.root / "public/bundle/trust.pem").read_bytes()
    leaf, issuing = [b"-----BEGIN" + one for one in old.split(b"-----BEGIN")[1:]]
    with pytest.raises(Refused, match="certificate revoked"):
        assert_verifies(leaf, chain=[issuing], root=root, crls=issued.crls(), at=issued.now)
    first, second = rows(issued)
    assert first.spki != second.spki


@pytest.mark.parametrize("reason", ["superseded", "unspecified", "affiliationChanged", "privilegeWithdrawn"])
def test_any_other_reason_revokes_after_replacement_output_and_lists_it_at_once(issued: Site, reason: str) -> None:
    issued.write(HANDED_OUT + revoke("R-1", before(issued), reason))
    assert told(issued.plan().changes)[-1] == 'revoke revoke.R-1["cert.portal@1"]@1 new'
    assert issued.apply().exit_code == 0
    events = [one.action for one in issued.open().upkeep.audit(0, 1000)]
    assert events.index("revoke") > len(events) - 1 - events[::-1].index("output")
    assert issued.plan().changes == ()
    assert listed(issued) == [rows(issued)[0].serial]
    issued.verify("cert.portal")


def test_a_certificate_whose_files_hold_a_cross_certificate_is_revoked_once(site: Site) -> None:
    older = """
        [ca.older]
        subject = { cn = "Older Root" }
        validity = "10y"
        path_len = 2
        publish = ["web"]
    """
    base = BASE.replace("path_len = 1", 'path_len = 1\ncross_sign = ["older"]') + older
    site.write(HANDED_OUT, base=base).apply()
    site.later(1).write(HANDED_OUT + revoke("R-1", before(site), "superseded"), base=base).apply()
    assert site.plan().changes == ()
    assert statuses(site) == ["revoked", "issued"]
    assert listed(site) == [rows(site)[0].serial]


def test_a_failed_hook_leaves_the_old_certificate_good_until_it_succeeds(issued: Site) -> None:
    hook = HANDED_OUT + 'after = ["test", "-e", "ready"]\n'
    issued.write(hook + revoke("R-1", before(issued), "superseded"))
    assert issued.apply().exit_code == 8
    assert statuses(issued) == ["issued", "issued"]
    assert listed(issued) == []
    (issued.root / "ready").touch()
    assert issued.apply().exit_code == 0
    assert statuses(issued) == ["revoked", "issued"]
    assert issued.plan().changes == ()


def test_with_no_replacement_declared_it_is_revoked_at_once(issued: Site) -> None:
    issued.write(revoke("R-1", before(issued), "cessationOfOperation"))
    assert issued.apply().exit_code == 0
    assert statuses(issued) == ["revoked"]
    assert issued.plan().changes == ()


def test_reissue_false_holds_the_replacement_and_not_the_revocation(issued: Site) -> None:
    held = HANDED_OUT + "reissue = false\n"
    issued.write(held + revoke("R-1", before(issued), "superseded"))
    issued.apply()
    assert (statuses(issued), issued.plan().changes) == (["revoked"], ())
    assert [one for one in issued.plan(at=issued.now + 100 * DAY).changes if one.address.kind == "cert"] == []
    issued.write(HANDED_OUT + 'note = "x"\n' + revoke("R-1", before(issued), "superseded"))
    assert certificates(issued.plan()) == ["renew cert.portal@2 revoked"]


def test_a_note_on_a_revoked_certificate_does_not_make_it_good(issued: Site) -> None:
    held = HANDED_OUT + "reissue = false\n"
    issued.write(held + revoke("R-1", before(issued), "superseded"))
    issued.apply()
    issued.write(held + 'note = "x"\n' + revoke("R-1", before(issued), "superseded"))
    issued.apply()
    assert issued.open().explain("cert.portal").status == "revoked"


@pytest.mark.parametrize(
    ("selector", "code"),
    [
        ('cert = "cert.portal"', "E0332"),
        ('cert = "cert.portal"\nissued_before = 2999-01-01T00:00:00Z', "E0336"),
        ('cert = "cert.portal"\ngeneration = 1\ncompromised_at = 2999-01-01T00:00:00Z', "E0336"),
    ],
)
def test_what_would_revoke_its_own_replacement_is_refused(issued: Site, selector: str, code: str) -> None:
    issued.write(HANDED_OUT + revoke("R-1", selector, "superseded"))
    assert codes(issued) == [code]
    (problem,) = issued.open().validate()
    assert code != "E0332" or f"issued_before = {rfc3339(issued.now)}" in problem.help


@pytest.mark.parametrize("seconds", [-1, 0, 1], ids=["before", "at", "after"])
def test_an_instant_inside_the_backdate_counts_by_issuance_and_never_loops(issued: Site, seconds: int) -> None:
    """not_before lies five minutes before the issuance; what counts is the issuance, which was at NOW."""
    selector = f'cert = "cert.portal"\nissued_before = {rfc3339(NOW + seconds)}'
    issued.write(HANDED_OUT + revoke("R-1", selector, "keyCompromise"))
    for _ in range(3):
        assert issued.apply().exit_code == 0
        assert issued.plan().changes == ()
        assert statuses(issued) == (["revoked", "issued"] if seconds == 1 else ["issued"])
    assert ("W0440" in warned(issued.plan())) == (seconds != 1)


def test_taking_an_entry_out_changes_nothing_and_is_said(issued: Site) -> None:
    issued.write(HANDED_OUT + revoke("R-1", before(issued), "keyCompromise"))
    issued.apply()
    issued.write(HANDED_OUT)
    plan = issued.plan()
    assert (plan.changes, warned(plan)) == ((), ["W0441"])
    issued.later(1).apply()
    assert listed(issued) == [rows(issued)[0].serial]
    assert warned(issued.later(100).plan()) == []


def test_an_entry_whose_certificate_moves_in_the_same_plan_is_acted_on_once(issued: Site) -> None:
    door = HANDED_OUT.replace("cert.portal", "cert.door") + '[[moved]]\nfrom = "cert.portal"\nto = "cert.door"\n'
    issued.write(door + revoke("R-1", before(issued), "keyCompromise"))
    assert issued.apply().exit_code == 0
    assert issued.plan().changes == ()
    assert statuses(issued, "cert.door") == ["revoked", "issued"]
    for name in ("cert.portal", "cert.door"):
        issued.write(door + revoke("R-1", before(issued).replace("cert.portal", name), "keyCompromise"))
        assert issued.plan().changes == ()
    issued.verify("cert.door")


def test_an_address_that_moves_later_is_not_revoked_again(issued: Site) -> None:
    entry = revoke("R-1", before(issued), "superseded")
    issued.write(HANDED_OUT + entry).apply()
    moved = '[[moved]]\nfrom = "cert.portal"\nto = "cert.door"\n'
    issued.later(1).write(HANDED_OUT.replace("cert.portal", "cert.door") + moved + entry).apply()
    assert issued.plan().changes == ()
    assert statuses(issued, "cert.door") == ["revoked", "issued"]


def test_a_reason_is_upgraded_to_keyCompromise_with_its_date_and_to_nothing_else(issued: Site) -> None:
    selector = 'cert = "cert.portal"\ngeneration = 1'
    first = revoke("R-1", selector, "superseded")
    issued.write(HANDED_OUT + first).apply()
    revoked_at = rows(issued)[0].revoked_at
    issued.later(1)
    second = revoke("R-2", selector, "cessationOfOperation")
    issued.write(HANDED_OUT + first + second)
    (change,) = [one for one in issued.plan().changes if one.address.kind == "revoke"]
    assert str(change.action) == "update"
    assert "the first date and reason are kept" in change.reasons[0].detail
    issued.apply()
    assert rows(issued)[0].revocation_reason == "superseded"
    third = revoke("R-3", selector, "keyCompromise", "compromised_at = 2026-11-20T00:00:00Z")
    issued.write(HANDED_OUT + first + second + third)
    issued.apply()
    row = rows(issued)[0]
    assert (row.revocation_reason, row.revoked_at) == ("keyCompromise", revoked_at)
    (entry,) = crl.read((issued.root / "public/crl/issuing-g1.crl").read_bytes(), limit=10_000).entries
    assert (entry.revoked_at, entry.reason, entry.invalidity) == (revoked_at, "keyCompromise", 1_795_132_800)
    assert issued.plan().changes == ()
    assert statuses(issued) == ["revoked", "issued"]


def test_keyCompromise_covers_every_unexpired_certificate_with_that_key_and_lists_them(site: Site) -> None:
    kept = PORTAL + "renew = { rekey = false }\n"
    site.write(kept).apply()
    site.later(61).apply()
    site.later(1)
    site.write(kept + revoke("INC-1", 'cert = "cert.portal"\ngeneration = 2', "keyCompromise"))
    listed_ = [one.address.key for one in site.plan().changes if one.address.kind == "revoke"]
    assert listed_ == ["cert.portal@1", "cert.portal@2"]
    site.apply()
    assert statuses(site) == ["revoked", "revoked", "issued"]
    assert len({one.spki for one in rows(site)}) == 2
    assert site.plan().changes == ()


def test_another_reason_revokes_only_what_is_selected(site: Site) -> None:
    kept = PORTAL + "renew = { rekey = false }\n"
    site.write(kept).apply()
    site.later(61).apply()
    site.later(1).write(kept + revoke("R-1", 'cert = "cert.portal"\ngeneration = 1', "superseded")).apply()
    assert statuses(site) == ["revoked", "issued"]


def test_a_serial_is_found_in_any_spelling(issued: Site) -> None:
    serial = rows(issued)[0].serial.upper()
    pairs = ":".join(serial[at : at + 2] for at in range(0, len(serial), 2))
    issued.write(HANDED_OUT + revoke("R-1", f'serial = "{pairs}"\nca = "issuing"', "superseded")).apply()
    assert statuses(issued) == ["revoked", "issued"]


def test_a_serial_that_two_CAs_gave_needs_its_CA(issued: Site) -> None:
    (row,) = rows(issued)
    with closing(sqlite3.connect(issued.root / ".pkicode/state.db")) as database, database:
        database.execute("CREATE TEMP TABLE one AS SELECT * FROM certificates WHERE serial = ?", (row.serial,))
        database.execute("UPDATE one SET id = NULL, issuer_key = 'ff', issuer_dn = x'00', ca = '', address = 'cert.x'")
        database.execute("INSERT INTO certificates SELECT * FROM one")
    issued.write(HANDED_OUT + revoke("R-1", f'serial = "{row.serial}"', "superseded"))
    assert codes(issued) == ["E0440"]
    issued.write(HANDED_OUT + revoke("R-1", f'serial = "{row.serial}"\nca = "issuing"', "superseded"))
    assert issued.apply().exit_code == 0


def test_what_matches_nothing_is_said_and_stops_nothing(issued: Site) -> None:
    issued.write(HANDED_OUT + revoke("R-1", 'serial = "7a3f"', "superseded"))
    plan = issued.plan()
    assert (plan.changes[1:] and told(plan.changes), warned(plan)) == (told(plan.changes), ["W0440"])
    assert issued.apply().exit_code == 0


def test_a_csv_revokes_its_lines_and_tells_of_those_that_do_not_parse(site: Site) -> None:
    site.write(FLEET).apply()
    serials = [rows(site, f'cert.fleet["{key}"]')[0].serial for key in "ab"]
    file = site.root / "leaked.csv"
    file.write_text(f"serial,ca\n{serials[0]},issuing\nzz,\n{serials[1]},nobody\n")
    site.later(1).write(FLEET + revoke("INC-1", 'csv = "leaked.csv"', "keyCompromise"))
    with pytest.raises(ConfigError) as caught:
        site.plan()
    assert [(one.code, one.span and one.span.line) for one in caught.value.problems] == [("E0334", 3), ("E0301", 4)]
    assert "leaked.csv line 3" in caught.value.problems[0].message
    file.write_text(f"serial\n{serials[0]}\n{serials[1]}\n")
    assert site.apply().exit_code == 0
    assert sorted(listed(site)) == sorted(serials)
    assert site.plan().changes == ()
    assert ("leaked.csv", "sha256:") in {(path, digest[:7]) for path, digest in site.plan().inputs}


def test_a_fan_out_is_revoked_by_its_key_or_as_a_whole(site: Site) -> None:
    site.write(FLEET).apply()
    one = revoke("R-1", "cert = 'cert.fleet[\"b\"]'\ngeneration = 1", "keyCompromise")
    site.later(1).write(FLEET + one).apply()
    assert [statuses(site, f'cert.fleet["{key}"]')[0] for key in "abc"] == ["issued", "revoked", "issued"]
    every = revoke("R-2", before(site).replace("portal", "fleet"), "keyCompromise", "all_keys = true")
    site.write(FLEET + one + every).apply()
    assert [statuses(site, f'cert.fleet["{key}"]')[0] for key in "abc"] == ["revoked"] * 3
    assert site.plan().changes == ()


def test_a_row_that_comes_later_is_not_meant_by_an_entry_about_all_keys(site: Site) -> None:
    site.write(FLEET).apply()
    every = revoke("R-1", before(site.later(1)).replace("portal", "fleet"), "superseded", "all_keys = true")
    more = FLEET.replace('"c"', '"c", "d"')
    for days in (0, 1):
        assert site.later(days).write(more + every).apply().exit_code == 0
        assert site.plan().changes == ()
    assert [statuses(site, f'cert.fleet["{key}"]')[-1] for key in "abcd"] == ["issued"] * 4
    assert len(listed(site)) == 3


def test_a_name_that_becomes_a_fan_out_is_another_one_to_its_entries(issued: Site) -> None:
    entry = revoke("R-1", 'cert = "cert.portal"\ngeneration = 1', "cessationOfOperation")
    issued.write(entry).apply()
    issued.write(FLEET.replace("cert.fleet", "cert.gate") + entry).apply()
    issued.write(FLEET.replace("cert.fleet", "cert.gate") + entry.replace("cert.portal", "cert.gate"))
    assert codes(issued) == ["E0335"]


def test_a_blocked_key_needs_no_certificate_and_is_blocked_once(issued: Site) -> None:
    issued.write(HANDED_OUT + revoke("INC-1", f'spki = "{"ab" * 32}"', "keyCompromise"))
    assert [one for one in told(issued.plan().changes) if "revoke" in one] == ["update revoke.INC-1@1 new"]
    assert issued.apply().exit_code == 0
    plan = issued.plan()
    assert (plan.changes, plan.problems) == ((), ())


def test_a_key_that_is_named_takes_every_certificate_with_it(issued: Site) -> None:
    spki = rows(issued)[0].spki
    issued.write(HANDED_OUT + revoke("INC-1", f'spki = "{spki}"', "superseded")).apply()
    assert statuses(issued) == ["revoked", "issued"]
    assert issued.plan().changes == ()
    assert rows(issued)[1].spki != spki


@pytest.mark.invariant(12)
def test_max_actions_counts_certificates_and_not_entries(site: Site) -> None:
    site.write(FLEET).apply()
    every = revoke("R-1", before(site.later(1)).replace("portal", "fleet"), "keyCompromise", "all_keys = true")
    site.write(FLEET + every + "[policy]\nmax_actions = { revoke = 2 }\n")
    with pytest.raises(Denied, match="3 revoke exceed revoke = 2"):
        site.apply()
    assert listed(site) == []
    assert site.apply(allow={"revoke": "3"}).exit_code == 0


SECOND = """[ca.second]
issuer = "root"
subject = { cn = "Second" }
validity = "4y"
path_len = 0
publish = ["web"]
[profile.second]
issuer = "second"
eku = ["serverAuth"]
[cert.two]
profile = "second"
dns = ["two.corp.example"]
"""


def test_a_revocation_that_no_list_would_tell_of_is_refused(site: Site) -> None:
    """Of a CA that was taken out of pki.toml: `Revoked` was said, and every list called it good."""
    site.write(PORTAL + SECOND).apply()
    serial = rows(site, "cert.two")[0].serial
    site.later(1).write(PORTAL + revoke("R-1", f'serial = "{serial}"', "superseded"))
    with pytest.raises(ConfigError) as refused:
        site.apply()
    assert "E0443" in [one.code for one in refused.value.problems]
    site.write(PORTAL)
    with pytest.raises(ConfigError) as refused:
        site.open().revoke(Asked(serial, "superseded"))
    (problem,) = refused.value.problems
    assert "no list can tell of the revocation of cert.two@1: ca.second@1" in problem.message
    assert statuses(site, "cert.two") == ["issued"]
    site.write(PORTAL + SECOND)
    site.open().revoke(Asked(serial, "superseded"))
    assert serial in revoked_serials((site.root / "public/crl/second-g1.crl").read_bytes())


def test_a_certificate_without_revocation_information_is_recorded_and_blocked_and_nobody_sees_it(site: Site) -> None:
    quiet = PORTAL.replace("server", "quiet") + '[profile.quiet]\nextends = "server"\nrevocation = "none"\n'
    site.write(quiet).apply()
    spki = rows(site)[0].spki
    site.later(1).write(quiet + revoke("R-1", before(site), "superseded"))
    assert warned(site.plan()) == ["W0442"]
    site.apply()
    assert (statuses(site), site.plan().changes) == (["revoked", "issued"], ())
    site.write(quiet + revoke("R-1", before(site), "superseded") + revoke("R-2", f'spki = "{spki}"', "superseded"))
    (change,) = site.plan().changes
    assert (str(change.action), change.irreversible) == ("update", False)


def test_a_target_that_is_down_holds_back_the_new_key_and_not_the_revocation(issued: Site) -> None:
    issued.write(HANDED_OUT + revoke("INC-1", before(issued), "keyCompromise"))
    public, aside = issued.root / "public", issued.root / "aside"
    public.rename(aside)
    public.touch()
    assert issued.apply().exit_code == 8
    assert statuses(issued) == ["revoked"]
    public.unlink()
    aside.rename(public)
    assert issued.apply().exit_code == 0
    assert statuses(issued) == ["revoked", "issued"]
    assert listed(issued) == [rows(issued)[0].serial]
    assert issued.plan().changes == ()


def test_the_order_of_stanzas_means_nothing(issued: Site) -> None:
    entries = [
        revoke("R-1", before(issued), "superseded"),
        revoke("R-2", 'cert = "cert.portal"\ngeneration = 1', "keyCompromise"),
    ]
    plan = bytes_of(issued.write(HANDED_OUT + "".join(entries)).plan())
    assert bytes_of(issued.write("".join(reversed(entries)) + HANDED_OUT).plan()) == plan


def test_two_entries_about_one_certificate_end_in_the_worse_reason(issued: Site) -> None:
    late, early = revoke("R-1", before(issued), "superseded"), revoke("R-2", before(issued), "keyCompromise")
    issued.write(HANDED_OUT + late + early)
    assert issued.apply().exit_code == 0
    issued.apply()
    assert rows(issued)[0].revocation_reason == "keyCompromise"
    assert issued.plan().changes == ()


def test_a_saved_plan_of_revocations_is_applied_as_it_was_agreed_to(issued: Site, tmp_path: Path) -> None:
    issued.write(HANDED_OUT + revoke("INC-1", before(issued), "keyCompromise"))
    project = issued.open()
    project.save(project.plan(), tmp_path / "plan.json")
    assert issued.apply(plan=project.load(tmp_path / "plan.json")).exit_code == 0
    assert statuses(issued) == ["revoked", "issued"]
    action = json.loads((tmp_path / "plan.json").read_text())["actions"][0]
    assert (action["address"], action["irreversible"]) == ('revoke.INC-1["cert.portal@1"]', True)


def test_explain_says_why(issued: Site) -> None:
    issued.write(HANDED_OUT + revoke("INC-1", before(issued), "superseded"))
    assert any("superseded, revoke.INC-1" in one for one in issued.open().explain("cert.portal").lines)
    assert issued.open().explain("revoke.INC-1").status == "to be done"
    issued.apply()
    assert issued.open().explain("revoke.INC-1").lines == (
        f"cert.portal@1 was revoked {rfc3339(issued.now)} as superseded, by revoke.INC-1",
    )
    assert issued.open().explain("cert.portal").lines[0].endswith("by revoke.INC-1")


def test_an_entry_of_another_environment_waits_for_nothing_on_an_empty_state(site: Site) -> None:
    site.write(PORTAL + revoke("R-1", 'serial = "7a3f"', "superseded"), base=BASE)
    assert site.apply().exit_code == 0
    assert {one.readiness for one in site.plan().changes} <= {Readiness.READY}


def test_only_does_not_let_a_replacement_overtake_its_compromise(issued: Site) -> None:
    issued.write(HANDED_OUT + revoke("INC-1", before(issued), "keyCompromise"))
    for only, first in ((["cert.*"], "revoke.INC-1"), (["cert.*", "revoke.*"], "crl.issuing")):
        (change,) = [one for one in issued.plan(only=only).changes if one.address.kind == "cert"]
        assert change.readiness is Readiness.WAITING
        assert change.waits == f"{first} comes before it, and is left out"
        assert issued.apply(only=only).exit_code == 7
    assert statuses(issued) == ["revoked"]
    assert issued.apply().exit_code == 0
    assert statuses(issued) == ["revoked", "issued"]


def test_only_does_not_revoke_what_it_does_not_replace(issued: Site) -> None:
    issued.write(HANDED_OUT + revoke("R-1", before(issued), "superseded"))
    issued.apply(only=["revoke.*", "crl.*", "publish.*"])
    assert statuses(issued) == ["issued"]
    issued.apply(only=["cert.*", "revoke.*"])
    assert statuses(issued) == ["issued", "issued"], "its files are still those of the old one"
    assert issued.apply().exit_code == 0
    assert statuses(issued) == ["revoked", "issued"]


def test_unattended_renewals_leave_revocations_to_a_person(issued: Site) -> None:
    issued.write(HANDED_OUT + revoke("INC-1", before(issued), "keyCompromise"))
    applied = issued.apply(only_reasons=["due", "crl-due", "crl-content"])
    assert (applied.exit_code, statuses(issued)) == (7, ["issued"])


def test_a_csr_that_brings_a_blocked_key_to_another_address_waits(site: Site) -> None:
    (site.root / "csr").mkdir()
    key, out = site.root / "host.key", site.root / "csr/a.csr"
    made = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x")
    openssl("req", "-new", *made, "-keyout", key, "-out", out)
    public = openssl_bytes("pkey", "-in", key, "-pubout", "-outform", "DER")
    spki = hashlib.sha256(public).hexdigest()
    site.write(revoke("INC-1", f'spki = "{spki}"', "keyCompromise")).apply()
    host = PORTAL + 'csr = { dir = "csr", file = "a.csr" }\n'
    site.write(host + revoke("INC-1", f'spki = "{spki}"', "keyCompromise"))
    (change,) = site.plan().changes
    assert (change.readiness, "block-listed" in change.waits) == (Readiness.WAITING, True)
    assert site.apply().exit_code == 7
    assert rows(site) == []
