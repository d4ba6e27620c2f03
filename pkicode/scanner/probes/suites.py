"""CipherSuite: which versions a target speaks, and each suite it takes in each of them, in its order."""

from pkicode.model.counted import counted
from pkicode.scanner.finding import Finding, Grade
from pkicode.scanner.peeling import Peeled, peel, together
from pkicode.scanner.session import Heard, Known, Session
from pkicode.tls import ssl2
from pkicode.tls.conversation import Answer
from pkicode.tls.flight import Alert
from pkicode.tls.hello import NAMES, SSL2, TLS13
from pkicode.tls.suites import offered, ssl2_suites, suite_of

_PIECE = 60
"""Suites in a hello that every server reads; some fall over one of several hundred."""


async def ask(session: Session) -> None:
    """Find every version and suite."""
    versions = tuple(version for version in NAMES if version != SSL2)
    peeled = dict(zip(versions, await together([_taken(session, version) for version in versions]), strict=True))
    if not any(peeled[version].found for version in versions if version != TLS13):
        # Nobody took the long hello: it may be the hello that they did not take.
        for version in versions[::-1]:
            if version != TLS13 and not _is_refused(peeled[version]):
                peeled[version] = await _in_pieces(session, version, peeled[version])
    first = session.known.first.value
    if first and first.version == TLS13 and not peeled[TLS13].found:
        # It speaks TLS 1.3, and not to this hello: an empty key_share is rare (RFC 8446 section 4.2.8).
        session.known.foreign_share = True
        peeled[TLS13] = await _taken(session, TLS13)
    hung_up = any(one.refusal.how == "eof" for one in peeled.values())
    tired = hung_up and (await session.greet(session.modern())).value is None
    for version, one in peeled.items():
        # Whoever hangs up at everything by now refused nothing.
        session.known.learn(version, one.found, one.how or (one.refusal.how if tired else ""))
    await _ask_ssl2(session)


def _is_refused(peeled: Peeled) -> bool:
    said = peeled.refusal.value
    return said is not None and said.alert is not None and said.alert.description == Alert.PROTOCOL_VERSION


async def _taken(session: Session, version: int, among: tuple[int, ...] = ()) -> Peeled:
    async def greet(remaining: tuple[int, ...]) -> Heard[Answer]:
        return await session.greet(session.hello([version], remaining))

    # Whoever answers in another version refuses this one.
    return await peel(
        greet, among or offered(version), lambda answer: answer.number if answer.version == version else 0
    )


async def _in_pieces(session: Session, version: int, long: Peeled) -> Peeled:
    """As `_taken`, with short hellos; the refusal is the first that is one."""
    suites = offered(version)
    found: list[int] = []
    peeled = long
    spoken = session.known.first.value.version if session.known.first.value else 0
    for start in range(0, len(suites), _PIECE):
        peeled = await _taken(session, version, suites[start : start + _PIECE])
        found += [answer.number for answer in peeled.found]
        # A version of which the usual suites are refused is only searched for others if it was spoken already.
        if peeled.how or (not found and version != spoken):
            break
    if not found:
        return peeled
    session.known.short_only = True
    ordered = await _taken(session, version, tuple(found[:_PIECE]))
    return Peeled(ordered.found, peeled.refusal if peeled.how else ordered.refusal)


async def _ask_ssl2(session: Session) -> None:
    heard = await session.ask(ssl2.converse(tuple(ssl2_suites()), session.entropy(16)))
    session.known.learnt.add(SSL2)
    if heard.value:
        session.known.ssl2 = heard.value.suites
        session.known.keep((heard.value.certificate,) if heard.value.certificate else ())
    elif heard.how in ("reset", "timeout"):
        session.known.unsure[SSL2] = heard.how


_GRADES = {"strong": Grade.GOOD, "good": Grade.GOOD, "weak": Grade.WARNING, "insecure": Grade.BAD}


def judge(known: Known) -> list[Finding]:
    """The worst suite grades them all."""
    taken = {answer.suite for answers in known.answers.values() for answer in answers}
    taken |= {suite_of(kind) for kind in known.ssl2}
    if not taken:
        return [Finding("TLSHandshake", "CipherSuite", Grade.UNKNOWN, "", "No suite is known to be taken.")]
    grade = max((_GRADES[suite.strength] for suite in taken), key=Grade.weight)
    poor = sorted(suite.name for suite in taken if _GRADES[suite.strength] == grade)
    if grade != Grade.GOOD:
        detail = f"Take these out of the configuration: {', '.join(poor)}."
    elif not known.is_whole():
        grade, detail = Grade.UNKNOWN, f"What is known is good, but {known.missing()}."
    else:
        detail = "Every suite encrypts with forward secrecy."
    return [Finding("TLSHandshake", "CipherSuite", grade, counted(len(taken), "suite"), detail)]
