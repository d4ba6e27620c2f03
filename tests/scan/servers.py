"""Servers to scan on 127.0.0.1: openssl, gnutls-serv, nginx and tlslite-ng, each as it is asked for."""

import datetime
import socket
import subprocess
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

HOST = "127.0.0.1"
SECONDS = 60
NAME = "scanned.example"


@frozen
class Identity:
    """A self-signed certificate in files."""

    chain: Path
    key: Path

    @property
    def der(self) -> bytes:
        return x509.load_pem_x509_certificate(self.chain.read_bytes()).public_bytes(Encoding.DER)


@cache
def identity(folder: Path, kind: str) -> Identity:
    """One for NAME; `kind` is rsa, ecdsa, ecdsa384 or ed25519.  A folder has at most one of each."""
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
    if kind == "rsa":
        key = rsa.generate_private_key(65537, 2048)
    elif kind == "ed25519":
        key = ed25519.Ed25519PrivateKey.generate()
    else:
        key = ec.generate_private_key(ec.SECP384R1() if kind == "ecdsa384" else ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(key, None if kind == "ed25519" else SHA256())
    )
    found = Identity(folder / f"{kind}.pem", folder / f"{kind}.key")
    found.chain.write_bytes(built.public_bytes(Encoding.PEM))
    found.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return found


def free_port() -> int:
    """Nobody listens at it now."""
    with socket.socket() as one:
        one.bind((HOST, 0))
        port: int = one.getsockname()[1]
        return port


@contextmanager
def started(command: Sequence[str | Path], ready: str = "", port: int = 0, host: str = HOST) -> Iterator[str]:
    """The command while the block runs; gives the line that says it is `ready`, or waits until the port is open."""
    with subprocess.Popen(
        [*map(str, command)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout
        try:
            line = next(line for line in process.stdout if ready in line) if ready else ""
            # What it says while it is scanned would fill the pipe.
            drain = threading.Thread(target=deque, args=(process.stdout, 0), daemon=True)
            drain.start()
            while port and not _is_open(host, port):
                assert process.poll() is None, f"{command[0]} ended"
            yield line
        finally:
            process.terminate()
            process.wait(SECONDS)
            drain.join(SECONDS)


def _is_open(host: str, port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex((host, port)) == 0


@contextmanager
def openssl(mine: Identity, *options: str | Path, host: str = HOST) -> Iterator[int]:
    """`openssl s_server`; gives its port."""
    command = ["openssl", "s_server", "-accept", f"{host}:0", "-cert", mine.chain, "-key", mine.key, *options]
    with started(command, "ACCEPT ") as line:
        yield int(line.split()[1].rpartition(":")[2])


@contextmanager
def gnutls(mine: Identity, priority: str, *options: str | Path) -> Iterator[int]:
    """`gnutls-serv`; gives its port."""
    port = free_port()
    command = ["gnutls-serv", "--port", str(port), "--priority", priority, "--http", "--disable-client-cert"]
    with started([*command, "--x509certfile", mine.chain, "--x509keyfile", mine.key, *options], port=port):
        yield port


@contextmanager
def nginx(folder: Path, identities: Sequence[Identity], settings: str) -> Iterator[int]:
    """nginx with these settings of its server block; gives its port."""
    port = free_port()
    files = "".join(f"ssl_certificate {one.chain}; ssl_certificate_key {one.key};" for one in identities)
    paths = "".join(f"{kind}_temp_path {folder};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (folder / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;"
        f"events {{}} http {{ access_log off; {paths} server {{ listen {HOST}:{port} ssl; {files} {settings} }} }}",
        encoding="utf-8",
    )
    with started(["/usr/sbin/nginx", "-p", folder, "-c", folder / "nginx.conf", "-e", folder / "error.log"], port=port):
        yield port
