"""Java's PKIX, asked in one process for as many paths as a test has."""

import base64
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

Ask = Callable[[int, Sequence[bytes], bytes, Sequence[bytes], Sequence[bytes]], str]
"""(instant, roots, leaf, others, CRLs), all DER, to OK, or NO and why."""


@contextmanager
def path_builder() -> Iterator[Ask]:
    """Skips the test where there is no Java."""
    if shutil.which("java") is None:
        pytest.skip("java is not installed")
    source = Path(__file__).with_name("PathBuild.java")
    with subprocess.Popen(["java", str(source)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("no pipes")
        to, back = process.stdin, process.stdout

        def ask(at: int, roots: Sequence[bytes], leaf: bytes, others: Sequence[bytes], crls: Sequence[bytes]) -> str:
            lists = [",".join(base64.b64encode(one).decode() for one in some) for some in (roots, [leaf], others, crls)]
            to.write(f"{at} {' '.join(lists)}\n")
            to.flush()
            return back.readline().strip()

        yield ask
        process.stdin.close()
