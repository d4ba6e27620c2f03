"""Reading secrets: from where, how much, who else may read them, and that they are told to nobody."""

import asyncio
import os
import stat
import sys
from pathlib import Path

import pytest
from attrs import frozen

from pkicode.adapters.secret import read_secret
from pkicode.config.language import Secret
from pkicode.model.problem import PkicodeError
from tests.files.processes import ends


@frozen
class Told:
    value: bytes
    warnings: list[str]


def read(secret: Secret, root: Path, environ: dict[str, str] | None = None) -> Told:
    warnings: list[str] = []
    value = asyncio.run(read_secret(secret, root=root, environ=environ or {}, warn=warnings.append))
    return Told(value, warnings)


def private(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    path.chmod(0o600)
    return path


def test_a_secret_comes_from_the_environment_it_was_given(tmp_path: Path) -> None:
    assert read(Secret(env="WORD"), tmp_path, {"WORD": "hunter2 ü"}).value == "hunter2 ü".encode()


@pytest.mark.parametrize("environ", [{}, {"WORD": ""}, {"WORD": "\nsecond line"}])
def test_a_missing_or_empty_variable_is_an_error_that_names_it(tmp_path: Path, environ: dict[str, str]) -> None:
    with pytest.raises(PkicodeError, match="WORD"):
        read(Secret(env="WORD"), tmp_path, environ)


@pytest.mark.parametrize("content", [b"hunter2", b"hunter2\n", b"hunter2\r\nmore\n"])
def test_the_first_line_of_a_file_is_the_secret(tmp_path: Path, content: bytes) -> None:
    private(tmp_path / "word", content)
    assert read(Secret(file="word"), tmp_path) == Told(b"hunter2", [])
    assert read(Secret(file=str(tmp_path / "word")), Path("/")).value == b"hunter2"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610])
def test_a_file_that_others_may_reach_is_refused_with_the_chmod_that_mends_it(tmp_path: Path, mode: int) -> None:
    private(tmp_path / "word", b"hunter2").chmod(mode)
    with pytest.raises(PkicodeError, match=f"mode {mode:04o}") as caught:
        read(Secret(file="word"), tmp_path)
    assert f"chmod 600 {tmp_path / 'word'}" in caught.value.help
    assert "hunter2" not in repr(caught.value) + caught.value.help


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    os.chown(private(tmp_path / "word", b"hunter2"), 1, 1)
    with pytest.raises(PkicodeError, match="belongs to another user"):
        read(Secret(file="word"), tmp_path)


@pytest.mark.parametrize("content", [b"", b"\n", b"\r\n", b"\nhunter2"])
def test_an_empty_first_line_is_refused(tmp_path: Path, content: bytes) -> None:
    private(tmp_path / "word", content)
    with pytest.raises(PkicodeError, match="is empty"):
        read(Secret(file="word"), tmp_path)


def test_a_file_that_is_too_long_is_refused_and_not_quoted(tmp_path: Path) -> None:
    private(tmp_path / "word", b"hunter2" * 600)
    with pytest.raises(PkicodeError, match="longer than 4096 bytes") as caught:
        read(Secret(file="word"), tmp_path)
    assert "hunter2" not in repr(caught.value)


def test_folders_fifos_and_missing_files_are_errors_and_not_waits(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    for name in ("fifo", ".", "none"):
        with pytest.raises(PkicodeError, match="the secret in"):
            read(Secret(file=name), tmp_path)


def test_create_makes_a_random_secret_once_and_warns(tmp_path: Path) -> None:
    secret = Secret(file="new/folder/word", create=True)
    before = os.umask(0)
    try:
        first = read(secret, tmp_path)
    finally:
        os.umask(before)
    path = tmp_path / "new/folder/word"
    assert len(first.value) == 43
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    [warning] = first.warnings
    assert str(path) in warning
    assert first.value.decode() not in warning
    assert read(secret, tmp_path) == Told(first.value, [])
    assert os.listdir(path.parent) == ["word"]
    assert read(Secret(file="other", create=True), tmp_path).value != first.value


def test_create_leaves_what_is_there(tmp_path: Path) -> None:
    private(tmp_path / "word", b"hunter2")
    assert read(Secret(file="word", create=True), tmp_path) == Told(b"hunter2", [])


def test_many_that_create_at_once_agree(tmp_path: Path) -> None:
    async def main() -> list[bytes]:
        warnings: list[str] = []
        reads = [
            read_secret(Secret(file="word", create=True), root=tmp_path, environ={}, warn=warnings.append)
            for _ in range(8)
        ]
        return await asyncio.gather(*reads)

    assert len(set(asyncio.run(main()))) == 1


def test_a_command_writes_the_secret_and_sees_the_environment(tmp_path: Path) -> None:
    command = (sys.executable, "-c", "import os; print(os.environ['WORD'])")
    assert read(Secret(command=command), tmp_path, {"WORD": "hunter2"}).value == b"hunter2"


def test_a_command_is_not_given_to_a_shell(tmp_path: Path) -> None:
    assert read(Secret(command=("/bin/echo", "$HOME;`id`")), tmp_path, {"HOME": "/x"}).value == b"$HOME;`id`"


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (("/bin/sh", "-c", "echo hunter2; echo hunter2 >&2; exit 3"), "exit code 3"),
        (("/bin/sh", "-c", "echo hunter2; kill -9 $$"), "signal 9"),
        (("/no/such/command", "hunter2"), "could not be started"),
        (("/bin/sh", "-c", "exit 0"), "is empty"),
        (("/bin/sh", "-c", "while :; do echo hunter2hunter2hunter2; done | head -c 100000"), "longer than 4096"),
    ],
)
def test_a_command_that_fails_is_told_without_its_output(tmp_path: Path, command: tuple[str, ...], why: str) -> None:
    with pytest.raises(PkicodeError, match=why) as caught:
        read(Secret(command=command), tmp_path)
    assert "hunter2" not in repr(caught.value) + caught.value.help
    assert caught.value.__context__ is None or "hunter2" not in repr(caught.value.__context__)


def test_a_command_that_hangs_is_stopped_with_everything_it_started(tmp_path: Path) -> None:
    script = f"sleep 300 & echo $! > {tmp_path}/child; echo $$ > {tmp_path}/self; wait"
    with pytest.raises(PkicodeError, match="stopped after 10 s"):
        read(Secret(command=("/bin/sh", "-c", script)), tmp_path, {"PATH": os.environ["PATH"]})
    for name in ("child", "self"):
        assert ends(int((tmp_path / name).read_text()))


def test_a_secret_without_a_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PkicodeError, match="no source"):
        read(Secret(), tmp_path)
