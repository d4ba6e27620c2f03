"""What faces ask of a project besides plan and apply: inventory, explanations, exports, state and keystore upkeep."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import frozen

from pkicode.adapters.sqlite import SqliteStore
from pkicode.kinds import authority as authorities
from pkicode.model.address import Address
from pkicode.model.change import Change, Plan
from pkicode.model.instants import NO_EXPIRY, rfc3339
from pkicode.model.problem import PkicodeError
from pkicode.model.row import Held
from pkicode.ports import About, KeyStore
from pkicode.x509.pem import encode


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
    rows: int
    templates: int


@frozen
class Exported:
    """The certificate of an address, with its chain and, if asked for and ours, its key."""

    chain_pem: bytes
    key_pkcs8: bytes | None


def explain(address: Address, held: Sequence[Held], plan: Plan) -> tuple[int, str, tuple[str, ...]]:
    """(generation, status, sentences)."""
    row = max((one for one in held if one.address == address), key=lambda one: one.generation, default=None)
    lines = [_why(change) for change in plan.changes if change.address == address]
    if row is None:
        return 0, "not there", tuple(lines) or ("pki.toml does not declare it, and state does not know it",)
    if not lines:
        lines.append(f"nothing to do at {rfc3339(plan.at)}")
    if row.due < NO_EXPIRY:
        lines.append(f"due {rfc3339(row.due)}")
    if row.needs:
        lines.append(f"stands on {row.needs}")
    lines += [
        f"pending: {', '.join(one.fields)} changed in pki.toml and takes effect at the next renewal"
        for one in plan.pending
        if one.block == address.block
    ]
    return row.generation, row.status, tuple(lines)


def _why(change: Change) -> str:
    reasons = "; ".join(f"{one.code}{f' ({one.detail})' if one.detail else ''}" for one in change.reasons)
    held_back = f", {change.readiness}: {change.waits}" if change.waits else ""
    return f"{change.action} generation {change.generation}: {reasons}{held_back}"


async def export(
    address: Address, store: SqliteStore, keystores: Mapping[str, KeyStore], *, with_key: bool
) -> Exported:
    """The current certificate of an address and the CAs up to, not including, the root.

    Raises:
        PkicodeError: there is no certificate, or its key is not ours.
    """
    records = await store.records(address.kind, address.name, [address.key])
    if not records:
        raise PkicodeError(f"{address} has no certificate", help="`pkicode inventory` lists those there are")
    (_, generation), record = max(records.items(), key=lambda one: one[0][1])
    if address.kind == "ca":
        found = authorities.from_record(address.name, generation, record)
        own, issuer, label, keys = found.der, found.issuer, found.key_label, found.key_store
    else:
        told_record = json.loads(record)
        (der,) = await store.ders([(told_record["issuer_key"], told_record["serial"])])
        if der is None:
            raise PkicodeError(f"the certificate of {address} is not in the inventory", help="`pkicode state verify`")
        own, issuer = der, told_record["issuer"][0]
        label, keys = told_record["key_label"], told_record["key_store"]
    known = await store.authorities()
    chain = [own]
    while issuer and len(chain) < 16:
        newest = max(generation for name, generation in known if name == issuer)
        above = authorities.from_record(issuer, newest, known[issuer, newest])
        if above.issuer:
            chain.append(above.der)
        issuer = above.issuer
    key = None
    if with_key:
        if not label:
            raise PkicodeError(
                f"the key of {address} is not ours: it was issued from a CSR", help="export without --key"
            )
        (key,) = await keystores[keys].export([label])
    return Exported(b"".join(encode("CERTIFICATE", one) for one in chain), key)
