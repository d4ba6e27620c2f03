"""What a crash left open: every intent ends as issued or as unknown.

These are invariants 4 and 5 of docs/explanation/issuance-cycle.md, which has all thirteen and what guards them.

Bytes read from the database are compared, never signed: whoever can write there would otherwise have a signing oracle.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from attrs import evolve
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pkicode.ceremony.bundle import LIFE
from pkicode.issuing import steps
from pkicode.issuing.batch import Order, Ready, Settle, Template, issuer_of, prepare
from pkicode.model.problem import StateError
from pkicode.ports import Certificate, CertificateStatus, Want, World
from pkicode.x509 import keys
from pkicode.x509.descent import is_signed

Remade = tuple[Template, Order, Settle]
"""What configuration says an intent was for."""

Identity = tuple[str, str]
"""Issuer key and serial."""

_SERIAL = re.compile("[1-9a-f][0-9a-f]{0,39}")


async def resume(
    world: World, intents: Sequence[Certificate], remake: Callable[[Certificate], Remade | None]
) -> Sequence[Certificate]:
    """Settle these open intents in one commit; the rows as they are then, issued or unknown.

    What the journal holds is issued.  The rest is prepared again from configuration with the intent's serial and
    not_before, and signed only if that gives the stored row byte for byte and the key signs deterministically.  What a
    ceremony may still sign stays open for as long as that may take, and is not among the rows.  All else is `unknown`,
    and revoked.  A certificate becomes a resource row only where configuration asks for the same.

    Args:
        world: what may be touched.
        intents: open, and nobody's who is still at work.
        remake: what configuration says the intent is for; None where it says nothing (any more).

    Raises:
        PkicodeError: as `issue`.
        StateError: an intent, or what the journal holds of it, was damaged.
    """
    if not intents:
        return []
    for one in intents:
        if not _SERIAL.fullmatch(one.serial):
            raise StateError(
                f"the intent of {one.address} has the serial `{one.serial}`, which is none of ours",
                help="the database was altered: `pkicode state verify`, then restore a backup",
            )
    remade = {steps.identity(one): told for one in intents if (told := remake(one))}
    same = await _prepared_again(intents, remade, world)
    made = await _journalled(intents, remade, world)
    for template, reserved in same.items():
        missing = [one for one in reserved if steps.identity(one.intent) not in made]
        if missing:
            made.update(await _signed_again(template, missing, world))
    rows = [(one, remade[steps.identity(one.intent)][2]) for reserved in same.values() for one in reserved]
    waiting = _waiting(same, made, world.now)
    settled = [one for one in intents if steps.identity(one) not in waiting]
    if settled:
        await steps.settle_all(settled, made, rows, world)
    return [_ended(one, made.get(steps.identity(one))) for one in settled]


def _waiting(
    same: Mapping[Template, Sequence[steps.Reserved]], made: Mapping[Identity, bytes], now: int
) -> frozenset[Identity]:
    """The intents that a ceremony may still sign."""
    return frozenset(
        steps.identity(one.intent)
        for template, reserved in same.items()
        for one in reserved
        if template.offline and steps.identity(one.intent) not in made and abs(now - one.intent.created) <= LIFE
    )


async def waiting(
    world: World, intents: Sequence[Certificate], remake: Callable[[Certificate], Remade | None]
) -> Sequence[Certificate]:
    """Those of these open intents that configuration asks for to the byte, and that a ceremony may still sign.

    Args: as `resume`.
    """
    remade = {steps.identity(one): told for one in intents if (told := remake(one))}
    same = await _prepared_again(intents, remade, world)
    open_ = _waiting(same, {}, world.now)
    return [one for one in intents if steps.identity(one) in open_]


def _ended(intent: Certificate, made: bytes | None) -> Certificate:
    if made is None:
        return evolve(intent, status=CertificateStatus.UNKNOWN)
    return evolve(intent, status=CertificateStatus.ISSUED, sha256=hashlib.sha256(made).hexdigest(), der=made)


async def _prepared_again(
    intents: Sequence[Certificate], remade: Mapping[Identity, Remade], world: World
) -> dict[Template, list[steps.Reserved]]:
    """The intents that configuration asks for to the byte, by template."""
    claims = Counter((one.address, one.generation) for one in intents)
    told: dict[Template, list[tuple[Order, Certificate]]] = {}
    for intent in intents:
        # A generation is reserved once: of two intents for it, at least one is not ours.
        if steps.identity(intent) in remade and claims[intent.address, intent.generation] == 1:
            template, order, _ = remade[steps.identity(intent)]
            if template.issuer.not_before <= intent.not_before <= world.now:
                told.setdefault(template, []).append((order, intent))
    return {template: await _same(template, pairs, world) for template, pairs in told.items()}


async def _same(template: Template, pairs: Sequence[tuple[Order, Certificate]], world: World) -> list[steps.Reserved]:
    held = await steps.held_keys(template, [order for order, _ in pairs], world)
    batch = [
        steps.asked(order, held, int(intent.serial, 16), intent.not_before, template.not_after(intent.not_before))
        for order, intent in pairs
    ]
    found = []
    prepared = await steps.barred(
        template, [order for order, _ in pairs], await world.work(prepare, template, batch, None), world
    )
    for (order, intent), ready in zip(pairs, prepared, strict=True):
        if isinstance(ready, Ready) and ready.not_after <= template.issuer.not_after:
            issuer = issuer_of(template, order.subject, ready.spki)
            [ours] = steps.intents(template, issuer, [(order, ready)], world)
            if _but_for_the_occasion(ours.intent) == _but_for_the_occasion(intent):
                found.append(evolve(ours, intent=intent))
    return found


def _but_for_the_occasion(intent: Certificate) -> Certificate:
    return evolve(intent, plan_id="", reason="", session="", created=0)


async def _signed_again(
    template: Template, reserved: Sequence[steps.Reserved], world: World
) -> Mapping[Identity, bytes]:
    """Identity -> certificate, the same that may have existed before; nothing where that cannot be had."""
    if template.offline:
        return {}
    issuer = issuer_of(template, reserved[0].order.subject, reserved[0].ready.spki)
    signer = await steps.signer(template, issuer, world)
    if not signer.deterministic:
        return {}
    signed = await steps.certificates(template, issuer, signer, reserved, world)
    return {steps.identity(one.intent): made for one, made in zip(reserved, signed, strict=True)}


async def _journalled(
    intents: Sequence[Certificate], remade: Mapping[Identity, Remade], world: World
) -> dict[Identity, bytes]:
    """Identity -> certificate of those intents that the journal holds, verified."""
    journal = await world.journalled()
    known = [template.issuer.facts.spki for template, _, _ in remade.values() if template.issuer.facts]
    issuers = {keys.digest(spki): spki for spki in known}
    found: dict[Identity, bytes] = {}
    for intent in intents:
        made = journal.get(hashlib.sha256(intent.der).hexdigest())
        if made is None:
            continue
        try:
            if intent.issuer_key not in issuers:
                issuers.update(await _issuer(intent, made, world))
            spki = issuers.get(intent.issuer_key)
            if spki is not None and is_signed(intent.der, made, spki):
                found[steps.identity(intent)] = made
        except ValueError as error:
            raise StateError(
                f"what the journal holds of {intent.address} is not a certificate: {error}",
                help="`pkicode state verify` says what was damaged; restore it from a backup",
            ) from error
    return found


async def _issuer(intent: Certificate, made: bytes, world: World) -> Mapping[str, bytes]:
    """Digest -> public key of the issuer, where the inventory or the certificate itself has it."""
    rows = await world.store.certificates(Want(spki=intent.issuer_key, statuses=(CertificateStatus.ISSUED,)))
    spkis = map(_spki, (*(row.der for row in rows), made))
    return {digest: spki for spki in spkis if (digest := keys.digest(spki)) == intent.issuer_key}


def _spki(certificate: bytes) -> bytes:
    key = x509.load_der_x509_certificate(certificate).public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
