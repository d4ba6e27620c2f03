"""What taking a suite in a version makes possible: POODLE, FREAK, DROWN, SWEET32, BEAST, LUCKY13, RC4, NULL, anonymous.

No connection is needed for them; each is a line of a table.
"""

from collections.abc import Callable

from attrs import frozen

from pkicode.scanner.finding import Finding, Grade
from pkicode.scanner.session import Known
from pkicode.tls.conversation import Answer
from pkicode.tls.hello import ENCRYPT_THEN_MAC, SSL2, SSL3, TLS10


@frozen
class _Weakness:
    check: str
    has: Callable[[Answer], bool]
    grade: Grade
    detail: str


_TABLE = (
    _Weakness(
        "POODLE",
        lambda one: one.version == SSL3 and one.suite.cbc,
        Grade.BAD,
        "SSLv3 does not check the padding of its blocks (CVE-2014-3566): switch SSLv3 off.",
    ),
    _Weakness(
        "FREAK",
        lambda one: one.suite.kx.startswith("RSA_EXPORT"),
        Grade.BAD,
        "Export suites sign RSA keys of 512 bits, which anybody breaks (CVE-2015-0204): switch them off.",
    ),
    _Weakness(
        "SWEET32",
        lambda one: one.suite.small_block and one.suite.bits > 0,
        Grade.WARNING,
        "Blocks of 64 bits repeat after some gigabytes (CVE-2016-2183): switch 3DES and its like off.",
    ),
    _Weakness(
        "BEAST",
        lambda one: one.version <= TLS10 and one.suite.cbc,
        Grade.WARNING,
        "CBC before TLS 1.1 starts each record where an attacker sees it (CVE-2011-3389): switch TLSv1.0 off.",
    ),
    _Weakness(
        "LUCKY13",
        lambda one: one.suite.cbc and not one.has(ENCRYPT_THEN_MAC),
        Grade.WARNING,
        "CBC that authenticates before it encrypts leaks by its timing (CVE-2013-0169): use AEAD suites alone.",
    ),
    _Weakness(
        "RC4",
        lambda one: "RC4" in one.suite.name,
        Grade.BAD,
        "RC4 gives its plaintext away little by little (RFC 7465): switch it off.",
    ),
    _Weakness(
        "NULL",
        lambda one: one.suite.bits == 0,
        Grade.BAD,
        "Nothing is encrypted: switch NULL suites off.",
    ),
    _Weakness(
        "anon",
        lambda one: one.suite.anonymous,
        Grade.BAD,
        "Nobody proves who he is, so anybody may stand between: switch anonymous suites off.",
    ),
)


def judge(known: Known) -> list[Finding]:
    """One finding for each line, and DROWN."""
    answers = known.all_answers()
    return [_judged(known, line, [one for one in answers if line.has(one)]) for line in _TABLE] + [_drown(known)]


def _judged(known: Known, line: _Weakness, found: list[Answer]) -> Finding:
    if found:
        value = " ".join(sorted({answer.suite.name for answer in found}))
        return Finding("Vulnerabilities", line.check, line.grade, value, line.detail)
    if not known.is_whole():
        return Finding("Vulnerabilities", line.check, Grade.UNKNOWN, "", f"Not all is known: {known.missing()}.")
    return Finding("Vulnerabilities", line.check, Grade.GOOD, "", "No suite of this kind is taken.")


def _drown(known: Known) -> Finding:
    if known.ssl2:
        detail = "SSLv2 opens recorded sessions of every server with the same key (CVE-2016-0800): switch SSLv2 off."
        return Finding("Vulnerabilities", "DROWN", Grade.BAD, "SSLv2", detail)
    if SSL2 in known.unsure:
        return Finding("Vulnerabilities", "DROWN", Grade.UNKNOWN, "", f"SSLv2: {known.unsure[SSL2]}.")
    return Finding("Vulnerabilities", "DROWN", Grade.GOOD, "", "SSLv2 is refused.")
