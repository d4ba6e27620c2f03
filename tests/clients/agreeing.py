"""Each client asks about every certificate of a moment, in each way it has, and is told what is so."""

import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pkicode.x509.pem import encode
from tests.clients.moment import Asked, Moment
from tests.oracles import (
    Refused,
    assert_gnutls_verifies,
    assert_verifies,
    by_clock,
    ocsptool,
    openssl,
    pem,
)
from tests.oracles.tls import curl

SOURCES = ("pack", "state")
WAYS = [(algorithm, nonce) for algorithm in ("-sha1", "-sha256") for nonce in ("-nonce", "-no_nonce")]
_NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log info;
events {{ worker_connections 64; }}
http {{
  access_log off; client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {chain}; ssl_certificate_key {key};
    ssl_trusted_certificate {folder}/trusted.pem;
    ssl_stapling on; {stapling};
    return 200 "hello";
  }}
}}
"""
_ASKING = "ssl_stapling_verify on; ssl_stapling_responder {url}/"
_FROM_FILE = "ssl_stapling_file {folder}/answer"


def openssl_asks(moment: Moment, url: str, issuer: str, which: Sequence[str | Path], *way: str | Path) -> str:
    """`openssl ocsp`; Refused where the answer is none, or does not verify."""
    by = moment.issuer(issuer)
    trust = ["-CAfile", moment.trust, "-verify_other", by]
    return openssl("ocsp", *way, "-issuer", by, *which, "-url", url, *trust, clock=moment.clock)


def gnutls_asks(moment: Moment, url: str, issuer: str, file: Path) -> str:
    by = moment.issuer(issuer)
    return ocsptool(
        f"--ask={url}", "--load-cert", file, "--load-issuer", by, "--load-trust", by, clock=moment.clock
    )  # fmt: skip


def by_openssl(moment: Moment, work: Path) -> None:
    for source in SOURCES:
        with moment.responder(source) as server:
            for one in moment.asked:
                for way in WAYS:
                    said = openssl_asks(moment, server.url, one.issuer, ["-cert", one.file], *way)
                    assert f"{one.file}: {one.word}" in said, f"{source} {way}\n{said}"
                    assert ("Revocation Time" in said) is (one.word == "revoked")


def by_gnutls(moment: Moment, work: Path) -> None:
    for source in SOURCES:
        with moment.responder(source) as server:
            for one in moment.asked:
                said = gnutls_asks(moment, server.url, one.issuer, one.file)
                assert f"Certificate Status: {one.word}" in said
                assert "Verifying OCSP Response: Success" in said


def by_nginx(moment: Moment, work: Path) -> None:
    """By itself nginx staples what is good only; what stands in a file it staples whatever it says."""
    with moment.responder("pack") as server:
        for number, one in enumerate(moment.leaves):
            for stapling in [_FROM_FILE, _ASKING] if one.word == "good" else [_FROM_FILE]:
                folder = work / f"nginx-{number}-{stapling == _ASKING}"
                folder.mkdir()
                way = ["-no_nonce", "-respout", folder / "answer"]
                openssl_asks(moment, server.url, one.issuer, ["-cert", one.file], *way)
                with nginx(moment, one, folder, stapling.format(folder=folder, url=server.url)) as port:
                    said = stapled(moment, port, one.word)
                assert f"Cert Status: {one.word}" in said, f"{one.file}\n{(folder / 'error.log').read_text()}"
                assert "OCSP Response Status: successful" in said


@contextmanager
def nginx(moment: Moment, one: Asked, folder: Path, stapling: str) -> Iterator[int]:
    """nginx with a leaf's chain; gives its port."""
    command = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if command is None:
        pytest.skip("nginx is not installed; `make test` installs it where it may")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "trusted.pem").write_bytes(moment.issuer(one.issuer).read_bytes() + moment.trust.read_bytes())
    config = _NGINX.format(folder=folder, chain=one.chain, key=one.key, port=port, stapling=stapling)
    (folder / "nginx.conf").write_text(config)
    mine = [command, "-p", folder, "-c", folder / "nginx.conf", "-e", folder / "error.log"]
    with subprocess.Popen([*by_clock(moment.clock), *mine]) as process:
        try:
            yield port
        finally:
            # It is asked itself: a signal would end the process that gives it its clock, and leave nginx there.
            done = subprocess.run([*mine, "-s", "stop"], capture_output=True, timeout=60)
            if done.returncode != 0:
                process.terminate()


