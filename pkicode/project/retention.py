"""Retention: certificates that ended long ago leave the inventory for an archive, when somebody asks for it.

What a plan, a list or an answer can still need stays: what is managed now, CA certificates, what the newest CRL still
lists, and what a [[revoke]] entry of pki.toml was about.  An archive is durable and read back before what it holds is
deleted, by a commit that refuses rows which changed meanwhile; counts go on from its receipt.
"""

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from pkicode.kinds import authority as authorities
from pkicode.kinds.crl_lists import LIMIT
from pkicode.model.event import Event
from pkicode.model.faults import FaultPoint, Reach
from pkicode.model.instants import NO_EXPIRY, rfc3339
from pkicode.model.problem import PkicodeError, StateError, installing
from pkicode.ports import Archive, CertificateStatus, Lease, Match, Revocation, Store, Want, Write
from pkicode.project.leases import TTL
from pkicode.project.state import State
from pkicode.revocation import crl

if TYPE_CHECKING:
    from pkicode.adapters.archive import Leaving

AT_ONCE = 10_000
"""Certificates in one file and one commit."""
_ASKED = 250
_LEAVING = ("cert.", "ocsp.", "journal.")
"""Addresses whose certificates leave; those of CAs are few, and what is archived was signed by them."""
_FACTS = ("issuer_key", "serial", "status", "address", "generation", "ca", "ca_generation", "not_after")

Id = tuple[str, str]
"""(issuer_key, serial)."""


@frozen
class Removable:
    """What may leave the inventory now."""

    before: int
    """All of it ended before this instant."""
    ids: tuple[Id, ...] = field(repr=False)
    statuses: Mapping[str, int]
    """How many of each status."""


@frozen
class _Needed:
    """What must stay, whenever it ended."""

    managed: frozenset[tuple[str, int]]
    """Address and generation of what pki.toml manages."""
    declared: frozenset[Id]
    """What the [[revoke]] entries of pki.toml were about."""
    listed: Mapping[tuple[str, int], frozenset[str]]
    """(ca, generation) -> serials that its newest lists still show."""
    told: Mapping[tuple[str, int], int]
    """(ca, generation) -> when its newest full list was signed; 0 if none was."""

    def leaves(self, rows: Iterable[Sequence[Any]], statuses: Counter[str]) -> Iterator[Id]:
        """Those of these certificates that nothing needs, each counted by its status; rows are _FACTS."""
        shared: dict[str, str] = {}
        for issuer_key, serial, status, address, generation, ca, ca_generation, not_after in rows:
            if (
                status != CertificateStatus.INTENT
                and address.startswith(_LEAVING)
                and (address, generation) not in self.managed
                and (issuer_key, serial) not in self.declared
                and serial not in self.listed.get((ca, ca_generation), ())
                # A revocation leaves after a list from beyond its end has shown it (RFC 5280 section 3.3).
                and (status != CertificateStatus.REVOKED or not_after < self.told.get((ca, ca_generation), NO_EXPIRY))
            ):
                statuses[status] += 1
                yield shared.setdefault(issuer_key, issuer_key), serial


def folder(state: State) -> Path:
    """Where archives are."""
    return state.folder / "archive"


async def removable(state: State, store: Store) -> Removable:
    """What `prune` would take now.

    Raises:
        PkicodeError: pki.toml does not say how long certificates are kept.
    """
    keep = state.config.settings.state.keep
    if keep is None:
        raise PkicodeError(
            "pki.toml does not say how long certificates are kept, so all of them are",
            help='write keep = "2y" below [state]: from their end on',
        )
    # A clock that is ahead would send away what is valid: nothing is older than the state's last event says.
    before = min(state.clock(), (await store.about()).newest) - keep
    needed = await _needed(state, store, before)
    statuses: Counter[str] = Counter()
    found = await store.facts(Want(expiring_before=before), _FACTS, lambda rows: [*needed.leaves(rows, statuses)])
    return Removable(before, tuple(found), statuses)


async def _needed(state: State, store: Store, before: int) -> _Needed:
    managed = frozenset((str(one.address), one.generation) for one in await store.held() if not one.is_forgotten)
    entries = {entry.id for entry in state.config.settings.revoke}
    declared = frozenset((one.issuer_key, one.serial) for one in await store.matches() if one.entry in entries)
    listed: dict[tuple[str, int], frozenset[str]] = {}
    told: dict[tuple[str, int], int] = {}
    lists = {(one.name, one.scope): one.this_update for one in await store.artefacts() if one.kind == "crl"}
    for (name, generation), record in (await store.authorities()).items():
        ca = authorities.from_record(name, generation, record)
        # One that has ended signs no list any more, and nobody asks for its last one.
        if ca.not_after >= before:
            mine = [scope for stem, scope in lists if stem == ca.stem]
            told[name, generation] = lists.get((ca.stem, ""), 0)
            listed[name, generation] = frozenset().union(*[await _serials(store, ca.stem, scope) for scope in mine])
    return _Needed(managed, declared, listed, told)


async def _serials(store: Store, stem: str, scope: str) -> frozenset[str]:
    there = await store.artefact("crl", stem, scope)
    if there is None or there.der is None:
        return frozenset()
    try:
        return await asyncio.to_thread(_on_list, there.der)
    except ValueError as error:
        raise PkicodeError(
            f"the list {stem} in the state cannot be read: {error}; nothing left the inventory",
            help="`pkicode state verify`, then `pkicode apply`, which signs another",
        ) from error


def _on_list(der: bytes) -> frozenset[str]:
    return frozenset(f"{one.serial:x}" for one in crl.read(der, limit=LIMIT).entries)


