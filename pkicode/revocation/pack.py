"""Packs: all pre-signed OCSP answers of one CA key generation in one file, found by serial without loading the others.

A pack holds what an answer is spliced from, its facts and its signatures, in records of one width sorted by serial; the
responses come out byte for byte as they were signed.  The delegate signs the pack as a whole, so that nobody who owns
the place where it is published can change, add or mix answers: old packs are all they can hand out.

    magic, length of the header (4 octets), header (JSON), records, length (2 octets) and signature of all before
"""

import base64
import hashlib
import json
import mmap
import struct
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Final, NamedTuple

from attrs import field, frozen
from cryptography import x509

from pkicode.model.instants import NO_EXPIRY
from pkicode.model.reason import REASONS
from pkicode.revocation.ocsp_response import GOOD, Form, Standing, form, verify_delegate
from pkicode.x509.keys import SignatureError, alg_of_spki
from pkicode.x509.keys import verify as verify_signature
from pkicode.x509.tbs import IssuerFacts, facts_of

LIMIT: Final = 1 << 30
"""Octets of the largest pack that is read: five million certificates."""

_MAGIC = b"pkicode ocsp pack 1\n"
_HEADER_MOST = 65536
_SERIAL = 20
_HEAD = struct.Struct(f">{_SERIAL}sqqqB")
"""Serial, thisUpdate, nextUpdate, revocation time (-1: good), reason code (255: none)."""
_NEVER, _NONE = -1, 255
_SLOTS = {"ed25519": 114, "ed448": 114, "ml-dsa-44": 2420, "ml-dsa-65": 3309, "ml-dsa-87": 4627}
"""Octets of a signature (FIPS 204 table 2)."""
_WORDS = {code: word for word, code in REASONS.items()}

Bytes = bytes | mmap.mmap


def path(stem: str) -> str:
    """Below a publish target: `ocsp/issuing-g1.pack`."""
    return f"ocsp/{stem}.pack"


class Record(NamedTuple):
    """One certificate's answers: the facts both say, and the signature for each hash of a CertID."""

    serial: int
    this_update: int
    next_update: int
    standing: Standing
    signatures: tuple[bytes, bytes]
    """For SHA-1 and for SHA-256 CertIDs."""


@frozen
class Maker:
    """Who signs a pack and the answers in it."""

    name: str
    """`issuing-g1`"""
    ca: bytes = field(repr=False)
    """Certificate of the CA."""
    delegate: bytes = field(repr=False)
    """Certificate whose key signed every answer here, and the pack."""

    @property
    def issuer(self) -> IssuerFacts:
        return facts_of(self.ca)

    @property
    def form(self) -> Form:
        return form(self.issuer, self.delegate, self.spki)

    @property
    def spki(self) -> bytes:
        """Public key of the delegate."""
        return facts_of(self.delegate).spki


@frozen(eq=False)
class Pack:
    """A verified pack; the records stay where they are, in a file mapped to memory or in bytes."""

    maker: Maker
    made: int
    """When it was signed: of two packs of one CA the later one counts."""
    count: int
    _data: Bytes = field(repr=False)
    _start: int
    _width: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, place: int) -> bytes:
        """The serial of a record, for bisect."""
        if place >= self.count:
            raise IndexError(place)
        start = self._start + place * self._width
        return self._data[start : start + _SERIAL]

    def find(self, serial: int) -> Record | None:
        """The answers about a certificate, None where there are none."""
        if not 0 < serial < 1 << 8 * _SERIAL:
            return None
        wanted = serial.to_bytes(_SERIAL)
        place = bisect_left(self, wanted)
        return unpack(self._raw(place)) if place < self.count and self[place] == wanted else None

    def raw(self) -> Iterator[bytes]:
        """Every record as it stands."""
        return map(self._raw, range(self.count))

    def _raw(self, place: int) -> bytes:
        start = self._start + place * self._width
        return self._data[start : start + self._width]


def packed(record: Record, slot: int) -> bytes:
    """A record; `slot` is the most octets a signature takes (see `slot_of`)."""
    revoked_at, reason = record.standing.revoked_at, record.standing.reason
    return b"".join(
        (
            _HEAD.pack(
                record.serial.to_bytes(_SERIAL),
                record.this_update,
                record.next_update,
                _NEVER if revoked_at is None else revoked_at,
                _NONE if reason is None else REASONS[reason],
            ),
            *(len(one).to_bytes(2) + one.ljust(slot, b"\0") for one in record.signatures),
        )
    )


