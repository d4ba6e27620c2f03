"""RSA keys that anybody can factor, as certification authorities refuse them (CA/Browser Forum BR 6.1.1.3 and 6.1.6).

Of a key that we make this is not asked: it is about what strangers hand in.
"""

from functools import cache
from math import gcd, isqrt, prod

_SMALL = prod(number for number in range(3, 752, 2) if all(number % below for below in range(3, isqrt(number) + 1, 2)))
_ROUNDS = 100
_FINGERPRINT = (11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157)
"""Modulo each of these, what Infineon's library made is a power of 65537; of other moduli it is one in 240 million."""


def refuse(modulus: int) -> None:
    """Let a modulus pass that is not known to be weak.

    Raises:
        ValueError: it is; with the reason.
    """
    if modulus % 2 == 0 or gcd(modulus, _SMALL) > 1:
        raise ValueError("the RSA modulus has a small factor: what made this key is broken")
    if all(modulus % prime in _powers(prime) for prime in _FINGERPRINT):
        raise ValueError("the RSA key is one that ROCA factors (CVE-2017-15361): make another one, not on that chip")
    above = isqrt(modulus - 1) + 1
    if any(isqrt(square) ** 2 == square for square in (one**2 - modulus for one in range(above, above + _ROUNDS))):
        raise ValueError("the RSA key's primes are so close that Fermat's method finds them: what made it is broken")


@cache
def _powers(prime: int) -> frozenset[int]:
    return frozenset(pow(65537, exponent, prime) for exponent in range(prime))
