"""What becomes of CAs as time goes by: the generations a forecast makes, when the next is due, who signs them; pure."""

from collections.abc import Iterator

from attrs import evolve

from pkicode.kinds import authority as authorities
from pkicode.kinds import cross
from pkicode.kinds.generation import Cross, foreseen, rotates_at
from pkicode.kinds.rows import block_of
from pkicode.model.change import Action, Change
from pkicode.model.instants import NO_EXPIRY
from pkicode.model.row import Block
from pkicode.plan.kind import Ahead, Outlook
from pkicode.ports import Ends


def is_there(change: Change) -> bool:
    """Whether the generation that a change is about has its certificate, and only gets further ones."""
    return change.held is not None and change.held.generation == change.generation


def foresee(change: Change, outlook: Outlook) -> int:
    if is_there(change) or change.action is not Action.ISSUE:
        return change.held.due if change.held else NO_EXPIRY
    made = authorities.planned(change.address.name, change.generation, outlook)
    return rotates_at(block_of(change).spec, made.not_before) if made else NO_EXPIRY


def record(change: Change, outlook: Outlook) -> str:
    """What the state would know of a generation that is only foreseen, or of one with one more cross-certificate."""
    name, known = change.address.name, authorities.generations(outlook)
    one = known.get(name, change.generation) if is_there(change) else None
    if one is None:
        issuer = authorities.issuing(block_of(change).spec.issuer or "", outlook)
        made = authorities.planned(name, change.generation, outlook)
        dates = (made.not_before, made.not_after) if made else (outlook.now, outlook.now)
        one = foreseen(name, change.generation, dates, *((issuer.name, issuer.generation) if issuer else ("", 0)))
        known = evolve(known, known={**known.known, name: (*known.of(name), one)})
    had = {each.by for each in one.crosses}
    made_now = [Cross(b"", by.name, by.generation) for by in cross.wanted(name, known, one)]
    return evolve(one, crosses=(*one.crosses, *(each for each in made_now if each.by not in had))).record()


def signs(change: Change, outlook: Outlook) -> Iterator[tuple[tuple[str, int], Ends]]:
    if change.action is not Action.ISSUE:
        return
    issuer = authorities.issuing(block_of(change).spec.issuer or "", outlook)
    made = authorities.planned(change.address.name, change.generation, outlook)
    if issuer and made and not is_there(change):
        yield (issuer.name, issuer.generation), Ends(0, made.not_after)
    known = authorities.generations(outlook)
    one = known.get(change.address.name, change.generation)
    ends = one.not_after if one else made.not_after if made else 0
    for by in cross.wanted(change.address.name, known, one):
        yield (by.name, by.generation), Ends(0, min(by.not_after, ends))


def ahead(block: Block, outlook: Outlook) -> Iterator[Ahead]:
    for one in authorities.on_duty(block.name, outlook):
        yield Ahead(one.not_after + 1, "expire", "what it signed is not accepted any more", one.generation)
