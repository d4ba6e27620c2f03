"""A PKI that lives through years: real applies on a clock that is set, at the instants each plan names as the next.

For every day in between it is asked what a relying party would: does each leaf that is valid verify against every
bundle that may still be in use, and do the CRL and the OCSP answers of its issuer, as published on that day, say
whether it is revoked?
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

from attrs import define, field, frozen
from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID

from pkicode.model.instants import DAY, from_datetime
from pkicode.ports import Certificate, CertificateStatus, Want
from pkicode.revocation import pack
from pkicode.revocation.ocsp_request import cert_id
from pkicode.revocation.ocsp_response import verified
from pkicode.x509.chain import verify_issued
from pkicode.x509.pem import decode
from tests.kinds.site import Site
from tests.kinds.test_ocsp import answer as ocsp_response

OVERLAP = 30 * DAY
"""How long relying parties may go on with a bundle after another was published."""


@frozen
class Published:
    """What a reader of the target saw from an instant on."""

    since: int
    bundle: tuple[bytes, ...]
    authorities: tuple[bytes, ...]
    crls: tuple[bytes, ...]
    packs: tuple[bytes, ...]


@define
class Years:
    """The life so far: what was published when."""

    site: Site
    allow: Mapping[str, str] = field(factory=dict)
    seen: list[Published] = field(factory=list)
    applies: int = 0

    def live(self, until: int) -> Iterator[int]:
        """Apply now and at each next due instant; yields the days in between, once each is checked."""
        day = self.site.now
        while self.site.now <= until:
            applied = self.site.apply(allow=self.allow)
            assert applied.exit_code == 0, applied.problems
            self.applies += 1
            self._look()
            after = self.site.plan(allow=self.allow)
            assert after.changes == ()
            assert after.next_due is not None
            ever = self.site.open().inventory(Want(statuses=(CertificateStatus.ISSUED, CertificateStatus.REVOKED)))
            while day < min(after.next_due, until + 1):
                assert_all_is_well(self, [one for one in ever if one.spki != one.issuer_key], day)
                yield day
                day += DAY
            self.site.now = after.next_due

    def _look(self) -> None:
        public = self.site.root / "public"
        bundle = tuple(decode((public / "bundle/trust.pem").read_bytes(), "CERTIFICATE"))
        files = (_files(public, one) for one in ("ca/*.cer", "crl/*.crl", "ocsp/*.pack"))
        self.seen.append(Published(self.site.now, bundle, *files))

    def at(self, day: int) -> Published:
        """What was published on a day."""
        return next(one for one in reversed(self.seen) if one.since <= day)

    def bundles(self, day: int) -> set[tuple[bytes, ...]]:
        """Every bundle that somebody may be using on a day."""
        ends = [*(one.since for one in self.seen[1:]), day + 1]
        return {
            one.bundle for one, end in zip(self.seen, ends, strict=True) if one.since <= day and end + OVERLAP > day
        }


def _files(public: Path, pattern: str) -> tuple[bytes, ...]:
    return tuple(path.read_bytes() for path in sorted(public.glob(pattern)))


def assert_all_is_well(years: Years, certificates: Sequence[Certificate], day: int) -> None:
    """Each leaf that is valid on a day, and not revoked, is accepted; of each certificate but roots and OCSP delegates
    (RFC 6960 section 4.2.2.2.1) it can be told whether it is revoked."""
    seen = years.at(day)
    for one in certificates:
        if not one.not_before <= day <= one.not_after or one.address.startswith("ocsp."):
            continue
        told = f"{one.address}@{one.generation} on {day}"
        revoked = one.revoked_at is not None and one.revoked_at <= day
        for bundle in years.bundles(day) if one.address.startswith("cert.") else ():
            assert chain(one.der, seen.authorities, bundle, day), told
        assert answer(one.der, seen, day) is revoked, told
        if _names_responder(one.der):
            assert ocsp_answers(one.der, seen, day) == {"revoked" if revoked else "good"}, told


def chain(leaf: bytes, authorities: Sequence[bytes], bundle: Sequence[bytes], day: int) -> list[bytes]:
    """From a certificate up to a root of the bundle, itself first; empty where there is no way on that day."""
    if not _is_valid(leaf, day):
        return []
    for root in bundle:
        if leaf == root or (_is_valid(root, day) and _signed(leaf, root)):
            return [leaf] if leaf == root else [leaf, root]
    for above in authorities:
        if above != leaf and _signed(leaf, above) and (way := chain(above, authorities, bundle, day)):
            return [leaf, *way]
    return []


def answer(leaf: bytes, seen: Published, day: int) -> bool:
    """Whether the CRL of a leaf's issuer, fresh on that day, lists it.

    Raises:
        AssertionError: no fresh CRL of its issuer is published.
    """
    loaded = _loaded(leaf)
    for one in seen.crls:
        crl = _crl(one)
        if crl.issuer == loaded.issuer and any(_signed(leaf, ca) and _is_crl_of(one, ca) for ca in seen.authorities):
            assert crl.next_update_utc is not None
            assert from_datetime(crl.last_update_utc) <= day < from_datetime(crl.next_update_utc)
            return crl.get_revoked_certificate_by_serial_number(loaded.serial_number) is not None
    raise AssertionError(f"nobody says whether {loaded.subject} is revoked on {day}")


def ocsp_answers(certificate: bytes, seen: Published, day: int) -> set[str]:
    """What the pack of a certificate's issuer says, to clients that name it by SHA-1 and by SHA-256.

    Raises:
        AssertionError: no pack of its issuer is published, or it says nothing about it.
        ValueError: a client refuses the answer on that day.
    """
    serial = _loaded(certificate).serial_number
    for found in map(_pack, seen.packs):
        if _signed(certificate, found.maker.ca):
            asked = {one: cert_id(found.maker.issuer, serial, one) for one in ("sha1", "sha256")}
            responses = {one: ocsp_response(found, f"{serial:x}", one) for one in asked}
            return {verified(responses[one], asked[one], found.maker.ca, now=day).status for one in asked}
    raise AssertionError(f"no pack answers for {_loaded(certificate).subject} on {day}")


@cache
def _names_responder(certificate: bytes) -> bool:
    try:
        access = _loaded(certificate).extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except x509.ExtensionNotFound:
        return False
    return any(one.access_method == AuthorityInformationAccessOID.OCSP for one in access)


@cache
def _pack(data: bytes) -> pack.Pack:
    return pack.read(data)


def _is_valid(certificate: bytes, day: int) -> bool:
    loaded = _loaded(certificate)
    return from_datetime(loaded.not_valid_before_utc) <= day <= from_datetime(loaded.not_valid_after_utc)


@cache
def _loaded(certificate: bytes) -> x509.Certificate:
    return x509.load_der_x509_certificate(certificate)


@cache
def _crl(data: bytes) -> x509.CertificateRevocationList:
    return x509.load_der_x509_crl(data)


@cache
def _is_crl_of(data: bytes, authority: bytes) -> bool:
    return _crl(data).is_signature_valid(_loaded(authority).public_key())  # type: ignore[arg-type]


@cache
def _signed(certificate: bytes, authority: bytes) -> bool:
    try:
        verify_issued(certificate, authority)
    except ValueError:
        return False
    return True
