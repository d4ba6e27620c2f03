"""CCS injection (CVE-2014-0224): whether a ChangeCipherSpec before there are keys is taken, with keys of nothing."""

from pkicode.scanner.finding import Finding
from pkicode.scanner.probes.heartbleed import attacked
from pkicode.scanner.session import Known, Session
from pkicode.tls.conversation import Reading, Talk
from pkicode.tls.flight import Alert
from pkicode.tls.hello import ClientHello
from pkicode.tls.records import CHANGE_CIPHER_SPEC, record

CHECK = "CCS"
_TOOK_IT = (Alert.BAD_RECORD_MAC, Alert.DECRYPTION_FAILED)


async def ask(session: Session) -> None:
    """Of the newest version before TLS 1.3, where there is no ChangeCipherSpec that means anything."""
    version = session.known.newest_before_tls13()
    if taken := session.known.answers.get(version):
        hello = session.hello([version], [answer.number for answer in taken])
        session.known.attacks[CHECK] = await session.ask(_talk(hello, version))


def _talk(hello: ClientHello, version: int) -> Talk[str]:
    reading = Reading()
    data = yield hello.record()
    while not reading.feed(data):
        data = yield b""
    early = record(CHANGE_CIPHER_SPEC, version, b"\1")
    after = Reading()
    try:
        # Whoever takes the first one tries to decrypt the second.
        data = yield early + early
        while not after.feed(data):
            data = yield b""
    except (EOFError, ConnectionError):
        return "safe"
    alert = after.answer.alert
    return "vulnerable" if alert and alert.description in _TOOK_IT else "safe"


def judge(known: Known) -> list[Finding]:
    """Silence is not known to be safe."""
    return [attacked(known, CHECK, "It speaks TLS 1.3 alone.", "Anybody between can read along: update OpenSSL today.")]
