"""The SCTs of a target (RFC 6962 section 3.3): in the certificate, in the handshake, in the staple."""

from collections.abc import Iterable, Iterator, Sequence

from attrs import frozen
from cryptography import x509

from pkicode.ct import sct
from pkicode.ct.sct import Logged, Sct
from pkicode.model.instants import MINUTE
from pkicode.scanner import certificate
from pkicode.scanner.chain import Chain
from pkicode.scanner.finding import Endpoint, Grade
from pkicode.scanner.told import Told
from pkicode.scanner.trust import TrustStore, issuer_of
from pkicode.x509 import der

_SKEW = 5 * MINUTE
_LONGEST_STAPLE = 64 * 1024


@frozen
class _Found:
    """SCTs of one place, as they are encoded, and what they are about; None where that cannot be said."""

    place: str
    """embedded, tls, ocsp."""
    encoded: tuple[bytes, ...]
    logged: Logged | None


def judge(
    chain: Chain, endpoint: Endpoint, stores: Iterable[TrustStore], log_keys: Sequence[bytes], *, now: int
) -> Told:
    """What logs promised of the leaf of a chain.

    Args:
        log_keys: DER SubjectPublicKeyInfo of the logs that are believed.
    """
    logs = {sct.log_id(key): key for key in log_keys}
    places = list(_places(chain, endpoint, issuer_of(chain, stores)))
    total = sum(len(one.encoded) for one in places)
    if not total:
        return Told(Grade.SKIPPED, "none", "no SCT, which is usual for a CA that browsers do not know")
    verified, wrong = 0, []
    for place in places:
        for encoded in place.encoded:
            try:
                verified += _verified(encoded, place, logs, now)
            except ValueError as error:
                wrong.append(f"an SCT ({place.place}): {error}")
    value = " ".join(f"{one.place}={len(one.encoded)}" for one in places) + f" verified={verified}"
    if wrong:
        return Told(Grade.BAD, value, "; ".join(dict.fromkeys(wrong)))
    if not logs:
        return Told(Grade.SKIPPED, value, f"{total} SCTs that can be read; no log's key was given to verify them with")
    if not verified:
        return Told(Grade.UNKNOWN, value, f"none of {total} SCTs is of a log whose key was given")
    return Told(Grade.GOOD, value, f"{verified} of {total} SCTs are verified")


def _verified(encoded: bytes, place: _Found, logs: dict[str, bytes], now: int) -> bool:
    """Whether its log is one of ours and signed it.

    Raises:
        ValueError: it is malformed, of the future, or not the log's.
    """
    read: Sct = sct.read(encoded)
    if read.timestamp // 1000 > now + _SKEW:
        raise ValueError("its timestamp lies in the future")
    if read.log_id not in logs or place.logged is None:
        return False
    from pkicode.x509.keys import SignatureError

    try:
        sct.verify(read, place.logged, logs[read.log_id])
    except SignatureError as error:
        raise ValueError(str(error)) from error
    return True


def _places(chain: Chain, endpoint: Endpoint, issuer: x509.Certificate | None) -> Iterator[_Found]:
    leaf = chain.leaf.loaded
    if leaf is None:
        return
    whole = sct.certificate_entry(_leaf(endpoint, chain.slot))
    yield _Found("embedded", chain.leaf.scts, _precertificate(leaf, issuer))
    yield _Found("tls", endpoint.scts, whole)
    yield _Found("ocsp", _stapled(endpoint.staple), whole)


def _leaf(endpoint: Endpoint, slot: int) -> bytes:
    """The leaf of one chain as it was sent, DER."""
    return min((one for one in endpoint.chains if one.slot == slot), key=lambda one: one.position).der


def _precertificate(leaf: x509.Certificate, issuer: x509.Certificate | None) -> Logged | None:
    if issuer is None:
        return None
    try:
        return sct.precertificate_entry(leaf.tbs_precertificate_bytes, certificate.spki(issuer))
    except certificate.MALFORMED:
        return None


def _stapled(staple: bytes) -> tuple[bytes, ...]:
    """SCTs of an OCSP response with one answer; whether it is any good staple.py says."""
    if not staple or len(staple) > _LONGEST_STAPLE:
        return ()
    from cryptography.x509 import ocsp

    try:
        found = (
            ocsp.load_der_ocsp_response(staple)
            .single_extensions.get_extension_for_class(x509.SignedCertificateTimestamps)
            .value
        )
        return sct.split(der.only(found.public_bytes(), der.OCTET_STRING))
    except (*certificate.MALFORMED, x509.ExtensionNotFound):
        return ()
