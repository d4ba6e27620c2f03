"""Years of rollovers: on every day every good certificate is accepted, every revoked one refused, by every oracle.

The same with a root that the one before cross-signs.  After each apply there is nothing left to do (Years.days).
"""

import pytest

from pkicode.model.instants import DAY
from tests.kinds.rollover import CROSS_SIGNED, TWO_TIER, Day, Years, generations
from tests.kinds.site import Site
from tests.oracles.java import Ask, path_builder
from tests.oracles.judges import assert_agreed

PKIS = [pytest.param(TWO_TIER, 30, id="two-tier"), pytest.param(CROSS_SIGNED, 90, id="cross-signed")]


def show(day: Day, ask: Ask | None = None) -> None:
    """Everything that was handed out, with each bundle that is in use and all CRLs together."""
    for bundle in day.bundles:
        for some, is_good in ((day.good, True), (day.revoked, False)):
            for one, chain in some:
                assert_agreed(is_good, one.der, chain=chain, roots=bundle, crls=day.crls, at=day.now, ask=ask)


def test_on_each_day_of_a_root_rollover_openssl_accepts_what_is_good_and_refuses_what_is_revoked(site: Site) -> None:
    seen, crossed = [], 0
    for day in Years(site, CROSS_SIGNED, 90 * DAY).days(600, 60):
        show(day)
        crossed += sum(len(chain) == 2 for _, chain in day.good)
        seen.append([len(bundle) for bundle in day.bundles])
    assert generations(site) == {"ca.root": [1, 2], "ca.issuing": [1, 2, 3, 4, 5]}
    assert crossed
    # Clients with the first root alone, with both, and at last with the second alone.
    assert [1] in seen
    assert [1, 2] in seen
    assert seen[-1][-1] == 1


@pytest.mark.heavy
@pytest.mark.parametrize(("text", "overlap"), PKIS)
def test_three_years_of_rollovers_with_openssl_gnutls_and_java(site: Site, text: str, overlap: int) -> None:
    revoked = 0
    with path_builder() as ask:
        for day in Years(site, text, overlap * DAY).days(1095, 9):
            show(day, ask)
            revoked += len(day.revoked)
    assert revoked
    made = generations(site)
    assert made["ca.root"] == [1, 2, 3]
    assert len(made["ca.issuing"]) > 6
