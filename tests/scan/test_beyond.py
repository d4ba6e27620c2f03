"""What a deep scan of suites does not tell: early data, renegotiation that a client begins, JARM; with real servers."""

import asyncio
import re
import subprocess
from pathlib import Path

import pytest

from pkicode.scanner.finding import Endpoint
from pkicode.scanner.registry import BY_NAME
from tests.scan import strange
from tests.scan.scanning import found, scan, scanned
from tests.scan.servers import NAME, Identity, gnutls, identity, nginx, openssl

AEADS = (
    "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-CHACHA20-POLY1305",
    "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305",
)  # fmt: skip


@pytest.fixture(scope="module")
def rsa(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return identity(tmp_path_factory.mktemp("rsa"), "rsa")


@pytest.fixture(scope="module")
def ecdsa(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return identity(tmp_path_factory.mktemp("ecdsa"), "ecdsa")


def told(port: int, check: str) -> tuple[str, str]:
    one = found(scanned(port, server_name=NAME), check)
    return str(one.grade), one.value


SUITES13 = (
    "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_CCM_SHA256",
    "TLS_AES_128_CCM_8_SHA256",
)  # fmt: skip


@pytest.mark.parametrize("suite", SUITES13)
def test_early_data_of_openssl_is_found_with_every_suite(rsa: Identity, suite: str):
    with openssl(rsa, "-early_data", "-max_early_data", "12345", "-ciphersuites", suite) as port:
        assert told(port, "EarlyData") == ("Warning", "12345")


@pytest.mark.parametrize("group", ["P-256", "P-384", "P-521", "X448", "X25519"])
def test_early_data_is_found_with_every_curve(ecdsa: Identity, group: str):
    with openssl(ecdsa, "-early_data", "-groups", group) as port:
        assert told(port, "EarlyData") == ("Warning", "16384")


@pytest.mark.parametrize("options", [[], ["-num_tickets", "0"], ["-no_ticket"], ["-tls1_3"]])
def test_a_server_without_early_data_has_none(rsa: Identity, options: list[str]):
    with openssl(rsa, *options) as port:
        assert told(port, "EarlyData") == ("Good", "no")


def test_nginx_is_asked_for_early_data(rsa: Identity, tmp_path: Path):
    for setting, expected in (("on", "Warning"), ("off", "Good")):
        with nginx(tmp_path, [rsa], f"ssl_early_data {setting}; ssl_protocols TLSv1.2 TLSv1.3;") as port:
            assert told(port, "EarlyData")[0] == expected


def test_gnutls_is_asked_for_early_data(rsa: Identity):
    with gnutls(rsa, "NORMAL", "--earlydata", "--maxearlydata", "1000") as port:
        assert told(port, "EarlyData") == ("Warning", "1000")
    with gnutls(rsa, "NORMAL") as port:
        assert told(port, "EarlyData") == ("Good", "no")


def test_who_wants_a_certificate_of_the_client_is_told_that_there_is_none(rsa: Identity):
    with openssl(rsa, "-early_data", "-verify", "1") as port:
        assert told(port, "EarlyData") == ("Warning", "16384")
    with openssl(rsa, "-early_data", "-Verify", "1") as port:
        assert told(port, "EarlyData")[0] == "Unknown"


def test_a_server_of_tls12_has_no_early_data(rsa: Identity):
    with openssl(rsa, "-tls1_2") as port:
        assert told(port, "EarlyData") == ("Skipped", "")


@pytest.mark.parametrize("suite", AEADS)
def test_renegotiation_is_found_with_every_suite_that_can_be_finished(suite: str, rsa: Identity, ecdsa: Identity):
    mine = ecdsa if "ECDSA" in suite else rsa
    with openssl(mine, "-tls1_2", "-cipher", suite, "-client_renegotiation") as port:
        assert told(port, "ClientRenegotiation") == ("Warning", "yes")


@pytest.mark.parametrize("group", ["P-256", "P-384", "P-521", "X448", "X25519"])
def test_renegotiation_is_found_with_every_curve(ecdsa: Identity, group: str):
    with openssl(ecdsa, "-groups", group if group == "P-256" else f"{group}:P-256", "-client_renegotiation") as port:
        assert told(port, "ClientRenegotiation") == ("Warning", "yes")


def test_renegotiation_is_found_without_the_extended_master_secret(rsa: Identity):
    with gnutls(rsa, "NORMAL:-VERS-TLS1.3:%NO_SESSION_HASH") as port:
        assert told(port, "EMS") == ("Warning", "no")
        assert told(port, "ClientRenegotiation") == ("Warning", "yes")


def test_renegotiation_is_found_where_a_certificate_is_asked_for_and_not_needed(rsa: Identity):
    with openssl(rsa, "-tls1_2", "-client_renegotiation", "-verify", "1") as port:
        assert told(port, "ClientRenegotiation") == ("Warning", "yes")


def test_a_server_that_refuses_renegotiation_is_good(rsa: Identity, tmp_path: Path):
    with openssl(rsa) as port:
        assert told(port, "ClientRenegotiation") == ("Good", "no")
    with openssl(rsa, "-no_renegotiation") as port:
        assert told(port, "ClientRenegotiation") == ("Good", "no")
    with nginx(tmp_path, [rsa], "ssl_protocols TLSv1.2;") as port:
        assert told(port, "ClientRenegotiation") == ("Good", "no")


def test_gnutls_takes_part_in_a_renegotiation(rsa: Identity):
    with gnutls(rsa, "NORMAL:-VERS-TLS1.3") as port:
        assert told(port, "ClientRenegotiation") == ("Warning", "yes")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-tls1_3"], "does not renegotiate"),
        (["-tls1_2", "-cipher", "AES128-SHA", "-client_renegotiation"], "takes a handshake with ECDHE"),
    ],
)
def test_whoever_cannot_be_asked_is_skipped_with_the_reason(rsa: Identity, options: list[str], said: str):
    with openssl(rsa, *options) as port:
        one = found(scanned(port), "ClientRenegotiation")
    assert (one.grade, said in one.detail) == ("Skipped", True)


