"""A CA whose certificates say where to look, an HTTP server for its lists, and `openssl ocsp` for its answers."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from attrs import frozen
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from pkicode.revocation import crl
from pkicode.x509 import keys, names, pem
from pkicode.x509.profile import Profile
from pkicode.x509.tbs import facts_of
from tests.scan import strange
from tests.scan.servers import HOST, NAME, Identity, started
from tests.x509.pki import CA, DAY, Made, make

NOW = int(time.time())
"""openssl's responder and servers have no other clock."""
GOOD, REVOKED = 1 << 158 | 1, 1 << 158 | 2


@cache
def root() -> Made:
    return make(Profile(is_ca=True, usage=CA), cn="Looked up", begins=NOW - DAY, ends=NOW + 100 * DAY)


@cache
def delegate(purpose: str = "OCSPSigning") -> Made:
    profile = Profile(eku=(purpose,), ocsp_nocheck=purpose == "OCSPSigning")
    sans = () if purpose == "OCSPSigning" else (names.san("dns", NAME),)
    return make(profile, cn=purpose, issuer=root(), sans=sans, serial=7, begins=NOW - DAY, ends=NOW + 30 * DAY)


def leaf(serial: int = GOOD, *, crls: Sequence[str] = (), ocsp: Sequence[str] = ()) -> Made:
    profile = Profile(eku=("serverAuth",), crl_urls=tuple(crls), ocsp_urls=tuple(ocsp))
    sans = (names.san("dns", NAME),)
    return make(profile, cn="leaf", issuer=root(), sans=sans, serial=serial, begins=NOW - DAY, ends=NOW + 30 * DAY)


def listed(*serials: int, by: Made | None = None, since: int = NOW - 3600, until: int = NOW + DAY) -> bytes:
    """A list of the root, signed with its key unless `by` another."""
    entries = [crl.Entry(one, NOW - 7200, "keyCompromise") for one in sorted(serials)]
    body = crl.tbs(facts_of(root().der), entries, number=1, this_update=since, next_update=until)
    return crl.crl(body, root().facts.alg, keys.sign((by or root()).key, body))


def write(folder: Path, made: Made, name: str) -> Identity:
    found = Identity(folder / f"{name}.pem", folder / f"{name}.key")
    found.chain.write_bytes(pem.encode("CERTIFICATE", made.der))
    found.key.write_bytes(made.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return found


@frozen
class Asked:
    """An HTTP server and what it was asked for."""

    port: int
    paths: list[str]

    def url(self, path: str) -> str:
        return f"http://{HOST}:{self.port}/{path}"


@asynccontextmanager
async def answering(files: Mapping[str, bytes | strange.Serve]) -> AsyncIterator[Asked]:
    """HTTP with these bodies by path; a Serve says all of its answer itself."""
    paths: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        path = head.split(b" ")[1].decode()[1:]
        paths.append(path)
        found = files.get(path, b"")
        if callable(found):
            await found(reader, writer)
            return
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(found), found))
        await writer.drain()

    async with strange.serving(serve) as port:
        yield Asked(port, paths)


@contextmanager
def responder(folder: Path, signer: Made, *options: str) -> Iterator[str]:
    """`openssl ocsp` that knows GOOD and REVOKED of the root; gives its URL."""
    ends = datetime.fromtimestamp(NOW + 30 * DAY, UTC).strftime("%y%m%d%H%M%SZ")
    gone = datetime.fromtimestamp(NOW - 7200, UTC).strftime("%y%m%d%H%M%SZ")
    (folder / "index.txt").write_text(
        f"V\t{ends}\t\t{GOOD:X}\tunknown\t/CN=leaf\nR\t{ends}\t{gone},keyCompromise\t{REVOKED:X}\tunknown\t/CN=leaf\n"
    )
    by, ca = write(folder, signer, "signer"), write(folder, root(), "root")
    command = ["openssl", "ocsp", "-index", folder / "index.txt", "-CA", ca.chain, "-port", "0"]
    # A connection without a question would keep it waiting for ever.
    with started([*command, "-rsigner", by.chain, "-rkey", by.key, *options], "ACCEPT ") as line:
        yield f"http://{HOST}:{line.split()[1].rpartition(':')[2]}/"
