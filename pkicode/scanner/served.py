"""What is served against what was issued: the words of drift, for `pkicode drift` and for plans.  Asks nobody."""

from collections.abc import Collection, Iterable, Iterator

from attrs import define, field

from pkicode.model.served import DRIFTS, Leaf, Seen
from pkicode.scanner.chain import chains
from pkicode.scanner.finding import Endpoint

CHECKS = "CertsBySigAlgs"
"""What has to be asked so that every certificate is seen, of each kind of key."""


@define
class Issued:
    """What has to be known of an inventory: taken row by row, and little of it kept."""

    _served: Collection[str]
    """SHA-256 of the leaf certificates that are served."""
    _known: dict[str, tuple[str, int, str]] = field(factory=dict, init=False, repr=False)
    newest: dict[str, tuple[int, str]] = field(factory=dict, init=False, repr=False)
    """Address of a [cert.X] or a row of it -> generation and SHA-256 of its newest good certificate."""

    def take(self, address: str, generation: int, sha256: str, status: str) -> None:
        """One certificate; `status` is good, revoked, expired or unknown."""
        if sha256 in self._served:
            self._known[sha256] = (address, generation, status)
        if status == "good" and address.startswith("cert.") and self.newest.get(address, (0, ""))[0] < generation:
            self.newest[address] = (generation, sha256)

    def drift(self, sha256: str) -> str:
        """What is wrong with a certificate that is served; "" where nothing is."""
        if sha256 not in self._known:
            return "unknown"
        address, generation, status = self._known[sha256]
        if not address.startswith("cert."):
            return ""
        if status == "revoked":
            return "revoked"
        return "superseded" if self.newest.get(address, (0, ""))[0] > generation else ""

    def missing(self) -> Iterator[str]:
        """SHA-256 of each newest good certificate that is served nowhere."""
        return (sha256 for _, sha256 in self.newest.values() if sha256 not in self._served)

    def seen(self, address: str, endpoint: str, found: Endpoint) -> Seen:
        """What stands at one endpoint of the certificate of an address."""
        generation, sha256 = self.newest.get(address, (None, ""))
        leaves = tuple(leaves_of(found))
        words = {self.drift(one.sha256) for one in leaves} - {""}
        if leaves and sha256 and all(one.sha256 != sha256 for one in leaves):
            words.add("not-served")
        return Seen(
            address=address,
            generation=generation,
            endpoint=endpoint,
            target=str(found.target),
            state=found.state,
            drift=min(words, key=DRIFTS.index, default=""),
            served=leaves,
        )


def leaves_of(found: Endpoint) -> Iterator[Leaf]:
    """Each leaf certificate that a target serves, once."""
    leaves = {one.leaf.sha256: one.leaf for one in chains(found.chains)}
    for sha256, one in leaves.items():
        yield Leaf(sha256, one.serial_number, one.issuer, one.subject, one.not_after)


def served_by(found: Iterable[Endpoint]) -> set[str]:
    """SHA-256 of all leaf certificates that are served."""
    return {leaf.sha256 for one in found for leaf in leaves_of(one)}
