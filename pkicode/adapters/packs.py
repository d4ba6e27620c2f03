"""Published packs, looked for again and again: a file, an http URL, or whatever fsspec reaches.

What stood there last is remembered, so that a pack is read only when it changed.  A pack is read to memory as a whole,
not mapped: a file that somebody cuts short in place would end the process.
"""

import asyncio
import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from pkicode.adapters.fetch import fetch
from pkicode.model.problem import PkicodeError
from pkicode.revocation.pack import LIMIT, Pack, read

_SECONDS = 60


class PackAt:
    """The pack at one URL or path; `await look()` says what is there now."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._seen: object = None
        self._ca = b""

    async def look(self) -> tuple[Sequence[Pack], Sequence[str]] | None:
        """Packs, and what is wrong with one that is refused; None where nothing changed.

        Raises:
            PkicodeError: it is not there, or cannot be reached.
        """
        found = await asyncio.to_thread(self._fetched)
        if found is None:
            return None
        self._seen, data = found
        try:
            pack = await asyncio.to_thread(read, data)
            if self._ca and pack.maker.ca != self._ca:
                raise ValueError("it is another CA's")
        except ValueError as error:
            return (), (f"the pack at {self._url} is refused: {error}",)
        self._ca = pack.maker.ca
        return (pack,), ()

    def _fetched(self) -> tuple[object, bytes] | None:
        """Its octets, and by what it is known again."""
        scheme = self._url.partition(":")[0] if "://" in self._url else ""
        if scheme in ("http", "https"):
            etag = self._seen if isinstance(self._seen, str) else ""
            headers = {"If-None-Match": etag} if etag else {}
            got = fetch(self._url, limit=LIMIT, seconds=_SECONDS, headers=headers)
            return None if got.status == 304 or (got.etag and got.etag == etag) else (got.etag, got.data)
        if scheme in ("", "file"):
            return self._local(Path(unquote(self._url.removeprefix("file://")) if scheme else self._url))
        return self._remote()

    def _local(self, path: Path) -> tuple[object, bytes] | None:
        try:
            # A pipe without a writer would keep the responder waiting for ever.
            with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
                facts = os.fstat(file.fileno())
                if not stat.S_ISREG(facts.st_mode):
                    raise OSError(errno.EINVAL, "not a regular file")
                seen = (facts.st_ino, facts.st_size, facts.st_mtime_ns)
                return None if seen == self._seen else (seen, file.read(LIMIT + 1))
        except OSError as error:
            raise PkicodeError(
                f"the pack {path}: {error.strerror}", help="see that it is there and readable"
            ) from error

    def _remote(self) -> tuple[object, bytes] | None:
        try:
            from fsspec.core import url_to_fs

            filesystem, place = url_to_fs(self._url)
            filesystem.invalidate_cache()
            seen = filesystem.ukey(place)
            return None if seen == self._seen else (seen, filesystem.cat_file(place, start=0, end=LIMIT + 1))
        except Exception as error:
            # Every library behind fsspec has errors of its own, whose texts may quote signed URLs: the name is told.
            scheme = self._url.partition(":")[0]
            raise PkicodeError(
                f"the pack at {scheme}:... cannot be read: {type(error).__name__}",
                help="check the URL, the credentials and the network",
            ) from error
