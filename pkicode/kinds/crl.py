"""Full CRLs (RFC 5280 section 5), one per CA key generation: when one is due, and signing it from the inventory.

Numbers only rise, against the state and against what is published; what the published list says revoked stays revoked
even when the database has forgotten it (decisions 11).
"""

import hashlib
import json
from collections.abc import Iterator, Sequence

from attrs import evolve

from pkicode.config.language import CrlSpec
from pkicode.config.reader import Config
from pkicode.kinds import authority as authorities
from pkicode.kinds.authority import Authority
from pkicode.kinds.ca import by_depth
from pkicode.kinds.rows import after, derived, forgotten, template_number
from pkicode.model.address import Address
from pkicode.model.change import Action, Change, Reason, ReasonCode
from pkicode.model.event import Event
from pkicode.model.faults import FaultPoint
from pkicode.model.instants import DAY, NO_EXPIRY, duration, rfc3339
from pkicode.model.problem import Foreign, PkicodeError, Problem
from pkicode.model.row import Block, Held, Row
from pkicode.plan.applier import write
from pkicode.plan.kind import Difference, FieldClass, Kind, Outlook, Run
from pkicode.ports import Artefact, Revocation
from pkicode.revocation import crl
from pkicode.x509.keys import SignatureError

LIMIT = 512 * 1024 * 1024
"""The largest published CRL that is read back."""


def blocks(config: Config) -> list[Block]:
    return [derived("crl", ca, "crl") for ca in by_depth(config)]


def rows(block: Block, outlook: Outlook) -> Iterator[Row]:
    """One row a generation on duty; its value is how many revocations the CRL must know of."""
    coming = "+" if _revocations_coming(block.name, outlook) else ""
    for key, standing in _signing(block.name, outlook).items():
        count = outlook.snapshot.revoked.get(standing.authority.issuer_key, 0) if standing.authority else 0
        yield Row(key, json.dumps([f"{count}{coming}"]))


def _signing(name: str, outlook: Outlook) -> dict[str, authorities.Standing]:
    """Key of the row -> the generation that signs: the newest is the row without a key."""
    duty = authorities.on_duty(name, outlook)
    return {"" if one == duty[-1] else f"g{one.generation}": one for one in reversed(duty)}


def _revocations_coming(ca: str, outlook: Outlook) -> bool:
    """Whether this plan revokes a certificate of this CA."""
    return any(
        change.action is Action.REVOKE and change.held is not None and change.held.needs == f"ca.{ca}"
        for changes in outlook.changes.values()
        for change in changes
    )


def needs(block: Block, row: Row, outlook: Outlook) -> str:
    return f"ca.{block.name}@{_signing(block.name, outlook)[row.key].generation}"


def diff(
    block: Block | None, row: Row | None, held: Held | None, outlook: Outlook, difference: Difference
) -> Change | None:
    if block is None or row is None:
        return forgotten(held) if held else None
    generation = _signing(block.name, outlook)[row.key].generation
    reason = _reason(block, row, held, outlook, difference)
    if reason is None:
        return None
    spec: CrlSpec = block.spec
    return Change(
        Address("crl", block.name, row.key),
        Action.SIGN,
        generation,
        (reason,),
        block,
        row,
        held,
        after={"refresh": duration(spec.refresh), "validity": duration(spec.validity)},
        depends_on=(f"ca.{block.name}",),
    )


def _reason(block: Block, row: Row, held: Held | None, outlook: Outlook, difference: Difference) -> Reason | None:
    if held is None or held.status == "forgotten":
        return Reason(ReasonCode.NEW)
    if held.needs != needs(block, row, outlook):
        return Reason(ReasonCode.NEW, "another key generation")
    if held.values != row.values:
        return Reason(ReasonCode.CRL_CONTENT, "certificates were revoked")
    if held.due <= outlook.now:
        return Reason(ReasonCode.CRL_DUE, f"due {rfc3339(held.due)}")
    if difference:
        return Reason(ReasonCode.SPEC_CHANGED, "`crl` changed")
    return None


def foresee(change: Change, outlook: Outlook) -> int:
    refresh: int = change.block.spec.refresh if change.block and change.action is Action.SIGN else NO_EXPIRY
    return min(outlook.now + refresh, NO_EXPIRY)


async def apply(changes: Sequence[Change], run: Run) -> Sequence[Problem | None]:
    return [await _sign(change, run) for change in changes]


