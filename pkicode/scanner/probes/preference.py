"""Preference: whose order of suites counts, the server's or the client's."""

from pkicode.scanner.finding import Finding, Grade
from pkicode.scanner.session import Known, Session


async def ask(session: Session) -> None:
    """Offer the newest version's suites backwards."""
    known = session.known
    version = max((version for version, taken in known.answers.items() if len(taken) > 1), default=0)
    if not version:
        return
    order = [answer.number for answer in known.answers[version]]
    heard = await session.greet(session.hello([version], order[::-1]))
    if heard.value and heard.value.version == version:
        known.preference = "server" if heard.value.number == order[0] else "client"


def judge(known: Known) -> list[Finding]:
    """No grade hangs on it where all suites are good: then the client knows best which one its hardware is fast at."""
    if not any(len(taken) > 1 for taken in known.answers.values()):
        return [Finding("TLSHandshake", "Preference", Grade.SKIPPED, "", "It takes one suite, or none.")]
    if not known.preference:
        return [Finding("TLSHandshake", "Preference", Grade.UNKNOWN, "", "It did not answer to its suites backwards.")]
    return [
        Finding("TLSHandshake", "Preference", Grade.GOOD, known.preference, f"The {known.preference}'s order counts.")
    ]
