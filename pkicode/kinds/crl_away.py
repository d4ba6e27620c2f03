"""CRLs of CAs whose key is on another machine: drawn up here, signed there, and taken back if they tell no less.

There is no intent of a list.  What decides is what decides over any published one: the CA's signature, a number above
the last, and that nothing which was revoked is revoked no more.
"""

import hashlib

from attrs import field, frozen

from pkicode.ceremony.bundle import BundleError
from pkicode.kinds import authority as authorities
from pkicode.kinds import crl as lists
from pkicode.kinds.authority import Authority
from pkicode.kinds.crl_lists import CLOCK_TOLERANCE, Drawn, genuine
from pkicode.kinds.rows import block_of
from pkicode.model.change import Change
from pkicode.model.counted import counted
from pkicode.model.instants import rfc3339
from pkicode.model.problem import PkicodeError, Problem
from pkicode.plan.kind import Run
from pkicode.ports import Artefact


@frozen
class Back:
    """A list that came back and may be kept."""

    change: Change
    authority: Authority
    artefact: Artefact = field(repr=False)
    counted: int
    """How many of the revocations that the state knows are on it."""


async def draft(change: Change, run: Run) -> tuple[Authority, bytes]:
    """Whose list it is, and the TBSCertList that would be signed now.

    Raises:
        PkicodeError: it cannot be drawn up.
    """
    authority, full = await _full(change, run)
    _, _, _, tbs = await lists.signable(full, authority, block_of(change).spec, run)
    return authority, tbs


async def back(change: Change, der: bytes, run: Run) -> Back:
    """A signed list, and what it knows.

    Raises:
        BundleError: it may not be kept.
    """
    authority, full = await _full(change, run)
    revoked = (await run.world.store.revoked()).get(authority.issuer_key, 0)
    found = await run.world.work(genuine, der, authority, "")
    if isinstance(found, str):
        raise _refused(change, found)
    newest = max((one.number for one in full.scope.earlier), default=0)
    told = {entry.serial for one in full.scope.earlier for entry in one.entries}
    wanted = {entry.serial for entry in full.entries}
    listed = {entry.serial for entry in found.entries}
    wrong = ""
    if found.number <= newest:
        wrong = f"its number is {found.number}, and number {newest} is there already"
    elif lost := (told & wanted) - listed:
        wrong = f"of the last list it lacks {counted(len(lost), 'serial')}"
    elif found.this_update > run.world.now + CLOCK_TOLERANCE or found.next_update <= run.world.now:
        wrong = f"it is in force from {rfc3339(found.this_update)} to {rfc3339(found.next_update)}"
    if wrong:
        raise _refused(change, wrong)
    digest, dates = hashlib.sha256(der).hexdigest(), (found.this_update, found.next_update)
    artefact = Artefact("crl", authority.stem, "", f"{found.number:x}", *dates, digest, der)
    # With fewer than there are, the next plan asks for another list.
    return Back(change, authority, artefact, revoked - len(wanted - listed))


async def keep(one: Back, run: Run) -> None:
    """In the state, with its row."""
    await lists.keep(
        one.change, one.authority, [one.artefact], run, counted=one.counted, oldest=one.artefact.this_update
    )


async def _full(change: Change, run: Run) -> tuple[Authority, Drawn]:
    authority = await authorities.load(change.address.name, run, change.generation)
    if authority is None:
        raise PkicodeError(f"ca.{change.address.name} is not there", help="apply, and hold its ceremony first")
    drawn = await lists.drafts(change, authority, run)
    if isinstance(drawn, Problem):
        raise PkicodeError(drawn.message, help=drawn.help)
    return authority, drawn[0]


def _refused(change: Change, why: str) -> BundleError:
    return BundleError(f"{change.address}: the list is not taken: {why}", help="export again, and sign that")
