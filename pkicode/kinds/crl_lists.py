"""What a CA generation's CRLs list, scope by scope: the full list, and every shard that an unexpired certificate names.

Numbers and entries are held against the state and against what is published; what an earlier list says revoked stays
revoked even when the database has forgotten it.  The heavy halves are pure functions for a worker.
"""

import json
from collections.abc import Mapping, Sequence

from attrs import evolve, field, frozen

from pkicode.config.language import CrlSpec
from pkicode.config.reader import Config
from pkicode.kinds import authority as authorities
from pkicode.kinds.authority import Authority, crl_urls
from pkicode.model.change import Change
from pkicode.model.counted import counted
from pkicode.model.event import Event
from pkicode.model.instants import DAY, rfc3339
from pkicode.model.problem import Foreign, Problem
from pkicode.plan.kind import Run
from pkicode.ports import Revocation
from pkicode.revocation import crl
from pkicode.revocation.shards import named, path, shard_of, sharded, shards
from pkicode.x509.keys import SignatureError

LIMIT = 512 * 1024 * 1024
"""The largest published CRL that is read back."""

CLOCK_TOLERANCE = 300
"""How far this clock may be behind what is published, or the newest event of the state."""

UNHEEDED = "it counts for nothing, and is replaced unless all that is there is another PKI's"
"""What becomes of a file that is not ours where ours is published; publication.py refuses to take another's place."""

_COMPROMISE = "keyCompromise"

_CHUNK = 2000
"""Certificates that are looked at together when they leave a list: a hundred thousand would be 100 MB."""


@frozen
class Scope:
    """One list of a CA generation, and what is known of it."""

    shard: str
    """"" is the full list."""
    urls: tuple[str, ...]
    """Its distribution point: first today's URLs, then those that older certificates name.  None: the full list."""
    earlier: tuple[crl.CrlFacts, ...] = field(repr=False)
    """The newest that state keeps, and those readers see now, verified."""
    kept: bool
    """Whether the newest of them is the one that state keeps."""


@frozen
class Drawn:
    """A list to be: its entries, in order."""

    scope: Scope
    entries: tuple[crl.Entry, ...] = field(repr=False)
    is_due: bool
    """Whether it says more than before: the full list always, a shard when something on it is new."""


def base_urls(spec: CrlSpec, name: str, config: Config) -> tuple[str, ...]:
    """The base URLs that the shards of a CA name; none while it has no shards."""
    return config.ca(name).own_base_urls if spec.shards else ()


async def scopes(authority: Authority, spec: CrlSpec, run: Run) -> list[Scope]:
    """The full list, today's shards, and every other shard that an unexpired certificate names.

    Raises:
        PkicodeError: a target cannot be reached.
    """
    full = crl_urls(base_urls(spec, authority.name, run.config), authority.stem)
    found = {shard: list(sharded(full, shard)) for shard in shards(spec.shards if full else 0) if shard}
    for duty in await run.world.store.duties(authority.name, authority.generation, run.world.now):
        for shard, urls in named(json.loads(duty), authority.stem).items():
            known = found.setdefault(shard, [])
            known += [url for url in urls if url not in known]
    order = sorted(found, key=int)
    return [await _scope(authority, shard, tuple(found.get(shard, ())), run) for shard in ("", *order)]


async def _scope(authority: Authority, shard: str, urls: tuple[str, ...], run: Run) -> Scope:
    """A list with those that went before it; a forged or broken one counts for nothing, and is told."""
    place = path(authority.stem, shard)
    stored = await run.world.store.artefact("crl", authority.stem, shard)
    read: list[tuple[str, bytes]] = [("the state", stored.der)] if stored and stored.der else []
    for target in run.config.ca(authority.name).publish:
        try:
            data = await run.world.publishers[target].read(place, limit=LIMIT)
        except Foreign as error:
            alarm(authority, run, f"publish.{target}: {error.message}; {UNHEEDED}")
            continue
        if data is not None and data not in [known for _, known in read]:
            read.append((f"publish.{target}", data))
    earlier: list[crl.CrlFacts] = []
    ours = -1
    for where, data in read:
        one: crl.CrlFacts | str = await run.world.work(genuine, data, authority, shard)
        if isinstance(one, str):
            meant = "it counts for nothing" if where == "the state" else UNHEEDED
            alarm(authority, run, f"{where}: {place} is not a CRL of {authority.at} ({one}); {meant}")
            continue
        earlier.append(one)
        ours = one.number if where == "the state" else ours
    return Scope(shard, urls, tuple(earlier), kept=bool(earlier) and ours == max(one.number for one in earlier))


