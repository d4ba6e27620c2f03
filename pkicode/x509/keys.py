"""Private and public keys: make, load, sign, verify (RFC 5480, 8017, 8032, 8410, 5958; 9881 and 9935 for the lattices).

Which key signs what, and where keys are kept, is decided elsewhere.  ECDSA is RFC 6979: signing the same bytes again
gives the same signature, so that a certificate interrupted between signature and commit is finished and not burnt.
ML-DSA is pure, with an empty context, and hedged: no two signatures are alike (FIPS 204 section 3.4).
"""

import hashlib
from functools import lru_cache
from typing import Literal, NoReturn

from attrs import field, frozen
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, mldsa, mlkem, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
)

from pkicode.ports import KeyFacts
from pkicode.x509 import der

_MLDSAPrivateKey = mldsa.MLDSA44PrivateKey | mldsa.MLDSA65PrivateKey | mldsa.MLDSA87PrivateKey
_MLDSAPublicKey = mldsa.MLDSA44PublicKey | mldsa.MLDSA65PublicKey | mldsa.MLDSA87PublicKey
_EdPrivateKey = ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
_EdPublicKey = ed25519.Ed25519PublicKey | ed448.Ed448PublicKey
SigningKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | _EdPrivateKey | _MLDSAPrivateKey
VerifyingKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | _EdPublicKey | _MLDSAPublicKey
_MLKEMPrivateKey = mlkem.MLKEM768PrivateKey | mlkem.MLKEM1024PrivateKey
LatticeKey = _MLDSAPrivateKey | _MLKEMPrivateKey
PrivateKey = SigningKey | _MLKEMPrivateKey
PublicKey = VerifyingKey | mlkem.MLKEM768PublicKey | mlkem.MLKEM1024PublicKey

SIGNING = (
    *("ec-p256", "ec-p384", "ec-p521", "rsa-2048", "rsa-3072", "rsa-4096", "ed25519", "ed448"),
    *("ml-dsa-44", "ml-dsa-65", "ml-dsa-87"),
)
"""What signs.  Foreign RSA keys of other sizes are named rsa-BITS as well."""
ALGORITHMS = (*SIGNING, "ml-kem-768", "ml-kem-1024")
"""What `generate` makes."""

RSA_BITS_MIN, RSA_BITS_MAX = 2048, 16384
"""Smaller is weak; larger makes every verifier work for its owner."""

_CURVES: dict[str, tuple[type[ec.EllipticCurve], str, int]] = {
    "ec-p256": (ec.SECP256R1, "1.2.840.10045.3.1.7", 65),
    "ec-p384": (ec.SECP384R1, "1.3.132.0.34", 97),
    "ec-p521": (ec.SECP521R1, "1.3.132.0.35", 133),
}
_EDWARDS = {"ed25519": ("1.3.101.112", 32), "ed448": ("1.3.101.113", 57)}
_ML_DSA: dict[str, tuple[type[_MLDSAPrivateKey], str, int]] = {
    "ml-dsa-44": (mldsa.MLDSA44PrivateKey, "2.16.840.1.101.3.4.3.17", 1312),
    "ml-dsa-65": (mldsa.MLDSA65PrivateKey, "2.16.840.1.101.3.4.3.18", 1952),
    "ml-dsa-87": (mldsa.MLDSA87PrivateKey, "2.16.840.1.101.3.4.3.19", 2592),
}
_ML_KEM: dict[str, tuple[type[_MLKEMPrivateKey], str, int]] = {
    "ml-kem-768": (mlkem.MLKEM768PrivateKey, "2.16.840.1.101.3.4.4.2", 1184),
    "ml-kem-1024": (mlkem.MLKEM1024PrivateKey, "2.16.840.1.101.3.4.4.3", 1568),
}
_LATTICES = _ML_DSA | _ML_KEM
# Algorithms whose OID says it all: the AlgorithmIdentifier has no parameters (RFC 8410, 9881 and 9935).
_BARE = _EDWARDS | {name: (oid, size) for name, (_, oid, size) in _LATTICES.items()}
_EC = {name: curve() for name, (curve, _, _) in _CURVES.items()}
_RSA_ALGORITHM = der.tlv(der.SEQUENCE, der.oid("1.2.840.113549.1.1.1"), der.tlv(der.NULL))


def _spki_header(algorithm: bytes, size: int) -> bytes:
    """Everything before the key's own octets, for keys whose size is fixed."""
    return der.tlv(der.SEQUENCE, algorithm, der.bit_string(bytes(size)))[:-size]


