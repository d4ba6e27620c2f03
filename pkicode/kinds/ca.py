"""CAs (RFC 5280 section 4.2.1.9): what [ca.X] says, when a generation is made, and what state remembers of it.

A generation is a key; the next one stands beside it under another name, and is never made in its place.  What each does
when is generation.py's; more certificates of one key are cross.py's.  How it is made is ca_apply.py's.
"""

import json
from collections.abc import Iterator, Sequence

from attrs import evolve

from pkicode.config.language import CaSpec
from pkicode.config.reader import Config
from pkicode.kinds import authority as authorities
from pkicode.kinds import ca_ahead, cross, deny, offline, preview, rotation
from pkicode.kinds.authority import subject_of
from pkicode.kinds.ca_profile import profile_of
from pkicode.kinds.rows import forgotten
from pkicode.model.address import Address
from pkicode.model.change import Action, Change, Readiness, Reason, ReasonCode
from pkicode.model.counted import counted
from pkicode.model.instants import DAY, duration, rfc3339
from pkicode.model.problem import Part, Problem, Related
from pkicode.model.row import Block, Held, Row
from pkicode.plan.kind import Difference, FieldClass, Kind, Outlook, Run
from pkicode.x509.constraints import wider
from pkicode.x509.names import subject_text

CLASSES = {
    "subject": FieldClass.ROTATE,
    "key.alg": FieldClass.ROTATE,
    "key.store": FieldClass.FORBIDDEN,
    "key": FieldClass.ROTATE,
    "path_len": FieldClass.ROTATE,
    "name_constraints": FieldClass.ROTATE,
    "policies": FieldClass.ROTATE,
    "issuer": FieldClass.FORBIDDEN,
    "validity": FieldClass.NEXT,
    "backdate": FieldClass.NEXT,
    "base_urls": FieldClass.NEXT,
    "own_base_urls": FieldClass.METADATA,
    "crl": FieldClass.METADATA,
    "rotate": FieldClass.METADATA,
    "cross_sign": FieldClass.METADATA,
    "overlap": FieldClass.METADATA,
    "offline": FieldClass.METADATA,
    "retired": FieldClass.METADATA,
    "ocsp": FieldClass.METADATA,
    "ocsp_urls": FieldClass.NEXT,
    "publish": FieldClass.METADATA,
    "protect": FieldClass.METADATA,
    "note": FieldClass.METADATA,
}


def by_depth(config: Config) -> list[Block]:
    """The [ca.X] blocks, issuers before what they sign; config.reader has refused cycles.

    Roots that cross-sign come before those they sign, unless both sign each other.
    """
    depths: dict[str, int] = {}
    blocks = {block.name: block for block in config.blocks if block.kind == "ca"}

    def depth(name: str) -> int:
        if name not in depths:
            issuer = blocks[name].spec.issuer
            depths[name] = depth(issuer) + 1 if issuer in blocks else 0
        return depths[name]

    def crossed(name: str, seen: tuple[str, ...] = ()) -> int:
        by = [one for one in blocks[name].spec.cross_sign if one in blocks and one not in seen]
        return max((crossed(one, (*seen, name)) + 1 for one in by), default=0)

    return sorted(blocks.values(), key=lambda block: (depth(block.name), crossed(block.name), block.name))


def rows(block: Block, outlook: Outlook) -> Iterator[Row]:
    """One row; its values are the roots whose keys sign the newest generation as well."""
    known = authorities.generations(outlook)
    newest = known.get(block.name)
    by = {one.by for one in newest.crosses} if newest else set()
    by |= {f"{one.name}@{one.generation}" for one in cross.wanted(block.name, known, newest)} if newest else set()
    yield Row("", json.dumps(sorted(by)))


