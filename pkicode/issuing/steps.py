"""The steps of the issuance cycle, each leaving something durable: keys, intents, journalled certificates, settlement.

In which order they are taken stands in pkicode.issuing; what becomes of their remains, in resumption.py.
"""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial

from attrs import frozen

from pkicode.issuing.batch import Asked, Issued, Order, Ready, Settle, Template, prepare, sign, signed
from pkicode.model.faults import FaultPoint
from pkicode.model.instants import rfc3339
from pkicode.model.problem import LeaseLost, PkicodeError, Problem, StateError
from pkicode.ports import (
    Certificate,
    CertificateStatus,
    KeyFacts,
    Mint,
    NewKey,
    Revocation,
    Settlement,
    Signer,
    Want,
    World,
    Write,
)
from pkicode.revocation.shards import shard_of, sharded, shards
from pkicode.x509 import keys
from pkicode.x509.tbs import IssuerFacts


@frozen
class Reserved:
    """An order, its TBS, and the intent that holds exactly this TBS."""

    order: Order
    ready: Ready
    intent: Certificate


# Prepare: durable keys, serials, and a TBS that passed lint.


async def prepared(template: Template, orders: Sequence[Order], world: World) -> list[Ready | Problem]:
    """Every order with its durable key, serial and linted TBS, or its problem."""
    not_before = max(world.now - template.backdate, template.issuer.not_before)
    not_after = template.not_after(not_before)
    if not_after > template.issuer.not_after:
        return [_outlives(template, one.address, not_after) for one in orders]
    serials = _serials(len(orders), world)
    held, mint = await _keys(template, orders, world)
    while True:
        batch = [
            asked(order, held, serial, not_before, not_after) for order, serial in zip(orders, serials, strict=True)
        ]
        made = await barred(template, orders, await world.work(prepare, template, batch, mint), world)
        found = apart(orders, await unshared(orders, made, partial(world.store.owners, now=world.now)))
        minted = [one.minted for one in found if isinstance(one, Ready) and one.minted]
        if not minted:
            return found
        kept = await world.keystores[template.store].keep(minted)
        world.reach(FaultPoint.KEYS_MADE)
        # A label that another process made in between keeps the key it has there.
        others = {old.label: old for old, new in zip(kept, minted, strict=True) if old.spki != new.facts.spki}
        if not others:
            return found
        held = {**held, **{one.facts.label: one.facts for one in minted}, **others}


async def _keys(template: Template, orders: Sequence[Order], world: World) -> tuple[dict[str, KeyFacts], Mint | None]:
    """The keys that are there already, and what makes the others in a worker."""
    held = await held_keys(template, orders, world)
    missing = [NewKey(one.key_label, one.key_alg) for one in orders if one.csr is None and one.key_label not in held]
    if not missing:
        return held, None
    keystore = world.keystores[template.store]
    mint = await keystore.mint()
    if mint is None:
        held.update({one.label: one for one in await keystore.create(missing)})
        world.reach(FaultPoint.KEYS_MADE)
    return held, mint


async def held_keys(template: Template, orders: Sequence[Order], world: World) -> dict[str, KeyFacts]:
    """The keys of these orders that are in the keystore; none is made."""
    wanted = {one.key_label: NewKey(one.key_label, one.key_alg) for one in orders if one.csr is None}
    if not wanted:
        return {}
    keystore = world.keystores[template.store]
    found = dict(await keystore.find(list(wanted)))
    # `find` reads what the file says; `create` opens the key before it vouches for its facts.
    fitting = [wanted[label] for label, facts in found.items() if facts.alg == wanted[label].alg]
    if fitting:
        found.update({one.label: one for one in await keystore.create(fitting)})
    return found


def asked(order: Order, held: Mapping[str, KeyFacts], serial: int, not_before: int, not_after: int) -> Asked:
    """An order as it travels to a worker."""
    key = held.get(order.key_label) if order.csr is None else None
    return Asked(
        address=order.address,
        subject=order.subject,
        sans=order.sans,
        key_alg=order.key_alg,
        key_label=order.key_label,
        csr=order.csr,
        spki=key.spki if key else b"",
        serial=serial,
        not_before=not_before,
        not_after=not_after,
    )


def _serials(count: int, world: World) -> list[int]:
    drawn = set(world.serials(count))
    while len(drawn) < count:
        drawn.update(world.serials(1))
    return list(drawn)


def _outlives(template: Template, address: str, not_after: int) -> Problem:
    return Problem(
        "E0525",
        f"{address} would outlive its issuer: it would end {rfc3339(not_after)}, "
        f"and ca.{template.issuer.ca} ends {rfc3339(template.issuer.not_after)}",
        help="shorten its validity, or give it an issuer that lives longer",
        address=address,
    )


