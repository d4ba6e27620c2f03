"""OCSP responses (RFC 6960 section 4.2, profile of RFC 9919): spliced for pre-signing, and checked as a client does.

A response holds one SingleResponse: clients that take only one refuse any other number (Go's x/crypto, cryptography),
so a certificate has one response for SHA-1 CertIDs and another one for SHA-256.  What is signed when is decided
elsewhere; nonces are not answered, and `unknown` needs a key that is online.
"""

import hashlib
from datetime import datetime
from functools import lru_cache
from typing import Final

from attrs import field, frozen
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp

from pkicode.model.instants import from_datetime, rfc3339
from pkicode.model.reason import REASONS
from pkicode.revocation.ocsp_request import HASHES, CertId, encode_id, hashes_of
from pkicode.x509.chain import verify_issued
from pkicode.x509.der import OCTET_STRING, SEQUENCE, bit_string, children, generalized, integer, oid, only, tlv
from pkicode.x509.keys import SignatureError, alg_of_spki, key_bits, signature_algorithm
from pkicode.x509.keys import verify as verify_signature
from pkicode.x509.tbs import IssuerFacts

LIMIT: Final = 65536
"""Octets of a stranger's response: ours have about a thousand."""
SKEW: Final = 300
"""Seconds by which a client's clock may be behind the responder's."""

_ENUMERATED, _GOOD = 0x0A, b"\x80\x00"
_CONTEXT_0, _REVOKED, _BY_KEY = 0xA0, 0xA1, 0xA2
_BASIC = oid("1.3.6.1.5.5.7.48.1.1")


def _error(status: int) -> bytes:
    return tlv(SEQUENCE, tlv(_ENUMERATED, bytes((status,))))


MALFORMED, TRY_LATER, UNAUTHORIZED = _error(1), _error(3), _error(6)
"""OCSPResponseStatus without responseBytes: an unsigned word (section 2.3)."""


@frozen
class Standing:
    """What an answer says of a certificate: good, where `revoked_at` is None."""

    revoked_at: int | None = None
    reason: str | None = None
    """A word of REASONS of model/reason.py; `unspecified` is left out of the answer."""


GOOD: Final = Standing()


@frozen
class Form:
    """The answers of one delegate for one issuer, compiled."""

    _responder: bytes
    _ids: dict[str, bytes] = field(repr=False)
    """Hash -> the CertID's parts before the serial number."""
    _tail: bytes = field(repr=False)
    """signatureAlgorithm of the delegate."""
    _certs: bytes = field(repr=False)

    def tbs(self, algorithm: str, serial: int, standing: Standing, *, this_update: int, next_update: int) -> bytes:
        """The ResponseData about one certificate; producedAt is thisUpdate."""
        updated, until = _dates(this_update, next_update)
        one = tlv(SEQUENCE, tlv(SEQUENCE, self._ids[algorithm], integer(serial)), _status(standing), updated, until)
        return tlv(SEQUENCE, self._responder, updated, tlv(SEQUENCE, one))

    def response(self, tbs: bytes, signature: bytes) -> bytes:
        """The OCSPResponse of a ResponseData and its signature, with the delegate's certificate."""
        basic = tlv(SEQUENCE, tbs, self._tail, bit_string(signature), self._certs)
        return tlv(
            SEQUENCE,
            tlv(_ENUMERATED, b"\0"),
            tlv(_CONTEXT_0, tlv(SEQUENCE, _BASIC, tlv(OCTET_STRING, basic))),
        )


def form(issuer: IssuerFacts, delegate: bytes, spki: bytes) -> Form:
    """Compile.

    Args:
        issuer: whose certificates are answered for.
        delegate: certificate of who signs, embedded in each answer.
        spki: the delegate's public key.
    """
    # KeyHash is SHA-1 whatever the CertID's hash is (section 4.2.1).
    key_hash = hashlib.sha1(key_bits(spki), usedforsecurity=False).digest()
    ids = {name: encode_id(CertId(name, *hashes_of(issuer, name), 0)) for name in HASHES}
    return Form(
        tlv(_BY_KEY, tlv(OCTET_STRING, key_hash)),
        # Without the outer header and the three octets of serial 0.
        {name: one[2:-3] for name, one in ids.items()},
        signature_algorithm(alg_of_spki(spki)),
        tlv(_CONTEXT_0, tlv(SEQUENCE, delegate)),
    )


@lru_cache(maxsize=1024)
def _dates(this_update: int, next_update: int) -> tuple[bytes, bytes]:
    if next_update <= this_update:
        raise ValueError("an answer's nextUpdate must lie after its thisUpdate")
    return generalized(this_update), tlv(_CONTEXT_0, generalized(next_update))


@lru_cache(maxsize=1024)
def _status(standing: Standing) -> bytes:
    if standing.revoked_at is None:
        return _GOOD
    code = REASONS.get(standing.reason or "unspecified")
    if code is None:
        raise ValueError(f"`{standing.reason}` is not a reason an answer may give; use one of {', '.join(REASONS)}")
    reason = tlv(_CONTEXT_0, tlv(_ENUMERATED, bytes((code,)))) if code else b""
    return tlv(_REVOKED, generalized(standing.revoked_at), reason)


