"""One instant of a PKI that has CRLs and OCSP, and what clients ought to be told of its certificates."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from attrs import evolve, frozen

from pkicode.ports import Want
from pkicode.x509 import pem
from tests.kinds.site import Site
from tests.server.running import Server, serving

MORE = "\n# --- what the test adds ---\n"


@frozen
class Asked:
    """A certificate that a CA signed."""

    name: str
    """A leaf's DNS name, or that of a CA."""
    issuer: str
    """As its files are called: issuing-g1."""
    word: str
    """`good` or `revoked`."""
    file: Path
    chain: Path | None = None
    """A leaf's, as a web server has it."""
    key: Path | None = None


@frozen
class Moment:
    """What is published at an instant, and the state it came from."""

    root: Path
    asked: Sequence[Asked]
    ended: Sequence[Asked] = ()
    """Certificates that nobody answers for any more."""
    now: int | None = None
    """What servers and clients take for the present; None is the machine's clock."""

    @property
    def clock(self) -> int | None:
        """For clients: the second after."""
        return None if self.now is None else self.now + 1

    @property
    def leaves(self) -> Sequence[Asked]:
        return [one for one in self.asked if one.key]

    @property
    def issuers(self) -> Sequence[str]:
        return sorted({one.issuer for one in self.asked})

    @property
    def trust(self) -> Path:
        return self.root / "public/bundle/trust.pem"

    def issuer(self, name: str) -> Path:
        return self.root / f"public/ca/{name}.pem"

    def crls(self) -> Sequence[bytes]:
        return [path.read_bytes() for path in sorted((self.root / "public/crl").glob("*.crl"))]

    @contextmanager
    def responder(self, source: str) -> Iterator[Server]:
        """`pkicode serve ocsp` from every published `pack`, or from the `state`."""
        packs = [f"--pack={one}" for one in sorted((self.root / "public/ocsp").glob("*.pack"))]
        now = "" if self.now is None else datetime.fromtimestamp(self.now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        with serving(self.root, *(packs if source == "pack" else []), now=now) as server:
            yield server


def apply(site: Site, more: str = "", *, allow: Mapping[str, str] | None = None) -> None:
    """Apply the site's text with `more` at its end."""
    site.write(more, base=site.text.partition(MORE)[0] + MORE)
    done = site.apply(allow=allow or {})
    assert done.exit_code == 0, done.problems


def keep(site: Site, address: str) -> Asked:
    """The newest certificate of an address, as good; its files stay as they are."""
    newest = site.open().inventory(Want(address=address))[-1]
    stem = site.root / f"kept/{address}-{newest.generation}"
    stem.parent.mkdir(exist_ok=True)
    file, chain, key = (stem.with_name(f"{stem.name}{end}") for end in (".pem", "-chain.pem", ".key"))
    file.write_bytes(pem.encode("CERTIFICATE", newest.der))
    issuer = f"{newest.ca}-g{newest.ca_generation}"
    if address.startswith("ca."):
        return Asked(address, issuer, "good", file)
    exported = site.open().export(address, with_key=True)
    assert exported.key_pkcs8
    chain.write_bytes(exported.chain_pem)
    key.write_bytes(pem.encode("PRIVATE KEY", exported.key_pkcs8))
    name = json.loads(newest.sans)[0].partition(":")[2]
    return Asked(name, issuer, "good", file, chain, key)


def revoked(*asked: Asked) -> list[Asked]:
    """The same, as they ought to be after that."""
    return [evolve(one, word="revoked") for one in asked]


def moment(
    site: Site, folder: Path, asked: Sequence[Asked], ended: Sequence[Asked] = (), *, real: bool = False
) -> Moment:
    """A copy of everything as it is now, for good; `real`: now is the machine's."""
    shutil.copytree(site.root, folder)
    return Moment(folder, asked, ended, None if real else site.now)
