"""Secrets: read a passphrase from where pki.toml says it is (an environment variable, a file, a command).

The secret is the first line.  It goes to the caller and nowhere else: not into errors, logs or a child's arguments.
"""

import asyncio
import os
import stat
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pkicode.adapters.durable import make_folder, put_new, sync, write_new
from pkicode.adapters.process import CommandFailed, run
from pkicode.config.language import Secret
from pkicode.model.problem import PkicodeError

LIMIT = 4096
"""Bytes; a longer secret is a file that was named by mistake."""
COMMAND_SECONDS = 10


async def read_secret(secret: Secret, *, root: Path, environ: Mapping[str, str], warn: Callable[[str], None]) -> bytes:
    """The secret, never empty.

    Args:
        secret: where it is.
        root: relative files are looked up here; commands run here, with `environ`.
        environ: where `env` is looked up.
        warn: told when `create` has made a new secret that somebody must take care of.

    Raises:
        PkicodeError: it is not there, others may read it, it is empty or too long, or the command failed.
    """
    if secret.env is not None:
        return _from_env(secret.env, environ)
    if secret.file is not None:
        return await asyncio.to_thread(_from_file, root / secret.file, secret.create, warn)
    if secret.command:
        return await _from_command(secret.command, root, environ)
    raise PkicodeError("a secret has no source", help="write one of { env = }, { file = } or { command = [...] }")


def _from_env(name: str, environ: Mapping[str, str]) -> bytes:
    if name not in environ:
        raise PkicodeError(
            f"the environment variable {name} is not set, and a secret is read from it",
            help=f"set {name} and run again",
        )
    return _first_line(os.fsencode(environ[name]), f"the secret in the environment variable {name}")


def _from_file(path: Path, create: bool, warn: Callable[[str], None]) -> bytes:  # noqa: FBT001 - it is a field of pki.toml
    try:
        if create and not os.path.lexists(path):
            _make(path, warn)
        with open(path, "rb", opener=_open) as file:
            _refuse_open_doors(path, os.fstat(file.fileno()))
            return _first_line(file.read(LIMIT + 1), f"the secret in {path}")
    except OSError as error:
        raise PkicodeError(
            f"the secret in {path} cannot be read: {error.strerror}",
            help="check the path and whose file it is; `create = true` makes a random one only with a new keystore",
        ) from error


def _open(path: str, flags: int) -> int:
    # A FIFO without a writer would make us wait for ever; it is refused next.
    return os.open(path, flags | os.O_NONBLOCK)


def _refuse_open_doors(path: Path, facts: os.stat_result) -> None:
    if not stat.S_ISREG(facts.st_mode):
        raise PkicodeError(f"the secret in {path} is not in a regular file", help="name a regular file")
    if facts.st_uid != os.geteuid():
        raise PkicodeError(
            f"the secret in {path} belongs to another user, who can read and change it",
            help=f"run as its owner, or `chown {os.geteuid()} {path}`",
        )
    if facts.st_mode & 0o077:
        raise PkicodeError(
            f"the secret in {path} may be read or changed by others (mode {stat.S_IMODE(facts.st_mode):04o})",
            help=f"run `chmod 600 {path}`, and change the secret if others could have read it",
        )


def _make(path: Path, warn: Callable[[str], None]) -> None:
    make_folder(path.parent, 0o700)
    draft = path.with_name(f".{path.name}.{os.urandom(6).hex()}")
    try:
        write_new(draft, urlsafe_b64encode(os.urandom(32)).rstrip(b"=") + b"\n", 0o600)
        # Another process may have been quicker, and that one's secret stands.
        put_new(draft, path)
    except FileExistsError:
        return
    finally:
        draft.unlink(missing_ok=True)
    sync(path.parent)
    warn(
        f"a new random secret was written to {path}; keep a copy of it apart from the keystore and out of version"
        " control: whoever has both has the keys, and without it nobody has"
    )


async def _from_command(command: Sequence[str], root: Path, environ: Mapping[str, str]) -> bytes:
    what = f"the secret from the command `{command[0]}`"
    try:
        output = await run(
            command,
            root=root,
            environ=environ,
            seconds=COMMAND_SECONDS,
            limit=LIMIT + 1,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except CommandFailed as error:
        # Not its output, nor its stderr: either may hold the secret.
        raise PkicodeError(
            f"{what} cannot be read: it {error.why}", help="run the command by hand; its output is not shown here"
        ) from None
    return _first_line(output, what)


def _first_line(data: bytes, what: str) -> bytes:
    line = data.split(b"\n", 1)[0].removesuffix(b"\r")
    if len(data) > LIMIT:
        raise PkicodeError(f"{what} is longer than {LIMIT} bytes", help="check that it is the right source")
    if not line:
        raise PkicodeError(
            f"{what} is empty", help="an empty first line protects nothing: put a long random text there"
        )
    return line
