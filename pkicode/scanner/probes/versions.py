"""Versions: which of SSLv2 to TLS 1.3 a target speaks (RFC 8996, RFC 7568 and RFC 6176 forbid those before TLS 1.2)."""

from pkicode.scanner.finding import Finding, Grade
from pkicode.scanner.peeling import together
from pkicode.scanner.session import Known, Session
from pkicode.tls.hello import NAMES, SSL3, TLS10, TLS11, TLS12
from pkicode.tls.suites import offered

_SHORT = 60


async def ask(session: Session) -> None:
    """With three connections: TLS 1.2, whatever is older than that, SSLv3."""
    await together([_ask(session, versions) for versions in ([TLS12], [TLS11, TLS10], [SSL3])])


async def _ask(session: Session, versions: list[int]) -> None:
    heard = await session.greet(session.hello(versions, offered(max(versions))[:_SHORT]))
    answer = heard.value
    if answer and answer.version in versions:
        session.known.learn(answer.version, (answer,), "")
    elif answer is None and heard.how != "eof":
        session.known.unsure[max(versions)] = heard.how


def judge(known: Known) -> list[Finding]:
    """Bad with SSL, a warning with TLS before 1.2."""
    spoken = known.versions()
    value = " ".join(NAMES[version] for version in spoken)
    if any(version <= SSL3 for version in spoken):
        grade, detail = Grade.BAD, "Switch SSLv2 and SSLv3 off: whoever listens can read what is sent with them."
    elif any(version < TLS12 for version in spoken):
        grade, detail = Grade.WARNING, "Switch TLSv1.0 and TLSv1.1 off: no client of the last ten years needs them."
    elif not spoken or known.unsure:
        grade, detail = Grade.UNKNOWN, f"Not all is known: {known.missing() or 'it took no version'}."
    else:
        grade, detail = Grade.GOOD, "Only versions that are still recommended."
    return [Finding("TLSHandshake", "Versions", grade, value, detail)]
