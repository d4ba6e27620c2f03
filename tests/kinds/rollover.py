"""PKIs that live through years of rollovers, and what must hold on each of their days."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from attrs import define, field
from cryptography import x509

from pkicode.model.instants import DAY
from pkicode.ports import Certificate, Want
from pkicode.x509.pem import decode
from tests.kinds.site import NOW, Site

_HEAD = """
version = 1
[project]
name = "site"
[keystore.main]
type = "file"
passphrase = { file = ".pkicode/passphrase", create = true }
[publish.web]
url = "public"
base_url = "http://pki.corp.example"
"""
_LEAVES = """
[ca.issuing]
issuer = "root"
subject = { cn = "Site Issuing A${generation}", o = "Site" }
validity = "400d"
path_len = 0
rotate = { every = "180d", prepublish = "14d" }
crl = { validity = "90d", refresh = "40d" }
publish = ["web"]
[profile.server]
issuer = "issuing"
eku = ["serverAuth"]
validity = "60d"
[cert.portal]
profile = "server"
dns = ["portal.corp.example"]
output = { chain = "out/portal.pem" }
[cert.app]
profile = "server"
for_each = { values = ["api"] }
dns = ["${each.value}.corp.example"]
output = { chain = "out/${each.value}.pem" }
"""
_ROOT = """
[ca.root]
subject = { cn = "Site Root R${generation}", o = "Site" }
validity = "4y"
path_len = 1
overlap = "30d"
rotate = { every = "400d", prepublish = "14d" }
crl = { validity = "90d", refresh = "40d" }
publish = ["web"]
"""
GUEST = """
[cert.guest]
profile = "server"
dns = ["guest.corp.example"]
on_remove = "revoke"
output = { chain = "out/guest.pem" }
"""
TWO_TIER = _HEAD + _ROOT + _LEAVES
"""The root has no room for a cross-certificate: the next one issues when every bundle in force holds it."""
CROSS_SIGNED = TWO_TIER.replace("path_len = 1", "path_len = 2").replace('overlap = "30d"', 'overlap = "90d"')
"""The next root issues after 14 days, while clients may have bundles of 90 days ago: by a cross-certificate."""
ALLOW = {"root-change": "root"}


@define
class Day:
    """What clients meet on one day."""

    now: int
    bundles: Sequence[Sequence[bytes]]
    """Every trust.pem that was current within the overlap, oldest first."""
    good: Sequence[tuple[Certificate, Sequence[bytes]]]
    """Each valid certificate with the rest of the chain that was handed out with it last."""
    revoked: Sequence[tuple[Certificate, Sequence[bytes]]]
    crls: Sequence[bytes]


@define
class Years:
    """A site and what its clients have of it, day after day."""

    site: Site
    text: str
    overlap: int
    first: int = NOW
    chains: dict[str, Sequence[bytes]] = field(factory=dict)
    """Serial -> the chain last written for it."""
    bundles: dict[tuple[bytes, ...], int] = field(factory=dict)
    """Every trust.pem ever published -> when it was last the current one."""

    def days(self, last: int, step: int) -> Iterator[Day]:
        """Apply every `step` days and whenever a plan is to wake; each day is left with nothing to do."""
        end = self.site.now + last * DAY
        while self.site.now <= end:
            # A guest comes and goes, and is revoked each time, under whatever generation issues then.
            self.site.write(base=self.text + (GUEST if (self.site.now - self.first) // (40 * DAY) % 2 else ""))
            self.site.apply(allow=ALLOW)
            left = self.site.plan(allow=ALLOW)
            if left.changes:
                raise AssertionError(f"an apply left something to do at {self.site.now}: {left.changes}")
            yield self._day()
            self.site.now = min(self.site.now + step * DAY, left.next_due or end)

    def _day(self) -> Day:
        now, public = self.site.now, self.site.root / "public"
        for path in sorted((self.site.root / "out").glob("*.pem")):
            leaf, *above = decode(path.read_bytes(), "CERTIFICATE")
            self.chains[serial_of(leaf)] = above
        self.bundles[tuple(decode((public / "bundle/trust.pem").read_bytes(), "CERTIFICATE"))] = now
        there = [one for one in self.site.open().inventory(Want(valid_at=now)) if one.serial in self.chains]
        paired = [(one, self.chains[one.serial]) for one in there]
        return Day(
            now,
            [bundle for bundle, seen in self.bundles.items() if seen >= now - self.overlap],
            [one for one in paired if one[0].status == "issued"],
            [one for one in paired if one[0].status == "revoked"],
            [path.read_bytes() for path in sorted((public / "crl").glob("*.crl")) if _is_fresh(path, now)],
        )


def _is_fresh(path: Path, now: int) -> bool:
    """Of a generation that owes no answers any more the last list stays where it was."""
    until = x509.load_der_x509_crl(path.read_bytes()).next_update_utc
    return until is not None and until.timestamp() > now


def split(text: bytes) -> list[bytes]:
    """The certificates of a PEM file."""
    return [b"-----BEGIN" + one for one in text.split(b"-----BEGIN")[1:]]


def serial_of(certificate: bytes) -> str:
    """Of a PEM or DER certificate, as the inventory has it."""
    load = x509.load_pem_x509_certificate if certificate.startswith(b"-----") else x509.load_der_x509_certificate
    return f"{load(certificate).serial_number:x}"


def generations(site: Site) -> Mapping[str, list[int]]:
    """CA -> the generations that were made."""
    found: dict[str, list[int]] = {}
    for one in site.open().inventory(Want(with_der=False)):
        if one.address.startswith("ca.") and one.generation not in found.setdefault(one.address, []):
            found[one.address].append(one.generation)
    return found
