"""A PKI whose state is put back, by hand, to what it was before the last certificates were signed."""

import shutil
from pathlib import Path

from attrs import frozen

from pkicode.ports import Certificate, Want
from tests.kinds.site import Site

PORTAL = '[cert.portal]\nprofile = "server"\ndns = ["portal.corp.example"]\n'
NEW = '[cert.new]\nprofile = "server"\ndns = ["new.corp.example"]\n'
STATE, KEYS = ("state.db",), ("state.db", "keys.db")


def fleet(count: int) -> str:
    values = ", ".join(f'"h{number}"' for number in range(count))
    return (
        f'[cert.fleet]\nprofile = "server"\nfor_each = {{ values = [{values}] }}\n'
        'dns = ["${each.value}.corp.example"]\n'
    )


@frozen
class Older:
    """Copies of a folder's files, to be put back by hand."""

    site: Site
    kept: Path

    def put_back(self, *names: str) -> None:
        for path in (self.site.root / ".pkicode").glob("*.db-*"):
            path.unlink()
        for path in [path for name in names for path in self.kept.glob(f"{name}*")]:  # with its log, where it has one
            shutil.copy2(path, self.site.root / ".pkicode" / path.name)


def copied(site: Site) -> Older:
    shutil.copytree(site.root / ".pkicode", kept := site.root / "kept")
    return Older(site, kept)


def inventory(site: Site, address: str | None = None) -> list[Certificate]:
    return list(site.open().inventory(Want(address=address)))


def warned(site: Site) -> list[str]:
    return [one.code for one in site.plan().problems]


def serial_of(site: Site, address: str, generation: int = 1) -> str:
    return next(one.serial for one in inventory(site, address) if one.generation == generation)
