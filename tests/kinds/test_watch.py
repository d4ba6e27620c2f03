"""apply --watch: when it wakes, what it does while pki.toml is broken, and how it ends.  No clock runs here."""

import asyncio
from collections.abc import Callable, Mapping

import pytest
from attrs import define, field

from pkicode.adapters import loop
from pkicode.cli.watch import said
from pkicode.model.instants import DAY, HOUR, MINUTE
from pkicode.model.problem import ConfigError, Denied, LeaseHeld, StateError
from pkicode.ports import Revocation, Want, Write
from pkicode.project import Project, open_project
from pkicode.project.watch import BACKOFF, BUSY, LONGEST, POLL, Round, Watch
from tests.kinds.site import NOW, Site
from tests.kinds.test_ocsp import OCSP, published
from tests.oracles import revoked_serials

WEB = """
[cert.web]
profile = "server"
dns = ["web.corp.example"]
on_remove = "revoke"
"""
KEEP = """
[cert.keep]
profile = "server"
dns = ["keep.corp.example"]
"""
NEW = """
[cert.new]
profile = "server"
dns = ["new.corp.example"]
"""
HOOKED = """
[cert.hooked]
profile = "server"
dns = ["hooked.corp.example"]
output = { chain = "out/hooked.pem" }
after = ["false"]
"""
FLEET = """
[cert.fleet]
profile = "server"
for_each = { csv = "fleet.csv", key = "host" }
dns = ["${each.host}.corp.example"]
"""
IMPATIENT = """
[state]
lock_timeout = "1s"
"""
UNATTENDED = ("due", "crl-due", "crl-content")


@define
class Days:
    """A watch whose waiting moves the clock, and in which things happen at their instants."""

    site: Site
    happens: dict[int, Callable[[], object]] = field(factory=dict)
    rounds: list[Round] = field(factory=list)
    watch: Watch | None = None

    def live(self, until: int, **options: object) -> list[Round]:
        async def wait(seconds: float) -> None:
            target = self.site.now + max(1, int(seconds))
            for at in sorted(one for one in self.happens if self.site.now < one <= target):
                self.site.now = at
                # In a thread: what happens elsewhere may use the loop that this runs on.
                await asyncio.to_thread(self.happens.pop(at))
            self.site.now = max(self.site.now, target)
            if self.site.now >= until:
                watch.stop()

        watch = self.watch = Watch(self.open, lambda: self.site.now, wait, self.rounds.append, **options)
        loop.run(watch.run())
        return self.rounds

    def open(self) -> Project:
        return open_project(self.site.root / "pki.toml", environ={}, now=lambda: self.site.now)

    @property
    def done(self) -> list[tuple[int, Mapping[str, int]]]:
        """Seconds since NOW -> what was done, of the rounds that did something."""
        return [(one.at - NOW, dict(one.applied.counts)) for one in self.rounds if one.applied and one.applied.counts]


@pytest.fixture
def days(site: Site) -> Days:
    site.write(WEB + KEEP)
    site.apply()
    return Days(site)


def test_a_round_is_made_when_something_is_due_and_at_no_other_time_but_now_and_then(days: Days) -> None:
    days.live(NOW + DAY + HOUR, poll=MINUTE, longest=2 * HOUR)
    assert days.done == [(DAY, {"sign": 2, "publish": 1})]
    waits = [later.at - one.at for one, later in zip(days.rounds, days.rounds[1:], strict=False)]
    assert max(waits) <= 2 * HOUR
    assert len(days.rounds) < 2 + 13 + 3


def test_a_revocation_written_into_pki_toml_is_published_within_a_minute(days: Days) -> None:
    days.happens[NOW + 1000] = lambda: days.site.write(KEEP)
    (web,) = [one for one in days.site.open().inventory(Want()) if one.address == "cert.web"]
    days.live(NOW + 1000 + MINUTE)
    assert [set(counts) for _, counts in days.done] == [{"revoke", "sign", "publish"}]
    assert web.serial in [serial for crl in days.site.crls() for serial in revoked_serials(crl)]


