"""Two CAs as coarse authorization, on the wire: who gets into the database of examples/web-and-database (RFC 8446)."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.examples.playing import Example
from tests.oracles import Refused, openssl

INTRUDER = """
[profile.web-client]
issuer = "web"
eku = ["clientAuth"]

[cert.intruder]
profile = "web-client"
dns = ["shop.example"]
output = { chain = "out/intruder.pem", key = "out/intruder.key" }
"""
"""A client certificate that is right in every way but the CA."""
REQUEST = "GET / HTTP/1.0\r\n\r\n"


@pytest.fixture(scope="module")
def shop(played: Callable[[str], Example], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example with a web client beside the database's clients."""
    example = played("web-and-database")
    folder = tmp_path_factory.mktemp("shop") / "pki"
    shutil.copytree(example.folder, folder, symlinks=True)
    with (folder / "pki.toml").open("a", encoding="utf-8") as file:
        file.write(INTRUDER)
    done = Example(folder, example.environ).run("apply", "-y")
    assert done.returncode == 0, done.stderr
    return folder


@contextmanager
def database(shop: Path) -> Iterator[str]:
    """A server that demands a client certificate of ca.database, for one connection; gives its address."""
    mine = ["-cert", "out/database/primary.pem", "-key", "out/database/primary.pem"]
    theirs = ["-Verify", "1", "-verify_return_error", "-partial_chain", "-CAfile", "public/ca/database-g1.pem"]
    command = ["openssl", "s_server", "-accept", "127.0.0.1:0", "-naccept", "1", "-www", *mine, *theirs]
    chain = ["-cert_chain", "out/database/primary.pem"]
    with subprocess.Popen(
        [*command, *chain], cwd=shop, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as server:
        assert server.stdout
        try:
            yield next(line.split()[1] for line in server.stdout if line.startswith("ACCEPT "))
        finally:
            server.terminate()


def connect(shop: Path, address: str, chain: str, key: str) -> subprocess.CompletedProcess[str]:
    """A client that checks the server by the published bundle and shows a certificate."""
    trust = ["-CAfile", "public/bundle/trust.pem", "-verify_return_error"]
    host = ["-verify_hostname", "primary.db.shop.example"]
    mine = ["-cert", chain, "-key", key, "-cert_chain", chain]
    command = ["openssl", "s_client", "-quiet", "-connect", address, *trust, *host, *mine]
    return subprocess.run(command, cwd=shop, input=REQUEST, capture_output=True, text=True, timeout=60)


def test_a_client_of_the_database_ca_is_let_in(shop: Path):
    with database(shop) as address:
        done = connect(shop, address, "out/client/orders.pem", "out/client/orders.key")
    assert done.stdout.startswith("HTTP/1.0 200 ok"), done.stderr


def test_a_client_of_the_web_ca_is_turned_away(shop: Path):
    openssl(
        "verify", "-purpose", "sslclient", "-CAfile", shop / "public/bundle/trust.pem",
        "-untrusted", shop / "out/intruder.pem", shop / "out/intruder.pem",
    )  # fmt: skip
    with database(shop) as address:
        done = connect(shop, address, "out/intruder.pem", "out/intruder.key")
    assert "200 ok" not in done.stdout
    assert "alert unknown ca" in done.stderr


def test_the_database_ca_cannot_sign_a_web_client(shop: Path):
    with pytest.raises(Refused, match="unable to get local issuer certificate"):
        openssl("verify", "-partial_chain", "-trusted", shop / "public/ca/database-g1.pem", shop / "out/intruder.pem")
