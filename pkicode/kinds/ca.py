"""CAs (RFC 5280 section 4.2.1.9): what [ca.X] says, when a generation is made, and what state remembers of it.

In this version a CA has one key generation; what would need the next one is refused, never done in place.
"""

import json
from collections.abc import Iterable, Iterator, Sequence

from attrs import evolve

from pkicode.config.language import CaSpec
from pkicode.config.reader import Config
from pkicode.issuing import Issued, Order, Remade, Template, issue
from pkicode.kinds import authority as authorities
from pkicode.kinds import deny, preview
from pkicode.kinds.authority import Authority, subject_of
from pkicode.kinds.rows import SINGLE, after, block_of, forgotten, rewrite, template_number
from pkicode.model.address import Address
from pkicode.model.change import Action, Change, Readiness, Reason, ReasonCode
from pkicode.model.instants import DAY, NO_EXPIRY, duration, rfc3339
from pkicode.model.problem import Part, Problem, Related
from pkicode.model.row import Block, Held, Row
from pkicode.plan.kind import Ahead, Difference, FieldClass, Kind, Outlook, Run
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
    "publish": FieldClass.METADATA,
    "protect": FieldClass.METADATA,
    "note": FieldClass.METADATA,
}


def by_depth(config: Config) -> list[Block]:
    """The [ca.X] blocks, issuers before what they sign; config.reader has refused cycles."""
    depths: dict[str, int] = {}
    blocks = {block.name: block for block in config.blocks if block.kind == "ca"}

    def depth(name: str) -> int:
        if name not in depths:
            issuer = blocks[name].spec.issuer
            depths[name] = depth(issuer) + 1 if issuer in blocks else 0
        return depths[name]

    return sorted(blocks.values(), key=lambda block: (depth(block.name), block.name))


def rows(block: Block, outlook: Outlook) -> Iterator[Row]:
    yield SINGLE


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
        ocsp_urls=(),
    )


def crl_urls(base_urls: Iterable[str], stem: str) -> tuple[str, ...]:
    """Where the full CRL of an issuer generation is served (CDP)."""
    return tuple(f"{base.rstrip('/')}/crl/{stem}.crl" for base in base_urls)


def issuer_urls(base_urls: Iterable[str], stem: str) -> tuple[str, ...]:
    """Where the certificate of an issuer generation is served (AIA caIssuers)."""
    return tuple(f"{base.rstrip('/')}/ca/{stem}.cer" for base in base_urls)


def check(block: Block, outlook: Outlook) -> Iterator[Problem]:
    spec: CaSpec = block.spec
    place = block.source.place
    try:
        subject_of(spec, 1)
    except ValueError as error:
        yield Problem("E0405", f"the subject of [ca.{block.name}]: {error}", place=place("subject"))
    for reason in profile_of(block, f"{spec.issuer}-g1").check(spec.key.alg):
        yield Problem("E0404", f"[ca.{block.name}]: {reason}", place=place("path_len"))
    yield from _constraints(block, spec, outlook)
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
        yield Problem("E0406", f"[ca.{block.name}]: {reason}", place=place)


def _outlives(block: Block, spec: CaSpec, issuer: Block, outlook: Outlook) -> Iterator[Problem]:
    standing = authorities.standing(block.name, outlook)
    above = authorities.standing(issuer.name, outlook)
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
    return f"ca.{block.spec.issuer}" if block.spec.issuer else ""


def diff(
    block: Block | None, row: Row | None, held: Held | None, outlook: Outlook, difference: Difference
) -> Change | None:
    if block is None or row is None:
        return _removed(held, outlook) if held else None
    spec: CaSpec = block.spec
    if held is None or held.status == "forgotten":
        return _new(block, row, held, outlook)
    if refused := difference.of(FieldClass.FORBIDDEN, FieldClass.ROTATE):
        outlook.problems.append(_refused(block, refused))
        return None
    if difference.of(FieldClass.METADATA):
        fields = ", ".join(difference.of(FieldClass.METADATA))
        reason = Reason(ReasonCode.SPEC_CHANGED, f"`{fields}` changed, no signature")
        return Change(
            Address("ca", block.name),
            Action.UPDATE,
            held.generation,
            (reason,),
            block,
            row,
            held,
            after={"protect": spec.protect},
        )
    return None