@frozen
class Mover:
    """Moves what nothing needs into archives, a file and a commit at a time; safe to repeat wherever it stopped."""

    _state: State
    _store: Store
    _actor: str
    _reach: Reach
    _emit: Callable[[Event], None]
    _at_once: int
    """Certificates in a file."""

    async def prune(self, lease: Lease) -> tuple[Removable, tuple[Path, ...]]:
        """What was moved, and where to.

        Raises:
            PkicodeError: pyarrow is missing, or pki.toml does not say how long certificates are kept.
            StateError: an archive cannot be written, or a row changed meanwhile; what is not archived is still there.
        """
        try:
            from pkicode.adapters import archive
        except ImportError as error:
            raise PkicodeError("archives are Parquet, and pyarrow is missing", help=installing("notebook")) from error
        state, store = self._state, self._store
        going = await removable(state, store)
        parting: dict[Id, list[Match]] = defaultdict(list)
        for match in await store.matches() if going.ids else ():
            parting[match.issuer_key, match.serial].append(match)
        lineage = (await store.about()).lineage
        if not lineage.isalnum():
            raise StateError(
                "the lineage of the state was altered: it would lead elsewhere", help="`pkicode state verify`"
            )
        number = len({one.file for one in await store.archives()})
        made = []
        for start in range(0, len(going.ids), self._at_once):
            number += 1
            # The same name for the same number: what a crash left there is written again, never counted twice.
            path = folder(state) / f"{lineage[:8]}-{number:06}.parquet"
            # Whoever slept through its lease would put its file over another one's, whose certificates are gone.
            async with archive.alone(path.parent):
                lease = await store.renew(lease, now=state.clock(), ttl=TTL)
                await _refuse_lone(path, await asyncio.to_thread(archive.ids, path), store)
                leaving = await _leaving(going.ids[start : start + self._at_once], parting, store, going.before)
                digest = await asyncio.to_thread(archive.write, path, leaving, self._reach)
            lease = await store.renew(lease, now=state.clock(), ttl=TTL)
            await store.commit(_write(path.name, digest, leaving, state.clock(), self._actor), lease)
            self._reach(FaultPoint.PRUNED)
            made.append(path)
            self._emit(Event("archive", path.name, start + len(leaving), len(going.ids)))
        return going, tuple(made)


async def _refuse_lone(path: Path, there: Sequence[Id], store: Store) -> None:
    """What a crash left under this name is in the inventory still; of anything else it is the only copy.

    Raises:
        StateError: whoever deleted receipts would have their archive overwritten.
    """
    for start in range(0, len(there), _ASKED):
        some = there[start : start + _ASKED]
        found = await store.certificates(Want(serials=[serial for _, serial in some], with_der=False))
        if not {(one.issuer_key, one.serial) for one in found}.issuperset(some):
            raise StateError(
                f"the archive {path} holds certificates that neither the inventory nor a receipt has",
                help="keep it elsewhere, and find out who changed the state: `pkicode state verify`",
            )


async def _leaving(
    ids: Sequence[Id], parting: Mapping[Id, Sequence[Match]], store: Store, before: int
) -> "list[Leaving]":
    from pkicode.adapters.archive import Leaving

    certificates = []
    for start in range(0, len(ids), _ASKED):
        some = set(ids[start : start + _ASKED])
        want = Want(serials=[serial for _, serial in some], expiring_before=before)
        certificates += [one for one in await store.certificates(want) if (one.issuer_key, one.serial) in some]
    revocations: dict[Id, Revocation] = {}
    for issuer_key in {one.issuer_key for one in certificates}:
        revoked = [one.serial for one in certificates if one.issuer_key == issuer_key and one.revoked_at is not None]
        revocations |= {(issuer_key, one.serial): one for one in await store.revocations(issuer_key, revoked)}
    ids_of = ((one, (one.issuer_key, one.serial)) for one in certificates)
    return [Leaving(one, revocations.get(which), tuple(parting.get(which, ()))) for one, which in ids_of]


def _write(file: str, digest: str, leaving: "Sequence[Leaving]", now: int, actor: str) -> Write:
    by_ca: dict[tuple[str, str, int], list[Leaving]] = defaultdict(list)
    for one in leaving:
        by_ca[one.certificate.issuer_key, one.certificate.ca, one.certificate.ca_generation].append(one)
    detail = {"count": len(leaving), "ended_before": rfc3339(max(one.certificate.not_after for one in leaving) + 1)}
    return Write(
        at=now,
        actor=actor,
        action="archive",
        subject=file,
        detail=json.dumps({**detail, "sha256": digest}, sort_keys=True),
        archives=[_receipt(file, digest, *of, some, now) for of, some in by_ca.items()],
        archived=[one.certificate for one in leaving],
        parted=[match for one in leaving for match in one.matches],
    )


def _receipt(
    file: str, digest: str, issuer_key: str, ca: str, generation: int, some: "Sequence[Leaving]", now: int
) -> Archive:
    certificates = [one.certificate for one in some]
    revocations = [one.revocation for one in some if one.revocation]
    counting = [
        one.not_after
        for one in certificates
        if one.status != CertificateStatus.ABORTED and not one.address.startswith("ocsp.")
    ]
    return Archive(
        file,
        issuer_key,
        ca,
        generation,
        digest,
        now,
        certificates=len(certificates),
        revoked=sum(2 if one.reason == "keyCompromise" else 1 for one in revocations),
        newest=max(one.not_after for one in certificates),
        ended=max(counting, default=0),
    )
