"""A small PKI in a folder, with a clock that is set: what tests of plan and apply stand on."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import define

from pkicode.model.change import Change, Plan
from pkicode.model.event import Event
from pkicode.model.instants import DAY
from pkicode.project import Project, open_project
from pkicode.project.applied import Applied
from tests.oracles import assert_verifies

NOW = 1_795_424_400  # 2026-11-23T09:00:00Z

BASE = """
version = 1
[project]
name = "site"
[keystore.main]
type = "file"
passphrase = { file = ".pkicode/passphrase", create = true }
[publish.web]
url = "public"
base_url = "http://pki.corp.example"
[ca.root]
subject = { cn = "Site Root", o = "Site" }
validity = "10y"
path_len = 1
publish = ["web"]
[ca.issuing]
issuer = "root"
subject = { cn = "Site Issuing", o = "Site" }
validity = "5y"
path_len = 0
name_constraints = { permit_dns = ["corp.example"] }
publish = ["web"]
[profile.server]
issuer = "issuing"
eku = ["serverAuth"]
"""


@define
class Site:
    """One folder with a pki.toml."""

    root: Path
    text: str = BASE
    now: int = NOW
    state: str = ""
    """[state] url, where it is not the file in the folder."""

    def write(self, more: str = "", *, base: str | None = None) -> "Site":
        """pki.toml = base + more."""
        self.text = (BASE if base is None else base) + more
        if self.state:
            url = f'[state]\nurl = "{self.state}"\n'
            self.text = self.text.replace("[state]\n", url) if "[state]\n" in self.text else self.text + url
        (self.root / "pki.toml").write_text(self.text)
        return self

    def open(self, *, env: str | None = None, environ: Mapping[str, str] | None = None) -> Project:
        return open_project(self.root / "pki.toml", env=env, environ=environ or {}, now=self.now)

    def plan(self, **options: object) -> Plan:
        return self.open().plan(**options)  # type: ignore[arg-type]

    def apply(self, **options: object) -> Applied:
        return self.open().apply(emit=self.events.append, **options)

    @property
    def events(self) -> list[Event]:
        return []

    def later(self, days: float) -> "Site":
        self.now += int(days * DAY)
        return self

    def chain(self, address: str) -> bytes:
        return self.open().export(address).chain_pem

    def crls(self) -> Sequence[bytes]:
        return [path.read_bytes() for path in sorted((self.root / "public/crl").glob("*.crl"))]

    def verify(self, address: str) -> None:
        """OpenSSL accepts the certificate with the published bundle and CRLs, at this site's clock."""
        root = (self.root / "public/bundle/trust.pem").read_bytes()
        pems = [b"-----BEGIN" + one for one in self.chain(address).split(b"-----BEGIN")[1:]]
        assert_verifies(pems[0], chain=pems[1:], root=root, crls=self.crls(), at=self.now)


def told(changes: Sequence[Change]) -> list[str]:
    """`issue cert.portal@1 new` for each change."""
    return [f"{one.action} {one.address.at(one.generation)} {one.reasons[0].code}" for one in changes]


def certificates(plan: Plan) -> list[str]:
    """The changes that concern certificates."""
    return [one for one in told(plan.changes) if " cert." in one or " ca." in one]
