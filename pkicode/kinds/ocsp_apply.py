"""OCSP answers, applied: for each CA key generation on duty, a pack of what its delegate signed.

The pack is one artefact: a crash before it is stored costs signatures and nothing else.  What earlier lists of ours say
is revoked stays revoked, even when the database has forgotten it.
"""

import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence

from attrs import evolve, frozen

from pkicode.config.language import OcspSpec
from pkicode.kinds import authority as authorities
from pkicode.kinds import crl_lists, delegate_away, offline
from pkicode.kinds import delegate as delegates
from pkicode.kinds.authority import Authority
from pkicode.kinds.ocsp_due import next_due, tallied
from pkicode.kinds.rows import after, block_of, template_number
from pkicode.model.change import Change
from pkicode.model.counted import counted
from pkicode.model.event import Event
from pkicode.model.faults import FaultPoint
from pkicode.model.problem import Foreign, PkicodeError, Problem
from pkicode.plan.applier import side_by_side, write
from pkicode.plan.kind import Run
from pkicode.ports import Artefact, Signer
from pkicode.revocation import crl, pack
from pkicode.revocation.ocsp_response import GOOD, Standing
from pkicode.revocation.pack import Maker, Pack
from pkicode.revocation.presign import Due, presign, presigned
from pkicode.x509.keys import SignatureError

_BATCH = 1000
"""Certificates of one call of a worker: 1.5 MB of them."""
_UNDER_WAY = 4
"""Batches at once: enough for the workers there may be, few enough to hold in memory."""


@frozen
class _Told:
    """What an apply learns of one generation."""

    artefact: Artefact | None
    """The new pack, None where the stored one still holds."""
    refresh: int
    """When the first of its answers is to be signed again."""


async def apply(changes: Sequence[Change], run: Run) -> Sequence[Problem | None]:
    return [await (delegates.asked if one.address.key else _answer)(one, run) for one in changes]


async def _answer(change: Change, run: Run) -> Problem | None:
    """Every generation on duty: its delegate, its answers; then the row that says so."""
    world, name, spec = run.world, change.address.name, block_of(change).spec
    duty = await on_duty(name, run)
    if not duty:
        return authorities.missing(name, change.address)
    signing = []
    for authority in duty:
        delegate = await delegates.current(authority, spec, run)
        if isinstance(delegate, Problem):
            return delegate
        if delegate is not None:
            signing.append((authority, delegate))
    is_away = offline.is_offline(name, run.config)
    if is_away and not signing:
        return _nobody(change)
    # Counted before the inventory is read: what comes in between makes the next plan sign again, never miss it.
    signed, revoked = await world.store.signed(), await world.store.revoked()
    number, held = await template_number(block_of(change), run), change.held
    again = held is None or held.template != number or held.due <= world.now
    found = []
    for authority, delegate in signing:
        try:
            published = await _published(authority, run)
        except PkicodeError as error:
            # Signed without having seen it, the next pack could call good what that one says is revoked.
            return Problem("E0510", f"{change.address}: {error.message}", help=error.help, address=str(change.address))
        newest = max((one.made for one in published), default=0)
        if newest > world.now + crl_lists.CLOCK_TOLERANCE:
            return crl_lists.from_the_future(change, "pack of answers", newest, world.now)
        found.append(await _answered(authority, delegate, published, spec, run, again=again))
    world.reach(FaultPoint.OCSP_SIGNED)
    there = delegate_away.numbers(iter(await world.store.held("ocsp", name)))
    counts = [
        tallied(one.generation, signed.get((name, one.generation), 0), revoked.get(one.issuer_key, 0), there)
        for one in duty
    ]
    due = next_due(None if again else held, spec, duty, world.now, is_away=is_away)
    # No later than what is in the packs, whatever the row of before said.
    due = min([due, *(one.refresh for one in found)])
    row = after(change, number, due=due, needs=" ".join(one.at for one in duty))
    row = evolve(row, values=json.dumps(counts))
    artefacts = [one.artefact for one in found if one.artefact]
    stored = write(run, "ocsp", [change], held=[(row, "{}")], artefacts=artefacts)
    await world.store.commit(stored, world.lease)
    world.reach(FaultPoint.OCSP_STORED)
    return None


