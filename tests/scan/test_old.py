"""What OpenSSL serves no more, or not yet: SSLv3, RC4, 3DES, no extended master secret, ML-KEM."""

import pytest
from tlslite.api import HandshakeSettings

from tests.scan.old import tlslite
from tests.scan.scanning import found, grades, groups, scanned, suites
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
