"""The letter of an endpoint, by the method of SSL Labs' SSL Server Rating Guide (2009q and the changes since).

Protocol counts 30 %, key exchange 30 %, cipher 40 %; then weaknesses put a cap on the letter; T and M stand for a
certificate that nobody trusts or that is for another host.  It is what other tools call the grade; the findings say
more.
"""

import re
from collections.abc import Iterator

from attrs import frozen

from pkicode.scanner.chain import Chain, chains
from pkicode.scanner.finding import Cipher, Endpoint, Finding, Grade
from pkicode.scanner.strength import BROKEN_HASHES, RSA_BITS_MIN, rsa_equivalent

LETTERS = ("A+", "A", "A-", "B", "C", "D", "E", "F", "T", "M")
"""Best first; T is not trusted, M another host's certificate."""

DH_SIZE = "DHSize"
"""The check whose value is the sizes of the Diffie-Hellman groups in bits, the smallest first."""

_PROTOCOL = {"SSLv2": 0, "SSLv3": 80, "TLSv1.0": 90, "TLSv1.1": 95, "TLSv1.2": 100, "TLSv1.3": 100}
_SCORES = ((80, "A"), (65, "B"), (50, "C"), (35, "D"), (20, "E"))
_MODERN = ("TLSv1.1", "TLSv1.2", "TLSv1.3")
_SMALL_BLOCKS = re.compile(r"_(3DES|DES|DES40|RC2|IDEA)_")
_FATAL = {
    "Heartbleed": "Heartbleed gives its memory away",
    "CCS": "an early ChangeCipherSpec is taken (CVE-2014-0224)",
    "ROBOT": "it decrypts for whoever asks often enough (ROBOT)",
    "DROWN": "its key is used with SSLv2 somewhere (DROWN)",
    "FREAK": "export keys of RSA are taken (FREAK)",
    "LOGJAM": "export groups of Diffie-Hellman are taken (Logjam)",
}
"""Checks of the family Vulnerabilities that end in F where they are Bad."""
_CAPPED_AT_C = {"POODLE": "SSLv3 is spoken with CBC suites (POODLE)", "CRIME": "TLS compression is on (CRIME)"}


@frozen
class Rating:
    """A letter and where it comes from; "" for what speaks no TLS, was not asked for its suites, or hides its chain."""

    letter: str
    score: int = 0
    """0 to 100."""
    protocol: int = 0
    key_exchange: int = 0
    cipher: int = 0
    reasons: tuple[str, ...] = ()
    """What holds the letter down, a sentence each, worst first."""


def rate(endpoint: Endpoint) -> Rating:
    """The rating of what was found; the family PKI must be among the findings."""
    if not endpoint.versions or not endpoint.ciphers:
        return Rating("")
    sent = tuple(chains(endpoint.chains))
    if not sent and is_certified(endpoint):
        # Who sends a chain that nobody can read would get rid of everything that is wrong with it.
        return Rating("")
    parts = _protocol(endpoint), _key_exchange(endpoint, sent), _cipher(endpoint)
    score = 0 if 0 in parts else round(0.3 * parts[0] + 0.3 * parts[1] + 0.4 * parts[2])
    caps = sorted(_caps(endpoint, sent), key=lambda cap: LETTERS.index(cap[0]), reverse=True)
    by_score = next((letter for least, letter in _SCORES if score >= least), "F")
    letter = max(by_score, *(cap for cap, _ in caps), "A+", key=LETTERS.index)
    reasons = tuple(reason for _, reason in caps)
    if letter != "A":
        return Rating(letter, score, *parts, reasons)
    if "TLSv1.3" not in endpoint.versions:
        return Rating("A-", score, *parts, ("TLS 1.3 is not spoken",))
    is_exceptional = _has_long_hsts(endpoint) and not _can_be_talked_down(endpoint)
    return Rating("A+" if is_exceptional else "A", score, *parts)


def is_certified(endpoint: Endpoint) -> bool:
    """Whether there must be a certificate: some suite that it takes, as far as that is known, is not anonymous."""
    return not endpoint.ciphers or not all(map(_is_anonymous, endpoint.ciphers))


def _protocol(endpoint: Endpoint) -> int:
    return _middle([_PROTOCOL.get(version, 0) for version in endpoint.versions])


def _middle(scores: list[int]) -> int:
    """Halfway between the best and the worst, as a client may meet either."""
    return (max(scores) + min(scores)) // 2


def _key_exchange(endpoint: Endpoint, sent: tuple[Chain, ...]) -> int:
    if any(_is_anonymous(one) for one in endpoint.ciphers):
        return 0
    sizes = [bits for chain in sent if (bits := rsa_equivalent(chain.leaf))]
    sizes += [bits] if (bits := _dh_bits(endpoint)) else []
    if any("_EXPORT" in one.name for one in endpoint.ciphers):
        sizes.append(512)
    smallest = min(sizes, default=2048)
    steps = ((4096, 100), (2048, 90), (1024, 80), (512, 40))
    return next((score for least, score in steps if smallest >= least), 20)


def _cipher(endpoint: Endpoint) -> int:
    return _middle([_strength(one.bits) for one in endpoint.ciphers])


