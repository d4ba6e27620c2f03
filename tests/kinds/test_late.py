"""Nobody applied for months, and the CA that is to sign has not long enough to live, or has ended."""

import pytest

from pkicode.model.change import Plan, Readiness
from pkicode.model.problem import ConfigError
from tests.kinds.rollover import ALLOW, TWO_TIER
from tests.kinds.site import Site, certificates

STILL = TWO_TIER.replace('rotate = { every = "180d", prepublish = "14d" }', "")


def waiting(plan: Plan) -> dict[str, str]:
    return {str(one.address): one.waits for one in plan.changes if one.readiness is Readiness.WAITING}


@pytest.fixture
def corp(site: Site) -> Site:
    """The issuing CA is for 400 days, is followed after 180 and 14 more, and signs leaves of 60."""
    assert site.write(base=TWO_TIER).apply().exit_code == 0
    return site


def test_leaves_wait_for_the_generation_that_this_apply_makes_and_the_plan_stands(corp: Site) -> None:
    corp.later(350)
    plan = corp.plan()
    assert "issue ca.issuing@2 ca-rotate" in certificates(plan)
    assert "would outlive ca.issuing@1" in waiting(plan)["cert.portal"]
    assert "ca.issuing@2: it issues once it was out for long enough" in waiting(plan)["cert.portal"]
    assert corp.apply().exit_code == 7
    plan = corp.plan()
    assert "ca.issuing@2: it issues from 2027-11-22T" in waiting(plan)["cert.portal"]
    # The next apply by itself is when it may.
    assert plan.next_due is not None
    corp.later(14)
    assert "renew cert.portal@2 due" in certificates(corp.plan())
    assert corp.apply().exit_code == 0
    corp.verify("cert.portal")
    assert corp.plan().changes == ()


@pytest.mark.parametrize("days", [396, 401, 700])
def test_what_the_ended_one_signed_is_renewed_by_the_next_at_once(corp: Site, days: int) -> None:
    """At 396 days the current one has not ended, but nothing that it may sign would be of use."""
    corp.later(days)
    assert corp.apply(allow=ALLOW).exit_code == (7 if days < 400 else 0)
    if days < 400:
        assert list(waiting(corp.plan())) == ['cert.app["api"]', "cert.portal"]
        corp.later(5)
        assert corp.apply(allow=ALLOW).exit_code == 0
    corp.verify("cert.portal")
    assert corp.plan(allow=ALLOW).changes == ()


def test_where_the_next_one_is_held_back_it_is_said_why_and_everything_else_goes_on(site: Site) -> None:
    """A root is followed when somebody says so."""
    alone = TWO_TIER.partition("[ca.issuing]")[0] + (
        '[profile.server]\nissuer = "root"\neku = ["serverAuth"]\nvalidity = "60d"\n'
        '[cert.portal]\nprofile = "server"\ndns = ["portal.corp.example"]\n'
    )
    assert site.write(base=alone).apply().exit_code == 0
    site.later(1430)
    assert "ca.root@2: a root changes only with --allow" in waiting(site.plan())["cert.portal"]
    assert site.apply().exit_code == 7
    assert "issue ca.root@2 ca-rotate" in certificates(site.plan(allow=ALLOW))


def test_where_nothing_follows_it_is_an_error(corp: Site) -> None:
    corp.write(base=STILL)
    assert corp.apply().exit_code == 0
    corp.later(350)
    with pytest.raises(ConfigError) as caught:
        corp.plan()
    assert {one.code for one in caught.value.problems} == {"E0415"}


def test_where_the_next_one_will_not_live_long_enough_when_it_issues_it_is_an_error(corp: Site) -> None:
    corp.later(350)
    corp.write(base=STILL.replace('validity = "400d"', 'validity = "61d"\npolicies = ["1.3.6.1.4.1.99999.1"]'))
    assert corp.apply(allow={"ca-rotate": "issuing"}).exit_code == 7
    with pytest.raises(ConfigError) as caught:
        corp.plan()
    assert {one.code for one in caught.value.problems} == {"E0415"}
