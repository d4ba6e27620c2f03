"""The world an apply may touch, joined from the adapters for one lease.

Here the environment, randomness and processes are handed over; below nobody reaches for them.
"""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from attrs import evolve

from pkicode.adapters.journal import Journal
from pkicode.adapters.offline import OfflineKeyStore
from pkicode.adapters.outputs import run_hook, write_outputs
from pkicode.adapters.publish import open_publisher
from pkicode.adapters.sealed import SealedKeyStore
from pkicode.adapters.secret import read_secret
from pkicode.adapters.workers import Workers
from pkicode.config.language import KeystoreSpec, Secret
from pkicode.config.reader import Config
from pkicode.model.event import Event
from pkicode.model.faults import Reach
from pkicode.model.problem import KeyStoreError
from pkicode.ports import NO_LEASE, KeyStore, Lease, Store, World
from pkicode.project.leases import Leases
from pkicode.project.state import told

_TOP = 1 << 158


def serial() -> int:
    """158 random bits below a set one: positive, 20 octets, never shorter (RFC 5280 section 4.1.2.2)."""
    return _TOP | (int.from_bytes(os.urandom(20), "big") & (_TOP - 1))


def keystore(config: Config, name: str, environ: Mapping[str, str], warn: Callable[[str], None]) -> SealedKeyStore:
    """[keystore.NAME], opened when a private key is first needed.

    Raises:
        KeyStoreError: there is no such keystore.
    """
    for spec in config.settings.keystores:
        if spec.name == name and spec.offline:
            raise KeyStoreError(f"[keystore.{name}] is offline: its keys are on another machine", help="go there")
        if spec.name == name:
            return _sealed(spec, config, environ, warn)
    raise KeyStoreError(f"there is no [keystore.{name}]", help="pki.toml says which there are")


def _sealed(
    spec: KeystoreSpec, config: Config, environ: Mapping[str, str], warn: Callable[[str], None]
) -> SealedKeyStore:
    async def passphrase() -> bytes:
        if spec.passphrase is None:
            raise KeyStoreError(f"[keystore.{spec.name}] has no passphrase", help='passphrase = { env = "NAME" }')
        # What opens a keystore that is there cannot be made anew.
        source = evolve(spec.passphrase, create=False) if path.exists() else spec.passphrase
        return await read_secret(source, root=config.root, environ=environ, warn=warn)

    path = config.root / spec.path
    return SealedKeyStore(path, passphrase)


@asynccontextmanager
async def opened(
    config: Config,
    store: Store,
    lease: Lease,
    *,
    now: int,
    environ: Mapping[str, str],
    clock: Callable[[], int],
    take: Callable[[str], Awaitable[Lease]],
    journal: Journal,
    emit: Callable[[Event], None],
    reach: Reach,
) -> AsyncIterator[World]:
    """Everything joined; closed on the way out.

    Args:
        lease: the project's, or NO_LEASE.
        take: waits for a lease of this name.
    """

    def warn(text: str) -> None:
        emit(Event("keys", text, failed=True))

    leases = Leases(store, take, clock, reach, [] if lease == NO_LEASE else [lease])

    async def hook(command: Sequence[str], told: Mapping[str, str]) -> str:
        await leases.check()
        return await run_hook(command, told, root=config.root, outer=environ)

    async def secret(where: Secret) -> bytes:
        return await read_secret(where, root=config.root, environ=environ, warn=warn)

    async with AsyncExitStack() as stack:
        keystores: dict[str, KeyStore] = {}
        for spec in config.settings.keystores:
            if spec.offline:
                keystores[spec.name] = OfflineKeyStore(config.root, spec.path)
                continue
            keystores[spec.name] = one = _sealed(spec, config, environ, warn)
            stack.push_async_callback(one.close)
        workers = await stack.enter_async_context(Workers(1))
        publishers = {
            one.name: open_publisher(one.url, config.root, reach=reach, check=leases.check)
            for one in config.settings.publish
        }
        yield World(
            store=store,
            lease=lease,
            publishing=leases.publishing,
            keep=leases.keep,
            keystores=keystores,
            publishers=publishers,
            journal=journal.append,
            journalled=journal.journalled,
            work=workers.run,
            write_outputs=partial(write_outputs, root=config.root, reach=reach, check=leases.check),
            run_hook=hook,
            secret=secret,
            now=now,
            serial=serial,
            reach=reach,
            emit=emit,
            project=config.settings.project.name,
            plan_id="",
            session=os.urandom(8).hex(),
            actor=actor(environ),
        )


def actor(environ: Mapping[str, str]) -> str:
    """Who applies, for the audit: a name, not an authentication."""
    return told(environ.get("PKICODE_ACTOR") or environ.get("USER") or f"uid {os.getuid()}")
