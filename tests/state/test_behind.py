"""An older copy of the state was put back beside a newer journal: apply refuses, `state adopt` is the way on."""

import base64
from pathlib import Path

import pytest

from pkicode.adapters import loop
from pkicode.adapters.journal import Journal
from pkicode.model.faults import FaultPoint as At
from pkicode.model.problem import StateError
from pkicode.project.breakglass import Asked
from pkicode.project.status import Level
from tests.faults.corp import BASE as ANSWERED
from tests.faults.run import Fault, crash
from tests.kinds.site import Site, told
from tests.oracles import revoked_serials
from tests.quick import quick_keystore
from tests.state.older import KEYS, NEW, PORTAL, STATE, Older, copied, fleet, inventory, serial_of, warned


@pytest.mark.parametrize("names", [STATE, KEYS])
def test_apply_refuses_before_anything_is_signed(site: Site, older: Older, names: tuple[str, ...]) -> None:
    journal = site.root / ".pkicode/journal.log"
    before, told_before = journal.read_bytes(), {path: path.read_bytes() for path in site.root.glob("public/**/*.*")}
    older.put_back(*names)
    for options in ({}, {"only": ["crl.*"]}):
        with pytest.raises(StateError, match=r"an older state was put back: .* does not know: serial") as caught:
            site.apply(**options)
        assert "pkicode state adopt" in caught.value.help
    assert journal.read_bytes() == before
    assert {path: path.read_bytes() for path in site.root.glob("public/**/*.*")} == told_before
    assert warned(site) == ["W0502"]
    status = site.open().vitals.status()
    assert [(one.subject, one.level) for one in status.checks if one.name == "state"] == [("journal", Level.CRITICAL)]


def test_nothing_else_signs_either_or_destroys_a_key(site: Site, older: Older) -> None:
    """What a revocation by address would revoke here, is not what is out; and what it signs would hide the rest."""
    older.put_back(*STATE)
    before = (site.root / "public/crl/issuing-g1.crl").read_bytes()
    with pytest.raises(StateError, match="an older state was put back"):
        site.open().revoke(Asked("cert.portal", "keyCompromise"))
    with pytest.raises(StateError, match="an older state was put back"):
        site.open().upkeep.destroy_keys("main", ["cert.portal@1"])
    assert (site.root / "public/crl/issuing-g1.crl").read_bytes() == before


def test_a_plan_without_the_journal_says_nothing_of_it(site: Site, older: Older) -> None:
    older.put_back(*STATE)
    (site.root / ".pkicode/journal.log").rename(site.root / "elsewhere.log")
    assert warned(site) == []


@pytest.mark.parametrize("point", [At.INTENTS_STORED, At.SIGNED, At.JOURNALLED, At.ISSUED])
def test_a_crash_is_no_older_state(site: Site, point: At) -> None:
    site.write(PORTAL + fleet(3), base=ANSWERED)
    crash(site.root, site.now, Fault(point))
    assert warned(site) == []
    assert site.open().upkeep.adoptable().is_empty
    assert site.apply().exit_code == 0
    assert site.open().upkeep.verify() == []


def forged(site: Site) -> bytes:
    """A certificate of the issuing CA, its serial number altered: the signature is of other bytes."""
    line = (site.root / ".pkicode/journal.log").read_bytes().split()[-1]
    made = bytearray(base64.b64decode(line))
    serial = bytes.fromhex(inventory(site)[-1].serial)
    at = made.index(serial)
    made[at + 5] ^= 1
    return bytes(made)


def test_a_copy_of_an_apply_that_was_under_way_is_behind_what_came_after(site: Site) -> None:
    """It knows intents of which the journal has the certificates, and not what was signed beside them and after."""
    site.write(PORTAL + fleet(3), base=ANSWERED)
    crash(site.root, site.now, Fault(At.JOURNALLED))
    older = copied(site)
    assert warned(site) == []
    site.write(PORTAL + fleet(3) + NEW, base=ANSWERED)
    assert site.apply().exit_code == 0
    new = serial_of(site, "cert.new")
    older.put_back(*STATE)
    assert warned(site) == ["W0502"]
    assert new in [one.serial for one in site.open().upkeep.adopt().certificates]
    assert site.apply().resumed == {"issued": 3}
    assert site.open().upkeep.verify() == []
    assert told(site.plan().changes) == []


def test_a_line_that_no_key_of_ours_signed_stops_no_apply_and_is_never_adopted(site: Site) -> None:
    loop.run(Journal(site.root / ".pkicode/journal.log").append([forged(site)]))
    before = inventory(site)
    assert warned(site) == []
    assert site.apply().exit_code == 0
    with pytest.raises(StateError, match="names a CA as its issuer whose key did not sign it; nothing was done"):
        site.open().upkeep.adopt()
    assert inventory(site) == before
    assert "is not to be believed" in site.open().upkeep.verify()[0]


def test_a_line_of_a_version_that_is_none_is_as_one_that_nobody_signed(site: Site) -> None:
    strange = forged(site).replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x09", 1)
    loop.run(Journal(site.root / ".pkicode/journal.log").append([strange]))
    assert warned(site) == []
    assert site.apply().exit_code == 0
    with pytest.raises(StateError, match="is of a version that is none; nothing was done"):
        site.open().upkeep.adopt()
    assert "is not to be believed" in site.open().upkeep.verify()[0]


