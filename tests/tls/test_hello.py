"""Hellos as tlslite-ng reads and writes them, and what is refused."""

import pytest
from tlslite.constants import ContentType
from tlslite.extensions import SupportedGroupsExtension
from tlslite.messages import ClientHello as Theirs
from tlslite.utils.codec import Parser

from pkicode.tls import ssl2
from pkicode.tls.groups import groups
from pkicode.tls.groups import offered as offered_groups
from pkicode.tls.hello import (
    ALPN,
    HEARTBEAT,
    NAMES,
    SSL2,
    SSL3,
    SUPPORTED_VERSIONS,
    TLS10,
    TLS12,
    TLS13,
    ClientHello,
    alpn_of,
    client_hello,
    extensions,
    server_hello,
)
from pkicode.tls.records import Garbled
from pkicode.tls.suites import RENEGOTIATION_SCSV, offered, ssl2_suites
from tests.tls.talking import told

RANDOM = bytes(range(64))
VERSIONS = [version for version in NAMES if version != SSL2]


def read(hello: ClientHello) -> Theirs:
    """As another implementation reads it."""
    data = hello.record()
    assert (data[0], int.from_bytes(data[3:5], "big")) == (ContentType.handshake, len(data) - 5)
    parser = Parser(bytearray(data[5:]))
    assert parser.get(1) == 1
    theirs = Theirs().parse(parser)
    assert parser.getRemainingLength() == 0
    return theirs


@pytest.mark.parametrize("version", VERSIONS)
def test_another_implementation_reads_a_hello_of_every_version(version: int):
    hello = client_hello([version], offered(version), offered_groups(version), RANDOM, server_name="a.example")
    theirs = read(hello)
    scsv = (RENEGOTIATION_SCSV,) if version == SSL3 else ()
    assert tuple(theirs.cipher_suites) == (*offered(version), *scsv)
    assert bytes(theirs.random) == RANDOM[:32]
    if version == SSL3:
        assert not theirs.extensions
    else:
        assert bytes(theirs.server_name) == b"a.example"
        assert tuple(theirs.getExtension(SupportedGroupsExtension().extType).groups) == offered_groups(version)


def test_a_hello_for_tls13_names_its_versions_and_compresses_nothing():
    theirs = read(client_hello([TLS13, TLS12], offered(TLS13), (29,), RANDOM, alpn=("h2", "http/1.1")))
    assert theirs.getExtension(SUPPORTED_VERSIONS).versions == [(3, 4), (3, 3)]
    assert [bytes(name) for name in theirs.getExtension(ALPN).protocol_names] == [b"h2", b"http/1.1"]
    assert list(theirs.compression_methods) == [0]
    assert theirs.client_version == (3, 3)


def test_a_hello_before_tls13_asks_for_compression_and_heartbeats():
    theirs = read(client_hello([TLS10], offered(TLS10), (23,), RANDOM))
    assert list(theirs.compression_methods) == [1, 0]
    assert theirs.getExtension(HEARTBEAT)


@pytest.mark.parametrize("suites", range(1, 200, 7))
def test_no_hello_has_a_length_that_some_boxes_swallow(suites: int):
    hello = client_hello([TLS12], offered(TLS12)[:suites], (23,), RANDOM)
    assert not 256 <= len(hello.message()) < 512
    assert len(read(hello).cipher_suites) == suites


def test_an_international_name_is_sent_as_an_a_label():
    assert bytes(read(client_hello([TLS12], (1,), (), RANDOM, server_name="bücher.example")).server_name) == (
        b"xn--bcher-kva.example"
    )


def test_a_hello_without_an_extension_lacks_only_that():
    hello = client_hello([TLS12], (1,), (23,), RANDOM, server_name="a.example")
    assert dict(hello.extensions).keys() - dict(hello.without(0).extensions).keys() == {0}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\3\3" + bytes(32),
        b"\3\3" + bytes(32) + b"\x21" + bytes(33) + b"\0\1\0",
        b"\2\0" + bytes(32) + b"\0\0\1\0",
        b"\3\3" + bytes(32) + b"\0\0\1\0" + b"\0\3\0\0\1",
        b"\3\3" + bytes(32) + b"\0\0\1\0" + b"\0\0" + b"\0",
    ],
)
def test_what_is_no_server_hello_is_refused(body: bytes):
    with pytest.raises(Garbled):
        server_hello(body)


def test_an_extension_that_stands_there_twice_is_refused():
    with pytest.raises(Garbled, match="twice"):
        extensions(b"\0\5\0\0" * 2)


def test_more_than_one_chosen_protocol_is_refused():
    with pytest.raises(Garbled):
        alpn_of({ALPN: b"\0\x06\2h2\2h3"})


def test_the_sign_of_a_downgrade_is_seen():
    assert server_hello(b"\3\3" + bytes(24) + b"DOWNGRD\1" + b"\0\0\1\0").downgraded_from == TLS12
    assert not server_hello(b"\3\3" + bytes(32) + b"\0\0\1\0").downgraded_from


def test_a_server_of_sslv2_tells_its_kinds_and_certificate():
    body = b"\4\0\1\0\2" + b"\0\4" + b"\0\6" + b"\0\x10" + b"cert" + b"\1\0\x80\7\0\xc0" + bytes(16)
    answer = told(ssl2.converse(tuple(ssl2_suites()), bytes(16)), (0x8000 | len(body)).to_bytes(2, "big"), body)
    assert answer
    assert answer.certificate == b"cert"
    assert [ssl2_suites()[kind].name for kind in answer.suites] == [
        "SSL_CK_RC4_128_WITH_MD5",
        "SSL_CK_DES_192_EDE3_CBC_WITH_MD5",
    ]


def test_an_alert_says_that_there_is_no_sslv2():
    assert told(ssl2.converse((0x010080,), bytes(16)), b"\x15\3\1\0\2\2\x46") is None


def test_groups_are_offered_once():
    for version in VERSIONS:
        assert len(set(offered_groups(version))) == len(offered_groups(version))
        assert set(offered_groups(version)) <= groups().keys()
