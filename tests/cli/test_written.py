"""Files that a command is told to write: new, whole, or not there."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pkicode.cli.options import written
from pkicode.cli.session import Session
from pkicode.model.problem import PkicodeError


def session(folder: Path) -> Session:
    return Session(folder, None, None, {}, None, quiet=True, verbose=False)


@contextmanager
def little_room(octets: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("private", [True, False])
def test_half_of_a_file_is_not_left_in_the_way_of_the_next_try(tmp_path: Path, *, private: bool) -> None:
    with little_room(50_000), pytest.raises(PkicodeError, match=f"{tmp_path}/new: File too large"):
        written(session(tmp_path), Path("new"), bytes(100_000), private=private)
    assert not list(tmp_path.iterdir())
    written(session(tmp_path), Path("new"), bytes(100_000), private=private)
    assert ((tmp_path / "new").stat().st_mode & 0o077 == 0) == private


def test_what_is_there_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"somebody's only key")
    with pytest.raises(PkicodeError, match="is there already"):
        written(session(tmp_path), Path("old"), b"new", private=True)
    assert (tmp_path / "old").read_bytes() == b"somebody's only key"
