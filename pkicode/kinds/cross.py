"""Cross-certificates (RFC 5280 section 3.2): the key of a root, signed by another root as well.

The same name, key and key identifier under a serial of its own; it ends with the first of the two roots, and says no
more than either of them.  When a chain holds one is decided in generation.py.
"""

import json
from collections.abc import Iterator, Sequence

from attrs import evolve

from pkicode.config.language import CaSpec
from pkicode.config.reader import Config
from pkicode.issuing import Issued, Order, Remade, Template, issue, reserve
from pkicode.kinds import authority as authorities
from pkicode.kinds import offline
from pkicode.kinds.authority import Authority, Generations, crl_urls, issuer_urls
from pkicode.kinds.generation import Cross, rotates_at
from pkicode.kinds.rows import after, block_of, template_number
from pkicode.model.address import Address
from pkicode.model.change import Action, Change, Reason, ReasonCode
from pkicode.model.problem import Problem
from pkicode.model.row import Block, Held, Row
from pkicode.plan.kind import Outlook, Run
from pkicode.x509.constraints import wider
from pkicode.x509.profile import Profile


def wanted(name: str, generations: Generations, one: Authority | None) -> tuple[Authority, ...]:
    """The roots that sign the newest generation of a root too: the one before while it is new, and those declared.

    Args:
        name: of the root.
        generations: what is there.
        one: its newest generation, None where that is about to be made.
    """
    spec = generations.spec(name)
    if spec.issuer or spec.retired or (one and not generations.is_sound(one)):
        return ()
    older = [by for by in generations.of(name) if one is None or by.generation < one.generation]
    is_new = one is None or generations.now < generations.since(one) + spec.overlap
    asked = [by for other in spec.cross_sign if (by := generations.issuing(other))]
    return tuple(
        by
        for by in (*(older[-1:] if is_new else ()), *asked)
        if by.not_after > generations.now
        and generations.is_sound(by)
        and not generations.spec(by.name).retired
        and not refusal(name, by, generations.config)
    )


def refusal(name: str, by: Authority, config: Config) -> str:
    """Why a root cannot sign the key of [ca.NAME], empty when it can."""
    spec = _spec(name, config)
    declared = _spec(by.name, config)
    # One that a forecast made has no certificate to say it.
    above = authorities.constraints(declared.name_constraints) if by.is_foreseen else by.constraints
    most = declared.path_len if by.is_foreseen else by.path_len
    limit, depth = path_len(spec, most), _depth(name, config)
    if limit is not None and limit < depth:
        return f"path_len of {by.at} is {most}, and {depth + 1} CAs would follow below it"
    own = authorities.constraints(spec.name_constraints)
    if above is None:
        return ""
    if own is None or not own.permits_some:
        return f"{by.at} has name constraints, and ca.{name} has none that are as narrow"
    return "; ".join(wider(own, above))


def path_len(spec: CaSpec, above: int | None) -> int | None:
    """What a cross-certificate says: no more than the root itself, and one less than who signs it."""
    limits = [one for one in (spec.path_len, None if above is None else above - 1) if one is not None]
    return min(limits, default=None)


def _spec(name: str, config: Config) -> CaSpec:
    block = config.block("ca", name)
    spec: CaSpec = block.spec if block else CaSpec()
    return spec


def _depth(name: str, config: Config) -> int:
    """How many CAs stand one below the other under this one."""
    below = [one.name for one in config.blocks if one.kind == "ca" and one.spec.issuer == name]
    return max((_depth(one, config) + 1 for one in below), default=0)


def check(block: Block, spec: CaSpec, outlook: Outlook) -> Iterator[Problem]:
    """Who was asked to cross-sign this root and cannot."""
    known = authorities.generations(outlook)
    for index, name in enumerate(spec.cross_sign):
        by = known.issuing(name)
        if by and (reason := refusal(block.name, by, outlook.config)):
            place = block.source.place("cross_sign", index)
            yield Problem("E0420", f"ca.{name} cannot cross-sign ca.{block.name}: {reason}", place=place)


def planned(block: Block, row: Row, held: Held, outlook: Outlook) -> Change | None:
    """The roots that sign the key of the newest generation too, and have not yet.

    Those at hand sign at once; of those that are offline one after the other reserves, and waits for a ceremony.
    """
    newest = authorities.generations(outlook).get(block.name)
    there = {one.by for one in newest.crosses} if newest else set()
    lacking = [by for by in json.loads(row.values) if by not in there]
    if newest is None or not lacking:
        return None
    by = [one for one in lacking if not _is_offline(one, outlook.config)]
    change = Change(
        Address("ca", block.name),
        Action.ISSUE,
        newest.generation,
        (Reason(ReasonCode.CA_ROTATE, f"ca.{' ca.'.join(by or lacking)} signs it too"),),
        block,
        row,
        held,
        after={"cross_signed_by": ", ".join(f"ca.{one}" for one in by or lacking), "protect": block.spec.protect},
        irreversible=True,
    )
    return change if by else offline.reserving(change, outlook)