def genuine(data: bytes, authority: Authority, shard: str) -> crl.CrlFacts | str:
    """What a list says, if it is this CA's of this scope; else why it is not."""
    try:
        crl.verify(data, authority.facts)
        found = crl.read(data, limit=LIMIT)
    except (ValueError, TypeError, SignatureError) as error:
        return str(error)
    # Another shard's list is signed by the same key: put here, it would hide what this one says.
    if (set(named(found.urls, authority.stem)) or {""}) != {shard}:
        return "it is of another scope"
    return found


def alarm(authority: Authority, run: Run, message: str) -> None:
    run.world.emit(Event("crl", message, address=f"crl.{authority.name}", failed=True))


async def drawn(
    authority: Authority, spec: CrlSpec, found: Sequence[Scope], revocations: Sequence[Revocation], run: Run
) -> list[Drawn]:
    """What each of these lists has to say now."""
    known, lost, altered = await run.world.work(complete, revocations, found, authority)
    if altered:
        told = f"{altered} serials on an earlier CRL of {authority.at} have another date or reason in the state"
        alarm(authority, run, f"{told}; what the list says stands")
    for count in lost:
        alarm(
            authority,
            run,
            f"not in the state: {counted(count, 'serial')} on an earlier CRL of {authority.at}; revoked they stay",
        )
    ids = [(one.issuer_key, one.serial) for one in known]
    duties = await run.world.store.duty_of(ids) if len(found) > 1 else []
    shares: Mapping[str, list[Revocation]] = await run.world.work(
        shared_out, known, duties, found, authority.stem, spec.shards
    )
    return [await _drawn(scope, shares[scope.shard], authority, run) for scope in found]


def from_the_future(change: Change, what: str, newest: int, now: int) -> Problem:
    """That a list or a pack is published which this clock could not follow without telling less than it does."""
    signed = rfc3339(newest)
    return Problem(
        "E0511",
        f"{change.address}: the {what} that is published was signed {signed}; this clock says {rfc3339(now)}",
        help=f"set the clock; if it is right, the {what} was signed by one that was ahead: wait until {signed}",
        address=str(change.address),
    )


def complete(
    revocations: Sequence[Revocation], found: Sequence[Scope], authority: Authority
) -> tuple[list[Revocation], list[int], int]:
    """All that is revoked: by the database, and after that only by the last list; how many each of these brought.

    The third is of how many the last list says an earlier date, or a compromise that the database does not: both stand.
    What an older one says beyond that has left the lists in good order, and may have been archived: whoever put it back
    where lists are published would have all of it listed again.
    """
    known = list(revocations)
    places = {int(one.serial, 16): place for place, one in enumerate(revocations)}
    lost, altered = [], 0
    for facts in (facts for scope in found for facts in _last(scope)):
        new: list[crl.Entry] = []
        for entry in facts.entries:
            place = places.setdefault(entry.serial, len(known) + len(new))
            if place == len(known) + len(new):
                new.append(entry)
            elif place < len(revocations) and _says_more(entry, known[place]):
                at = min(entry.revoked_at, known[place].revoked_at)
                reason = _COMPROMISE if entry.reason == _COMPROMISE else known[place].reason
                known[place] = evolve(known[place], revoked_at=at, reason=reason)
                altered += 1
        # Nobody knows when they expire: they stay for as long as the CA lives.
        known += [
            Revocation(
                authority.issuer_key,
                f"{entry.serial:x}",
                entry.revoked_at,
                entry.reason or "unspecified",
                authority.not_after + DAY,
                "published",
                entry.invalidity,
            )
            for entry in new
        ]
        lost += [len(new)] if new else []
    return known, lost, altered


