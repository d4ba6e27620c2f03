"""The life of a key: whether the state needs it, since when it is retired, and its end, which somebody asks for.

A certificate names its key by the SPKI.  A key is removable when nothing is valid for it, nothing that it signed is
valid, and both have been so for RETIRED; nothing is ever destroyed because a line of pki.toml is gone.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from attrs import define, field, frozen

from pkicode.model.faults import FaultPoint, Reach
from pkicode.model.instants import DAY, NO_EXPIRY, rfc3339
from pkicode.model.keyuse import KeyUse, Use
from pkicode.model.problem import KeyStoreError
from pkicode.ports import CertificateStatus, KeyFacts, KeyStore, Lease, Store, Want, Write
from pkicode.x509 import keys

RETIRED = 30 * DAY
"""How long a key is kept that nobody needs any more."""

_NAMES = ("spki", "issuer_key", "status", "address", "generation", "not_after", "created", "revoked_at")


@frozen
class _Certified:
    status: str
    address: str
    generation: int
    not_after: int
    revoked_at: int | None

    def lives(self, now: int) -> bool:
        return self.status != CertificateStatus.REVOKED and self.not_after >= now


@define
class _Inventory:
    """What is kept of the inventory while it is read: a million rows need not fit into memory."""

    keys: frozenset[str]
    of: dict[str, list[_Certified]] = field(factory=lambda: defaultdict(list))
    """SPKI -> certificates for it."""
    signed: dict[str, int] = field(factory=dict)
    """SPKI -> the last not_after of what it signed for others."""
    made: dict[str, list[tuple[int, int]]] = field(factory=lambda: defaultdict(list))
    """Address -> (generation, instant of its making)."""

    def read(self, rows: Iterable[Sequence[Any]]) -> list[Any]:
        for spki, issuer, status, address, generation, not_after, created, revoked_at in rows:
            if status == CertificateStatus.ABORTED:
                continue
            if status != CertificateStatus.INTENT:
                self.made[address].append((generation, created))
            if spki in self.keys:
                self.of[spki].append(_Certified(status, address, generation, not_after, revoked_at))
            if issuer in self.keys and issuer != spki:
                self.signed[issuer] = max(not_after, self.signed.get(issuer, 0))
        return []

    def end(self, one: _Certified) -> int:
        """When a certificate was taken away, replaced, or ended."""
        if one.status == CertificateStatus.INTENT:
            return NO_EXPIRY
        later = [created for generation, created in self.made[one.address] if generation > one.generation]
        return min([one.not_after, *later, *([] if one.revoked_at is None else [one.revoked_at])])


async def uses(keystore: KeyStore, store: Store | None, now: int) -> list[KeyUse]:
    """Every key of a keystore, by label; needs neither passphrase nor PIN."""
    found = await keystore.find(await keystore.labels())
    inventory = _Inventory(frozenset(keys.digest(facts.spki) for facts in found.values()))
    current: dict[str, int] = {}
    if store is not None:
        # By a clock that is ahead every certificate has ended: what counts is what the state itself has lived through.
        now = min(now, (await store.about()).newest)
        await store.facts(Want(with_der=False), _NAMES, inventory.read)
        for held in await store.held():
            if held.status != "forgotten":
                current[str(held.address)] = max(held.generation, current.get(str(held.address), 0))
    return [_use(found[label], inventory, current, now) for label in sorted(found)]


def _use(facts: KeyFacts, inventory: _Inventory, current: dict[str, int], now: int) -> KeyUse:
    spki = keys.digest(facts.spki)
    told = partial(KeyUse, facts.label, facts.alg, spki)
    certified = inventory.of.get(spki, [])
    if not certified:
        return told(Use.UNKNOWN, why="no certificate of the inventory is for it")
    for one in certified:
        if current.get(one.address) == one.generation:
            return told(Use.IN_USE, why=f"{one.address}@{one.generation}")
    since, duty = max(map(inventory.end, certified)), inventory.signed.get(spki, 0)
    if since > now:
        return told(Use.IN_USE, why="an open intent" if since == NO_EXPIRY else f"a certificate until {rfc3339(since)}")
    if duty >= now:
        return told(Use.IN_USE, why=f"the CRL of what it signed, until {rfc3339(duty)}")
    since = max(since, duty)
    if living := max((one.not_after for one in certified if one.lives(now)), default=0):
        return told(Use.RETIRED, since, f"a certificate for it is valid until {rfc3339(living)}")
    if since + RETIRED > now:
        return told(Use.RETIRED, since, f"kept until {rfc3339(since + RETIRED)}")
    return told(Use.REMOVABLE, since)


async def condemned(labels: Sequence[str], keystore: KeyStore, store: Store, now: int) -> list[KeyFacts]:
    """The keys of these labels, all of them removable.

    Raises:
        KeyStoreError: one is not, or is not there; it says why.
    """
    facts = await keystore.find(labels)
    known = {one.label: one for one in await uses(keystore, store, now)}
    for label in labels:
        if label not in known or label not in facts:
            raise KeyStoreError(f"there is no key {label}; nothing was destroyed", help="`pkicode keystore list`")
        one = known[label]
        if one.use is not Use.REMOVABLE or one.spki != keys.digest(facts[label].spki):
            raise KeyStoreError(
                f"the key {label} is {one.use} ({one.why}); nothing was destroyed",
                help="a key that is removable by `pkicode keystore list` can be destroyed, and no other",
            )
    return [facts[label] for label in dict.fromkeys(labels)]


async def destroy(
    labels: Sequence[str], keystore: KeyStore, store: Store, lease: Lease, *, now: int, actor: str, reach: Reach
) -> None:
    """Destroy keys that are removable: all are looked at before the first one goes, and the audit says so before.

    Interrupted, it is asked for again: what is gone already is not there, what is left is still removable.
    """
    doomed = await condemned(labels, keystore, store, now)
    told = {one.label: keys.digest(one.spki) for one in doomed}
    detail = json.dumps({"keys": told}, sort_keys=True)
    subject = doomed[0].label if len(doomed) == 1 else f"{len(doomed)} keys"
    # First the event: a key that is gone without one would be a theft, or an accident.
    await store.commit(Write(at=now, actor=actor, action="key.destroy", subject=subject, detail=detail), lease)
    reach(FaultPoint.KEYS_CONDEMNED)
    await keystore.destroy(doomed)