def _strength(bits: int) -> int:
    if bits >= 256:
        return 100
    return 80 if bits >= 128 else 20 if bits else 0


def _caps(endpoint: Endpoint, sent: tuple[Chain, ...]) -> Iterator[tuple[str, str]]:
    yield from _trust(endpoint)
    yield from _certificate_caps(sent)
    yield from _version_caps(frozenset(endpoint.versions))
    yield from _cipher_caps(endpoint.ciphers)
    bits = _dh_bits(endpoint)
    yield from _size_caps(bits, f"a Diffie-Hellman group of {bits} bits is used")
    yield from _vulnerability_caps(endpoint)


def _trust(endpoint: Endpoint) -> Iterator[tuple[str, str]]:
    if _is_bad(endpoint, "PKI", "ChainValidation"):
        yield "T", "no trust store that was given trusts the certificate"
    elif _is_bad(endpoint, "PKI", "ChainExpiration"):
        yield "T", "a certificate of the chain has expired, or is not valid yet"
    elif any(_is_revoked(endpoint, check) for check in ("OCSP", "CRL", "Staple")):
        yield "T", "a certificate of the chain is revoked"
    elif _is_bad(endpoint, "PKI", "HostName"):
        yield "M", "the certificate is for another host"


def _certificate_caps(sent: tuple[Chain, ...]) -> Iterator[tuple[str, str]]:
    for chain in sent:
        if any(chain.certificates[at].signature_hash in BROKEN_HASHES for at in chain.path):
            yield "F", "a certificate is signed over MD5, which can be forged"
        bits = rsa_equivalent(chain.leaf)
        yield from _size_caps(bits, f"the certificate's key is as weak as RSA of {bits} bits")


def _version_caps(versions: frozenset[str]) -> Iterator[tuple[str, str]]:
    if "SSLv2" in versions:
        yield "F", "SSLv2 is spoken"
    if "SSLv3" in versions:
        yield "B", "SSLv3 is spoken"
    if versions.isdisjoint({"TLSv1.2", "TLSv1.3"}):
        yield "C", "TLS 1.2 is not spoken"
    if not versions.isdisjoint({"TLSv1.0", "TLSv1.1"}):
        yield "B", "TLS 1.0 or 1.1 is spoken"


def _cipher_caps(ciphers: tuple[Cipher, ...]) -> Iterator[tuple[str, str]]:
    if any(_is_anonymous(one) or "_EXPORT" in one.name or one.bits == 0 for one in ciphers):
        yield "F", "suites without encryption, without authentication or of export strength are taken"
    rc4 = [one for one in ciphers if "_RC4_" in one.name]
    if rc4:
        modern = any(one.version in _MODERN for one in rc4)
        yield "C" if modern else "B", "RC4 is taken" + (" by modern clients too" if modern else "")
    if any(_SMALL_BLOCKS.search(one.name) and one.version in _MODERN for one in ciphers):
        yield "C", "ciphers with 64-bit blocks, such as 3DES, are taken with TLS 1.1 or later (SWEET32)"
    if not any(one.fs for one in ciphers):
        yield "B", "no suite has forward secrecy"
    if not any(one.aead for one in ciphers):
        yield "B", "no suite is AEAD"


def _size_caps(bits: int, told: str) -> Iterator[tuple[str, str]]:
    if 0 < bits < RSA_BITS_MIN:
        yield "F" if bits < 1024 else "B", told


def _vulnerability_caps(endpoint: Endpoint) -> Iterator[tuple[str, str]]:
    for check, reason in _FATAL.items():
        if _is_bad(endpoint, "Vulnerabilities", check):
            yield "F", reason
    for check, reason in _CAPPED_AT_C.items():
        if _is_bad(endpoint, "Vulnerabilities", check):
            yield "C", reason
    if _is_bad(endpoint, "TLSSession", "SecureRenegotiation"):
        yield "A-", "its renegotiation is not bound to the connection (RFC 5746)"


def _is_anonymous(one: Cipher) -> bool:
    return "_anon_" in one.name


def _find(endpoint: Endpoint, family: str, check: str) -> Finding | None:
    return next((one for one in endpoint.findings if (one.family, one.check) == (family, check)), None)


def _is_bad(endpoint: Endpoint, family: str, check: str) -> bool:
    found = _find(endpoint, family, check)
    return found is not None and found.grade is Grade.BAD


def _is_revoked(endpoint: Endpoint, check: str) -> bool:
    found = _find(endpoint, "PKI", check)
    return found is not None and found.value == "revoked"


def _dh_bits(endpoint: Endpoint) -> int:
    found = _find(endpoint, "TLSHandshake", DH_SIZE)
    smallest = found.value.partition(" ")[0] if found is not None else ""
    return int(smallest) if smallest.isascii() and smallest.isdigit() else 0


def _can_be_talked_down(endpoint: Endpoint) -> bool:
    found = _find(endpoint, "TLSHandshake", "FallbackSCSV")
    return found is not None and found.grade not in (Grade.GOOD, Grade.SKIPPED)


def _has_long_hsts(endpoint: Endpoint) -> bool:
    """Half a year, of which probes/http.py is the judge."""
    found = _find(endpoint, "HTTP", "HSTS")
    return found is not None and found.grade is Grade.GOOD