def _new(block: Block, row: Row, held: Held | None, outlook: Outlook) -> Change | None:
    spec: CaSpec = block.spec
    generation = held.generation + 1 if held else 1
    try:
        subject = subject_of(spec, generation)
    except ValueError:
        return None  # told by check
    issuer = authorities.standing(spec.issuer, outlook) if spec.issuer else None
    profile = profile_of(block, f"{issuer.name}-g{issuer.generation}" if issuer else "")
    outlook.problems.extend(preview.problems(block, profile, subject, (), issuer, outlook))
    change = Change(
        Address("ca", block.name),
        Action.ISSUE,
        generation,
        (Reason(ReasonCode.NEW),),
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
        depends_on=(f"ca.{spec.issuer}",) if spec.issuer else (),
    )
    policy = outlook.config.settings.policy.deny
    signing = deny.signing_alg(issuer, outlook.config) if issuer else spec.key.alg
    rule = deny.broken_by_key(spec.key.alg, policy) or deny.broken_by_signature(signing, policy)
    return evolve(change, readiness=Readiness.DENIED, waits=rule) if rule else change


def _refused(block: Block, fields: Sequence[str]) -> Problem:
    names = ", ".join(f"`{one}`" for one in fields)
    return Problem(
        "E0410",
        f"ca.{block.name} exists, and {names} cannot be changed in place",
        place=block.source.place(fields[0], part=Part.VALUE),
        help=f"put {names} back as it was, or declare the new authority under a new name and move its profiles over",
        address=f"ca.{block.name}",
    )


def _removed(held: Held, outlook: Outlook) -> Change | None:
    """A CA that has signed what is still valid, or is protected, cannot be deleted (decisions 24)."""
    template = json.loads(outlook.snapshot.templates.get(held.template, '{"spec":{}}'))
    living = outlook.snapshot.living.get((held.name, held.generation), 0)
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
            await rewrite([change], run)
            answers.append(None)
        else:
            answers.append(await _issue(change, run))
    return answers


async def _issue(change: Change, run: Run) -> Problem | None:
    remade = await remake(change, run)
    if isinstance(remade, Problem):
        return remade
    template, order, settle = remade
    (answer,) = await issue(template, [order], run.world, settle=settle)
    authorities.forget(change.address.name, run)
    return answer if isinstance(answer, Problem) else None


async def remake(change: Change, run: Run) -> Remade | Problem:
    """Template, order and settlement of a new CA generation, from config alone."""
    block = block_of(change)
    spec: CaSpec = block.spec
    label = change.address.at(change.generation)
    store = spec.key.store or ""
    issuer = await authorities.load(spec.issuer, run) if spec.issuer else None
    if spec.issuer and issuer is None:
        return authorities.missing(spec.issuer, change.address)
    template = Template(
        profile_name="",
        profile=profile_of(block, issuer.stem if issuer else ""),
        issuer=issuer.facts if issuer else None,
        ca=spec.issuer or block.name,
        ca_generation=issuer.generation if issuer else change.generation,
        issuer_key=(authorities.store_of(issuer.name, run), issuer.at) if issuer else (store, label),
        issuer_certificate=issuer.der if issuer else None,
        issuer_not_before=issuer.not_before if issuer else 0,
        issuer_not_after=issuer.not_after if issuer else NO_EXPIRY,
        validity=spec.validity,
        backdate=spec.backdate,
        store=store,
        crl_urls=crl_urls(spec.base_urls, issuer.stem) if issuer else (),
        constraints=authorities.constraints_above(spec.issuer, run.config),
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
    return after(change, template, due=NO_EXPIRY, needs=f"ca.{issuer.name}" if issuer else "")


def record(change: Change, outlook: Outlook) -> str:
    """What the state would know of a generation that is only foreseen."""
    made = authorities.standing(change.address.name, outlook)
    return authorities.foreseen(made) if made else ""


def ahead(block: Block, outlook: Outlook) -> Iterator[Ahead]:
    for one in authorities.on_duty(block.name, outlook):
        yield Ahead(one.not_after + 1, "expire", "what it signed is not accepted any more", one.generation)


KIND = Kind(
    name="ca",
    classes=CLASSES,
    blocks=by_depth,
    rows=rows,
    check=check,
    needs=needs,
    diff=diff,
    apply=apply,
    record=record,
    ahead=ahead,
)
