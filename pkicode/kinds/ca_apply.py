"""CAs, applied: the key and certificate of a generation, then those that other roots give its key."""

from collections.abc import Sequence

from attrs import evolve

from pkicode.config.language import CaSpec
from pkicode.issuing import Issued, Issuer, Order, Remade, Template
from pkicode.kinds import authority as authorities
from pkicode.kinds import ca_ahead, cross_apply
from pkicode.kinds.authority import Authority, crl_urls, subject_of
from pkicode.kinds.ca_profile import profile_of
from pkicode.kinds.generation import rotates_at
from pkicode.kinds.offline import is_offline
from pkicode.kinds.rows import after, block_of, rewrite, template_number
from pkicode.model.change import Action, Change
from pkicode.model.problem import Problem
from pkicode.model.row import Held
from pkicode.plan.kind import Run


async def apply(changes: Sequence[Change], run: Run) -> Sequence[Problem | None]:
    answers: list[Problem | None] = []
    for change in changes:
        if change.action is Action.UPDATE:
            await rewrite([change], run, _due)
            answers.append(None)
        else:
            answers.append(await _issue(change, run))
    return answers


def _due(change: Change, record: str) -> int:
    spec: CaSpec = block_of(change).spec
    return rotates_at(spec, authorities.from_record(change.address.name, change.generation, record).not_before)


async def _issue(change: Change, run: Run) -> Problem | None:
    """The generation itself, unless it is there, then the certificates that other roots give its key."""
    if not ca_ahead.is_there(change):
        remade = await remake(change, run)
        if isinstance(remade, Problem):
            return remade
        problem, is_reserved = await cross_apply.made(remade, run)
        if problem or is_reserved:
            return problem
    return await cross_apply.complete(change, run)


async def remake(change: Change, run: Run) -> Remade | Problem:
    """Template, order and settlement of a new CA generation, from config alone."""
    block = block_of(change)
    spec: CaSpec = block.spec
    label = change.address.at(change.generation)
    store = spec.key.store or ""
    issuer = await authorities.load_issuing(spec.issuer, run) if spec.issuer else None
    if spec.issuer and issuer is None:
        return authorities.missing(spec.issuer, change.address)
    own = Issuer(block.name, change.generation, (store, label))
    template = Template(
        profile_name="",
        profile=profile_of(block, issuer.stem if issuer else ""),
        issuer=authorities.as_issuer(issuer, run) if issuer else own,
        validity=spec.validity,
        backdate=spec.backdate,
        store=store,
        crl_urls=crl_urls(spec.base_urls, issuer.stem) if issuer else (),
        offline=is_offline(spec.issuer or block.name, run.config),
        constraints=authorities.constraints_above(spec.issuer, run.config, await authorities.loaded(run)),
    )
    order = Order(
        address=str(change.address),
        generation=change.generation,
        subject=subject_of(spec, change.generation),
        sans=(),
        key_alg=spec.key.alg,
        key_label=label,
        reason=str(change.reasons[0].code),
        context=change,
    )
    number = await template_number(block, run)

    def settle(issued: Sequence[Issued]) -> Sequence[tuple[Held, str]]:
        return [(_held(one, issuer, number), _record(one, issuer)) for one in issued]

    return template, order, settle


def _record(issued: Issued, issuer: Authority | None) -> str:
    change: Change = issued.order.context
    above = issuer.name if issuer else ""
    return authorities.of_certificate(change.address.name, change.generation, issued.der, above).record()


def _held(issued: Issued, issuer: Authority | None, template: int) -> Held:
    change: Change = issued.order.context
    due = rotates_at(block_of(change).spec, issued.not_before)
    return evolve(after(change, template, due=due, needs=f"ca.{issuer.name}" if issuer else ""), values="[]")
