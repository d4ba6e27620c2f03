"""What faces ask of a project besides plan and apply: inventory, explanations, exports, state and keystore upkeep."""

import json
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from attrs import field, frozen

from pkicode.adapters import durable, loop
from pkicode.adapters.backup import backup, restore
from pkicode.adapters.sealed import SealedKeyStore
from pkicode.adapters.store import StateStore
from pkicode.adapters.verify import audit as verify_audit
from pkicode.adapters.verify import verify as verify_state
from pkicode.config import files
from pkicode.config.reader import Config
from pkicode.kinds import authority as authorities
from pkicode.kinds.leaf import life_of, owns
from pkicode.model.address import Address
from pkicode.model.change import Change, Plan
from pkicode.model.instants import NO_EXPIRY, rfc3339
from pkicode.model.problem import PkicodeError, StateError
from pkicode.model.row import Held
from pkicode.plan import planfile
from pkicode.plan.kind import Snapshot
from pkicode.ports import About, Audited, CertificateStatus, Lease, Store, Want
from pkicode.project.state import State, holder
from pkicode.x509.chain import chain_pem
from pkicode.x509.keys import load_pkcs8, spki
from pkicode.x509.tbs import facts_of

T = TypeVar("T")


@frozen
class Explanation:
    """Why an address is as it is, and what a plan would do to it."""

    address: str
    generation: int
    status: str
    lines: tuple[str, ...]
    source: tuple[str, int] | None
    """File and line of its block."""


@frozen
class StateFacts:
    """What `state info` tells."""

    about: About
    path: Path
    counts: Mapping[str, int]
    """How many rows of each kind."""


@frozen
class Exported:
    """The certificate of an address, with its chain and, if asked for and ours, its key."""

    chain_pem: bytes
    key_pkcs8: bytes | None


async def revocations(address: Address, store: Store) -> tuple[str, ...]:
    """What was revoked of an address, or by a [[revoke]] entry, a sentence each."""
    of = {"matched_by": address.name} if address.kind == "revoke" else {"address": str(address)}
    found = []
    for one in await store.certificates(Want(statuses=(CertificateStatus.REVOKED,), with_der=False, **of)):  # type: ignore[arg-type]
        entry = next(known.entry for known in await store.revocations(one.issuer_key) if known.serial == one.serial)
        by = f", by {f'revoke.{entry}' if entry in await store.entries() else entry}"
        when = rfc3339(one.revoked_at or 0)
        found.append(f"{one.address}@{one.generation} was revoked {when} as {one.revocation_reason}{by}")
    return tuple(found)


def explain(
    address: Address, snapshot: Snapshot, plan: Plan, revoked: tuple[str, ...]
) -> tuple[int, str, tuple[str, ...]]:
    """(generation, status, sentences)."""
    row = max((one for one in snapshot.held if one.address == address), key=lambda one: one.generation, default=None)
    is_entry = address.kind == "revoke"
    lines = [
        f"{f'{change.address}: ' if is_entry else ''}{_why(change)}"
        for change in plan.changes
        if change.address == address or (is_entry and change.address.block == str(address))
    ]
    lines += revoked
    if is_entry and (lines or any(one.address == str(address) for one in plan.problems)):
        lines += [one.message for one in plan.problems if one.address == str(address)]
        return 0, "acted on" if revoked else "to be done" if lines else "", tuple(lines)
    if row is None:
        return 0, "not there", tuple(lines) or ("pki.toml does not declare it, and state does not know it",)
    if len(lines) == len(revoked):
        lines.append(f"nothing to do at {rfc3339(plan.at)}")
    if row.due < NO_EXPIRY:
        lines += _dates(row, snapshot, plan.project)
    if row.needs:
        lines.append(f"stands on {row.needs}")
    lines += [
        f"pending: {', '.join(one.fields)} changed in pki.toml and takes effect at the next renewal"
        for one in plan.pending
        if one.block == address.block
    ]
    return row.generation, row.status, tuple(lines)


def _dates(row: Held, snapshot: Snapshot, project: str) -> Iterator[str]:
    """When it is due, and of a certificate why then: the window that jitter draws from."""
    if row.kind != "cert" or row.status != "ok":
        yield f"due {rfc3339(row.due)}"
        return
    life = life_of(row, snapshot.templates[row.template], project)
    drawn = f", drawn between {rfc3339(life.earliest)} and {rfc3339(life.declared)}"
    yield f"due {rfc3339(row.due)}{drawn if life.earliest < life.declared else ''}"
    yield f"valid {rfc3339(life.not_before)} to {rfc3339(life.not_after)}"


def _why(change: Change) -> str:
    reasons = "; ".join(f"{one.code}{f' ({one.detail})' if one.detail else ''}" for one in change.reasons)
    held_back = f", {change.readiness}: {change.waits}" if change.waits else ""
    return f"{change.action} generation {change.generation}: {reasons}{held_back}"


