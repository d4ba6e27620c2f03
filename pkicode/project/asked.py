"""What a pki.toml says to a scan: where its certificates are served, its own scans, and its roots."""

from collections.abc import Iterable, Sequence
from typing import Any

from pkicode.adapters.asked import Declared
from pkicode.config.endpoints import endpoints
from pkicode.config.language import CertSpec
from pkicode.config.reader import Config
from pkicode.config.scans import ScanSpec
from pkicode.model.problem import PkicodeError
from pkicode.ports import CertificateStatus, Want
from pkicode.project.state import State
from pkicode.x509 import pem


async def declared(config: Config, state: State, given: Sequence[str], *, now: int) -> Declared:
    """What this pki.toml has to say to a scan of these texts; without any, every [scan.X] is meant.

    Raises:
        PkicodeError: a [scan.X] among other targets.
        StateError: the state, which has the roots, cannot be read.
    """
    return Declared(
        lambda address: endpoints(config, address),
        config.located,
        config.root / config.path.name,
        await _roots(config, state, now),
        _specs(given, config),
    )


def meant(config: Config, names: Sequence[str]) -> Sequence[str]:
    """These, or everything that is declared.

    Raises:
        PkicodeError: nothing is.
    """
    wanted = names or scans(config)
    if not wanted:
        raise PkicodeError("nothing says where certificates are served", help="add a [scan.X], or endpoints to a cert")
    return wanted


def scans(config: Config) -> list[str]:
    """What pki.toml itself wants scanned, as texts: each [scan.X], then each certificate that has endpoints."""
    served = [block for block in config.blocks if isinstance(block.spec, CertSpec) and block.spec.endpoints]
    return [*(f"scan.{one.name}" for one in config.settings.scans), *(f"cert.{block.name}" for block in served)]


def _specs(given: Sequence[str], config: Config) -> tuple[ScanSpec, ...]:
    """The [scan.X] that are named; a host may be called so too where none is declared."""
    there = {f"scan.{one.name}": one for one in config.settings.scans}
    named = [one for one in dict.fromkeys(given) if one in there] if given else list(there)
    if named and given and len(named) < len(set(given)):
        mend = "name declared scans in one run, and other targets in another"
        raise PkicodeError(f"`{named[0]}` has a policy of its own", help=mend)
    return tuple(there[one] for one in named)


async def _roots(config: Config, state: State, now: int) -> bytes:
    """Those that are in force, PEM; nothing where nothing was issued yet."""
    found: list[bytes] = []
    async with state.reading() as store:
        for block in config.blocks if store else ():
            if store and block.kind == "ca":
                want = Want(address=f"ca.{block.name}", statuses=(CertificateStatus.ISSUED,), unexpired_at=now)
                found += await store.facts(want, ("issuer_key", "spki", "der"), _self_signed)
    return b"".join(pem.encode("CERTIFICATE", der) for der in found)


def _self_signed(facts: Iterable[Sequence[Any]]) -> list[Any]:
    return [der for issuer_key, spki, der in facts if issuer_key == spki]
