"""Serving: a socket, the packs that are looked for again and again, and an end in good order.

Where packs come from is handed in; nothing here can write, sign, or read anything but packs.
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from attrs import frozen

from pkicode.model.counted import counted
from pkicode.model.problem import PkicodeError
from pkicode.revocation.pack import Pack
from pkicode.server.http import Connection, Service
from pkicode.server.responder import Responder, newest

_GRACE_SECONDS = 5
"""For what is under way when the end comes."""


Source = Callable[[], Awaitable[tuple[Sequence[Pack], Sequence[str]] | None]]
"""The packs that are there now, and what is wrong with those that are refused; None where nothing changed since it was
last asked.  Raises PkicodeError: it cannot be reached."""


@frozen
class Serving:
    """What to serve, and where."""

    sources: Sequence[Source]
    host: str
    port: int
    every: float
    """Seconds between two looks at the sources."""
    wait: Callable[[float], Awaitable[None]]
    """Waits so many seconds, less when there is news."""
    clock: Callable[[], int]
    tell: Callable[[str], None]


async def serve(serving: Serving) -> None:
    """Answer until SIGTERM or SIGINT; SIGHUP looks at the sources at once.

    Raises:
        OSError: the address cannot be had.
    """
    loop = asyncio.get_running_loop()
    service = Service(Responder(), serving.clock)
    stop, look = asyncio.Event(), asyncio.Event()
    for one in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(one, stop.set)
    loop.add_signal_handler(signal.SIGHUP, look.set)
    shelf = _Shelf(serving, service.responder)
    await shelf.look()
    server = await loop.create_server(lambda: Connection(service), serving.host, serving.port, backlog=1024)
    for socket in server.sockets:
        host, port = socket.getsockname()[:2]
        serving.tell(f"listening on http://{f'[{host}]' if ':' in host else host}:{port}")
    async with asyncio.TaskGroup() as tasks:
        looking = tasks.create_task(_looking(shelf, look, serving))
        sweeping = tasks.create_task(_sweeping(service))
        await stop.wait()
        server.close()
        service.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(_GRACE_SECONDS):
                await service.ended.wait()
        for connection in list(service.open):
            connection.drop()
        looking.cancel()
        sweeping.cancel()


async def _sweeping(service: Service) -> None:
    while True:
        await asyncio.sleep(1)
        service.sweep()


async def _looking(shelf: "_Shelf", look: asyncio.Event, serving: Serving) -> None:
    while True:
        waits = [asyncio.ensure_future(one) for one in (look.wait(), serving.wait(serving.every))]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()
        look.clear()
        await shelf.look()


class _Shelf:
    """What each source last had: one that cannot be reached, or has something wrong, takes nothing away."""

    def __init__(self, serving: Serving, responder: Responder) -> None:
        self._serving = serving
        self._responder = responder
        self._packs: dict[int, Sequence[Pack]] = {}
        self._told: dict[int, tuple[str, ...]] = {}

    async def look(self) -> None:
        changed = False
        for place, source in enumerate(self._serving.sources):
            try:
                found = await source()
            except PkicodeError as error:
                self._tell(place, (error.message,))
                continue
            if found is None:
                continue
            packs, wrong = found
            had = self._packs.get(place)
            kept, older = newest(had or (), packs)
            self._tell(place, (*wrong, *older))
            # What was refused is no news.
            if packs and kept != had:
                self._packs[place] = kept
                changed = True
        complete = len(self._packs) == len(self._serving.sources)
        if changed:
            merged: list[Pack] = []
            for some in self._packs.values():
                merged, _ = newest(merged, some)
            self._responder.replace(merged, complete=complete)
            for one in merged:
                self._serving.tell(f"{one.maker.name}: {counted(one.count, 'certificate')}")

    def _tell(self, place: int, wrong: tuple[str, ...]) -> None:
        """Once, not at every look."""
        if self._told.get(place, ()) != wrong:
            for one in wrong:
                self._serving.tell(f"warning: {one}")
        self._told[place] = wrong
