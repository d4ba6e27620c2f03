"""What faces ask of a project besides plan and apply: explanations, exports, and plan files."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from attrs import field, frozen

from pkicode.adapters import durable
from pkicode.adapters.store import StateStore
from pkicode.config import files
from pkicode.config.reader import Config
from pkicode.kinds import authority as authorities
from pkicode.kinds.leaf import life_of, owns
from pkicode.model.address import Address, parse
from pkicode.model.change import Change, Plan
from pkicode.model.instants import NO_EXPIRY, rfc3339
from pkicode.model.problem import PkicodeError, StateError
from pkicode.model.row import Held
from pkicode.plan import planfile
from pkicode.plan.kind import Snapshot
from pkicode.ports import CertificateStatus, KeyStore, Store, Want
from pkicode.x509.chain import chain_pem
from pkicode.x509.keys import load_pkcs8, spki
from pkicode.x509.tbs import facts_of

T = TypeVar("T")


DECLARED_IN = {"crl": "ca", "ocsp": "ca", "output": "cert"}
"""Kinds whose blocks are tables of others."""


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
class Exported:
    """The certificate of an address, with its chain and, if asked for and ours, its key."""

    chain_pem: bytes
    key_pkcs8: bytes | None = field(repr=False)


def meant(text: str) -> Address:
    """The address that somebody wrote.

    Raises:
        PkicodeError: it is none.
    """
    try:
        return parse(text)[0]
    except ValueError as error:
        raise PkicodeError(str(error)) from error


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
    keystore: Callable[[str], KeyStore],
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
    known = authorities.of_records(config, now, await store.authorities(), {}, await store.held("ca"))
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


async def _key(address: Address, label: str, certificate: bytes, config: Config, keystore: KeyStore) -> bytes:
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
    draft = durable.draft_of(path)
    # In a container every process may have the same number.
    draft.unlink(missing_ok=True)
    durable.sweep(path)
    durable.write_new(draft, data, 0o600)
    draft.replace(path)
    durable.sync(path.parent)
    return plan_id


def _is_plan(path: Path) -> bool:
    """Whether it begins like one: a plan of 100,000 is 40 MB, and whether it was edited does not matter here."""
    try:
        with path.open("rb") as stream:
            return stream.read(len(planfile.OPENING)) == planfile.OPENING
    except OSError:
        return False


def load(path: Path) -> planfile.SavedPlan:
    """Read a plan file; see Project.load."""
    return planfile.load(files.read_bytes(path, str(path), planfile.LIMIT))