def check(block: Block, outlook: Outlook) -> Iterator[Problem]:
    spec: CaSpec = block.spec
    place = block.source.place
    try:
        subject_of(spec, 1)
    except ValueError as error:
        yield Problem(
            "E0405",
            f"the subject of [ca.{block.name}]: {error}",
            place=place("subject"),
            help="`pkicode explain E0405` has the attributes, and what each may hold",
            address=f"ca.{block.name}",
        )
    for reason in profile_of(block, f"{spec.issuer}-g1").check(spec.key.alg):
        yield Problem(
            "E0404",
            f"[ca.{block.name}]: {reason}",
            place=place("path_len"),
            help="`pkicode explain E0404` says what goes with what",
            address=f"ca.{block.name}",
        )
    yield from _constraints(block, spec, outlook)
    yield from cross.check(block, spec, outlook)
    issuer = outlook.config.block("ca", spec.issuer) if spec.issuer else None
    if issuer:
        yield from _outlives(block, spec, issuer, outlook)
    if spec.crl.refresh >= spec.crl.validity:
        yield Problem(
            "E0416",
            f"[ca.{block.name}]: the CRL would expire before it is refreshed",
            place=place("crl", "refresh"),
            help=f"set crl.refresh below crl.validity ({duration(spec.crl.validity)})",
        )


def _constraints(block: Block, spec: CaSpec, outlook: Outlook) -> Iterator[Problem]:
    """Bases that are none, and bases that a CA above does not let through."""
    constraints = authorities.constraints(spec.name_constraints)
    if constraints is None:
        return
    wrong: list[tuple[str, tuple[str, ...]]] = [(reason, (reason.partition(":")[0],)) for reason in constraints.check()]
    above = authorities.constraints_above(spec.issuer, outlook.config)
    wrong = wrong or [(reason, ()) for one in above for reason in wider(constraints, one)]
    for reason, field in wrong:
        place = block.source.place("name_constraints", *field)
        yield Problem(
            "E0406",
            f"[ca.{block.name}]: {reason}",
            place=place,
            help="`pkicode explain E0406` has the form of each type",
            address=f"ca.{block.name}",
        )


def _outlives(block: Block, spec: CaSpec, issuer: Block, outlook: Outlook) -> Iterator[Problem]:
    standing = authorities.standing(block.name, outlook)
    above = authorities.issuing(issuer.name, outlook)
    if standing is None or above is None:
        return
    if standing.authority is None and standing.not_after > above.not_after:
        yield Problem(
            "E0415",
            f"ca.{block.name} would outlive its issuer",
            place=block.source.place("validity"),
            label=f"{duration(spec.validity)} from apply is after ca.{issuer.name} ends ({rfc3339(above.not_after)})",
            related=(Related(f"ca.{issuer.name}, declared here", issuer.source.place("validity")),),
            help=f"set validity <= {duration(_room(above.not_after, outlook.now, spec.backdate))}, "
            f"or ca.{issuer.name}.validity >= {duration(spec.validity)}",
            address=f"ca.{block.name}",
        )


