"""The public types are what the example says: `Any` nowhere, and a name that is not there is an error."""

import subprocess
import sys

from tests.guards.tree import ROOT


def test_the_example_of_public_types_passes_mypy_strict() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "tests/notebook/typed.py"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
