"""Running the command: in this process for speed, in another where the process itself is the subject."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pkicode.cli import main
from tests.cli.running import CONFIG, NOW, Ran, spawn
from tests.quick import quick_keystore


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """Run pkicode in this process, in `folder`, at NOW."""
    monkeypatch.setenv("PKICODE_NOW", NOW)

    def call(*arguments: str | Path) -> Ran:
        capsys.readouterr()
        code = main(["-C", str(folder), *map(str, arguments)])
        told = capsys.readouterr()
        return Ran(code, told.out, told.err)

    return call


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with CONFIG, nothing applied."""
    root = tmp_path / "pki"
    root.mkdir()
    (root / "pki.toml").write_text(CONFIG, "utf-8")
    return root


@pytest.fixture(scope="session")
def applied_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("applied") / "pki"
    root.mkdir()
    quick_keystore(root)
    (root / "pki.toml").write_text(CONFIG, "utf-8")
    ran = spawn(root, "apply", "-y", "--allow-clock")
    assert ran.code == 0, ran.err
    return root


@pytest.fixture
def applied(applied_once: Path, folder: Path) -> Path:
    """`folder`, with everything in CONFIG applied at NOW."""
    shutil.rmtree(folder)
    shutil.copytree(applied_once, folder, symlinks=True)
    return folder
