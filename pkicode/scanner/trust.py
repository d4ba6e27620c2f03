"""Whether a client with certain roots would trust a chain at an instant (RFC 5280 section 6).

cryptography's verifier decides; this module finds the words for what it refuses.  The host's name is judged apart
(hostname.py), revocation not at all.
"""

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from attrs import field, frozen
from cryptography import x509
from cryptography.x509 import verification

from pkicode.model.instants import as_datetime, rfc3339
from pkicode.scanner import certificate
from pkicode.scanner.certificate import Facts, short
from pkicode.scanner.chain import Chain
from pkicode.scanner.finding import Judged
from pkicode.scanner.target import is_address
from pkicode.x509 import pem

SYSTEM_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
"""Where operating systems keep the roots they trust, in one PEM file; the first that is there."""

_DEEPEST = 8


@frozen
class TrustStore:
    """Roots under a name."""

    name: str
    roots: tuple[x509.Certificate, ...] = field(repr=False)
    unread: int
    """Blocks of the file that are no certificate the library takes; old bundles have some."""
    store: verification.Store | None = field(repr=False, eq=False)
    """None without roots: then nothing is trusted."""
    by_subject: dict[bytes, tuple[x509.Certificate, ...]] = field(repr=False, eq=False)


@lru_cache(maxsize=8)
def trust_store(name: str, data: bytes) -> TrustStore:
    """The roots in a PEM file; read once by who asks whether it is one and by who judges.

    Raises:
        ValueError: no PEM with certificates (pem.decode says why).
    """
    roots, unread = [], 0
    by_subject: dict[bytes, tuple[x509.Certificate, ...]] = {}
    # Not their facts, which take ten times as long: a system has 150 roots, and one target needs one of them.
    with certificate.quietly():
        for one in pem.decode(data, "CERTIFICATE"):
            root = certificate.load(one) if len(one) <= certificate.LIMIT else None
            subject = certificate.dn(root, "subject") if root else b""
            if root is None or not subject:
                unread += 1
            else:
                roots.append(root)
                by_subject[subject] = (*by_subject.get(subject, ()), root)
    return TrustStore(name, tuple(roots), unread, verification.Store(roots) if roots else None, by_subject)


def judged(chain: Chain, store: TrustStore, *, now: int) -> Judged:
    """The verdict of one store on one chain.

    `reason` begins with one word: malformed, nameless, expired, not-yet-valid, self-signed, untrusted-root,
    unknown-issuer, unjudged (the library cannot say), refused; a sentence follows after a colon.
    """
    reason = _reason(chain, store, now)
    return Judged(chain.slot, store.name, not reason, reason)


def _reason(chain: Chain, store: TrustStore, now: int) -> str:
    leaf = chain.leaf
    if leaf.loaded is None or leaf.not_before is None or leaf.not_after is None:
        return f"malformed: {leaf.trouble[0]}"
    subject = _subject(leaf)
    if subject is None:
        return "nameless: the certificate names no host and no address, so no TLS client takes it"
    if store.store is None:
        return f"unknown-issuer: the store {store.name} holds no root"
    told = _verify(chain, leaf.loaded, store.store, subject, now)
    if not told:
        return ""
    return next(_words(chain, leaf.loaded, store, subject, now), f"refused: {told}")


def _subject(leaf: Facts) -> verification.Subject | None:
    """A name the certificate has, so that the verifier judges the path alone."""
    for san in leaf.sans:
        kind, _, text = san.partition(":")
        if kind == "ip" and is_address(text):
            return _address(text)
        if kind == "dns":
            try:
                return x509.DNSName(text.replace("*.", "any.", 1) if text.startswith("*.") else text)
            except ValueError:
                continue
    return None


def _address(text: str) -> verification.Subject:
    return x509.IPAddress(ipaddress.ip_address(text))


