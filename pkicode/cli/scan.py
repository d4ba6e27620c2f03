"""pkicode scan and pkicode drift: what is served over the network, and whether it is what was issued."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from attrs import asdict, frozen

from pkicode.cli.options import formats, gathering
from pkicode.cli.session import Session, frozen_clock, say, say_json
from pkicode.model.counted import counted
from pkicode.model.extras import framed
from pkicode.model.problem import ConfigError, PkicodeError
from pkicode.model.target import PORTS

if TYPE_CHECKING:
    from pkicode.adapters.asked import Wanted
    from pkicode.model.event import Event
    from pkicode.scanner.tables import Rows
    from pkicode.scanner.terms import Job

FAILED, DRIFTED = 3, 2
_FAILS = {"bad": ("Bad",), "warning": ("Bad", "Warning")}
_SHOWN = ("drift", "address", "generation", "sha256", "not_after", "subject", "targets")


@frozen
class _What:
    """What is asked, and who is trusted: what a `Wanted` has besides its targets."""

    checks: str
    family: str
    scanner: str
    rate: int | None
    trust: tuple[Path, ...]
    starttls: str | None
    revocation: bool
    allow_private: bool

    def of(self, targets: tuple[str, ...], session: Session) -> "Wanted":
        from pkicode.adapters.asked import Wanted

        roots = [session.path(one) for one in self.trust]
        said = {**asdict(self), "trust": roots, "starttls": self.starttls or ""}
        return Wanted(targets, folder=session.folder, **said)


@frozen
class _Engine:
    """Who asks."""

    jobs: int | None
    engine: str
    scheduler: str | None

    def how(self) -> dict[str, Any]:
        from pkicode.adapters.engine import engine

        if (self.engine == "dask") is not bool(self.scheduler):
            raise click.UsageError("--engine dask and --scheduler ADDRESS go together")
        return {"processes": self.jobs, "ask": engine(self.engine, self.scheduler)}


_FILE = click.Path(path_type=Path)
_COUNT = click.IntRange(min=1)
_ENGINES = click.Choice(["local", "dask"])


@click.command("scan")
@click.argument("targets", metavar="TARGET...", nargs=-1)
@gathering(
    _What,
    "what",
    click.option(
        "--checks", metavar="WHICH", default="deep", show_default=True, help="quick, deep, or names: ROBOT,PKI."
    ),
    click.option("--family", metavar="F", default="", help="Only this family; CFSSL's names do too."),
    click.option("--scanner", metavar="S", default="", help="Only this check; CFSSL's names do too."),
    click.option("--rate", metavar="N", type=_COUNT, help="Connections begun each second, at most."),
    click.option("--trust", metavar="FILE", multiple=True, type=_FILE, help="Roots (PEM) besides the system's."),
    click.option("--starttls", type=click.Choice(list(PORTS)), help="For targets that name no protocol."),
    click.option(
        "--revocation", is_flag=True, help="Ask the CRLs and responders that certificates name: third parties."
    ),
    click.option("--allow-private", is_flag=True, help="Ask them at private addresses too."),
)
@gathering(
    _Engine,
    "by",
    click.option("--jobs", metavar="N", type=_COUNT, help="Processes, or parts that dask does at once."),
    click.option(
        "--engine",
        type=click.Choice(["local", "dask"]),
        default="local",
        show_default=True,
        help="Who asks the targets.",
    ),
    click.option("--scheduler", metavar="ADDRESS", help="Of dask, as in tls://10.0.0.5:8786."),
)
@click.option("-o", "--output", metavar="DIR", type=_FILE, help="Parquet parts; resumes there.")
@click.option("--fail-on", type=click.Choice(list(_FAILS)), help="Exit 3 when a finding is that bad.")
@formats("table", "json", "csv", "parquet")
@click.pass_obj
def scan_command(
    session: Session,
    *,
    targets: tuple[str, ...],
    what: _What,
    by: _Engine,
    output: Path | None,
    fail_on: str | None,
    form: str,
) -> int:
    """Look at how hosts speak TLS and what they serve.  Needs no pki.toml.

    TARGET is a host, host:port, [address]:port, a network, any of them with /smtp or another protocol behind it, @file
    (lines, or CSV with a column host), cert.NAME for its endpoints; or a declared scan.NAME, or several; without any,
    all that are declared.
    """
    from pkicode.cli.progress import progress
    from pkicode.scanner.terms import scan_id
    from pkicode.views import scan as views

    if form == "parquet" and output is None:
        raise click.UsageError("--format parquet is written into a folder: give -o DIR")
    how = by.how()
    meant = _meant(session, what.of(targets, session))
    with progress(session) as emit:
        # Of a folder that is only filled nothing has to fit into memory.
        shown = form != "parquet" or fail_on is not None
        rows = _rows(meant, None if output is None else session.path(output), emit, how, shown=shown)
    if form == "json":
        say_json(views.document(rows, scan_id(job.scan_id for job in meant)))
    elif form == "csv":
        say(views.csv(rows))
    elif form == "table":
        say(views.human(rows))
    return FAILED if fail_on and views.reaches(rows, _FAILS[fail_on]) else 0


def _meant(session: Session, wanted: "Wanted") -> "Sequence[Job]":
    """With the pki.toml there is, for its certificates, scans and roots; who names only hosts needs none."""
    from pkicode.adapters.asked import jobs

    needed = not wanted.targets or any(text.startswith(("cert.", "scan.")) for text in wanted.targets)
    if not (needed or session.file or _is_there(session)):
        return jobs(wanted, now=frozen_clock())
    from pkicode.adapters import loop
    from pkicode.project.asked import declared

    try:
        project = session.project()
        told = loop.run(declared(project.config, project.state, wanted.targets, now=project.clock()))
    except ConfigError:
        if needed or session.file:
            raise
        session.note("pki.toml has mistakes (pkicode validate); scanned without it")
        told = None
    return jobs(wanted, told, now=frozen_clock())


def _is_there(session: Session) -> bool:
    try:
        session.config_path()
    except PkicodeError:
        return False
    return True


def _rows(
    meant: "Sequence[Job]", folder: Path | None, emit: Callable[["Event"], None], how: dict[str, Any], *, shown: bool
) -> "Rows":
    from pkicode.adapters import loop

    if folder is None:
        from pkicode.adapters.scanning import crew, each, here
        from pkicode.scanner.tables import rows

        if len(meant) == 1 and how["ask"] is here:
            how["processes"] = workers = crew(meant[0], how["processes"])
            workers.fork()
        return rows(loop.run(each(meant, emit=emit, **how)))
    with framed():
        from pkicode.frames.parts import joined
        from pkicode.frames.running import all_into_folder
        from pkicode.frames.scan import table_rows
    parts = loop.run(all_into_folder(meant, folder, emit=emit, **how))
    return table_rows(joined(parts)) if shown else {}


@click.command("drift")
@click.argument("names", metavar="[scan.NAME|cert.NAME]...", nargs=-1)
@click.option("-e", "--detailed-exitcode", "detailed", is_flag=True, help="Exit 2 when there is drift.")
@click.option("--rate", metavar="N", type=click.IntRange(min=1), help="Connections begun each second, at most.")
@formats("table", "json", "csv")
@click.pass_obj
def drift_command(session: Session, *, names: tuple[str, ...], detailed: bool, rate: int | None, form: str) -> int:
    """Whether what is served is what was issued: every [scan.X], and every certificate that has endpoints.

    unknown: served, and none of ours; revoked: served all the same; superseded: an older generation is served;
    not-served: the newest good generation is served nowhere it should be.
    """
    from pkicode.adapters import loop
    from pkicode.cli.progress import progress
    from pkicode.project.asked import meant
    from pkicode.views.table import csv_text, table

    project = session.project()
    # Before pandas is loaded, which takes half a second.
    wanted = meant(project.config, names)
    with framed():
        from pkicode.frames.drifting import drifted, records
    with progress(session) as emit:
        found, states = loop.run(drifted(project, wanted, rate=rate, emit=emit))
    told = records(found)
    if silent := {state: count for state, count in states.items() if state != "tls"}:
        listed = ", ".join(f"{count:,} {state}" for state, count in silent.items())
        session.note(f"no TLS at {sum(silent.values()):,} of {counted(sum(states.values()), 'target')}: {listed}")
    if form == "json":
        say_json({"format": "pkicode.drift", "version": "1.0", "states": states, "drift": told})
    else:
        cells = [tuple(map(_cell, (one[name] for name in _SHOWN))) for one in told]
        say(csv_text(_SHOWN, cells) if form == "csv" else table(_SHOWN, cells) if cells else "No drift.")
    return DRIFTED if detailed and told else 0


def _cell(value: object) -> str:
    return " ".join(value) if isinstance(value, list) else "" if value is None else str(value)