async def barred(
    template: Template, orders: Sequence[Order], found: Sequence[Ready | Problem], world: World
) -> list[Ready | Problem]:
    """Nothing is issued for a key on the block list, or by a CA whose key is there: never again."""
    issuer = keys.digest(template.issuer.facts.spki) if template.issuer.facts else ""
    spkis = [keys.digest(one.spki) if isinstance(one, Ready) else "" for one in found]
    listed = await world.store.blocked([one for one in (issuer, *spkis) if one])

    def refused(order: Order, key: str) -> Problem:
        one = listed[issuer if issuer in listed else key]
        whose = f"the key of ca.{template.issuer.ca}" if issuer in listed else "its key"
        text = (
            f"{order.address}: {whose} is on the block list since {rfc3339(one.at)} ({one.reason}, revoke.{one.entry})"
        )
        mend = "name another issuer" if issuer in listed else "make a new key; this one is never certified again"
        return Problem("E0528", text, help=mend, address=order.address)

    return [
        refused(order, key) if isinstance(one, Ready) and (issuer in listed or key in listed) else one
        for order, one, key in zip(orders, found, spkis, strict=True)
    ]


async def unshared(
    orders: Sequence[Order],
    found: Sequence[Ready | Problem],
    owners: Callable[[Sequence[str]], Awaitable[Sequence[Sequence[str]]]],
) -> list[Ready | Problem]:
    """A CSR with a CA's key, or with that of another address, is refused; `owners` is the store's."""
    answers = list(found)
    brought = [
        (place, order, ready)
        for place, (order, ready) in enumerate(zip(orders, found, strict=True))
        if order.csr is not None and isinstance(ready, Ready)
    ]
    if not brought:
        return answers
    spkis = [keys.digest(ready.spki) for _, _, ready in brought]
    for (place, order, _), known in zip(brought, await owners(spkis), strict=True):
        if others := sorted({*known} - {order.address}):
            answers[place] = _taken(order.address, others[0])
    return answers


def _taken(address: str, owner: str) -> Problem:
    return Problem(
        "E0526", f"{address}: its key is also {owner}'s", help="each needs a key of its own", address=address
    )


def apart(orders: Sequence[Order], found: Sequence[Ready | Problem]) -> list[Ready | Problem]:
    """A key is one certificate's: the second order that brings it is refused."""
    owner: dict[bytes, str] = {}
    answers: list[Ready | Problem] = []
    for order, one in zip(orders, found, strict=True):
        if isinstance(one, Ready) and one.spki in owner:
            answers.append(_taken(order.address, owner[one.spki]))
        else:
            answers.append(one)
        if isinstance(one, Ready):
            owner.setdefault(one.spki, order.address)
    return answers


# Reserve: the intents are durable before anything is signed.


def intents(
    template: Template, issuer: IssuerFacts, pairs: Iterable[tuple[Order, Ready]], world: World
) -> list[Reserved]:
    """The rows that hold what is about to be signed."""
    issuer_key = keys.digest(issuer.spki)
    duties = {shard: json.dumps(sharded(template.crl_urls, shard)) for shard in shards(template.crl_shards)}
    return [
        Reserved(
            order,
            ready,
            Certificate(
                issuer_key=issuer_key,
                serial=f"{ready.serial:x}",
                issuer_dn=issuer.dn,
                status=CertificateStatus.INTENT,
                address=order.address,
                generation=order.generation,
                ca=template.issuer.ca,
                ca_generation=template.issuer.generation,
                profile=template.profile_name,
                subject=ready.subject,
                sans=ready.sans,
                not_before=ready.not_before,
                not_after=ready.not_after,
                key_alg=ready.key_alg,
                key_label=order.key_label,
                spki=keys.digest(ready.spki),
                sha256="",
                der=ready.tbs,
                plan_id=world.plan_id,
                reason=order.reason,
                session=world.session,
                created=world.now,
                duty=duties[shard_of(ready.serial, template.crl_shards)],
            ),
        )
        for order, ready in pairs
    ]


async def reserve(reserved: Sequence[Reserved], world: World) -> bool:
    """Commit the intents; False if a serial is taken and nothing was written."""
    rows = [one.intent for one in reserved]
    try:
        await world.store.commit(
            _write(world, "issue.intent", rows, [one.der for one in rows], intents=rows), world.lease
        )
    except StateError:
        # It may have happened although it failed: the store is read before anything is tried again.
        ours = {one.der for one in rows}
        there = [found for one in rows for found in await world.store.certificates(Want(serial=one.serial))]
        if any(found.der not in ours for found in there):
            return False
        if len(there) < len(rows):
            raise
    world.reach(FaultPoint.INTENTS_STORED)
    return True


# Sign: certificates that verify, durable in the journal.


async def signer(template: Template, issuer: IssuerFacts, world: World) -> Signer:
    """The issuer's key, which must be the one in its certificate."""
    store, label = template.issuer.key
    found = await world.keystores[store].signer(label)
    if found.facts.spki != issuer.spki:
        raise PkicodeError(
            f"the key {label} in keystore {store} is not the key of the certificate of ca.{template.issuer.ca}",
            help="restore the keystore that belongs to this state",
        )
    return found