def _is_offline(by: str, config: Config) -> bool:
    """Of `root@1`."""
    return offline.is_offline(by.partition("@")[0], config)


async def complete(change: Change, run: Run) -> Problem | None:
    """Make every cross-certificate that the newest generation lacks, one after the other, each durable.

    By roots that are offline only one is reserved at a time: each is written into the row that the one before left.
    """
    name = change.address.name
    while True:
        generations = await authorities.loaded(run)
        own = await authorities.load(name, run)
        if own is None:
            return authorities.missing(name, change.address)
        there = {one.by for one in own.crosses}
        lacking = [one for one in wanted(name, generations, own) if _by(one) not in there]
        at_hand = [one for one in lacking if not _is_offline(_by(one), run.config)]
        if not lacking or (not at_hand and await _is_reserved(own, run)):
            return None
        template, order, settle = await _remade(change, own, (at_hand or lacking)[0], run)
        if template.offline:
            (waiting,) = await reserve(template, [order], run.world)
            return waiting
        (answer,) = await issue(template, [order], run.world, settle=settle)
        authorities.forget(run)
        if isinstance(answer, Problem):
            return answer


async def _is_reserved(own: Authority, run: Run) -> bool:
    """Whether a cross-certificate of it waits for a ceremony; what nobody may sign any more was settled before."""
    address = str(Address("ca", own.name))
    return any((one.address, one.generation) == (address, own.generation) for one in await run.world.store.intents())


async def remake(change: Change, issuer: str, generation: int, run: Run) -> Remade | None:
    """An interrupted cross-certificate again, None where it is no longer asked for."""
    own = await authorities.load(change.address.name, run, change.generation)
    generations = await authorities.loaded(run)
    by = [one for one in wanted(change.address.name, generations, own) if _by(one) == f"{issuer}@{generation}"]
    return await _remade(change, own, by[0], run) if own and by else None


def _by(one: Authority) -> str:
    return f"{one.name}@{one.generation}"


async def _remade(change: Change, own: Authority, by: Authority, run: Run) -> Remade:
    block = block_of(change)
    spec: CaSpec = block.spec
    await authorities.load(by.name, run, by.generation)
    urls = crl_urls(_spec(by.name, run.config).own_base_urls, by.stem)
    template = Template(
        profile_name="",
        profile=Profile(
            is_ca=True,
            path_len=path_len(spec, by.path_len),
            usage=("keyCertSign", "cRLSign"),
            policies=spec.policies,
            constraints=authorities.constraints(spec.name_constraints),
            crl_urls=urls,
            ca_issuer_urls=issuer_urls(_spec(by.name, run.config).own_base_urls, by.stem),
        ),
        issuer=authorities.as_issuer(by, run),
        validity=spec.validity,
        backdate=spec.backdate,
        store=spec.key.store or "",
        crl_urls=urls,
        constraints=(by.constraints,) if by.constraints else (),
        offline=_is_offline(_by(by), run.config),
        until=min(own.not_after, by.not_after),
    )
    order = Order(
        address=str(change.address),
        generation=own.generation,
        subject=authorities.subject_of(spec, own.generation),
        sans=(),
        key_alg=spec.key.alg,
        key_label=own.at,
        reason=str(change.reasons[0].code),
        context=change,
    )
    number = await template_number(block, run)
    version = await _version(own, run)

    def settle(issued: Sequence[Issued]) -> Sequence[tuple[Held, str]]:
        return [_settled(one, own, by, number, version) for one in issued]

    return template, order, settle


async def _version(own: Authority, run: Run) -> int:
    """Of the row that a cross-certificate is added to: this apply may have written it itself."""
    return next(one.version for one in await run.world.store.held("ca", own.name) if one.generation == own.generation)


def _settled(issued: Issued, own: Authority, by: Authority, number: int, version: int) -> tuple[Held, str]:
    change: Change = issued.order.context
    crosses = (*own.crosses, Cross(issued.der, by.name, by.generation))
    due = rotates_at(block_of(change).spec, own.not_before)
    row = evolve(
        after(change, number, due=due, needs=""),
        generation=own.generation,
        values=json.dumps(sorted(one.by for one in crosses)),
        version=version,
    )
    return row, evolve(own, crosses=crosses).record()
