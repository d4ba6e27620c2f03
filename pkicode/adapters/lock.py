"""One process at a time in a folder, by an OS lock that ends with its process (flock).

The lease says who may write; this keeps what it said true between the question and the rename that follows.
"""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from pkicode.model.problem import PkicodeError

Check = Callable[[], Awaitable[object]]
"""Raises when we may no longer write (LeaseLost); awaited under the lock, before the first file is put in place."""

_SECONDS = 30
_POLL = 0.05


@asynccontextmanager
async def alone(path: Path, flags: int, *, doing: str) -> AsyncIterator[None]:
    """Hold the lock on `path`, a file or a folder, opened with these flags.

    Raises:
        PkicodeError: another process has it, and does not end.
        OSError: the path cannot be opened.
    """
    lock = os.open(path, flags | os.O_CLOEXEC, 0o600)
    try:
        try:
            async with asyncio.timeout(_SECONDS):
                while not _take(lock):  # noqa: ASYNC110 - another process has it, which sets no event of ours
                    await asyncio.sleep(_POLL)
        except TimeoutError:
            raise PkicodeError(
                f"another process is {doing} and did not end in {_SECONDS} s",
                help="find it (a stopped process keeps its lock) and let it end, then apply again",
            ) from None
        yield
    finally:
        os.close(lock)


def _take(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
