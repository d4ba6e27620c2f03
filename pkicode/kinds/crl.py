"""CRLs (RFC 5280 section 5) of every CA key generation on duty: when they are due, and signing them.

What they list is worked out in crl_lists.py.  One revocation signs the full list and one shard again; the others wait
until they are due.
"""

import asyncio
import hashlib
import json
from collections.abc import Iterator, Sequence

from attrs import evolve

from pkicode.config.language import CrlSpec
from pkicode.config.reader import Config
from pkicode.kinds import authority as authorities
from pkicode.kinds import crl_lists as lists
from pkicode.kinds import offline
from pkicode.kinds.authority import Authority
from pkicode.kinds.ca import by_depth
from pkicode.kinds.rows import after, block_of, columns, derived, forgotten, since, template_number
from pkicode.model.address import Address
from pkicode.model.change import Action, Change, Readiness, Reason, ReasonCode, Stage
from pkicode.model.faults import FaultPoint
from pkicode.model.instants import NO_EXPIRY, duration
from pkicode.model.problem import PkicodeError, Problem
from pkicode.model.row import Block, Held, Row
from pkicode.plan.applier import write
from pkicode.plan.kind import Difference, FieldClass, Kind, Outlook, Run
from pkicode.ports import Artefact

MOST_SHARDS = 256


def blocks(config: Config) -> list[Block]:
    return [derived("crl", ca, "crl") for ca in by_depth(config)]


def check(block: Block, outlook: Outlook) -> Iterator[Problem]:
    """Shards that there can be, and that certificates can name."""
    count = block.spec.shards
    wrong, mend = "", ""
    if count == 1 or count > MOST_SHARDS:
        wrong, mend = f"`crl.shards` is 2 to {MOST_SHARDS}", "leave it out for one full list"
    elif count and not outlook.config.ca(block.name).own_base_urls:
        wrong, mend = "no certificate could name its shards", 'add publish = ["..."], of a target with ca and crl'
    if wrong:
        yield Problem("E0418", f"[ca.{block.name}]: {wrong}", place=block.source.place("crl", "shards"), help=mend)


def rows(block: Block, outlook: Outlook) -> Iterator[Row]:
    """One row a CA generation on duty; its value is how many revocations its CRLs must know of."""
    coming = "+" if _coming(block.name, outlook) else ""
    for key, standing in _signing(block.name, outlook).items():
        count = outlook.snapshot.revoked.get(standing.authority.issuer_key, 0) if standing.authority else 0
        yield Row(key, _values(f"{count}{coming}", block, outlook.config))


def _values(count: str, block: Block, config: Config) -> str:
    """What a list must say.  Shards name URLs themselves: with others they are other lists."""
    return json.dumps([count, *lists.base_urls(block.spec, block.name, config)])


def _signing(name: str, outlook: Outlook) -> dict[str, authorities.Standing]:
    """Key of the row -> the generation that signs.

    The newest is the row without a key, which moves on when a new generation comes; an older one is `g1`, for as long
    as it is on duty.  Both count on from the lists of their own key.
    """
    duty = authorities.on_duty(name, outlook)
    return {"" if one == duty[-1] else f"g{one.generation}": one for one in reversed(duty)}


def _coming(ca: str, outlook: Outlook) -> list[Change]:
    """The revocations of this CA's certificates that this plan does."""
    return [
        change
        for changes in outlook.changes.values()
        for change in changes
        if change.action in (Action.REVOKE, Action.DISTRUST) and change.readiness is Readiness.READY
        if f"ca.{ca}" in change.depends_on
    ]


def needs(block: Block, row: Row, outlook: Outlook) -> str:
    return _signing(block.name, outlook)[row.key].at


