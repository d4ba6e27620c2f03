"""The project's side of a ceremony: what waits is written out, and what comes back is believed as far as it verifies.

Which bytes may come back is what configuration makes of the open intents; a file decides nothing.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

from attrs import evolve, frozen

from pkicode.adapters import loop
from pkicode.adapters.store import StateStore
from pkicode.ceremony import look
from pkicode.ceremony.bundle import LIFE, BundleError, Item, Request, Response
from pkicode.config.reader import Config
from pkicode.kinds import authority as authorities
from pkicode.kinds import crl_away
from pkicode.kinds.offline import is_offline
from pkicode.kinds.resume import resume, waiting
from pkicode.model.address import Address, parse
from pkicode.model.change import Change, Plan
from pkicode.model.event import Event
from pkicode.model.faults import FaultPoint
from pkicode.model.instants import rfc3339
from pkicode.model.problem import PkicodeError, StateError
from pkicode.plan.kind import Run, Snapshot
from pkicode.ports import NO_LEASE, Certificate, KeyFacts, Lease, Want, World
from pkicode.project.state import State
from pkicode.revocation import crl
from pkicode.x509 import der, keys
from pkicode.x509.chain import verify_issued
from pkicode.x509.tbs import certificate

Opener = Callable[[StateStore, Lease, int, Callable[[Event], None]], AbstractAsyncContextManager[World]]
Planner = Callable[[Snapshot, int], Awaitable[Plan]]


@frozen
class Received:
    """What an import brought."""

    certificates: tuple[str, ...]
    """Addresses with generation; of a bridge also who signed it, because the root itself is called the same."""
    lists: tuple[str, ...]


@frozen
class Ceremonies:
    """What is carried to offline keys and back.  Every method blocks."""

    config: Config
    _state: State
    _clock: Callable[[], int]
    _planned: Planner
    _world: Opener

    def export(self) -> Request:
        """Everything that waits for an offline key.

        Raises:
            PkicodeError: nothing does, or it cannot be prepared.
        """
        return loop.run(self._export())

    async def _export(self) -> Request:
        now = self._clock()
        async with self._state.reading() as store:
            if store is None:
                raise _nothing()
            about = await store.about()
            async with self._world(store, NO_LEASE, now, lambda _: None) as world:
                run = Run(world, self.config, lambda: False)
                intents = await waiting(run)
                items = [await self._certificate(one, run) for one in intents]
                for change in self._due(await self._planned(await self._state.snapshot(store), now)):
                    items.append(await self._list(change, run))
        if not items:
            raise _nothing()
        expires = min(now, *(one.created for one in intents)) + LIFE if intents else now + LIFE
        return Request(self.config.settings.project.name, about.lineage, now, expires, tuple(items))

    def _due(self, plan: Plan) -> list[Change]:
        """The lists of offline CAs that are there and due."""
        coming = {one.address.name for one in plan.changes if one.address.kind == "ca" and one.held is None}
        lists = (one for one in plan.changes if one.address.kind == "crl" and one.address.name not in coming)
        return [one for one in lists if one.block and is_offline(one.address.name, self.config)]

    async def _certificate(self, intent: Certificate, run: Run) -> Item:
        item = Item(
            kind="certificate",
            address=intent.address,
            generation=intent.generation,
            issuer=Address("ca", intent.ca).at(intent.ca_generation),
            issuer_certificate=await _issuer(intent, run),
            tbs=intent.der,
        )
        return _linted(item)

    async def _list(self, change: Change, run: Run) -> Item:
        authority, tbs = await crl_away.draft(change, run)
        return _linted(Item("crl", str(change.address), change.generation, authority.at, authority.der, tbs))

    def receive(self, response: Response, emit: Callable[[Event], None]) -> Received:
        """Take a response in: every certificate and list in it, or nothing.

        Raises:
            BundleError: it is not an answer to what waits here, or a signature is wrong; nothing was taken.
        """
        return loop.run(self._receive(response, emit))

    async def _receive(self, response: Response, emit: Callable[[Event], None]) -> Received:
        now = self._clock()
        async with self._state.applying(now) as (store, lease), self._world(store, lease, now, emit) as world:
            run = Run(world, self.config, lambda: False)
            self._refuse_foreign(response.request, (await store.about()).lineage, now)
            intents = {one.der: one for one in await waiting(run)}
            plan = await self._planned(await self._state.snapshot(store), now)
            due = {(str(one.address), one.generation): one for one in self._due(plan)}
            made: list[bytes] = []
            found: list[crl_away.Back] = []
            for item, signature in zip(response.request.items, response.signatures, strict=True):
                if await _is_there(item, signature, run):
                    # By an import that was interrupted, if anything else in here is not.
                    continue
                # Each answers one thing that waits: what stands there twice is refused before any of it is taken.
                if item.kind == "certificate":
                    made.append(await _signed(item, signature, intents.pop(item.tbs, None), run))
                else:
                    found.append(await _list_of(item, signature, due.pop((item.address, item.generation), None), run))
            if not made and not found:
                raise BundleError(
                    "all of this was imported already", help="`pkicode ceremony export` writes what waits now"
                )
            if made:
                await world.journal(made)
                world.reach(FaultPoint.JOURNALLED)
                await resume(run)
            for one in found:
                async with run.publishing([one.authority.name]) as leased:
                    await crl_away.keep(one, leased)
        items = response.request.items
        return Received(
            tuple(_called(one) for one in items if one.kind == "certificate"),
            tuple(f"{one.address}@{one.generation}" for one in items if one.kind == "crl"),
        )

    def _refuse_foreign(self, request: Request, lineage: str, now: int) -> None:
        if (request.project, request.lineage) != (self.config.settings.project.name, lineage):
            raise BundleError(
                f"this is for project {request.project} with state {request.lineage}, and this is another",
                help="import it where it was exported",
            )
        if now > request.expires:
            raise BundleError(
                f"the request ended {rfc3339(request.expires)}",
                help="apply, which reserves anew, and export again; what was signed is revoked by its serial",
            )


def _called(item: Item) -> str:
    called = f"{item.address}@{item.generation}"
    signer, generation = parse(item.issuer)
    is_bridge = str(signer) == item.address and generation != item.generation
    return f"{called} by {item.issuer}" if is_bridge else called


def _nothing() -> PkicodeError:
    return PkicodeError("nothing waits for a ceremony", help="`pkicode plan` says what is due; apply reserves it first")


def _linted(item: Item) -> Item:
    """With what lint says of its bytes."""
    return evolve(item, lint=tuple(look.complaints(item)))


async def _issuer(intent: Certificate, run: Run) -> bytes:
    """The issuer's certificate, empty for a root."""
    if (intent.address, intent.generation) == (f"ca.{intent.ca}", intent.ca_generation):
        return b""
    issuer = await authorities.load(intent.ca, run, intent.ca_generation)
    if issuer is None:
        raise StateError(f"ca.{intent.ca} is not in the state", help="`pkicode state verify`")
    return issuer.der


