"""`state adopt`: what only the issuance journal knows is recorded in the state, after an older copy was put back.

A line is believed where the key of a CA that the state knows signed it, or of a CA that such a key signed.  What the
published lists say is revoked is recorded with it.  No certificate becomes a resource row, so that apply issues others
in their place; a CA does, where its key is at hand: nobody else can revoke what it signed.
"""

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence

from attrs import evolve, field, frozen

from pkicode.adapters.journal import Journalled
from pkicode.config.language import COMPROMISES, CaSpec
from pkicode.config.reader import Config
from pkicode.kinds.authority import from_record
from pkicode.kinds.crl_lists import LIMIT, genuine
from pkicode.kinds.generation import Authority, Cross, rotates_at
from pkicode.model.address import parse
from pkicode.model.change import ReasonCode
from pkicode.model.problem import Foreign
from pkicode.model.row import Held
from pkicode.ports import Blocked, Certificate, CertificateStatus, KeyStore, Lease, Revocation, Store, Want, Write
from pkicode.project import behind, lookout, placing
from pkicode.project.placing import Line, Places
from pkicode.project.state import State
from pkicode.revocation import shards
from pkicode.revocation.crl import CrlFacts, Entry
from pkicode.x509 import keys
from pkicode.x509.tbs import IssuerFacts

_ENTRY = "published"
"""What asked for a revocation that only a published list tells of."""
_LIVE = (CertificateStatus.ISSUED, CertificateStatus.UNKNOWN)
_KNOWN = ("issuer_key", "serial", "status", "sha256", "not_after", "address", "generation", "spki")
Id = tuple[str, str]
"""(issuer_key, serial)."""


@frozen
class Known:
    """What counts of a certificate, of the inventory or about to enter it."""

    issuer_key: str
    serial: str
    status: str
    sha256: str
    not_after: int
    address: str
    generation: int
    spki: str


@frozen
class Adoption:
    """What is to be recorded, or was."""

    certificates: tuple[Certificate, ...] = field(repr=False)
    """What only the journal knew."""
    going_on: tuple[Authority, ...]
    """CA generations among them whose keys are at hand: they get rows."""
    keyless: tuple[Certificate, ...]
    """CAs among them that get none: what they signed is on no list any more."""
    revocations: tuple[Revocation, ...]
    """What published lists say of certificates that are here, and the state does not."""
    blocked: tuple[Blocked, ...]
    revoked_cas: tuple[str, ...]
    """CA generations of the state that a published list revokes, which takes more than a row of the inventory."""

    @property
    def is_empty(self) -> bool:
        return not self.certificates and not self.revocations


async def found(state: State, store: Store, opened: Callable[[str], KeyStore]) -> Adoption:
    """What only the journal knows, and what only published lists say is revoked.

    Raises:
        StateError: the journal is damaged, or a line of it is not to be believed.
        KeyStoreError: a keystore cannot be asked which keys it has.
        PkicodeError: a publish target cannot be read.
    """
    # Before the inventory: whatever is in it by now had its intent there before.
    journal = await state.journal.journalled()
    cas = [from_record(*one, record) for one, record in (await store.authorities()).items()]
    known = await store.facts(Want(), _KNOWN, lambda rows: [Known(*row) for row in rows])
    archived = max((one.newest for one in await store.archives()), default=-1)
    try:
        lines = await asyncio.to_thread(_lines, journal, [one.facts for one in cas], known)
    except ValueError as error:
        raise behind.not_to_be_believed(state.journal, error) from error
    lines = [one for one in lines if one.not_after > archived]
    places = await placing.places(lines, cas, state.config, store, opened)
    rows = await asyncio.to_thread(lambda: [_row(one, places, state) for one in lines])
    lists = {one.issuer_key: await _list(one, state) for one in places.authorities.values()}
    return await asyncio.to_thread(_joined, state, cas, known, lines, rows, places, lists)


def _lines(journal: Journalled, cas: Sequence[IssuerFacts], known: Sequence[Known]) -> list[Line]:
    """What the inventory has neither as a certificate nor as an intent, in the order it was signed.

    Raises:
        ValueError: a line is not to be believed.
    """
    there, sealed = {_id(one): one for one in known}, {one.sha256 for one in known}
    ours = behind.unknown(journal, sealed, cas)
    lines = []
    for name in journal:
        if name not in ours:
            continue
        try:
            one = placing.line_of(journal[name], ours[name])
            if one.id in there and there[one.id].sha256:
                raise ValueError(f"another certificate of serial {one.serial} than the state has")
        except ValueError as error:
            raise ValueError(f"at octet {journal.place(name)}, {error}") from error
        if one.id not in there:
            lines.append(one)
    return lines


def _row(line: Line, places: Places, state: State) -> Certificate:
    """As the inventory is to have it; what the certificate does not say is left empty."""
    address, generation = places.place(line)
    issuer = places.authorities.get(line.issuer.spki)
    _, label = places.held.get(line.key, ("", ""))
    return Certificate(
        issuer_key=keys.digest(line.issuer.spki),
        serial=line.serial,
        issuer_dn=line.issuer.dn,
        status=CertificateStatus.ISSUED,
        address=address,
        generation=generation,
        ca=issuer.name if issuer else "",
        ca_generation=issuer.generation if issuer else 0,
        profile="",
        subject=line.subject,
        sans=json.dumps(line.sans, ensure_ascii=False),
        not_before=line.not_before,
        not_after=line.not_after,
        key_alg=line.own.alg,
        key_label=label,
        spki=line.key,
        sha256=hashlib.sha256(line.der).hexdigest(),
        der=line.der,
        plan_id="",
        reason=str(ReasonCode.ADOPTED),
        session="",
        # What an entry's `issued_before` replaced is not to be revoked by it for having been adopted.
        created=min(line.not_before + _backdate(address, state.config), state.clock()),
        duty=json.dumps(line.urls),
    )