def test_apply_and_adopt_say_the_same_of_a_forged_line_where_a_state_is_behind(site: Site, older: Older) -> None:
    path = site.root / ".pkicode/journal.log"
    place = path.stat().st_size
    loop.run(Journal(path).append([forged(site)]))
    older.put_back(*STATE)
    said = f"is not to be believed: at octet {place}, serial .* names a CA as its issuer whose key did not sign it"
    with pytest.raises(StateError, match=said) as by_apply:
        site.apply()
    with pytest.raises(StateError) as by_adopt:
        site.open().upkeep.adopt()
    assert by_apply.value.args == by_adopt.value.args
    assert f"at octet {place}," in "".join(site.open().upkeep.verify())


@pytest.mark.parametrize("line", [b"\n", b"AAAA\n"])
def test_apply_and_adopt_say_the_same_of_a_line_that_is_no_certificate(site: Site, line: bytes) -> None:
    path = site.root / ".pkicode/journal.log"
    place = path.stat().st_size
    path.write_bytes(path.read_bytes() + line)
    with pytest.raises(StateError, match=f"is damaged at octet {place}: ") as by_apply:
        site.apply()
    with pytest.raises(StateError) as by_adopt:
        site.open().upkeep.adopt()
    assert by_apply.value.args == by_adopt.value.args


def test_where_a_state_is_behind_damage_before_its_end_is_told_and_stops_a_revocation_too(
    site: Site, older: Older
) -> None:
    path = site.root / ".pkicode/journal.log"
    first, rest = path.read_bytes().split(b"\n", 1)
    path.write_bytes(b"\n" + first + b"\n" + rest)
    older.put_back(*STATE)
    with pytest.raises(StateError, match="is damaged at octet 0: "):
        site.apply()
    with pytest.raises(StateError, match="is damaged at octet 0: "):
        site.open().revoke(Asked("cert.portal", "keyCompromise"))


def test_a_copy_made_while_a_ca_was_still_to_be_signed_is_behind_what_that_ca_signed(quick_path: Path) -> None:
    """As a ceremony lets it be for weeks."""
    site = Site(quick_path / "corp")
    site.root.mkdir()
    quick_keystore(site.root)
    site.write(PORTAL)
    crash(site.root, site.now, Fault(At.INTENTS_STORED, 2))
    older = copied(site)
    assert site.apply().exit_code == 0
    older.put_back(*STATE)
    with pytest.raises(StateError, match=r"an older state was put back: .* portal\.corp\.example"):
        site.apply()
    site.open().upkeep.adopt()
    assert site.apply().exit_code == 0
    assert site.open().upkeep.verify() == []


def test_a_damaged_journal_is_one_error_and_nothing_is_written(site: Site, older: Older) -> None:
    older.put_back(*STATE)
    path, before = site.root / ".pkicode/journal.log", inventory(site)
    path.write_bytes(path.read_bytes() + b"not base64!\n")
    for refused in (site.apply, site.open().upkeep.adopt):
        with pytest.raises(StateError, match="is damaged at octet"):
            refused()
    assert warned(site) == ["W0502"]
    assert inventory(site) == before
    portal = serial_of(site, "cert.portal")
    site.open().revoke(Asked(portal, "superseded"))
    assert portal in revoked_serials((site.root / "public/crl/issuing-g1.crl").read_bytes())


OTHER = """
[env.prod.state]
url = "sqlite:///.pkicode/prod.db"
[env.prod.keystore.main]
path = ".pkicode/prod-keys.db"
[env.prod.publish.web]
url = "public-prod"
"""


def test_two_states_that_share_a_journal_do_not_meddle(quick_path: Path) -> None:
    """Their CAs have the same names and other keys."""
    quick_keystore(quick_path)
    site = Site(quick_path).write(PORTAL + OTHER, base=ANSWERED)
    for env in (None, "prod"):
        site.open(env=env).upkeep.migrate()
    for env in (None, "prod"):
        assert site.open(env=env).apply().exit_code == 0
    older = copied(site)
    site.write(PORTAL + NEW + OTHER, base=ANSWERED)
    for env in (None, "prod"):
        assert site.open(env=env).apply().exit_code == 0
    for env in (None, "prod"):
        assert site.open(env=env).plan().problems == ()
        assert site.open(env=env).upkeep.verify() == []
        assert site.open(env=env).upkeep.adoptable().is_empty
    older.put_back("state.db")
    with pytest.raises(StateError, match="an older state was put back"):
        site.apply()
    prod = site.open(env="prod")
    assert prod.apply().exit_code == 0
    assert [one.address for one in site.open().upkeep.adopt().certificates] == ["cert.new"]
    assert (prod.upkeep.verify(), site.open().upkeep.verify()) == ([], [])
    assert site.apply().exit_code == 0


@pytest.mark.parametrize("cut", range(0, 400, 37))
def test_the_journal_is_read_backwards_as_forwards_wherever_it_was_torn(site: Site, cut: int) -> None:
    path = site.root / ".pkicode/journal.log"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines * 30)[: -cut or None])
    journal = Journal(path)
    forwards = [base64.b64decode(line) for line in path.read_bytes().splitlines(keepends=True) if line[-1:] == b"\n"]
    assert [*journal.backwards()] == forwards[::-1]
    assert len(forwards) > 100


def test_a_line_without_an_end_is_damage_and_one_that_was_torn_off_is_not(tmp_path: Path) -> None:
    path = tmp_path / "journal.log"
    assert [*Journal(path).backwards()] == []
    for content, found in ((b"", []), (b"MAIw", []), (b"MAIwAA==\n", [b"0\x020\0"]), (b"MAIwAA==\nMA", [b"0\x020\0"])):
        path.write_bytes(content)
        assert [*Journal(path).backwards()] == found
    path.write_bytes(b"A" * (3 << 20))
    with pytest.raises(StateError, match="is damaged"):
        list(Journal(path).backwards())
