"""What a scan is asked for: from texts, files and pki.toml to targets, and the terms on which they are asked.

Connects to nobody.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from attrs import asdict, evolve, frozen

from pkicode.config.endpoints import endpoints
from pkicode.config.language import CertSpec, ScanPolicy, ScanSpec
from pkicode.config.reader import Config
from pkicode.model import target as texts
from pkicode.model.address import Address
from pkicode.model.problem import ConfigError, PkicodeError, Place, Problem, Span
from pkicode.model.target import Spot
from pkicode.ports import CertificateStatus, Want
from pkicode.project.state import State
from pkicode.scan.choice import Choice, choose
from pkicode.scan.target import MOST_OCTETS, Targets, targets
from pkicode.scan.trust import SYSTEM_BUNDLES, trust_store
from pkicode.x509 import pem

RATE = 500
"""Connections that are begun each second where nobody says how many."""
_WHOSE = "command line"


@frozen
class Terms:
    """What every target is asked and held to; plain enough to be sent to a worker process."""

    choice: Choice
    policy: ScanPolicy | None = None
    stores: tuple[tuple[str, bytes], ...] = ()
    """Trust stores: a name and roots in PEM."""
    rate: float = RATE
    """Connections begun each second, all targets together."""
    now: int | None = None
    """A frozen clock, epoch seconds."""
    patience: float = 5.0
    """Seconds that a connection may take to come about, and then to answer."""


@frozen
class Job:
    """One scan."""

    targets: Targets
    terms: Terms
    expect: tuple[str, ...] = ()
    """Addresses or blocks of certificates that should be served there."""

    @property
    def scan_id(self) -> str:
        """The same for the same targets, checks, policy and trust: such a scan can be resumed."""
        terms = self.terms
        policy = json.dumps(asdict(terms.policy)) if terms.policy else ""
        stores = [f"{name} {hashlib.sha256(roots).hexdigest()}" for name, roots in terms.stores]
        whole = "\n".join((self.targets.digest(), str(terms.choice), policy, *stores))
        return hashlib.sha256(whole.encode()).hexdigest()[:16]


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


def job(wanted: Wanted, config: Config | None = None, *, own: bytes = b"", now: int | None = None) -> Job:
    """The scan that is meant.

    Args:
        config: knows `cert.NAME` and `scan.NAME`; None where there is no pki.toml.
        own: `roots` of the project.
        now: a frozen clock.

    Raises:
        ConfigError: targets that are none, each told with its line.
        PkicodeError: a check, a [scan.X] or a trust store that is not there.
    """
    try:
        choice = choose(wanted.checks, family=wanted.family, scanner=wanted.scanner)
    except ValueError as error:
        raise PkicodeError(str(error)) from error
    spec = _spec(wanted.targets, config)
    given, root = _given(wanted, spec, config)
    found, problems = targets(
        [(_with(text, wanted.starttls), place) for text, place in given],
        read=lambda path: _read(root / path),
        endpoints=lambda address: _endpoints(config, address),
    )
    if problems:
        raise ConfigError(config.located(problems) if spec and config else tuple(map(_spanned, problems)))
    if not found:
        raise PkicodeError("there is nothing to scan", help="name targets: pkicode scan www.example.org 10.0.0.0/24")
    stores = (*_system(), *([("project", own)] if own else []), *map(_store, wanted.trust))
    rate = wanted.rate or (spec.rate if spec else RATE)
    terms = Terms(choice, spec.policy if spec else None, stores, rate, now)
    return Job(found, terms, spec.expect if spec else ())


async def roots(config: Config, state: State, *, now: int) -> bytes:
    """The roots of this project that are in force, PEM; nothing where nothing was issued yet."""
    found: list[bytes] = []
    async with state.reading() as store:
        for block in config.blocks if store else ():
            if store and block.kind == "ca":
                want = Want(address=f"ca.{block.name}", statuses=(CertificateStatus.ISSUED,), unexpired_at=now)
                found += await store.facts(want, ("issuer_key", "spki", "der"), _self_signed)
    return b"".join(pem.encode("CERTIFICATE", der) for der in found)


def _self_signed(facts: Iterable[Sequence[Any]]) -> list[Any]:
    return [der for issuer_key, spki, der in facts if issuer_key == spki]


def scans(config: Config) -> list[str]:
    """What pki.toml itself wants scanned, as texts: each [scan.X], then each certificate that has endpoints."""
    declared = [block for block in config.blocks if isinstance(block.spec, CertSpec) and block.spec.endpoints]
    return [*(f"scan.{one.name}" for one in config.settings.scans), *(f"cert.{block.name}" for block in declared)]


def _spec(given: Sequence[str], config: Config | None) -> ScanSpec | None:
    """The [scan.X] that is named, alone; a host may be called so too where none is declared."""
    there = {f"scan.{one.name}": one for one in config.settings.scans} if config else {}
    if not given and len(there) == 1:
        return next(iter(there.values()))
    named = [one for one in given if one in there]
    if named and len(given) > 1:
        raise PkicodeError(f"`{named[0]}` has a policy of its own", help="scan it in a run of its own")
    if not given and there:
        raise PkicodeError("several scans are declared", help=f"name one of them: {', '.join(there)}")
    return there[named[0]] if named else None


def _given(wanted: Wanted, spec: ScanSpec | None, config: Config | None) -> tuple[list[tuple[str, Place]], Path]:
    """Texts with their places, and the folder that their files are in."""
    if spec is None or config is None:
        return [(text, Place(_WHOSE)) for text in wanted.targets], wanted.folder
    place = ("scan", spec.name, "targets")
    return [(text, Place(config.path.name, (*place, at))) for at, text in enumerate(spec.targets)], config.root


def _with(text: str, starttls: str) -> str:
    """A target that names no protocol gets this one."""
    if not starttls or text.startswith("@") or text.rpartition("/")[2] in (*texts.PORTS, "tls"):
        return text
    try:
        return f"{text}/{starttls}" if isinstance(texts.read(text), Spot) else text
    except ValueError:
        return text


def _endpoints(config: Config | None, address: Address) -> list[str]:
    if config is None:
        raise LookupError(f"`{address}` is declared in a pki.toml, and there is none here")
    return endpoints(config, address)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MOST_OCTETS + 1)


def _spanned(problem: Problem) -> Problem:
    """Where there is no pki.toml to count lines in, a file of targets has told the line itself."""
    place = problem.place
    if place is None or place.line is None:
        return problem
    return evolve(problem, span=Span(place.path, place.line, 1, place.line, 1))


def _system() -> Iterable[tuple[str, bytes]]:
    there = next((path for path in map(Path, SYSTEM_BUNDLES) if path.is_file()), None)
    return [("system", there.read_bytes())] if there else []


def _store(path: Path) -> tuple[str, bytes]:
    try:
        data = path.read_bytes()
        trust_store(path.name, data)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise PkicodeError(f"{path} is no trust store: {why}", help="give roots in a PEM file") from error
    return path.name, data