_HEADERS = {
    name: (_spki_header(der.tlv(der.SEQUENCE, der.oid("1.2.840.10045.2.1"), der.oid(curve)), size), size)
    for name, (_, curve, size) in _CURVES.items()
} | {name: (_spki_header(der.tlv(der.SEQUENCE, der.oid(oid)), size), size) for name, (oid, size) in _BARE.items()}

_BY_LENGTH = {len(header) + size: (name, header) for name, (header, size) in _HEADERS.items()}
"""No two of them are of one length; an RSA key that is as long begins otherwise."""

_Kind = Literal["ecdsa", "rsa", "bare"]
_Scheme = tuple[_Kind, hashes.HashAlgorithm | None]


def _schemes() -> dict[bytes, _Scheme]:
    """Signature AlgorithmIdentifier -> how it is checked.  RSA has a NULL parameter, the others none at all."""
    sha256, sha384, sha512 = hashes.SHA256(), hashes.SHA384(), hashes.SHA512()
    ecdsa = {"1.2.840.10045.4.3.2": sha256, "1.2.840.10045.4.3.3": sha384, "1.2.840.10045.4.3.4": sha512}
    pkcs1 = {"1.2.840.113549.1.1.11": sha256, "1.2.840.113549.1.1.12": sha384, "1.2.840.113549.1.1.13": sha512}
    table: dict[bytes, _Scheme] = {der.tlv(der.SEQUENCE, der.oid(oid)): ("ecdsa", algo) for oid, algo in ecdsa.items()}
    table |= {der.tlv(der.SEQUENCE, der.oid(oid), der.tlv(der.NULL)): ("rsa", algo) for oid, algo in pkcs1.items()}
    return table | {der.tlv(der.SEQUENCE, der.oid(_BARE[alg][0])): ("bare", None) for alg in SIGNING if alg in _BARE}


_SCHEMES = _schemes()
_EC_HASHES = {"ec-p256": hashes.SHA256(), "ec-p384": hashes.SHA384(), "ec-p521": hashes.SHA512()}
_ECDSA = {name: ec.ECDSA(digest, deterministic_signing=True) for name, digest in _EC_HASHES.items()}
_CHECKS = {digest.name: ec.ECDSA(digest) for digest in _EC_HASHES.values()}


class SignatureError(Exception):
    """A signature is not this key's signature over these bytes."""


def generate(alg: str) -> PrivateKey:
    """A new private key.

    Raises:
        ValueError: not one of ALGORITHMS.
    """
    if alg in _CURVES:
        return ec.generate_private_key(_EC[alg])
    if alg not in ALGORITHMS:
        raise ValueError(f"`{alg}` is not a key algorithm; write one of {' '.join(ALGORITHMS)}")
    if alg.startswith("rsa-"):
        return rsa.generate_private_key(65537, int(alg[4:]))
    if alg in _LATTICES:
        kind, _, _ = _LATTICES[alg]
        return kind.generate()
    return ed25519.Ed25519PrivateKey.generate() if alg == "ed25519" else ed448.Ed448PrivateKey.generate()


def pkcs8(key: PrivateKey) -> bytes:
    """PKCS#8 DER, not encrypted: for the keystore to seal, or for a declared output.

    Of a lattice's key it holds the seed alone, from which all else is made (RFC 9881 and 9935 section 6).
    """
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def generated(alg: str) -> tuple[bytes, bytes]:
    """A new private key as `pkcs8` writes it, and its `spki`.

    Raises:
        ValueError: not one of ALGORITHMS.
    """
    key = generate(alg)
    private = pkcs8(key)
    if alg in _CURVES:
        # Such a PKCS#8 ends as its SubjectPublicKeyInfo does (RFC 5915): encoding the point again is a fifth of it all.
        header, size = _HEADERS[alg]
        ending = der.opening(der.BIT_STRING, size + 1) + b"\0\x04"
        if private[: 1 - size].endswith(ending):
            return private, header + private[-size:]
    return private, spki(key)


def load_pkcs8(data: bytes, *, trusted: bool = False) -> PrivateKey:
    """Read PKCS#8 DER.

    Args:
        data: PrivateKeyInfo.
        trusted: the bytes come out of authenticated encryption of our own, so RSA's arithmetic is not checked again
            (40 ms a key).

    Raises:
        ValueError: not a private key, or not of an algorithm we use.  Never shows the bytes.  A lattice's key without
            its seed is refused as well.
    """
    try:
        key = load_der_private_key(data, None, unsafe_skip_rsa_key_validation=trusted)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("not an unencrypted PKCS#8 private key") from None
    if not isinstance(key, PrivateKey):
        raise ValueError(f"a {type(key).__name__} is of no use here; use {' '.join(ALGORITHMS)}")  # noqa: TRY004 - the bytes are wrong, not the caller's type
    alg_of_spki(spki(key))
    return key


