"""Each example is played once for all tests that look at it: the fleet signs ten thousand certificates.

Its keystore is there and opens at once. That one is made where none is, this repository's own pki.toml shows, and the
pages of docs/.
"""

import shutil
from collections.abc import Callable
from functools import cache

import pytest

from tests import softhsm
from tests.docs.playing import environment, play_page
from tests.examples.playing import Example
from tests.guards.tree import ROOT
from tests.quick import quick_keystore


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Example]:
    """Gives the folder of an example after everything in its README; `.` is this repository's own pki.toml."""

    @cache
    def play(name: str) -> Example:
        root = tmp_path_factory.mktemp("example")
        # Where examples/hsm has its token; nobody else looks there.
        token = {"SOFTHSM2_CONF": str(root / "pki/softhsm2.conf")}
        found = Example(root / "pki", {**environment(root / "bin"), **token})
        if name == ".":
            found.folder.mkdir()
            shutil.copy(ROOT / "pki.toml", found.folder)
            done = found.run("apply", "-y")
            assert done.returncode == 0, done.stderr
        else:
            shutil.copytree(ROOT / "examples" / name, found.folder)
            quick_keystore(found.folder)
            if name == "hsm":
                softhsm.module()
            play_page(found.folder / "README.md", found.folder, root / "bin", **token)
        return found

    return play