def diff(
    block: Block | None, row: Row | None, held: Held | None, outlook: Outlook, difference: Difference
) -> Change | None:
    if block is None or row is None:
        return forgotten(held) if held else None
    reason = _reason(block, row, held, outlook, difference)
    if reason is None:
        return None
    spec: CrlSpec = block.spec
    signing = _signing(block.name, outlook)[row.key]
    # Where there is no CA yet, its lists wait for that, and not for a ceremony of their own.
    is_away = signing.authority is not None and offline.is_offline(block.name, outlook.config)
    return Change(
        Address("crl", block.name, row.key),
        Action.SIGN,
        signing.generation,
        (reason,),
        block,
        row,
        held,
        after={
            "refresh": duration(spec.refresh),
            "validity": duration(spec.validity),
            **({"shards": spec.shards} if spec.shards else {}),
        },
        # Where revocations that come last are all there is to say, they are awaited.
        depends_on=(f"ca.{block.name}", *_awaited(block.name, reason, outlook)),
        readiness=Readiness.WAITING if is_away else Readiness.READY,
        waits="its key is offline, and a ceremony signs it: `pkicode ceremony export`" if is_away else "",
    )


def _awaited(ca: str, reason: Reason, outlook: Outlook) -> tuple[str, ...]:
    coming = _coming(ca, outlook)
    if reason.code is not ReasonCode.CRL_CONTENT or any(one.stage is not Stage.LAST for one in coming):
        return ()
    return tuple(str(one.address) for one in coming)


def _reason(block: Block, row: Row, held: Held | None, outlook: Outlook, difference: Difference) -> Reason | None:
    if held is None or held.is_forgotten:
        return Reason(ReasonCode.NEW)
    if held.needs != needs(block, row, outlook):
        return Reason(ReasonCode.NEW, "another key generation")
    if columns(held.values)[1:] != columns(row.values)[1:]:
        return Reason(ReasonCode.SPEC_CHANGED, "its shards, or their URLs, changed")
    if held.values != row.values:
        return Reason(ReasonCode.CRL_CONTENT, "certificates were revoked")
    if held.due <= outlook.now:
        return Reason(ReasonCode.CRL_DUE, since(held))
    if difference:
        return Reason(ReasonCode.SPEC_CHANGED, "`crl` changed")
    return None


def foresee(change: Change, outlook: Outlook) -> int:
    if change.block is None or change.action is not Action.SIGN:
        return NO_EXPIRY
    spec: CrlSpec = change.block.spec
    due = min(outlook.now + spec.refresh, NO_EXPIRY)
    # Shards that say nothing new are not signed again: they are due as before.
    return min(due, change.held.due) if change.held and spec.shards and _only_news(change, outlook.now) else due


def _only_news(change: Change, now: int) -> bool:
    """Whether nothing but revocations asks for lists: what says nothing new can wait."""
    is_due = change.held is None or change.held.due <= now
    return not is_due and all(one.code is ReasonCode.CRL_CONTENT for one in change.reasons)


async def apply(changes: Sequence[Change], run: Run) -> Sequence[Problem | None]:
    return [await _sign(change, run) for change in changes]


async def _sign(change: Change, run: Run) -> Problem | None:
    world, block = run.world, block_of(change)
    authority = await authorities.load(change.address.name, run, change.generation)
    if authority is None:
        return authorities.missing(change.address.name, change.address)
    # Counted before the entries are read: a revocation in between makes the next plan sign again, never miss it.
    counted = (await world.store.revoked()).get(authority.issuer_key, 0)
    number = await template_number(block, run)
    if _is_told(change.held, (number, _values(str(counted), block, run.config), authority.at), world.now):
        # Somebody else signed it since this was planned.
        return None
    drawn = await drafts(change, authority, run)
    if isinstance(drawn, Problem):
        return drawn
    due = [one for one in drawn if one.is_due or not _only_news(change, world.now)]
    made = [await _made(one, authority, block.spec, run) for one in due]
    world.reach(FaultPoint.CRL_SIGNED)
    untouched = [max(facts.this_update for facts in one.scope.earlier) for one in drawn if one not in due]
    oldest = min([one.this_update for one in made] + untouched)
    await keep(change, authority, made, run, counted=counted, oldest=oldest)
    return None


