"""Sealing of private keys: AES-256-GCM (NIST SP 800-38D) under a key stretched by scrypt (RFC 7914).

Where sealed keys are stored, and where the passphrase comes from, is decided elsewhere.
"""

import hashlib
import os
from collections.abc import Sequence
from functools import cached_property

from attrs import field, frozen
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pkicode.ports import KeyFacts, MintedKey, NewKey
from pkicode.x509 import keys as x509_keys

_NONCE = 12
_COST, _BLOCK, _LANES = 2**16, 8, 2
"""scrypt's n, r, p: 64 MiB and about 0.4 s a guess.  Twice the work over half the memory of n = 2**17, p = 1 (both are
OWASP's first rank), because an apply of 100,000 certificates opens a keystore beside its plan."""
_MOST_COST, _MOST_LANES = 2**20, 16
"""A header asking for more than 1 GiB was not written by us."""


class NotOpened(Exception):
    """Wrong key, or the sealed bytes or what they are bound to were altered: GCM cannot tell which."""


@frozen
class Header:
    """How the sealing key is made of the passphrase, and a seal over nothing that proves it was the right one."""

    n: int
    r: int
    p: int
    salt: bytes
    proof: bytes = b""


@frozen
class Envelope:
    """The sealing key.  It may travel to worker processes of ours, through their pipes; it is never shown."""

    key: bytes = field(repr=False)

    @cached_property
    def _cipher(self) -> AESGCM:
        # Half of what sealing one key takes.
        return AESGCM(self.key)

    def __reduce__(self) -> tuple[type["Envelope"], tuple[bytes]]:
        return Envelope, (self.key,)

    def seal(self, secret: bytes, *about: bytes) -> bytes:
        """Encrypt; opens only with the same `about`.  96 random bits of nonce: safe for 2**32 keys in one keystore."""
        nonce = os.urandom(_NONCE)
        return nonce + self._cipher.encrypt(nonce, secret, _bound(about))

    def open(self, sealed: bytes, *about: bytes) -> bytes:
        """What was sealed.

        Raises:
            NotOpened: not sealed with this key and this `about`.
        """
        try:
            return self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], _bound(about))
        except (InvalidTag, ValueError):
            raise NotOpened from None

    def seal_key(self, facts: KeyFacts, pkcs8: bytes) -> MintedKey:
        """A private key bound to its label (which holds the generation), algorithm and public key."""
        return MintedKey(facts, self.seal(pkcs8, *_about(facts)))

    def open_key(self, key: MintedKey) -> bytes:
        """PKCS#8 DER; raises NotOpened as `open` does.  Afterwards the facts are as trustworthy as the key."""
        return self.open(key.sealed, *_about(key.facts))


@frozen
class Minter:
    """ports.Mint: makes keys and seals them, in whatever process it finds itself."""

    envelope: Envelope

    def __call__(self, keys: Sequence[NewKey]) -> Sequence[MintedKey]:
        return tuple(self._mint(key) for key in keys)

    def _mint(self, key: NewKey) -> MintedKey:
        pkcs8, spki = x509_keys.generated(key.alg)
        return self.envelope.seal_key(KeyFacts(key.label, key.alg, spki), pkcs8)


def new_header(passphrase: bytes) -> tuple[Header, Envelope]:
    """A fresh salt, and so a sealing key nobody ever had."""
    bare = Header(_COST, _BLOCK, _LANES, os.urandom(32))
    envelope = _stretch(bare, passphrase)
    return Header(bare.n, bare.r, bare.p, bare.salt, envelope.seal(b"", *_about_header(bare))), envelope


def open_header(header: Header, passphrase: bytes) -> Envelope:
    """The sealing key.

    Raises:
        NotOpened: another passphrase, or an altered header.
    """
    if not 2 <= header.n <= _MOST_COST or header.r != _BLOCK or not 1 <= header.p <= _MOST_LANES:
        raise NotOpened
    envelope = _stretch(header, passphrase)
    envelope.open(header.proof, *_about_header(header))
    return envelope


def _stretch(header: Header, passphrase: bytes) -> Envelope:
    room = 2 * 128 * header.n * header.r
    try:
        key = hashlib.scrypt(passphrase, salt=header.salt, n=header.n, r=header.r, p=header.p, maxmem=room, dklen=32)
    except ValueError:
        raise NotOpened from None
    return Envelope(key)


def _about(facts: KeyFacts) -> tuple[bytes, ...]:
    return b"pkicode key 1", facts.label.encode(), facts.alg.encode(), facts.spki


def _about_header(header: Header) -> tuple[bytes, ...]:
    return b"pkicode keystore 1", f"{header.n} {header.r} {header.p}".encode(), header.salt


def _bound(about: Sequence[bytes]) -> bytes:
    # Lengths first, so that no two lists of parts run together into the same bytes.
    return b"".join(len(part).to_bytes(4, "big") + part for part in about)
