"""CAs (RFC 5280 section 4.2.1.9): what [ca.X] says, when a generation is made, and what state remembers of it.

A generation is a key; the next one stands beside it under another name, and is never made in its place.  What each does
when is generation.py's; more certificates of one key are cross.py's.
"""

import json
from collections.abc import Iterator, Sequence

from attrs import evolve

from pkicode.config.language import CaSpec
from pkicode.config.reader import Config
from pkicode.issuing import Issued, Issuer, Order, Remade, Template, issue, reserve
from pkicode.kinds import authority as authorities
from pkicode.kinds import ca_ahead, cross, deny, offline, preview, rotation
from pkicode.kinds.authority import Authority, crl_urls, issuer_urls, subject_of
from pkicode.kinds.generation import rotates_at
from pkicode.kinds.rows import after, block_of, forgotten, rewrite, template_number
from pkicode.model.address import Address
from pkicode.model.change import Action, Change, Readiness, Reason, ReasonCode
from pkicode.model.instants import DAY, duration, rfc3339
from pkicode.model.problem import Part, Problem, Related
from pkicode.model.row import Block, Held, Row
from pkicode.plan.kind import Difference, FieldClass, Kind, Outlook, Run
from pkicode.x509.constraints import wider
from pkicode.x509.names import subject_text
from pkicode.x509.profile import Profile

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


def profile_of(block: Block, issuer_stem: str) -> Profile:
    """What the certificate of this CA says (RFC 5280 section 4.2)."""
    spec: CaSpec = block.spec
    return Profile(
        is_ca=True,
        path_len=spec.path_len,
        usage=("keyCertSign", "cRLSign"),
        eku=(),
        policies=spec.policies,
        constraints=authorities.constraints(spec.name_constraints),
        must_staple=False,
        ocsp_nocheck=False,
        no_rev_avail=False,
        crl_urls=crl_urls(spec.base_urls, issuer_stem) if spec.issuer else (),
        ca_issuer_urls=issuer_urls(spec.base_urls, issuer_stem) if spec.issuer else (),
        ocsp_urls=spec.ocsp_urls if spec.issuer else (),
    )


def check(block: Block, outlook: Outlook) -> Iterator[Problem]:
    spec: CaSpec = block.spec
    place = block.source.place
    try:
        subject_of(spec, 1)
    except ValueError as error:
        yield Problem(
            "E0405", f"the subject of [ca.{block.name}]: {error}", place=place("subject"), address=f"ca.{block.name}"
        )
    for reason in profile_of(block, f"{spec.issuer}-g1").check(spec.key.alg):
        yield Problem("E0404", f"[ca.{block.name}]: {reason}", place=place("path_len"), address=f"ca.{block.name}")
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
        yield Problem("E0406", f"[ca.{block.name}]: {reason}", place=place, address=f"ca.{block.name}")


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
    generation = held.generation + 1 if held else 1
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
        message = f"{living:,} certificates it signed are still valid"
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
        template, order, settle = remade
        if change.action is Action.RESERVE:
            (waiting,) = await reserve(template, [order], run.world)
            return waiting
        (answer,) = await issue(template, [order], run.world, settle=settle)
        authorities.forget(run)
        if isinstance(answer, Problem):
            return answer
    return await cross.complete(change, run)


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
        offline=offline.is_offline(spec.issuer or block.name, run.config),
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
