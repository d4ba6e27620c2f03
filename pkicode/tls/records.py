"""The record layer (RFC 8446 section 5, RFC 5246 section 6.2) as a client reads it, with a limit on everything.

What the octets of a message mean is read in pkicode/tls/hello.py.  Nothing is decrypted here.
"""

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple, TypeVar

T = TypeVar("T")

CHANGE_CIPHER_SPEC: Final = 20
ALERT: Final = 21
HANDSHAKE: Final = 22
APPLICATION_DATA: Final = 23
HEARTBEAT: Final = 24

RECORD_MOST: Final = 16384 + 2048
"""Octets in a record (RFC 5246 section 6.2.3); TLS 1.3 allows less."""
RECORDS_MOST: Final = 512
"""Records read of one connection."""
MESSAGE_MOST: Final = 1 << 17
"""Octets of one handshake message; a chain of ten RSA-4096 certificates has 20,000."""
MESSAGES_MOST: Final = 64
OCTETS_MOST: Final = 1 << 18
"""Octets read of one connection."""


class Garbled(ValueError):
    """It is not TLS, or not as the RFC has it, or more of it than anybody needs."""


class NotTls(Garbled):
    """The first octets are those of another protocol."""


class Record(NamedTuple):
    """One record."""

    type: int
    version: int
    body: bytes


class Message(NamedTuple):
    """One handshake message."""

    type: int
    body: bytes

    def encode(self) -> bytes:
        return bytes((self.type,)) + len(self.body).to_bytes(3, "big") + self.body


class Records:
    """Octets as they come, records as they are whole.  Each octet is copied a fixed number of times."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._octets = self._records = 0

    def feed(self, data: bytes) -> Iterator[Record]:
        """The records that are whole now; those before one that is refused come first.

        Raises:
            NotTls: another protocol.
            Garbled: no record of SSLv3 or later, or a limit is passed.
        """
        self._octets += len(data)
        self._data += data
        while len(self._data) >= 5:
            size = 5 + self._size()
            if len(self._data) < size:
                break
            whole = bytes(self._data[:size])
            del self._data[:size]
            self._records += 1
            yield Record(whole[0], int.from_bytes(whole[1:3], "big"), whole[5:])
        if self._octets > OCTETS_MOST:
            raise Garbled(f"more than {OCTETS_MOST} octets and no end")

    def _size(self) -> int:
        """Octets in the body of the record that comes."""
        if not CHANGE_CIPHER_SPEC <= self._data[0] <= HEARTBEAT or self._data[1] != 3:
            refused = Garbled if self._records else NotTls
            raise refused(f"no TLS record starts with {bytes(self._data[:5]).hex(' ')}")
        size = int.from_bytes(self._data[3:5], "big")
        if size > RECORD_MOST:
            raise Garbled(f"a record of {size} octets; {RECORD_MOST} are allowed")
        if self._records == RECORDS_MOST:
            raise Garbled(f"more than {RECORDS_MOST} records and no end")
        return size


class Messages:
    """Bodies of handshake records as they come, messages as they are whole (RFC 8446 section 5.1)."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._messages = 0

    def feed(self, body: bytes) -> Iterator[Message]:
        """The messages that are whole now; those before one that is refused come first.

        Raises:
            Garbled: an empty record, or a limit is passed.
        """
        if not body:
            raise Garbled("a handshake record without an octet")
        self._data += body
        while len(self._data) >= 4:
            size = 4 + int.from_bytes(self._data[1:4], "big")
            if size > MESSAGE_MOST:
                raise Garbled(f"a handshake message of {size} octets; {MESSAGE_MOST} are read")
            if self._messages == MESSAGES_MOST:
                raise Garbled(f"more than {MESSAGES_MOST} handshake messages and no end")
            if len(self._data) < size:
                break
            whole = bytes(self._data[:size])
            del self._data[:size]
            self._messages += 1
            yield Message(whole[0], whole[4:])


def record(kind: int, version: int, body: bytes) -> bytes:
    """One record around `body`, which has at most 2^14 octets."""
    return bytes((kind,)) + version.to_bytes(2, "big") + len(body).to_bytes(2, "big") + body


class Cut:
    """Fields one after the other out of a message, each checked against what is left."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        """The next octets.

        Raises:
            Garbled: there are fewer.
        """
        end = self._at + size
        if end > len(self._data):
            raise Garbled(f"a field of {size} octets, and {len(self._data) - self._at} are left")
        field, self._at = self._data[self._at : end], end
        return field

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> bytes:
        """The octets after a length of `size` octets."""
        return self.take(self.number(size))

    def each(self, one: Callable[["Cut"], T], *, most: int) -> tuple[T, ...]:
        """What `one` reads, again and again to the end; at most that many."""
        found: list[T] = []
        while self:
            if len(found) == most:
                raise Garbled(f"more than {most} in one list")
            found.append(one(self))
        return tuple(found)

    def end(self) -> None:
        """Nothing may be left.

        Raises:
            Garbled: something is.
        """
        if self:
            raise Garbled(f"{len(self._data) - self._at} octets too many")

    def __bool__(self) -> bool:
        return self._at < len(self._data)
