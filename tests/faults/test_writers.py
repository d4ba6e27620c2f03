"""Writers side by side: applies, publishers and revocations, awake and asleep (docs/explanation/writers.md).

No second signature, nothing older over newer, no revocation lost (invariants 7, 8, 9).
"""

import time
from collections import Counter
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path
from subprocess import DEVNULL, Popen, TimeoutExpired

import pytest

from pkicode.model.faults import FaultPoint
from pkicode.model.instants import DAY, HOUR, rfc3339
from pkicode.project.breakglass import Asked
from tests.cli.running import COMMAND, environment, spawn
from tests.faults import corp
from tests.faults.run import Fault, asleep, crash, ended, start, wake
from tests.faults.test_two_applies import seen
from tests.kinds.site import Site
from tests.oracles import crl_number, revoked_serials

LISTS = ("crl.*", "ocsp.*", "publish.*")
ONLY_LISTS = ("apply", "-y", "--allow-clock", *(word for one in LISTS for word in ("--only", one)))
IMPATIENT = '[state]\nlock_timeout = "1s"\n'
NEVER = Fault(FaultPoint.REVOKED, nth=99)
COMPROMISED = Asked("cert.portal", "keyCompromise", id="INC-1")


@pytest.fixture
def site(applied: corp.Ground, quick_path: Path) -> Site:
    """All leaves are due, and so are the lists."""
    return corp.before(corp.RENEWAL, quick_path / "corp", applied)


def numbers(site: Site) -> list[int]:
    """Of the CRLs that readers see."""
    return [crl_number(crl) for crl in site.crls()]


def listed(site: Site) -> list[str]:
    """Serials that readers see revoked."""
    return [serial for crl in site.crls() for serial in revoked_serials(crl)]


BETWEEN = (FaultPoint.CRL_STORED, FaultPoint.OCSP_STORED)
"""There a publisher has done with one list, and read nothing of the next."""


def assert_has_nothing_to_do(sleeper: BaseProcess, site: Site, *, between: bool) -> None:
    """Woken at the site's instant it ends with LeaseLost; between two lists, where it lost none, it finds all told.

    About to read what is published, it finds that somebody has answered who is two hours ahead of it.
    """
    (site.root / "clock").write_text(str(site.now))
    code = wake(sleeper)
    if code or not between:
        told = (site.root / "told").read_text().partition(": ")[0]
        assert (code, told) in [(1, "LeaseLost"), (8, "E0511")]


def of(site: Site, address: str, generation: int) -> str:
    """The serial of a certificate."""
    (found,) = [one for one in corp.inventory(site) if (one.address, one.generation) == (address, generation)]
    return found.serial


@pytest.mark.invariant(7)
@pytest.mark.parametrize("point", [FaultPoint.INTENTS_STORED, FaultPoint.SIGNED, FaultPoint.HOOK_RUN])
def test_lists_are_refreshed_while_another_process_holds_the_lease_of_a_long_apply(
    point: FaultPoint, site: Site
) -> None:
    site.write(base=corp.RENEWAL.text + IMPATIENT)
    with asleep(site.root, site.now, point) as applying:
        before = numbers(site)
        # Another day: all lists are due.
        later = site.now + (DAY if point is FaultPoint.HOOK_RUN else 30)
        refreshed = spawn(site.root, *ONLY_LISTS, PKICODE_NOW=rfc3339(later))
        assert refreshed.code == 0, refreshed.err
        assert all(new > old for new, old in zip(numbers(site), before, strict=True))
        newest = numbers(site)
        assert wake(applying) == 0
    assert all(new >= old for new, old in zip(numbers(site), newest, strict=True))
    site.now = later
    assert site.apply().exit_code == 0
    corp.assert_sound(site, corp.RENEWAL)
    assert len([one for one in corp.inventory(site) if one.generation == 2 and one.address.startswith("cert.")]) == 4