def _backdate(address: str, config: Config) -> int:
    """How far not_before lies before issuance, as pki.toml says it now: nothing else tells when it was."""
    named, _ = parse(address)
    block = config.block(named.kind, named.name) if named.kind in ("ca", "cert") else None
    # The default of those that stand in no block, delegates too.
    found: int = (block.spec if block else CaSpec()).backdate
    return found


async def _list(authority: Authority, state: State) -> Sequence[Entry]:
    """What the newest published list of a CA generation says, verified.

    Raises:
        PkicodeError: a target cannot be read.
    """
    newest: CrlFacts | None = None
    targets = {one.name: one.url for one in state.config.settings.publish}
    for name in state.config.ca(authority.name).publish:
        try:
            there = lookout.publisher(targets[name], state.config)
            data = await there.read(shards.path(authority.stem), limit=LIMIT)
        except Foreign:
            continue
        read = await asyncio.to_thread(genuine, data, authority, "") if data else "nothing"
        if not isinstance(read, str) and (newest is None or read.number > newest.number):
            newest = read
    return newest.entries if newest else ()


def _joined(
    state: State,
    cas: Sequence[Authority],
    known: Sequence[Known],
    lines: Sequence[Line],
    rows: Sequence[Certificate],
    places: Places,
    lists: Mapping[str, Sequence[Entry]],
) -> Adoption:
    said = {(key, f"{entry.serial:x}"): entry for key, entries in lists.items() for entry in entries}
    going_on = tuple(_going_on(state, cas, lines, places, said))
    goes_on, new_keys = {one.issuer_key for one in (*cas, *going_on)}, {line.key for line in lines if line.is_ca}
    revoked = [one for one in known if one.status in _LIVE and _id(one) in said]
    # More follows from the revocation of a CA than a row tells: the plan does that, when it is asked for.
    of_cas = {f"{one.address}@{one.generation}" for one in revoked if one.address.startswith("ca.")}
    meant: list[Known | Certificate] = [one for one in revoked if not one.address.startswith("ca.")]
    meant += [one for one in rows if _id(one) in said]
    lost = new_keys - goes_on
    barred = [one for one in meant if said[_id(one)].reason in COMPROMISES or one.spki in lost]
    return Adoption(
        certificates=tuple(rows),
        going_on=going_on,
        keyless=tuple(row for row in rows if row.spki in lost),
        revocations=tuple(_revocation(one, said[_id(one)]) for one in meant),
        blocked=tuple(
            Blocked(one.spki, state.clock(), said[_id(one)].reason or "unspecified", _ENTRY) for one in barred
        ),
        revoked_cas=tuple(sorted(of_cas)),
    )


def _id(one: Known | Certificate) -> Id:
    return one.issuer_key, one.serial


def _revocation(one: Known | Certificate, entry: Entry) -> Revocation:
    reason = entry.reason or "unspecified"
    return Revocation(*_id(one), entry.revoked_at, reason, one.not_after, _ENTRY, entry.invalidity)


def _going_on(
    state: State, cas: Sequence[Authority], lines: Sequence[Line], places: Places, said: Mapping[Id, Entry]
) -> Iterator[Authority]:
    """CA generations that get their rows back: key and name are as pki.toml says, and no list revokes them.

    Any other could sign no list, or would be refused by whoever loads it.
    """
    config, sound = state.config, {one.facts.spki for one in cas}
    for line in lines:
        one = places.authorities.get(line.own.spki)
        if one is None or one.der != line.der or line.id in said or config.block("ca", one.name) is None:
            continue
        is_held = places.held.get(one.issuer_key) == (config.ca(one.name).key.store, one.at)
        is_ours = placing.is_named(one.facts.dn, one.name, one.generation, config)
        if not is_held or not is_ours or (one.issuer and line.issuer.spki not in sound):
            continue
        sound.add(one.facts.spki)
        also = [each for each in lines if each.own.spki == one.facts.spki and each.der != one.der]
        by = [(each, above) for each in also if (above := places.authorities.get(each.issuer.spki))]
        yield evolve(one, crosses=tuple(Cross(each.der, above.name, above.generation) for each, above in by))


async def record(adoption: Adoption, state: State, store: Store, lease: Lease, actor: str) -> None:
    """All of it in one commit, with its audit event.

    Raises:
        LeaseLost, StateError: nothing was recorded.
    """
    held = [(await _held(one, state, store, lease), one.record()) for one in adoption.going_on]
    rows = adoption.certificates
    detail = {
        "cas": [one.at for one in adoption.going_on],
        "count": len(rows),
        "digest": hashlib.sha256(b"".join(one.der for one in rows)).hexdigest(),
        "revoked": len(adoption.revocations),
    }
    write = Write(
        at=state.clock(),
        actor=actor,
        action="adopt",
        subject=state.journal.path.name,
        detail=json.dumps(detail, sort_keys=True, separators=(",", ":")),
        held=held,
        adopted=rows,
        revocations=adoption.revocations,
        blocked=adoption.blocked,
    )
    await store.commit(write, lease)


async def _held(one: Authority, state: State, store: Store, lease: Lease) -> Held:
    """The row that issuance would have left."""
    block = state.config.block("ca", one.name)
    if block is None:
        raise ValueError(f"{one.at} has no block")
    number = await store.template(block.template, lease=lease)
    crosses = json.dumps(sorted(f"{each.by}" for each in one.crosses))
    due, needs = rotates_at(block.spec, one.not_before), f"ca.{one.issuer}" if one.issuer else ""
    return Held("ca", one.name, "", one.generation, number, crosses, due, needs, "ok", 0)
