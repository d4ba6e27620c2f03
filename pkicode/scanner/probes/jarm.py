"""JARM: a fingerprint of the TLS stack, by ten hellos of its own; asked for by name alone."""

from pkicode.scanner.finding import Finding, Grade
from pkicode.scanner.peeling import together
from pkicode.scanner.session import Known, Session
from pkicode.tls.jarm import NOTHING, fingerprint, heard, openings


async def ask(session: Session) -> None:
    """Ten connections."""
    target = session.target
    asked = openings(target.server_name or target.host, session.entropy)
    session.known.odd = tuple(await together([session.ask(heard(one)) for one in asked]))


def judge(known: Known) -> list[Finding]:
    """It is neither good nor bad; one that is not whole is none."""
    silent = sorted({one.how for one in known.odd if one.value is None})
    if not known.odd or silent:
        detail = f"Not each of its ten hellos was answered ({', '.join(silent) or 'not asked'})."
        return [Finding("Fingerprint", "JARM", Grade.UNKNOWN, "", detail)]
    value = fingerprint([one.value or "" for one in known.odd])
    told = (
        "It takes none of the ten hellos."
        if value == NOTHING
        else "Who answers ten odd hellos alike is the same stack."
    )
    return [Finding("Fingerprint", "JARM", Grade.GOOD, value, told)]
