"""Leaf certificates: what [cert.X] says, when a row is issued, renewed, revoked or forgotten, and what state remembers.

Words of RFC 3647: renewal keeps the key, re-key makes a new one, modification changes what the certificate says.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

from attrs import asdict, evolve

from pkicode.config.language import CertSpec, OnRemove, Rekey, Renew
from pkicode.config.reader import Config
from pkicode.config.rows import csr_bytes, filler
from pkicode.config.rows import rows as config_rows
from pkicode.issuing import Issued, Order, Template, issue
from pkicode.kinds import authority as authorities
from pkicode.kinds.ca import crl_urls, issuer_urls
from pkicode.kinds.names_check import names_of, problems_of, subject_of
from pkicode.kinds.rows import after, rewrite, template_number
from pkicode.model.address import Address
from pkicode.model.change import Action, Change, Readiness, Reason, ReasonCode
from pkicode.model.faults import FaultPoint
from pkicode.model.instants import NO_EXPIRY, duration, parse_duration, rfc3339
from pkicode.model.names import Sans, Subject
from pkicode.model.problem import Problem, Related, Severity
from pkicode.model.row import Block, Held, Row
from pkicode.plan.applier import write
from pkicode.plan.kind import Difference, FieldClass, Kind, Outlook, Run
from pkicode.ports import CertificateStatus, Revocation, Want
from pkicode.x509.constraints import Allow
from pkicode.x509.names import san_text, subject_text
from pkicode.x509.profile import Profile

_NOW, _NEXT, _META = FieldClass.NOW, FieldClass.NEXT, FieldClass.METADATA
CLASSES = {
    **dict.fromkeys(("cn", "subject", "dns", "ip", "email", "uri", "rid", "upn", "dirname"), _NOW),
    **dict.fromkeys(("usage", "eku", "issuer", "csr", "key.store", "must_staple", "ocsp_nocheck"), _NOW),
    **dict.fromkeys(
        ("validity", "backdate", "key", "key.alg", "policies", "revocation", "base_urls", "lint", "copy"), _NEXT
    ),
    **dict.fromkeys(
        ("profile", "allow", "renew", "on_remove", "output", "after", "endpoints", "protect", "note"), _META
    ),
    "for_each": _META,
}
_CERTIFICATE_FIELDS = tuple(sorted(field for field, one in CLASSES.items() if one is _NOW and "." not in field))


def blocks(config: Config) -> list[Block]:
    return [block for block in config.blocks if block.kind == "cert"]


def rows(block: Block, outlook: Outlook) -> Iterator[Row]:
    return config_rows(outlook.config, block)


def needs(block: Block, row: Row, outlook: Outlook) -> str:
    # The CA, not its generation: a rotation reissues no leaf (decisions 6).
    return f"ca.{block.spec.issuer}"


def profile_of(spec: CertSpec, stem: str) -> Profile:
    """What a certificate of this spec says besides its names (RFC 5280 section 4.2)."""
    revocable = spec.revocation == "crl"
    return Profile(
        is_ca=False,
        path_len=None,
        usage=spec.usage,
        eku=spec.eku,
        policies=spec.policies,
        constraints=None,
        must_staple=spec.must_staple,
        ocsp_nocheck=spec.ocsp_nocheck,
        no_rev_avail=not revocable,
        crl_urls=crl_urls(spec.base_urls, stem) if revocable else (),
        ca_issuer_urls=issuer_urls(spec.base_urls, stem),
        ocsp_urls=(),
    )


def check(block: Block, outlook: Outlook) -> Iterator[Problem]:
    spec: CertSpec = block.spec
    place = block.source.place
    standing = authorities.standing(spec.issuer, outlook)
    if standing is None:
        return
    for reason in profile_of(spec, f"{standing.name}-g{standing.generation}").check(spec.key.alg):
        yield Problem("E0404", f"[cert.{block.name}]: {reason}", place=place("usage"), address=f"cert.{block.name}")
    issuer = outlook.config.block("ca", spec.issuer)
    if issuer and spec.validity > issuer.spec.validity:
        yield _outlives(block, standing, Related(f"ca.{issuer.name}, declared here", issuer.source.place("validity")))
    elif standing.authority and standing.not_after < outlook.now + spec.validity:
        yield Problem(
            "W0313",
            f"ca.{standing.name} ends {rfc3339(standing.not_after)}: cert.{block.name} cannot be issued for its whole validity",
            place=place("validity"),
            help="declare the CA that follows it and move the profile's issuer there",
            address=f"cert.{block.name}",
        )


def _outlives(block: Block, standing: authorities.Standing, *related: Related) -> Problem:
    return Problem(
        "E0311",
        f"cert.{block.name} would outlive its issuer",
        place=block.source.place("validity"),
        label=f"{duration(block.spec.validity)} is more than ca.{standing.name} has left (until {rfc3339(standing.not_after)})",
        related=related,
        help="set a shorter validity, or give the profile an issuer that lives longer",
        address=f"cert.{block.name}",
    )


def audit_rows(block: Block, row: Row, outlook: Outlook) -> Iterator[Problem]:
    """The names of one row: syntax, the profile's allow-list, the constraints of every CA above."""
    yield from problems_of(block, row, _filled(block, row, outlook.memo), outlook)


