"""OCSP answers of a CA (RFC 6960), signed ahead: when some are missing or near their end, and what that plan says.

One row for each [ca.X] with `ocsp`, whatever the number of its key generations on duty.  Each of these has a delegate,
a certificate of its own for signing answers, and a pack of answers; both are made in ocsp_apply.py.  Where the CA is
offline its delegates have rows too, which are delegate_away.py's.
"""

import json
import re
from collections.abc import Iterator, Sequence

from pkicode.config.language import OcspSpec
from pkicode.config.reader import Config
from pkicode.kinds import authority as authorities
from pkicode.kinds import delegate_away, offline
from pkicode.kinds.ca import by_depth
from pkicode.kinds.ocsp_due import LIFE, next_due, tallied
from pkicode.kinds.rows import columns, derived, forgotten, since
from pkicode.model.address import Address
from pkicode.model.change import Action, Change, Readiness, Reason, ReasonCode
from pkicode.model.instants import NO_EXPIRY, duration
from pkicode.model.problem import Problem
from pkicode.model.row import Block, Held, Row
from pkicode.plan.kind import Difference, FieldClass, Kind, Outlook, Run


def blocks(config: Config) -> list[Block]:
    return [derived("ocsp", ca, "ocsp") for ca in by_depth(config) if ca.spec.ocsp]


def check(block: Block, outlook: Outlook) -> Iterator[Problem]:
    spec: OcspSpec = block.spec
    place = block.source.place
    if spec.refresh >= spec.validity:
        yield Problem(
            "E0421",
            f"[ca.{block.name}]: OCSP answers would expire before they are refreshed",
            place=place("ocsp", "refresh"),
            help=f"set ocsp.refresh below ocsp.validity ({duration(spec.validity)})",
        )
    if spec.validity > LIFE // 2:
        yield Problem(
            "E0421",
            f"[ca.{block.name}]: OCSP answers would outlive the certificate of who signs them",
            place=place("ocsp", "validity"),
            help=f"set ocsp.validity <= {duration(LIFE // 2)}",
        )


_COUNT = re.compile("@[0-9]+ ([0-9]{1,18}) ([0-9]{1,18})( by [0-9]+)?")
"""What a row says of a generation (ocsp_due.counted)."""
_COUNTED = (Action.ISSUE, Action.RENEW, Action.REVOKE, Action.DISTRUST)


def rows(block: Block, outlook: Outlook) -> Iterator[Row]:
    """The row of the answers; of each generation on duty its value has how much was signed and revoked by it."""
    duty = authorities.on_duty(block.name, outlook)
    if not duty:
        return
    snapshot = outlook.snapshot
    delegates = _delegates(block.name, outlook)
    counts = []
    for one in duty:
        revoked = snapshot.revoked.get(one.authority.issuer_key, 0) if one.authority else 0
        signed = snapshot.signed.get((one.name, one.generation), 0)
        counts.append(tallied(one.generation, signed, revoked, delegates))
    if block.name in outlook.once("ocsp-coming", lambda: _coming(outlook)):
        counts.append("+")
    yield Row("", json.dumps(counts))
    yield from delegate_away.rows(block, outlook)


def _delegates(name: str, outlook: Outlook) -> dict[str, int]:
    return delegate_away.numbers(one for one in outlook.snapshot.held if (one.kind, one.name) == ("ocsp", name))


def _coming(outlook: Outlook) -> frozenset[str]:
    """The CAs of which this plan issues or revokes certificates."""
    found: set[str] = set()
    for changes in outlook.changes.values():
        for one in changes:
            if one.action in _COUNTED and one.readiness is Readiness.READY:
                stands_on = one.held.needs if one.held and one.action is Action.REVOKE else ""
                found.update((stands_on, *one.depends_on, str(one.address)))
    return frozenset(one.removeprefix("ca.") for one in found if one.startswith("ca."))


def needs(block: Block, row: Row, outlook: Outlook) -> str:
    if row.key:
        return delegate_away.needs(block, row.key, outlook)
    return " ".join(one.at for one in authorities.on_duty(block.name, outlook))


def diff(
    block: Block | None, row: Row | None, held: Held | None, outlook: Outlook, difference: Difference
) -> Change | None:
    if block is None or row is None:
        return forgotten(held) if held else None
    if row.key:
        return delegate_away.diff(block, row, held, outlook, difference)
    reason = _reason(block, row, held, outlook, difference)
    if reason is None:
        return None
    spec: OcspSpec = block.spec
    owed = _owed(row, held if reason.code is ReasonCode.OCSP_MISSING else None)
    lacks = offline.is_offline(block.name, outlook.config) and not _delegates(block.name, outlook)
    return Change(
        Address("ocsp", block.name),
        Action.SIGN,
        max(one.generation for one in authorities.on_duty(block.name, outlook)),
        (reason,),
        block,
        row,
        held,
        after={
            # Those that this plan issues are answered for too, and are not counted: a 0 would read as no answers.
            **({"certificates": owed} if owed else {}),
            "refresh": duration(spec.refresh),
            "validity": duration(spec.validity),
        },
        depends_on=(f"ca.{block.name}",),
        readiness=Readiness.WAITING if lacks else Readiness.READY,
        waits="first a ceremony signs for who answers: `pkicode ceremony export`" if lacks else "",
    )


def _reason(block: Block, row: Row, held: Held | None, outlook: Outlook, difference: Difference) -> Reason | None:
    if held is None or held.is_forgotten:
        return Reason(ReasonCode.NEW)
    if held.needs != needs(block, row, outlook):
        return Reason(ReasonCode.OCSP_MISSING, "other key generations are on duty")
    if held.values != row.values:
        return Reason(ReasonCode.OCSP_MISSING, "certificates were issued or revoked")
    if held.due <= outlook.now:
        return Reason(ReasonCode.OCSP_DUE, since(held))
    if difference:
        return Reason(ReasonCode.SPEC_CHANGED, "`ocsp` changed")
    return None


def _owed(row: Row, held: Held | None) -> int:
    """How many certificates are answered for at most, beside those this plan issues: what a pool is made for."""
    return max(0, _counted(row.values) - (_counted(held.values) if held else 0))


def _counted(values: str) -> int:
    counts = [_COUNT.fullmatch(str(one)) for one in columns(values)]
    return sum(int(one[1]) + int(one[2]) for one in counts if one)


def foresee(change: Change, outlook: Outlook) -> int:
    block, held = change.block, change.held
    if change.address.key:
        return delegate_away.foresee(change, outlook)
    if block is None or change.action is not Action.SIGN:
        return NO_EXPIRY
    again = held is None or outlook.snapshot.templates[held.template] != block.template or held.due <= outlook.now
    kept, duty = None if again else held, authorities.on_duty(block.name, outlook)
    return next_due(kept, block.spec, duty, outlook.now, is_away=offline.is_offline(block.name, outlook.config))


async def apply(changes: Sequence[Change], run: Run) -> Sequence[Problem | None]:
    # As in ca.py: a plan signs nothing.
    from pkicode.kinds import ocsp_apply

    return await ocsp_apply.apply(changes, run)


KIND = Kind(
    name="ocsp",
    classes={
        "url": FieldClass.METADATA,
        "validity": FieldClass.METADATA,
        "refresh": FieldClass.METADATA,
        "store": FieldClass.NEXT,
        "delegate": FieldClass.NEXT,
    },
    blocks=blocks,
    rows=rows,
    needs=needs,
    check=check,
    diff=diff,
    foresee=foresee,
    apply=apply,
    lists=lambda name, _: [name],
)