@pytest.mark.invariant(8)
@pytest.mark.parametrize("address", ["cert.portal", "cert.old"])
def test_a_revocation_is_published_while_another_process_applies_and_neither_disturbs_the_other(
    address: str, site: Site
) -> None:
    stolen = of(site, address, 1)
    with asleep(site.root, site.now, FaultPoint.INTENTS_STORED) as applying:
        revoked = spawn(
            *(site.root, "revoke", address, "--reason", "keyCompromise", "--id", "INC-1", "--allow-clock"),
            PKICODE_NOW=rfc3339(site.now + 30),
        )
        assert revoked.code == 0, revoked.err
        assert listed(site) == [stolen]
        assert wake(applying) == 0
    assert listed(site) == [stolen]
    # What the apply had reserved before the revocation was issued before it: the entry means that one too.
    second = of(site, address, 2)
    site.now += 120
    assert site.apply().exit_code == 0
    corp.assert_sound(site, corp.RENEWAL)
    assert sorted(listed(site)) == sorted([stolen, second])
    assert of(site, address, 3)


@pytest.mark.invariant(8)
def test_what_was_revoked_beside_an_apply_is_replaced_by_the_next_one(applied: corp.Ground, quick_path: Path) -> None:
    """The apply is at work on something else; the row of what was revoked is nobody's to write meanwhile."""
    site = corp.before(corp.OUTPUT, quick_path / "corp", applied)
    with asleep(site.root, site.now, FaultPoint.OUTPUT_STAGED) as applying:
        assert ended(start(site.root, site.now + 30, NEVER, Asked('cert.app["api"]', "keyCompromise", id="R"))) == 0
        assert wake(applying) == 0
    site.now += 120
    assert [str(one.code) for one in site.plan().changes[0].reasons] == ["key-blocked"]
    assert site.apply().exit_code == 0
    corp.assert_sound(site, corp.OUTPUT)
    assert of(site, 'cert.app["api"]', 2)


def test_a_ca_is_not_revoked_beside_an_apply(site: Site) -> None:
    with asleep(site.root, site.now, FaultPoint.INTENTS_STORED) as applying:
        revoked = spawn(
            *(site.root, "revoke", "ca.issuing@1", "--reason", "cACompromise", "--allow", "ca-revoke=issuing"),
            *("--allow-clock",),
            PKICODE_NOW=rfc3339(site.now + 30),
        )
        assert revoked.code == 5
        assert "somebody else is applying" in revoked.err
        assert listed(site) == []
        assert wake(applying) == 0
    corp.assert_sound(site, corp.RENEWAL)


@pytest.mark.invariant(7)
@pytest.mark.invariant(8)
@pytest.mark.invariant(9)
@pytest.mark.parametrize(
    "point",
    [
        pytest.param(one, marks=pytest.mark.heavy) if one is FaultPoint.PUBLISH_STAGED else one
        for one in (*corp.LISTING, *corp.ISSUING)
        if one is not FaultPoint.PUBLISHED
    ],
)
def test_a_publisher_that_slept_through_its_lease_signs_nothing_and_puts_nothing_older_over_newer(
    point: FaultPoint, site: Site
) -> None:
    """It issues as well: the delegate that signs OCSP answers."""
    portal = of(site, "cert.portal", 1)
    with asleep(site.root, site.now, point, only=LISTS) as publisher:
        site.now += 2 * HOUR
        code = ended(start(site.root, site.now, NEVER, COMPROMISED))
        assert (site.apply().exit_code, code) == ((8, 0) if point is FaultPoint.PUBLISH_STAGED else (0, 0))
        state, readers = corp.end_state(site), seen(site)
        assert_has_nothing_to_do(publisher, site, between=point in BETWEEN)
    after = corp.end_state(site)
    assert {*state.pop("keys")} <= {*after.pop("keys")}
    assert after == state
    assert seen(site) == readers
    assert site.apply().exit_code == 0
    assert listed(site) == [portal]
    corp.assert_sound(site, corp.RENEWAL)


