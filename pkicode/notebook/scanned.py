"""`pkicode.scan`: how hosts speak TLS and what they serve, in the hands of Python.  Needs no pki.toml."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from attrs import field, frozen

from pkicode.adapters import loop
from pkicode.adapters.asked import Declared, Wanted
from pkicode.adapters.asked import jobs as meant_by
from pkicode.adapters.engine import engine as asking
from pkicode.adapters.scanning import each
from pkicode.model.extras import framed
from pkicode.notebook.told import Listener, heard, loaded, mended
from pkicode.scanner.terms import scan_id
from pkicode.views import scan as views

if TYPE_CHECKING:
    from pandas import DataFrame

    from pkicode.adapters.cluster import Cluster
    from pkicode.frames.scan import Scan
Texts = str | Sequence[str]
Files = str | PathLike[str] | Sequence[str | PathLike[str]]


class HasInventory(Protocol):
    """A Pki, which cannot be named here: it stands on this module."""

    async def ainventory(self) -> "DataFrame":
        """One row per certificate ever signed."""
        ...


def paths(files: Files) -> tuple[Path, ...]:
    """One file may come alone; a text is a sequence too, of letters."""
    return tuple(map(Path, (files,) if isinstance(files, str | PathLike) else files))


def scan(
    targets: Texts,
    *,
    checks: str = "deep",
    family: str = "",
    scanner: str = "",
    starttls: str = "",
    rate: float | None = None,
    trust: Files = (),
    revocation: bool = False,
    allow_private: bool = False,
    output: str | PathLike[str] | None = None,
    jobs: int | None = None,
    engine: str = "local",
    client: "Cluster | None" = None,
    emit: Listener | None = None,
) -> "Scanned":
    """Scan hosts; what a host does is in its rows, and never an exception.

    Args:
        targets: `www.example.org`, `host:port`, `[address]:port`, `10.20.0.0/24:443`, `mail.example.org:25/smtp`,
            `@hosts.txt`; one, or several.
        checks: `quick`, `deep`, or names of probes, checks and families with commas between them.
        family: only its checks; CFSSL's names do too.
        scanner: only this check; CFSSL's names do too.
        starttls: the protocol of targets that name none.
        rate: connections begun each second, all together; 500 if nobody says.
        trust: PEM files of roots, besides those of the system; one, or several.
        revocation: ask the CRLs and OCSP responders that certificates name; third parties learn of the scan.
        allow_private: ask them at private addresses too.
        output: a folder for Parquet parts; the same scan goes on there when it was killed, and what is there is not
            asked again, as `emit` is told: another folder for another scan.
        jobs: processes, as many as there are cores where there are many targets; of dask, parts at once.
        engine: `local`, or `dask` (with `client`).
        client: a `distributed.Client` that is no asynchronous one, or the address of a scheduler.
        emit: told of every target, from another thread; without it, warnings are logged.

    Raises:
        ConfigError: a target is none.
        PkicodeError: a check, a trust store or a folder cannot be used.
    """
    return loop.run(
        ascan(
            targets, checks=checks, family=family, scanner=scanner, starttls=starttls, rate=rate, trust=trust,
            revocation=revocation, allow_private=allow_private,
            output=output, jobs=jobs, engine=engine, client=client, emit=emit,
        )
    )  # fmt: skip


async def ascan(
    targets: Texts,
    *,
    checks: str = "deep",
    family: str = "",
    scanner: str = "",
    starttls: str = "",
    rate: float | None = None,
    trust: Files = (),
    revocation: bool = False,
    allow_private: bool = False,
    output: str | PathLike[str] | None = None,
    jobs: int | None = None,
    engine: str = "local",
    client: "Cluster | None" = None,
    emit: Listener | None = None,
) -> "Scanned":
    """See `scan`."""
    texts = (targets,) if isinstance(targets, str) else tuple(targets)
    wanted = Wanted(texts, checks, family, scanner, starttls, rate, paths(trust), Path(), revocation, allow_private)
    return await scanned(wanted, None, output=output, jobs=jobs, engine=engine, client=client, emit=emit)


async def scanned(
    wanted: Wanted,
    declared: Declared | None,
    *,
    output: str | PathLike[str] | None,
    jobs: int | None,
    engine: str,
    client: "Cluster | None",
    emit: Listener | None,
) -> "Scanned":
    """What was wanted, with what a pki.toml says to it; in a folder if there is one."""
    with mended(), framed():
        await loaded("running")
        from pkicode.frames.parts import joined
        from pkicode.frames.running import all_into_folder
        from pkicode.frames.scan import scan_tables

    hears = heard(emit)
    with mended():
        ask = asking(engine, client)
        meant = meant_by(wanted, declared)
        if output is None:
            tables = await asyncio.to_thread(scan_tables, await each(meant, emit=hears, processes=jobs, ask=ask))
        else:
            parts = await all_into_folder(meant, Path(output), emit=hears, processes=jobs, ask=ask)
            tables = await asyncio.to_thread(joined, parts)
    own = [text for text in wanted.targets if text.startswith("cert.")] if declared else []
    expect = dict.fromkeys(one for job in meant for one in job.expect)
    return Scanned(scan_id(job.scan_id for job in meant), tables, (*expect, *own))


def read_scan(folder: str | PathLike[str]) -> "Scanned":
    """What stands in a folder: a scan with `output`, of the command line with -o, or of `to_parquet`.

    Raises:
        PkicodeError: no scan stands there, or a damaged one.
    """
    with mended(), framed():
        from pkicode.frames.parts import joined, load_all

    with mended():
        parts = load_all(Path(folder))
        return Scanned(scan_id(one.manifest.scan_id for one in parts), joined(parts))


@frozen(repr=False, eq=False)
class Scanned:
    """What a scan found: seven frames, which docs/reference/frames.md describes column by column."""

    scan_id: str
    """The same for the same targets, checks, policies and trust."""
    _tables: Mapping[str, Any]
    """Arrow tables."""
    expect: tuple[str, ...] = field(default=())
    """Certificates that should be served there, where a pki.toml says so."""

    @cached_property
    def frames(self) -> "Scan":
        """All seven."""
        from pkicode.frames.scan import scan_frames

        return scan_frames(self._tables)

    @property
    def endpoints(self) -> "DataFrame":
        """One row per target."""
        return self.frames.endpoints

    @property
    def findings(self) -> "DataFrame":
        """One row per target and check."""
        return self.frames.findings

    @property
    def ciphers(self) -> "DataFrame":
        """One row per target, version and suite."""
        return self.frames.ciphers

    @property
    def groups(self) -> "DataFrame":
        """One row per target, version and key exchange group."""
        return self.frames.groups

    @property
    def certs(self) -> "DataFrame":
        """One row per certificate."""
        return self.frames.certs

    @property
    def chains(self) -> "DataFrame":
        """One row per certificate sent."""
        return self.frames.chains

    @property
    def verdicts(self) -> "DataFrame":
        """One row per chain and trust store."""
        return self.frames.verdicts

    def diff(self, other: "Scanned") -> "DataFrame":
        """What a later scan says differently: one row per thing that is not as it was."""
        from pkicode.frames.compare import diff

        return diff(self.frames, other.frames)

    def drift(self, pki: HasInventory, expect: Collection[str] | None = None) -> "DataFrame":
        """Where this scan and an inventory disagree.

        Args:
            expect: addresses or blocks of certificates that should be served; without it those that the scan was told
                to expect, and if there are none, all.
        """
        return loop.run(self.adrift(pki, expect))

    async def adrift(self, pki: HasInventory, expect: Collection[str] | None = None) -> "DataFrame":
        """See `drift`."""
        from pkicode.frames.compare import drift

        issued = await pki.ainventory()
        return await asyncio.to_thread(drift, self.frames, issued, expect=expect or self.expect or None)

    def to_parquet(self, folder: str | PathLike[str]) -> None:
        """Store it in a new folder, from which `read_scan` reads it.

        Raises:
            PkicodeError: another scan, or something else, stands there.
        """
        from pkicode.frames.parts import Manifest, begin

        with mended():
            many = max(1, len(self.endpoints))
            begun = int(self.endpoints["at"].min().timestamp()) if len(self.endpoints) else 0
            begin(Path(folder), Manifest(self.scan_id, "00", many, many, begun)).store(0, self._tables)

    def __repr__(self) -> str:
        return views.human(self._rows)

    def _repr_mimebundle_(self, **_asked: object) -> dict[str, object]:
        return dict(views.mimebundle(self._rows, self.scan_id))

    @property
    def _rows(self) -> Any:
        from pkicode.frames.scan import table_rows

        return table_rows(self._tables)
