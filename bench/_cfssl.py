"""The peer: `cfssl serve` with its sqlite database, and eight clients that wait for no more than its answers.

Run as a script this file is the clients' process: requests stand in a file, ready to be sent, so that nothing but
sending and receiving is measured and taken from the server's cores.
"""

import http.client
import json
import os
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from _postgres import Postgres
from attrs import frozen

CLIENTS = 8
# Schema of CFSSL's own migrations (certdb/sqlite/migrations/001_CreateCertificates.sql) for the version Debian ships.
_SCHEMA = """
CREATE TABLE certificates (
  serial_number blob NOT NULL, authority_key_identifier blob NOT NULL, ca_label blob, status blob NOT NULL,
  reason int, expiry timestamp, revoked_at timestamp, pem blob NOT NULL,
  PRIMARY KEY (serial_number, authority_key_identifier));
CREATE TABLE ocsp_responses (
  serial_number blob NOT NULL, authority_key_identifier blob NOT NULL, body blob NOT NULL, expiry timestamp,
  PRIMARY KEY (serial_number, authority_key_identifier),
  FOREIGN KEY (serial_number, authority_key_identifier)
    REFERENCES certificates (serial_number, authority_key_identifier));
"""
_PROFILE = {
    "expiry": "2160h",
    "usages": ["digital signature", "server auth"],
    "crl_url": "http://pki.bench.example/crl/issuing-g1.crl",
    "issuer_urls": ["http://pki.bench.example/ca/issuing-g1.cer"],
}


@frozen
class Served:
    """What CFSSL did in one round."""

    seconds: float
    issued: int
    """Rows in its database, counted by us."""
    refused: int
    """Answers that were errors, mostly `database is locked`."""
    cpu: float
    p99: float

    @property
    def rate(self) -> float:
        return self.issued / self.seconds


def make_ca(folder: Path) -> None:
    """CA certificate and P-256 key by CFSSL itself."""
    folder.mkdir(parents=True)
    asked = {"CN": "Bench CA", "key": {"algo": "ecdsa", "size": 256}}
    (folder / "request.json").write_text(json.dumps(asked))
    made = subprocess.run(
        ["cfssl", "genkey", "-loglevel=4", "-initca", "request.json"], cwd=folder, check=True, capture_output=True
    )
    subprocess.run(["cfssljson", "-bare", "ca"], cwd=folder, input=made.stdout, check=True)
    (folder / "config.json").write_text(json.dumps({"signing": {"default": _PROFILE}}))


def signing(requests: Iterable[tuple[str, bytes]]) -> Iterator[dict[str, object]]:
    """Bodies for /sign: host and CSR (PEM)."""
    for host, csr in requests:
        yield {"certificate_request": csr.decode(), "hosts": [host]}


def generating(hosts: Iterable[str]) -> Iterator[dict[str, object]]:
    """Bodies for /newcert: CFSSL makes the key."""
    for host in hosts:
        yield {"request": {"CN": host, "hosts": [host], "key": {"algo": "ecdsa", "size": 256}}}


def serve(
    ca: Path, work: Path, endpoint: str, bodies: Iterable[dict[str, object]], postgres: Postgres | None = None
) -> Served:
    """One round: a fresh database, a fresh server, all of `bodies`."""
    work.mkdir(parents=True)
    file, name = work / "certs.db", f"cfssl_{work.name}"
    if postgres:
        postgres.sql(f"CREATE DATABASE {name}")
        postgres.sql(_SCHEMA.replace("blob", "bytea").replace("timestamp", "timestamptz"), name)
        source = {"driver": "postgres", "data_source": postgres.url(name, sslmode="disable")}
    else:
        with sqlite3.connect(file) as connection:
            connection.executescript(_SCHEMA)
        source = {"driver": "sqlite3", "data_source": str(file)}
    (work / "db.json").write_text(json.dumps(source))
    with _server(ca, work) as (port, usage):
        requests = work / "requests"
        with requests.open("wb") as asked:
            for body in bodies:
                data = json.dumps(body).encode()
                head = (
                    f"POST /api/v1/cfssl/{endpoint} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n\r\n"
                )
                whole = head.encode() + data
                asked.write(len(whole).to_bytes(4, "big") + whole)
        before = usage()
        told = subprocess.run(
            [sys.executable, __file__, str(port), str(requests)], check=True, capture_output=True, text=True
        )
        cpu = usage() - before
    said = json.loads(told.stdout)
    counting = "SELECT count(*) FROM certificates WHERE status = 'good'"
    if postgres:
        issued = int(postgres.sql(counting, name))
    else:
        with sqlite3.connect(file) as connection:
            [issued] = connection.execute(counting).fetchone()
    return Served(said["seconds"], issued, said["refused"], cpu, said["p99"])


@contextmanager
def _server(ca: Path, work: Path):  # type: ignore[no-untyped-def]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["cfssl", "serve", "-loglevel=4", "-address=127.0.0.1", f"-port={port}", "-config", ca / "config.json"]
    command += ["-ca", ca / "ca.pem", "-ca-key", ca / "ca-key.pem", "-db-config", work / "db.json"]
    with (work / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _until_open(port, server)
        yield port, lambda: _cpu(server.pid)
    finally:
        server.terminate()
        server.wait()


def _until_open(port: int, server: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        if server.poll() is not None:
            sys.exit("cfssl serve ended at once; see its log")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    sys.exit("cfssl serve does not answer")


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# Below: the clients' process.


def _client(port: int, requests: list[bytes], waits: list[float], refused: list[bytes]) -> None:
    with socket.create_connection(("127.0.0.1", port)) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while requests:
            try:
                request = requests.pop()
            except IndexError:
                return
            began = time.perf_counter()
            line.sendall(request)
            answer = http.client.HTTPResponse(line)
            answer.begin()
            body = answer.read()
            waits.append(time.perf_counter() - began)
            if b'"success":true' not in body:
                refused.append(body)


def _clients(port: int, file: Path) -> None:
    data, requests, place = file.read_bytes(), [], 0
    while place < len(data):
        size = int.from_bytes(data[place : place + 4], "big")
        requests.append(data[place + 4 : place + 4 + size])
        place += 4 + size
    waits: list[float] = []
    refused: list[bytes] = []
    threads = [threading.Thread(target=_client, args=(port, requests, waits, refused)) for _ in range(CLIENTS)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "refused": len(refused), "p99": sorted(waits)[int(len(waits) * 0.99)]}))


if __name__ == "__main__":
    _clients(int(sys.argv[1]), Path(sys.argv[2]))
