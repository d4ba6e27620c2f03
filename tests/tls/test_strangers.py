"""What strangers send: any octets, in any pieces.  Nothing but Garbled comes of it, and not more than the limits."""

from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from pkicode.tls import flight, ssl2
from pkicode.tls.client12 import renegotiate
from pkicode.tls.conversation import Answer, Talk, converse
from pkicode.tls.hello import TLS12, TLS13, alpn_of, client_hello, extensions, server_hello, vector
from pkicode.tls.records import (
    HANDSHAKE,
    MESSAGE_MOST,
    MESSAGES_MOST,
    OCTETS_MOST,
    RECORDS_MOST,
    Garbled,
    Message,
    Messages,
    NotTls,
    Records,
    record,
)
from pkicode.tls.starttls import DIALOGUES
from pkicode.tls.starttls import OCTETS_MOST as DIALOGUE_MOST
from pkicode.tls.suites import suite_of
from pkicode.tls.ticket13 import ticket
from tests.tls.talking import told

PARSERS: list[Callable[[bytes], object]] = [
    server_hello,
    extensions,
    flight.alert,
    flight.certificates,
    flight.certificates13,
    flight.staple,
    flight.scts,
    flight.authorities13,
    ssl2.server_hello,
    lambda body: flight.authorities(body, TLS12),
    lambda body: alpn_of({16: body}),
    *(
        lambda body, number=number: flight.key_exchange(body, suite_of(number), TLS12)
        for number in (0xC02F, 0x009E, 0x0003, 0xC035, 0x008C, 0x0034, 0xC018)
    ),
]
SERVER_HELLO = Message(2, b"\3\3" + bytes(32) + b"\0\xc0\x2f\0").encode()
_SHARE = X25519PrivateKey.from_private_bytes(b"\5" * 32).public_key().public_bytes_raw()
SERVER_HELLO_13 = Message(
    2, b"\3\3" + bytes(32) + b"\0\x13\1\0" + vector(2, b"\0\x2b\0\2\3\4", b"\0\x33\0\x24\0\x1d\0\x20" + _SHARE)
).encode()


@pytest.mark.parametrize("parser", PARSERS)
@given(body=st.binary(max_size=300))
def test_a_parser_reads_or_refuses(parser: Callable[[bytes], object], body: bytes):
    try:
        parser(body)
    except Garbled:
        return


def answered(pieces: list[bytes], *, tls13: bool) -> Answer | str:
    hello = client_hello([TLS13, TLS12], (0x1301, 0xC02F), (29,), bytes(64))
    try:
        return told(converse(hello, (lambda size: b"\7" * size) if tls13 else None), *pieces)
    except Garbled:
        return "garbled"
    except EOFError:
        return "end"


BEYOND: list[Callable[[], Talk[object]]] = [
    lambda: ticket(client_hello([TLS13], (0x1301,), (29,), bytes(64)), lambda size: b"\7" * size),
    lambda: renegotiate(*[client_hello([TLS12], (0xC02F,), (29,), bytes(64))] * 2, lambda size: b"\7" * size),
]
"""Talks that finish a handshake."""


@pytest.mark.parametrize("talk", BEYOND, ids=["ticket", "renegotiate"])
@given(
    parts=st.lists(
        st.tuples(st.sampled_from([20, 21, 22, 23]), st.sampled_from([1, 2, 4, 8, 11, 12, 13, 14, 15, 20, 22]))
        .flatmap(lambda both: st.tuples(st.just(both[0]), st.just(both[1]), st.binary(max_size=90)))
        .map(lambda one: record(one[0], TLS12, Message(one[1], one[2]).encode())),
        max_size=8,
    ),
    tls13=st.booleans(),
)
def test_what_finishes_a_handshake_learns_something_or_refuses(
    talk: Callable[[], Talk[object]], parts: list[bytes], *, tls13: bool
):
    try:
        told(talk(), record(HANDSHAKE, TLS12, SERVER_HELLO_13 if tls13 else SERVER_HELLO), *parts)
    except (Garbled, EOFError):
        return