def _says_more(entry: crl.Entry, stored: Revocation) -> bool:
    """Whether a list says an earlier date, or a compromise that the database does not: neither is taken back."""
    return entry.revoked_at < stored.revoked_at or (entry.reason == _COMPROMISE != stored.reason)


def _last(scope: Scope) -> list[crl.CrlFacts]:
    """The verified list of the highest number; several, where a crash gave one number twice."""
    newest = max((one.number for one in scope.earlier), default=0)
    return [one for one in scope.earlier if one.number == newest]


def shared_out(
    known: Sequence[Revocation], duties: Sequence[str | None], found: Sequence[Scope], stem: str, count: int
) -> dict[str, list[Revocation]]:
    """Shard -> what it lists: certificates that name it, those of which nobody knows what they name, by their serial,
    and whatever an earlier list of the shard said."""
    shares: dict[str, list[Revocation]] = {scope.shard: [] for scope in found}
    shares[""] = list(known)
    if len(found) == 1:
        return shares
    told = {scope.shard: {entry.serial for facts in scope.earlier for entry in facts.entries} for scope in found}
    names: dict[str | None, set[str]] = {}
    for one, duty in zip(known, duties, strict=True):
        if duty not in names:
            names[duty] = set(named(json.loads(duty), stem)) if duty else set()
        serial = int(one.serial, 16)
        mine = names[duty] or {shard_of(serial, count)}
        for shard, share in shares.items():
            if shard and (shard in mine or serial in told[shard]):
                share.append(one)
    return shares


async def _drawn(scope: Scope, share: Sequence[Revocation], authority: Authority, run: Run) -> Drawn:
    """Those that have not expired, and the expired ones once more (RFC 5280 section 3.3).

    What leaves a list has expired by its certificate's own words: the database's could be edited to un-revoke it.
    """
    since = max((one.this_update for one in scope.earlier), default=0)
    leaving = [one for one in share if one.not_after < since]
    if leaving:
        told = {entry.serial for one in scope.earlier for entry in one.entries}
        leaving = [one for one in leaving if int(one.serial, 16) in told]
    staying: list[Revocation] = [one for one in share if one.not_after >= since]
    for start in range(0, len(leaving), _CHUNK):
        some = leaving[start : start + _CHUNK]
        ders = await run.world.store.ders([(one.issuer_key, one.serial) for one in some])
        staying += await run.world.work(not_expired, some, ders, authority, since)
    drawn: Drawn = await run.world.work(in_order, scope, staying)
    return drawn


def not_expired(
    some: Sequence[Revocation], ders: Sequence[bytes | None], authority: Authority, since: int
) -> list[Revocation]:
    """Those whose certificates do not say themselves that they ended before an instant."""
    pairs = zip(some, ders, strict=True)
    return [one for one, der in pairs if not authorities.has_expired(der, one.serial, authority, since)]


def in_order(scope: Scope, staying: Sequence[Revocation]) -> Drawn:
    """The list as it will stand there."""
    entries = [
        crl.Entry(
            int(one.serial, 16), one.revoked_at, None if one.reason == "unspecified" else one.reason, one.invalidity
        )
        for one in staying
    ]
    entries.sort(key=lambda one: one.serial)
    is_due = not scope.shard or not scope.kept
    if not is_due:
        newest = max(scope.earlier, key=lambda one: one.number)
        # That entries leave it is no reason to sign.
        is_due = newest.urls != scope.urls or not set(entries) <= set(newest.entries)
    return Drawn(scope, tuple(entries), is_due)


def signable(drawn: Drawn, authority: Authority, number: int, this_update: int, next_update: int) -> bytes:
    """The TBSCertList."""
    dates = {"this_update": this_update, "next_update": next_update}
    return crl.tbs(authority.facts, drawn.entries, number=number, urls=drawn.scope.urls, **dates)


def verified(tbs: bytes, signature: bytes, authority: Authority) -> bytes:
    """The CRL, once its signature was checked."""
    der = crl.crl(tbs, authority.facts.alg, signature)
    crl.verify(der, authority.facts)
    return der