def test_what_another_process_writes_into_the_state_wakes_it(days: Days) -> None:
    """The inventory says one more revocation than the CRL was signed with: it is told, and what is gone is replaced."""

    def elsewhere() -> None:
        (web,) = [one for one in days.site.open().inventory(Want()) if one.address == "cert.web"]
        revocation = Revocation(web.issuer_key, web.serial, days.site.now, "superseded", web.not_after, "elsewhere")
        loop.run(committed(days.open(), revocation))

    days.happens[NOW + 1000] = elsewhere
    days.live(NOW + 1000 + MINUTE)
    assert [set(counts) for _, counts in days.done] == [{"renew", "sign", "publish"}]
    assert NOW + 1000 <= NOW + days.done[0][0] <= NOW + 1000 + 2 * POLL


def test_while_pki_toml_is_broken_lists_are_kept_fresh_and_nothing_is_issued(days: Days) -> None:
    days.happens[NOW + 100] = lambda: days.site.write(WEB + KEEP + NEW + "junk")
    days.live(NOW + DAY + HOUR, poll=HOUR)
    assert days.done == [(DAY, {"sign": 2, "publish": 1})]
    broken = [one for one in days.rounds if one.at > NOW + HOUR]
    assert all(isinstance(one.error, ConfigError) for one in broken)
    assert days.site.write(WEB + KEEP + NEW).plan().changes != ()


def test_a_broken_source_of_rows_does_not_stop_the_lists_either(days: Days, site: Site) -> None:
    site.write(KEEP + FLEET)
    (site.root / "fleet.csv").write_text("host\na\n")
    days.happens[NOW + 100] = lambda: (site.root / "fleet.csv").write_text("h\x00st\n")
    days.live(NOW + DAY + HOUR, poll=HOUR)
    assert isinstance(days.rounds[-1].error, ConfigError)
    assert days.done[-1] == (DAY, {"sign": 2, "publish": 1})


def test_a_mended_pki_toml_is_applied_at_once(days: Days) -> None:
    days.happens[NOW + 100] = lambda: days.site.write("junk")
    days.happens[NOW + HOUR] = lambda: days.site.write(WEB)
    days.live(NOW + HOUR + MINUTE)
    assert days.done == [(days.done[0][0], {"forget": 1})]
    assert days.done[0][0] <= HOUR + 2 * POLL


def test_a_plan_that_policy_refuses_does_not_stop_the_lists(days: Days) -> None:
    brake = "[policy]\nmax_actions = { issue = 1 }\n"
    days.happens[NOW + 100] = lambda: days.site.write(WEB + KEEP + NEW + HOOKED + brake)
    days.live(NOW + DAY + HOUR, poll=HOUR)
    assert isinstance(days.rounds[-1].error, Denied)
    assert days.done == [(DAY, {"sign": 2, "publish": 1})]


def test_nothing_is_done_before_pki_toml_was_good_once(site: Site) -> None:
    site.write("junk")
    days = Days(site)
    days.live(NOW + HOUR)
    assert days.done == []
    assert all(isinstance(one.error, ConfigError) for one in days.rounds)
    assert not (site.root / "public").exists()


def test_only_reasons_are_held_to_in_every_round(days: Days) -> None:
    days.happens[NOW + 100] = lambda: days.site.write(WEB)
    days.live(NOW + DAY + HOUR, poll=HOUR, only_reasons=UNATTENDED)
    assert days.done == [(DAY, {"sign": 2, "publish": 1})]


def test_no_list_is_signed_for_a_revocation_that_waits_for_a_person(days: Days) -> None:
    entry = '[[revoke]]\nid = "inc-1"\ncert = "cert.web"\ngeneration = 1\nreason = "keyCompromise"\n'
    days.happens[NOW + 100] = lambda: days.site.write(WEB + KEEP + entry)
    days.live(NOW + HOUR, poll=MINUTE, only_reasons=(*UNATTENDED, "ocsp-missing"))
    assert days.done == []
    held = days.rounds[-1].applied
    assert held is not None
    assert [(str(one.address), one.waits) for one in held.plan.changes if one.address.kind == "revoke"] == [
        ('revoke.inc-1["cert.web@1"]', "its reason is not among --only-reasons")
    ]
    assert [one for one in held.plan.changes if one.address.kind in ("crl", "publish")] == []
    assert said(days.rounds[-1]).endswith('Held back: revoke.inc-1["cert.web@1"] and 1 more.')


