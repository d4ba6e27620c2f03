"""The OCSP response that a server staples (RFC 6066 section 8), and certificates that must have one (RFC 7633).

A response that was fetched says the same as one that was stapled (revocation.py).  What reads responses is imported
when there is one: it costs a tenth of the start of a scan, and few servers staple.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pkicode.model.instants import rfc3339
from pkicode.scanner import certificate
from pkicode.scanner.chain import Chain
from pkicode.scanner.finding import Grade
from pkicode.scanner.told import Told
from pkicode.scanner.trust import TrustStore, issuer_of

if TYPE_CHECKING:
    from pkicode.revocation.ocsp_response import Answer
    from pkicode.x509.tbs import IssuerFacts


def judge(chain: Chain, staple: bytes, stores: Iterable[TrustStore], *, now: int) -> Told:
    """What the staple (DER, b"" for none) says of the leaf."""
    if not staple:
        return _none(chain)
    issuer = issuer_of(chain, stores)
    if issuer is None or chain.leaf.loaded is None:
        return Told(Grade.UNKNOWN, "unverified", "the staple cannot be verified: the leaf's issuer is not at hand")
    answer = answered(staple, chain.leaf.loaded, issuer, now=now)
    if isinstance(answer, str):
        return Told(Grade.BAD, "invalid", f"the staple is refused by clients: {answer}")
    return told(answer, "the staple")


def told(answer: "Answer", whose: str) -> Told:
    """What an answer that was verified says; `whose` it is, for the sentence."""
    if answer.status == "revoked":
        since = f" since {rfc3339(answer.revoked_at)}" if answer.revoked_at is not None else ""
        why = answer.reason or "no reason given"
        return Told(Grade.BAD, "revoked", f"{whose} says that the certificate is revoked{since} ({why}); replace it")
    if answer.status != "good":
        return Told(Grade.BAD, answer.status, f"{whose} says that the responder does not know the certificate")
    if answer.next_update is None:
        return Told(Grade.WARNING, "endless", f"{whose} has no nextUpdate: nobody can tell when it is too old")
    return Told(Grade.GOOD, "good", f"{whose} says good, until {rfc3339(answer.next_update)}")


def _none(chain: Chain) -> Told:
    if chain.leaf.must_staple:
        message = "the certificate must be stapled (RFC 7633), and no staple was sent: turn stapling on"
        return Told(Grade.BAD, "must-staple", message)
    return Told(Grade.SKIPPED, "none", "no staple was sent, and the certificate does not ask for one")


def answered(response: bytes, leaf: x509.Certificate, issuer: x509.Certificate, *, now: int) -> "Answer | str":
    """What a response says of a certificate, or why it says nothing that a client may rely on."""
    from pkicode.revocation.ocsp_request import cert_id
    from pkicode.revocation.ocsp_response import verified

    try:
        asked = cert_id(facts_of(issuer), leaf.serial_number, _hash(response, leaf.serial_number))
        return verified(response, asked, issuer.public_bytes(Encoding.DER), now=now)
    except certificate.MALFORMED as error:
        return str(error)


def facts_of(issuer: x509.Certificate) -> "IssuerFacts":
    """What a CertID takes of an issuer.

    Raises:
        ValueError, UnsupportedAlgorithm: its key cannot be read.
    """
    from pkicode.x509.tbs import IssuerFacts

    return IssuerFacts(certificate.dn(issuer, "subject"), b"", certificate.spki(issuer), "")


def _hash(staple: bytes, serial_number: int) -> str:
    """By which hash the response names the certificate: responders take the one they like."""
    from cryptography.x509 import ocsp

    try:
        answers = ocsp.load_der_ocsp_response(staple).responses
        return next((one.hash_algorithm.name for one in answers if one.serial_number == serial_number), "sha1")
    except certificate.MALFORMED:
        return "sha1"