def _filled(block: Block, row: Row, memo: dict[Any, Any]) -> CertSpec:
    fill = memo.get(("filler", block.template_id))
    if fill is None:
        fill = memo["filler", block.template_id] = filler(block)
    spec: CertSpec = fill(row)
    return spec


def diff(
    block: Block | None, row: Row | None, held: Held | None, outlook: Outlook, difference: Difference
) -> Change | None:
    if block is None or row is None:
        return _removed(held, outlook) if held else None
    spec = _filled(block, row, outlook.memo)
    if held is None or held.status == "forgotten":
        return _issued(block, row, held, spec, outlook, Reason(ReasonCode.NEW))
    reason = _reason(block, row, held, spec, outlook, difference)
    if reason is not None:
        return _issued(block, row, held, spec, outlook, reason)
    if difference.of(FieldClass.METADATA) or held.values != row.values or held.needs != needs(block, row, outlook):
        fields = ", ".join(difference.of(FieldClass.METADATA))
        said = Reason(ReasonCode.SPEC_CHANGED, f"`{fields}` changed, no signature" if fields else "no signature")
        return Change(
            held.address,
            Action.UPDATE,
            held.generation,
            (said,),
            block,
            row,
            held,
            after={"on_remove": str(spec.on_remove), "protect": spec.protect},
        )
    return None


def _reason(
    block: Block, row: Row, held: Held, spec: CertSpec, outlook: Outlook, difference: Difference
) -> Reason | None:
    """Why this row needs a new certificate, None where it does not."""
    if held.status == "revoked":
        return Reason(ReasonCode.REVOKED)
    if fields := difference.of(FieldClass.NOW):
        return Reason(ReasonCode.SPEC_CHANGED, " ".join(f"`{one}`" for one in fields) + " changed")
    if held.values != row.values:
        if spec.csr and json.loads(held.values)[:-1] == json.loads(row.values)[:-1]:
            if json.loads(row.values)[-1]:
                return Reason(ReasonCode.KEY_CHANGED, "another CSR")
        elif changed := _changed_columns(block, row, held, spec, outlook):
            return Reason(ReasonCode.SPEC_CHANGED, " ".join(f"`{one}`" for one in changed) + " changed")
    if held.due <= outlook.now:
        return Reason(ReasonCode.DUE, f"due {rfc3339(held.due)}")
    return None


def _changed_columns(block: Block, row: Row, held: Held, spec: CertSpec, outlook: Outlook) -> tuple[str, ...]:
    """Which fields of the certificate the row's other values change; all, when the columns cannot be compared."""
    expected = len(block.columns) + (1 if spec.csr else 0)
    if len(json.loads(held.values)) != expected:
        return ("for_each",)
    before = _filled(block, Row(row.key, held.values), outlook.memo)
    return tuple(one for one in _CERTIFICATE_FIELDS if getattr(before, one) != getattr(spec, one))


