"""What OpenSSL serves no more, or not yet: SSLv3, RC4, 3DES, no extended master secret, ML-KEM; and two old bugs."""

import asyncio

import pytest
from tlslite.api import HandshakeSettings

from pkicode.scan.finding import Endpoint
from pkicode.tls.hello import HEARTBEAT, TLS12
from pkicode.tls.records import ALERT, HANDSHAKE, Message, record
from pkicode.tls.records import HEARTBEAT as BEAT
from tests.scan import strange
from tests.scan.old import tlslite
from tests.scan.scanning import found, grades, groups, scan, scanned, suites
from tests.scan.servers import Identity, identity


@pytest.fixture(scope="module")
def rsa(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return identity(tmp_path_factory.mktemp("rsa"), "rsa")


def settings(**different: object) -> HandshakeSettings:
    told = HandshakeSettings()
    for name, value in different.items():
        assert hasattr(told, name)
        setattr(told, name, value)
    return told


def test_sslv3_with_rc4_and_3des_is_all_that_is_wrong(rsa: Identity):
    old = settings(
        minVersion=(3, 0), maxVersion=(3, 0), versions=[(3, 0)], cipherNames=["rc4", "3des", "aes128"],
        macNames=["sha", "md5"], keyExchangeNames=["rsa"],
    )  # fmt: skip
    with tlslite(rsa, old) as port:
        endpoint = scanned(port)
    assert endpoint.versions == ("SSLv3",)
    assert set(suites(endpoint, "SSLv3")) == {
        "TLS_RSA_WITH_RC4_128_SHA", "TLS_RSA_WITH_RC4_128_MD5", "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
        "TLS_RSA_WITH_AES_128_CBC_SHA",
    }  # fmt: skip
    assert endpoint.chains[0].der == rsa.der
    assert grades(endpoint, "POODLE", "RC4", "SWEET32", "BEAST", "LUCKY13", "Versions", "FREAK", "NULL") == {
        "POODLE": "Bad", "RC4": "Bad", "SWEET32": "Warning", "BEAST": "Warning", "LUCKY13": "Warning",
        "Versions": "Bad", "FREAK": "Good", "NULL": "Good",
    }  # fmt: skip


def test_missing_protections_are_found(rsa: Identity):
    bare = settings(
        maxVersion=(3, 3), useExtendedMasterSecret=False, useEncryptThenMAC=False, cipherNames=["aes256", "aes256gcm"]
    )
    with tlslite(rsa, bare) as port:
        endpoint = scanned(port)
    assert grades(endpoint, "EMS", "EncryptThenMAC", "LUCKY13", "Downgrade") == {
        "EMS": "Warning", "EncryptThenMAC": "Warning", "LUCKY13": "Warning", "Downgrade": "Skipped",
    }  # fmt: skip


@pytest.mark.parametrize("classical", [["x25519"], []], ids=["beside-x25519", "alone"])
def test_hybrids_with_ml_kem_are_found(rsa: Identity, classical: list[str]):
    curves = ["x25519mlkem768", *classical]
    modern = settings(minVersion=(3, 4), eccCurves=curves, keyShares=curves[-1:], dhGroups=[])
    with tlslite(rsa, modern) as port:
        endpoint = scanned(port)
    assert endpoint.versions == ("TLSv1.3",)
    assert sorted(groups(endpoint, "TLSv1.3")) == sorted(["X25519MLKEM768", *classical])
    assert found(endpoint, "ECCurves").detail == "ML-KEM is among them."
    # Alone, the certificate is read after a HelloRetryRequest, with a secret of both halves.
    assert endpoint.chains[0].der == rsa.der


HELLO = strange.server_hello(0xC02F)
BEATING = record(
    HANDSHAKE,
    TLS12,
    Message(2, b"\3\3" + bytes(32) + b"\0\xc0\x2f\0" + b"\0\5" + bytes((0, HEARTBEAT)) + b"\0\1\1").encode()
    + Message(14, b"").encode(),
)
DONE = strange.server_hello(0xC02F, Message(14, b""))


def attacked(hello: bytes, answer: bytes) -> Endpoint:
    """A server that takes one suite, and answers to what follows the hello."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if b"\xc0\x2f" not in (await strange.hello_of(reader))[:1500]:
            writer.write(record(ALERT, TLS12, b"\2\x28"))
            return
        writer.write(hello)
        await strange.hello_of(reader)
        writer.write(answer)
        await writer.drain()
        writer.write_eof()
        await strange.tarpit(reader, writer)

    async def both() -> Endpoint:
        async with strange.serving(serve) as port:
            return await scan(port, patience=2)

    return asyncio.run(both())


def test_a_server_that_bleeds_is_found():
    assert found(attacked(BEATING, record(BEAT, TLS12, b"\2\x40\0" + bytes(16000))), "Heartbleed").grade == "Bad"


def test_a_server_that_takes_early_change_cipher_specs_is_found():
    assert found(attacked(DONE, record(ALERT, TLS12, b"\2\x14")), "CCS").grade == "Bad"
    assert found(attacked(DONE, record(ALERT, TLS12, b"\2\x0a")), "CCS").grade == "Good"