def unpack(raw: bytes) -> Record:
    """A record from its octets."""
    serial, this_update, next_update, revoked_at, reason = _HEAD.unpack_from(raw)
    slot = (len(raw) - _HEAD.size) // 2 - 2
    signatures = []
    for start in (_HEAD.size, _HEAD.size + 2 + slot):
        signatures.append(raw[start + 2 : start + 2 + int.from_bytes(raw[start : start + 2])])
    standing = GOOD if revoked_at == _NEVER else Standing(revoked_at, _WORDS.get(reason))
    return Record(int.from_bytes(serial), this_update, next_update, standing, (signatures[0], signatures[1]))


def dates(raw: bytes) -> tuple[int, int]:
    """thisUpdate and nextUpdate of a record."""
    _, this_update, next_update, _, _ = _HEAD.unpack_from(raw)
    return this_update, next_update


def slot_of(spki: bytes) -> int:
    """The most octets of a signature by this key."""
    alg = alg_of_spki(spki)
    if alg in _SLOTS:
        return _SLOTS[alg]
    kind, _, size = alg.partition("-")
    if kind == "ec":
        # A SEQUENCE of two INTEGERs, each of up to one octet more than the curve has.
        return 9 + 2 * (int(size[1:]) // 8 + 1)
    return int(size) // 8


def unsigned(maker: Maker, records: Iterable[bytes], *, made: int) -> bytes:
    """A pack without its signature; `records` are of `packed`, in ascending order of serial.

    Raises:
        ValueError: they are not: an answer out of its place would never be found.
    """
    listed = list(records)
    if any(one[:_SERIAL] >= two[:_SERIAL] for one, two in pairwise(listed)):
        raise ValueError("the records of a pack must stand in ascending order of serial")
    body = b"".join(listed)
    width = _HEAD.size + 2 * (2 + slot_of(maker.spki))
    header = {
        "ca": base64.b64encode(maker.ca).decode(),
        "count": len(body) // width,
        "delegate": base64.b64encode(maker.delegate).decode(),
        "made": made,
        "name": maker.name,
    }
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    return b"".join((_MAGIC, len(text).to_bytes(4), text, body))


def to_sign(data: Bytes | memoryview) -> bytes:
    """What the delegate signs of an unsigned pack: no DER, and so never to be taken for an answer."""
    return b"pkicode ocsp pack signature\0" + hashlib.sha256(data).digest()


def signed(data: bytes, signature: bytes) -> bytes:
    """The pack."""
    return data + len(signature).to_bytes(2) + signature


def read(data: Bytes) -> Pack:
    """Read a pack, and verify that a delegate of the CA in it signed all of it.

    Whether this CA is the one that was meant, the caller has to ask.

    Raises:
        ValueError: no pack, cut short, altered, or signed by anybody else.
    """
    try:
        start = len(_MAGIC) + 4
        length = int.from_bytes(data[len(_MAGIC) : start])
        if data[: len(_MAGIC)] != _MAGIC or length > _HEADER_MOST:
            raise ValueError("it is not an OCSP pack of this version of pkicode")
        header = json.loads(data[start : start + length])
        maker = Maker(
            str(header["name"]), *(base64.b64decode(header[key], validate=True) for key in ("ca", "delegate"))
        )
        made, count = int(header["made"]), int(header["count"])
        verify_delegate(maker.delegate, maker.ca)
        spki = maker.spki
        width = _HEAD.size + 2 * (2 + slot_of(spki))
        end = start + length + count * width
        signature = data[end + 2 :]
        if count < 0 or not 0 < made < NO_EXPIRY or int.from_bytes(data[end : end + 2]) != len(signature):
            raise ValueError("it is cut short, or longer than it says")
        with memoryview(data) as view, view[:end] as before:
            verify_signature(spki, alg_of_spki(spki), to_sign(before), signature)
    except (KeyError, TypeError, RecursionError, x509.ExtensionNotFound, SignatureError) as error:
        raise ValueError(f"the pack is refused: {error}") from error
    return Pack(maker, made, count, data, start + length, width)
