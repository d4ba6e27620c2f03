"""ClientRenegotiation: whether a client may have handshakes calculated again and again on one connection.

That a renegotiation is bound to its connection (RFC 5746) is told by extensions.py.
"""

from pkicode.scanner.finding import Finding, Grade
from pkicode.scanner.session import Known, Session
from pkicode.tls.client12 import SUITES, renegotiate
from pkicode.tls.client13 import GROUPS
from pkicode.tls.hello import SSL3, TLS12, TLS13


async def ask(session: Session) -> None:
    """With a suite that it takes, and that a handshake can be finished with here."""
    suites = _finishable(session.known)
    if suites:
        taken = session.known.groups.get(TLS12, ())
        groups = [one for one in GROUPS if one in taken] or GROUPS
        first, again = (session.hello([TLS12], suites, groups) for _ in range(2))
        session.known.renegotiated = await session.ask(renegotiate(first, again, session.entropy))


def _finishable(known: Known) -> list[int]:
    return [answer.number for answer in known.answers.get(TLS12, ()) if answer.number in SUITES]


def judge(known: Known) -> list[Finding]:
    """Taking part is a warning: it costs the server much, and the client nothing."""
    heard = known.renegotiated
    if heard is None:
        if any(SSL3 <= version < TLS13 for version in known.versions()):
            detail = "Asking takes a handshake with ECDHE and AES-GCM or ChaCha20, which it does not take in TLS 1.2."
        else:
            detail = "TLS 1.3 does not renegotiate."
        return [_finding(Grade.SKIPPED, "", detail)]
    if heard.value is None:
        return [_finding(Grade.UNKNOWN, "", f"No handshake came to its end: {heard.why or heard.how}.")]
    if heard.value == "accepted":
        detail = "One client can keep it calculating (CVE-2011-1473): refuse renegotiation that a client begins."
        return [_finding(Grade.WARNING, "yes", detail)]
    return [_finding(Grade.GOOD, "no", "A client cannot renegotiate.")]


def _finding(grade: Grade, value: str, detail: str) -> Finding:
    return Finding("TLSSession", "ClientRenegotiation", grade, value, detail)
