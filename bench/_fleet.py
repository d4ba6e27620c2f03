"""Projects to measure on: one root, one issuing CA, a fan-out of hosts from a CSV file, with their CSRs if wanted."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

from _measure import PKICODE, run
from _postgres import Postgres
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

_TEXT = """version = 1

[project]
name = "bench"

[keystore.main]
type = "file"
passphrase = { file = ".pkicode/passphrase", create = true }

[publish.web]
url = "public"
base_url = "http://pki.bench.example"

[ca.root]
subject = { cn = "Bench Root" }
validity = "20y"
path_len = 1
publish = ["web"]

[ca.issuing]
issuer = "root"
subject = { cn = "Bench Issuing" }
validity = "5y"
path_len = 0
publish = ["web"]
name_constraints = { permit_dns = ["fleet.example"] }

[profile.host]
issuer = "issuing"
eku = ["serverAuth"]
validity = "90d"
renew = { at = "2/3", jitter = "30%" }
allow = { dns = [".fleet.example"] }

[cert.fleet]
profile = "host"
for_each = { csv = "fleet.csv", key = "host" }
dns = ["${each.host}.fleet.example"]
"""


def hosts(count: int) -> Iterator[str]:
    """`h000000`, ..."""
    return (f"h{number:06}" for number in range(count))


def name_of(host: str) -> str:
    """What its certificate says."""
    return f"{host}.fleet.example"


def make(folder: Path, count: int, *, csr: bool = False) -> Path:
    """A project of `count` hosts; nothing is applied."""
    folder.mkdir(parents=True)
    text = _TEXT + 'csr = { dir = "csr", file = "${each.host}.csr" }\n' if csr else _TEXT
    (folder / "pki.toml").write_text(text)
    (folder / "fleet.csv").write_text("host\n" + "".join(f"{host}\n" for host in hosts(count)))
    if csr:
        (folder / "csr").mkdir()
        for host in hosts(count):
            (folder / "csr" / f"{host}.csr").write_bytes(_request(name_of(host)))
    return folder


def requests(folder: Path, count: int) -> Iterator[tuple[str, bytes]]:
    """The first `count` of its CSRs, with their names."""
    for host in hosts(count):
        yield name_of(host), (folder / "csr" / f"{host}.csr").read_bytes()


def _request(name: str) -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    sans = x509.SubjectAlternativeName([x509.DNSName(name)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject).add_extension(sans, critical=False)
    return builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).public_bytes(Encoding.PEM)


def apply_authorities(folder: Path) -> None:
    """Root, issuing CA and their CRLs: what a fleet stands on, and no part of what is measured."""
    run(PKICODE, "apply", "-y", "--only", "ca.*", "--only", "crl.*", "--only", "publication.*", cwd=folder)


def into(folder: Path, postgres: Postgres, schema: str) -> None:
    """Have its state in a new schema from now on."""
    (folder / "pki.toml").write_text(f'{_TEXT}[state]\nurl = "{postgres.url(schema=schema)}"\n')
    run(PKICODE, "state", "migrate", cwd=folder)


def _asked(folder: Path, statement: str, postgres: Postgres | None, schema: str) -> list[str]:
    """The lines that a process which is not pkicode answers with."""
    if postgres:
        return postgres.sql(f"SET search_path = {schema};\n{statement};").splitlines()
    return run("sqlite3", "-readonly", str(folder / ".pkicode" / "state.db"), statement).output.splitlines()


def issued(folder: Path, postgres: Postgres | None = None, schema: str = "") -> int:
    """How many leaves its database holds."""
    counting = "SELECT count(*) FROM certificates WHERE status = 'issued' AND address LIKE 'cert.%'"
    return int(_asked(folder, counting, postgres, schema)[0])


def verified(folder: Path, work: Path, postgres: Postgres | None = None, schema: str = "", *, sample: int = 200) -> int:
    """How many of `sample` random leaves `openssl verify` accepts under the published root."""
    hexed = "encode(der, 'hex')" if postgres else "hex(der)"
    statement = f"SELECT {hexed} FROM certificates WHERE address LIKE 'cert.%' ORDER BY random() LIMIT {sample}"
    chosen = _asked(folder, statement, postgres, schema)
    for place, one in enumerate(chosen):
        (work / f"{place}.der").write_bytes(bytes.fromhex(one))
    for name in ("root", "issuing"):
        subprocess.run(
            ["openssl", "x509", "-inform", "DER", "-in", folder / f"public/ca/{name}-g1.cer", "-out", f"{name}.pem"],
            cwd=work,
            check=True,
        )
    told = subprocess.run(
        ["openssl", "verify", "-CAfile", "root.pem", "-untrusted", "issuing.pem"]
        + [f"{place}.der" for place in range(len(chosen))],
        cwd=work,
        capture_output=True,
        text=True,
    )
    return sum(line.endswith(": OK") for line in told.stdout.splitlines())
