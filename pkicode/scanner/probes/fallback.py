"""FallbackSCSV: whether a client that was made to ask for less is told so (RFC 7507)."""

from pkicode.scanner.finding import Finding, Grade
from pkicode.scanner.session import Known, Session
from pkicode.tls.flight import Alert
from pkicode.tls.hello import TLS13
from pkicode.tls.suites import FALLBACK_SCSV


async def ask(session: Session) -> None:
    """Ask for the second newest version, and say that it is not what was wanted."""
    known = session.known
    newer = sorted(known.answers, reverse=True)
    if len(newer) > 1 and newer[1] < TLS13:
        suites = [answer.number for answer in known.answers[newer[1]]]
        known.fallback = await session.greet(session.hello([newer[1]], [*suites, FALLBACK_SCSV]))


def judge(known: Known) -> list[Finding]:
    """A missing answer is a warning: clients stopped falling back years ago."""
    heard = known.fallback
    if heard is None:
        return [Finding("TLSHandshake", "FallbackSCSV", Grade.SKIPPED, "", "It speaks one version.")]
    if heard.value is None:
        return [Finding("TLSHandshake", "FallbackSCSV", Grade.UNKNOWN, "", f"The connection ended in a {heard.how}.")]
    if heard.value.alert and heard.value.alert.description == Alert.INAPPROPRIATE_FALLBACK:
        return [Finding("TLSHandshake", "FallbackSCSV", Grade.GOOD, "yes", "A fallback is refused (RFC 7507).")]
    detail = "A client can be talked into an older version (RFC 7507): update the TLS library."
    return [Finding("TLSHandshake", "FallbackSCSV", Grade.WARNING, "no", detail)]
