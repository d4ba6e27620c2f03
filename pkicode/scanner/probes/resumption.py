"""SessionResume: whether sessions come back, by session id and ticket (RFC 5246, RFC 5077) and in TLS 1.3 by PSK."""

from pkicode.scanner.finding import Finding, Grade
from pkicode.scanner.peeling import together
from pkicode.scanner.session import Heard, Known, Session, Shaken, Wish
from pkicode.tls.hello import TLS12, TLS13

_WAYS = {"psk": Wish(TLS13), "ticket": Wish(TLS12), "id": Wish(TLS12, tickets=False)}


async def ask(session: Session) -> None:
    """Two handshakes each way that the target's versions have; one of them is there if a browser has asked."""
    ways = [way for way, wish in _WAYS.items() if wish.version in session.known.answers]
    heard = await together([_again(session, way) for way in ways])
    session.known.resumed = dict(zip(ways, heard, strict=True))


async def _again(session: Session, way: str) -> Heard[Shaken]:
    http, wish = session.known.http, _WAYS[way]
    if http and http.value and http.value.ticket and way == ("psk" if TLS13 in session.known.answers else "ticket"):
        again = await session.shake(wish.again(http.value.session))
        if again.value and again.value.resumed:
            return again
        # Some keep no session of a client that leaves before their last word.
    return await _twice(session, wish)


async def _twice(session: Session, wish: Wish) -> Heard[Shaken]:
    first = await session.shake(wish)
    # Without a session there is nothing to come back with; and one with an id is another way.
    if first.value is None or first.value.session is None or first.value.ticket != wish.tickets:
        return first
    return await session.shake(wish.again(first.value.session))


def judge(known: Known) -> list[Finding]:
    """Handshakes without end are a warning; a session that comes back is no fault."""
    if not known.resumed:
        return [Finding("TLSSession", "SessionResume", Grade.SKIPPED, "", "It speaks neither TLS 1.2 nor 1.3.")]
    ways = [way for way, heard in known.resumed.items() if heard.value and heard.value.resumed]
    if ways:
        detail = f"Sessions come back, by {' and '.join(ways)}."
        return [Finding("TLSSession", "SessionResume", Grade.GOOD, " ".join(ways), detail)]
    silent = [f"{way} ({heard.how})" for way, heard in known.resumed.items() if heard.value is None]
    if silent:
        detail = f"No session is known to come back; not answered: {', '.join(silent)}."
        return [Finding("TLSSession", "SessionResume", Grade.UNKNOWN, "", detail)]
    detail = "Each connection pays for a whole handshake: switch tickets or a session cache on."
    return [Finding("TLSSession", "SessionResume", Grade.WARNING, "no", detail)]
