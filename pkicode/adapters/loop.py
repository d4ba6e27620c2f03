"""One private event loop in a daemon thread: blocking calls over async code, in scripts and notebooks alike.

No loop of the caller's is touched, so nothing has to be patched to run inside Jupyter.
"""

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="pkicode", daemon=True).start()
    return loop


# A fork copies the loop and not its thread: whoever waited for it, in a multiprocessing.Pool, would wait for ever.
os.register_at_fork(after_in_child=_loop.cache_clear)


def run(work: Coroutine[Any, Any, T], *, stop: Callable[[], None] | None = None) -> T:
    """The result of a coroutine.

    Args:
        stop: called at the first ^C, after which the work is waited for; the second ^C cancels it.  Without it the
            first one cancels.
    """
    future = asyncio.run_coroutine_threadsafe(work, _loop())
    while True:
        try:
            return future.result()
        except KeyboardInterrupt:
            if stop is None:
                future.cancel()
                raise
            stop()
            stop = None


def call(function: Callable[[], object]) -> None:
    """Have the loop call a function soon; from any thread."""
    _loop().call_soon_threadsafe(function)
