"""What is asked of targets: quick, deep, or checks by name; the families and scanners of CFSSL are names too."""

from collections.abc import Iterable
from functools import cache

from attrs import frozen

from pkicode.scanner.finding import Finding
from pkicode.scanner.registry import BY_NAME, DEEP, QUICK, Probe
from pkicode.scanner.session import Known

_GREETED: dict[str, tuple[str, ...]] = {
    "Connectivity": ("DNSLookup", "TCPDial", "TLSDial"),
    "PKI": (
        "Certificates", "ChainExpiration", "ChainValidation", "ChainOrder", "HostName", "Keys", "Signatures",
        "MultipleCerts", "Staple", "SCTs", "OCSP", "CRL",
    ),
}  # fmt: skip
"""Checks that no probe makes."""
_POLICY = ("MinVersion", "ForbiddenSuites")
_ALIASES = {"certsbyciphers": "CertsBySigAlgs", "intermediatecas": "ChainOrder"}
"""Scanners of CFSSL whose check has another name here."""
_BASE = {"suites", "certificates"}
"""Without what these learn hardly anybody knows what to ask."""
_ALL = (*DEEP, *BY_NAME)


@frozen
class Choice:
    """What is asked, and which findings are told."""

    probes: tuple[str, ...]
    """Names of lines of the registry."""
    quick: bool = False
    keeps: frozenset[str] = frozenset()
    """Checks; empty: all."""

    @property
    def is_whole(self) -> bool:
        """Whether enough is asked for a letter."""
        return not self.quick and not self.keeps

    @property
    def lines(self) -> tuple[Probe, ...]:
        """The probes."""
        return tuple(one for one in (*(QUICK if self.quick else DEEP), *BY_NAME) if one.name in self.probes)

    def kept(self, findings: Iterable[Finding]) -> tuple[Finding, ...]:
        """Those that were asked for."""
        return tuple(one for one in findings if not self.keeps or one.check in self.keeps)

    def __str__(self) -> str:
        return f"{'quick' if self.quick else 'deep'} {' '.join(self.probes)} {' '.join(sorted(self.keeps))}"


def choose(checks: str = "deep", *, family: str = "", scanner: str = "") -> Choice:
    """What texts mean.

    Args:
        checks: `quick`, `deep`, or names with commas between them: of probes, of checks, of families.
        family: one family; only its checks are told.
        scanner: one check, by our name or CFSSL's.

    Raises:
        ValueError: a name that nobody knows, in a sentence with those there are.
    """
    depth = checks.strip().lower()
    names = [one for one in checks.split(",") if one.strip()] if depth not in ("quick", "deep") else []
    wanted = [_meant(one) for one in names]
    wanted += [_meant(one) for one in (family, scanner) if one]
    if not wanted:
        quick = depth == "quick"
        return Choice(tuple(one.name for one in (QUICK if quick else DEEP)), quick=quick)
    keeps = frozenset.intersection(*wanted) if not names else frozenset().union(*wanted)
    if not keeps:
        raise ValueError(f"`{scanner}` is no check of the family `{family}`")
    needed = {one.name for one in _ALL if made()[one.name] & keeps}
    if depth == "quick":
        named = (one.name for one in BY_NAME if one.name in needed)
        return Choice((*(one.name for one in QUICK), *named), quick=True, keeps=keeps)
    alone = {*_GREETED["Connectivity"], *(check for one in BY_NAME for check in made()[one.name])}
    needed |= set() if keeps <= alone else _BASE
    return Choice(tuple(one.name for one in _ALL if one.name in needed), keeps=keeps)


def _meant(text: str) -> frozenset[str]:
    """The checks of one name."""
    name = text.strip().lower()
    found = {_ALIASES.get(name, "")} - {""}
    for check, family in _known().items():
        if name in (check.lower(), family.lower()):
            found.add(check)
    found |= {check for probe, checks in made().items() if probe == name for check in checks}
    if not found:
        there = ", ".join(sorted({*_known(), *_known().values()}, key=str.lower))
        raise ValueError(f"`{text}` is no check; there are quick, deep, {there}")
    return frozenset(found)


@cache
def made() -> dict[str, frozenset[str]]:
    """The checks of each probe, as it tells them of somebody of whom nothing is known."""
    return {one.name: frozenset(found.check for found in one.judge(Known())) for one in _ALL}


@cache
def _known() -> dict[str, str]:
    """Check -> its family."""
    probed = {found.check: found.family for one in _ALL for found in one.judge(Known())}
    greeted = {check: family for family, checks in _GREETED.items() for check in checks}
    return {**greeted, **probed, **dict.fromkeys(_POLICY, "TLSHandshake")}