def _nobody(change: Change) -> Problem:
    return Problem(
        "E0529",
        f"{change.address}: nobody may sign its answers any more, and its CA is offline",
        help="hold the ceremony that signs for who does: `pkicode ceremony export`",
        address=str(change.address),
    )


async def on_duty(name: str, run: Run) -> list[Authority]:
    """The generations of [ca.NAME] that owe answers, as authorities.on_duty plans them."""
    known = await authorities.loaded(run)
    loaded = [await authorities.load(name, run, one.generation) for one in known.on_duty(name)]
    return [one for one in loaded if one]


async def _answered(
    authority: Authority,
    delegate: delegates.Delegate,
    published: Sequence[Pack],
    spec: OcspSpec,
    run: Run,
    *,
    again: bool,
) -> _Told:
    """The pack with every answer that is owed: those that still hold unless all are made again, and the others."""
    world = run.world
    stored = await world.store.artefact("ocsp", authority.stem)
    old = _genuine(stored.der if stored else None, "the state", authority, run)
    known, lost = await _standings(authority, [*published, *([old] if old else [])], run)
    serials = await world.store.answerable(authority.issuer_key, authority.name, authority.generation, world.now)
    # Of a serial that the database lost nobody knows when it expires: it stays revoked for as long as the CA lives.
    owed = {one: known.get(one, GOOD) for one in [*(int(serial, 16) for serial in serials), *lost] if one < crl.MOST}
    maker = Maker(authority.stem, authority.der, delegate.der)
    usable = old if old and old.maker == maker and not again else None
    # Never below an answer that was given: a clock may be some minutes behind the one before.
    this_update = max(world.now, *(one.made for one in published), old.made if old else 0)
    kept = await asyncio.to_thread(_kept, usable, owed, spec.refresh, this_update)
    wanted = [(serial, standing) for serial, standing in owed.items() if serial not in kept]
    if usable is not None and not wanted:
        return _Told(None, _first(kept)[0] + spec.refresh)
    next_update = min(this_update + spec.validity, delegate.not_after)
    signer = await world.keystores[delegate.store].signer(delegate.label)
    await world.keep()
    kept.update(await _signed(wanted, maker, signer, (this_update, next_update), authority, run))
    body = await asyncio.to_thread(_body, maker, kept, this_update)
    await world.keep()
    data = pack.signed(body, await asyncio.to_thread(signer.sign, pack.to_sign(body)))
    pack.read(data)
    number = int(stored.number, 16) + 1 if stored else 1
    oldest, first_end = _first(kept) if kept else (this_update, next_update)
    digest = hashlib.sha256(data).hexdigest()
    made = Artefact("ocsp", authority.stem, "", f"{number:x}", this_update, first_end, digest, data)
    return _Told(made, oldest + spec.refresh)


def _kept(old: Pack | None, owed: Mapping[int, Standing], refresh: int, now: int) -> dict[int, bytes]:
    """The records that still hold: they say what is owed, and are not near their end.

    Once one is due, all are signed: certificates issued all day long would else be due all day long.
    """
    # One record at a time: the objects of 100,000 would take 100 MB.
    if old is None or any(pack.dates(raw)[0] + refresh <= now for raw in old.raw()):
        return {}
    kept = {}
    for raw in old.raw():
        one = pack.unpack(raw)
        if owed.get(one.serial) == one.standing:
            kept[one.serial] = raw
    return kept


def _first(kept: Mapping[int, bytes]) -> tuple[int, int]:
    """The earliest thisUpdate and the earliest nextUpdate."""
    dates = [pack.dates(raw) for raw in kept.values()]
    return min(one for one, _ in dates), min(one for _, one in dates)


def _body(maker: Maker, kept: Mapping[int, bytes], made: int) -> bytes:
    return pack.unsigned(maker, (kept[serial] for serial in sorted(kept)), made=made)