async def _sign(change: Change, run: Run) -> Problem | None:
    world, block = run.world, change.block
    authority = await authorities.load(change.address.name, run, change.generation)
    if authority is None or block is None:
        return authorities.missing(change.address.name, change.address)
    spec: CrlSpec = block.spec
    # Counted before the entries are read: a revocation in between makes the next plan sign again, never miss it.
    counted = (await world.store.revoked()).get(authority.issuer_key, 0)
    revocations = list(await world.store.revocations(authority.issuer_key))
    try:
        earlier = await _earlier(authority, run)
    except PkicodeError as error:
        # Signed without having seen it, the next list could drop what that one says revoked.
        return Problem("E0510", f"{change.address}: {error.message}", help=error.help, address=str(change.address))
    number = max((one.number for one in earlier), default=0)
    for found in earlier:
        # Two lists may hold the same entry: what the first gave is known when the second is read.
        revocations += _vanished(found, revocations, authority, run)
    this_update, next_update = world.now, min(world.now + spec.validity, NO_EXPIRY)
    entries = [
        crl.Entry(int(one.serial, 16), one.revoked_at, one.reason, one.invalidity)
        for one in await _listed(revocations, earlier, authority, run)
    ]
    entries.sort(key=lambda one: one.serial)
    signer = await world.keystores[authorities.store_of(authority.name, run)].signer(authority.at)
    facts = authority.facts
    tbs = crl.tbs(facts, entries, number=number + 1, this_update=this_update, next_update=next_update)
    der = crl.crl(tbs, facts.alg, signer.sign(tbs))
    crl.verify(der, facts)
    world.reach(FaultPoint.CRL_SIGNED)
    made = _artefact(authority, der, number + 1, this_update, next_update)
    row = after(change, await template_number(block, run), due=this_update + spec.refresh, needs=authority.at)
    row = evolve(row, values=json.dumps([str(counted)]))
    record = json.dumps(
        {"next_update": next_update, "number": made.number, "sha256": made.sha256, "this_update": this_update}
    )
    stored = write(run, "crl", [change], held=[(row, record)], artefacts=[made])
    await world.store.commit(stored, world.lease)
    world.reach(FaultPoint.CRL_STORED)
    return None


def _artefact(authority: Authority, der: bytes, number: int, this_update: int, next_update: int) -> Artefact:
    digest = hashlib.sha256(der).hexdigest()
    return Artefact("crl", authority.stem, "", f"{number:x}", this_update, next_update, digest, der)


async def _earlier(authority: Authority, run: Run) -> list[crl.CrlFacts]:
    """The newest list of this CA that state keeps, and those readers see now.

    Raises:
        PkicodeError: a target cannot be reached.
    """
    known = await run.world.store.artefact("crl", authority.stem)
    found = [_genuine(known.der if known else None, "the state", authority, run)]
    for target in authorities.targets_of(authority.name, run):
        try:
            data = await run.world.publishers[target].read(f"crl/{authority.stem}.crl", limit=LIMIT)
        except Foreign as error:
            _alarm(authority, run, f"publish.{target}: {error.message}; it is replaced")
            continue
        found.append(_genuine(data, f"publish.{target}", authority, run))
    return [one for one in found if one]


def _genuine(data: bytes | None, where: str, authority: Authority, run: Run) -> crl.CrlFacts | None:
    """What a list says, if it is this CA's; a forged or broken one counts for nothing, and is told."""
    if data is None:
        return None
    try:
        crl.verify(data, authority.facts)
        return crl.read(data, limit=LIMIT)
    except (ValueError, TypeError, SignatureError, PkicodeError) as error:
        what = f"{where}: crl/{authority.stem}.crl is not a CRL of {authority.at}"
        _alarm(authority, run, f"{what} ({error}); it is replaced")
        return None


def _alarm(authority: Authority, run: Run, message: str) -> None:
    run.world.emit(Event("crl", message, address=f"crl.{authority.name}", failed=True))


async def _listed(
    revocations: Sequence[Revocation], earlier: Sequence[crl.CrlFacts], authority: Authority, run: Run
) -> list[Revocation]:
    """Those that have not expired, and the expired ones once more (RFC 5280 section 3.3).

    What leaves a list has expired by its certificate's own words: the database's could be edited to un-revoke it.
    """
    since = max((one.this_update for one in earlier), default=0)
    kept = [one for one in revocations if one.not_after >= since]
    told = {entry.serial for one in earlier for entry in one.entries}
    leaving = [one for one in revocations if one.not_after < since and int(one.serial, 16) in told]
    ders = await run.world.store.ders([(one.issuer_key, one.serial) for one in leaving])
    for one, certificate in zip(leaving, ders, strict=True):
        if not authorities.has_expired(certificate, one.serial, authority, since):
            kept.append(one)
    return kept


def _vanished(found: crl.CrlFacts, known: Sequence[Revocation], authority: Authority, run: Run) -> list[Revocation]:
    """Entries of an earlier CRL that the database does not know: kept as revoked, with an alarm."""
    have = {int(one.serial, 16) for one in known}
    lost = [entry for entry in found.entries if entry.serial not in have]
    if lost:
        message = f"{len(lost)} serials on an earlier CRL of {authority.at} are not in the state; they stay revoked"
        _alarm(authority, run, message)
    # Nobody knows when they expire: they stay for as long as the CA lives.
    return [
        Revocation(
            authority.issuer_key,
            f"{entry.serial:x}",
            entry.revoked_at,
            entry.reason or "unspecified",
            authority.not_after + DAY,
            "published",
            entry.invalidity,
        )
        for entry in lost
    ]


KIND = Kind(
    name="crl",
    classes={"validity": FieldClass.METADATA, "refresh": FieldClass.METADATA},
    blocks=blocks,
    rows=rows,
    needs=needs,
    diff=diff,
    foresee=foresee,
    apply=apply,
)
