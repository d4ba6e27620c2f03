"""OCSP and CRL: what those whom a certificate names say of it (RFC 6960, RFC 5280 section 6.3).

What is asked, and what an answer is worth.  Fetched elsewhere (adapters/revoked.py), and only where a scan is told to:
it is asked of third parties, who learn who is being looked at.
"""

from collections.abc import Iterable, Mapping, Sequence

from attrs import evolve, field, frozen
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pkicode.model.instants import rfc3339
from pkicode.revocation.check import Shown, in_force, scope, show
from pkicode.revocation.crl import Entry
from pkicode.revocation.ocsp_request import cert_id, encode
from pkicode.scanner import certificate, staple
from pkicode.scanner.certificate import Facts, short
from pkicode.scanner.chain import Chain, Role, chains
from pkicode.scanner.finding import Endpoint, Finding, Grade
from pkicode.scanner.pki import THIRD_PARTIES
from pkicode.scanner.told import Told, worst
from pkicode.scanner.trust import TrustStore, issuer_of

URLS_MOST = 2
"""Of one kind, of one certificate, one after the other until one of them gives an answer."""
_SUBJECTS_MOST = 16
"""Certificates of one target that are asked about."""
_REASONS_MOST = 3
_ABSENT = {"OCSP": "names no OCSP responder", "CRL": "names no CRL"}


@frozen
class Subject:
    """One certificate to be asked about."""

    sha256: str
    issuer: bytes
    """Certificate of the CA, DER; b"" where it is not at hand."""
    facts: Facts = field(eq=False)
    ca: x509.Certificate | None = field(eq=False, repr=False)
    """The same."""
    is_beyond: bool = field(default=False, eq=False)
    """Of a target that sends more certificates than are asked about."""

    def urls(self, check: str) -> tuple[str, ...]:
        """Whom to ask; LDAP is not spoken here."""
        named = self.facts.ocsp_urls if check == "OCSP" else self.facts.crl_urls
        there = dict.fromkeys(one for one in named if one.lower().startswith(("http://", "https://")))
        return tuple(there)[:URLS_MOST] if self.ca and self.facts.loaded else ()


@frozen
class Listed:
    """A list as it was fetched, and what it is worth to each CA that it is asked about."""

    shown: Shown
    entries: Mapping[int, Entry] = field(repr=False)
    """By serial number."""
    doubts: Mapping[bytes, tuple[str, ...]]
    """Why it is not this CA's (DER) of today; none: it is."""


def read_list(data: bytes, subjects: Iterable[Subject], *, now: int) -> Listed:
    """Read a list and verify it for the CAs of these certificates: seconds, where it has half a million entries.

    Raises:
        ValueError: it is none.
    """
    shown = show(data)
    cas = {one.issuer: one.ca for one in subjects if one.ca}
    doubts = {issuer: in_force(shown, ca, now=now) for issuer, ca in cas.items()}
    return Listed(shown, {one.serial: one for one in shown.entries}, doubts)


Answers = Mapping[tuple[str, str, bytes], Told]
"""What is known, by check, certificate (SHA-256) and issuer (DER)."""


def subjects(endpoint: Endpoint, stores: Sequence[TrustStore]) -> tuple[Subject, ...]:
    """The certificates of all chains up to what stands below a root; each once, and all leaves before their CAs."""
    sent = [tuple(_subjects(chain, stores)) for chain in chains(endpoint.chains)]
    found = dict.fromkeys([*(one for those in sent for one in those[:1]), *(one for those in sent for one in those)])
    return tuple(evolve(one, is_beyond=place >= _SUBJECTS_MOST) for place, one in enumerate(found))


def _subjects(chain: Chain, stores: Sequence[TrustStore]) -> Iterable[Subject]:
    for step, position in enumerate(chain.path):
        facts = chain.certificates[position]
        # A root is revoked by taking it out of the store.
        if chain.role(position) is not Role.ROOT and not facts.self_signed:
            ca = issuer_of(chain, stores, step=step)
            yield Subject(facts.sha256, ca.public_bytes(Encoding.DER) if ca else b"", facts, ca)


