"""ROBOT (RFC 5246 section 7.4.7.1): whether a server's answers tell a good RSA padding from a bad one.

Five premaster secrets, each wrong in another way, have to be answered alike.
"""

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from pkicode.scanner.certificate import public_key
from pkicode.scanner.finding import Finding
from pkicode.scanner.peeling import together
from pkicode.scanner.probes.heartbleed import attacked
from pkicode.scanner.session import Heard, Known, Session
from pkicode.tls.conversation import Answer, Reading, Talk
from pkicode.tls.hello import TLS12, ClientHello, vector
from pkicode.tls.records import CHANGE_CIPHER_SPEC, HANDSHAKE, Message, record

CHECK = "ROBOT"
_CLIENT_KEY_EXCHANGE = 16
_BITS_MOST = 8192
_FINISHED = 40
"""Octets of a Finished as an AEAD suite sends it; nobody has its key."""


async def ask(session: Session) -> None:
    """Only of servers that take RSA key exchange; twice, if they tell something."""
    known = session.known
    version = known.newest_before_tls13()
    chosen = next(
        (answer for answer in known.answers.get(version, ()) if answer.suite.kx == "RSA" and answer.chain), None
    )
    key = _key(chosen) if chosen else None
    if chosen is None or key is None:
        return
    hello = session.hello([version], [chosen.number])
    first = await _told(session, hello, key)
    if first.value is None or len(set(first.value)) == 1:
        known.attacks[CHECK] = Heard("safe" if first.value else None, first.how)
        return
    # An oracle says the same again; chance does not.
    second = await _told(session, hello, key)
    known.attacks[CHECK] = Heard("vulnerable") if second.value == first.value else Heard(None, "different answer")


def _key(answer: Answer) -> RSAPublicKey | None:
    key = public_key(answer.chain[0]) if answer.chain else None
    if not isinstance(key, RSAPublicKey):
        return None
    # A stranger's numbers are calculated with only if that takes no time.
    return key if 512 <= key.key_size <= _BITS_MOST and key.public_numbers().e < 1 << 32 else None


async def _told(session: Session, hello: ClientHello, key: RSAPublicKey) -> Heard[list[str]]:
    """A word for each padding."""
    heard = await together([session.ask(_talk(hello, key, padded)) for padded in _paddings(session, key)])
    words = [one.value for one in heard if one.value is not None]
    silent = next((one.how for one in heard if one.value is None), "")
    return Heard(None, silent) if silent else Heard(words)


def _paddings(session: Session, key: RSAPublicKey) -> list[bytes]:
    """PKCS #1 v1.5 blocks as the ROBOT paper has them: right; other type; zero too late; no zero; wrong version."""
    size = (key.key_size + 7) // 8
    filling = bytes(octet or 1 for octet in session.entropy(size))
    version, secret = TLS12.to_bytes(2, "big"), filling[:46]
    padding = filling[: size - 51]
    return [
        b"\0\2" + padding + b"\0" + version + secret,
        b"\x41\x17" + padding + b"\0" + version + secret,
        b"\0\2" + padding + b"\x11" + secret[:1] + b"\0" + secret,
        b"\0\2" + padding + b"\x11" + b"\x11\x11" + secret,
        b"\0\2" + padding + b"\0" + b"\2\2" + secret,
    ]


def _talk(hello: ClientHello, key: RSAPublicKey, padded: bytes) -> Talk[str]:
    """What the server says to it, as a word."""
    reading, after = Reading(), Reading()
    data = yield hello.record()
    while not reading.feed(data):
        data = yield b""
    numbers = key.public_numbers()
    encrypted = pow(int.from_bytes(padded, "big"), numbers.e, numbers.n).to_bytes((key.key_size + 7) // 8, "big")
    exchange = Message(_CLIENT_KEY_EXCHANGE, vector(2, encrypted)).encode()
    version = hello.version
    try:
        data = yield b"".join(
            (
                record(HANDSHAKE, version, exchange),
                record(CHANGE_CIPHER_SPEC, version, b"\1"),
                record(HANDSHAKE, version, padded[-_FINISHED:]),
            )
        )
        while not after.feed(data):
            data = yield b""
    except EOFError:
        return "end"
    except ConnectionError:
        return "reset"
    return f"alert {after.answer.alert.description}" if after.answer.alert else "another message"


def judge(known: Known) -> list[Finding]:
    """An oracle that answers the same way twice."""
    absent = "It takes no suite with RSA key exchange."
    return [attacked(known, CHECK, absent, "Its answers tell paddings apart: switch TLS_RSA suites off.")]
