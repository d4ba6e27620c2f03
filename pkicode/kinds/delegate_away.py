"""Delegates of CAs whose key is offline: planned, reserved, and signed in a ceremony; their keys are at hand.

Each key generation on duty has a row, at the address that its delegates have in the inventory: `ocsp.NAME["gN"]`.  Its
due instant is known for as long as the delegate lasts, so that plan, forecast and status tell of the next ceremony.
"""

import re
from collections.abc import Iterator

from pkicode.config.language import OcspSpec
from pkicode.kinds import authority as authorities
from pkicode.kinds import offline
from pkicode.kinds.authority import Authority
from pkicode.kinds.doomed import barred
from pkicode.kinds.ocsp_due import follows_at
from pkicode.kinds.rows import block_of, forgotten
from pkicode.model.address import Address
from pkicode.model.change import Action, Change, Reason, ReasonCode
from pkicode.model.instants import NO_EXPIRY, duration, rfc3339
from pkicode.model.row import Block, Held, Row
from pkicode.plan.kind import Difference, FieldClass, Outlook


def rows(block: Block, outlook: Outlook) -> Iterator[Row]:
    """One row for each key generation on duty that has its certificate."""
    for one in authorities.on_duty(block.name, outlook) if offline.is_offline(block.name, outlook.config) else ():
        if _authority(block.name, f"g{one.generation}", outlook):
            yield Row(f"g{one.generation}", "[]")


def _authority(name: str, key: str, outlook: Outlook) -> Authority | None:
    number = key.removeprefix("g")
    # A row that somebody altered may have any key.
    return authorities.generations(outlook).get(name, int(number)) if re.fullmatch("[0-9]{1,9}", number) else None


def needs(block: Block, key: str, outlook: Outlook) -> str:
    """The key generation that signs it; more where the row has to be looked at before it is due."""
    rows = [one for one in outlook.snapshot.held if (one.kind, one.name, one.key) == ("ocsp", block.name, key)]
    early = [f", and not {one.generation}" for one in rows if _early(one, block, outlook)]
    return f"ca.{block.name}@{key.removeprefix('g')}{''.join(early)}"


def _early(held: Held, block: Block, outlook: Outlook) -> Reason | None:
    """Why the next one is signed before it is due."""
    address, spec = str(held.address), block.spec
    if held.status != "ok" or held.due == NO_EXPIRY:
        return None
    lost = outlook.snapshot.lost.get(address, 0)
    if lost >= held.generation:
        return Reason(ReasonCode.REVOKED)
    # With half of its life over: what falls due a few days after a ceremony would ask for another.
    is_half = outlook.now >= held.due - spec.delegate // 6
    is_held = any(one.by_ceremony for one in outlook.planned("crl", block.name))
    if is_half and (is_held or (address, held.generation + 1) in outlook.snapshot.reserved):
        return Reason(ReasonCode.DUE, f"due {rfc3339(held.due)}, and goes along")
    return None


def numbers(held: Iterator[Held]) -> dict[str, int]:
    """`g1` -> the number of the delegate that there is, of the rows of one CA's answers."""
    return {one.key: one.generation for one in held if one.key and one.status == "ok"}


def diff(
    block: Block | None, row: Row | None, held: Held | None, outlook: Outlook, difference: Difference
) -> Change | None:
    if block is None or row is None:
        return forgotten(held) if held else None
    address = Address("ocsp", block.name, row.key)
    reason = _reason(held, block, outlook)
    authority = _authority(block.name, row.key, outlook)
    if reason is None or authority is None or authority.issuer_key in barred(outlook):
        return _metadata(address, block, row, held, difference)
    spec: OcspSpec = block.spec
    change = Change(
        address,
        Action.RESERVE,
        max(held.generation if held else 0, outlook.snapshot.taken(str(address))) + 1,
        (reason,),
        block,
        row,
        held,
        after={"keystore": spec.store, "validity": duration(spec.delegate)},
        depends_on=(f"ca.{block.name}",),
    )
    return offline.reserving(change, outlook)


def _reason(held: Held | None, block: Block, outlook: Outlook) -> Reason | None:
    if held is None or held.is_forgotten:
        return Reason(ReasonCode.NEW)
    if held.due <= outlook.now:
        return Reason(ReasonCode.DUE, f"due {rfc3339(held.due)}")
    return _early(held, block, outlook)


def _metadata(address: Address, block: Block, row: Row, held: Held | None, difference: Difference) -> Change | None:
    fields = ", ".join(f"`{one}`" for one in difference.of(FieldClass.METADATA))
    if held is None or not fields:
        return None
    reason = Reason(ReasonCode.SPEC_CHANGED, f"{fields} changed, no signature")
    return Change(address, Action.UPDATE, held.generation, (reason,), block, row, held)


def foresee(change: Change, outlook: Outlook) -> int:
    """When the one after the planned one is due."""
    authority = _authority(change.address.name, change.address.key, outlook)
    if authority is None or change.block is None or change.action is Action.UPDATE:
        return change.held.due if change.held else NO_EXPIRY
    not_after = min(outlook.now + block_of(change).spec.delegate - 1, authority.not_after)
    return follows_at(outlook.now, not_after, authority.not_after)