def stapled(endpoint: Endpoint, stores: Sequence[TrustStore], *, now: int) -> dict[tuple[str, str, bytes], Told]:
    """What the staple says of the leaf, where a client could rely on it: then nobody has to be asked."""
    chain = next(chains(endpoint.chains), None)
    issuer = issuer_of(chain, stores) if chain else None
    if not endpoint.staple or chain is None or issuer is None or chain.leaf.loaded is None:
        return {}
    answer = staple.answered(endpoint.staple, chain.leaf.loaded, issuer, now=now)
    if isinstance(answer, str):
        return {}
    key = ("OCSP", chain.leaf.sha256, issuer.public_bytes(Encoding.DER))
    return {key: staple.told(answer, f"`{chain.leaf.called}`: the staple")}


def question(subject: Subject) -> bytes:
    """The OCSP request (DER) about a certificate, without a nonce: most answers were signed before anybody asked.

    Raises:
        ValueError, UnsupportedAlgorithm: it or its issuer cannot be named.
    """
    leaf, ca = subject.facts.loaded, subject.ca
    if leaf is None or ca is None:
        raise ValueError("what cannot be read cannot be named")
    return encode(cert_id(staple.facts_of(ca), leaf.serial_number, "sha1"))


def of_responder(subject: Subject, url: str, response: bytes, *, now: int) -> Told:
    """What a response (DER) is worth; one that cannot be verified says nothing, whatever it says."""
    whose = f"`{subject.facts.called}`: {short(url)}"
    leaf, ca = subject.facts.loaded, subject.ca
    if leaf is None or ca is None:
        return Told(Grade.UNKNOWN, "unverified", f"{whose} is asked about what cannot be read")
    with certificate.quietly():
        answer = staple.answered(response, leaf, ca, now=now)
    if isinstance(answer, str):
        return Told(Grade.UNKNOWN, "invalid", f"{whose}: no answer that can be relied on: {short(answer)}")
    return staple.told(answer, whose)


def of_list(subject: Subject, url: str, listed: Listed) -> Told:
    """What a list is worth; of one that is stale, of another CA or of other certificates nothing is believed."""
    whose = f"`{subject.facts.called}`: the list at {short(url)}"
    leaf, ca = subject.facts.loaded, subject.ca
    if leaf is None or ca is None:
        return Told(Grade.UNKNOWN, "unverified", f"{whose} is asked about what cannot be read")
    try:
        with certificate.quietly():
            doubts = (*listed.doubts[subject.issuer], *scope(listed.shown, leaf, ca))
    except certificate.MALFORMED as error:
        return Told(Grade.UNKNOWN, "invalid", f"{whose} cannot be judged: {error}")
    entry = listed.entries.get(leaf.serial_number)
    if doubts:
        there = "; it lists the certificate" if entry else ""
        why = "; ".join(map(short, doubts[:_REASONS_MOST]))
        return Told(Grade.UNKNOWN, "invalid", f"{whose} cannot be relied on: {why}{there}")
    return _found(entry, whose, listed.shown.next_update)


def _found(entry: Entry | None, whose: str, next_update: int | None) -> Told:
    if entry:
        since, why = rfc3339(entry.revoked_at), entry.reason or "no reason given"
        return Told(Grade.BAD, "revoked", f"{whose} says that it is revoked since {since} ({why}); replace it")
    if next_update is None:
        return Told(Grade.WARNING, "endless", f"{whose} has no nextUpdate: nobody can tell when it is too old")
    return Told(Grade.GOOD, "good", f"{whose} does not have it, until {rfc3339(next_update)}")


def findings(about: Sequence[Subject], known: Answers) -> tuple[Finding, ...]:
    """OCSP and CRL of one target: the worst of its certificates."""
    nobody = Told(Grade.SKIPPED, "none", "nothing but a root was sent: no CA can revoke it")
    return tuple(worst(check, [_told(check, one, known) for one in about] or [nobody]) for check in THIRD_PARTIES)


def _told(check: str, about: Subject, known: Answers) -> Told:
    if told := known.get((check, about.sha256, about.issuer)):
        return told
    if about.is_beyond:
        message = f"nobody was asked about `{about.facts.called}`: it is one of more than {_SUBJECTS_MOST} certificates"
        return Told(Grade.UNKNOWN, "unasked", message)
    if not (about.facts.ocsp_urls if check == "OCSP" else about.facts.crl_urls):
        return Told(Grade.SKIPPED, "none", f"`{about.facts.called}` {_ABSENT[check]}")
    if not about.issuer:
        message = f"nothing can be verified of `{about.facts.called}`: its issuer is neither sent nor a root"
        return Told(Grade.UNKNOWN, "unverified", message)
    return Told(Grade.UNKNOWN, "unasked", f"`{about.facts.called}` names nobody who can be asked by HTTP")
