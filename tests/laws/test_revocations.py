"""Laws of revocation, on random PKIs: an apply leaves nothing to do, order means nothing, nothing comes back."""

import random
from collections.abc import Sequence

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from pkicode.model.instants import rfc3339
from pkicode.model.reason import REASONS
from pkicode.ports import Want
from tests.kinds.site import Site
from tests.laws import corporate
from tests.laws.corporate import NAMES, Leaf, leaves
from tests.laws.test_plans import few
from tests.oracles import revoked_serials

Leaves = tuple[Leaf, ...]


@frozen
class Decision:
    """One [[revoke]] entry about a certificate that may or may not be there."""

    name: str
    reason: str
    wait: bool
    generation: bool

    def stanza(self, number: int, wanted: Sequence[Leaf], now: int) -> str:
        every = "all_keys = true\n" if any(one.name == self.name and one.fans_out for one in wanted) else ""
        pin = "generation = 1" if self.generation and not every else f"issued_before = {rfc3339(now)}"
        more = f'{pin}\n{every}wait = {str(self.wait).lower()}\nreason = "{self.reason}"\n'
        return f'[[revoke]]\nid = "R-{number}"\ncert = "cert.{self.name}"\n{more}'


decisions = st.lists(
    st.builds(Decision, st.sampled_from(NAMES), st.sampled_from([*REASONS]), st.booleans(), st.booleans()), max_size=4
)


def stanzas(site: Site, wanted: Leaves, decided: Sequence[Decision]) -> list[str]:
    entries = [one.stanza(number, wanted, site.now) for number, one in enumerate(decided)]
    return [*(one.stanza for one in wanted), *entries]


@pytest.mark.invariant(13)
@few
@given(wanted=leaves, decided=decisions, days=st.integers(1, 60), seed=st.integers(0, 9))
def test_revocations_leave_nothing_to_do_and_their_order_means_nothing(
    wanted: Leaves, decided: list[Decision], days: int, seed: int, ground: corporate.Ground
) -> None:
    with corporate.site(ground, wanted) as site:
        site.apply()
        site.later(days)
        declared = stanzas(site, wanted, decided)
        plan = corporate.told(site.write("\n".join(declared)).plan())
        # The warnings of what matches nothing stand at lines.
        if not site.plan().problems:
            random.Random(seed).shuffle(declared)
            assert corporate.told(site.write("\n".join(declared)).plan()) == plan
        assert site.apply().exit_code == 0
        assert site.plan().changes == ()
        assert site.apply().counts == {}
        assert site.open().upkeep.verify() == []


@pytest.mark.invariant(8)
@few
@given(first=leaves, second=leaves, decided=decisions, days=st.integers(1, 60))
def test_whatever_comes_later_nothing_is_unrevoked_and_no_date_moves(
    first: Leaves, second: Leaves, decided: list[Decision], days: int, ground: corporate.Ground
) -> None:
    with corporate.site(ground, first) as site:
        site.apply()
        entries = "\n".join(stanzas(site.later(days), first, decided))
        site.write(entries).apply()
        gone = {one.serial: one.revoked_at for one in site.open().inventory(Want()) if one.status == "revoked"}
        for text in (corporate.text(second), entries, ""):
            # Another entry with these ids is another decision; what they did before stays.
            site.later(1).write(text).apply(allow={"remove": "99"})
            there = {one.serial: one for one in site.open().inventory(Want())}
            assert {serial: there[serial].revoked_at for serial in gone} == gone
            listed = {serial for crl in site.crls() for serial in revoked_serials(crl)}
            assert {serial for serial in gone if there[serial].not_after > site.now} <= listed
