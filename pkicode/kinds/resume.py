"""What an interrupted apply left open, made again from the configuration.

Which certificate an intent was for is worked out from config and keystore alone; issuing/resumption.py compares the
result with what the store holds and never signs a byte that was read from there.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import groupby

from pkicode.config.rows import rows as config_rows
from pkicode.issuing import Order, Remade
from pkicode.issuing import resume as finish
from pkicode.issuing import waiting as of_ceremonies
from pkicode.kinds import ca_apply, cert_apply, cross_apply, delegate, offline
from pkicode.model.address import Address, parse
from pkicode.model.change import Action, Change, Reason, ReasonCode
from pkicode.model.problem import LeaseHeld, Problem
from pkicode.model.row import Block, Held, Row
from pkicode.plan.kind import Run
from pkicode.ports import Certificate


async def resume(run: Run) -> Sequence[Certificate]:
    """Finish or give up every open intent; returns them as they ended.

    Those of delegates are guarded by publish leases: one whose maker is at work is left to it.
    """
    left = await run.world.store.intents()
    ended = [*await _finished([one for one in left if not _is_delegate(one)], run)]
    for name in sorted({parse(one.address)[0].name for one in left if _is_delegate(one)}):
        with suppress(LeaseHeld):
            async with run.publishing([name]) as leased:
                still = await leased.world.store.intents()
                ended += await _finished([one for one in still if _block(one) == f"ocsp.{name}"], leased)
    return ended


def _is_delegate(intent: Certificate) -> bool:
    return parse(intent.address)[0].kind == "ocsp"


async def waiting(run: Run) -> Sequence[Certificate]:
    """The open intents that a ceremony may sign: of offline CAs, and such as configuration asks for."""
    left = [one for one in await run.world.store.intents() if offline.is_offline(one.ca, run.config)]
    remade = await _all_remade(left, run)
    return await of_ceremonies(run.world, left, lambda intent: remade.get((intent.issuer_key, intent.serial)))


async def _finished(intents: Sequence[Certificate], run: Run) -> Sequence[Certificate]:
    if not intents:
        return ()
    remade = await _all_remade(intents, run)
    ended = await finish(run.world, intents, lambda intent: remade.get((intent.issuer_key, intent.serial)))
    if any(intent.address.startswith("ca.") for intent in intents):
        run.memo.clear()
    return ended


async def _all_remade(intents: Sequence[Certificate], run: Run) -> dict[tuple[str, str], Remade]:
    newest: dict[Address, Held] = {}
    for held in await run.world.store.held():
        if held.address not in newest or newest[held.address].generation < held.generation:
            newest[held.address] = held
    remade: dict[tuple[str, str], Remade] = {}
    for _, group in groupby(sorted(intents, key=_block), key=_block):
        remade.update(await _remade(list(group), newest, run))
    return remade


def _block(intent: Certificate) -> str:
    return parse(intent.address)[0].block


async def _remade(
    intents: Sequence[Certificate], newest: Mapping[Address, Held], run: Run
) -> dict[tuple[str, str], Remade]:
    """What config says of these intents of one block; those it says nothing of are left out."""
    address = parse(intents[0].address)[0]
    if address.kind == "ocsp":
        delegates = {(one.issuer_key, one.serial): await delegate.remake(one, run) for one in intents}
        return {found: one for found, one in delegates.items() if one}
    block = run.config.block(address.kind, address.name)
    if block is None:
        return {}
    if address.kind == "ca":
        found = {(one.issuer_key, one.serial): await _ca_remade(one, block, newest, run) for one in intents}
        return {identity: one for identity, one in found.items() if one}
    wanted = {parse(one.address)[0].key: one for one in intents}
    rows = {row.key: row for row in config_rows(run.config, block) if row.key in wanted}
    changes = [
        _change(block, rows[key], newest.get(Address(address.kind, address.name, key)), intent)
        for key, intent in wanted.items()
        if key in rows
    ]
    fresh = [one for one in changes if one.held is None or one.held.generation < one.generation]
    if not fresh:
        return {}
    ids = {key: (intent.issuer_key, intent.serial) for key, intent in wanted.items()}
    remade = await cert_apply.remake(fresh, run)
    if isinstance(remade, Problem):
        return {}
    template, orders, settle = remade
    return {
        ids[change.address.key]: (template, order, settle)
        for change, order in zip(fresh, orders, strict=True)
        if isinstance(order, Order)
    }


async def _ca_remade(intent: Certificate, block: Block, newest: Mapping[Address, Held], run: Run) -> Remade | None:
    """A generation of a CA, or a cross-certificate of the newest: both may wait at once, of two generations."""
    [row] = config_rows(run.config, block)
    change = _change(block, row, newest.get(Address("ca", block.name)), intent)
    if change.held and change.held.generation == change.generation:
        return await cross_apply.remake(change, intent.ca, intent.ca_generation, run)
    if change.held and change.held.generation > change.generation:
        return None
    made = await ca_apply.remake(change, run)
    return None if isinstance(made, Problem) else made


def _change(block: Block, row: Row, held: Held | None, intent: Certificate) -> Change:
    address = parse(intent.address)[0]
    action = Action.RENEW if held and not held.is_forgotten else Action.ISSUE
    reason = Reason(ReasonCode(intent.reason))
    return Change(address, action, intent.generation, (reason,), block, row, held)
