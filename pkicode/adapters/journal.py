"""The issuance journal: every certificate signed, one line of base64 DER each, outside the database and fsynced first.

A crash between signature and commit loses nothing, and a database that was restored or tampered with can be compared
with it.  It is appended to and never rewritten; whether a certificate in it is good is for its reader to verify.
"""

import asyncio
import base64
import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from attrs import field, frozen
from cryptography import x509

from pkicode.adapters.durable import sync, write_all
from pkicode.model.instants import from_datetime, rfc3339
from pkicode.model.problem import StateError
from pkicode.x509 import der
from pkicode.x509.descent import NotSigned, below
from pkicode.x509.tbs import IssuerFacts

LINE_LIMIT = 1 << 20
"""Octets of a line: a certificate of 700 KiB."""

_CHUNK = 1 << 16
_OTHERS = 0o077


class DamagedJournal(StateError):
    """A line is no certificate."""


@frozen
class Journalled(Mapping[str, bytes]):
    """sha256 of the TBS (hex) -> certificate; only places are kept in memory, the bytes are read when asked for."""

    path: Path
    _places: Mapping[str, int] = field(repr=False)

    def __getitem__(self, tbs: str) -> bytes:
        place = self._places[tbs]
        with self.path.open("rb") as file:
            file.seek(place)
            return base64.b64decode(file.readline(LINE_LIMIT))

    def __contains__(self, tbs: object) -> bool:
        # Mapping's own would read the line.
        return tbs in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def place(self, tbs: str) -> int:
        """At which octet its line begins."""
        return self._places[tbs]

    def ours(self, names: Iterable[str], cas: Iterable[IssuerFacts]) -> dict[str, IssuerFacts]:
        """Which of these the keys of these CAs signed, or of CAs that such keys signed; and who did.

        Raises:
            ValueError: a line is not to be believed; it says which.
        """
        try:
            return below(names, self, cas)
        except NotSigned as error:
            raise ValueError(f"at octet {self.place(error.name)}, {error}") from error


@frozen
class Journal:
    """One journal file; several processes may append to it at once."""

    path: Path

    async def append(self, certificates: Sequence[bytes]) -> None:
        """Write certificates (DER), durable when this returns.

        Raises:
            StateError: nothing was written, because the file may not be trusted or the disk is full.
        """
        await asyncio.to_thread(self._append, certificates)

    async def journalled(self) -> Journalled:
        """Everything in the journal; nothing where there is none yet.

        Raises:
            StateError: a line before the last is not a certificate.
        """
        return await asyncio.to_thread(self.read)

    def read(self) -> Journalled:
        """As `journalled`, for those who may block."""
        places: dict[str, int] = {}
        with suppress(FileNotFoundError):
            places.update((hashlib.sha256(tbs).hexdigest(), place) for place, tbs in self._entries())
        return Journalled(self.path, places)

    def backwards(self) -> Iterator[bytes]:
        """The certificates, newest first, read as far as they are asked for; none where there is no journal.

        Raises:
            StateError: a line is damaged, or the file cannot be read.
        """
        try:
            with self.path.open("rb") as file:
                for place, line in _lines_back(file):
                    try:
                        if len(line) >= LINE_LIMIT:
                            raise self._damaged(place, "the line is too long")
                        made = base64.b64decode(line, validate=True)
                        to_be_signed(made)
                    except ValueError as error:
                        raise self._damaged(place, str(error)) from error
                    yield made
        except FileNotFoundError:
            return
        except OSError as error:
            raise StateError(
                f"the issuance journal {self.path} cannot be read: {error.strerror}", help="run as its owner"
            ) from error

    def _entries(self) -> Iterator[tuple[int, bytes]]:
        place = 0
        with self.path.open("rb") as file:
            while line := file.readline(LINE_LIMIT):
                # Without its end it is the last one, torn by a crash: nobody was told that it is there.
                if line.endswith(b"\n"):
                    try:
                        yield place, to_be_signed(base64.b64decode(line[:-1], validate=True))
                    except ValueError as error:
                        raise self._damaged(place, str(error)) from error
                elif len(line) == LINE_LIMIT:
                    raise self._damaged(place, "the line is too long")
                place += len(line)

    def _damaged(self, place: int, why: str) -> DamagedJournal:
        return DamagedJournal(
            f"the issuance journal {self.path} is damaged at octet {place}: {why}",
            help="compare it with a backup; it is only ever appended to, so an older copy is its beginning",
        )

    def _append(self, certificates: Sequence[bytes]) -> None:
        lines = [base64.b64encode(certificate) + b"\n" for certificate in certificates]
        if max(map(len, lines), default=0) > LINE_LIMIT:
            raise StateError(f"a certificate is too long for {self.path}", help="give it fewer names")
        try:
            fresh = not self.path.exists()
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
            try:
                # One at a time: a torn end is cut off below, and must not be one that is still being written.
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                if os.fstat(descriptor).st_mode & _OTHERS:
                    raise StateError(f"others may write to {self.path}", help=f"chmod 600 {self.path}")
                _write(descriptor, b"".join(lines))
                if fresh:
                    sync(self.path.parent)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise StateError(
                f"the issuance journal {self.path} cannot be written: {error.strerror}; no certificate was recorded",
                help="make room or give the file to this user, and run the command again",
            ) from error


def _lines_back(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """(place, line) without its end, last first; what stands behind the last end was torn off by a crash."""
    start, rest, is_torn = file.seek(0, os.SEEK_END), b"", True
    while start and len(rest) < LINE_LIMIT:
        size = min(_CHUNK, start)
        start = file.seek(start - size)
        text = file.read(size) + rest
        place = start + len(text)
        rest, *lines = text.split(b"\n")
        for line in reversed(lines):
            place -= len(line)
            if not is_torn:
                yield place, line
            is_torn = False
            place -= 1
    if rest and (start or not is_torn):
        yield start, rest


def _write(descriptor: int, lines: bytes) -> None:
    size = whole = os.fstat(descriptor).st_size
    while whole:
        start = max(0, whole - LINE_LIMIT)
        newline = os.pread(descriptor, whole - start, start).rfind(b"\n")
        if newline >= 0:
            whole = start + newline + 1
            break
        whole = start
    try:
        if whole < size:
            os.ftruncate(descriptor, whole)
        write_all(descriptor, lines)
        os.fsync(descriptor)
    except OSError:
        # Half a batch would be read as if the rest had never been signed.
        os.ftruncate(descriptor, whole)
        raise


def to_be_signed(certificate: bytes) -> bytes:
    """The TBSCertificate of a certificate, byte for byte (RFC 5280 section 4.1.1.1).

    Raises:
        ValueError: not a SEQUENCE that starts with a SEQUENCE.
    """
    tag, start, end = der.read(certificate)
    inner, _, inner_end = der.read(certificate, start)
    if tag != der.SEQUENCE or inner != der.SEQUENCE or end != len(certificate):
        raise ValueError("not a certificate")
    return certificate[start:inner_end]


def told(certificate: bytes) -> str:
    """A certificate by what people know it: the journal has no address."""
    found = x509.load_der_x509_certificate(certificate)
    names = found.subject.rfc4514_string() or "no subject"
    with suppress(x509.ExtensionNotFound, ValueError):
        san = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = ", ".join(san.get_values_for_type(x509.DNSName)[:3]) or names
    issued = rfc3339(from_datetime(found.not_valid_before_utc))
    return f"serial {found.serial_number:x}, {names}, valid from {issued}"
