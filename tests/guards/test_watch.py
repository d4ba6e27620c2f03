"""Guard 10: who computes in the event loop is seen."""

import asyncio
import time

from tests.watch import slow_callbacks


async def compute(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def test_who_computes_in_the_event_loop_is_seen_and_named() -> None:
    with slow_callbacks(most=0.02) as found:
        asyncio.run(compute(0.03))
    assert len(found) == 1
    assert "compute" in found[0]


def test_who_waits_or_computes_in_a_thread_blocks_nobody() -> None:
    async def politely() -> None:
        await asyncio.to_thread(asyncio.run, asyncio.sleep(0))
        await asyncio.sleep(0.03)

    with slow_callbacks(most=0.02) as found:
        asyncio.run(politely())
    assert not found
