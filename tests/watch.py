"""Watching event loops: a callback that computes for more than 100 ms keeps every other task waiting.

What counts is processor time of the loop's thread, so that a busy machine accuses nobody.
"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

MOST = 0.1
"""Seconds of processor time that one callback may take."""


@contextmanager
def slow_callbacks(most: float = MOST) -> Iterator[list[str]]:
    """What took longer, in any event loop of this process, until the block ends."""
    found: list[str] = []
    original = asyncio.Handle._run

    def timed(handle: asyncio.Handle) -> None:
        whose = getattr(handle._callback, "__self__", handle)
        begin = time.thread_time()
        original(handle)
        took = time.thread_time() - begin
        if took > most:
            found.append(f"{took * 1000:.0f} ms: {whose!r}")

    asyncio.Handle._run = timed
    try:
        yield found
    finally:
        asyncio.Handle._run = original