def _issued(
    block: Block, row: Row, held: Held | None, spec: CertSpec, outlook: Outlook, reason: Reason
) -> Change | None:
    """The change that gives this row a new certificate; None, with a problem told, where its names cannot stand."""
    problems = list(problems_of(block, row, spec, outlook))
    outlook.problems.extend(problems)
    standing = authorities.standing(spec.issuer, outlook)
    if standing is None or any(one.severity is Severity.ERROR for one in problems):
        return None
    if (
        outlook.now - spec.backdate + spec.validity - 1 > standing.not_after
        and ("outlives", block.name) not in outlook.memo
    ):
        outlook.memo["outlives", block.name] = True
        outlook.problems.append(_outlives(block, standing))
    address = Address("cert", block.name, row.key)
    # A number is never reused, not even that of a certificate nobody knows the signature of.
    generation = max(held.generation if held else 0, outlook.snapshot.lost.get(str(address), 0)) + 1
    change = Change(
        address,
        Action.RENEW if held and held.status != "forgotten" else Action.ISSUE,
        generation,
        (reason,),
        block,
        row,
        held,
        before={"due": rfc3339(held.due), "generation": held.generation} if held else None,
        after={
            "issuer": f"ca.{spec.issuer}",
            "key": "csr" if spec.csr else "same" if _keeps_key(spec, held, reason) else "new",
            "key_alg": spec.key.alg,
            "profile": spec.profile,
            "sans": [san_text(one) for one in names_of(spec)],
            "subject": subject_text(subject_of(spec)),
            "validity": duration(spec.validity),
        },
        irreversible=True,
        depends_on=(f"ca.{spec.issuer}",),
    )
    return _held_back(change, row, held, spec, outlook)


def _held_back(change: Change, row: Row, held: Held | None, spec: CertSpec, outlook: Outlook) -> Change:
    """The change as it may be done now: waiting for a CSR, or denied by policy."""
    if spec.csr:
        digest = json.loads(row.values)[-1]
        where = f"{spec.csr.dir}/{spec.csr.file}"
        if not digest:
            return evolve(change, readiness=Readiness.WAITING, waits=f"no CSR yet: {where}")
        same = held is not None and held.status != "forgotten" and json.loads(held.values)[-1] == digest
        if same and spec.renew.rekey is Rekey.REQUIRE:
            return evolve(change, readiness=Readiness.WAITING, waits=f"rekey is required: hand in a new CSR as {where}")
    if rule := _denied(spec, outlook):
        return evolve(change, readiness=Readiness.DENIED, waits=rule)
    return change


def _denied(spec: CertSpec, outlook: Outlook) -> str:
    """The [policy] deny rule this certificate breaks, empty for none."""
    deny = outlook.config.settings.policy.deny
    alg = spec.key.alg
    if not spec.csr and deny.rsa_bits_below and alg.startswith("rsa-") and int(alg[4:]) < deny.rsa_bits_below:
        return f"deny.rsa_bits_below = {deny.rsa_bits_below}"
    if not spec.csr and alg in deny.key_algs:
        return f"deny.key_algs has {alg}"
    if deny.validity_above is not None and spec.validity > deny.validity_above:
        return f"deny.validity_above = {duration(deny.validity_above)}"
    if deny.wildcard and any(name.startswith("*.") for name in spec.dns):
        return "deny.wildcard"
    return ""


def _keeps_key(spec: CertSpec, held: Held | None, reason: Reason) -> bool:
    compromised = reason.code in (ReasonCode.REVOKED, ReasonCode.KEY_BLOCKED)
    return held is not None and held.status != "forgotten" and spec.renew.rekey is Rekey.NO and not compromised


def _removed(held: Held, outlook: Outlook) -> Change | None:
    """What deleting the block or the row means is what state remembers, not what the file no longer says."""
    template = json.loads(outlook.snapshot.templates.get(held.template, '{"spec":{}}'))["spec"]
    reason = Reason(ReasonCode.REMOVED)
    if template.get("protect") or template.get("on_remove") == OnRemove.FORBID:
        why = "it is protected" if template.get("protect") else 'it was declared with on_remove = "forbid"'
        outlook.problems.append(
            Problem(
                "E0411",
                f"{held.address} is gone from pki.toml, but {why}",
                help=f'put it back, or let go of it with [[forget]] address = "{held.address}"',
                address=str(held.address),
            )
        )
        return None
    if template.get("on_remove") == OnRemove.REVOKE:
        return Change(
            held.address,
            Action.REVOKE,
            held.generation,
            (reason,),
            held=held,
            irreversible=True,
            before={"generation": held.generation},
            after={"reason": "cessationOfOperation"},
        )
    return Change(held.address, Action.FORGET, held.generation, (reason,), held=held)


