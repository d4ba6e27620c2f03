"""The policy of a [scan.X]: which version is too old, which suites nobody may take.  Expiry is judged in pki.py."""

import re
from collections.abc import Iterable, Iterator

from pkicode.config.forms import SUITE_KINDS
from pkicode.config.scans import ScanPolicy
from pkicode.model.tls import VERSIONS
from pkicode.scanner.finding import Cipher, Endpoint, Finding, Grade

_KINDS = {
    "RC4": re.compile(r"_RC4_"),
    "3DES": re.compile(r"_3DES_"),
    "CBC": re.compile(r"_CBC_|_CBC$"),
    "SHA1": re.compile(r"_SHA$"),
    "MD5": re.compile(r"_MD5$"),
    "NULL": re.compile(r"_WITH_NULL_"),
    "EXPORT": re.compile(r"_EXPORT"),
    "ANON": re.compile(r"_anon_"),
    "RSA": re.compile(r"^TLS_RSA_(EXPORT_)?WITH_"),
}
"""Kinds of suites by IANA's names; those of config.forms."""


def findings(endpoint: Endpoint, policy: ScanPolicy) -> tuple[Finding, ...]:
    """What the policy says of an endpoint's versions and suites; nothing of one that speaks no TLS."""
    if not endpoint.versions:
        return ()
    return (_version(endpoint.versions, policy.min_version), _forbidden(endpoint.ciphers, policy.forbid))


def _version(versions: Iterable[str], least: str) -> Finding:
    older = [one for one in versions if VERSIONS.index(one) < VERSIONS.index(least)]
    if older:
        detail = f"The policy asks for {least} or later: switch the older ones off."
        return Finding("TLSHandshake", "MinVersion", Grade.BAD, " ".join(older), detail)
    return Finding("TLSHandshake", "MinVersion", Grade.GOOD, least, f"Nothing older than {least} is spoken.")


def _forbidden(ciphers: Iterable[Cipher], forbid: tuple[str, ...]) -> Finding:
    if not forbid:
        return Finding("TLSHandshake", "ForbiddenSuites", Grade.SKIPPED, "none", "The policy forbids no suites.")
    taken = list(dict.fromkeys(_matching(ciphers, forbid)))
    if taken:
        detail = f"The policy forbids {', '.join(forbid)}: switch these suites off."
        return Finding("TLSHandshake", "ForbiddenSuites", Grade.BAD, " ".join(taken), detail)
    return Finding("TLSHandshake", "ForbiddenSuites", Grade.GOOD, "none", f"No suite is of {', '.join(forbid)}.")


def _matching(ciphers: Iterable[Cipher], forbid: tuple[str, ...]) -> Iterator[str]:
    named = {one.upper() for one in forbid if one not in SUITE_KINDS}
    kinds = [_KINDS[one] for one in forbid if one in SUITE_KINDS]
    return (
        one.name for one in ciphers if one.name.upper() in named or any(pattern.search(one.name) for pattern in kinds)
    )