def test_who_wants_a_certificate_and_gets_none_makes_nothing_known(rsa: Identity):
    with openssl(rsa, "-tls1_2", "-client_renegotiation", "-Verify", "1") as port:
        assert told(port, "ClientRenegotiation")[0] == "Unknown"


def test_a_server_has_the_same_fingerprint_each_time_and_another_one_by_other_suites(rsa: Identity):
    with openssl(rsa) as port:
        one, again = (found(scanned(port, BY_NAME), "JARM") for _ in range(2))
    with openssl(rsa, "-cipher", "AES128-SHA") as port:
        other = found(scanned(port, BY_NAME), "JARM")
    assert one == again
    assert re.fullmatch("[0-9a-f]{62}", one.value)
    assert other.value[:6] == "06d06d"
    assert one.value[30:] != other.value[30:]


def test_a_fingerprint_costs_ten_connections(rsa: Identity):
    with openssl(rsa) as port:
        assert scanned(port, BY_NAME).connections == 11


def test_an_answer_is_told_as_openssl_reads_it(rsa: Identity):
    only = tuple(one for one in BY_NAME if one.name == "server-hello")
    with openssl(rsa, "-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256") as port:
        endpoint = scanned(port, only)
        client = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-trace"]
        trace = subprocess.run(client, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True).stdout
    assert endpoint.connections == 1
    version, suite, extensions = found(endpoint, "ServerHello").value.split(" ")
    assert (version, suite) == ("TLSv1.2", "c02f")
    answer = trace.partition("ServerHello,")[2].partition("Certificate,")[0]
    theirs = [f"{int(number):04x}" for number in re.findall(r"extension_type=\w+\((\d+)\)", answer)]
    assert theirs
    # s_client names fewer extensions than a browser, and the server answers what it was asked.
    assert [one for one in extensions.split("-") if one in theirs] == theirs


def test_of_a_hello_that_is_refused_nothing_is_told(rsa: Identity):
    only = tuple(one for one in BY_NAME if one.name == "server-hello")
    with openssl(rsa, "-tls1_2", "-cipher", "RSA-PSK-AES128-GCM-SHA256", "-psk", "00") as port:
        one = found(scanned(port, only), "ServerHello")
    assert (one.grade, one.value) == ("Unknown", "")


def test_of_a_server_that_falls_silent_there_is_no_fingerprint(rsa: Identity):
    async def both() -> Endpoint:
        with openssl(rsa) as port:
            # Only hellos that name a heartbeat pass: the scanner's own, and none of the ten.
            async with strange.serving(
                strange.box(port, lambda hello: b"\0\x0f\0\1\1" in hello, strange.tarpit)
            ) as box:
                return await scan(box, BY_NAME, patience=1)

    one = found(asyncio.run(both()), "JARM")
    assert (one.grade, one.value) == ("Unknown", "")
    assert "timeout" in one.detail
