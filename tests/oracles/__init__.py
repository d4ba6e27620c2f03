"""Second opinions: what OpenSSL and GnuTLS say of the bytes we make (and the bytes they make, for us to read).

Every function runs the real command and raises Refused with the command's own words when it says no, so that a test
of a refusal reads `with pytest.raises(Refused, match="certificate revoked")`.
"""

import base64
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

SECONDS = 60


class Refused(Exception):
    """The oracle's exit code was not 0; the text is the command and all that it printed."""


def needs_openssl_for(alg: str) -> None:
    """Skips a test that asks OpenSSL about an algorithm which came with OpenSSL 3.5."""
    if alg.startswith("ml-") and not has_lattices():
        pytest.skip(f"OpenSSL 3.5 is the first that knows {alg}; this one is {'.'.join(map(str, _version()))}")


def has_lattices() -> bool:
    """Whether this OpenSSL knows ML-DSA and ML-KEM."""
    return _version() >= (3, 5)


@cache
def _version() -> tuple[int, ...]:
    return tuple(int(part) for part in openssl("version").split()[1].split(".")[:2])


def openssl(*args: str | Path, stdin: bytes | str | None = None, clock: int | None = None) -> str:
    """What `openssl ARGS` prints on stdout; `clock` is what it takes for the present."""
    return _run("openssl", args, stdin, clock).decode()


def openssl_bytes(*args: str | Path, stdin: bytes | str | None = None) -> bytes:
    """As `openssl`, for DER."""
    return _run("openssl", args, stdin)


def certtool(*args: str | Path, stdin: bytes | str | None = None) -> str:
    """What GnuTLS's `certtool ARGS` prints on stdout; the test is skipped where GnuTLS is not installed."""
    return _run("certtool", args, stdin).decode()


def ocsptool(*args: str | Path, stdin: bytes | str | None = None, clock: int | None = None) -> str:
    """What GnuTLS's `ocsptool ARGS` prints on stdout; the test is skipped where GnuTLS is not installed."""
    return _run("ocsptool", args, stdin, clock).decode()


def by_clock(clock: int | None) -> list[str]:
    """What to put before a command so that it is `clock` for it; None is the machine's clock."""
    return [] if clock is None else ["faketime", f"@{clock}"]


def assert_verifies(
    leaf: bytes,
    *,
    chain: Sequence[bytes] = (),
    root: bytes | Sequence[bytes],
    crls: Sequence[bytes] = (),
    at: int | None = None,
    purpose: str | None = None,
) -> None:
    """`openssl verify -x509_strict`, with -crl_check of the whole chain when CRLs are given.

    Args:
        leaf: certificate, PEM or DER, as are all the others.
        chain: intermediates, in any order.
        root: the trusted root, or several of them.
        crls: of every issuer in the chain; with none, revocation is not checked.
        at: the instant (epoch seconds) of the check; None is the machine's clock.
        purpose: `sslserver`, `sslclient`, ... as openssl verify knows them.

    Raises:
        Refused: OpenSSL does not accept the chain.
    """
    roots = [root] if isinstance(root, bytes) else list(root)
    with _files(leaf=pem(leaf), chain=_join(chain), roots=_join(roots), crls=_join(crls, label="X509 CRL")) as (
        leaf_file,
        chain_file,
        root_file,
        crl_file,
    ):
        args: list[str | Path] = ["verify", "-x509_strict", "-no-CApath", "-no-CAstore", "-CAfile", root_file]
        if chain:
            args += ["-untrusted", chain_file]
        if crls:
            args += ["-crl_check", "-crl_check_all", "-CRLfile", crl_file]
        if at is not None:
            args += ["-attime", str(at)]
        if purpose:
            args += ["-purpose", purpose]
        openssl(*args, leaf_file)