def load_signing(data: bytes) -> SigningKey:
    """A key that signs, out of authenticated encryption of our own.

    Raises:
        ValueError: as `load_pkcs8`, or a key that only deciphers.
    """
    key = load_pkcs8(data, trusted=True)
    if not isinstance(key, SigningKey):
        raise ValueError(f"{alg_of_spki(spki(key))} keys sign nothing")  # noqa: TRY004 - the bytes are wrong, not the caller's type
    return key


def spki(key: PrivateKey | PublicKey) -> bytes:
    """DER SubjectPublicKeyInfo of a key, or of a private key's public half."""
    public = key.public_key() if isinstance(key, PrivateKey) else key
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def digest(data: bytes) -> str:
    """What inventory, block list and keystores call a public key (SubjectPublicKeyInfo): its SHA-256, hex."""
    return hashlib.sha256(data).hexdigest()


def alg_of_spki(data: bytes) -> str:
    """The algorithm's name, read from the header: `load_spki` tells whether the point or modulus is any good.

    Raises:
        ValueError: another algorithm or curve, a compressed point, or RSA of a size or exponent that is refused.
    """
    name, header = _BY_LENGTH.get(len(data), ("", b""))
    if name and data.startswith(header):
        return name
    return f"rsa-{_rsa_bits(data)}"


def spki_form(alg: str) -> tuple[bytes, int]:
    """What every SubjectPublicKeyInfo of an algorithm begins with, and how many octets it has; (b"", 0): it varies."""
    header, size = _HEADERS.get(alg, (b"", 0))
    return header, len(header) + size


def key_bits(data: bytes) -> bytes:
    """The value of subjectPublicKey, without the BIT STRING's header.

    Raises:
        ValueError: not a SubjectPublicKeyInfo.
    """
    _, header = _BY_LENGTH.get(len(data), ("", b""))
    if header and data.startswith(header):
        return data[len(header) :]
    _, start, _ = der.read(data)
    _, _, algorithm_end = der.read(data, start)
    _, start, end = der.read(data, algorithm_end)
    return data[start + 1 : end]


def _rsa_bits(data: bytes) -> int:
    fields = der.children(der.only(data, der.SEQUENCE))
    if len(fields) != 2 or der.tlv(*fields[0]) != _RSA_ALGORITHM or fields[1][1][:1] != b"\0":
        raise ValueError(_foreign(fields[0][1] if fields else b""))
    numbers = der.children(der.only(fields[1][1][1:], der.SEQUENCE))
    if [tag for tag, _ in numbers] != [der.INTEGER, der.INTEGER]:
        raise ValueError("not an RSA public key: modulus and exponent belong there")
    modulus, exponent = (int.from_bytes(content, "big", signed=True) for _, content in numbers)
    bits = modulus.bit_length()
    if modulus < 0 or not RSA_BITS_MIN <= bits <= RSA_BITS_MAX:
        raise ValueError(f"RSA of {bits} bits is refused; use {RSA_BITS_MIN} to {RSA_BITS_MAX}, best 3072")
    # FIPS 186-5 appendix A.1.1; small exponents have broken careless verifiers, huge ones slow all of them.
    if exponent % 2 == 0 or not 65537 <= exponent < 2**256:
        raise ValueError("the RSA exponent is refused; it must be odd, at least 65537 and below 2^256")
    return bits


def _foreign(algorithm: bytes) -> str:
    """Why a key of this algorithm (content of the SEQUENCE) is refused."""
    for name, (oid, size) in _BARE.items():
        if algorithm == der.oid(oid):
            return f"not a public key of {name}: that has {size} octets"
        if algorithm.startswith(der.oid(oid)):
            return f"the algorithm {name} stands with parameters, and it has none (RFC 8410, 9881, 9935)"
    return f"not a public key of {', '.join(_HEADERS)} (uncompressed) or RSA"


def sample_spki(alg: str) -> bytes:
    """A SubjectPublicKeyInfo of this form and size that nobody has a private key of: to preview a certificate with.

    Raises:
        ValueError: not one of ALGORITHMS.
    """
    if alg in _HEADERS:
        header, size = _HEADERS[alg]
        return header + b"\x01" * size
    if alg not in ALGORITHMS:
        raise ValueError(f"`{alg}` is not a key algorithm; write one of {' '.join(ALGORITHMS)}")
    key = der.tlv(der.SEQUENCE, der.integer((1 << int(alg[4:])) - 1), der.integer(65537))
    return der.tlv(der.SEQUENCE, _RSA_ALGORITHM, der.bit_string(key))