def _verify(
    chain: Chain, leaf: x509.Certificate, store: verification.Store, subject: verification.Subject, at: int
) -> str:
    """ "" or what the verifier says, without the name of the certificate it speaks of: that is a stranger's text."""
    builder = verification.PolicyBuilder().store(store).time(as_datetime(at)).max_chain_depth(_DEEPEST)
    try:
        builder.build_server_verifier(subject).verify(leaf, list(_intermediates(chain, at)))
    except verification.VerificationError as error:
        return str(error).partition(" (encountered processing")[0].removeprefix("validation failed: ")
    # A name or a key inside that the library only now finds it cannot read.
    except (ValueError, TypeError, x509.UnsupportedGeneralNameType, x509.DuplicateExtension) as error:
        return f"it cannot be read: {error}"
    return ""


def _intermediates(chain: Chain, at: int) -> Iterator[x509.Certificate]:
    """What may lie between: no roots, and of certificates with one name and one key only one.

    Where a server sends a dozen that all sign each other, the verifier gives up after so many signatures.
    """
    found: dict[tuple[str, str], Facts] = {}
    for one in chain.certificates[1:]:
        if one.loaded is None or one.self_issued or not one.spki:
            continue
        key = (one.subject, one.spki)
        if key not in found or (_is_valid(one, at) and not _is_valid(found[key], at)):
            found[key] = one
    yield from (one.loaded for one in found.values() if one.loaded is not None)


def _is_valid(one: Facts, at: int) -> bool:
    return one.not_before is not None and one.not_after is not None and one.not_before <= at <= one.not_after


def _words(
    chain: Chain, leaf: x509.Certificate, store: TrustStore, subject: verification.Subject, now: int
) -> Iterator[str]:
    """Why, in the order in which it would be mended."""
    path = [chain.certificates[position] for position in chain.path]
    anchor = _anchor(chain.top, store)
    late = [one for one in path if one.not_after is not None and one.not_after < now]
    early = [one for one in path if one.not_before is not None and one.not_before > now]
    if (late or early) and store.store is not None:
        # Dates are the reason where the chain is trusted at another instant.
        begins = max(one.not_before or 0 for one in path)
        if not _verify(chain, leaf, store.store, subject, begins):
            yield from _dates(late, early)
    if anchor is None and chain.top.self_signed:
        if len(path) == 1:
            yield f"self-signed: no root of {store.name} stands behind it"
        else:
            yield f"untrusted-root: `{chain.top.called}` is not in {store.name}"
    elif anchor is None:
        yield (
            f"unknown-issuer: `{short(chain.top.issuer)}`, who signed `{chain.top.called}`, was not sent and is not "
            f"in {store.name}"
        )
    if any(_is_beyond(one) for one in path):
        yield "unjudged: the verifier takes keys of RSA and NIST's curves alone, as browsers do, and here are others"


def _is_beyond(one: Facts) -> bool:
    """Whether a key or signature is of an algorithm, neither old nor weak, that the verifier has no opinion of."""
    algorithms = (one.key_alg, one.signature_hash)
    return any(alg in ("ed25519", "ed448") or alg[:1].isdigit() for alg in algorithms)


def _dates(late: Sequence[Facts], early: Sequence[Facts]) -> Iterator[str]:
    yield from (f"expired: `{one.called}` ended {rfc3339(one.not_after or 0)}" for one in late)
    yield from (f"not-yet-valid: `{one.called}` begins {rfc3339(one.not_before or 0)}" for one in early)


def issuer_of(chain: Chain, stores: Iterable[TrustStore], *, step: int = 0) -> x509.Certificate | None:
    """Who signed what is so many steps above the leaf: sent by the server, or a root; None if neither."""
    if len(chain.path) > step + 1:
        return chain.certificates[chain.path[step + 1]].loaded
    return next((found for store in stores if (found := _anchor(chain.top, store)) is not None), None)


def is_anchored(chain: Chain, stores: Iterable[TrustStore]) -> bool:
    """Whether a root of one of the stores signed the top of the chain, or is it."""
    return any(_anchor(chain.top, store) is not None for store in stores)


def _anchor(top: Facts, store: TrustStore) -> x509.Certificate | None:
    """The root that signed the top of a path, or is it."""
    if top.loaded is None:
        return None
    candidates = store.by_subject.get(certificate.dn(top.loaded, "issuer"), ())
    return next((one for one in candidates if one == top.loaded or certificate.is_signed_by(top.loaded, one)), None)