def _room(not_after: int, now: int, backdate: int) -> int:
    """The longest whole days of validity an issuer still has room for."""
    return max(0, (not_after + 1 - now + backdate) // DAY * DAY)


def needs(block: Block, row: Row, outlook: Outlook) -> str:
    """Its issuer; with a generation where that one issues nothing any more, which has to be looked at."""
    if rotation.ending(block, outlook):
        return "what this plan takes away"  # no row stands on that: diff looks closer
    issuer: str | None = block.spec.issuer
    if issuer is None:
        return ""
    behind = rotation.behind(block, outlook)
    return behind.at if behind else f"ca.{issuer}"


def diff(
    block: Block | None, row: Row | None, held: Held | None, outlook: Outlook, difference: Difference
) -> Change | None:
    if block is None or row is None:
        return _removed(held, outlook) if held else None
    if held is None or held.status == "forgotten":
        return _new(block, row, held, outlook, Reason(ReasonCode.NEW))
    rotated = [one for one in difference.of(FieldClass.ROTATE) if one != "subject" or rotation.renamed(block, outlook)]
    forbidden = difference.of(FieldClass.FORBIDDEN)
    if forbidden or (rotated and not rotation.allowed(block, outlook)):
        outlook.problems.append(_refused(block, forbidden or rotated))
        return None
    reason = rotation.due(block, rotated, outlook)
    found = _new(block, row, held, outlook, reason) if reason else None
    if found and found.readiness is Readiness.READY:
        return found
    crossed = cross.planned(block, row, held, outlook)
    if crossed and crossed.readiness is Readiness.READY:
        return crossed
    return _metadata(block, row, held, difference) or crossed or found


def _metadata(block: Block, row: Row, held: Held, difference: Difference) -> Change | None:
    fields = ", ".join(f"`{one}`" for one in difference.of(FieldClass.METADATA, FieldClass.ROTATE))
    if not fields:
        return None
    return Change(
        Address("ca", block.name),
        Action.UPDATE,
        held.generation,
        (Reason(ReasonCode.SPEC_CHANGED, f"{fields} changed, no signature"),),
        block,
        row,
        held,
        after={"protect": block.spec.protect},
    )


def _new(block: Block, row: Row, held: Held | None, outlook: Outlook, reason: Reason) -> Change | None:
    spec: CaSpec = block.spec
    generation = authorities.following(block.name, held.generation if held else 0, outlook)
    if not rotation.apart(block, generation, outlook):
        return None
    subject = subject_of(spec, generation)
    issuer = authorities.issuing(spec.issuer, outlook) if spec.issuer else None
    profile = profile_of(block, f"{issuer.name}-g{issuer.generation}" if issuer else "")
    outlook.problems.extend(preview.problems(block, profile, subject, (), issuer, outlook))
    change = Change(
        Address("ca", block.name),
        Action.ISSUE,
        generation,
        (reason,),
        block,
        row,
        held,
        after={
            "issuer": f"ca.{spec.issuer}" if spec.issuer else None,
            "key_alg": spec.key.alg,
            "keystore": spec.key.store,
            "path_len": spec.path_len,
            "protect": spec.protect,
            "subject": subject_text(subject),
            "validity": duration(spec.validity),
        },
        irreversible=True,
        depends_on=(f"ca.{spec.issuer}", *authorities.taken_by(spec.issuer, outlook)) if spec.issuer else (),
    )
    policy = outlook.config.settings.policy.deny
    signing = deny.signing_alg(issuer, outlook.config) if issuer else spec.key.alg
    rule = deny.broken_by_key(spec.key.alg, policy) or deny.broken_by_signature(signing, policy)
    if rule:
        return evolve(change, readiness=Readiness.DENIED, waits=rule)
    waits = rotation.waits(block, reason, issuer, outlook)
    return evolve(change, readiness=Readiness.WAITING, waits=waits) if waits else offline.held_back(change, outlook)


def _refused(block: Block, fields: Sequence[str]) -> Problem:
    word = "ca-rotate" if block.spec.issuer else "root-change"
    may = all(CLASSES.get(one) is FieldClass.ROTATE for one in fields)
    names = ", ".join(f"`{one}`" for one in fields)
    return Problem(
        "E0410",
        f"ca.{block.name} exists, and {names} cannot be changed in place",
        place=block.source.place(fields[0], part=Part.VALUE),
        help=f"put {names} back as it was"
        + (f"; to make the next generation with it, run with --allow {word}={block.name}" if may else ""),
        address=f"ca.{block.name}",
    )


def _removed(held: Held, outlook: Outlook) -> Change | None:
    """A CA that has signed what is still valid, or is protected, cannot be deleted."""
    template = json.loads(outlook.snapshot.templates.get(held.template, '{"spec":{}}'))
    living = sum(count for (name, _), count in outlook.snapshot.living.items() if name == held.name)
    if template["spec"].get("protect"):
        message, mend = "it is protected", "put the block back; set protect = false in a change of its own first"
    elif living:
        message = f"what it signed is still valid: {counted(living, 'certificate')}"
        mend = "put the block back and wait until they have expired"
    else:
        return forgotten(held)
    outlook.problems.append(
        Problem(
            "E0409", f"ca.{held.name} was deleted from pki.toml, but {message}", help=mend, address=f"ca.{held.name}"
        )
    )
    return None


async def apply(changes: Sequence[Change], run: Run) -> Sequence[Problem | None]:
    # The issuance cycle and lint take as long to import as a plan takes to think, and a plan signs nothing.
    from pkicode.kinds import ca_apply

    return await ca_apply.apply(changes, run)


KIND = Kind(
    name="ca",
    classes=CLASSES,
    blocks=by_depth,
    rows=rows,
    check=check,
    needs=needs,
    diff=diff,
    apply=apply,
    foresee=ca_ahead.foresee,
    record=ca_ahead.record,
    signs=ca_ahead.signs,
    ahead=ca_ahead.ahead,
)
