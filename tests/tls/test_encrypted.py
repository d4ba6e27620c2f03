"""TLS 1.3 with a server of our own making: every suite and group opens, and what is inside may be anything."""

import hashlib
from collections.abc import Callable, Sequence

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from pkicode.tls.client13 import SERVER_APPLICATION, traffic_secret
from pkicode.tls.conversation import Answer, Talk, converse
from pkicode.tls.hello import TLS12, TLS13, client_hello, vector
from pkicode.tls.records import APPLICATION_DATA, HANDSHAKE, Garbled, Message, record
from pkicode.tls.ticket13 import Ticket, ticket
from tests.oracles.hkdf import expand_label
from tests.tls.talking import sent, told

SERVER = X25519PrivateKey.from_private_bytes(b"\5" * 32)


def entropy(size: int) -> bytes:
    return b"\7" * size


def talk() -> Talk[Answer]:
    return converse(client_hello([TLS13], (0x1301,), (29,), bytes(64)), entropy)


def flight(messages: Sequence[Message], *, padding: int = 0, pieces: int = 16000) -> bytes:
    """A ServerHello, and the messages encrypted for whoever sent the hello of `talk`."""
    share = vector(2, (29).to_bytes(2, "big") + vector(2, SERVER.public_key().public_bytes_raw()))[2:]
    chosen = vector(2, b"\0\x2b\0\2\3\4", b"\0\x33" + vector(2, share))
    hello = Message(2, b"\3\3" + bytes(32) + b"\0\x13\1\0" + chosen).encode()
    (opening,) = sent(talk())
    client = X25519PrivateKey.from_private_bytes(entropy(32)).public_key().public_bytes_raw()
    shared = SERVER.exchange(X25519PublicKey.from_public_bytes(client))
    secret = traffic_secret("sha256", shared, hashlib.sha256(opening[5:] + hello).digest())
    aead, iv = AESGCM(expand_label(secret, b"key", 16)), int.from_bytes(expand_label(secret, b"iv", 12), "big")
    said = b"".join(message.encode() for message in messages)
    out = record(HANDSHAKE, TLS12, hello) + record(20, TLS12, b"\1")
    for number, at in enumerate(range(0, len(said), pieces)):
        inner = said[at : at + pieces] + bytes((HANDSHAKE,)) + bytes(padding)
        header = bytes((APPLICATION_DATA, 3, 3)) + (len(inner) + 16).to_bytes(2, "big")
        out += header + aead.encrypt((iv ^ number).to_bytes(12, "big"), inner, header)
    return out


def certificate(*entries: tuple[bytes, bytes]) -> Message:
    return Message(11, b"\0" + vector(3, *(vector(3, der) + vector(2, more) for der, more in entries)))


VERIFY = Message(15, b"\x08\x04" + vector(2, bytes(256)))
STAPLE = b"\0\5" + vector(2, b"\1" + vector(3, b"staple"))
SCTS = b"\0\x12" + vector(2, vector(2, vector(2, b"sct one"), vector(2, b"sct two")))


@pytest.mark.parametrize("padding", [0, 1, 300])
@pytest.mark.parametrize("pieces", [5, 16000])
def test_everything_that_is_sent_with_a_certificate_is_read(padding: int, pieces: int):
    names = Message(13, b"\0" + vector(2, b"\0\x2f" + vector(2, vector(2, vector(2, b"one"), vector(2, b"two")))))
    chosen = Message(8, vector(2, b"\0\x10" + vector(2, vector(2, vector(1, b"h2")))))
    chain = certificate((b"leaf", STAPLE + SCTS), (b"issuer", b""))
    answer = told(talk(), flight([chosen, names, chain, VERIFY], padding=padding, pieces=pieces))
    assert (answer.alpn, answer.authorities, answer.chain) == ("h2", (b"one", b"two"), (b"leaf", b"issuer"))
    assert (answer.staple, answer.scts, answer.signature) == (b"staple", (b"sct one", b"sct two"), 0x0804)


