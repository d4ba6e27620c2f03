"""Commands: they end when their time is up, whatever they have started."""

import asyncio
import os
from pathlib import Path

import pytest

from pkicode.adapters.process import CommandFailed, run
from tests.files.processes import ends


def shell(root: Path, script: str, seconds: float = 30) -> bytes:
    return asyncio.run(
        run(
            ("/bin/sh", "-c", script),
            root=root,
            environ={"PATH": os.defpath},
            seconds=seconds,
            limit=100,
            stderr=asyncio.subprocess.STDOUT,
        )
    )


def test_what_a_command_writes_is_read_up_to_the_limit(tmp_path: Path) -> None:
    assert shell(tmp_path, "pwd; echo and >&2") == f"{tmp_path}\nand\n".encode()
    assert shell(tmp_path, "head -c 1000000 /dev/zero") == bytes(100)


def test_a_command_has_no_input_to_wait_for(tmp_path: Path) -> None:
    assert shell(tmp_path, "cat; echo done") == b"done\n"


@pytest.mark.parametrize("end", ["exit 0", "sleep 200"])
def test_one_who_left_the_group_and_keeps_the_output_does_not_keep_us(tmp_path: Path, end: str) -> None:
    with pytest.raises(CommandFailed, match=r"stopped after 2 s") as caught:
        shell(tmp_path, f"echo begun; setsid sleep 20 & {end}", seconds=2)
    assert caught.value.output == b"begun\n"


def test_everything_in_the_group_ends_with_its_time(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed) as caught:
        shell(tmp_path, "sleep 200 & echo $! $$; wait", seconds=2)
    pids = caught.value.output.split()
    assert len(pids) == 2
    assert all(ends(int(pid)) for pid in pids)


def test_what_redirects_its_output_may_stay_in_the_background(tmp_path: Path) -> None:
    assert shell(tmp_path, "sleep 1 >/dev/null 2>&1 & echo left") == b"left\n"