@pytest.mark.invariant(4)
@pytest.mark.parametrize("point", corp.ISSUING)
def test_what_a_killed_publisher_left_open_is_finished_by_the_next_apply(point: FaultPoint, site: Site) -> None:
    crash(site.root, site.now, Fault(point), only=LISTS)
    site.now += 60
    assert site.apply().exit_code == 0
    corp.assert_sound(site, corp.RENEWAL)


@pytest.mark.invariant(4)
def test_what_a_publisher_has_under_way_is_left_to_it(site: Site) -> None:
    """Its intent is open, but nobody's to finish: an apply leaves that CA's answers alone and says why."""
    site.write(base=corp.RENEWAL.text + IMPATIENT)
    with asleep(site.root, site.now, FaultPoint.INTENTS_STORED, only=LISTS) as publisher:
        assert site.open().upkeep.info().writing == ("publish/ca.issuing",)
        shown = spawn(site.root, "state", "lock", "show", "--format", "json").json
        assert [(one["guards"], one["pid"]) for one in shown] == [("lists of ca.issuing", publisher.pid)]
        applied = site.apply()
        assert applied.exit_code == 8
        assert {one.code for one in applied.problems} == {"E0512"}
        (still,) = [one for one in corp.inventory(site) if one.status == "intent"]
        assert still.address == 'ocsp.issuing["g1"]'
        assert wake(publisher) == 0
    assert site.apply().exit_code == 0
    corp.assert_sound(site, corp.RENEWAL)


SLEEPERS = [
    (whose, point)
    for whose, points in (
        ("apply", (*corp.ISSUING, *corp.SIGNING, *corp.HANDING_OUT)),
        ("publisher", (FaultPoint.LISTS_LEASED, *corp.SIGNING)),
    )
    for point in points
]


@pytest.mark.invariant(2)
@pytest.mark.invariant(7)
@pytest.mark.invariant(9)
@pytest.mark.parametrize(
    ("whose", "point"),
    [
        pytest.param(*one, marks=[] if one[1] in (FaultPoint.SIGNED, FaultPoint.CRL_SIGNED) else pytest.mark.heavy)
        for one in SLEEPERS
    ],
)
def test_of_two_applies_and_a_publisher_one_sleeps_and_the_others_leave_it_nothing_to_spoil(
    whose: str, point: FaultPoint, site: Site
) -> None:
    """Test 8 of the design: no second signature, nothing older over newer."""
    with asleep(site.root, site.now, point, only=LISTS if whose == "publisher" else ()) as sleeper:
        site.now += 61 * DAY
        crowd = [
            start(site.root, site.now, NEVER),
            start(site.root, site.now, NEVER, only=LISTS),
            *([start(site.root, site.now, NEVER)] if whose == "publisher" else []),
        ]
        assert {ended(one) for one in crowd} == {0}
        state, readers, signed = corp.end_state(site), seen(site), corp.journal(site)
        assert_has_nothing_to_do(sleeper, site, between=whose == "publisher" and point in BETWEEN)
    after = corp.end_state(site)
    keys = {*state.pop("keys")}
    assert keys <= {*after.pop("keys")}
    assert after == state
    assert seen(site) == readers
    assert corp.journal(site) >= signed
    assert site.apply().exit_code == 0
    corp.assert_sound(site, corp.RENEWAL)


