"""Workers: pure functions off the event loop, in one thread or in a pool of processes.

Which work pays for a pool is decided elsewhere.  Threads do not speed signing up; processes do.
"""

import asyncio
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from pkicode.model.problem import PkicodeError


class Workers:
    """An asynchronous context: `async with Workers(2) as workers: await workers.run(function, *args)`.

    Processes are spawned at the first `run`, import no more than the function's module needs, get everything through
    pipes (never by argument or environment: secrets are among it), and end with us, however we end.

    Args:
        jobs: processes; 1 means one thread of this process.
        is_droppable: processes need not finish what they do when the work is cancelled: nothing but time is lost.

    Raises:
        PkicodeError: fewer than 1.
    """

    def __init__(self, jobs: int, *, is_droppable: bool = False) -> None:
        if jobs < 1:
            raise PkicodeError(
                f"{jobs} worker processes do nothing", help="jobs: 1 or more; leave it out for as many as pay"
            )
        self.jobs = jobs
        self._is_droppable = is_droppable
        self._pool: Executor | None = None

    def fork(self) -> None:
        """Begin now, with copies of this process: they need no start of their own, which is a third of a second.

        Only on Linux, and while this process has no other thread, whose locks would be copied as they are; elsewhere
        `run` begins as ever.  A copy has all that we have in memory: for work without secrets.
        """
        if self.jobs > 1 and sys.platform == "linux" and threading.active_count() == 1:
            self._pool = _processes(self.jobs, "fork")
            # Who forks begins with all of its processes, and only then with the thread that talks to them.
            self._submit(os.getpid, ())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Functions that run are waited for, those that wait are dropped."""
        if self._pool is not None:
            pool, self._pool = self._pool, None
            if self._is_droppable and isinstance(error, asyncio.CancelledError):
                # ^C does not reach them (`_submit`), and a tarpit holds them up for a minute.
                for process in [*(getattr(pool, "_processes", None) or {}).values()]:
                    process.terminate()
            await asyncio.to_thread(pool.shutdown, cancel_futures=True)

    async def run(self, function: Callable[..., Any], *args: object) -> Any:
        """What the function returns or raises.

        Raises:
            PkicodeError: a worker process died.
        """
        try:
            waiting = asyncio.wrap_future(self._submit(function, args))
            # Of what was cancelled nobody looks how it ended.
            waiting.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
            # The pool alone drops what waits: where a worker dies, the library's thread trips over what we had
            # cancelled, and nothing ends any more.
            return await asyncio.shield(waiting)
        except BrokenExecutor as error:
            raise PkicodeError(
                "a worker process died; what it was doing is not done",
                help="it may have been out of memory: try --jobs 1",
            ) from error

    def _submit(self, function: Callable[..., Any], args: tuple[object, ...]) -> Future[Any]:
        if self.jobs == 1:
            self._pool = self._pool or ThreadPoolExecutor(1, "worker")
            return self._pool.submit(function, *args)
        self._pool = self._pool or _processes(self.jobs, "spawn")
        # Processes start inside submit and keep the signal mask they are born with: ^C is ours alone, from the first
        # instant, and a batch in flight is finished.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            with _nameless_script():
                return self._pool.submit(function, *args)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _processes(jobs: int, how: str) -> Executor:
    # Imported where there are several: who works alone starts in less time.
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    return ProcessPoolExecutor(jobs, get_context(how), _begin)


@contextmanager
def _nameless_script() -> Iterator[None]:
    """A spawned process runs the script of its parent again, from the first line: with all that it does and loads.

    What processes of ours are to do stands in modules; where the script has no name, it is left alone.
    """
    nameless = {"__file__": None, "__spec__": None}
    with _STARTING:
        script = vars(sys.modules["__main__"])
        named = {name: script[name] for name in nameless if name in script}
        script.update(nameless)
        try:
            yield
        finally:
            for name in nameless:
                del script[name]
            script.update(named)


_STARTING = threading.Lock()


def _begin() -> None:
    # Batches are made of values without cycles.
    gc.set_threshold(100_000, 50, 100)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # A killed parent closes no queue: the worker would wait for work for ever, with keys in its memory.
    from multiprocessing import parent_process

    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
