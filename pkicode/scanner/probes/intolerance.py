"""Intolerance: hellos that a server has to bear and some do not: GREASE (RFC 8701), a version of the future, length."""

from attrs import evolve

from pkicode.scanner.finding import Finding, Grade
from pkicode.scanner.peeling import together
from pkicode.scanner.session import Known, Session
from pkicode.tls.groups import X25519
from pkicode.tls.hello import SUPPORTED_GROUPS, SUPPORTED_VERSIONS, TLS12, TLS13, ClientHello, numbers

_GREASE = (0x0A0A, 0x1A1A, 0x2A2A, 0x3A3A, 0x4A4A)


async def ask(session: Session) -> None:
    """What the target took plainly, strangely."""
    known = session.known
    newest = max(known.answers, default=0)
    if newest < TLS12:
        return
    asked = {"GREASE": _greased(session, newest)}
    if TLS12 in known.answers:
        suites = [answer.number for answer in known.answers[TLS12]]
        asked["version"] = evolve(session.hello([TLS12], suites), version=TLS13)
    heard = await together([session.greet(hello) for hello in asked.values()])
    known.strange = dict(zip(asked, heard, strict=True))


def _greased(session: Session, version: int) -> ClientHello:
    known = session.known
    suites = [answer.number for answer in known.answers[version]]
    groups = known.groups.get(version) or (X25519, 23, 24)
    plain = session.hello([version], (_GREASE[0], *suites), (_GREASE[1], *groups))
    versions = ((SUPPORTED_VERSIONS, numbers(1, (_GREASE[2], version))),) if version == TLS13 else ()
    return plain.with_extensions(
        (_GREASE[3], b""), (SUPPORTED_GROUPS, numbers(2, (_GREASE[1], *groups))), *versions, (_GREASE[4], b"\0")
    )


def judge(known: Known) -> list[Finding]:
    """A warning each: it keeps others from making TLS better."""
    short = ["long hellos"] if known.short_only else []
    if not known.strange and not short:
        return [Finding("TLSHandshake", "Intolerance", Grade.SKIPPED, "", "It does not speak TLS 1.2 or 1.3.")]
    refused = [name for name, heard in known.strange.items() if not (heard.value and heard.value.hello)]
    silent = [name for name in refused if known.strange[name].value is None and known.strange[name].how != "eof"]
    if short or len(refused) > len(silent):
        value = " ".join(short + [name for name in refused if name not in silent])
        detail = f"It refuses what it has to ignore: {value}; update the TLS library or the box before it."
        return [Finding("TLSHandshake", "Intolerance", Grade.WARNING, value, detail)]
    if silent:
        detail = f"It answered plain hellos, and did not answer these: {' '.join(silent)}."
        return [Finding("TLSHandshake", "Intolerance", Grade.UNKNOWN, " ".join(silent), detail)]
    return [Finding("TLSHandshake", "Intolerance", Grade.GOOD, "", "It ignores what it does not know.")]
