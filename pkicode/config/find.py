"""Where the pki.toml of a folder is.  Reading it is reader.py's."""

from collections.abc import Mapping
from pathlib import Path

from pkicode.model.problem import PkicodeError


def find(start: Path, environ: Mapping[str, str]) -> Path:
    """The pki.toml of a folder: PKICODE_CONFIG, or upward from `start` as far as the folder with .git.

    Raises:
        PkicodeError: there is none.
    """
    if named := environ.get("PKICODE_CONFIG"):
        return Path(named)
    for folder in (start.resolve(), *start.resolve().parents):
        if (folder / "pki.toml").is_file():
            return folder / "pki.toml"
        if (folder / ".git").exists():
            break
    raise PkicodeError(f"no pki.toml in {start} or above", help="`pkicode init` makes one")
