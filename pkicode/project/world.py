"""The world an apply may touch, joined from the adapters for one lease.

Here the environment, randomness and processes are handed over; below nobody reaches for them.
"""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from pkicode.adapters.journal import Journal
from pkicode.adapters.outputs import run_hook, write_outputs
from pkicode.adapters.publish import folder_of, open_publisher
from pkicode.adapters.secret import read_secret
from pkicode.adapters.workers import Workers
from pkicode.config.language import Secret
from pkicode.config.reader import Config
from pkicode.model.event import Event
from pkicode.model.faults import Reach
from pkicode.ports import NO_LEASE, KeyStore, Lease, Store, World
from pkicode.project.keystores import open_keystore
from pkicode.project.leases import Leases
from pkicode.project.state import storable

_TOP = 1 << 158


def serials(count: int) -> list[int]:
    """158 random bits below a set one: positive, 20 octets, never shorter (RFC 5280 section 4.1.2.2)."""
    # Asked for once: each call of the kernel gives the interpreter away to another thread.
    drawn = os.urandom(20 * count)
    return [_TOP | (int.from_bytes(drawn[at : at + 20], "big") & (_TOP - 1)) for at in range(0, len(drawn), 20)]


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
            keystores[spec.name] = one = open_keystore(spec, config.root, environ, warn)
            stack.push_async_callback(one.close)
        workers = await stack.enter_async_context(Workers(1))
        publishers = {
            one.name: open_publisher(one.url, config.root, reach=reach, check=leases.check)
            for one in config.settings.publish
        }
        public = [folder for one in config.settings.publish if (folder := folder_of(one.url, config.root))]
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
            write_outputs=partial(write_outputs, root=config.root, public=public, reach=reach, check=leases.check),
            run_hook=hook,
            secret=secret,
            now=now,
            serials=serials,
            reach=reach,
            emit=emit,
            project=config.settings.project.name,
            plan_id="",
            session=os.urandom(8).hex(),
            actor=actor(environ),
        )


def actor(environ: Mapping[str, str]) -> str:
    """Who applies, for the audit: a name, not an authentication."""
    return storable(environ.get("PKICODE_ACTOR") or environ.get("USER") or f"uid {os.getuid()}")