def stapled(moment: Moment, port: int, word: str) -> str:
    """What a TLS client is handed; nginx asks the responder at the first handshake, and has the answer soon after."""
    said = ""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-status", "-CAfile", moment.trust]
    for _ in range(200):
        done = subprocess.run(
            [*by_clock(moment.clock), *command], input="", capture_output=True, text=True, timeout=60
        )  # fmt: skip
        said = done.stdout + done.stderr
        if f"Cert Status: {word}" in said:
            break
    return said


def by_lists(moment: Moment, work: Path) -> None:
    """OpenSSL and GnuTLS by the CRLs alone, and curl, which talks to the server or does not."""
    lists = work / "lists.pem"
    lists.write_bytes(b"".join(pem(one, label="X509 CRL") for one in moment.crls()))
    root, at = moment.trust.read_bytes(), moment.clock
    for one in moment.asked:
        leaf, *chain = (b"-----BEGIN" + each for each in (one.chain or one.file).read_bytes().split(b"-----BEGIN")[1:])
        for verify in (assert_verifies, assert_gnutls_verifies):
            if one.word == "good":
                verify(leaf, chain=chain, root=root, crls=moment.crls(), at=at)
            else:
                with pytest.raises(Refused, match="revoked"):
                    verify(leaf, chain=chain, root=root, crls=moment.crls(), at=at)
        if one.chain and one.key:
            done = curl(one.name, one.chain, one.key, trust=moment.trust, crls=lists, clock=at)
            assert done.returncode == (0 if one.word == "good" else 60), f"{one.file}\n{done.stderr}"
            assert ("certificate revoked" in done.stderr) is (one.word == "revoked")


def never_good(moment: Moment, work: Path) -> None:
    """A serial nobody issued, next to one that was; one of another CA; one that has ended; a forged certificate."""
    for source in SOURCES:
        with moment.responder(source) as server:
            for issuer in moment.issuers:
                there = {serial(one.file) for one in moment.asked if one.issuer == issuer}
                others = {serial(one.file) for one in moment.asked if one.issuer != issuer}
                ended = {serial(one.file) for one in moment.ended}
                for one in sorted({0, 1, *(each + 1 for each in there), *others, *ended} - there):
                    for way in WAYS:
                        with pytest.raises(Refused, match="unauthorized"):
                            openssl_asks(moment, server.url, issuer, ["-serial", str(one)], *way)
                file = forged(moment.issuer(issuer), work / f"{source}-{issuer}.pem", max(there) + 1)
                with pytest.raises(Refused, match="unauthorized"):
                    openssl_asks(moment, server.url, issuer, ["-cert", file])
                with pytest.raises(Refused, match=r"(?i)not successful|unauthorized"):
                    gnutls_asks(moment, server.url, issuer, file)
            for gone in moment.ended:
                with pytest.raises(Refused, match=r"unauthorized|trylater"):
                    openssl_asks(moment, server.url, gone.issuer, ["-cert", gone.file])


def serial(file: Path) -> int:
    return x509.load_pem_x509_certificate(file.read_bytes()).serial_number


def forged(issuer: Path, file: Path, number: int) -> Path:
    """A certificate in a CA's name that somebody else signed."""
    by, key = x509.load_pem_x509_certificate(issuer.read_bytes()), ec.generate_private_key(ec.SECP256R1())
    made = (
        x509.CertificateBuilder(by.subject, by.subject, key.public_key(), number)
        .not_valid_before(by.not_valid_before_utc)
        .not_valid_after(by.not_valid_before_utc + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    file.write_bytes(encode("CERTIFICATE", made.public_bytes(serialization.Encoding.DER)))
    return file


Client = Callable[[Moment, Path], None]
CLIENTS = pytest.mark.parametrize(
    "client", [by_openssl, by_gnutls, by_nginx, by_lists, never_good], ids=lambda one: one.__name__
)
