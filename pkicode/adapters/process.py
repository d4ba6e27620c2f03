"""Commands that pki.toml names: no shell, a time limit, a limit on what is read, nothing left running.

Which commands may be run is decided in config; what their output means, by the caller.
"""

import asyncio
import os
import signal
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import BinaryIO

_CHUNK = 65536
_GRACE_SECONDS = 5


class CommandFailed(Exception):
    """It could not be started, ended with another exit code than 0, or took too long; `output` is what it wrote."""

    def __init__(self, why: str, output: bytes = b"") -> None:
        super().__init__(why)
        self.why = why
        self.output = output


async def run(
    command: Sequence[str], *, root: Path, environ: Mapping[str, str], seconds: float, limit: int, stderr: int
) -> bytes:
    """The first `limit` bytes that a command writes; the rest is read and dropped.

    It has ended when its process has and nobody holds its output any more: what it leaves in the background must
    redirect its own.  The whole process group is killed when time is up, or when we are cancelled.

    Args:
        command: program and arguments.
        root: the folder to run in.
        environ: its whole environment.
        seconds: the time it has.
        limit: in bytes.
        stderr: asyncio.subprocess.STDOUT to read it too, DEVNULL to drop it.

    Raises:
        CommandFailed: with what was read so far.
    """
    output = bytearray()
    try:
        async with _pipe() as (pipe, end):
            process = await _start(command, root, environ, pipe, stderr)
            try:
                async with asyncio.timeout(seconds):
                    await _read(end, output, limit)
                    code = await process.wait()
            except BaseException:
                await _kill(process)
                raise
    except TimeoutError:
        raise CommandFailed(f"was stopped after {seconds:g} s", bytes(output)) from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise CommandFailed(f"could not be started: {why}") from error
    if code:
        why = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        raise CommandFailed(why, bytes(output))
    return bytes(output)


@asynccontextmanager
async def _pipe() -> AsyncIterator[tuple[BinaryIO, asyncio.StreamReader]]:
    # Of our own: asyncio's cannot be given up while somebody who left the process group holds its other end.
    ours, theirs = os.pipe()
    reader = asyncio.StreamReader()
    with os.fdopen(ours, "rb", 0) as file, os.fdopen(theirs, "wb", 0) as pipe:
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), file
        )
        try:
            yield pipe, reader
        finally:
            transport.close()


async def _start(
    command: Sequence[str], root: Path, environ: Mapping[str, str], pipe: BinaryIO, stderr: int
) -> Process:
    starting = asyncio.create_task(
        asyncio.create_subprocess_exec(
            *command, cwd=root, env=dict(environ), stdin=DEVNULL, stdout=pipe, stderr=stderr, start_new_session=True
        )
    )
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        # Cancelled halfway, asyncio kills the first process, but not what that one may have started already.
        await asyncio.wait({starting})
        if not starting.exception():
            await _kill(starting.result())
        raise
    finally:
        # Only the command holds it now: the end of its output is the end of ours.
        pipe.close()


async def _read(end: asyncio.StreamReader, output: bytearray, limit: int) -> None:
    while chunk := await end.read(_CHUNK):
        output += chunk[: limit - len(output)]


async def _kill(process: Process) -> None:
    # Also when its first process is gone already: what that one has started is in the group.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    # A child that runs as another user may live on.
    with suppress(TimeoutError):
        async with asyncio.timeout(_GRACE_SECONDS):
            await process.wait()