def test_an_unattended_service_keeps_ocsp_answers_fresh_also_while_pki_toml_is_broken(site: Site) -> None:
    site.write(WEB, base=OCSP)
    site.apply()
    days = Days(site)
    days.happens[NOW + DAY + HOUR] = lambda: site.write("[broken")
    days.live(NOW + 2 * DAY + HOUR, poll=MINUTE, longest=HOUR, only_reasons=(*UNATTENDED, "ocsp-due", "ocsp-missing"))
    assert published(site).made // DAY == (NOW + 2 * DAY) // DAY
    assert len([counts for _, counts in days.done if counts.get("sign")]) == 2


def test_failures_are_tried_again_after_pauses_that_grow(days: Days) -> None:
    state = days.site.root / ".pkicode/state.db"
    days.happens[NOW + 100] = lambda: state.rename(state.with_suffix(".away"))
    days.happens[NOW + 2 * HOUR] = lambda: state.with_suffix(".away").rename(state)
    days.live(NOW + 3 * HOUR)
    failed = [one for one in days.rounds if one.error]
    assert all(isinstance(one.error, StateError) for one in failed)
    assert [one.wait for one in failed][:9] == [min(BACKOFF << number, LONGEST) for number in range(9)]
    assert days.rounds[-1].error is None
    assert NOW + 2 * HOUR <= failed[-1].at + LONGEST <= NOW + 2 * HOUR + LONGEST


def test_a_lease_that_somebody_holds_is_waited_for(days: Days) -> None:
    project = days.open()

    async def acquire() -> None:
        store = await project.state.open()
        await store.acquire("project", holder="somebody@host", now=NOW, ttl=60)
        await store.close()

    loop.run(acquire())
    days.site.write(WEB + KEEP + IMPATIENT + NEW)
    days.live(NOW + 5 * MINUTE)
    assert isinstance(days.rounds[0].error, LeaseHeld)
    assert [counts for _, counts in days.done] == [{"issue": 1}]
    assert MINUTE <= days.done[0][0] <= 2 * MINUTE


def test_lists_stay_fresh_while_somebody_else_applies_for_days(days: Days) -> None:
    project = days.open()

    async def acquire() -> None:
        store = await project.state.open()
        await store.acquire("project", holder="somebody@host", now=NOW, ttl=3 * DAY)
        await store.close()

    loop.run(acquire())
    days.site.write(WEB + KEEP + IMPATIENT + NEW)
    # Each round waits a second for the lease, of the clock on the wall.
    days.site.now = NOW + DAY - MINUTE
    days.live(NOW + DAY + MINUTE)
    assert all(isinstance(one.error, LeaseHeld) for one in days.rounds)
    assert days.done == [(days.done[0][0], {"sign": 2, "publish": 1})]
    assert DAY <= days.done[0][0] <= DAY + BUSY
    assert max(one.wait for one in days.rounds) == BUSY


def test_what_fails_alone_is_told_and_tried_again_less_and_less_often(days: Days) -> None:
    days.happens[NOW + 100] = lambda: days.site.write(WEB + KEEP + HOOKED)
    days.live(NOW + 2 * HOUR)
    failed = [one for one in days.rounds if one.applied and one.applied.problems]
    assert len(failed) < 25
    assert failed[-1].wait == LONGEST


def test_a_stop_while_applying_ends_after_what_is_under_way(days: Days) -> None:
    days.site.write(WEB + KEEP + NEW)

    def emit(_event: object) -> None:
        assert days.watch
        days.watch.stop()

    (only,) = days.live(NOW + DAY, emit=emit)
    assert only.applied is not None
    assert only.applied.stopped or only.applied.counts["issue"] == 1
    assert days.site.apply().exit_code == 0


async def committed(project: Project, revocation: Revocation) -> None:
    """What `pkicode revoke` on another host would leave."""
    now = project.clock()
    async with project.state.writing(now) as (store, lease):
        write = Write(now, "somebody", "revoke", "cert.web", revocations=[revocation])
        await store.commit(write, lease)
