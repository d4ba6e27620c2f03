"""The disk of the PostgreSQL server runs full within an apply: nothing is lost, and with room the next ends it."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from attrs import frozen

from pkicode.adapters import loop
from pkicode.adapters.sql import NewState
from pkicode.config.state_url import server
from pkicode.model.faults import FaultPoint
from pkicode.model.problem import StateError
from pkicode.ports import Want
from tests.faults import corp
from tests.kinds.site import NOW, Site
from tests.postgres import NOBODY, Postgres
from tests.quick import quick_keystore
from tests.state.postgres import made

_MEGABYTES = 24
_NAMES = ", ".join(f'"h{number:03}"' for number in range(600))
FLEET = f"""
[cert.fleet]
profile = "server"
for_each = {{ values = [{_NAMES}] }}
dns = ["${{each.value}}.corp.example"]
"""


@frozen
class Disk:
    """A small file system with a tablespace on it."""

    folder: Path

    def fill(self) -> None:
        """Leave no block free."""
        with (self.folder / "filler").open("ab", buffering=0) as filler:
            try:
                while filler.write(b"\0" * 4096):
                    pass
            except OSError:
                return

    def free(self) -> None:
        (self.folder / "filler").unlink()


@pytest.fixture
def disk() -> Iterator[Disk]:
    with TemporaryDirectory(prefix="pkicode-disk-") as name:
        folder = Path(name)
        command = ["mount", "-t", "tmpfs", "-o", f"size={_MEGABYTES}m,uid={NOBODY},mode=0700", "none", name]
        if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("a small file system can only be mounted by root")
        try:
            (folder / "space").mkdir()
            os.chown(folder / "space", NOBODY, NOBODY)
            yield Disk(folder)
        finally:
            subprocess.run(["umount", "--lazy", name], check=True)


@pytest.fixture
def full(disk: Disk, postgres: Postgres, quick_path: Path) -> Iterator[Site]:
    """A fleet that is to be applied into a database on that disk."""
    quick_keystore(quick_path)
    name = f"small{os.getpid()}"
    postgres.sql(f"CREATE TABLESPACE {name} LOCATION '{disk.folder / 'space'}'")
    postgres.sql(f"CREATE DATABASE {name} TABLESPACE {name}")
    place = postgres.url(name)
    loop.run(made(server(place), NewState("site", "default", "5f0c2a", NOW)))
    site = Site(quick_path, state=place).write(base=corp.BASE)
    assert site.apply().exit_code == 0
    yield site.write(FLEET, base=corp.BASE)
    postgres.sql(f"DROP DATABASE {name} WITH (FORCE)")
    postgres.sql(f"DROP TABLESPACE {name}")


@pytest.mark.invariant(11)
@pytest.mark.parametrize("point", [FaultPoint.KEYS_MADE, FaultPoint.SIGNED, FaultPoint.ISSUED])
def test_a_full_disk_of_the_server_stops_an_apply_and_loses_nothing(full: Site, disk: Disk, point: FaultPoint) -> None:
    def reach(there: FaultPoint) -> None:
        if there is point:
            disk.fill()

    with pytest.raises(StateError, match=r"the disk of the state .* is full; nothing was written") as caught:
        corp.opened(full, reach).apply()
    assert "make room" in caught.value.help
    signed = corp.journal(full)

    disk.free()
    full.now += 60
    assert full.apply().exit_code == 0
    assert full.plan().changes == ()
    there = full.open().inventory(Want())
    assert {one.der for one in there} >= signed
    assert len({(one.issuer_key, one.serial) for one in there}) == len(there)
    assert sum(one.address.startswith("cert.fleet") for one in there) == 600
    assert full.open().upkeep.verify() == []
