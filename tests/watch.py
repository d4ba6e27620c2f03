"""Watching event loops: a callback that computes for more than 100 ms keeps every other task waiting.

What counts is processor time of the loop's thread, so that a busy machine accuses nobody, less what it spent on looking
for cycles: that is the whole test run's heap, and falls on whoever happens to run.
"""

import asyncio
import gc
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
    collecting = {"since": 0.0, "took": 0.0}

    def collected(phase: str, _facts: dict[str, int]) -> None:
        if phase == "start":
            collecting["since"] = time.thread_time()
        else:
            # Begun and ended in one thread, whichever it is.
            collecting["took"] += time.thread_time() - collecting["since"]

    def timed(handle: asyncio.Handle) -> None:
        whose = getattr(handle._callback, "__self__", handle)
        begin, before = time.thread_time(), collecting["took"]
        original(handle)
        took = time.thread_time() - begin - (collecting["took"] - before)
        if took > most:
            found.append(f"{took * 1000:.0f} ms: {whose!r}")

    asyncio.Handle._run = timed
    gc.callbacks.append(collected)
    try:
        yield found
    finally:
        gc.callbacks.remove(collected)
        asyncio.Handle._run = original