@pytest.mark.parametrize(
    "exchange",
    [
        b"", b"\1", b"\3\0\x1d", b"\3\0\x1d\x20" + bytes(32), b"\3\0\x1d\1\0", b"\3\0\x17\x41" + bytes(65),
        b"\3\x11\xec\x20" + bytes(32), b"\3\xff\xff\0",
    ],
)  # fmt: skip
def test_a_share_that_is_none_is_refused(exchange: bytes):
    said = SERVER_HELLO + Message(12, exchange).encode() + Message(14, b"").encode()
    with pytest.raises(Garbled):
        told(BEYOND[1](), record(HANDSHAKE, TLS12, said))


@given(data=st.binary(max_size=400), size=st.integers(1, 50), tls13=st.booleans())
def test_an_answer_is_the_same_whatever_the_pieces(data: bytes, size: int, tls13: bool):
    opened = record(HANDSHAKE, TLS12, SERVER_HELLO) + data
    pieces = [opened[at : at + size] for at in range(0, len(opened), size)]
    assert answered(pieces, tls13=tls13) == answered([opened], tls13=tls13)


@given(bodies=st.lists(st.tuples(st.sampled_from([0, 2, 4, 8, 11, 12, 13, 14, 15, 20, 22]), st.binary(max_size=60))))
def test_any_messages_in_any_order_end_in_an_answer_or_are_refused(bodies: list[tuple[int, bytes]]):
    said = b"".join(Message(kind, body).encode() for kind, body in bodies)
    answered([record(HANDSHAKE, TLS12, said[:16384])] if said else [], tls13=False)


@pytest.mark.parametrize("name", DIALOGUES)
@given(pieces=st.lists(st.binary(min_size=1, max_size=60), max_size=8))
def test_a_dialogue_goes_on_or_is_refused(name: str, pieces: list[bytes]):
    dialogue = DIALOGUES[name]("a.example")
    try:
        next(dialogue)
        for piece in pieces:
            dialogue.send(piece)
    except (Garbled, StopIteration):
        return


@pytest.mark.parametrize("name", DIALOGUES)
def test_a_dialogue_reads_no_endless_answer(name: str):
    dialogue = DIALOGUES[name]("a.example")
    next(dialogue)
    with pytest.raises(NotTls):
        dialogue.send(b"\x30\x84\0\xff\xff\xff" + b"x" * DIALOGUE_MOST)


@pytest.mark.parametrize(
    "opening", [b"HTTP/1.1 400 Bad Request\r\n", b"SSH-2.0-OpenSSH_9.2\r\n", bytes(16), b"\x16\2\0\0\1"]
)
def test_another_protocol_is_told_from_a_broken_tls(opening: bytes):
    with pytest.raises(NotTls):
        list(Records().feed(opening))


def test_a_record_is_not_longer_than_the_rfc_has_it():
    with pytest.raises(Garbled, match="octets"):
        list(Records().feed(b"\x16\3\3\xff\xff"))


def test_an_endless_handshake_ends_with_the_limit_on_octets():
    with pytest.raises(Garbled, match="no end"):
        list(Records().feed(record(HANDSHAKE, TLS12, bytes(16000)) * (OCTETS_MOST // 16000 + 1)))


def test_an_endless_row_of_small_records_ends_with_the_limit_on_records():
    with pytest.raises(Garbled, match="records"):
        list(Records().feed(record(HANDSHAKE, TLS12, b"\0") * (RECORDS_MOST + 1)))


def test_a_message_is_not_read_beyond_its_limit():
    with pytest.raises(Garbled, match="are read"):
        list(Messages().feed(b"\x0b" + (MESSAGE_MOST + 1).to_bytes(3, "big")))


def test_an_endless_row_of_messages_ends_with_the_limit_on_messages():
    with pytest.raises(Garbled, match="messages"):
        list(Messages().feed(bytes(4) * (MESSAGES_MOST + 1)))


def test_an_empty_handshake_record_is_refused():
    with pytest.raises(Garbled, match="without an octet"):
        list(Messages().feed(b""))


def test_a_bomb_of_certificates_is_not_read():
    bomb = b"\0\0\1\0" * (flight.CERTIFICATES_MOST + 1)
    with pytest.raises(Garbled, match="in one list"):
        flight.certificates(len(bomb).to_bytes(3, "big") + bomb)


def test_what_follows_a_hello_does_not_undo_it():
    bomb = Message(11, b"\xff\xff\xff").encode()
    answer = answered([record(HANDSHAKE, TLS12, SERVER_HELLO + bomb)], tls13=False)
    assert isinstance(answer, Answer)
    assert (answer.number, answer.chain) == (0xC02F, ())
