"""CertsBySigAlgs: the chains that a target has beside that of a modern client: for other keys, and without a name.

What they are worth is judged elsewhere (pkicode/scanner/pki.py).
"""

from pkicode.model.counted import counted
from pkicode.scanner.finding import Finding, Grade
from pkicode.scanner.peeling import together
from pkicode.scanner.session import Known, Session
from pkicode.tls.client13 import GROUPS, SUITES
from pkicode.tls.conversation import converse
from pkicode.tls.hello import SERVER_NAME, TLS13, ClientHello
from pkicode.tls.signatures import FAMILIES, SCHEMES


async def ask(session: Session) -> None:
    """Before TLS 1.3 every suite brought its chain; there, and without SNI, it has to be asked for."""
    first = session.known.first.value
    asked: list[ClientHello] = []
    if first and first.version == TLS13:
        used = next((family for family in FAMILIES.values() if first.signature in family), ())
        others = [number for number in SCHEMES if number not in used]
        asked.append(session.hello([TLS13], SUITES, GROUPS, signatures=others))
        if session.target.server_name:
            asked.append(session.hello([TLS13], SUITES, GROUPS).without(SERVER_NAME))
    elif first and session.target.server_name and first.hello:
        newest = session.known.newest_before_tls13()
        suites = [answer.number for answer in session.known.answers.get(newest, ())]
        asked += [session.hello([newest], suites).without(SERVER_NAME)] if suites else []
    for heard in await together([session.ask(converse(hello, session.entropy)) for hello in asked]):
        if heard.value:
            session.known.keep(heard.value.chain)
            session.known.signatures.add(heard.value.signature)


def judge(known: Known) -> list[Finding]:
    """Which kinds of keys sign; more than one chain is no fault."""
    signed = {answer.signature for answer in known.all_answers()} | known.signatures
    names = [name for name, family in FAMILIES.items() if signed.intersection(family)]
    if not known.chains:
        return [Finding("TLSHandshake", "CertsBySigAlgs", Grade.UNKNOWN, "", "No certificate was read.")]
    detail = f"{counted(len(known.chains), 'chain')}, {counted(len(known.chains[0]), 'certificate')} in the first."
    return [Finding("TLSHandshake", "CertsBySigAlgs", Grade.GOOD, ", ".join(names), detail)]
