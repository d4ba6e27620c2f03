"""The delegate of a CA key generation: the certificate of who signs its OCSP answers (RFC 6960 section 4.2.2.2).

A certificate like any other, out of the issuance cycle and in the inventory, at `ocsp.NAME["gN"]` for key generation N
of the CA.  It is signed by that very key: clients refuse answers about @1 from a delegate of @2.  It is made for 30
days and followed after 15, unless the CA is offline: then a ceremony signs it, and delegate_away.py says when.
"""

import json
from collections.abc import Sequence

from attrs import field, frozen
from cryptography import x509

from pkicode.config.language import OcspSpec
from pkicode.issuing import Issued, Order, Remade, Settle, Template, issue, reserve
from pkicode.kinds import authority as authorities
from pkicode.kinds import offline
from pkicode.kinds.authority import Authority
from pkicode.kinds.ocsp_due import LIFE, follows_at, term
from pkicode.kinds.rows import derived, rewrite, template_number
from pkicode.model.address import Address, parse
from pkicode.model.change import Action, Change, ReasonCode
from pkicode.model.instants import from_datetime
from pkicode.model.problem import Problem, StateError
from pkicode.model.row import Block, Held
from pkicode.plan.kind import Run
from pkicode.ports import Certificate, CertificateStatus, Want
from pkicode.revocation.ocsp_response import verify_delegate
from pkicode.x509 import keys
from pkicode.x509.profile import Profile
from pkicode.x509.tbs import facts_of

_BACKDATE = 300
# Any client that has OCSP has P-256, and a CA's own algorithm may sign a hundred times slower.
_USUAL_ALG = "ec-p256"
_PROFILE = Profile(usage=("digitalSignature",), eku=("OCSPSigning",), ocsp_nocheck=True)


@frozen
class Delegate:
    """Who signs the answers about one CA key generation."""

    der: bytes = field(repr=False)
    label: str
    store: str
    """The keystore of its key."""
    not_before: int
    not_after: int


def begins(authority: Authority, now: int) -> int:
    """not_before of one that is made now."""
    return max(now - _BACKDATE, authority.not_before)


def address_of(authority: Authority) -> Address:
    """Where the delegates of a CA key generation stand in the inventory."""
    return Address("ocsp", authority.name, f"g{authority.generation}")


async def current(authority: Authority, spec: OcspSpec, run: Run) -> Delegate | Problem | None:
    """The delegate in force, issued where there is none or its answers would outlive it.

    A CA key on the block list signs no other one: the last is used to its end, and then there is None.
    So it is with one that is offline, until a ceremony has signed the next.
    """
    world = run.world
    is_last = bool(await world.store.blocked([authority.issuer_key]))
    is_away = offline.is_offline(authority.name, run.config)
    store = await _store(authority, run)
    known = await world.store.certificates(Want(address=str(address_of(authority))))
    fit = [
        one for one in known if one.status == CertificateStatus.ISSUED and await _is_ours(one, authority, store, run)
    ]
    for one in fit[-1:]:
        delegate = _delegate(one.der, address_of(authority).at(one.generation), store)
        if is_last or is_away:
            return delegate
        since, _ = term(authority, world.now)
        # An answer is signed only where the delegate outlives it, unless both end with the CA.
        outlives = min(world.now + spec.validity, authority.not_after) <= delegate.not_after
        if since <= delegate.not_before + _BACKDATE and outlives:
            return delegate
    if is_last or is_away:
        return None
    number = max((one.generation for one in known), default=0) + 1
    not_before = begins(authority, world.now)
    if authority.not_after <= world.now:
        return Problem(
            "E0525",
            f"ocsp.{authority.name}: {authority.at} has ended, and nobody may sign answers for it any more",
            help="declare the CA that follows it",
            address=f"ocsp.{authority.name}",
        )
    template, order, settle = await remade(
        authority, number, not_before, str(ReasonCode.NEW if not known else ReasonCode.DUE), run
    )
    (issued,) = await issue(template, [order], world, settle=settle)
    return issued if isinstance(issued, Problem) else _delegate(issued.der, order.key_label, store)


async def _store(authority: Authority, run: Run) -> str:
    """Where the key of the delegate is: beside the CA's, or where it was made when that is offline."""
    if not offline.is_offline(authority.name, run.config):
        return authorities.store_of(authority.name, run)
    key = address_of(authority).key
    records = await run.world.store.records("ocsp", authority.name, [key])
    for record in records.values():
        try:
            return str(json.loads(record)["store"])
        except (ValueError, LookupError, TypeError) as error:
            mend = "the database was altered: `pkicode state verify`, then restore a backup"
            raise StateError(f"the record of {address_of(authority)} cannot be read", help=mend) from error
    return ""


