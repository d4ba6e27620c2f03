"""Whether keys and signatures in certificates are as strong as 112 bits (NIST SP 800-57 part 1), and usable by all."""

from pkicode.scanner.certificate import Facts
from pkicode.scanner.finding import Grade
from pkicode.scanner.told import Told

RSA_BITS_MIN, _RSA_BITS_MAX = 2048, 16384
"""The largest that verifiers take without making everybody wait."""
_CURVES = frozenset({"ec-secp256r1", "ec-secp384r1", "ec-secp521r1"})
_EDWARDS = frozenset({"ed25519", "ed448"})
BROKEN_HASHES = frozenset({"md2", "md4", "md5"})
_WEAK_HASHES = BROKEN_HASHES | {"sha1"}
_GOOD_HASHES = frozenset({"sha224", "sha256", "sha384", "sha512", "sha3-256", "sha3-384", "sha3-512"}) | _EDWARDS

_EQUIVALENT_BITS = {160: 1024, 192: 1536, 224: 2048, 256: 3072, 384: 7680, 521: 15360}
"""Bits of a curve -> bits of an RSA key that is about as strong."""


def rsa_equivalent(one: Facts) -> int:
    """The strength of a key as bits of RSA; 0 where it is not known."""
    if one.key_alg in _EDWARDS:
        return 3072 if one.key_alg == "ed25519" else 7680
    if one.key_alg.startswith("ec-"):
        return next((rsa for bits, rsa in reversed(_EQUIVALENT_BITS.items()) if one.key_bits >= bits), 512)
    return one.key_bits


def key_of(one: Facts) -> Told:
    """The key of one certificate."""
    size = f"{one.key_alg} of {one.key_bits} bits" if one.key_bits else one.key_alg
    if not one.key_alg:
        return Told(Grade.UNKNOWN, "unreadable", f"the key of `{one.called}` cannot be read")
    if one.key_alg == "dsa":
        return Told(Grade.BAD, "dsa", f"`{one.called}` has a DSA key, which TLS clients no longer take")
    if 0 < rsa_equivalent(one) < RSA_BITS_MIN:
        return Told(Grade.BAD, "weak", f"`{one.called}` has a key of {size}; take P-256, or RSA of 3072 bits")
    if one.key_alg == "rsa" and one.key_bits > _RSA_BITS_MAX:
        return Told(Grade.WARNING, "slow", f"`{one.called}` has a key of {size}, which many clients refuse")
    if one.key_alg.startswith("ec-") and one.key_alg not in _CURVES:
        return Told(Grade.WARNING, "unusual", f"`{one.called}` has a key on {one.key_alg[3:]}, which few clients take")
    if one.key_alg in _CURVES or one.key_alg == "rsa" or one.key_alg in _EDWARDS:
        return Told(Grade.GOOD, "ok", f"`{one.called}` has a key of {size}")
    return Told(Grade.UNKNOWN, "unknown", f"`{one.called}` has a key of an algorithm that is not known: {size}")


def signature_of(one: Facts) -> Told:
    """The signature on one certificate."""
    if one.signature_hash in _WEAK_HASHES:
        message = f"`{one.called}` is signed over {one.signature_hash}, which can be forged; have it issued again"
        return Told(Grade.BAD, one.signature_hash, message)
    if one.signature_hash in _GOOD_HASHES:
        return Told(Grade.GOOD, "ok", f"`{one.called}` is signed over {one.signature_hash}")
    return Told(Grade.UNKNOWN, "unknown", f"`{one.called}` is signed by an algorithm that is not known")
