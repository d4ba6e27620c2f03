"""Workers: pure functions off the event loop, in one thread or in a pool of processes.

Which work pays for a pool is decided elsewhere.  Threads do not speed signing up; processes do.
"""

import asyncio
import gc
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import Any, Self

from pkicode.model.problem import PkicodeError


class Workers:
    """An asynchronous context: `async with Workers(2) as workers: await workers.run(function, *args)`.

    Processes are spawned at the first `run`, import no more than the function's module needs, get everything through
    pipes (never by argument or environment: secrets are among it), and end with us, however we end.

    Args:
        jobs: processes; 1 means one thread of this process.
    """

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._pool: Executor | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Functions that run are waited for, those that wait are dropped."""
        if self._pool is not None:
            pool, self._pool = self._pool, None
            await asyncio.to_thread(pool.shutdown, cancel_futures=True)

    async def run(self, function: Callable[..., Any], *args: object) -> Any:
        """What the function returns or raises.

        Raises:
            PkicodeError: a worker process died.
        """
        try:
            return await asyncio.wrap_future(self._submit(function, args))
        except BrokenProcessPool as error:
            raise PkicodeError(
                "a worker process died; what it was doing is not done",
                help="it may have been out of memory: try --jobs 1.  A script of your own that calls pkicode needs"
                " `if __name__ == '__main__':` around its first line that does something",
            ) from error

    def _submit(self, function: Callable[..., Any], args: tuple[object, ...]) -> Future[Any]:
        if self._jobs == 1:
            self._pool = self._pool or ThreadPoolExecutor(1, "worker")
            return self._pool.submit(function, *args)
        self._pool = self._pool or ProcessPoolExecutor(self._jobs, multiprocessing.get_context("spawn"), _begin)
        # Processes start inside submit and keep the signal mask they are born with: ^C is ours alone, from the first
        # instant, and a batch in flight is finished.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return self._pool.submit(function, *args)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin() -> None:
    # Batches are made of values without cycles.
    gc.set_threshold(100_000, 50, 100)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # A killed parent closes no queue: the worker would wait for work for ever, with keys in its memory.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
