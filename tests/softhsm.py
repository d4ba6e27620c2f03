"""SoftHSM2 tokens for tests: real PKCS #11, in a folder of their own, and pkcs11-tool as a second pair of eyes."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from attrs import frozen

PIN = "planted-Pin-3141"
SO_PIN = "planted-So-Pin-2718"
_FOLDERS = ("/usr/lib/softhsm", "/usr/lib/*/softhsm", "/usr/lib64/softhsm", "/usr/local/lib/softhsm")


def module() -> Path:
    """The library of SoftHSM2; the test is skipped where it is not installed."""
    found = [path for folder in _FOLDERS for path in Path("/").glob(f"{folder[1:]}/libsofthsm2.so")]
    if not found or shutil.which("softhsm2-util") is None or shutil.which("pkcs11-tool") is None:
        pytest.skip("needs softhsm2 and opensc (make tools)")
    return found[0]


@frozen
class SoftHsm:
    """A folder of tokens.  `environ` is what makes SoftHSM look there."""

    folder: Path
    module: Path

    @property
    def environ(self) -> dict[str, str]:
        return {"SOFTHSM2_CONF": str(self.folder / "softhsm2.conf")}

    @property
    def tokens(self) -> Path:
        return self.folder / "tokens"

    def token(self, label: str) -> str:
        """A new token, empty; its serial number."""
        before = self.serials(label)
        pins = ("--so-pin", SO_PIN, "--pin", PIN)
        self._run("softhsm2-util", "--init-token", "--free", "--label", label, *pins)
        (serial,) = self.serials(label) - before
        return serial

    def serials(self, label: str) -> set[str]:
        """Of the tokens with a label."""
        shown = self._run("softhsm2-util", "--show-slots")
        return set(re.findall(rf"Serial number:\s*(\w+)\n\s*Initialized:\s*yes\n.*\n\s*Label:\s*{label}\s*\n", shown))

    def tool(self, token: str, *arguments: str) -> str:
        """What pkcs11-tool says, logged in."""
        return self._run(
            "pkcs11-tool", "--module", str(self.module), "--token-label", token, "--login", "--pin", PIN, *arguments
        )

    def remove(self) -> None:
        """Pull every token out."""
        self.tokens.rename(self.folder / "pulled")
        self.tokens.mkdir()

    def put_back(self) -> None:
        self.tokens.rmdir()
        (self.folder / "pulled").rename(self.tokens)

    def _run(self, *command: str) -> str:
        done = subprocess.run(
            command, env={**os.environ, **self.environ}, capture_output=True, errors="replace", timeout=60, check=False
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout


def softhsm(folder: Path) -> SoftHsm:
    """An empty folder of tokens."""
    made = SoftHsm(folder, module())
    made.tokens.mkdir(parents=True)
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {made.tokens}\nobjectstore.backend = file\n")
    return made


def keystore(hsm: SoftHsm, token: str, *, name: str = "hsm", more: str = "") -> str:
    """The table of a keystore on a token."""
    return f"""
[keystore.{name}]
type = "pkcs11"
uri = "pkcs11:token={token}"
module = "{hsm.module}"
pin = {{ file = ".pkicode/pin" }}
{more}
"""