async def export(
    address: Address,
    config: Config,
    store: StateStore,
    keystore: Callable[[str], SealedKeyStore],
    *,
    now: int,
    with_key: bool,
) -> Exported:
    """The current certificate of an address and the CAs up to, not including, the root.

    Raises:
        PkicodeError: there is no certificate, its key is not ours, or the state was altered.
    """
    records = await store.records(address.kind, address.name, [address.key])
    block = config.block(address.kind, address.name)
    if not records or block is None:
        raise PkicodeError(f"{address} has no certificate", help="`pkicode inventory` lists those there are")
    (_, generation), record = max(records.items(), key=lambda one: one[0][1])
    known = authorities.told(config, now, await store.authorities(), {}, await store.held())
    if address.kind == "ca":
        by = known.get(address.name, generation)
        own, label = by.der if by else b"", address.at(generation)
    else:
        told = json.loads(record)
        (der,) = await store.ders([(told["issuer_key"], told["serial"])])
        if der is None:
            raise PkicodeError(f"the certificate of {address} is not in the inventory", help="`pkicode state verify`")
        own, label, by = der, told["key_label"], known.get(*told["issuer"])
    if by is None:
        raise StateError(
            f"the issuer of {address} is not in the state", help="`pkicode state verify`, then restore a backup"
        )
    key = await _key(address, label, own, config, keystore(block.spec.key.store or "")) if with_key else None
    above = [one for one in known.chain(by) if one != own] if by.issuer or address.kind == "cert" else []
    return Exported(chain_pem(own, above), key)


async def _key(address: Address, label: str, certificate: bytes, config: Config, keystore: SealedKeyStore) -> bytes:
    """PKCS#8 of the certificate's key, if it is this address's own."""
    if not label:
        raise PkicodeError(f"the key of {address} is not ours: it was issued from a CSR", help="export without --key")
    try:
        (key,) = await keystore.export([label])
    finally:
        await keystore.close()
    if not owns(label, address, config) or spki(load_pkcs8(key, trusted=True)) != facts_of(certificate).spki:
        raise StateError(
            f"{label} is not the key of {address}", help="the database was altered: `pkicode state verify`"
        )
    return key


def save(plan: Plan, path: Path) -> str:
    """Write a plan file, for its owner alone; in the place of a plan, never of pki.toml or somebody's key."""
    if path.exists() and not (path.is_file() and _is_plan(path)):
        raise PkicodeError(f"{path} is there already, and is no plan file", help="remove it, or give another name")
    plan_id, data = planfile.encode(plan)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    durable.write_new(draft, data, 0o600)
    draft.replace(path)
    durable.sync(path.parent)
    return plan_id


def _is_plan(path: Path) -> bool:
    try:
        load(path)
    except PkicodeError:
        return False
    return True


def load(path: Path) -> planfile.SavedPlan:
    """Read a plan file; see Project.load."""
    return planfile.load(files.read_bytes(path, str(path), planfile.LIMIT))


@frozen
class Upkeep:
    """Looking after the state and the keystores of a project.  Every method blocks."""

    _state: State
    _keystore: Callable[[str], SealedKeyStore] = field(repr=False)

    def info(self) -> StateFacts:
        """Whose state it is, and how much is in it.

        Raises:
            PkicodeError: there is none yet.
        """
        return loop.run(self._info())

    async def _info(self) -> StateFacts:
        async with self._state.reading() as store:
            if store is None:
                raise PkicodeError("there is no state yet", help="`pkicode apply` makes it")
            rows = Counter(one.kind for one in await store.held() if one.status != "forgotten")
            return StateFacts(await store.about(), self._state.path, dict(sorted(rows.items())))

    def verify(self) -> list[str]:
        """Everything that is wrong with the state, one sentence each."""
        return verify_state(self._there(), self._state.journal.path)

    def verify_audit(self) -> list[str]:
        """Where the chain of audit events breaks."""
        return verify_audit(self._there())

    def _there(self) -> Path:
        if not self._state.path.exists():
            raise PkicodeError("there is no state yet", help="`pkicode apply` makes it")
        return self._state.path

    def audit(self, after: int, limit: int) -> Sequence[Audited]:
        """Audit events after a sequence number, oldest first."""
        return loop.run(self._audit(after, limit))

    async def _audit(self, after: int, limit: int) -> Sequence[Audited]:
        async with self._state.reading() as store:
            return await store.audit(after=after, limit=limit) if store else ()

    def backup(self, target: Path) -> None:
        """A consistent copy of the state, 0600; keys are not in it."""
        backup(self._there(), target)

    def restore(self, source: Path) -> None:
        """Put a backup in place, refused where that would lose a certificate, a revocation or a CRL number."""
        state = self._state
        if not source.exists():
            raise PkicodeError(f"there is no backup {source}", help="`pkicode state backup FILE` makes one")
        loop.run(restore(source, state.path, whose=state.wanted(), now=state.clock(), actor=holder()))

    def leases(self) -> Sequence[Lease]:
        """The leases that are held."""
        return loop.run(self._leases())

    async def _leases(self) -> Sequence[Lease]:
        async with self._state.reading() as store:
            return await store.leases() if store else ()

    def break_lease(self, name: str) -> Lease | None:
        """Take a lease away; its holder can commit nothing any more."""
        return loop.run(self._break_lease(name))

    async def _break_lease(self, name: str) -> Lease | None:
        store = await self._state.open()
        try:
            return await store.break_lease(name, now=self._state.clock(), actor=holder())
        finally:
            await store.close()

    def key_labels(self, name: str) -> Sequence[str]:
        """The labels of [keystore.NAME]; needs no passphrase."""
        return loop.run(self._with(name, lambda store: store.labels()))

    def verify_keys(self, name: str) -> Sequence[str]:
        """Every key opened and compared with its public half; what is wrong, one sentence each."""
        return loop.run(self._with(name, lambda store: store.verify()))

    def rewrap(self, name: str, passphrase: bytes) -> int:
        """Seal [keystore.NAME] under a new passphrase; returns how many keys it holds."""
        return loop.run(self._with(name, lambda store: store.rewrap(passphrase)))

    async def _with(self, name: str, work: Callable[[SealedKeyStore], Awaitable[T]]) -> T:
        store = self._keystore(name)
        try:
            return await work(store)
        finally:
            await store.close()