async def certificates(
    template: Template, issuer: IssuerFacts, signer: Signer, reserved: Sequence[Reserved], world: World
) -> list[bytes]:
    """Sign what is reserved, verify it, and write it to the journal."""
    # Whoever was paused past the lease must not sign what somebody else has settled meanwhile.
    if not any((one.name, one.epoch) == (world.lease.name, world.lease.epoch) for one in await world.store.leases()):
        raise LeaseLost("another process took the lease over; nothing was signed", help="wait for it, then apply again")
    batch = [one.ready.tbs for one in reserved]
    try:
        pkcs8 = signer.portable()
        if pkcs8 is None:
            made = await _signed_here(template, issuer, signer, batch)
        else:
            made = await world.work(sign, template, issuer, pkcs8, batch)
    except (keys.SignatureError, ValueError) as error:
        await settle_all([one.intent for one in reserved], {}, (), world)
        raise PkicodeError(
            f"what the key {signer.facts.label} signed was refused: {error}",
            help="check the key and its keystore before applying again; the serials count as issued and are revoked",
        ) from error
    world.reach(FaultPoint.SIGNED)
    await world.journal(made)
    world.reach(FaultPoint.JOURNALLED)
    return made


async def _signed_here(template: Template, issuer: IssuerFacts, signer: Signer, batch: Sequence[bytes]) -> list[bytes]:
    """One after the other, by a key that cannot leave its token."""
    made: list[bytes] = []
    # Between these few, who has lost the lease stops: a service over a network may take 0.2 s for each.
    for at in range(0, len(batch), 16):
        made += await asyncio.to_thread(signed, template, issuer, signer.sign, batch[at : at + 16], first=not made)
    return made


# Settle: certificates and resource rows in one commit.


async def settle(reserved: Sequence[Reserved], signed: Sequence[bytes], rows: Settle, world: World) -> list[Issued]:
    """Everything reserved is issued."""
    made = list(map(issued, reserved, signed))
    settled = [_settlement(one.intent, it.der, it.sha256) for one, it in zip(reserved, made, strict=True)]
    kept = [one.intent for one in reserved]
    await world.store.commit(_write(world, "issue.issued", kept, signed, settled=settled, held=rows(made)), world.lease)
    world.reach(FaultPoint.ISSUED)
    return made


def identity(intent: Certificate) -> tuple[str, str]:
    """What tells two rows of the inventory apart."""
    return intent.issuer_key, intent.serial


async def settle_all(
    rows: Sequence[Certificate],
    made: Mapping[tuple[str, str], bytes],
    same: Iterable[tuple[Reserved, Settle]],
    world: World,
) -> None:
    """Each of these intents is issued, if its certificate was made, or else unknown and revoked.

    Args:
        rows: open intents.
        made: identity -> certificate, verified.
        same: those that configuration asks for to the byte; they alone become resource rows.
        world: what may be touched.
    """
    lost = [one for one in rows if identity(one) not in made]
    settled = [
        _settlement(one, der, hashlib.sha256(der).hexdigest()) for one in rows if (der := made.get(identity(one)))
    ]
    settled += [Settlement(one.issuer_key, one.serial, CertificateStatus.UNKNOWN) for one in lost]
    revoked = [
        Revocation(one.issuer_key, one.serial, world.now, "unspecified", one.not_after, "unknown-intent")
        for one in lost
    ]
    by_settle: dict[Settle, list[Issued]] = {}
    for one, rows_of in same:
        if identity(one.intent) in made:
            by_settle.setdefault(rows_of, []).append(issued(one, made[identity(one.intent)]))
    held = [row for rows_of, some in by_settle.items() for row in rows_of(some)]
    artefacts = [made.get(identity(one), one.der) for one in rows]
    write = _write(world, "issue.resumed", rows, artefacts, settled=settled, revocations=revoked, held=held)
    await world.store.commit(write, world.lease)
    world.reach(FaultPoint.ISSUED)


def issued(one: Reserved, certificate: bytes) -> Issued:
    """A reserved order with its certificate."""
    return Issued(
        order=one.order,
        serial=one.ready.serial,
        not_before=one.ready.not_before,
        not_after=one.ready.not_after,
        spki=one.ready.spki,
        key_alg=one.ready.key_alg,
        sha256=hashlib.sha256(certificate).hexdigest(),
        der=certificate,
    )


def _settlement(intent: Certificate, der: bytes, sha256: str) -> Settlement:
    return Settlement(intent.issuer_key, intent.serial, CertificateStatus.ISSUED, sha256, der)


def _write(
    world: World, action: str, rows: Sequence[Certificate], artefacts: Iterable[bytes], **parts: object
) -> Write:
    """A commit about these certificates; the audit holds the digest of their bytes, of one its very fingerprint."""
    detail = {
        "count": len(rows),
        "digest": hashlib.sha256(b"".join(artefacts)).hexdigest(),
        "issuer": rows[0].issuer_key,
        "plan": world.plan_id,
    }
    return Write(
        at=world.now,
        actor=world.actor,
        action=action,
        subject=rows[0].address if len(rows) == 1 else f"{rows[0].address} and {len(rows) - 1} more",
        detail=json.dumps(detail, sort_keys=True, separators=(",", ":")),
        **parts,  # type: ignore[arg-type]
    )