def due_of(renew: Renew, *, not_before: int, not_after: int, seed: str) -> int:
    """When a certificate is renewed: the declared instant less a jitter that is the same at every plan.

    Jitter is a share of the validity and only pulls earlier, never before half of the time to the declared instant.
    """
    validity = not_after + 1 - not_before
    if "/" in renew.at:
        at = not_before + int(Fraction(renew.at) * validity)
    else:
        at = max(not_before, not_after + 1 - parse_duration(renew.at))
    width = min(validity * int(renew.jitter.rstrip("%")) // 100, (at - not_before) // 2)
    drawn = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big")
    return at - drawn * width // 2**64


def foresee(change: Change, outlook: Outlook) -> int:
    if change.action not in (Action.ISSUE, Action.RENEW) or change.block is None:
        return NO_EXPIRY
    spec: CertSpec = change.block.spec
    not_before = outlook.now - spec.backdate
    seed = f"{outlook.config.settings.project.name}\0{change.address}\0{change.generation}"
    return due_of(spec.renew, not_before=not_before, not_after=not_before + spec.validity - 1, seed=seed)


async def apply(changes: Sequence[Change], run: Run) -> Sequence[Problem | None]:
    answers: dict[int, Problem | None] = {}
    by_action: dict[Action, list[int]] = {}
    for place, change in enumerate(changes):
        action = Action.ISSUE if change.action is Action.RENEW else change.action
        by_action.setdefault(action, []).append(place)
    doing = {Action.ISSUE: _issue, Action.UPDATE: _update, Action.REVOKE: _revoke}
    for action, places in by_action.items():
        found = await doing[action]([changes[place] for place in places], run)
        answers.update(zip(places, found, strict=True))
    return [answers[place] for place in range(len(changes))]


async def _update(changes: Sequence[Change], run: Run) -> Sequence[Problem | None]:
    def due(change: Change, record: str) -> int:
        told = json.loads(record)
        spec: CertSpec = change.block.spec  # type: ignore[union-attr]
        return due_of(spec.renew, not_before=told["not_before"], not_after=told["not_after"], seed=_seed(change, run))

    await rewrite(changes, run, due)
    return [None] * len(changes)


def _seed(change: Change, run: Run) -> str:
    return f"{run.world.project}\0{change.address}\0{change.generation}"


async def _issue(changes: Sequence[Change], run: Run) -> Sequence[Problem | None]:
    made = await remake(changes, run)
    if isinstance(made, Problem):
        return [evolve(made, address=str(change.address)) for change in changes]
    template, orders, settle = made
    answers: dict[int, Problem | None] = {
        place: order for place, order in enumerate(orders) if isinstance(order, Problem)
    }
    ready = [(place, order) for place, order in enumerate(orders) if isinstance(order, Order)]
    if ready:
        found = await issue(template, [order for _, order in ready], run.world, settle=settle)
        for (place, _), answer in zip(ready, found, strict=True):
            answers[place] = answer if isinstance(answer, Problem) else None
    return [answers[place] for place in range(len(changes))]


async def remake(changes: Sequence[Change], run: Run):  # type: ignore[no-untyped-def]
    """Template, orders and settlement of these changes of one block, from config and the issuer's certificate alone."""
    block = changes[0].block
    if block is None:
        raise ValueError(f"{changes[0].address} has no block")
    spec: CertSpec = block.spec
    issuer = await authorities.load(spec.issuer, run)
    if issuer is None:
        return Problem(
            "E0501",
            f"cert.{block.name} waits for ca.{spec.issuer}, which is not there",
            help="apply again without leaving the CA out",
        )
    store = spec.key.store or ""
    profile = profile_of(spec, issuer.stem)
    template = Template(
        profile_name=spec.profile,
        profile=profile,
        issuer=issuer.facts,
        ca=issuer.name,
        ca_generation=issuer.generation,
        issuer_key=(issuer.key_store, issuer.key_label),
        issuer_certificate=issuer.der,
        issuer_not_before=issuer.not_before,
        issuer_not_after=issuer.not_after,
        validity=spec.validity,
        backdate=spec.backdate,
        store=store,
        crl_urls=profile.crl_urls,
        copy=spec.copy,
        constraints=authorities.constraints_above(spec.issuer, run.config),
        allow=Allow(**asdict(spec.allow)) if spec.allow else None,
    )
    kept = await _kept_keys(changes, spec, run)
    number = await template_number(block, run)
    orders = [_order(change, _filled(block, change.row, run.memo), kept, run) for change in changes if change.row]

    def settle(issued: Sequence[Issued]) -> Sequence[tuple[Held, str]]:
        return [_settled(one, issuer, number, store, run) for one in issued]

    return template, orders, settle


async def _kept_keys(changes: Sequence[Change], spec: CertSpec, run: Run) -> dict[str, str]:
    """Key of the row -> label of the key it keeps (`rekey = false`)."""
    keeping = [one for one in changes if not spec.csr and _keeps_key(spec, one.held, one.reasons[0])]
    if not keeping:
        return {}
    records = await run.world.store.records("cert", keeping[0].address.name, [one.address.key for one in keeping])
    return {key: json.loads(record)["key_label"] for (key, _), record in records.items()}


def _order(change: Change, spec: CertSpec, kept: dict[str, str], run: Run) -> Order | Problem:
    csr = None
    if spec.csr:
        csr = csr_bytes(run.config, spec)
        # The plan was made from these bytes; others under the same name are another plan.
        if csr is None or change.row is None or hashlib.sha256(csr).hexdigest() != json.loads(change.row.values)[-1]:
            return Problem(
                "E0413",
                f"the CSR of {change.address} changed while applying",
                address=str(change.address),
                help="apply again; the next plan will show it as key-changed",
            )
    label = "" if spec.csr else kept.get(change.address.key) or change.address.at(change.generation)
    sans: Sans = names_of(spec)
    subject: Subject = subject_of(spec)
    return Order(
        address=str(change.address),
        generation=change.generation,
        subject=subject,
        sans=sans,
        key_alg=spec.key.alg,
        key_label=label,
        csr=csr,
        reason=str(change.reasons[0].code),
        context=change,
    )


def _settled(issued: Issued, issuer: authorities.Authority, template: int, store: str, run: Run) -> tuple[Held, str]:
    change: Change = issued.order.context
    renew: Renew = change.block.spec.renew  # type: ignore[union-attr]
    due = due_of(renew, not_before=issued.not_before, not_after=issued.not_after, seed=_seed(change, run))
    record = {
        "issuer": [issuer.name, issuer.generation],
        "issuer_key": issuer.issuer_key,
        "key_label": issued.order.key_label,
        "key_store": store if issued.order.key_label else "",
        "not_after": issued.not_after,
        "not_before": issued.not_before,
        "serial": f"{issued.serial:x}",
        "sha256": issued.sha256,
    }
    return after(change, template, due=due, needs=f"ca.{issuer.name}"), json.dumps(record, separators=(",", ":"))


async def _revoke(changes: Sequence[Change], run: Run) -> Sequence[Problem | None]:
    """Removal that was declared to revoke: every unexpired certificate of the address, then the row is forgotten."""
    revocations, rows = [], []
    records = await run.world.store.records("cert", changes[0].address.name, [one.address.key for one in changes])
    for change in changes:
        want = Want(
            address=str(change.address),
            valid_at=run.world.now,
            with_der=False,
            statuses=(CertificateStatus.ISSUED, CertificateStatus.UNKNOWN),
        )
        for one in await run.world.store.certificates(want):
            revocations.append(
                Revocation(one.issuer_key, one.serial, run.world.now, "cessationOfOperation", one.not_after, "removed")
            )
        if change.held:
            gone = evolve(change.held, status="forgotten", due=NO_EXPIRY)
            rows.append((gone, records[change.address.key, change.held.generation]))
    await run.world.store.commit(write(run, "revoke", changes, held=rows, revocations=revocations), run.world.lease)
    run.world.reach(FaultPoint.REVOKED)
    return [None] * len(changes)


KIND = Kind(
    name="cert",
    classes=CLASSES,
    blocks=blocks,
    rows=rows,
    check=check,
    needs=needs,
    diff=diff,
    foresee=foresee,
    apply=apply,
    audit_rows=audit_rows,
    parallel=True,
)