def assert_gnutls_verifies(
    leaf: bytes,
    *,
    chain: Sequence[bytes] = (),
    root: bytes | Sequence[bytes],
    crls: Sequence[bytes] = (),
    at: int | None = None,
) -> None:
    """GnuTLS builds and accepts the chain.

    Args:
        leaf: certificate, PEM or DER, as are all the others.
        chain: intermediates, nearest first.
        root: the trusted root, or several of them.
        crls: held against every certificate of the chain.
        at: the instant of the check (certtool has no other clock than the machine's: faketime gives it one).

    Raises:
        Refused: it does not.
    """
    roots = [root] if isinstance(root, bytes) else list(root)
    lists = _join(crls, label="X509 CRL")
    with _files(leaf=pem(leaf) + _join(chain), root=_join(roots), crls=lists) as (chain_file, root_file, crl_file):
        args: list[str | Path] = ["--verify", "--load-ca-certificate", root_file, "--infile", chain_file]
        if crls:
            args += ["--load-crl", crl_file]
        _run("certtool", args, None, at)


def certificate_text(certificate: bytes) -> str:
    """`openssl x509 -text`, for one look at many extensions."""
    return openssl("x509", "-noout", "-text", "-nameopt", "RFC2253", stdin=pem(certificate))


def crl_text(crl: bytes) -> str:
    """`openssl crl -text`."""
    return openssl("crl", "-noout", "-text", stdin=pem(crl, label="X509 CRL"))


def revoked_serials(crl: bytes) -> list[str]:
    """The serials in a CRL as OpenSSL reads them: lower-case hex without leading zeros."""
    found = [line.split(":", 1)[1] for line in crl_text(crl).splitlines() if line.strip().startswith("Serial Number:")]
    return [serial.strip().lower().lstrip("0") or "0" for serial in found]


def crl_number(crl: bytes) -> int:
    """The cRLNumber as OpenSSL reads it."""
    return int(openssl("crl", "-inform", "DER", "-noout", "-crlnumber", stdin=crl).partition("=")[2], 16)


def assert_key_matches(key: bytes, certificate: bytes) -> None:
    """The private key (PEM or DER PKCS#8) is the one in the certificate."""
    form = "PEM" if key.startswith(b"-----") else "DER"
    ours = openssl("pkey", "-inform", form, "-pubout", stdin=key)
    theirs = openssl("x509", "-noout", "-pubkey", stdin=pem(certificate))
    assert ours == theirs, "the private key belongs to another certificate"


def pem(data: bytes, *, label: str = "CERTIFICATE") -> bytes:
    """PEM of DER; PEM stays as it is."""
    if data.startswith(b"-----"):
        return data if data.endswith(b"\n") else data + b"\n"
    text = base64.encodebytes(data).decode()
    return f"-----BEGIN {label}-----\n{text}-----END {label}-----\n".encode()


def _join(parts: Sequence[bytes], *, label: str = "CERTIFICATE") -> bytes:
    return b"".join(pem(part, label=label) for part in parts)


@contextmanager
def _files(**contents: bytes) -> Iterator[list[Path]]:
    with tempfile.TemporaryDirectory(prefix="oracle-") as folder:
        paths = [Path(folder, f"{name}.pem") for name in contents]
        for path, data in zip(paths, contents.values(), strict=True):
            path.write_bytes(data)
        yield paths


def _run(command: str, args: Sequence[str | Path], stdin: bytes | str | None, clock: int | None = None) -> bytes:
    whole = [*by_clock(clock), command, *map(str, args)]
    for needed in (whole[0], command):
        if shutil.which(needed) is None:
            pytest.skip(f"{needed} is not installed; `make test` installs it where it may")
    data = stdin.encode() if isinstance(stdin, str) else stdin
    done = subprocess.run(whole, input=data or b"", capture_output=True, timeout=SECONDS)
    if done.returncode != 0:
        said = (done.stdout + done.stderr).decode(errors="replace")
        raise Refused(f"{' '.join(whole)}\n{said}")
    return done.stdout