@frozen
class Answer:
    """What a verified response says of the certificate that was asked about."""

    status: str
    """good, revoked, unknown."""
    this_update: int
    next_update: int | None
    revoked_at: int | None
    reason: str | None
    responder: str
    """Subject of whose key signed."""


def verified(der: bytes, asked: CertId, issuer: bytes, *, now: int) -> Answer:
    """Check a stranger's response as a client must (section 3.2).

    Args:
        der: the response.
        asked: what was asked for.
        issuer: certificate of the CA that issued the certificate.
        now: the instant.

    Raises:
        ValueError: it is no such response: too long, unsigned, another certificate's, signed by somebody else, stale.
    """
    if len(der) > LIMIT:
        raise ValueError(f"the response has {len(der)} octets, more than {LIMIT}")
    try:
        loaded = ocsp.load_der_ocsp_response(der)
        if loaded.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            raise ValueError(f"the responder answers {_word(loaded.response_status.name)}")
        responder = _signed_by(loaded, _algorithm(der), issuer, now)
        single = next((one for one in loaded.responses if _is_about(one, asked)), None)
    # TypeError: a name of a kind of string that the library does not take.
    except (
        TypeError,
        x509.InvalidVersion,
        x509.DuplicateExtension,
        x509.ExtensionNotFound,
        UnsupportedAlgorithm,
    ) as error:
        raise ValueError(f"the response is malformed: {error}") from error
    except SignatureError as error:
        raise ValueError(f"the response is refused: {error}") from error
    if single is None:
        raise ValueError("the response is about another certificate")
    this_update, next_update = from_datetime(single.this_update_utc), _instant(single.next_update_utc)
    if this_update > now + SKEW:
        raise ValueError(f"the response is of the future: thisUpdate is {rfc3339(this_update)}")
    if next_update is not None and next_update < now:
        raise ValueError(f"the response is stale: nextUpdate was {rfc3339(next_update)}")
    reason = single.revocation_reason.value if single.revocation_reason else None
    revoked_at = _instant(single.revocation_time_utc)
    status = single.certificate_status.name.lower()
    return Answer(status, this_update, next_update, revoked_at, reason, responder.subject.rfc4514_string())


def _algorithm(der: bytes) -> bytes:
    """signatureAlgorithm as it stands: it is not among what is signed."""
    (_, _), (_, response) = children(only(der, SEQUENCE))
    (_, _), (_, basic) = children(only(response, SEQUENCE))
    (_, _), (_, algorithm), *_ = children(only(basic, SEQUENCE))
    return tlv(SEQUENCE, algorithm)


def _signed_by(loaded: ocsp.OCSPResponse, algorithm: bytes, issuer_der: bytes, now: int) -> x509.Certificate:
    """The issuer itself, or a delegate of it that may sign answers (section 4.2.2.2)."""
    issuer = signer = x509.load_der_x509_certificate(issuer_der)
    for candidate in loaded.certificates:
        if _is_responder(candidate, loaded):
            signer = candidate
            break
    spki = _spki(signer)
    if not _is_responder(signer, loaded):
        raise ValueError("the response names a responder whose certificate is not there")
    verify_signature(spki, algorithm, loaded.tbs_response_bytes, loaded.signature)
    if signer != issuer:
        verify_delegate(_der(signer), issuer_der, now=now)
    return signer


def verify_delegate(delegate: bytes, issuer: bytes, *, now: int | None = None) -> None:
    """Whether a certificate was issued by this CA for signing answers, and is valid at `now` where that is given.

    Raises:
        ValueError: it was not, or is not.
    """
    verify_issued(delegate, issuer)
    loaded = x509.load_der_x509_certificate(delegate)
    try:
        purposes = loaded.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        purposes = x509.ExtendedKeyUsage([])
    if x509.oid.ExtendedKeyUsageOID.OCSP_SIGNING not in purposes:
        raise ValueError("the responder's certificate is not for signing OCSP answers")
    since, until = from_datetime(loaded.not_valid_before_utc), from_datetime(loaded.not_valid_after_utc)
    if now is not None and not since - SKEW <= now <= until:
        raise ValueError(f"the responder's certificate is valid from {rfc3339(since)} to {rfc3339(until)}")


def _is_responder(certificate: x509.Certificate, loaded: ocsp.OCSPResponse) -> bool:
    if loaded.responder_name is not None:
        return certificate.subject == loaded.responder_name
    spki = _spki(certificate)
    return hashlib.sha1(key_bits(spki), usedforsecurity=False).digest() == loaded.responder_key_hash


def _spki(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def _is_about(single: ocsp.OCSPSingleResponse, asked: CertId) -> bool:
    return (
        single.hash_algorithm.name == asked.hash
        and single.issuer_name_hash == asked.issuer_name
        and single.issuer_key_hash == asked.issuer_key
        and single.serial_number == asked.serial
    )


def _instant(moment: datetime | None) -> int | None:
    return None if moment is None else from_datetime(moment)


def _word(name: str) -> str:
    """MALFORMED_REQUEST -> malformedRequest."""
    first, *rest = name.lower().split("_")
    return first + "".join(one.capitalize() for one in rest)
