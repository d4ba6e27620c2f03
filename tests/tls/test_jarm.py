"""JARM beside aiojarm 0.2.2 (a port of Salesforce's own): its ten hellos, and what it made of servers played to it.

The hellos are digests of its octets, with zeros for what is random in them; 52 real servers had the same fingerprint.
"""

import hashlib

import pytest

from pkicode.tls.hello import TLS12
from pkicode.tls.jarm import NOTHING, fingerprint, heard, openings
from pkicode.tls.records import HANDSHAKE, Message, record
from tests.tls.talking import told

HELLOS = [
    "234e5ad9fff1805b",
    "9ba4595cbf169418",
    "e013f39d3f50b1f6",
    "38e6d9ee649b0cab",
    "c617162ba4b39666",
    "d37c6cd2edb04bf3",
    "c1ca45077883170f",
    "b4adb0c693d0ffd1",
    "111e0410377c81bc",
    "f934268a95663ffe",
]
PLAYED = [
    (
        "32b44d41a3db1dd00000027b28b22a6aa5a9fedb56664ed287251098d367de",
        [
            "c09d 0301 ff01000100 00000000",
            "1304 0303 000b00020100",
            "1301 0300 ff01000100 000b00020100 00170000",
            "cc13 0301 00170000 001000050003026832 002b00020304",
            "c009 0303",
            "alert",
            "alert",
            "c02b 0301 0010000b000908687474702f312e31",
            "c02c 0301 ff01000100",
            "c014 0300 002b00020304",
        ],
    ),
    (
        "1ba3fc36b0003fd00008a32c44c0000170dfc64a07edfc018908dfbc6373f0",
        [
            "c007 0300 001000050003026832",
            "cca8 0302 00000000 00230000 ff01000100 001000050003026832",
            "c0a1 0301 001000050003026832 003300020018",
            "alert",
            "cca8 0303",
            "alert",
            "0035 0300 002b00020304 00000000",
            "c09d 0302 0010000b000908687474702f312e31 000b00020100 002b00020304 003300020018",
            "1304 0302 00170000 003300020018 00000000 ff01000100",
            "alert",
        ],
    ),
    (
        "28c21a16b09a30c37d1cd0000ac000ff5de34b879476e0d22f157ded8cc45d",
        [
            "c02c 0302",
            "c013 0300 001000050003026832 00230000",
            "009f 0301 00170000 001000050003026832",
            "0039 0300 003300020018 001000050003026832",
            "c077 0302 002b00020304 00000000 000b00020100 00230000",
            "c0a2 0303 001000050003026832 00000000 00230000",
            "c008 0303 001000050003026832",
            "alert",
            "003c 0302 00000000",
            "alert",
        ],
    ),
    (
        "2ad43b0cc37c29c2bc30d45c14c20a71f322bab82b9550f82251cc37638830",
        [
            "c030 0303 001000050003026832 003300020018 00230000",
            "1303 0301 002b00020304 001000050003026832 00000000",
            "0041 0302 00230000 001000050003026832 00000000",
            "c0a2 0302 ff01000100 00230000 00000000 001000050003026832",
            "c02f 0302 003300020018 00170000",
            "c060 0302 00000000 003300020018 00170000 001000050003026832",
            "c077 0303 00230000 ff01000100 001000050003026832 003300020018",
            "1305 0302 003300020018",
            "009d 0302 001000050003026832 002b00020304 ff01000100",
            "c012 0300 001000050003026832 002b00020304 ff01000100",
        ],
    ),
]


def test_the_ten_hellos_have_the_octets_of_the_others():
    assert [hashlib.sha256(one).hexdigest()[:16] for one in openings("127.0.0.1", bytes)] == HELLOS


def test_what_is_random_in_them_is_random_and_what_is_grease_is_grease():
    one, other = openings("a.example", lambda size: b"\x31" * size), openings("a.example", lambda size: b"\x52" * size)
    assert all(left != right for left, right in zip(one, other, strict=True))
    assert [b"\x3a\x3a" in hello for hello in one] == [at in (4, 9) for at in range(10)]


def said(text: str) -> bytes:
    """What a server says that was told so: an alert, nothing, or a ServerHello with a certificate behind it."""
    if text in ("alert", "end"):
        return bytes.fromhex("15030300020228") if text == "alert" else b""
    suite, version, *extensions = map(bytes.fromhex, text.split())
    whole = b"".join(extensions)
    hello = version + bytes(32) + b"\0" + suite + b"\0" + (len(whole).to_bytes(2, "big") + whole if whole else b"")
    return record(HANDSHAKE, TLS12, Message(2, hello).encode() + Message(11, b"\0\0\2ab").encode())


@pytest.mark.parametrize(("expected", "answers"), PLAYED)
def test_a_server_has_the_fingerprint_that_others_give_it(expected: str, answers: list[str]):
    taken = [told(heard(b"hello"), *([said(one)] if said(one) else [])) for one in answers]
    assert fingerprint(taken) == expected


def test_a_server_that_takes_nothing_has_a_fingerprint_of_zeros():
    assert fingerprint(["|||"] * 10) == NOTHING


@pytest.mark.parametrize("strange", [b"HTTP/1.1 400", b"\x16\3\3\0\0", b"\x16\3\3\0\4\x0b\0\0\0", bytes(40)])
def test_what_is_no_server_hello_is_taken_for_nothing(strange: bytes):
    assert told(heard(b"hello"), strange) == "|||"


def test_a_protocol_with_a_bar_in_it_is_counted_as_others_count_it():
    barred = told(heard(b"hello"), said("c02f 0303 0010000600040361" + b"|b".hex()))
    assert barred == "c02f|0303|a|b|0010"
    assert fingerprint([barred, *["|||"] * 9]) == fingerprint(["c02f|0303|a|b", *["|||"] * 9])


@pytest.mark.parametrize(
    ("content", "taken"),
    [
        ("", "c02f|0303||0010"),
        ("0003", "c02f|0303||0010"),
        ("0009036832", "c02f|0303|h2|0010"),
        ("000302683200", "c02f|0303|h2\0|0010"),
        ("000302c328", "|||"),
    ],
)
def test_a_garbled_protocol_is_an_answer_as_others_count_it(content: str, taken: str):
    """As Salesforce's jarm.py: what stands behind three octets, as UTF-8, or the answer counts for nothing."""
    extension = f"0010{len(content) // 2:04x}{content}"
    assert told(heard(b"hello"), said(f"c02f 0303 {extension}")) == taken


def test_a_hello_in_pieces_is_one():
    whole = said("c02f 0303 ff01000100")
    assert told(heard(b"hello"), *(whole[at : at + 1] for at in range(len(whole)))) == "c02f|0303||ff01"
