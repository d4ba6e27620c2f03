"""Examples as their READMEs tell them: a copy of the folder, played once, and what it holds afterwards."""

import re
import subprocess
from pathlib import Path

from attrs import frozen

from pkicode.ports import Certificate, Want
from pkicode.project import open_project
from tests.oracles import pem


@frozen
class Example:
    """A folder in which an example's README was played."""

    folder: Path
    environ: dict[str, str]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The installed command, in the folder."""
        return subprocess.run(
            ["pkicode", *arguments], cwd=self.folder, env=self.environ, capture_output=True, text=True, timeout=120
        )

    def certificates(self, status: str) -> list[Certificate]:
        """The leaves that the inventory calls `issued` or `revoked`; those of a revoked CA are neither."""
        found = open_project(self.folder / "pki.toml").inventory(Want(with_der=True))
        gone = {one.spki for one in found if one.status == "revoked" and one.address.startswith("ca.")}
        leaves = [one for one in found if one.issuer_key not in gone and one.address.startswith("cert.")]
        return [one for one in leaves if one.status == status]

    @property
    def trust(self) -> Path:
        return self.folder / "public/bundle/trust.pem"

    def published(self, kind: str) -> bytes:
        """Every published `ca` or `crl`, as PEM."""
        label = {"ca": "CERTIFICATE", "crl": "X509 CRL"}[kind]
        files = sorted([*self.folder.glob(f"public/{kind}/*.cer"), *self.folder.glob(f"public/{kind}/*.crl")])
        return b"".join(pem(path.read_bytes(), label=label) for path in files)

    def verify(self, leaves: list[Certificate], work: Path) -> subprocess.CompletedProcess[str]:
        """`openssl verify` with what is published and nothing else."""
        (work / "ca.pem").write_bytes(self.published("ca"))
        (work / "crl.pem").write_bytes(self.published("crl"))
        files = [work / f"{one.serial}.pem" for one in leaves]
        for path, one in zip(files, leaves, strict=True):
            path.write_bytes(pem(one.der))
        command = ["openssl", "verify", "-x509_strict", "-no-CApath", "-no-CAstore", "-crl_check", "-crl_check_all"]
        trusted = ["-CRLfile", work / "crl.pem", "-CAfile", self.trust, "-untrusted", work / "ca.pem"]
        return subprocess.run([*command, *trusted, *files], capture_output=True, text=True, timeout=120)


def split(chain: bytes) -> list[bytes]:
    """The certificates of a PEM file, one PEM each."""
    return re.findall(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", chain, re.DOTALL)