async def drafts(change: Change, authority: Authority, run: Run) -> list[lists.Drawn] | Problem:
    """What the lists of a CA generation would say now; nothing is signed or stored."""
    world, block = run.world, block_of(change)
    revocations = await world.store.revocations(authority.issuer_key)
    try:
        found = await lists.scopes(authority, block.spec, run)
    except PkicodeError as error:
        # Signed without having seen it, the next list could drop what that one says revoked.
        return Problem("E0510", f"{change.address}: {error.message}", help=error.help, address=str(change.address))
    newest = max((one.this_update for scope in found for one in scope.earlier), default=0)
    if newest > world.now + lists.CLOCK_TOLERANCE:
        return lists.from_the_future(change, "list", newest, world.now)
    return await lists.drawn(authority, block.spec, found, revocations, run)


async def keep(
    change: Change, authority: Authority, made: Sequence[Artefact], run: Run, *, counted: int, oldest: int
) -> None:
    """Lists that are signed and verified, in the state, with the row that tells of them.

    Args:
        made: the full list first.
        counted: how many revocations they know of.
        oldest: thisUpdate of the list that is due next.
    """
    block = block_of(change)
    row = after(change, await template_number(block, run), due=oldest + block.spec.refresh, needs=authority.at)
    row = evolve(row, values=_values(str(counted), block, run.config))
    full = made[0]
    record = json.dumps(
        {"next_update": full.next_update, "number": full.number, "sha256": full.sha256, "this_update": full.this_update}
    )
    await run.world.store.commit(write(run, "crl", [change], held=[(row, record)], artefacts=made), run.world.lease)
    run.world.reach(FaultPoint.CRL_STORED)


def _is_told(held: Held | None, now_said: tuple[int, str, str], now: int) -> bool:
    """Whether the lists there are say what new ones would, and are not due."""
    if held is None or held.is_forgotten or held.due <= now:
        return False
    return (held.template, held.values, held.needs) == now_said


async def _made(drawn: lists.Drawn, authority: Authority, spec: CrlSpec, run: Run) -> Artefact:
    """One list, signed and verified, with a number above all that went before it."""
    world = run.world
    number, this_update, next_update, tbs = await signable(drawn, authority, spec, run)
    signer = await world.keystores[authorities.store_of(authority.name, run)].signer(authority.at)
    await world.keep()
    signature = await asyncio.to_thread(signer.sign, tbs)
    der: bytes = await world.work(lists.verified, tbs, signature, authority)
    digest = hashlib.sha256(der).hexdigest()
    return Artefact("crl", authority.stem, drawn.scope.shard, f"{number:x}", this_update, next_update, digest, der)


async def signable(drawn: lists.Drawn, authority: Authority, spec: CrlSpec, run: Run) -> tuple[int, int, int, bytes]:
    """Number, thisUpdate and nextUpdate of a list that would be signed now, and its TBSCertList."""
    earlier = drawn.scope.earlier
    number = max((one.number for one in earlier), default=0) + 1
    # A clock that is a little behind must not make the newer list look older.
    this_update = max(run.world.now, *(one.this_update for one in earlier), 0)
    next_update = min(this_update + spec.validity, NO_EXPIRY)
    tbs: bytes = await run.world.work(lists.signable, drawn, authority, number, this_update, next_update)
    return number, this_update, next_update, tbs


KIND = Kind(
    name="crl",
    classes={"validity": FieldClass.METADATA, "refresh": FieldClass.METADATA, "shards": FieldClass.METADATA},
    blocks=blocks,
    rows=rows,
    check=check,
    needs=needs,
    diff=diff,
    foresee=foresee,
    apply=apply,
    lists=lambda name, _: [name],
)
