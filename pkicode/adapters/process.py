"""Commands that pki.toml names: no shell, a time limit, a limit on what is read, nothing left running.

Which commands may be run is decided in config; what their output means, by the caller.
"""

import asyncio
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

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
    try:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=root, env=dict(environ), stdin=DEVNULL, stdout=PIPE, stderr=stderr, start_new_session=True
        )
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise CommandFailed(f"could not be started: {why}") from error
    output = bytearray()
    ended = False
    try:
        async with asyncio.timeout(seconds):
            await _read(process, output, limit)
            code = await process.wait()
        ended = True
    except TimeoutError:
        raise CommandFailed(f"was stopped after {seconds:g} s", bytes(output)) from None
    finally:
        if not ended:
            await _kill(process)
    if code:
        why = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        raise CommandFailed(why, bytes(output))
    return bytes(output)


async def _read(process: Process, output: bytearray, limit: int) -> None:
    if process.stdout is None:
        return
    while chunk := await process.stdout.read(_CHUNK):
        output += chunk[: limit - len(output)]


async def _kill(process: Process) -> None:
    # Also when its first process is gone already: what that one has started is in the group.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    # A child that left the group, or runs as another user, may still hold the pipe.
    with suppress(TimeoutError):
        async with asyncio.timeout(_GRACE_SECONDS):
            await process.wait()
