"""The OCSP response that a server staples (RFC 6066 section 8), and certificates that must have one (RFC 7633)."""

from collections.abc import Iterable

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from pkicode.model.instants import rfc3339
from pkicode.revocation.ocsp_request import cert_id
from pkicode.revocation.ocsp_response import Answer, verified
from pkicode.scanner import certificate
from pkicode.scanner.chain import Chain
from pkicode.scanner.finding import Grade
from pkicode.scanner.told import Told
from pkicode.scanner.trust import TrustStore, issuer_of_leaf
from pkicode.x509.tbs import IssuerFacts


def judge(chain: Chain, staple: bytes, stores: Iterable[TrustStore], *, now: int) -> Told:
    """What the staple (DER, b"" for none) says of the leaf."""
    if not staple:
        return _none(chain)
    issuer = issuer_of_leaf(chain, stores)
    if issuer is None or chain.leaf.loaded is None:
        return Told(Grade.UNKNOWN, "unverified", "the staple cannot be verified: the leaf's issuer is not at hand")
    answer = _answer(staple, chain.leaf.loaded, issuer, now)
    if isinstance(answer, str):
        return Told(Grade.BAD, "invalid", f"the staple is refused by clients: {answer}")
    if answer.status == "revoked":
        since = f" since {rfc3339(answer.revoked_at)}" if answer.revoked_at is not None else ""
        return Told(Grade.BAD, "revoked", f"the certificate is revoked{since} ({answer.reason or 'no reason given'})")
    if answer.status != "good":
        return Told(Grade.BAD, answer.status, "the responder does not know the certificate")
    if answer.next_update is None:
        return Told(Grade.WARNING, "endless", "the staple has no nextUpdate: nobody can tell when it is too old")
    return Told(Grade.GOOD, "good", f"the staple says good, until {rfc3339(answer.next_update)}")


def _none(chain: Chain) -> Told:
    if chain.leaf.must_staple:
        message = "the certificate must be stapled (RFC 7633), and no staple was sent: turn stapling on"
        return Told(Grade.BAD, "must-staple", message)
    return Told(Grade.SKIPPED, "none", "no staple was sent, and the certificate does not ask for one")


def _answer(staple: bytes, leaf: x509.Certificate, issuer: x509.Certificate, now: int) -> Answer | str:
    """The answer, or why it is none."""
    try:
        facts = IssuerFacts(certificate.dn(issuer, "subject"), b"", certificate.spki(issuer), "")
        asked = cert_id(facts, leaf.serial_number, _hash(staple, leaf.serial_number))
        return verified(staple, asked, issuer.public_bytes(Encoding.DER), now=now)
    except certificate.MALFORMED as error:
        return str(error)


def _hash(staple: bytes, serial_number: int) -> str:
    """By which hash the response names the certificate: responders take the one they like."""
    try:
        answers = ocsp.load_der_ocsp_response(staple).responses
        return next((one.hash_algorithm.name for one in answers if one.serial_number == serial_number), "sha1")
    except certificate.MALFORMED:
        return "sha1"
