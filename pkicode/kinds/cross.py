"""Cross-certificates (RFC 5280 section 3.2): the key of a root, signed by another root as well.

The same name, key and key identifier under a serial of its own; it ends with the first of the two roots, and says no
more than either of them.  When a chain holds one is decided in generation.py; they are made in cross_apply.py.
"""

import json
from collections.abc import Iterator

from pkicode.config.language import CaSpec
from pkicode.config.reader import Config
from pkicode.kinds import authority as authorities
from pkicode.kinds import offline
from pkicode.kinds.authority import Authority, Generations
from pkicode.model.address import Address
from pkicode.model.change import Action, Change, Reason, ReasonCode
from pkicode.model.problem import Problem
from pkicode.model.row import Block, Held, Row
from pkicode.plan.kind import Outlook
from pkicode.x509.constraints import wider


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
    spec = spec_of(name, config)
    declared = spec_of(by.name, config)
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


def spec_of(name: str, config: Config) -> CaSpec:
    """[ca.NAME]; of one that is gone, what a table with nothing in it says."""
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
    by = [one for one in lacking if not is_offline(one, outlook.config)]
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


def is_offline(by: str, config: Config) -> bool:
    """Whether the key of `root@1` is on another machine."""
    return offline.is_offline(by.partition("@")[0], config)
