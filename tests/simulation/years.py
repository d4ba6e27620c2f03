"""A PKI that lives through years: real applies on a clock that is set, at the instants each plan names as the next.

For every day in between it is asked what a relying party would: does each leaf that is valid verify against every
bundle that may still be in use, and does the CRL of its issuer, as published on that day, say whether it is revoked?
"""

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from attrs import define, field, frozen
from cryptography import x509

from pkicode.model.instants import DAY, from_datetime
from pkicode.ports import Certificate, CertificateStatus, Want
from pkicode.x509.chain import verify_issued
from pkicode.x509.pem import decode
from tests.kinds.site import Site

OVERLAP = 30 * DAY
"""How long relying parties may go on with a bundle after another was published."""


@frozen
class Published:
    """What a reader of the target saw from an instant on."""

    since: int
    bundle: tuple[bytes, ...]
    authorities: tuple[bytes, ...]
    crls: tuple[bytes, ...]


@define
class Years:
    """The life so far: what was published when."""

    site: Site
    seen: list[Published] = field(factory=list)
    applies: int = 0

    def live(self, until: int) -> Iterator[int]:
        """Apply now and at each next due instant; yields the days in between, once each is checked."""
        day = self.site.now
        while self.site.now <= until:
            applied = self.site.apply()
            assert applied.exit_code == 0, applied.problems
            self.applies += 1
            self._look()
            after = self.site.plan()
            assert after.changes == ()
            assert after.next_due is not None
            ever = self.site.open().inventory(Want(statuses=(CertificateStatus.ISSUED, CertificateStatus.REVOKED)))
            while day < min(after.next_due, until + 1):
                assert_all_is_well(self, [one for one in ever if one.address.startswith("cert.")], day)
                yield day
                day += DAY
            self.site.now = after.next_due

    def _look(self) -> None:
        public = self.site.root / "public"
        bundle = tuple(decode((public / "bundle/trust.pem").read_bytes(), "CERTIFICATE"))
        self.seen.append(Published(self.site.now, bundle, _files(public, "ca/*.cer"), _files(public, "crl/*.crl")))

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


def assert_all_is_well(years: Years, leaves: Sequence[Certificate], day: int) -> None:
    """Each leaf that is valid on a day, and not revoked, is accepted; of each it can be told whether it is revoked."""
    seen = years.at(day)
    for leaf in leaves:
        if not leaf.not_before <= day <= leaf.not_after:
            continue
        revoked = leaf.revoked_at is not None and leaf.revoked_at <= day
        for bundle in years.bundles(day):
            assert chain(leaf.der, seen.authorities, bundle, day), f"{leaf.address}@{leaf.generation} on {day}"
        assert answer(leaf.der, seen, day) is revoked, f"{leaf.address}@{leaf.generation} on {day}"


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
