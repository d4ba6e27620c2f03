"""What pki.toml asks for and is not installed is named, with the command that installs it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STATE = '[state]\nurl = "postgresql://pki@127.0.0.1:1/pki"\n'
TOKEN = '[keystore.hsm]\ntype = "pkcs11"\nuri = "pkcs11:token=corp"\nmodule = "/m.so"\npin = { env = "PIN" }\n'


@pytest.mark.parametrize(
    ("table", "module", "extra", "command"),
    [
        pytest.param(STATE, "asyncpg", "postgres", ("plan",), id="state"),
        pytest.param(TOKEN, "pkcs11", "hsm", ("keystore", "info", "hsm"), id="token"),
    ],
)
def test_what_is_missing_is_installed_by_its_extra(
    tmp_path: Path, table: str, module: str, extra: str, command: tuple[str, ...]
) -> None:
    (tmp_path / "pki.toml").write_text(f'version = 1\n[project]\nname = "corp"\n{table}')
    code = f"import sys; sys.modules[{module!r}] = None\nfrom pkicode.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, *command],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert f"pip install 'pkicode[{extra}]', or in a clone: .venv/bin/pip install -e '.[{extra}]'" in done.stderr
