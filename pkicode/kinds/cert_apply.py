"""Leaf certificates, applied: orders for the issuance cycle, and the rows it leaves.

Everything an order says is worked out from configuration, keystore and the issuer's certificate, so that an interrupted
batch can be made again (resume.py).
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress

from attrs import asdict, evolve

from pkicode.config.csr import CsrError, CsrFiles
from pkicode.config.language import CertSpec, Renew
from pkicode.issuing import Issued, Issuer, Order, Settle, Template, issue
from pkicode.kinds import authority as authorities
from pkicode.kinds.doomed import REASONS as DOOMED
from pkicode.kinds.leaf import due_of, filled, keeps_key, owns, profile_of, seed_of
from pkicode.kinds.names_check import names_of, subject_of
from pkicode.kinds.rows import after, block_of, rewrite, template_number
from pkicode.model.address import Address
from pkicode.model.change import Action, Change
from pkicode.model.faults import FaultPoint
from pkicode.model.instants import NO_EXPIRY
from pkicode.model.names import Sans, Subject
from pkicode.model.problem import Problem
from pkicode.model.row import FORGOTTEN, Held
from pkicode.plan.applier import write
from pkicode.plan.kind import Run
from pkicode.ports import CertificateStatus, Revocation, Want
from pkicode.x509.constraints import Allow, Constraints

_encode = json.JSONEncoder(separators=(",", ":")).encode


async def apply(changes: Sequence[Change], run: Run) -> Sequence[Problem | None]:
    answers: dict[int, Problem | None] = {}
    doing = {Action.ISSUE: _issue, Action.RENEW: _issue, Action.UPDATE: _update, Action.REVOKE: _revoke}
    by_action: dict[Action, list[int]] = {}
    for place, change in enumerate(changes):
        by_action.setdefault(change.action, []).append(place)
    for action, places in by_action.items():
        found = await doing[action]([changes[place] for place in places], run)
        answers.update(zip(places, found, strict=True))
    return [answers[place] for place in range(len(changes))]


async def _update(changes: Sequence[Change], run: Run) -> Sequence[Problem | None]:
    def due(change: Change, record: str) -> int:
        if change.held and change.held.status in DOOMED:
            return NO_EXPIRY
        told = json.loads(record)
        spec: CertSpec = block_of(change).spec
        found = due_of(spec.renew, not_before=told["not_before"], not_after=told["not_after"], seed=_seed(change, run))
        # An earlier renewal may have been due already: then it is the next plan's, never this instant's, so that an
        # apply leaves nothing to do (invariant 13).
        return max(found, run.world.now + 1)

    await rewrite(changes, run, due)
    return [None] * len(changes)


def _seed(change: Change, run: Run) -> str:
    return seed_of(run.world.project, change.address, change.generation)


async def _issue(changes: Sequence[Change], run: Run) -> Sequence[Problem | None]:
    remade = await remake(changes, run)
    if isinstance(remade, Problem):
        return [authorities.missing(block_of(one).spec.issuer, one.address) for one in changes]
    template, orders, settle = remade
    answers: dict[int, Problem | None] = {
        place: order for place, order in enumerate(orders) if isinstance(order, Problem)
    }
    ready = [(place, order) for place, order in enumerate(orders) if isinstance(order, Order)]
    if ready:
        found = await issue(template, [order for _, order in ready], run.world, settle=settle)
        for (place, _), answer in zip(ready, found, strict=True):
            answers[place] = answer if isinstance(answer, Problem) else None
    return [answers[place] for place in range(len(changes))]


async def remake(changes: Sequence[Change], run: Run) -> tuple[Template, Sequence[Order | Problem], Settle] | Problem:
    """Template, orders and settlement of these changes of one block, from config and the issuer's certificate alone."""
    block = block_of(changes[0])
    spec: CertSpec = block.spec
    issuer = await authorities.load_issuing(spec.issuer, run)
    if issuer is None:
        return authorities.missing(spec.issuer, changes[0].address)
    above = authorities.constraints_above(spec.issuer, run.config, await authorities.loaded(run))
    template = template_of(spec, issuer.stem, authorities.as_issuer(issuer, run), above)
    kept = await _kept_keys(changes, spec, run)
    number, issuer_key = await template_number(block, run), issuer.issuer_key
    files: CsrFiles = run.memo.setdefault("csr-files", CsrFiles(run.config.root))
    orders = [order_of(change, filled(block, change.row, run.memo), kept, files) for change in changes if change.row]

    def settle(issued: Sequence[Issued]) -> Sequence[tuple[Held, str]]:
        return [_settled(one, issuer, issuer_key, number, run) for one in issued]

    return template, orders, settle


def template_of(spec: CertSpec, stem: str, issuer: Issuer, above: tuple[Constraints, ...]) -> Template:
    """What all rows of a block have in common, signed by this issuer below CAs of these constraints."""
    profile = profile_of(spec, stem)
    return Template(
        profile_name=spec.profile,
        profile=profile,
        issuer=issuer,
        validity=spec.validity,
        backdate=spec.backdate,
        store=spec.key.store or "",
        crl_urls=profile.crl_urls,
        crl_shards=spec.crl_shards if profile.crl_urls else 0,
        copy=spec.copy,
        constraints=above,
        allow=Allow(**asdict(spec.allow)) if spec.allow else None,
    )


async def _kept_keys(changes: Sequence[Change], spec: CertSpec, run: Run) -> dict[str, str]:
    """Key of the row -> label of the key it keeps (`rekey = false`)."""
    keeping = [one for one in changes if not spec.csr and keeps_key(spec, one.held, one.reasons[0])]
    if not keeping:
        return {}
    records = await run.world.store.records("cert", keeping[0].address.name, [one.address.key for one in keeping])
    labels = {key: json.loads(record)["key_label"] for (key, _), record in records.items()}
    # A label that is not the address's own is not believed: the row gets a new key.
    address = keeping[0].address
    return {key: label for key, label in labels.items() if owns(label, Address("cert", address.name, key), run.config)}


def order_of(change: Change, spec: CertSpec, kept: Mapping[str, str], files: CsrFiles) -> Order | Problem:
    """What is asked for by a row, with the bytes of its CSR as the plan saw them.

    Args:
        kept: as `_kept_keys`.
    """
    csr = None
    if spec.csr:
        with suppress(CsrError):
            csr = files.read(spec.csr.dir, spec.csr.file)
        # The plan was made from these bytes; others under the same name are another plan.
        if csr is None or change.row is None or not change.row.values.endswith(f'"{hashlib.sha256(csr).hexdigest()}"]'):
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


def _settled(
    issued: Issued, issuer: authorities.Authority, issuer_key: str, template: int, run: Run
) -> tuple[Held, str]:
    change: Change = issued.order.context
    renew: Renew = block_of(change).spec.renew
    due = due_of(renew, not_before=issued.not_before, not_after=issued.not_after, seed=_seed(change, run))
    record = {
        "issuer": [issuer.name, issuer.generation],
        "issuer_key": issuer_key,
        "key_label": issued.order.key_label,
        "not_after": issued.not_after,
        "not_before": issued.not_before,
        "serial": f"{issued.serial:x}",
        "sha256": issued.sha256,
    }
    return after(change, template, due=due, needs=f"ca.{issuer.name}"), _encode(record)


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
            gone = evolve(change.held, status=FORGOTTEN, due=NO_EXPIRY)
            rows.append((gone, records[change.address.key, change.held.generation]))
    await run.world.store.commit(write(run, "revoke", changes, held=rows, revocations=revocations), run.world.lease)
    run.world.reach(FaultPoint.REVOKED)
    return [None] * len(changes)