async def _signed(
    wanted: Sequence[tuple[int, Standing]],
    maker: Maker,
    signer: Signer,
    dates: tuple[int, int],
    authority: Authority,
    run: Run,
) -> dict[int, bytes]:
    """Records of these, signed in batches by workers."""
    world = run.world
    made: dict[int, bytes] = {}
    pkcs8 = signer.portable()

    async def one_batch(batch: Sequence[tuple[int, Standing]]) -> None:
        ids = [(authority.issuer_key, f"{serial:x}") for serial, _ in batch]
        ders = await world.store.ders(ids)
        due = [Due(*one, der) for one, der in zip(batch, ders, strict=True)]
        if pkcs8 is None:
            records = await asyncio.to_thread(presigned, maker, signer.sign, due, *dates)
        else:
            records = await world.work(presign, maker, pkcs8, due, *dates)
        made.update({one.serial: raw for one, raw in zip(due, records, strict=True) if raw})
        world.emit(Event("ocsp", f"ocsp.{maker.name}", len(made), len(wanted), address=f"ocsp.{authority.name}"))

    batches = (wanted[start : start + _BATCH] for start in range(0, len(wanted), _BATCH))
    await side_by_side(batches, one_batch, _UNDER_WAY)
    if refused := len(wanted) - len(made):
        _alarm(
            authority, run, f"{counted(refused, 'serial')} in the state, of no certificate that {authority.at} signed"
        )
    return made


# What is revoked: by the state, and by every list of ours that is about.


async def _standings(
    authority: Authority, earlier: Sequence[Pack], run: Run
) -> tuple[dict[int, Standing], frozenset[int]]:
    """Serial -> what is revoked, and those of them that the database has forgotten."""
    world = run.world
    said: dict[int, Standing] = {}
    for one in earlier:
        said.update(await asyncio.to_thread(_revoked, one))
    listed = await world.store.artefact("crl", authority.stem)
    if listed and listed.der:
        said.update(await asyncio.to_thread(_listed, listed.der, authority))
    known = {
        int(one.serial, 16): Standing(one.revoked_at, one.reason)
        for one in await world.store.revocations(authority.issuer_key)
    }
    lost = frozenset(said.keys() - known.keys())
    if lost:
        message = f"not in the state: {counted(len(lost), 'serial')} that {authority.at} revoked; revoked they stay"
        _alarm(authority, run, message)
    known |= {serial: _more(said[serial], one) for serial, one in known.items() if serial in said}
    return {serial: _plain(one) for serial, one in {**said, **known}.items()}, lost


def _more(said: Standing, stored: Standing) -> Standing:
    """As the lists: neither the first date nor a compromise is taken back by the database."""
    at = min(one.revoked_at for one in (said, stored) if one.revoked_at is not None)
    return evolve(stored, revoked_at=at, reason=said.reason if said.reason == "keyCompromise" else stored.reason)


def _revoked(earlier: Pack) -> dict[int, Standing]:
    """What a pack says is revoked."""
    return {one.serial: one.standing for one in map(pack.unpack, earlier.raw()) if one.standing != GOOD}


def _plain(standing: Standing) -> Standing:
    """As an answer says it: `unspecified` is left out."""
    return evolve(standing, reason=None) if standing.reason == "unspecified" else standing


def _listed(der: bytes, authority: Authority) -> dict[int, Standing]:
    """What the newest CRL of the state says, if it is this CA's."""
    try:
        crl.verify(der, authority.facts)
        entries = crl.read(der, limit=len(der)).entries
    except (ValueError, SignatureError):
        return {}
    return {one.serial: Standing(one.revoked_at, one.reason) for one in entries}


async def _published(authority: Authority, run: Run) -> list[Pack]:
    """The packs of this CA that readers see now.

    Raises:
        PkicodeError: a target cannot be reached.
    """
    found = []
    for target in run.config.ca(authority.name).publish:
        try:
            data = await run.world.publishers[target].read(pack.path(authority.stem), limit=pack.LIMIT)
        except Foreign as error:
            _alarm(authority, run, f"publish.{target}: {error.message}; {crl_lists.UNHEEDED}")
            continue
        found.append(_genuine(data, f"publish.{target}", authority, run))
    return [one for one in found if one]


def _genuine(data: bytes | None, where: str, authority: Authority, run: Run) -> Pack | None:
    """A pack, if it is this CA's; a forged or broken one counts for nothing, and is told."""
    if data is None:
        return None
    try:
        found = pack.read(data)
        if found.maker.ca != authority.der:
            raise ValueError("it is another CA's")
    except ValueError as error:
        what = f"{where}: ocsp/{authority.stem}.pack is not a pack of {authority.at}"
        _alarm(authority, run, f"{what} ({error}); {crl_lists.UNHEEDED}")
        return None
    return found


def _alarm(authority: Authority, run: Run, message: str) -> None:
    run.world.emit(Event("ocsp", message, address=f"ocsp.{authority.name}", failed=True))
