"""Servers with the bugs that attacks need, hand-made as far as the attack goes; and those beside them without."""

import asyncio
import datetime
from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicNumbers
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from hypothesis import given, settings
from hypothesis import strategies as st

from pkicode.scanner.certificate import name_text, public_key
from pkicode.scanner.finding import Endpoint
from pkicode.tls.hello import HEARTBEAT, TLS12, vector
from pkicode.tls.records import ALERT, HANDSHAKE, Message, record
from pkicode.tls.records import HEARTBEAT as BEAT
from tests.scan import strange
from tests.scan.scanning import found, scan
from tests.scan.servers import Identity, identity

ECDHE, RSA_ONLY, RSA_EXPORT, DHE = 0xC02F, 0x009C, 0x0003, 0x009E
DONE = Message(14, b"")
BEATS = b"\0\5" + bytes((0, HEARTBEAT)) + b"\0\1\1"


@pytest.fixture(scope="module")
def rsa(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return identity(tmp_path_factory.mktemp("rsa"), "rsa")


def alert(description: int) -> bytes:
    return record(ALERT, TLS12, bytes((2, description)))


def hello(suite: int, *messages: Message, extensions: bytes = b"", compression: int = 0) -> bytes:
    """A server's flight of TLS 1.2."""
    body = b"\3\3" + bytes(32) + b"\0" + suite.to_bytes(2, "big") + bytes((compression,)) + extensions
    return record(HANDSHAKE, TLS12, b"".join(one.encode() for one in (Message(2, body), *messages, DONE)))


def certificate(mine: Identity) -> Message:
    return Message(11, vector(3, vector(3, mine.der)))


def attacked(suite: int, flight: bytes, *, answer: Callable[[bytes], bytes] = lambda _said: alert(10)) -> Endpoint:
    """A scan of a server that takes one suite in TLS 1.2, and answers as it does to what follows the hello."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said = await strange.hello_of(reader)
        size = int.from_bytes(said[44:46], "big") if said[43] == 0 else 0
        offered = [said[at : at + 2] for at in range(46, 46 + size, 2)]
        if said[9:11] != b"\3\3" or suite.to_bytes(2, "big") not in offered:
            writer.write(alert(40))
            return
        writer.write(flight)
        writer.write(answer(await strange.hello_of(reader)))
        await writer.drain()

    async def both() -> Endpoint:
        async with strange.serving(serve) as port:
            return await scan(port, patience=2)

    return asyncio.run(both())


def test_a_server_that_bleeds_is_found():
    flight = hello(ECDHE, extensions=BEATS)
    bled = record(BEAT, TLS12, b"\2\x40\0" + bytes(16000))
    assert found(attacked(ECDHE, flight, answer=lambda _said: bled), "Heartbleed").grade == "Bad"
    assert found(attacked(ECDHE, flight), "Heartbleed").grade == "Good"


@pytest.mark.parametrize(("description", "grade"), [(20, "Bad"), (21, "Bad"), (10, "Good"), (40, "Good")])
def test_a_server_that_takes_early_change_cipher_specs_is_found(description: int, grade: str):
    assert found(attacked(ECDHE, hello(ECDHE), answer=lambda _said: alert(description)), "CCS").grade == grade


@pytest.mark.parametrize(("tells", "grade"), [(True, "Bad"), (False, "Good")])
def test_a_server_whose_alerts_tell_paddings_apart_is_found(rsa: Identity, tells: bool, grade: str):
    key = load_pem_private_key(rsa.key.read_bytes(), None)
    assert isinstance(key, RSAPrivateKey)
    numbers, size = key.private_numbers(), key.key_size // 8

    def answer(said: bytes) -> bytes:
        encrypted = said[5 + 4 + 2 : 5 + 4 + 2 + size]
        padded = pow(int.from_bytes(encrypted, "big"), numbers.d, numbers.public_numbers.n).to_bytes(size, "big")
        return alert(51 if tells and padded[:2] != b"\0\2" else 20)

    endpoint = attacked(RSA_ONLY, hello(RSA_ONLY, certificate(rsa)), answer=answer)
    assert found(endpoint, "ROBOT").grade == grade
    assert found(endpoint, "ROBOT").detail


def test_a_key_that_would_take_long_is_not_calculated_with():
    numbers = RSAPublicNumbers((1 << 16000) + 1, (1 << 16384) - 1)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "huge")])
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder(name, name, numbers.public_key(), 1, now, now + datetime.timedelta(1))
    der = made.sign(ec.generate_private_key(ec.SECP256R1()), SHA256()).public_bytes(Encoding.DER)
    endpoint = attacked(RSA_ONLY, hello(RSA_ONLY, Message(11, vector(3, vector(3, der)))))
    assert endpoint.chains[0].der == der
    assert found(endpoint, "ROBOT").grade == "Good"


@given(at=st.integers(0, 2000), octet=st.integers(0, 255))
@settings(max_examples=300)
def test_a_certificate_that_was_touched_has_a_key_or_none(rsa: Identity, at: int, octet: int):
    touched = bytearray(rsa.der)
    touched[at % len(touched)] = octet
    key = public_key(bytes(touched))
    assert key is None or hasattr(key, "public_bytes")


@given(body=st.binary(max_size=30), value=st.binary(max_size=8), kind=st.sampled_from([3, 6, 7, 8, 10]))
def test_a_name_of_a_stranger_is_read_or_not(body: bytes, value: bytes, kind: int):
    attribute = b"\x06\x03\x55\x04" + bytes((kind,)) + value
    inner = bytes((0x30, len(attribute))) + attribute
    relative = bytes((0x31, len(inner))) + inner
    for der in (body, bytes((0x30, len(relative))) + relative):
        assert "=" in name_text(der) or name_text(der) == ""


def test_a_server_that_compresses_is_found():
    assert found(attacked(ECDHE, hello(ECDHE, compression=1)), "CRIME").grade == "Bad"
    assert found(attacked(ECDHE, hello(ECDHE)), "CRIME").grade == "Good"


def test_a_server_with_export_keys_is_found(rsa: Identity):
    weak = Message(12, vector(2, b"\x80" + bytes(63)) + vector(2, b"\1\0\1") + b"\4\1" + vector(2, bytes(256)))
    endpoint = attacked(RSA_EXPORT, hello(RSA_EXPORT, certificate(rsa), weak))
    assert found(endpoint, "FREAK").grade == "Bad"


@pytest.mark.parametrize(("bits", "grade"), [(512, "Bad"), (1024, "Warning"), (2048, "Good")])
def test_a_server_with_a_small_field_is_found(bits: int, grade: str):
    prime = (1 << bits - 1 | 1).to_bytes(bits // 8, "big")
    exchange = Message(12, vector(2, prime) + vector(2, b"\2") + vector(2, b"\3") + b"\4\1" + vector(2, bytes(256)))
    endpoint = attacked(DHE, hello(DHE, exchange))
    assert found(endpoint, "LOGJAM").grade == grade
    assert found(endpoint, "DHSize").value == str(bits)


def test_a_server_that_still_speaks_sslv2_drowns(rsa: Identity):
    sizes = b"".join(size.to_bytes(2, "big") for size in (len(rsa.der), 3, 16))
    body = b"\4\0\1\0\2" + sizes + rsa.der + b"\7\0\xc0" + bytes(16)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said = await strange.hello_of(reader)
        writer.write((0x8000 | len(body)).to_bytes(2, "big") + body if said[0] & 0x80 else alert(70))

    async def both() -> Endpoint:
        async with strange.serving(serve) as port:
            return await scan(port, patience=2)

    endpoint = asyncio.run(both())
    assert endpoint.versions == ("SSLv2",)
    assert [cipher.name for cipher in endpoint.ciphers] == ["SSL_CK_DES_192_EDE3_CBC_WITH_MD5"]
    assert (found(endpoint, "DROWN").grade, found(endpoint, "Versions").grade) == ("Bad", "Bad")
    assert endpoint.chains[0].der == rsa.der


def test_a_thousand_cas_of_clients_are_counted_and_not_all_told():
    names = [x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"CA {n}" + "x" * 50)]) for n in range(200)]
    sent = [b"\x30\0", b"\xff", *(one.public_bytes() for one in names)]
    asked = Message(13, vector(1, b"\1") + vector(2, b"\4\1") + vector(2, *(vector(2, one) for one in sent)))
    finding = found(attacked(ECDHE, hello(ECDHE, asked)), "ClientCAs")
    assert finding.value == "202"
    assert len(finding.detail) < 2000
    assert finding.detail.endswith(", others.")
