"""Key exchange groups: IANA's registry of them, and the primes of RFC 7919 by which an answer is recognised."""

from collections.abc import Iterable
from functools import cache
from typing import Final

from attrs import frozen

X25519: Final = 29
# A number, then the names of it and those after it.
_REGISTERED = """
1 sect163k1 sect163r1 sect163r2 sect193r1 sect193r2 sect233k1 sect233r1 sect239k1 sect283k1 sect283r1 sect409k1
  sect409r1 sect571k1 sect571r1 secp160k1 secp160r1 secp160r2 secp192k1 secp192r1 secp224k1 secp224r1 secp256k1
  secp256r1 secp384r1 secp521r1 brainpoolP256r1 brainpoolP384r1 brainpoolP512r1 x25519 x448
  brainpoolP256r1tls13 brainpoolP384r1tls13 brainpoolP512r1tls13
  GC256A GC256B GC256C GC256D GC512A GC512B GC512C curveSM2
256 ffdhe2048 ffdhe3072 ffdhe4096 ffdhe6144 ffdhe8192
512 MLKEM512 MLKEM768 MLKEM1024
4587 SecP256r1MLKEM768 X25519MLKEM768 SecP384r1MLKEM1024
25497 X25519Kyber768Draft00 SecP256r1Kyber768Draft00
65281 arbitrary_explicit_prime_curves arbitrary_explicit_char2_curves
"""


def _read(table: str) -> Iterable[tuple[int, str]]:
    number = 0
    for word in table.split():
        if word.isdigit():
            number = int(word)
        else:
            yield number, word
            number += 1


_NAMES = dict(_read(_REGISTERED))
# Bits of security against today's attacks, where they are not half the digits of the name (RFC 7919 appendix A for
# finite fields, FIPS 203 for ML-KEM).
_STRENGTH = {
    0x0100: 103, 0x0101: 125, 0x0102: 150, 0x0103: 175, 0x0104: 192, 0x0200: 128, 0x0201: 192, 0x0202: 256,
    0x11EB: 192, 0x11EC: 192, 0x11ED: 256, 0x6399: 192, 0x639A: 192, 29: 128, 30: 224, 41: 128,
}  # fmt: skip


@frozen
class NamedGroup:
    """One group of the registry `TLS Supported Groups`."""

    id: int
    name: str
    """IANA's."""
    kind: str
    """ec, ff (finite field), pq (ML-KEM alone) or hybrid (ML-KEM and a curve)."""
    strength: int
    """Bits, as a symmetric key; 0 where nobody knows."""


@cache
def groups() -> dict[int, NamedGroup]:
    """All groups by their number."""
    return {number: NamedGroup(number, name, _kind(number), _strength(number)) for number, name in _NAMES.items()}


def group_of(number: int) -> NamedGroup:
    """The group, by a name of its number if nobody knows it."""
    return groups().get(number) or NamedGroup(number, f"0x{number:04X}", "ec", 0)


def _kind(number: int) -> str:
    if number >> 8 == 1:
        return "ff"
    if number >> 8 == 2:
        return "pq"
    return "hybrid" if number >> 8 in (0x11, 0x63) else "ec"


def _strength(number: int) -> int:
    digits = "".join(letter if letter.isdigit() else " " for letter in _NAMES[number]).split()
    return _STRENGTH.get(number) or (int(digits[0]) // 2 if digits and len(digits[0]) > 2 else 0)


_FIRST = (29, 23, 24, 25, 30, 0x11EC)
_OLD_ONLY = frozenset({*range(1, 23), 26, 27, 28, 0xFF01, 0xFF02})


@cache
def offered(version: int) -> tuple[int, ...]:
    """What a client that takes everything offers a server of this version, the usual ones first.

    TLS 1.3 has groups of its own and gave up the small curves (RFC 8446 section 4.2.7).  Finite fields are left out
    before it: some servers, once a client names them, do DHE with no other prime (RFC 7919 section 4).
    """
    if version >= 0x0304:
        fitting = [number for number in _NAMES if number not in _OLD_ONLY]
    else:
        fitting = [number for number in _NAMES if number < 31 or 34 <= number <= 41 or number >= 0xFF01]
    return (*(number for number in _FIRST if number in fitting), *(one for one in fitting if one not in _FIRST))


_FFDHE = {
    2048: (0x0100, 560316),
    3072: (0x0101, 2625351),
    4096: (0x0102, 5736041),
    6144: (0x0103, 15705020),
    8192: (0x0104, 10965728),
}
"""Length -> number of the group, and what its prime adds to the digits of e."""


def ffdhe_group(prime: int) -> int:
    """The number of the group of RFC 7919 appendix A that has this prime, 0 where none has."""
    bits = prime.bit_length()
    return _FFDHE[bits][0] if bits in _FFDHE and prime == _ffdhe_prime(bits) else 0


@cache
def _ffdhe_prime(bits: int) -> int:
    # The longest takes a millisecond: each only when a server has one of its length.
    return (1 << bits) - (1 << bits - 64) + ((_e(bits - 130) + _FFDHE[bits][1]) << 64) - 1


def _e(bits: int) -> int:
    """[2^bits * e], by its series: 64 bits more than asked for swallow what rounding lost."""
    term = total = 1 << bits + 64
    number = 1
    while term:
        term //= number
        total += term
        number += 1
    return total >> 64
