"""The truth table: real servers whose versions, suites, order, groups and certificates are known."""

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pkicode.adapters.handshake import shake
from pkicode.adapters.network import Network
from pkicode.scanner.asking import discover
from pkicode.scanner.finding import Target
from pkicode.scanner.registry import QUICK
from tests.scan.scanning import NOW, found, grades, groups, scanned, suites
from tests.scan.servers import HOST, NAME, Identity, gnutls, identity, nginx, openssl

EVERYTHING = "ALL:COMPLEMENTOFALL:eNULL:@SECLEVEL=0"
VERSIONS = {"TLSv1.0": "-tls1", "TLSv1.1": "-tls1_1", "TLSv1.2": "-tls1_2", "TLSv1.3": "-tls1_3"}
TLS13 = ["TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256"]
"""In OpenSSL's own order."""


@pytest.fixture(scope="module")
def rsa(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return identity(tmp_path_factory.mktemp("rsa"), "rsa")


@pytest.fixture(scope="module")
def ecdsa(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return identity(tmp_path_factory.mktemp("ecdsa"), "ecdsa")


def truth(version: str, ciphers: str, *authentications: str) -> list[str]:
    """What the openssl command takes of these in this version, in its order, with keys of these kinds."""
    done = subprocess.run(
        ["openssl", "ciphers", "-s", VERSIONS[version], "-v", "-stdname", ciphers],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = [line.split() for line in done.stdout.splitlines()]
    allowed = {f"Au={one}" for one in (*authentications, "any")}
    return [
        fields[0]
        for fields in lines
        if allowed & set(fields) and ("TLSv1.3" in fields) == (version == "TLSv1.3") and "Kx=SRP" not in fields
    ]


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_everything_that_openssl_takes_is_found_in_its_order(kind: str, request: pytest.FixtureRequest):
    mine: Identity = request.getfixturevalue(kind)
    with openssl(mine, "-serverpref", "-cipher", EVERYTHING) as port:
        endpoint = scanned(port)
    assert endpoint.versions == tuple(VERSIONS)
    told = {version: suites(endpoint, version) for version in VERSIONS}
    assert told == {version: truth(version, EVERYTHING, kind.upper(), "None") for version in VERSIONS}
    assert sum(map(len, told.values())) >= {"rsa": 90, "ecdsa": 50}[kind]
    assert found(endpoint, "Preference").value == "server"
    assert grades(endpoint, "NULL", "anon", "BEAST", "CipherSuite", "Versions") == {
        "NULL": "Bad", "anon": "Bad", "BEAST": "Warning", "CipherSuite": "Bad", "Versions": "Warning",
    }  # fmt: skip


@pytest.mark.parametrize("only", VERSIONS)
def test_a_server_of_one_version_speaks_that_alone(rsa: Identity, only: str):
    with openssl(rsa, VERSIONS[only], "-cipher", "DEFAULT:@SECLEVEL=0") as port:
        endpoint = scanned(port)
    assert endpoint.versions == (only,)
    assert {cipher.version for cipher in endpoint.ciphers} == {only}
    assert {group.version for group in endpoint.groups} == {only}
    assert endpoint.chains[0].der == rsa.der
    assert found(endpoint, "FallbackSCSV").grade == "Skipped"


def test_a_client_order_is_told_from_a_servers(rsa: Identity):
    with openssl(rsa, "-tls1_2", "-cipher", "ECDHE+AESGCM") as port:
        assert found(scanned(port), "Preference").value == "client"


@pytest.mark.parametrize(
    ("wanted", "before", "tls13"),
    [
        ("X25519:P-256", ["x25519", "secp256r1"], ["x25519", "secp256r1"]),
        ("P-521:P-384", ["secp521r1", "secp384r1"], ["secp521r1", "secp384r1"]),
        ("X448:ffdhe3072:P-384", ["x448", "secp384r1"], ["x448", "secp384r1", "ffdhe3072"]),
        ("brainpoolP256r1:secp256k1:P-256", ["secp256r1", "secp256k1", "brainpoolP256r1"], ["secp256r1"]),
    ],
)
def test_the_groups_of_openssl_are_found(rsa: Identity, wanted: str, before: list[str], tls13: list[str]):
    with openssl(rsa, "-groups", wanted, "-cipher", "ECDHE+AESGCM") as port:
        endpoint = scanned(port)
    assert sorted(groups(endpoint, "TLSv1.2")) == sorted(before)
    assert sorted(groups(endpoint, "TLSv1.3")) == sorted(tls13)
    # Without x25519 the certificate comes after a HelloRetryRequest.
    assert endpoint.chains[0].der == rsa.der


def test_groups_are_found_beside_the_curve_of_an_ecdsa_certificate(ecdsa: Identity):
    with openssl(ecdsa, "-tls1_2", "-groups", "P-256:X25519:P-384") as port:
        endpoint = scanned(port)
    assert sorted(groups(endpoint, "TLSv1.2")) == ["secp256r1", "secp384r1", "x25519"]


def test_a_preferred_curve_of_the_certificate_hides_others_and_that_is_told(ecdsa: Identity):
    with openssl(ecdsa, "-tls1_2", "-serverpref", "-groups", "X25519:P-256:P-384") as port:
        endpoint = scanned(port)
    assert groups(endpoint, "TLSv1.2") == ["x25519", "secp256r1"]
    assert found(endpoint, "ECCurves").grade == "Unknown"
    with openssl(ecdsa, "-serverpref", "-groups", "X25519:P-256:P-384") as port:
        endpoint = scanned(port)
    assert groups(endpoint, "TLSv1.3") == ["x25519", "secp256r1", "secp384r1"]
    assert found(endpoint, "ECCurves").grade == "Good"


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_both_certificates_of_a_server_are_read(rsa: Identity, ecdsa: Identity, version: str):
    with openssl(rsa, "-dcert", ecdsa.chain, "-dkey", ecdsa.key, version) as port:
        endpoint = scanned(port)
    assert {presented.der for presented in endpoint.chains} == {rsa.der, ecdsa.der}
    assert {presented.slot for presented in endpoint.chains} == {0, 1}
    assert found(endpoint, "CertsBySigAlgs").value == "ECDSA, RSA"


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_the_schemes_with_which_a_server_signs_are_found(rsa: Identity, ecdsa: Identity, version: str):
    wanted = ["rsa_pss_rsae_sha512", "ecdsa_secp256r1_sha256", "rsa_pss_rsae_sha256"]
    options = ["-sigalgs", ":".join(wanted), "-serverpref", version]
    with openssl(rsa, "-dcert", ecdsa.chain, "-dkey", ecdsa.key, *options) as port:
        signing = found(scanned(port), "SigAlgs")
    assert (sorted(signing.value.split()), signing.grade) == (sorted(wanted), "Good")


def test_a_server_that_still_signs_with_sha_1_is_warned_of(rsa: Identity):
    with openssl(rsa, "-cipher", "ALL:@SECLEVEL=0") as port:
        signing = found(scanned(port), "SigAlgs")
    assert signing.value.split()[-1] == "rsa_pkcs1_sha1"
    assert signing.grade == "Warning"


def test_the_certificate_without_a_name_is_read_too(rsa: Identity, ecdsa: Identity):
    with openssl(ecdsa, "-servername", NAME, "-cert2", rsa.chain, "-key2", rsa.key) as port:
        endpoint = scanned(port, server_name=NAME)
    assert endpoint.chains[0].der == rsa.der
    assert ecdsa.der in {presented.der for presented in endpoint.chains}


@pytest.mark.parametrize("group", ["X25519", "P-256", "P-384", "P-521", "X448"])
def test_a_certificate_is_read_with_every_group(rsa: Identity, group: str):
    with openssl(rsa, "-tls1_3", "-groups", group) as port:
        assert scanned(port, QUICK).chains[0].der == rsa.der


@pytest.mark.parametrize("suite", [*TLS13, "TLS_AES_128_CCM_SHA256", "TLS_AES_128_CCM_8_SHA256"])
def test_a_certificate_is_read_with_every_suite_of_tls13(rsa: Identity, suite: str):
    with openssl(rsa, "-tls1_3", "-ciphersuites", suite, "-cipher", "ALL:@SECLEVEL=0") as port:
        endpoint = scanned(port)
    assert suites(endpoint, "TLSv1.3") == [suite]
    assert endpoint.chains[0].der == rsa.der


def test_a_cookie_is_given_back(rsa: Identity):
    with openssl(rsa, "-tls1_3", "-stateless") as port:
        assert scanned(port).chains[0].der == rsa.der


def test_what_a_good_openssl_does_is_good(rsa: Identity):
    with openssl(rsa, "-alpn", "h2") as port:
        endpoint = scanned(port)
    assert endpoint.alpn == "h2"
    good = (
        "TCPDial", "TLSDial", "Versions", "FallbackSCSV", "EMS", "SecureRenegotiation", "CRIME", "Downgrade",
        "Intolerance", "POODLE", "FREAK", "LOGJAM", "DROWN", "SWEET32", "RC4", "NULL", "anon", "Heartbleed", "CCS",
        "ROBOT", "LUCKY13",
    )  # fmt: skip
    assert grades(endpoint, *good) == dict.fromkeys(good, "Good")


def test_the_cas_of_clients_are_read(rsa: Identity):
    for version in ("-tls1_2", "-tls1_3"):
        with openssl(rsa, version, "-Verify", "1", "-CAfile", rsa.chain) as port:
            assert f"CN={NAME}" in found(scanned(port), "ClientCAs").detail


@pytest.mark.parametrize(("version", "field"), [("-tls1_2", "staple"), ("-tls1_3", "staple")])
def test_a_staple_is_read(rsa: Identity, tmp_path: Path, version: str, field: str):
    stapled = tmp_path / "staple.der"
    # OCSPResponse with status tryLater and nothing else.
    stapled.write_bytes(bytes.fromhex("30030a0103"))
    with openssl(rsa, version, "-status_file", stapled) as port:
        assert getattr(scanned(port), field) == stapled.read_bytes()


def test_small_fields_are_found(rsa: Identity, tmp_path: Path):
    parameters = tmp_path / "dh.pem"
    subprocess.run(["openssl", "dhparam", "-dsaparam", "-out", parameters, "1024"], capture_output=True, check=True)
    with nginx(tmp_path, [rsa], f"ssl_dhparam {parameters}; ssl_ciphers DHE:@SECLEVEL=0;") as port:
        endpoint = scanned(port)
    assert found(endpoint, "DHSize").value == "1024"
    assert grades(endpoint, "DHSize", "LOGJAM") == {"DHSize": "Bad", "LOGJAM": "Warning"}


def test_a_quick_scan_makes_four_connections(rsa: Identity):
    with openssl(rsa, "-cipher", "DEFAULT:@SECLEVEL=0") as port:
        endpoint = scanned(port, QUICK)
    assert endpoint.connections == 4
    assert endpoint.versions == ("TLSv1.1", "TLSv1.2", "TLSv1.3")
    assert endpoint.chains[0].der == rsa.der


def test_a_target_is_discovered_with_one_connection(rsa: Identity):
    with openssl(rsa) as port:
        target = Target(HOST, HOST, port)
        endpoint = asyncio.run(discover(target, reach=Network(), shake=shake, entropy=os.urandom, now=NOW))
    assert (endpoint.state, endpoint.versions, endpoint.connections) == ("tls", ("TLSv1.3",), 1)


def test_a_scan_over_ipv6_is_one_over_ipv4(rsa: Identity):
    with openssl(rsa, host="[::1]") as port:
        endpoint = scanned(port, address="::1")
    assert endpoint.state == "tls"
    assert str(endpoint.target) == f"[::1]:{port}"


MOZILLA = (
    "ssl_protocols TLSv1.2 TLSv1.3; ssl_prefer_server_ciphers off; ssl_ecdh_curve X25519:prime256v1:secp384r1;"
    "ssl_ciphers ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305;"
)


@pytest.fixture(scope="module")
def intermediate(rsa: Identity, ecdsa: Identity, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with nginx(tmp_path_factory.mktemp("nginx"), [rsa, ecdsa], MOZILLA) as port:
        yield port


def test_an_intermediate_nginx_is_read_with_few_connections(intermediate: int, rsa: Identity, ecdsa: Identity):
    endpoint = scanned(intermediate)
    assert endpoint.versions == ("TLSv1.2", "TLSv1.3")
    assert set(suites(endpoint, "TLSv1.2")) == {
        f"TLS_ECDHE_{key}_WITH_{cipher}"
        for key in ("RSA", "ECDSA")
        for cipher in ("AES_128_GCM_SHA256", "AES_256_GCM_SHA384", "CHACHA20_POLY1305_SHA256")
    }
    assert set(suites(endpoint, "TLSv1.3")) == set(TLS13)
    for version in endpoint.versions:
        assert sorted(groups(endpoint, version)) == ["secp256r1", "secp384r1", "x25519"]
    assert {presented.der for presented in endpoint.chains} == {rsa.der, ecdsa.der}
    poor = [one for one in endpoint.findings if one.grade in {"Bad", "Warning", "Unknown"} and one.family != "HTTP"]
    assert not poor
    assert endpoint.connections <= 45


def test_the_order_of_nginx_is_read(rsa: Identity, tmp_path: Path):
    order = ["ECDHE-RSA-CHACHA20-POLY1305", "ECDHE-RSA-AES128-GCM-SHA256", "AES256-SHA", "ECDHE-RSA-AES256-GCM-SHA384"]
    settings = f"ssl_protocols TLSv1.2; ssl_prefer_server_ciphers on; ssl_ciphers {':'.join(order)};"
    with nginx(tmp_path, [rsa], settings) as port:
        assert suites(scanned(port), "TLSv1.2") == truth("TLSv1.2", ":".join(order), "RSA")


def test_a_gnutls_server_is_read(rsa: Identity):
    priority = (
        "NONE:+VERS-TLS1.3:+VERS-TLS1.2:+VERS-TLS1.0:+AES-128-GCM:+CHACHA20-POLY1305:+AES-256-CBC:+AEAD:+SHA1"
        ":+ECDHE-RSA:+DHE-RSA:+RSA:+SIGN-ALL:+COMP-NULL:+GROUP-SECP256R1:+GROUP-X25519:+GROUP-FFDHE3072"
    )
    with gnutls(rsa, priority) as port:
        endpoint = scanned(port)
    assert endpoint.versions == ("TLSv1.0", "TLSv1.2", "TLSv1.3")
    assert set(suites(endpoint, "TLSv1.3")) == {"TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256"}
    assert set(suites(endpoint, "TLSv1.0")) == {
        f"TLS_{kx}_WITH_AES_256_CBC_SHA" for kx in ("ECDHE_RSA", "DHE_RSA", "RSA")
    }
    assert set(suites(endpoint, "TLSv1.2")) - set(suites(endpoint, "TLSv1.0")) == {
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        "TLS_RSA_WITH_AES_128_GCM_SHA256",
    }  # fmt: skip
    assert sorted(groups(endpoint, "TLSv1.3")) == ["ffdhe3072", "secp256r1", "x25519"]
    assert endpoint.chains[0].der == rsa.der


def test_a_gnutls_of_tls13_alone_is_not_searched_for_older_suites(rsa: Identity):
    with gnutls(rsa, "NORMAL:-VERS-ALL:+VERS-TLS1.3") as port:
        endpoint = scanned(port)
    assert endpoint.versions == ("TLSv1.3",)
    assert endpoint.connections <= 45
    assert grades(endpoint, "RC4", "Versions") == {"RC4": "Good", "Versions": "Good"}


def test_a_heartbeat_of_gnutls_brings_nothing(rsa: Identity):
    with gnutls(rsa, "NORMAL:-VERS-TLS1.3", "--heartbeat") as port:
        heartbleed = found(scanned(port), "Heartbleed")
    assert (heartbleed.grade, heartbleed.detail) == ("Good", "The attack was tried, and brings nothing.")