async def _pinned(item: Item, name: str, run: Run) -> KeyFacts:
    """The key of the card that lies in the project: no file that was carried, and no database, can name another."""
    found = await run.world.keystores[authorities.store_of(name, run)].find([item.issuer])
    if item.issuer not in found:
        raise BundleError(f"there is no card of {item.issuer}", help="put it back into the folder of its keystore")
    return found[item.issuer]


async def _signed(item: Item, signature: bytes, intent: Certificate | None, run: Run) -> bytes:
    """The certificate that an intent was for.

    Raises:
        BundleError: no such intent is open, or the key on the card did not sign it.
    """
    label = Address("ca", intent.ca).at(intent.ca_generation) if intent else ""
    named = (item.address, item.generation, item.issuer)
    if intent is None or named != (intent.address, intent.generation, label):
        raise BundleError(
            f"{item.address}@{item.generation}: no such intent is open: it has ended, or is for another plan",
            help="`pkicode ceremony export` writes what waits now",
        )
    facts = await _pinned(item, intent.ca, run)
    try:
        keys.verify(facts.spki, facts.alg, item.tbs, signature)
        made = certificate(item.tbs, facts.alg, signature)
        await asyncio.to_thread(verify_issued, made, await _issuer(intent, run) or made)
    except (keys.SignatureError, ValueError) as error:
        raise BundleError(
            f"{item.address}@{item.generation}: {error}", help="sign again, with the right key"
        ) from error
    return made


async def _is_there(item: Item, signature: bytes, run: Run) -> bool:
    """Whether the very bytes that this item and its signature make are in the state."""
    try:
        address = parse(item.address)[0]
    except ValueError:
        return False
    if item.kind == "crl":
        stored = await run.world.store.artefact("crl", f"{address.name}-g{item.generation}")
        return stored is not None and stored.der is not None and _is_made_of(stored.der, item, signature)
    # CAs have no key in their address, delegates one such as g1: a stranger's text is no question for a database.
    is_known = address.kind == "ocsp" and re.fullmatch("g[0-9]{1,9}", address.key)
    found = () if address.key and not is_known else await run.world.store.certificates(Want(address=item.address))
    return any(_is_made_of(one.der, item, signature) for one in found)


def _is_made_of(signed: bytes, item: Item, signature: bytes) -> bool:
    """Whether these are the bytes that an item becomes with its signature."""
    try:
        parts = der.children(der.only(signed, der.SEQUENCE))
    except ValueError:
        # Whoever altered the database stops no ceremony by it; `state verify` tells of it.
        return False
    if len(parts) != 3:
        # Of what waits, and of a serial that was burnt, only the TBS is known.
        return False
    _, algorithm, _ = parts
    return signed == der.tlv(der.SEQUENCE, item.tbs, der.tlv(*algorithm), der.bit_string(signature))


async def _list_of(item: Item, signature: bytes, change: Change | None, run: Run) -> crl_away.Back:
    if change is None:
        raise BundleError(
            f"{item.address}: no such list is due",
            help="`pkicode ceremony export` writes what waits now",
        )
    if item.issuer != Address("ca", change.address.name).at(change.generation):
        raise BundleError(f"{item.address}: {item.issuer} does not sign it", help="export again")
    facts = await _pinned(item, change.address.name, run)
    return await crl_away.back(change, crl.crl(item.tbs, facts.alg, signature), run)
