"""The law of the forecast: a day foreseen is the plan made on that day, had everything before it been applied."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pkicode.model.change import Plan
from pkicode.model.instants import DAY
from pkicode.model.problem import ConfigError, Denied
from pkicode.plan.forecast import Coming
from pkicode.ports import Want
from tests.kinds.site import BASE, NOW, Site
from tests.kinds.test_fleet import csr
from tests.laws import corporate
from tests.laws.corporate import Leaf, leaves
from tests.laws.rolling import Rolling
from tests.quick import quick_keystore

few = settings(
    max_examples=12,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
SHORT_LIVED = BASE.replace('"10y"', '"200d"').replace('"5y"', '"150d"')
UNPLANNED = ("expire", "outlive")
Leaves = tuple[Leaf, ...]
Told = tuple[str, str, str, str, int | None]


def foreseen(site: Site, days: int, *, full: bool = True) -> Sequence[Coming]:
    return site.open().foresight.forecast(site.now + days * DAY, full=full).rows


def of_day(coming: Iterable[Coming], at: int) -> list[Told]:
    return sorted(
        (one.address, one.action, one.reasons[0][0], one.status, one.generation)
        for one in coming
        if one.at == at and one.action not in UNPLANNED
    )


def planned(plan: Plan) -> list[Told]:
    return sorted(
        (str(one.address), str(one.action), str(one.reasons[0].code), str(one.readiness), one.generation)
        for one in plan.changes
    )


def lived(site: Site, days: int) -> dict[int, list[Told]]:
    """Day after day a plan, and then its apply; until none can be made."""
    found = {}
    for _ in range(days + 1):
        try:
            found[site.now] = planned(site.plan())
            site.apply(allow={"remove": "99"})
        except ConfigError as error:
            found[site.now] = sorted(
                (one.address, "error", one.code, "ready", None) for one in error.problems if one.severity == "error"
            )
            break
        site.later(1)
    return found


@few
@given(first=leaves, second=leaves, days=st.integers(1, 40), rest=st.integers(0, 30))
def test_the_forecast_of_a_day_is_the_plan_of_that_day(
    first: Leaves, second: Leaves, days: int, rest: int, ground: corporate.Ground
) -> None:
    """Whether pki.toml has just been changed or not, from an empty state or one that was left alone for a while."""
    with corporate.site(ground, first) as site:
        site.apply()
        site.later(rest).write(corporate.text(second))
        foretold = foreseen(site, days)
        for at, changes in lived(site, days).items():
            assert of_day(foretold, at) == changes


@few
@given(wanted=leaves, days=st.integers(0, 60))
def test_the_first_day_of_a_forecast_is_the_plan_of_now_in_every_word(
    wanted: Leaves, days: int, ground: corporate.Ground
) -> None:
    with corporate.site(ground, wanted) as site:
        site.apply()
        site.later(days)
        plan = site.plan()
        told = [one for one in foreseen(site, 0) if one.action not in UNPLANNED]
        assert [(one.address, one.action, one.generation) for one in told] == [
            (str(one.address), str(one.action), one.generation) for one in plan.changes
        ]
        assert [one.reasons for one in told] == [
            tuple((str(reason.code), reason.detail) for reason in one.reasons) for one in plan.changes
        ]


@few
@given(wanted=leaves, days=st.integers(1, 120))
def test_a_forecast_of_groups_adds_up_to_the_one_of_single_rows(
    wanted: Leaves, days: int, ground: corporate.Ground
) -> None:
    with corporate.site(ground, wanted) as site:
        site.apply()
        assert counted(foreseen(site, days, full=False)) == counted(foreseen(site, days))


def counted(coming: Sequence[Coming]) -> Counter[tuple[int, str, str, str, str]]:
    """Day, block, action, reason, status -> rows."""
    found: Counter[tuple[int, str, str, str, str]] = Counter()
    for one in coming:
        found[one.at, one.address.partition("[")[0], one.action, one.reasons[0][0], one.status] += one.count
    return found


def test_a_forecast_from_an_empty_state_sees_authorities_that_are_not_there_yet(quick_path: Path) -> None:
    quick_keystore(quick_path)
    site = Site(quick_path).write('[cert.web]\nprofile = "server"\ndns = ["a.corp.example"]\nvalidity = "10d"\n')
    foretold = foreseen(site, 30)
    for at, changes in lived(site, 30).items():
        assert of_day(foretold, at) == changes
    assert [one.at for one in foretold if one.action == "renew"]


def test_a_forecast_ends_on_the_day_on_which_a_leaf_would_outlive_its_issuer(quick_path: Path) -> None:
    quick_keystore(quick_path)
    site = Site(quick_path).write('[cert.web]\nprofile = "server"\ndns = ["a.corp.example"]\n', base=SHORT_LIVED)
    site.apply()
    foretold = foreseen(site, 400)
    (outlive,) = [one for one in foretold if one.action == "outlive"]
    assert (outlive.address, outlive.at) == ("cert.web", NOW + 60 * DAY + 1)
    *_, last = foretold
    assert (last.action, last.reasons[0][0], last.address) == ("error", "E0415", "cert.web")
    history = lived(site, 400)
    assert {at: of_day(foretold, at) for at in history} == history


def test_what_waits_for_a_person_is_told_daily_and_its_end_once(quick_path: Path) -> None:
    quick_keystore(quick_path)
    text = """
        [cert.web]
        profile = "server"
        dns = ["web.corp.example"]
        validity = "9d"
        csr = { dir = "csr", file = "web.csr" }
        renew = { at = "2/3", jitter = "0%", rekey = "require" }
    """
    site = Site(quick_path).write(text)
    csr(site, "web")
    site.apply()
    foretold = foreseen(site, 20)
    waiting = [one for one in foretold if one.status == "waiting"]
    assert [one.at for one in waiting] == [NOW + day * DAY for day in range(6, 21)]
    assert "rekey is required" in waiting[0].reasons[0][1]
    (ended,) = [one for one in foretold if one.action == "expire"]
    (held,) = site.open().inventory(Want(address="cert.web"))
    assert (ended.address, ended.generation, ended.at) == ("cert.web", 1, held.not_after + 1)
    for at, changes in lived(site, 20).items():
        assert of_day(foretold, at) == changes


def fleet(size: int, *, more: str = "") -> str:
    names = ", ".join(f'"h{number}"' for number in range(size))
    return f"""
        [cert.fleet]
        profile = "server"
        for_each = {{ values = [{names}] }}
        dns = ["${{each.value}}.corp.example"]
        validity = "30d"
        renew = {{ at = "1/2", jitter = "30%" }}
        {more}
    """


def test_a_day_that_max_actions_would_deny_is_told_so_and_taken_as_allowed(quick_path: Path) -> None:
    quick_keystore(quick_path)
    brake = "[policy]\nmax_actions = { issue = 1 }\n"
    site = Site(quick_path).write(fleet(8) + brake)
    site.apply(allow={"issue": "99"})
    foretold = foreseen(site, 60)
    assert {one.status for one in foretold if one.action == "renew"} == {"ready", "denied"}
    site.write(fleet(8))
    unbraked = foreseen(site, 60)
    assert [(one.at, one.address, one.generation) for one in foretold] == [
        (one.at, one.address, one.generation) for one in unbraked
    ]


def test_a_rule_of_policy_that_refuses_a_plan_ends_the_forecast(quick_path: Path) -> None:
    quick_keystore(quick_path)
    site = Site(quick_path).write(fleet(3))
    site.apply()
    site.write(fleet(3) + '[policy.deny]\nvalidity_above = "20d"\n')
    *_, last = foreseen(site, 60)
    assert (last.action, last.reasons[0][0]) == ("error", "deny.validity_above")
    site.now = last.at
    with pytest.raises(Denied):
        site.apply()


def test_rows_that_are_renewed_again_and_again_are_foreseen_each_time(quick_path: Path) -> None:
    """A fleet large enough that most rows are not planned one by one, with a number that is burnt."""
    quick_keystore(quick_path)
    site = Site(quick_path).write(fleet(40))
    site.apply()
    foretold = foreseen(site, 50, full=False)
    at_once = Counter({(one.at, one.address, one.action): one.count for one in foretold if one.kind == "cert"})
    history: Counter[tuple[int, str, str]] = Counter()
    for at, changes in lived(site, 50).items():
        for address, action, *_ in changes:
            if address.startswith("cert."):
                history[at, address.partition("[")[0], action] += 1
    grouped = Counter({(at, address.partition("[")[0], action): n for (at, address, action), n in at_once.items()})
    assert {one: n for one, n in grouped.items() if one[2] == "renew"} == history


ROLLING = {
    "from nothing, cross-signed": (Rolling(crossed=True), 62, "ready ca.issuing@2 ca-rotate"),
    "a certificate revoked": (Rolling(age=30, revoked=True, crossed=True), 25, "ready ca.issuing@2 ca-rotate"),
    "a revocation to come": (Rolling(age=5, revoked=True), 9, 'ready revoke.retired-host["cert.portal@1"]@1 new'),
    "a root that waits": (Rolling(age=110), 20, "waiting ca.root@2 ca-rotate"),
    "between two roots": (Rolling(age=130, rolled=120, crossed=True), 40, "ready ca.issuing@5 ca-rotate"),
}


@pytest.mark.parametrize(("pki", "days", "expected"), ROLLING.values(), ids=ROLLING)
def test_the_forecast_of_a_day_is_its_plan_through_rotations_and_with_ocsp(
    pki: Rolling, days: int, expected: str, quick_path: Path
) -> None:
    quick_keystore(quick_path)
    told = through_rotations(pki.live(Site(quick_path)), days)
    assert expected in {f"{one.status} {one.address}@{one.generation} {one.reasons[0][0]}" for one in told}
    assert "ocsp-due" in {one.reasons[0][0] for one in told}


def through_rotations(site: Site, days: int) -> Sequence[Coming]:
    foretold = foreseen(site, days)
    history = lived(site, days)
    assert len(history) == days + 1
    for at, changes in history.items():
        assert of_day(foretold, at) == changes
    return foretold


@pytest.mark.heavy
@few
@given(
    pki=st.builds(
        Rolling,
        crossed=st.booleans(),
        age=st.integers(0, 32).map(lambda steps: 5 * steps),
        revoked=st.booleans(),
        rolled=st.one_of(st.none(), st.integers(0, 150)),
    ),
    days=st.integers(1, 70),
)
def test_the_same_of_any_such_pki(pki: Rolling, days: int, ground: corporate.Ground) -> None:
    with corporate.site(ground) as site:
        through_rotations(pki.live(site), days)
