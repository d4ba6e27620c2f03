"""Publish targets (ports.Publisher): a local folder, or whatever fsspec reaches by URL.

A reader never sees half a file, and what was put was read back.  What is published, and in which order, is decided
elsewhere.
"""

import asyncio
import errno
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from attrs import frozen

from pkicode.adapters.durable import make_folder, write_new
from pkicode.adapters.lock import Check, alone
from pkicode.config.files import contained, resolved
from pkicode.model.faults import FaultPoint, Reach
from pkicode.model.problem import Foreign, PkicodeError
from pkicode.ports import Publisher

CACHE_CONTROL = "public, max-age=3600, must-revalidate"
"""A CRL replaced today must not be hidden by a cache until its nextUpdate."""
_LOCK = ".pkicode.lock"
_MODE = 0o644
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def open_publisher(url: str, root: Path, *, reach: Reach, check: Check) -> Publisher:
    """The target of a [publish.X] url: a relative path, file:, or any fsspec URL.

    Args:
        url: as declared; a relative path is a folder inside the root.
        root: the project's folder.
        reach: fault points.
        check: see Check.

    Raises:
        PkicodeError: the URL's scheme is unknown or its library is not installed, or a relative path leaves the root.
    """
    path = folder_of(url, root)
    return (
        RemotePublisher(url, reach=reach, check=check)
        if path is None
        else LocalPublisher(path, reach=reach, check=check)
    )


def folder_of(url: str, root: Path) -> Path | None:
    """The folder that a target's url means, None where it is no folder.

    Raises:
        PkicodeError: a relative path leaves the root.
    """
    scheme = url.partition(":")[0] if ":" in url else ""
    if scheme not in ("", "file", "local"):
        return None
    path = Path(unquote(url.removeprefix(f"{scheme}:").removeprefix("//")) if scheme else url)
    if not path.is_absolute():
        path = resolved(root / path)
        if not contained(resolved(root), path):
            raise PkicodeError(
                f"the publish target `{url}` leaves the project's folder, or is in .pkicode or .git",
                help="a relative target stays inside, links included; write file:///the/absolute/path if you mean it",
            )
    return path


class LocalPublisher:
    """A folder, usually the one a web server serves.

    One writer at a time (a lock file in the folder), and the check is made while the lock is held: a process that
    slept through its lease wakes up to LeaseLost, and never puts an older file over a newer one.
    """

    def __init__(self, folder: Path, *, reach: Reach, check: Check) -> None:
        self._folder = folder
        self._reach = reach
        self._check = check

    async def put(self, files: Sequence[tuple[str, bytes, str]]) -> None:
        """ports.Publisher.put; a folder keeps no content types."""
        if not files:
            return
        with _telling(str(self._folder)):
            for path, _, _ in files:
                _refuse_away(self._folder, path)
            await asyncio.to_thread(make_folder, self._folder, 0o755)
            lock = self._folder / _LOCK
            async with alone(lock, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, doing=f"publishing to {self._folder}"):
                with ExitStack() as folders:
                    places = await asyncio.to_thread(_stage, self._folder, files, folders)
                    self._reach(FaultPoint.PUBLISH_STAGED)
                    await self._check()
                    await asyncio.to_thread(_switch, places)
                    await asyncio.to_thread(_compare, self._folder, files)

    async def read(self, path: str, *, limit: int) -> bytes | None:
        """ports.Publisher.read."""
        with _telling(str(self._folder)):
            data = await asyncio.to_thread(_read_at, self._folder, path, limit)
        _refuse_longer(path, data, limit)
        return data


class RemotePublisher:
    """An object store by fsspec: each object is replaced as a whole, with its Content-Type where the store keeps it."""

    def __init__(self, url: str, *, reach: Reach, check: Check) -> None:
        self._name = _public(url)
        self._reach = reach
        self._check = check
        if "::" in url:
            raise PkicodeError(
                f"publish target {self._name}: chained URLs are refused",
                help="a cache would be read back, not the target",
            )
        with _telling_remote(self._name):
            # Here and not above: fsspec takes 30 ms to import, and most targets are folders.
            from fsspec import available_protocols
            from fsspec.core import url_to_fs

            if (scheme := url.partition(":")[0]) not in available_protocols():
                raise PkicodeError(
                    f"publish target {self._name}: no library knows {scheme}:", help="use file:, s3:, ..."
                )
            self._filesystem, self._base = url_to_fs(url)

    async def put(self, files: Sequence[tuple[str, bytes, str]]) -> None:
        """ports.Publisher.put."""
        self._reach(FaultPoint.PUBLISH_STAGED)
        for path, data, content_type in files:
            await self._check()
            _refuse_other(path, await asyncio.to_thread(self._replace, self._place(path), data, content_type), data)

    async def read(self, path: str, *, limit: int) -> bytes | None:
        """ports.Publisher.read."""
        data = await asyncio.to_thread(self._read, self._place(path), limit)
        _refuse_longer(path, data, limit)
        return data

    def _replace(self, place: str, data: bytes, content_type: str) -> bytes:
        with _telling_remote(self._name):
            self._filesystem.pipe_file(place, data, **_headers(self._filesystem.protocol, content_type))
            there: bytes = self._filesystem.cat_file(place, start=0, end=len(data) + 1)
        return there

    def _read(self, place: str, limit: int) -> bytes | None:
        with _telling_remote(self._name):
            try:
                data: bytes = self._filesystem.cat_file(place, start=0, end=limit + 1)
            except FileNotFoundError:
                return None
        return data

    def _place(self, path: str) -> str:
        return "/".join((self._base.rstrip("/"), *_parts(path)))


