"""An apply in a process of its own that ends, or sleeps, at a fault point: what the crash tests start."""

import multiprocessing
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP, Signals, pthread_kill
from threading import get_ident

from attrs import define, frozen

from pkicode.model.faults import FaultPoint
from pkicode.model.problem import PkicodeError
from pkicode.project import open_project
from pkicode.project.breakglass import Asked

# Processes are forked from one that has no threads and has imported everything, also what an apply imports late.
_SERVER = multiprocessing.get_context("forkserver")
_LATE = ["pkicode.project.world", "pkicode.kinds.resume", "pkicode.kinds.ocsp_apply", "pkicode.project.applied"]
_SERVER.set_forkserver_preload(["pytest", "pkicode.adapters.postgres", *_LATE, __name__])

KILLED = -SIGKILL
SECONDS = 60
PRUNE = "prune"
"""What is asked instead of an apply."""


@frozen
class Fault:
    """At the nth time `point` is reached, the process gets the signal."""

    point: FaultPoint
    nth: int = 1
    sent: Signals = SIGKILL


@define
class _Reach:
    fault: Fault
    left: int

    def __call__(self, here: FaultPoint) -> None:
        if here is self.fault.point:
            self.left -= 1
            if self.left == 0:
                # To this very thread: another one would stop later, and this one go on until then.
                pthread_kill(get_ident(), self.fault.sent)


def start(
    root: Path,
    now: int,
    fault: Fault,
    asked: Asked | str | None = None,
    allow: Mapping[str, str] | None = None,
    only: Sequence[str] = (),
) -> BaseProcess:
    """An apply of `root`, or a revocation, that is running when this returns."""
    process = _SERVER.Process(target=apply_until, args=(root, now, fault, asked, allow, only))
    process.start()
    return process


def ended(process: BaseProcess) -> int:
    """How it ended: an exit code, or minus the signal."""
    process.join(SECONDS)
    code = process.exitcode
    if code is None:
        process.kill()
        raise TimeoutError(f"process {process.pid} did not end")
    return code


@contextmanager
def asleep(root: Path, now: int, point: FaultPoint, nth: int = 1, *, only: Sequence[str] = ()) -> Iterator[BaseProcess]:
    """An apply that has stopped at a fault point; `wake` lets it go on."""
    process = start(root, now, Fault(point, nth, SIGSTOP), only=only)
    try:
        while _state(process) != "T":
            if not process.is_alive():
                raise AssertionError(f"the process ended with {process.exitcode}: {point} was not reached")
            os.sched_yield()
        yield process
    finally:
        process.kill()
        process.join(SECONDS)


def wake(process: BaseProcess) -> int:
    """Let a process that is asleep go on, to its end."""
    os.kill(process.pid or 0, SIGCONT)
    return ended(process)


def _state(process: BaseProcess) -> str:
    """One letter, as in proc(5)."""
    try:
        return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return ""


def crash(
    root: Path,
    now: int,
    fault: Fault,
    asked: Asked | str | None = None,
    *,
    allow: Mapping[str, str] | None = None,
    only: Sequence[str] = (),
) -> None:
    """Apply, or revoke what is asked, and die at the fault; it is an error to end in any other way."""
    code = ended(start(root, now, fault, asked, allow, only))
    if code != KILLED:
        raise AssertionError(f"the process ended with {code}: {fault} was not reached")


def apply_until(
    root: Path,
    now: int,
    fault: Fault,
    asked: Asked | str | None = None,
    allow: Mapping[str, str] | None = None,
    only: Sequence[str] = (),
) -> None:
    """In this very process: apply, or revoke what is asked, and end."""
    clock = root / "clock"
    try:
        project = open_project(
            root / "pki.toml",
            environ={},
            # Who sleeps while time passes elsewhere wakes up to what the file says.
            now=lambda: int(clock.read_text()) if clock.exists() else now,
            reach=_Reach(fault, fault.nth),
        )
        if isinstance(asked, Asked):
            project.revoke(asked)
            os._exit(0)
        if asked == PRUNE:
            project.upkeep.prune(lambda _event: None)
            os._exit(0)
        applied = project.apply(allow=allow, only=only)
    except PkicodeError as error:
        # The test reads this instead of a traceback.
        (root / "told").write_text(f"{type(error).__name__}: {error.message}\n")
        os._exit(error.exit_code)
    (root / "told").write_text("".join(f"{one.code}: {one.message}\n" for one in applied.problems))
    os._exit(applied.exit_code)
