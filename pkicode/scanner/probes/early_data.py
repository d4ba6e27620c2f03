"""EarlyData: whether a client may send before the server has said anything (RFC 8446 sections 2.3 and 8)."""

from pkicode.scanner.finding import Finding, Grade
from pkicode.scanner.session import Known, Session
from pkicode.tls.client13 import GROUPS, SUITES
from pkicode.tls.hello import TLS13
from pkicode.tls.ticket13 import ticket


async def ask(session: Session) -> None:
    """Its tickets say; they come after a whole handshake."""
    if TLS13 in session.known.answers:
        alpn = () if session.target.starttls else ("h2", "http/1.1")
        session.known.early = await session.ask(
            ticket(session.hello([TLS13], SUITES, GROUPS, alpn=alpn), session.entropy)
        )


def judge(known: Known) -> list[Finding]:
    """Early data is a warning: whoever records it can send it again."""
    heard = known.early
    if heard is None:
        return [_finding(Grade.SKIPPED, "", "It does not speak TLS 1.3.")]
    if heard.value is None:
        return [_finding(Grade.UNKNOWN, "", f"No handshake came to its end: {heard.why or heard.how}.")]
    if heard.value.early:
        detail = (
            "Who records what is sent early can send it again: switch early data off (0-RTT), or be sure that nothing "
            "is done twice by it (RFC 8470)."
        )
        return [_finding(Grade.WARNING, str(heard.value.early), detail)]
    if heard.value.given or not heard.value.alert:
        return [_finding(Grade.GOOD, "no", "Nobody may send before the handshake ends.")]
    detail = f"It ends the connection of a client without a certificate (alert {heard.value.alert})."
    return [_finding(Grade.UNKNOWN, "", detail)]


def _finding(grade: Grade, value: str, detail: str) -> Finding:
    return Finding("TLSSession", "EarlyData", grade, value, detail)