def _parts(path: str) -> list[str]:
    parts = path.split("/")
    for part in parts:
        if part in ("", ".", "..") or part.startswith(".") or not part.isprintable() or "\\" in part:
            raise PkicodeError(f"`{path!r}` is not a path below a publish target", help="this is a mistake in pkicode")
    return parts


@frozen
class _Place:
    """A name in a folder that is open: whoever owns the target may put a link above it at any time."""

    folder: int
    name: str

    @property
    def draft(self) -> str:
        """Always the same name: what a crash leaves behind is overwritten, nobody has to sweep a public folder."""
        return f".{self.name}.draft"


def _refuse_away(target: Path, path: str) -> tuple[Path, Path]:
    """The target and the folder of a path below it, links followed."""
    base = resolved(target)
    folder = resolved(base.joinpath(*_parts(path)[:-1]))
    if not folder.is_relative_to(base):
        raise PkicodeError(f"`{path}` leaves the publish target {base} through a link", help="remove the link")
    return base, folder


def _opened(target: Path, path: str, *, make: bool) -> int:
    """The folder of a path, to be closed; made with those above it where it is not there.

    Links that are there lead inside.  What was seen is opened name by name, and no link that came since is followed.
    """
    base, folder = _refuse_away(target, path)
    handle = os.open(base, _FOLDER)
    for name in folder.relative_to(base).parts:
        try:
            if make:
                with suppress(FileExistsError):
                    os.mkdir(name, 0o755, dir_fd=handle)
                    os.fsync(handle)
            inner = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=handle)
        finally:
            os.close(handle)
        handle = inner
    return handle


def _stage(target: Path, files: Sequence[tuple[str, bytes, str]], folders: ExitStack) -> Sequence[_Place]:
    opened: dict[str, int] = {}
    places = []
    for path, data, _ in files:
        above, _, name = path.rpartition("/")
        if above not in opened:
            opened[above] = _opened(target, path, make=True)
            folders.callback(os.close, opened[above])
        place = _Place(opened[above], name)
        with suppress(FileNotFoundError):
            os.unlink(place.draft, dir_fd=place.folder)
        write_new(place.draft, data, _MODE, folder=place.folder)
        places.append(place)
    return places


def _switch(places: Sequence[_Place]) -> None:
    for place in places:
        os.replace(place.draft, place.name, src_dir_fd=place.folder, dst_dir_fd=place.folder)
        # Each before the next: a CRL must not be on disk before the certificate of who signed it.
        os.fsync(place.folder)


def _compare(target: Path, files: Sequence[tuple[str, bytes, str]]) -> None:
    """As readers find them, who do not know which folder was open."""
    for path, data, _ in files:
        try:
            there = _read_at(target, path, len(data))
        except Foreign:
            there = None
        _refuse_other(f"{target}/{path}", there, data)


def _read_at(target: Path, path: str, limit: int) -> bytes | None:
    try:
        folder = _opened(target, path, make=False)
    except FileNotFoundError:
        return None
    try:
        return _read(folder, path.rpartition("/")[2], f"{target}/{path}", limit)
    finally:
        os.close(folder)


def _read(folder: int, name: str, shown: str, limit: int) -> bytes | None:
    def opener(path: str, flags: int) -> int:
        # A pipe that somebody put there must not make us wait for ever.
        return os.open(path, flags | os.O_NONBLOCK | os.O_NOFOLLOW, dir_fd=folder)

    try:
        with open(name, "rb", opener=opener) as file:
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode) or facts.st_size > limit:
                raise _foreign(shown, limit)
            return file.read(limit + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        # ELOOP is how O_NOFOLLOW says that it is a link.
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise _foreign(shown, limit) from error
        raise


def _foreign(path: str, limit: int) -> Foreign:
    return Foreign(
        f"{path} is not a plain file of at most {limit} bytes", help="it is not what was published there; remove it"
    )


def _headers(protocols: str | tuple[str, ...], content_type: str) -> Mapping[str, Any]:
    """Content-Type and Cache-Control in each library's own words."""
    names = {protocols} if isinstance(protocols, str) else set(protocols)
    if "s3" in names:
        return {"ContentType": content_type, "CacheControl": CACHE_CONTROL}
    if "gs" in names:
        return {"content_type": content_type, "fixed_key_metadata": {"cache_control": CACHE_CONTROL}}
    if "abfs" in names:
        return {"content_settings": {"content_type": content_type, "cache_control": CACHE_CONTROL}}
    return {}


def _refuse_other(path: str, there: bytes | None, data: bytes) -> None:
    if there != data:
        raise PkicodeError(
            f"{path} was published, but reading it back gives something else",
            help="somebody else writes there, or a cache is in between; apply again",
        )


def _refuse_longer(path: str, data: bytes | None, limit: int) -> None:
    if data is not None and len(data) > limit:
        raise _foreign(path, limit)


def _public(url: str) -> str:
    """The URL without what may be a credential."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


@contextmanager
def _telling(target: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what = error.strerror or type(error).__name__
        if error.filename and str(error.filename) != target:
            what = f"{os.path.basename(error.filename)}: {what}"
        raise PkicodeError(f"publish target {target}: {what}", help="see that it is there and ours to write") from error


@contextmanager
def _telling_remote(target: str) -> Iterator[None]:
    try:
        yield
    except PkicodeError:
        raise
    except ImportError as error:
        raise PkicodeError(f"publish target {target}: {error}", help="install that library beside pkicode") from error
    except Exception as error:
        # Every library behind fsspec has errors of its own, whose texts may quote signed URLs: only the name is told.
        raise PkicodeError(
            f"publish target {target}: {type(error).__name__}",
            help="check the URL, the credentials and the network; what was published before is still there",
        ) from error
