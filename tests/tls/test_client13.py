"""The handshake of RFC 8448 section 3, from its ClientHello to the certificate inside, octet for octet."""

import hashlib

import pytest
from cryptography import x509

from pkicode.tls.client13 import Client, Opener, traffic_secret
from pkicode.tls.conversation import Answer, converse
from pkicode.tls.hello import KEY_SHARE, ClientHello, server_hello
from pkicode.tls.records import Garbled, Message, Records
from tests.tls.talking import told

PRIVATE = "49af42ba7f7994852d713ef2784bcbcaa7911de26adc5642cb634540e7ea5005"
CLIENT_RANDOM = "cb34ecb1e78163ba1c38c6dacb196a6dffa21a8d9912ec18a2ef6283024dece7"
EXTENSIONS = (
    (0, "0009000006736572766572"),
    (0xFF01, "00"),
    (10, "0012001d00170018001901000101010201030104"),
    (35, ""),
    (KEY_SHARE, "0000"),
    (43, "020304"),
    (13, "001e040305030603020308040805080604010501060102010402050206020202"),
    (45, "0101"),
    (28, "4001"),
)
CLIENT_HELLO = (
    "010000c00303cb34ecb1e78163ba1c38c6dacb196a6dffa21a8d9912ec18a2ef6283024dece7000006130113031302010000910000000b0009"
    "000006736572766572ff01000100000a00140012001d0017001800190100010101020103010400230000003300260024001d002099381de560"
    "e4bd43d23d8e435a7dbafeb3c06e51c13cae4d5413691e529aaf2c002b0003020304000d0020001e0403050306030203080408050806040105"
    "01060102010402050206020202002d00020101001c00024001"
)
SERVER_HELLO = (
    "020000560303a6af06a4121860dc5e6e60249cd34c95930c8ac5cb1434dac155772ed3e2692800130100002e00330024001d0020c982887611"
    "2095fe66762bdbf7c672e156d6cc253b833df1dd69b1b04e751f0f002b00020304"
)
SHARED = "8bd4054fb55b9d63fdfbacf9f04b9f0d35e6d63f537563efd46272900f89492d"
SERVER_SECRET = "b67b7d690cc16c4e75e54213cb2d37b4e9c912bcded9105d42befd59d391ad38"
FLIGHT = (
    "17030302a2d1ff334a56f5bff6594a07cc87b580233f500f45e489e7f33af35edf7869fcf40aa40aa2b8ea73f848a7ca07612ef9f945cb960b"
    "4068905123ea78b111b429ba9191cd05d2a389280f526134aadc7fc78c4b729df828b5ecf7b13bd9aefb0e57f271585b8ea9bb355c7c790207"
    "16cfb9b1183ef3ab20e37d57a6b9d7477609aee6e122a4cf51427325250c7d0e509289444c9b3a648f1d71035d2ed65b0e3cdd0cbae8bf2d0b"
    "227812cbb360987255cc744110c453baa4fcd610928d809810e4b7ed1a8fd991f06aa6248204797e36a6a73b70a2559c09ead686945ba246ab"
    "66e5edd8044b4c6de3fcf2a89441ac66272fd8fb330ef8190579b3684596c960bd596eea520a56a8d650f563aad27409960dca63d3e688611e"
    "a5e22f4415cf9538d51a200c27034272968a264ed6540c84838d89f72c24461aad6d26f59ecaba9acbbb317b66d902f4f292a36ac1b639c637"
    "ce343117b659622245317b49eeda0c6258f100d7d961ffb138647e92ea330faeea6dfa31c7a84dc3bd7e1b7a6c7178af36879018e3f252107f"
    "243d243dc7339d5684c8b0378bf30244da8c87c843f5e56eb4c5e8280a2b48052cf93b16499a66db7cca71e4599426f7d461e66f99882bd89f"
    "c50800becca62d6c74116dbd2972fda1fa80f85df881edbe5a37668936b335583b599186dc5c6918a396fa48a181d6b6fa4f9d62d513afbb99"
    "2f2b992f67f8afe67f76913fa388cb5630c8ca01e0c65d11c66a1e2ac4c85977b7c7a6999bbf10dc35ae69f5515614636c0b9b68c19ed2e31c"
    "0b3b66763038ebba42f3b38edc0399f3a9f23faa63978c317fc9fa66a73f60f0504de93b5b845e275592c12335ee340bbc4fddd502784016e4"
    "b3be7ef04dda49f4b440a30cb5d2af939828fd4ae3794e44f94df5a631ede42c1719bfdabf0253fe5175be898e750edc53370d2b"
)


def hello() -> ClientHello:
    extensions = tuple((kind, bytes.fromhex(data)) for kind, data in EXTENSIONS)
    return ClientHello(0x0303, bytes.fromhex(CLIENT_RANDOM), (0x1301, 0x1303, 0x1302), extensions)


def private(size: int) -> bytes:
    assert size == 32
    return bytes.fromhex(PRIVATE)


def records(*parts: str) -> bytes:
    return b"".join(bytes.fromhex(part) for part in parts)


def in_record(message: str) -> str:
    return f"160303{len(message) // 2:04x}{message}"


def test_the_client_hello_has_the_octets_of_the_rfc():
    assert Client(hello(), private).opening() == bytes.fromhex("16030100c4" + CLIENT_HELLO)


def test_the_secret_of_the_servers_handshake_is_that_of_the_rfc():
    transcript = hashlib.sha256(bytes.fromhex(CLIENT_HELLO + SERVER_HELLO)).digest()
    assert traffic_secret("sha256", bytes.fromhex(SHARED), transcript).hex() == SERVER_SECRET


def test_the_flight_of_the_rfc_gives_its_certificate():
    answer = told(converse(hello(), private), records(in_record(SERVER_HELLO), FLIGHT))
    assert isinstance(answer, Answer)
    assert answer.version == 0x0304
    assert (answer.group, answer.suite.name, answer.signature) == (29, "TLS_AES_128_GCM_SHA256", 0x0804)
    assert x509.load_der_x509_certificate(answer.chain[0]).subject.rfc4514_string() == "CN=rsa"


def test_the_flight_is_read_whatever_the_sizes_of_its_pieces():
    whole = records(in_record(SERVER_HELLO), FLIGHT)
    answers = [
        told(converse(hello(), private), *(whole[at : at + size] for at in range(0, len(whole), size)))
        for size in (1, 7, 700, 4096)
    ]
    assert len({answer.chain for answer in answers}) == 1


def test_a_record_that_was_touched_does_not_open():
    opener = Opener(0x1301, bytes.fromhex(SHARED), bytes.fromhex(CLIENT_HELLO + SERVER_HELLO))
    touched = bytearray(bytes.fromhex(FLIGHT))
    touched[100] ^= 1
    with pytest.raises(Garbled, match="does not open"):
        opener.open(next(Records().feed(bytes(touched))))


def test_a_flight_that_does_not_open_leaves_the_hello():
    touched = FLIGHT[:-2] + f"{int(FLIGHT[-2:], 16) ^ 1:02x}"
    answer = told(converse(hello(), private), records(in_record(SERVER_HELLO), touched))
    assert answer.version == 0x0304
    assert not answer.chain


def test_a_second_hello_retry_request_is_refused():
    retry = bytes.fromhex(SERVER_HELLO)[4:]
    magic = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
    body = retry[:2] + magic + retry[34:38] + bytes.fromhex("000c00330002001d002b00020304")
    client = Client(hello(), private)
    assert client.again(server_hello(body), Message(2, body))
    with pytest.raises(Garbled, match="a second"):
        client.again(server_hello(body), Message(2, body))
