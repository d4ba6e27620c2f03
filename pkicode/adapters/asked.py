"""What a scan is asked for: from texts and files to targets, and to the terms on which they are asked.

Connects to nobody.  What a pki.toml declares comes from project/asked.py.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from pkicode.model import target as texts
from pkicode.model.address import Address
from pkicode.model.problem import ConfigError, PkicodeError, Place, Problem, Span
from pkicode.model.target import Spot
from pkicode.scanner.choice import Choice, choose
from pkicode.scanner.target import MOST_OCTETS, Lookup, targets
from pkicode.scanner.terms import RATE, Job, Terms
from pkicode.scanner.trust import SYSTEM_BUNDLES, trust_store

if TYPE_CHECKING:
    from pkicode.config.scans import ScanSpec

_WHOSE = "command line"


@frozen
class Wanted:
    """What a face was told: the texts, and what else was said."""

    targets: Sequence[str] = ()
    checks: str = "deep"
    family: str = ""
    scanner: str = ""
    starttls: str = ""
    """For targets that name no protocol of their own."""
    rate: float | None = None
    trust: Sequence[Path] = ()
    """PEM files of roots, besides those of the system."""
    folder: Path = Path()
    """What `@file` is relative to."""
    revocation: bool = False
    """Ask whom the certificates name if they are revoked."""
    allow_private: bool = False
    """Also where they are at private addresses."""


@frozen
class Declared:
    """What a pki.toml has to say to a scan."""

    endpoints: Lookup
    """Of `cert.NAME`."""
    located: Callable[[Iterable[Problem]], tuple[Problem, ...]]
    path: Path
    """Of the file; its `@files` are relative to its folder."""
    roots: bytes = b""
    """Its own, PEM."""
    specs: "tuple[ScanSpec, ...]" = ()
    """The [scan.X] that are meant, whose targets come instead of texts."""


def jobs(wanted: Wanted, declared: Declared | None = None, *, now: int | None = None) -> tuple[Job, ...]:
    """The scans that are meant: one for each [scan.X], on its terms; or one of the texts.

    Args:
        declared: None where there is no pki.toml.
        now: a frozen clock.

    Raises:
        ConfigError: targets that are none, each told with its line.
        PkicodeError: a check or a trust store that is not there, or a rate that is none.
    """
    try:
        choice = choose(wanted.checks, family=wanted.family, scanner=wanted.scanner)
    except ValueError as error:
        raise PkicodeError(str(error)) from error
    if wanted.rate is not None and not wanted.rate >= 1:
        raise PkicodeError(f"a rate of {wanted.rate} is none", help="connections begun each second: 1 or more")
    specs = declared.specs if declared else ()
    return tuple(_job(wanted, choice, declared, spec, now) for spec in specs or (None,))


def _job(wanted: Wanted, choice: Choice, declared: Declared | None, spec: "ScanSpec | None", now: int | None) -> Job:
    given, folder = _given(wanted, declared, spec)
    found, problems = targets(
        [(_with(text, wanted.starttls), place) for text, place in given],
        read=lambda path: _read(folder / path),
        endpoints=declared.endpoints if declared else _undeclared,
    )
    if problems:
        raise ConfigError(declared.located(problems) if spec and declared else tuple(map(_spanned, problems)))
    if not found:
        raise PkicodeError("there is nothing to scan", help="name targets: pkicode scan www.example.org 10.0.0.0/24")
    own = declared.roots if declared else b""
    system = next((path for path in map(Path, SYSTEM_BUNDLES) if path.is_file()), None)
    stores = (
        *([_store("system", system)] if system else []),
        *([("project", own)] if own else []),
        *(_store(path.name, path) for path in wanted.trust),
    )
    rate = wanted.rate or (spec.rate if spec else RATE)
    terms = Terms(
        choice,
        spec.policy if spec else None,
        stores,
        rate,
        now,
        revocation=wanted.revocation or (spec is not None and spec.revocation),
        allow_private=wanted.allow_private or (spec is not None and spec.allow_private),
        scan=spec.name if spec else "",
    )
    return Job(found, terms, spec.expect if spec else ())


def _given(wanted: Wanted, declared: Declared | None, spec: "ScanSpec | None") -> tuple[list[tuple[str, Place]], Path]:
    """Texts with their places, and the folder that their files are in."""
    if declared is None or spec is None:
        return [(text, Place(_WHOSE)) for text in wanted.targets], wanted.folder
    place, name = ("scan", spec.name, "targets"), declared.path.name
    return [(text, Place(name, (*place, at))) for at, text in enumerate(spec.targets)], declared.path.parent


def _with(text: str, starttls: str) -> str:
    """A target that names no protocol gets this one."""
    if not starttls or text.startswith("@") or text.rpartition("/")[2] in (*texts.PORTS, "tls"):
        return text
    try:
        return f"{text}/{starttls}" if isinstance(texts.read(text), Spot) else text
    except ValueError:
        return text


def _undeclared(address: Address) -> Sequence[str]:
    raise LookupError(f"`{address}` is declared in a pki.toml, and there is none here")


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MOST_OCTETS + 1)


def _spanned(problem: Problem) -> Problem:
    """Where there is no pki.toml to count lines in, a file of targets has told the line itself."""
    place = problem.place
    if place is None or place.line is None:
        return problem
    return evolve(problem, span=Span(place.path, place.line, 1, place.line, 1))


def _store(name: str, path: Path) -> tuple[str, bytes]:
    try:
        data = _read(path)
        if len(data) > MOST_OCTETS:
            raise ValueError(f"it has more than {MOST_OCTETS:,} octets")
        trust_store(name, data)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise PkicodeError(f"{path} is no trust store: {why}", help="give roots in a PEM file") from error
    return name, data
