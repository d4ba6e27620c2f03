"""Two machines: a project, and a folder with a keystore; files go from one to the other and nothing else does."""

from pathlib import Path

from attrs import define

from pkicode.ceremony.bundle import Request, Response, decode_request, decode_response, encode
from pkicode.model.change import Readiness
from pkicode.model.event import Event
from pkicode.ports import Want
from pkicode.project.applied import Applied
from pkicode.project.ceremony import Received
from pkicode.project.offline import Offline, sealed
from tests.kinds.site import BASE, Site
from tests.quick import PASSPHRASE, quick_key_file, quick_keystore

OFFLINE = """
[keystore.vault]
type = "file"
offline = true
path = "ceremony"
"""
TEXT = (
    BASE.replace("[publish.web]", OFFLINE + "[publish.web]")
    .replace(
        "[ca.root]",
        '[ca.root]\noffline = true\nkey = { alg = "ec-p384", store = "vault" }\n'
        'crl = { validity = "1y", refresh = "180d" }',
    )
    .replace("Site Root", "Site Root R${generation}")
    .replace("Site Issuing", "Site Issuing A${generation}")
    .replace('issuer = "root"', 'issuer = "root"\nkey = { store = "main" }')
    .replace('issuer = "issuing"', 'issuer = "issuing"\nkey = { store = "main" }')
)
PORTAL = """
[cert.portal]
profile = "server"
dns = ["portal.corp.example"]
output = { chain = "out/portal.pem", key = "out/portal.key" }
"""


@define
class Two:
    """Online and offline."""

    site: Site
    vault: Path

    @property
    def offline(self) -> Offline:
        return Offline(sealed(self.vault / "keys.db", lambda: PASSPHRASE))

    def card(self, label: str = "ca.root@1", alg: str = "ec-p384") -> None:
        """Make a key, and carry its card over."""
        (self.site.root / "ceremony").mkdir(exist_ok=True)
        (self.site.root / f"ceremony/{label}.csr").write_bytes(self.offline.init(label, alg))

    def apply(self, **options: object) -> Applied:
        return self.site.apply(**options)

    def export(self) -> Request:
        """As it comes over."""
        return decode_request(encode(self.site.open().ceremonies.export()))

    def sign(self, request: Request) -> Response:
        """As it comes back."""
        return decode_response(encode(self.offline.answer(request, self.site.now)))

    def receive(self, response: Response, events: list[Event] | None = None) -> Received:
        return self.site.open().ceremonies.receive(response, ([] if events is None else events).append)

    def round(self) -> Received:
        """Export, sign, import."""
        return self.receive(self.sign(self.export()))


def two_machines(folder: Path) -> Two:
    root, vault = folder / "online", folder / "offline"
    root.mkdir()
    vault.mkdir(mode=0o700)
    quick_keystore(root)
    quick_key_file(vault / "keys.db")
    return Two(Site(root).write(PORTAL, base=TEXT), vault)


def inventory(two: Two) -> dict[str, str]:
    return {f"{one.address}@{one.generation} {one.serial}": one.status for one in two.site.open().inventory(Want())}


def statuses(two: Two) -> list[str]:
    return sorted(f"{key.split()[0]} {status}" for key, status in inventory(two).items())


def waiting(two: Two) -> dict[str, str]:
    return {str(one.address): one.waits for one in two.site.plan().changes if one.readiness is Readiness.WAITING}
