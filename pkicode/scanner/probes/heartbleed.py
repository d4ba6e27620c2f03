"""Heartbleed (CVE-2014-0160): whether a heartbeat that claims to be longer than it is brings the server's memory.

What it brings is counted and thrown away.
"""

from pkicode.scanner.finding import Finding, Grade
from pkicode.scanner.session import Heard, Known, Session
from pkicode.tls.conversation import Reading, Talk
from pkicode.tls.hello import HEARTBEAT, ClientHello
from pkicode.tls.records import ALERT, Records, record
from pkicode.tls.records import HEARTBEAT as HEARTBEAT_RECORD

CHECK = "Heartbleed"
_REQUEST = b"\1\x40\0"
"""16,384 octets are claimed, none are there (RFC 6520 section 4)."""
_CLOSE = b"\2\0"
"""A fatal close_notify: whoever was silent about the heartbeat hangs up now."""


async def ask(session: Session) -> None:
    """Only a server that speaks heartbeat is asked."""
    known = session.known
    beating = [answer for answers in known.answers.values() for answer in answers if answer.has(HEARTBEAT)]
    if beating:
        answer = beating[-1]
        heard = await session.ask(_talk(session.hello([answer.version], [answer.number]), answer.version))
        known.attacks[CHECK] = heard


def _talk(hello: ClientHello, version: int) -> Talk[str]:
    reading, records = Reading(), Records()
    data = yield hello.record()
    while not reading.feed(data):
        data = yield b""
    try:
        data = yield record(HEARTBEAT_RECORD, version, _REQUEST) + record(ALERT, version, _CLOSE)
        while True:
            kinds = [one.type for one in records.feed(data)]
            if HEARTBEAT_RECORD in kinds:
                return "vulnerable"
            if ALERT in kinds:
                return "safe"
            data = yield b""
    except (EOFError, ConnectionError):
        return "safe"


def judge(known: Known) -> list[Finding]:
    """Silence after a heartbeat is not known to be safe."""
    return [attacked(known, CHECK, "It does not speak the heartbeat protocol.", "Memory leaks: update OpenSSL today.")]


def attacked(known: Known, check: str, absent: str, mend: str) -> Finding:
    """The finding of an attack that was tried, or was not for the reason `absent`."""
    heard: Heard[str] | None = known.attacks.get(check)
    if heard is None:
        grade = Grade.GOOD if known.is_whole() else Grade.UNKNOWN
        return Finding("Vulnerabilities", check, grade, "", absent if known.is_whole() else f"{known.missing()}.")
    if heard.value == "vulnerable":
        return Finding("Vulnerabilities", check, Grade.BAD, "vulnerable", mend)
    if heard.value == "safe":
        return Finding("Vulnerabilities", check, Grade.GOOD, "", "The attack was tried, and brings nothing.")
    detail = f"The attack was tried, and the connection ended in a {heard.how or heard.value}."
    return Finding("Vulnerabilities", check, Grade.UNKNOWN, "", detail)
