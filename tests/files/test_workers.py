"""Workers: what they are given, how they fail, and that none outlives us."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from pkicode.adapters.workers import Workers
from tests.files.processes import ends

ROOT = Path(__file__).parents[2]


def run(script: str, *args: str, cwd: Path, how: Sequence[str] = ("program.py",)) -> subprocess.Popen:
    """A program of its own that imports `work` (below): what a pool's processes import."""
    (cwd / "work.py").write_text(textwrap.dedent(WORK))
    (cwd / "program.py").write_text(textwrap.dedent(script))
    environ = os.environ | {"PYTHONPATH": f"{ROOT}:{cwd}"}
    command = [sys.executable, *how, *args]
    return subprocess.Popen(command, cwd=cwd, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


WORK = """
    import os, signal, sys, time
    from pathlib import Path
    def square(number):
        return number * number, os.getpid()
    def fail(text):
        raise ValueError(text)
    def die():
        os.kill(os.getpid(), signal.SIGKILL)
    def told(secret):
        return secret, Path("/proc/self/cmdline").read_bytes(), Path("/proc/self/environ").read_bytes()
    def modules():
        return sorted(sys.modules)
    changed = False
    def is_copy():
        return changed, os.getpid()
    def idle(data):
        wait_for("never")
    def die_when(path):
        Path("begun").touch()
        wait_for(path)
        die()
    def wait_for(path):
        while not Path(path).exists():
            time.sleep(0.01)
        return os.getpid()
"""


def test_one_job_is_a_thread_of_this_process_and_not_the_loops(tmp_path: Path) -> None:
    async def main() -> tuple[int, int]:
        async with Workers(1) as workers:
            return await workers.run(os.getpid), await workers.run(threading.get_ident)

    pid, thread = asyncio.run(main())
    assert pid == os.getpid()
    assert thread != threading.get_ident()


def test_nothing_is_started_when_nothing_is_run() -> None:
    async def main() -> int:
        async with Workers(2):
            return threading.active_count()

    before = threading.active_count()
    assert asyncio.run(main()) == before


def test_errors_come_back_as_they_are() -> None:
    async def main() -> None:
        async with Workers(1) as workers:
            await workers.run(int, "seven")

    with pytest.raises(ValueError, match="seven"):
        asyncio.run(main())


def test_several_jobs_are_processes_that_return_raise_and_import_little(tmp_path: Path) -> None:
    script = """
        import asyncio, os, work
        from pkicode.adapters.workers import Workers
        async def main():
            async with Workers(2) as workers:
                answers = await asyncio.gather(*(workers.run(work.square, number) for number in range(50)))
                print([square for square, _ in answers] == [number * number for number in range(50)])
                print(os.getpid() not in {pid for _, pid in answers})
                try:
                    await workers.run(work.fail, "as it is")
                except ValueError as error:
                    print(error)
                print({"click", "sqlite3", "pandas", "rich", "cryptography"} & set(await workers.run(work.modules)))
        if __name__ == "__main__":
            asyncio.run(main())
    """
    process = run(script, cwd=tmp_path)
    out, err = process.communicate(timeout=60)
    assert (out.split("\n")[:4], err) == (["True", "True", "as it is", "set()"], "")


@pytest.mark.parametrize("how", [["program.py"], ["-m", "program"]])
def test_processes_leave_the_script_that_calls_us_alone(tmp_path: Path, how: list[str]) -> None:
    """Nobody who writes `pki.apply()` on a line of its own knows that there are processes."""
    script = """
        import asyncio, os, work
        from pkicode.adapters.workers import Workers
        print("run")
        async def main():
            async with Workers(2) as workers:
                answers = await asyncio.gather(*(workers.run(work.square, number) for number in range(50)))
                print(os.getpid() not in {pid for _, pid in answers})
        asyncio.run(main())
        print(os.path.basename(__file__), getattr(__spec__, "name", None))
    """
    done = run(script, cwd=tmp_path, how=how)
    out, err = done.communicate(timeout=60)
    named = "program" if "-m" in how else None
    assert (out, err) == (f"run\nTrue\nprogram.py {named}\n", "")


def test_a_secret_is_handed_to_each_worker_by_pipe_alone(tmp_path: Path) -> None:
    script = """
        import asyncio, work
        from pkicode.adapters.workers import Workers
        async def main():
            async with Workers(2) as workers:
                secret, cmdline, environ = await workers.run(work.told, b"hunter2")
                print(secret, b"hunter2" in cmdline + environ)
        if __name__ == "__main__":
            asyncio.run(main())
    """
    out, err = run(script, cwd=tmp_path).communicate(timeout=60)
    assert (out, err) == ("b'hunter2' False\n", "")


def test_a_worker_that_dies_is_a_clear_error(tmp_path: Path) -> None:
    script = """
        import asyncio, work
        from pkicode.adapters.workers import Workers
        from pkicode.model.problem import PkicodeError
        async def main():
            async with Workers(2) as workers:
                await workers.run(work.die)
        if __name__ == "__main__":
            try:
                asyncio.run(main())
            except PkicodeError as error:
                print(error.message, "|", error.help)
    """
    out, err = run(script, cwd=tmp_path).communicate(timeout=60)
    assert out.startswith("a worker process died")
    assert "--jobs 1" in out
    assert err == ""


@pytest.mark.skipif(sys.platform != "linux", reason="nobody is forked elsewhere")
@pytest.mark.parametrize(("jobs", "threads", "is_copy"), [(2, 0, True), (2, 1, False), (1, 0, True)])
def test_copies_of_this_process_work_where_it_has_no_other_thread(
    tmp_path: Path, jobs: int, threads: int, is_copy: bool
) -> None:
    script = f"""
        import asyncio, os, threading, work
        from pkicode.adapters.workers import Workers
        async def main(workers):
            async with workers:
                changed, pid = await workers.run(work.is_copy)
                print(changed, pid != os.getpid())
        if __name__ == "__main__":
            done = threading.Event()
            for _ in range({threads}):
                threading.Thread(target=done.wait).start()
            work.changed = True
            workers = Workers({jobs})
            workers.fork()
            asyncio.run(main(workers))
            done.set()
    """
    out, err = run(script, cwd=tmp_path).communicate(timeout=60)
    assert (out, err) == (f"{is_copy} {jobs > 1}\n", "")


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("begun", ["", "workers.fork()"])
def test_no_worker_outlives_us_however_we_end(tmp_path: Path, ending: signal.Signals, begun: str) -> None:
    """^C goes to the whole group, as a terminal sends it: the batch in flight ends, nobody prints a traceback."""
    script = f"""
        import asyncio, sys, work
        from pkicode.adapters.workers import Workers
        async def main(workers):
            async with workers:
                pids = set()
                while len(pids) < 2:
                    pids = {{pid for _, pid in await asyncio.gather(*(workers.run(work.square, 1) for _ in range(9)))}}
                waiting = [workers.run(work.wait_for, sys.argv[1]) for _ in range(2)]
                print(*pids, flush=True)
                await asyncio.gather(*waiting)
        if __name__ == "__main__":
            workers = Workers(2)
            {begun}
            try:
                asyncio.run(main(workers))
            except KeyboardInterrupt:
                print("interrupted")
    """
    process = run(script, str(tmp_path / "go"), cwd=tmp_path)
    assert process.stdout is not None
    pids = [int(pid) for pid in process.stdout.readline().split()]
    process.send_signal(ending)
    if ending is signal.SIGINT:
        for pid in pids:
            os.kill(pid, ending)
        (tmp_path / "go").touch()
    out, err = process.communicate(timeout=60)
    if ending is signal.SIGINT:
        assert (out, err) == ("interrupted\n", "")
    assert all(ends(pid) for pid in pids)


def test_a_worker_that_dies_after_much_was_cancelled_ends_the_program_with_one_error(tmp_path: Path) -> None:
    """What waits is dropped by the pool: dropped by us, the library's own thread trips over it and nothing ends."""
    script = """
        import asyncio, work
        from pathlib import Path
        from pkicode.adapters.workers import Workers
        from pkicode.model.problem import PkicodeError
        async def main():
            async with Workers(2) as workers:
                dies = asyncio.create_task(workers.run(work.die_when, "told"))
                waiting = [asyncio.create_task(workers.run(work.idle, bytes(100_000))) for _ in range(60)]
                while not Path("begun").exists():
                    await asyncio.wait((dies,), timeout=0.01)
                for one in waiting:
                    one.cancel()
                await asyncio.gather(*waiting, return_exceptions=True)
                Path("told").touch()
                await dies
        if __name__ == "__main__":
            try:
                asyncio.run(main())
            except PkicodeError as error:
                print(error)
    """
    process = run(script, cwd=tmp_path)
    try:
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (out, err) == ("a worker process died; what it was doing is not done\n", "")


@pytest.mark.parametrize("forked", [False, True])
def test_work_that_loses_nothing_is_not_finished_when_it_is_cancelled(tmp_path: Path, *, forked: bool) -> None:
    script = """
        import asyncio, sys, work
        from pathlib import Path
        from pkicode.adapters.workers import Workers
        async def main(workers):
            async with workers:
                waiting = [workers.run(work.idle, bytes(100_000)) for _ in range(60)]
                await asyncio.gather(workers.run(work.die_when, "never"), *waiting)
        async def cancelled(workers):
            task = asyncio.create_task(main(workers))
            while not Path("begun").exists():
                await asyncio.wait((task,), timeout=0.01)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            print("cancelled")
        if __name__ == "__main__":
            crew = Workers(2, is_droppable=True)
            if sys.argv[1] == "True":
                crew.fork()
            asyncio.run(cancelled(crew))
    """
    process = run(script, str(forked), cwd=tmp_path)
    try:
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (out, err) == ("cancelled\n", "")
