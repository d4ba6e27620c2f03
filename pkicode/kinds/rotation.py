"""When a CA gets its next generation, who has to say so, and what it waits for.

Making it is ca.py's.
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from pkicode.config.language import CaSpec
from pkicode.kinds import authority as authorities
from pkicode.kinds.authority import Authority, subject_of
from pkicode.kinds.doomed import barred
from pkicode.kinds.generation import rotates_at
from pkicode.kinds.offline import is_offline
from pkicode.model.change import Reason, ReasonCode
from pkicode.model.instants import rfc3339
from pkicode.model.problem import Problem
from pkicode.model.row import Block
from pkicode.plan.kind import Outlook
from pkicode.x509.names import subject_der


def behind(block: Block, outlook: Outlook) -> Authority | None:
    """The generation above the newest one, where another has taken over since."""
    known = authorities.generations(outlook)
    newest = known.get(block.name)
    above = known.issuer_of(newest) if newest else None
    issuing = authorities.issuing(block.spec.issuer, outlook) if block.spec.issuer else None
    return above if above and issuing and above.generation < issuing.generation else None


def due(block: Block, rotated: Sequence[str], outlook: Outlook) -> Reason | None:
    """Why the next generation is made now; never while the newest does not issue yet."""
    spec: CaSpec = block.spec
    if rotated:
        return Reason(ReasonCode.CA_ROTATE, " ".join(f"`{one}`" for one in rotated) + " changed")
    known = authorities.generations(outlook)
    newest = known.get(block.name)
    if newest is None or spec.rotate is None or spec.retired:
        return None
    # Also where an older one issues again: it has not long to live.
    if not known.is_sound(newest) or ending(block, outlook):
        return Reason(ReasonCode.CA_ROTATE, f"{newest.at} is revoked")
    if known.issuing(block.name) != newest:
        return None
    if (instant := rotates_at(spec, newest.not_before)) <= outlook.now:
        return Reason(ReasonCode.CA_ROTATE, f"due {rfc3339(instant)}")
    if above := behind(block, outlook):
        return Reason(ReasonCode.CA_ROTATE, f"{above.at} issues nothing any more")
    return None


def ending(block: Block, outlook: Outlook) -> bool:
    """Whether this plan takes the newest generation away, and the next one is made in it.

    What the revoked one signed can be replaced, and its lists go on, only where that one is there.
    """
    spec: CaSpec = block.spec
    newest = authorities.generations(outlook).get(block.name) if spec.rotate else None
    if newest is None or newest.issuer_key not in barred(outlook):
        return False
    return authorities.may_end(newest, outlook)


def allowed(block: Block, outlook: Outlook) -> bool:
    """Whether somebody said so: the change of a root is nobody's routine (invariant 12)."""
    globs = outlook.allow.get("ca-rotate" if block.spec.issuer else "root-change", "").split(",")
    said = any(fnmatchcase(name, glob) for glob in globs for name in (block.name, f"ca.{block.name}"))
    return said or _is_reserved(block, outlook)


def _is_reserved(block: Block, outlook: Outlook) -> bool:
    """Whether the next generation was reserved for a ceremony: somebody said so then, and people will look at it."""
    newest = authorities.generations(outlook).get(block.name)
    if newest is None or not is_offline(block.spec.issuer or block.name, outlook.config):
        return False
    number = authorities.following(block.name, newest.generation, outlook)
    return (f"ca.{block.name}", number) in outlook.snapshot.reserved


def waits(block: Block, reason: Reason, issuer: authorities.Standing | None, outlook: Outlook) -> str:
    """What the next generation is held back by: time alone changes no root, and nothing outlives its issuer."""
    spec: CaSpec = block.spec
    if issuer is None:
        may = reason.code is ReasonCode.NEW or allowed(block, outlook)
        return "" if may else f"a root changes only with --allow root-change={block.name}"
    if ca := authorities.stopped(issuer.name, outlook):
        return f"{ca} is revoked: rotate it, or name another issuer"
    if authorities.generations(outlook).spec(issuer.name).retired:
        return f"ca.{issuer.name} is retired and issues nothing"
    if outlook.now - spec.backdate + spec.validity - 1 > issuer.not_after:
        return f"it would outlive {issuer.at}, which ends {rfc3339(issuer.not_after)}"
    if issuer.authority and issuer.authority.path_len is not None and issuer.authority.path_len <= (spec.path_len or 0):
        return f"path_len of {issuer.at} is {issuer.authority.path_len}"
    return ""


def apart(block: Block, generation: int, outlook: Outlook) -> bool:
    """Whether the subject of a generation is its own; tells if not.  What cannot be encoded is told by check."""
    spec: CaSpec = block.spec
    try:
        subject_of(spec, generation)
    except ValueError:
        return False
    if generation == 1 or any("${generation}" in text for _, text in spec.subject):
        return True
    outlook.problems.append(
        Problem(
            "E0340",
            f"ca.{block.name}@{generation} would have the subject of the generation before it",
            place=block.source.place("subject"),
            help='put ${generation} into it, as in { cn = "Corp Issuing A${generation}" }',
            address=f"ca.{block.name}",
        )
    )
    return False


def renamed(block: Block, outlook: Outlook) -> bool:
    """Whether the newest generation would have another subject now; `R${generation}` for `R1` renames nobody."""
    newest = authorities.generations(outlook).get(block.name)
    try:
        return newest is None or newest.facts.dn != subject_der(subject_of(block.spec, newest.generation))
    except ValueError:  # told by check
        return True
