"""TLS as clients meet it: a web server with a chain of ours, and curl with a bundle and CRLs."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.oracles import SECONDS, by_clock


@contextmanager
def server(chain: Path, key: Path, *, clock: int | None = None) -> Iterator[str]:
    """A web server with this chain, for one connection; gives its port."""
    mine = ["-cert", chain, "-key", key, "-cert_chain", chain]
    command = [*by_clock(clock), "openssl", "s_server", "-accept", "127.0.0.1:0", "-naccept", "1", "-www", *mine]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout
        try:
            address = next(line.split()[1] for line in process.stdout if line.startswith("ACCEPT "))
            yield address.rpartition(":")[2]
            process.wait(SECONDS)
        finally:
            process.terminate()


def curl(
    name: str, chain: Path, key: Path, *, trust: Path, crls: Path, clock: int | None = None
) -> subprocess.CompletedProcess[str]:
    """curl asks the host `name`, which has this chain, for a page; it exits with 60 where it does not accept that."""
    with server(chain, key, clock=clock) as port:
        return subprocess.run(
            [*by_clock(clock), "curl", "-sS", "--noproxy", "*", "--cacert", trust, "--crlfile", crls,
             "--resolve", f"{name}:{port}:127.0.0.1", f"https://{name}:{port}/"],
            capture_output=True, text=True, timeout=SECONDS,
        )  # fmt: skip
