"""SigAlgs: the schemes with which a target signs its handshakes, in its order; MD5 or SHA-1 may be among them."""

from pkicode.scanner.finding import Finding, Grade
from pkicode.scanner.peeling import peel
from pkicode.scanner.session import Heard, Known, Session
from pkicode.tls.client13 import GROUPS, SUITES
from pkicode.tls.conversation import Answer, converse
from pkicode.tls.hello import TLS12, TLS13
from pkicode.tls.signatures import BROKEN, NAMES, SCHEMES


async def ask(session: Session) -> None:
    """The newest version tells the schemes; TLS 1.2 whether it would sign with a broken hash."""
    known = session.known
    # RSA key exchange signs nothing.
    signing = [answer.number for answer in known.answers.get(TLS12, ()) if answer.suite.fs]
    if TLS13 in known.answers:
        # The hello of a modern client had them all.
        first = known.first.value if known.first.value and known.first.value.version == TLS13 else None
        peeled = await peel(
            lambda some: _greet13(session, some),
            SCHEMES,
            lambda answer: answer.signature,
            first=first if first and first.signature in SCHEMES else None,
        )
    elif signing:
        peeled = await peel(lambda some: _greet12(session, signing, some), SCHEMES, lambda answer: answer.signature)
    else:
        return
    known.schemes = tuple(answer.signature for answer in peeled.found)
    if signing and not set(known.schemes) & set(BROKEN):
        heard = await _greet12(session, signing, BROKEN)
        broken = heard.value.signature if heard.value else 0
        known.schemes += (broken,) if broken in BROKEN else ()


async def _greet13(session: Session, schemes: tuple[int, ...]) -> Heard[Answer]:
    return await session.ask(converse(session.hello([TLS13], SUITES, GROUPS, signatures=schemes), session.entropy))


async def _greet12(session: Session, suites: list[int], schemes: tuple[int, ...]) -> Heard[Answer]:
    return await session.greet(session.hello([TLS12], suites, signatures=schemes))


def judge(known: Known) -> list[Finding]:
    """A broken hash is a warning: it signs this one handshake, and an attacker has seconds."""
    if not known.schemes:
        return [Finding("TLSHandshake", "SigAlgs", Grade.SKIPPED, "", "It signs nothing of which the scheme is named.")]
    value = " ".join(NAMES[number] for number in known.schemes)
    broken = [NAMES[number] for number in known.schemes if number in BROKEN]
    if broken:
        detail = f"MD5 and SHA-1 sign no more (RFC 9155): switch off {', '.join(broken)}."
        return [Finding("TLSHandshake", "SigAlgs", Grade.WARNING, value, detail)]
    return [Finding("TLSHandshake", "SigAlgs", Grade.GOOD, value, "No broken hash is among them.")]
