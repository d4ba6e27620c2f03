"""A command that stays and answers: one JSON object a line, a question on its stdin, its answer on its stdout.

Every answer has a time limit and a size limit.  Whoever breaks either, answers something else or ends, is ended with
all that it has started; the next question starts it anew.  What the questions mean is the caller's.
"""

import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pkicode.adapters.process import CommandFailed

LIMIT = 1 << 20
"""Bytes of a line, either way."""
_CHUNK = 65536
_GRACE_SECONDS = 5


class Talking:
    """One command, started at the first question.  Every method blocks, and one thread calls them all.

    Args:
        command: program and arguments; no shell.
        root: the folder it runs in.
        environ: its whole environment.
        seconds: the time that one answer may take.
    """

    def __init__(self, command: Sequence[str], *, root: Path, environ: Mapping[str, str], seconds: float) -> None:
        self.program = command[0]
        self._command = command
        self._root = root
        self._environ = environ
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._count = 0
        self._unread = b""

    def ask(self, question: Mapping[str, Any]) -> Mapping[str, Any]:
        """Its answer, less the `id`, which is the question's.

        Raises:
            CommandFailed: it did not start, ended, took too long, or wrote what is no answer.
        """
        self._count += 1
        line = json.dumps({"id": self._count, **question}, separators=(",", ":")).encode() + b"\n"
        try:
            process = self._started()
            raw = self._exchanged(process, line)
            answer = json.loads(raw)
            if not isinstance(answer, dict) or answer.pop("id", None) != self._count:
                raise CommandFailed("answered another question")
        except BaseException as error:
            # It is somewhere in the middle of an answer: what comes next could be taken for another one's.
            self._kill()
            if isinstance(error, ValueError | RecursionError):
                raise CommandFailed("wrote what is no JSON object on one line") from None
            if isinstance(error, OSError):
                raise CommandFailed(f"could not be started or written to: {error.strerror}") from error
            raise
        return answer

    def close(self) -> None:
        """The end of its stdin tells it to end; it is ended if it does not."""
        process, self._process = self._process, None
        if process is None or self._owner != os.getpid():
            return
        for pipe in (process.stdin, process.stdout):
            if pipe:
                with suppress(OSError):
                    pipe.close()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_SECONDS)
        self._end(process)

    def _started(self) -> "subprocess.Popen[bytes]":
        # A fork has the same pipes: two that ask would get each other's answers.
        if self._process is None or self._owner != os.getpid():
            self._unread = b""
            self._process = subprocess.Popen(
                self._command,
                cwd=self._root,
                env=dict(self._environ),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                start_new_session=True,
            )
            self._owner = os.getpid()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe:
                    os.set_blocking(pipe.fileno(), False)
        return self._process

    def _exchanged(self, process: "subprocess.Popen[bytes]", line: bytes) -> bytes:
        if len(line) > LIMIT:
            raise CommandFailed(f"is asked more than {LIMIT} bytes at once")
        if process.stdin is None or process.stdout is None:
            raise CommandFailed("has no pipes")
        deadline = time.monotonic() + self._seconds
        asked, answered = process.stdin.fileno(), process.stdout.fileno()
        waiting = select.poll()
        waiting.register(answered, select.POLLIN)
        waiting.register(asked, select.POLLOUT)
        while b"\n" not in self._unread:
            ready = dict(waiting.poll(max(deadline - time.monotonic(), 0) * 1000))
            if not ready:
                raise CommandFailed(f"gave no answer in {self._seconds:g} s")
            if asked in ready:
                # Whoever reads no more has ended, or is about to say why not.
                with suppress(BrokenPipeError):
                    line = line[os.write(asked, line) :]
                if not line or ready[asked] & select.POLLERR:
                    waiting.unregister(asked)
            if answered in ready:
                self._read(process, answered)
        if line:
            raise CommandFailed("answered before it was asked")
        answer, _, self._unread = self._unread.partition(b"\n")
        if self._unread:
            raise CommandFailed("wrote more than one answer")
        return answer

    def _read(self, process: "subprocess.Popen[bytes]", end: int) -> None:
        more = os.read(end, _CHUNK)
        if not more:
            with suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE_SECONDS)
            raise CommandFailed(f"ended with exit code {process.returncode} instead of answering")
        self._unread += more
        if len(self._unread) > LIMIT:
            raise CommandFailed(f"wrote more than {LIMIT} bytes on a line")

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process is not None and self._owner == os.getpid():
            self._end(process)

    def _end(self, process: "subprocess.Popen[bytes]") -> None:
        # Also when its first process is gone already: what that one has started is in the group.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        for pipe in (process.stdin, process.stdout):
            if pipe:
                with suppress(OSError):
                    pipe.close()
        # A child that runs as another user may live on.
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_SECONDS)