async def _is_ours(one: Certificate, authority: Authority, store: str, run: Run) -> bool:
    """The database names a delegate; the CA's signature and our keystore say whether it is one."""
    label = address_of(authority).at(one.generation)
    keystore = run.world.keystores.get(store)
    held = (await keystore.find([label])).get(label) if keystore else None
    try:
        verify_delegate(one.der, authority.der, now=run.world.now)
    except (ValueError, x509.ExtensionNotFound):
        return False
    return held is not None and held.spki == facts_of(one.der).spki and keys.digest(held.spki) == one.spki


def _delegate(certificate: bytes, label: str, store: str) -> Delegate:
    loaded = x509.load_der_x509_certificate(certificate)
    dates = loaded.not_valid_before_utc, loaded.not_valid_after_utc
    return Delegate(certificate, label, store, *map(from_datetime, dates))


async def remake(intent: Certificate, run: Run) -> Remade | None:
    """What config says of the intent of a delegate, None where it says nothing of it."""
    address, _ = parse(intent.address)
    block = run.config.block("ca", address.name)
    generation = address.key.removeprefix("g")
    if block is None or block.spec.ocsp is None or not generation.isdecimal():
        return None
    authority = await authorities.load(address.name, run, int(generation))
    if authority is None or address_of(authority) != address:
        return None
    return await remade(authority, intent.generation, intent.not_before, intent.reason, run)


async def remade(authority: Authority, number: int, not_before: int, reason: str, run: Run) -> Remade:
    """Template, order and settlement of the delegate of this number."""
    address, store = address_of(authority), authorities.store_of(authority.name, run)
    block = run.config.block("ca", authority.name)
    spec: OcspSpec | None = block.spec.ocsp if block else None
    is_away = offline.is_offline(authority.name, run.config)
    at_hand = spec.store or "" if spec and is_away else store
    life = spec.delegate if spec and is_away else LIFE
    template = Template(
        profile_name="",
        profile=_PROFILE,
        issuer=authorities.as_issuer(authority, run),
        validity=min(life, authority.not_after + 1 - not_before),
        backdate=_BACKDATE,
        store=at_hand,
        crl_urls=(),
        offline=is_away,
    )
    order = Order(
        address=str(address),
        generation=number,
        subject=(("cn", f"OCSP {authority.stem}"),),
        sans=(),
        # What its answers say of an ML-DSA certificate must not be easier to forge than that.
        key_alg=authority.facts.alg if authority.facts.alg.startswith("ml-dsa") else _USUAL_ALG,
        key_label=address.at(number),
        reason=reason,
    )
    return template, order, await _row_of(authority, block, at_hand, run) if block and is_away else _nothing_more


def _nothing_more(issued: Sequence[Issued]) -> Sequence[tuple[Held, str]]:
    """A delegate is in the inventory, and in no row: the row of its CA's answers is written with them."""
    return ()


async def _row_of(authority: Authority, ca: Block, store: str, run: Run) -> Settle:
    """Of an offline CA the delegate has a row, which tells when a ceremony is to sign the next."""
    address = address_of(authority)
    number = await template_number(derived("ocsp", ca, "ocsp"), run)
    there = [one for one in await run.world.store.held("ocsp", authority.name) if one.key == address.key]
    version = max((one.version for one in there), default=0)

    def settle(issued: Sequence[Issued]) -> Sequence[tuple[Held, str]]:
        found = []
        for one in issued:
            due = follows_at(one.not_before, one.not_after, authority.not_after)
            where = address.kind, address.name, address.key, one.order.generation
            held = Held(*where, number, "[]", due, needs=authority.at, status="ok", version=version)
            found.append((held, json.dumps({"sha256": one.sha256, "store": store}, sort_keys=True)))
        return found

    return settle


async def asked(change: Change, run: Run) -> Problem | None:
    """What delegate_away.py plans: the key, and what a ceremony is to sign."""
    if change.action is Action.UPDATE:
        await rewrite([change], run)
        return None
    name, key = change.address.name, change.address.key
    authority = await authorities.load(name, run, int(key.removeprefix("g")))
    if authority is None:
        return authorities.missing(name, change.address)
    not_before = begins(authority, run.world.now)
    reason = str(change.reasons[0].code)
    template, order, _ = await remade(authority, change.generation, not_before, reason, run)
    (waiting,) = await reserve(template, [order], run.world)
    return waiting
