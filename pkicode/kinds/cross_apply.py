"""Cross-certificates, applied: each root that is to sign a key does so once, and the row of the CA remembers it."""

import json
from collections.abc import Sequence

from attrs import evolve

from pkicode.config.language import CaSpec
from pkicode.issuing import Issued, Order, Remade, Template, issue, reserve
from pkicode.kinds import authority as authorities
from pkicode.kinds import cross
from pkicode.kinds.authority import Authority, crl_urls, issuer_urls
from pkicode.kinds.generation import Cross, rotates_at
from pkicode.kinds.rows import after, block_of, template_number
from pkicode.model.address import Address
from pkicode.model.change import Change
from pkicode.model.problem import Problem
from pkicode.model.row import Held
from pkicode.plan.kind import Run
from pkicode.x509.profile import Profile


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
        lacking = [one for one in cross.wanted(name, generations, own) if _by(one) not in there]
        at_hand = [one for one in lacking if not cross.is_offline(_by(one), run.config)]
        if not lacking or (not at_hand and await _is_reserved(own, run)):
            return None
        remade = await _remade(change, own, (at_hand or lacking)[0], run)
        problem, is_reserved = await made(remade, run)
        if problem or is_reserved:
            return problem


async def made(remade: Remade, run: Run) -> tuple[Problem | None, bool]:
    """A certificate of a CA, signed, or reserved for a ceremony where its issuer's key is; what is wrong, and which."""
    template, order, settle = remade
    if template.offline:
        (waiting,) = await reserve(template, [order], run.world)
        return waiting, True
    (answer,) = await issue(template, [order], run.world, settle=settle)
    authorities.forget(run)
    return answer if isinstance(answer, Problem) else None, False


async def _is_reserved(own: Authority, run: Run) -> bool:
    """Whether a cross-certificate of it waits for a ceremony; what nobody may sign any more was settled before."""
    address = str(Address("ca", own.name))
    return any((one.address, one.generation) == (address, own.generation) for one in await run.world.store.intents())


async def remake(change: Change, issuer: str, generation: int, run: Run) -> Remade | None:
    """An interrupted cross-certificate again, None where it is no longer asked for."""
    own = await authorities.load(change.address.name, run, change.generation)
    generations = await authorities.loaded(run)
    by = [one for one in cross.wanted(change.address.name, generations, own) if _by(one) == f"{issuer}@{generation}"]
    return await _remade(change, own, by[0], run) if own and by else None


def _by(one: Authority) -> str:
    return f"{one.name}@{one.generation}"


async def _remade(change: Change, own: Authority, by: Authority, run: Run) -> Remade:
    block = block_of(change)
    spec: CaSpec = block.spec
    await authorities.load(by.name, run, by.generation)
    urls = crl_urls(cross.spec_of(by.name, run.config).own_base_urls, by.stem)
    template = Template(
        profile_name="",
        profile=Profile(
            is_ca=True,
            path_len=cross.path_len(spec, by.path_len),
            usage=("keyCertSign", "cRLSign"),
            policies=spec.policies,
            constraints=authorities.constraints(spec.name_constraints),
            crl_urls=urls,
            ca_issuer_urls=issuer_urls(cross.spec_of(by.name, run.config).own_base_urls, by.stem),
        ),
        issuer=authorities.as_issuer(by, run),
        validity=spec.validity,
        backdate=spec.backdate,
        store=spec.key.store or "",
        crl_urls=urls,
        constraints=(by.constraints,) if by.constraints else (),
        offline=cross.is_offline(_by(by), run.config),
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
