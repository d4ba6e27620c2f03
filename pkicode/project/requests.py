"""The CSRs of a plan, looked into while somebody reviews it: what apply will refuse of them is a warning.

By the code that issues, with a serial number that nobody gets.  It decides nothing: one bad CSR stops no other, and
apply looks into all of them again.
"""

import asyncio
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from pkicode.config.csr import CsrFiles
from pkicode.config.language import CertSpec
from pkicode.config.reader import Config
from pkicode.config.rows import place_of
from pkicode.kinds import authority as authorities
from pkicode.kinds.doomed import current
from pkicode.kinds.leaf import filled
from pkicode.kinds.rows import block_of
from pkicode.model.change import Action, Change, Plan, Readiness
from pkicode.model.counted import counted
from pkicode.model.problem import Problem
from pkicode.plan.kind import Outlook, Snapshot
from pkicode.ports import Store

if TYPE_CHECKING:
    from pkicode.issuing import Order
    from pkicode.issuing.batch import Ready

LOOKED_INTO = 500
"""Of 100,000 the others take seconds, and are apply's."""
_SHOWN = 5


async def warnings(plan: Plan, snapshot: Snapshot, config: Config, store: Store | None) -> tuple[Problem, ...]:
    """What apply will refuse, as far as it can be seen now.

    Args:
        plan: with the blocks it was made from.
        store: None while there is no state, in which no key is anybody's.
    """
    asked = [one for one in plan.changes if _is_asked_for(one)]
    if not asked:
        return ()
    # As in kinds/cert.py: most plans issue nothing, and this is what issues.
    from pkicode.issuing import steps

    outlook = Outlook(config, snapshot, plan.at, dict(plan.allow))
    for change in plan.changes:
        if change.address.kind == "ca":
            outlook.changes.setdefault(change.address.block, []).append(change)
    found = await asyncio.to_thread(lambda: [*_prepared(asked[:LOOKED_INTO], outlook)])
    orders, answers = [order for _, order, _ in found], [answer for _, _, answer in found]

    async def owners(spkis: Sequence[str]) -> Sequence[Sequence[str]]:
        known = await store.owners(spkis, plan.at) if store else [()] * len(spkis)
        # What moves has moved before anything is issued.
        return [[str(current(one, config)) if one.startswith("cert.") else one for one in every] for every in known]

    answers = steps.apart(orders, await steps.unshared(orders, answers, owners))
    refused = [(one, answer) for (one, *_), answer in zip(found, answers, strict=True) if isinstance(answer, Problem)]
    told = config.located(tuple(_told(one, answer, outlook) for one, answer in refused[:_SHOWN]))
    return (*told, *_left(len(refused) - _SHOWN, len(asked)))


def _is_asked_for(change: Change) -> bool:
    block = change.block
    is_ready = change.readiness is Readiness.READY and change.action in (Action.ISSUE, Action.RENEW)
    return is_ready and change.address.kind == "cert" and block is not None and block.spec.csr is not None


def _prepared(changes: Sequence[Change], outlook: Outlook) -> Iterator[tuple[Change, "Order", "Ready | Problem"]]:
    """What would be signed for each, or why it would not."""
    from pkicode.issuing import Issuer, Order, steps
    from pkicode.issuing.batch import prepare
    from pkicode.kinds.cert_apply import order_of, template_of
    from pkicode.kinds.preview import SERIAL, issuer_facts

    files = CsrFiles(outlook.config.root)
    for _, group in groupby(changes, key=lambda one: one.address.block):
        rows = [*group]
        spec: CertSpec = block_of(rows[0]).spec
        issuer = authorities.issuing(spec.issuer, outlook)
        facts = issuer_facts(issuer, outlook) if issuer else None
        if issuer is None or facts is None:
            continue
        above = authorities.constraints_above(spec.issuer, outlook.config, authorities.generations(outlook))
        signer = Issuer(issuer.name, issuer.generation, ("", ""), facts)
        template = template_of(spec, issuer.stem, signer, above)
        not_before = max(outlook.now - spec.backdate, issuer.not_before)
        pairs = [(one, order_of(one, _spec(one, outlook), {}, files)) for one in rows]
        # Another file than the plan saw makes another plan, and is no fault of this one.
        orders = [(one, order) for one, order in pairs if isinstance(order, Order)]
        not_after = template.not_after(not_before)
        batch = [steps.asked(order, {}, SERIAL, not_before, not_after) for _, order in orders]
        for (change, order), answer in zip(orders, prepare(template, batch, None), strict=True):
            yield change, order, answer


def _spec(change: Change, outlook: Outlook) -> CertSpec:
    block = block_of(change)
    return filled(block, change.row, outlook.memo) if change.row else block.spec


def _told(change: Change, why: Problem, outlook: Outlook) -> Problem:
    asked, block = _spec(change, outlook).csr, block_of(change)
    file = f"{asked.dir}/{asked.file}" if asked else ""
    place = place_of(block, change.row) if change.row and change.row.line else block.source.place("csr")
    message = f"apply will refuse {file}: [{why.code}] {why.message}"
    return Problem("W0422", message, help=why.help, place=place, address=why.address)


def _left(more: int, asked: int) -> Iterator[Problem]:
    """What is told in a line, and not one by one."""
    if more > 0:
        yield Problem("W0422", f"apply will refuse {counted(more, 'more CSR')}", help="mend these, and plan again")
    if asked > LOOKED_INTO:
        message = f"{LOOKED_INTO} of {asked:,} CSRs were looked into"
        yield Problem("W0423", message, help="apply looks into each; to see more of them now, plan parts with --only")
