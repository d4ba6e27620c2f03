"""Pages as scripts: their fenced blocks, and running a page's console blocks as a reader would."""

import doctest
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from tests.guards.tree import ROOT

FENCE = re.compile(r"^```(?P<language>\w+)[ ]*(?P<file>[^\n]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
FIRST = next(FENCE.finditer((ROOT / "docs/tutorials/first-pki.md").read_text(encoding="utf-8")))
"""The pki.toml of the tutorial."""
SECONDS = 120
_PLAYED = "PKICODE_TEST_PLAYED"
"""In the environment of everything that a page starts: its folder."""


def play_page(page: Path, folder: Path, bin_: Path, **more: str) -> None:
    """Play a page from top to bottom in `folder`: console and Python blocks run, blocks that name a file write it.

    Args:
        bin_: a folder to be, for the command.
        more: of the environment.
    """
    environ = {**environment(bin_), **more, _PLAYED: str(folder)}
    try:
        for fence in FENCE.finditer(page.read_text(encoding="utf-8")):
            write(fence, folder)
            if fence["language"] == "console":
                play(fence["body"], folder, environ)
            if fence["language"] == "python":
                run([sys.executable, "-c", fence["body"]], folder, environ)
    finally:
        _end_all(f"{_PLAYED}={folder}")


def _end_all(mark: str) -> None:
    """End what a page left running: it would keep its port from the next run."""
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if mark.encode() in environ.read_bytes().split(b"\0"):
                os.kill(int(environ.parent.name), signal.SIGKILL)


def run(command: list[str], folder: Path, environ: dict[str, str], code: int = 0) -> str:
    """What a command prints on both of its outputs; it has to end with `code`."""
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=SECONDS)
    said = done.stdout + done.stderr
    assert done.returncode == code, f"{command[-1]}\n{said}"
    return said


def environment(bin_: Path) -> dict[str, str]:
    """An environment in which `pkicode` and `dask` are this checkout's commands."""
    bin_.mkdir(exist_ok=True)
    for name, started in (
        ("pkicode", '-c "import sys, pkicode.cli; sys.exit(pkicode.cli.main())"'),
        ("dask", "-m dask"),
    ):
        command = bin_ / name
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" {started} "$@"\n')
        command.chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{bin_}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "NO_COLOR": "1",
    }


def write(fence: re.Match[str], folder: Path) -> None:
    """Write the file that a block names; `+pki.toml` is the tutorial's, with the block at its end."""
    file = fence["file"].lstrip("+")
    if file:
        before = FIRST["body"] + "\n" if fence["file"].startswith("+") else ""
        (folder / file).write_text(before + fence["body"], encoding="utf-8")


def play(block: str, folder: Path, environ: dict[str, str]) -> None:
    """Run each `$ command` and compare what it prints with the lines below; `...` stands for anything."""
    for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, expected = step.partition("\n")
        while command.endswith("\\"):
            more, _, expected = expected.partition("\n")
            command += f"\n{more}"
        code = re.search(r"# exit (\d+)$", command)
        said = run(["bash", "-c", command], folder, environ, int(code[1]) if code else 0)
        flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        assert doctest.OutputChecker().check_output(expected, said, flags), (
            f"$ {command}\n{said}\nexpected:\n{expected}"
        )
