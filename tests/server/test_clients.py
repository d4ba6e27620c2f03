"""The whole way, at the machine's clock: apply, serve, and ask with OpenSSL, GnuTLS, curl and nginx."""

import base64
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.kinds.site import Site
from tests.kinds.test_ocsp import OCSP, OTHER, PORTAL
from tests.oracles import ocsptool, openssl
from tests.quick import quick_keystore
from tests.server.running import Server, serving


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Two certificates of a PKI with OCSP: cert.portal is revoked, cert.other good."""
    root = tmp_path_factory.mktemp("live")
    quick_keystore(root)
    site = Site(root, now=int(time.time()) - 2)
    output = 'output = { chain = "out/NAME.pem", key = "out/NAME.key" }\n'
    portal, other = (text + output.replace("NAME", name) for text, name in ((PORTAL, "portal"), (OTHER, "other")))
    site.write(portal + other, base=OCSP)
    assert site.apply().exit_code == 0
    for name in ("portal", "other"):
        (root / f"{name}.pem").write_bytes(
            site.chain(f"cert.{name}").split(b"-----END")[0] + b"-----END CERTIFICATE-----\n"
        )
        shutil.copyfile(root / f"out/{name}.pem", root / f"{name}-chain.pem")
        shutil.copyfile(root / f"out/{name}.key", root / f"{name}.key")
    site.write(other, base=OCSP)
    site.now += 1
    assert site.apply().exit_code == 0
    return site


@contextmanager
def responder(site: Site, source: str) -> Iterator[Server]:
    packs = ["--pack", site.root / "public/ocsp/issuing-g1.pack"] if source == "pack" else []
    with serving(site.root, *packs, now="") as server:
        yield server


@pytest.mark.parametrize("source", ["pack", "state"])
@pytest.mark.parametrize("algorithm", ["-sha1", "-sha256"])
@pytest.mark.parametrize("nonce", ["-nonce", "-no_nonce"])
def test_openssl_as_a_client_agrees(live: Site, source: str, algorithm: str, nonce: str) -> None:
    public = live.root / "public"
    with responder(live, source) as server:
        for name, word in (("portal", "revoked"), ("other", "good")):
            said = openssl(
                *("ocsp", algorithm, "-issuer", public / "ca/issuing-g1.pem", "-cert", live.root / f"{name}.pem"),
                *(nonce, "-url", server.url, "-CAfile", public / "bundle/trust.pem"),
                *("-verify_other", public / "ca/issuing-g1.pem"),
            )
            assert f"{name}.pem: {word}" in said


def test_gnutls_as_a_client_agrees(live: Site) -> None:
    issuer = live.root / "public/ca/issuing-g1.pem"
    with responder(live, "pack") as server:
        for name, word in (("portal", "revoked"), ("other", "good")):
            trusting = ["--load-issuer", issuer, "--load-trust", issuer]
            said = ocsptool(f"--ask={server.url}", "--load-cert", live.root / f"{name}.pem", *trusting)
            assert f"Certificate Status: {word}" in said
            assert "Verifying OCSP Response: Success" in said


def test_curl_may_ask_by_get(live: Site) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    der = live.root / "request.der"
    openssl(
        "ocsp",
        "-issuer",
        live.root / "public/ca/issuing-g1.pem",
        "-cert",
        live.root / "other.pem",
        "-no_nonce",
        "-reqout",
        der,
    )

    with responder(live, "pack") as server:
        url = f"{server.url}/{quote(base64.b64encode(der.read_bytes()).decode(), safe='')}"
        told = subprocess.run(
            ["curl", "-sSf", "-o", live.root / "got", url], capture_output=True, text=True, timeout=30
        )
    assert told.returncode == 0, told.stderr
    said = ocsptool("--response-info", "--load-response", live.root / "got")
    assert "Certificate Status: good" in said


NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log info;
events {{ worker_connections 64; }}
http {{
  access_log off; client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {root}/{name}-chain.pem; ssl_certificate_key {root}/{name}.key;
    ssl_trusted_certificate {folder}/trusted.pem;
    ssl_stapling on; {stapling};
    return 200 "hello";
  }}
}}
"""


ASKING = "ssl_stapling_verify on; ssl_stapling_responder {url}/"


@pytest.mark.parametrize(
    ("name", "word", "stapling"),
    [
        ("other", "good", ASKING),
        ("other", "good", "ssl_stapling_file {folder}/answer"),
        ("portal", "revoked", "ssl_stapling_file {folder}/answer"),
    ],
    ids=["good, by itself", "good, from a file", "revoked, from a file"],
)
def test_nginx_staples_the_answer(live: Site, name: str, word: str, stapling: str, tmp_path: Path) -> None:
    """By itself nginx staples what is good only; what stands in a file it staples whatever it says."""
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if nginx is None:
        pytest.skip("nginx is not installed; `make test` installs it where it may")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    public = live.root / "public"
    trusted = (public / "ca/issuing-g1.pem").read_bytes() + (public / "bundle/trust.pem").read_bytes()
    (tmp_path / "trusted.pem").write_bytes(trusted)
    with responder(live, "pack") as server:
        which = ["-issuer", public / "ca/issuing-g1.pem", "-cert", live.root / f"{name}.pem", "-no_nonce"]
        openssl("ocsp", *which, "-url", server.url, "-noverify", "-respout", tmp_path / "answer")
        told = stapling.format(folder=tmp_path, url=server.url)
        config = NGINX.format(folder=tmp_path, root=live.root, name=name, port=port, stapling=told)
        (tmp_path / "nginx.conf").write_text(config)
        command = [nginx, "-p", tmp_path, "-c", tmp_path / "nginx.conf", "-e", tmp_path / "error.log"]
        with subprocess.Popen(command) as process:
            try:
                said = stapled(port, public / "bundle/trust.pem", word)
            finally:
                process.terminate()
    assert f"Cert Status: {word}" in said, (tmp_path / "error.log").read_text()
    assert "OCSP Response Status: successful" in said


def stapled(port: int, trust: Path, word: str) -> str:
    """What a TLS client is handed; nginx asks the responder at the first handshake, and has the answer soon after."""
    said = ""
    for _ in range(200):
        done = subprocess.run(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-status", "-CAfile", trust],
            input="",
            capture_output=True,
            text=True,
            timeout=30,
        )
        said = done.stdout + done.stderr
        if f"Cert Status: {word}" in said:
            break
    return said