@lru_cache(maxsize=64)
def load_spki(data: bytes) -> VerifyingKey:
    """The public key of somebody who signs, checked to lie on its curve.

    Raises:
        ValueError: see `alg_of_spki`, or the key is no key.
    """
    alg_of_spki(data)
    try:
        key = load_der_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError("the public key is not a valid key of its algorithm") from error
    if not isinstance(key, VerifyingKey):
        raise ValueError("not a public key of who can sign")  # noqa: TRY004 - the bytes are wrong, not the caller's type
    return key


@lru_cache(maxsize=64)
def signature_algorithm(alg: str) -> bytes:
    """DER AlgorithmIdentifier that a key of this algorithm signs with.

    The hash matches the key's strength (NIST SP 800-57): SHA-256 up to RSA-3072, SHA-384 above.

    Raises:
        ValueError: not an algorithm that signs.
    """
    if alg in _EC_HASHES:
        return _algorithm_of("ecdsa", _EC_HASHES[alg])
    if alg in _BARE and alg in SIGNING:
        return der.tlv(der.SEQUENCE, der.oid(_BARE[alg][0]))
    if not alg.startswith("rsa-"):
        raise ValueError(f"`{alg}` is not an algorithm that signs; write one of {' '.join(SIGNING)}")
    return _algorithm_of("rsa", _rsa_hash(int(alg[4:])))


def signature_hash(alg: str) -> str:
    """The name of the hash in `signature_algorithm`, as in sha256; empty where it is inside: EdDSA and ML-DSA."""
    digest = _SCHEMES[signature_algorithm(alg)][1]
    return digest.name if digest else ""


def is_repeatable(alg: str) -> bool:
    """Whether a key in memory gives the same signature when it signs the same bytes again."""
    return alg not in _ML_DSA


def _algorithm_of(kind: _Kind, algorithm: hashes.HashAlgorithm) -> bytes:
    return next(
        encoded
        for encoded, (found, digest) in _SCHEMES.items()
        if found == kind and digest is not None and digest.name == algorithm.name
    )


def _rsa_hash(bits: int) -> hashes.SHA256 | hashes.SHA384:
    return hashes.SHA256() if bits <= 3072 else hashes.SHA384()


def sign(key: SigningKey, tbs: bytes) -> bytes:
    """The signature value of `signature_algorithm` for this key.  The caller verifies it before anybody sees it."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(tbs, _ECDSA[f"ec-p{key.curve.key_size}"])
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(tbs, padding.PKCS1v15(), _rsa_hash(key.key_size))
    return key.sign(tbs)


def verify(spki: bytes, alg: str | bytes, tbs: bytes, signature: bytes) -> None:
    """Check a signature.

    Args:
        spki: the signer's DER SubjectPublicKeyInfo.
        alg: the signer's key algorithm (then `signature_algorithm` of it), or a DER AlgorithmIdentifier as found.
        tbs: the signed bytes.
        signature: the signature value.

    Raises:
        SignatureError: it does not verify, or the algorithm is not one of ours or not one of this key.
    """
    try:
        _check(spki, signature_algorithm(alg) if isinstance(alg, str) else alg, tbs, signature)
    except ValueError as error:
        raise SignatureError(str(error)) from error
    except InvalidSignature as error:
        raise SignatureError("the signature does not verify with this key") from error


def _check(spki: bytes, algorithm: bytes, tbs: bytes, signature: bytes) -> None:
    key = load_spki(spki)
    kind, digest = _SCHEMES.get(algorithm, (None, None))
    if kind == "ecdsa" and isinstance(key, ec.EllipticCurvePublicKey) and digest:
        key.verify(signature, tbs, _CHECKS[digest.name])
    elif kind == "rsa" and isinstance(key, rsa.RSAPublicKey) and digest:
        key.verify(signature, tbs, padding.PKCS1v15(), digest)
    elif (
        kind == "bare"
        and not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey)
        and algorithm == signature_algorithm(alg_of_spki(spki))
    ):
        key.verify(signature, tbs)
    else:
        raise ValueError("the signature algorithm does not belong to this key")


@frozen
class SoftSigner:
    """A Signer (ports.py) whose private key is in this process's memory."""

    facts: KeyFacts
    _key: SigningKey = field(repr=False)

    @property
    def deterministic(self) -> bool:
        return is_repeatable(self.facts.alg)

    def sign(self, tbs: bytes) -> bytes:
        return sign(self._key, tbs)

    def portable(self) -> bytes:
        return pkcs8(self._key)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a signer is not pickled by accident; send portable() on purpose")


def soft_signer(label: str, key: SigningKey) -> SoftSigner:
    """A signer around a key that is in memory."""
    public = spki(key)
    return SoftSigner(KeyFacts(label, alg_of_spki(public), public), key)
