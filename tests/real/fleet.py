"""A network on loopback: nginx at many addresses, each with a certificate of its own; nobody at the others."""

import datetime
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.scan.servers import free_port, started

KINDS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "modern": ("ssl_protocols TLSv1.3;", ("TLSv1.3",)),
    "usual": ("ssl_protocols TLSv1.2 TLSv1.3; ssl_ciphers ECDHE+AESGCM;", ("TLSv1.2", "TLSv1.3")),
    "lasting": ("ssl_protocols TLSv1.2; ssl_ciphers ECDHE+AESGCM;", ("TLSv1.2",)),
    "old": ("ssl_protocols TLSv1 TLSv1.1 TLSv1.2; ssl_ciphers ALL:@SECLEVEL=0;", ("TLSv1.0", "TLSv1.1", "TLSv1.2")),
}
"""What nginx is told, and what it speaks then."""


@frozen
class Fleet:
    """What is there."""

    port: int
    root: Path
    """The CA that signed all of them, PEM."""
    versions: Mapping[str, tuple[str, ...]]
    """Address -> what the server there speaks."""
    leaves: Mapping[str, str]
    """Address -> SHA-256 of the certificate it serves."""


def _signed(name: str, key: ec.EllipticCurvePublicKey, by: ec.EllipticCurvePrivateKey, *, ca: bool) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Fleet Root")])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder(issuer, subject, key, x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=60))
        .add_extension(x509.BasicConstraints(ca, None), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )
    if ca:
        usage = x509.KeyUsage(
            key_cert_sign=True, crl_sign=True, digital_signature=False, content_commitment=False,
            key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
            decipher_only=False,
        )  # fmt: skip
        return built.add_extension(usage, critical=True).sign(by, SHA256())
    return (
        built.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(by, SHA256())
    )


@contextmanager
def fleet(folder: Path, network: str, many: int) -> Iterator[Fleet]:
    """Servers at `network`.1 to `network`.`many`, as long as the block runs."""
    port, by = free_port(), ec.generate_private_key(ec.SECP256R1())
    root = folder / "root.pem"
    root.write_bytes(_signed("Fleet Root", by.public_key(), by, ca=True).public_bytes(Encoding.PEM))
    servers, leaves, versions = [], {}, {}
    for number in range(1, many + 1):
        address, (settings, spoken) = f"{network}.{number}", list(KINDS.values())[number % len(KINDS)]
        key = ec.generate_private_key(ec.SECP256R1())
        made = _signed(f"host-{number}.fleet.example", key.public_key(), by, ca=False)
        chain, secret = folder / f"{number}.pem", folder / f"{number}.key"
        chain.write_bytes(made.public_bytes(Encoding.PEM))
        secret.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        files = f"ssl_certificate {chain}; ssl_certificate_key {secret};"
        servers.append(f"server {{ listen {address}:{port} ssl; {files} {settings} return 200 ok; }}")
        leaves[address] = hashlib.sha256(made.public_bytes(Encoding.DER)).hexdigest()
        versions[address] = spoken
    paths = "".join(f"{kind}_temp_path {folder};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    conf = folder / "nginx.conf"
    conf.write_text(
        f"daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;"
        f"events {{ worker_connections 4096; }} http {{ access_log off; {paths} {' '.join(servers)} }}",
        encoding="utf-8",
    )
    command = ["/usr/sbin/nginx", "-p", folder, "-c", conf, "-e", folder / "error.log"]
    with started(command, port=port, host=f"{network}.{many}"):
        yield Fleet(port, root, versions, leaves)