@pytest.mark.parametrize(
    "broken",
    [
        certificate(*[(b"x", b"")] * 65),
        certificate((b"leaf", b"\0\5\0\1")),
        Message(11, b"\xff"),
        Message(8, b"\0\x08\0\x10\0\1\0\0\x10\0"),
        Message(13, b"\0\0\5\0\x2f\0\1\0"),
    ],
)
def test_a_broken_message_leaves_the_hello(broken: Message):
    answer = told(talk(), flight([broken, VERIFY]))
    assert (answer.version, answer.chain) == (TLS13, ())


@given(bodies=st.lists(st.tuples(st.sampled_from([4, 8, 11, 13, 15, 20, 24]), st.binary(max_size=80)), max_size=6))
def test_whatever_is_inside_the_answer_stands(bodies: list[tuple[int, bytes]]):
    answer = told(talk(), flight([Message(kind, body) for kind, body in bodies]))
    assert answer.version == TLS13


ALTERED: list[Callable[[bytes], bytes]] = [lambda data: data[:-1], lambda data: data + b"\x17\3\3\0\1\0"]


@pytest.mark.parametrize("alter", ALTERED)
def test_a_flight_that_is_cut_or_goes_on_is_read_as_far_as_it_goes(alter: Callable[[bytes], bytes]):
    assert told(talk(), alter(flight([certificate((b"leaf", b""))]))).version == TLS13


def after(*messages: Message) -> bytes:
    """A whole flight, and what the server says once the handshake is finished."""
    first = flight([Message(8, b"\0\0"), certificate((b"leaf", b"")), VERIFY, Message(20, bytes(32))])
    client = ticket_talk()
    (opening, _) = sent(client, first)
    before = opening[5:] + first[5 : 5 + int.from_bytes(first[3:5], "big")]
    said = b"".join(
        one.encode() for one in (Message(8, b"\0\0"), certificate((b"leaf", b"")), VERIFY, Message(20, bytes(32)))
    )
    shared = SERVER.exchange(X25519PrivateKey.from_private_bytes(entropy(32)).public_key())
    secret = traffic_secret("sha256", shared, hashlib.sha256(before + said).digest(), SERVER_APPLICATION)
    aead, iv = AESGCM(expand_label(secret, b"key", 16)), expand_label(secret, b"iv", 12)
    inner = b"".join(one.encode() for one in messages) + bytes((HANDSHAKE,))
    header = bytes((APPLICATION_DATA, 3, 3)) + (len(inner) + 16).to_bytes(2, "big")
    return first + header + aead.encrypt(iv, inner, header)


def ticket_talk() -> Talk[Ticket]:
    return ticket(client_hello([TLS13], (0x1301,), (29,), bytes(64)), entropy)


def given_ticket(extensions: bytes) -> Message:
    return Message(4, bytes(8) + vector(1, b"n") + vector(2, b"ticket") + vector(2, extensions))


def test_a_ticket_says_how_much_may_be_sent_early():
    early = given_ticket(b"\0\x2a" + vector(2, (16384).to_bytes(4, "big")))
    assert told(ticket_talk(), after(early)) == Ticket(given=True, early=16384)
    assert told(ticket_talk(), after(given_ticket(b""))) == Ticket(given=True)


@pytest.mark.parametrize(
    "broken",
    [
        Message(4, b""),
        Message(4, bytes(9)),
        given_ticket(b"\0"),
        given_ticket(b"\0\x2a\0\4\0"),
        given_ticket(b"\0\x2a\0\0"),
        given_ticket(b"\0\x2a" + vector(2, b"\xff" * 4000)),
    ],
)
def test_a_ticket_that_is_none_is_refused(broken: Message):
    with pytest.raises(Garbled):
        told(ticket_talk(), after(broken))