@pytest.mark.invariant(2)
@pytest.mark.invariant(7)
@pytest.mark.parametrize("times", [2, pytest.param(20, marks=pytest.mark.heavy)])
def test_of_concurrent_applies_one_works_and_the_other_waits_or_exits_5(
    times: int, applied: corp.Ground, quick_path: Path
) -> None:
    for number in range(times):
        site = corp.before(corp.RENEWAL, quick_path / str(number), applied)
        # Every other time the one that waits gives up at once.
        impatient = number % 2 == 1
        site.write(base=corp.RENEWAL.text + ('[state]\nlock_timeout = "1s"\n' if impatient else ""))
        asked = [*COMMAND, "-q", "apply", "-y", "--allow-clock"]
        env = environment(PKICODE_NOW=rfc3339(site.now))
        with (site.root / "err").open("w") as err:
            both = [Popen(asked, cwd=site.root, env=env, stdout=err, stderr=err) for _ in range(2)]
            codes = Counter(one.wait(120) for one in both)
        assert codes[0] >= 1, (site.root / "err").read_text()
        assert codes.keys() <= ({0, 5} if impatient else {0}), (site.root / "err").read_text()
        corp.assert_sound(site, corp.RENEWAL)
        issued = Counter((one.address, one.generation) for one in corp.inventory(site))
        assert max(issued.values()) == 1
        assert sum(generation == 2 for address, generation in issued if address.startswith("cert.")) == 4


@pytest.mark.invariant(9)
@pytest.mark.parametrize("times", [2, pytest.param(20, marks=pytest.mark.heavy)])
def test_of_concurrent_publishers_the_second_finds_nothing_left_to_sign(
    times: int, applied: corp.Ground, quick_path: Path
) -> None:
    for number in range(times):
        site = corp.before(corp.RENEWAL, quick_path / str(number), applied)
        both = [start(site.root, site.now, NEVER, only=LISTS) for _ in range(2)]
        assert {ended(one) for one in both} == {0}
        assert set(numbers(site)) == {2}
        assert site.apply().exit_code == 0
        corp.assert_sound(site, corp.RENEWAL)


def over(process: Popen[bytes], *, within: float) -> bool:
    """Whether it ends in so many seconds."""
    with suppress(TimeoutExpired):
        process.wait(within)
    return process.returncode is not None


FLEET = """
[cert.fleet]
profile = "server"
for_each = { csv = "fleet.csv", key = "host" }
dns = ["${each.host}.corp.example"]
"""


@pytest.mark.heavy
@pytest.mark.invariant(8)
def test_beside_a_long_apply_by_the_clock_on_the_wall_each_list_follows_at_once(
    applied: corp.Ground, quick_path: Path
) -> None:
    """Lists that are due each second, a revocation, and thousands of certificates, all in processes of their own."""
    site = corp.before(corp.OUTPUT, quick_path / "corp", applied)
    (site.root / "fleet.csv").write_text("host\n" + "".join(f"h{one}\n" for one in range(30_000)))
    site.write(base=corp.FIRST.text.replace("path_len = 0\n", 'path_len = 0\ncrl = { refresh = "1s" }\n') + FLEET)
    stolen = of(site, "cert.old", 1)
    env = {name: value for name, value in environment().items() if name != "PKICODE_NOW"}

    def command(*words: str) -> Popen[bytes]:
        return Popen([*COMMAND, "-q", *words], cwd=site.root, env=env, stdout=DEVNULL)

    applying = command("apply", "-y", "--jobs", "1", "--allow", "issue=31000")
    while site.open().upkeep.info().counts.get("cert", 0) < 500 and applying.poll() is None:
        continue  # each look opens the state, which takes long enough
    found = [numbers(site)[0]]
    # A list is due each second; an apply of lists alone may take less.
    while not over(applying, within=1):
        assert command("apply", "-y", "--only", "crl.*", "--only", "publish.*").wait(120) == 0
        found.append(numbers(site)[0])
        if len(found) == 2:
            assert command("revoke", "cert.old", "--reason", "keyCompromise").wait(120) == 0
            assert listed(site) == [stolen]
    assert applying.returncode == 0
    assert len(found) > 3
    assert found == sorted(set(found))
    assert command("apply", "-y").wait(120) == 0
    assert listed(site) == [stolen]
    site.now = int(time.time())
    assert site.open().upkeep.verify() == []
    assert Counter(one.status for one in corp.inventory(site))["intent"] == 0
    issued = Counter((one.address, one.generation) for one in corp.inventory(site))
    assert sum(address.startswith("cert.fleet") for address, _ in issued) == 30_000
