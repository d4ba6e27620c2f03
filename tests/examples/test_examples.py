"""Every example, applied as its README says, makes what OpenSSL and GnuTLS accept; a second apply changes nothing."""

import hashlib
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509

from pkicode.ports import Certificate
from tests.docs.playing import environment
from tests.examples.playing import Example, split
from tests.guards.tree import ROOT
from tests.oracles import Refused, assert_gnutls_verifies, assert_key_matches, certtool, has_lattices, openssl

EXAMPLES = sorted(path.parent.name for path in ROOT.glob("examples/*/pki.toml"))
ISSUED = {
    "single-ca": 2,
    "web-and-database": 5,
    "fleet": 10_000,
    "revocation": 2,
    "root-rollover": 1,
    "hsm": 1,
    "post-quantum": 3,
    "offline-root": 1,
    "dask-cluster": 4,
    ".": 7,
}
"""Leaves in force at the end of each README."""
AT_ONCE = 1000
"""Files in one command line."""
SAMPLE = 5
"""GnuTLS takes one chain at a time."""

INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z")

Played = Callable[[str], Example]
every = pytest.mark.parametrize("name", [*EXAMPLES, "."])


@every
def test_openssl_accepts_every_leaf_with_the_published_bundle_and_crls(played: Played, name: str, tmp_path: Path):
    example = played(name)
    leaves = example.certificates("issued")
    assert len(leaves) >= ISSUED[name]
    leaves = known(leaves)
    for start in range(0, len(leaves), AT_ONCE):
        some = leaves[start : start + AT_ONCE]
        done = example.verify(some, tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count(": OK\n") == len(some)


def is_signed_by_ml_dsa(one: Certificate) -> bool:
    signed_with = x509.load_der_x509_certificate(one.der).signature_algorithm_oid.dotted_string
    return signed_with.startswith("2.16.840.1.101.3.4.3.")


def known(leaves: list[Certificate]) -> list[Certificate]:
    """Those that this OpenSSL can verify: all of them from 3.5 on."""
    return [one for one in leaves if has_lattices() or not is_signed_by_ml_dsa(one)]


def test_openssl_refuses_the_client_whose_row_was_deleted(played: Played, tmp_path: Path):
    example = played("web-and-database")
    (gone,) = example.certificates("revoked")
    done = example.verify([gone], tmp_path)
    assert done.returncode == 2
    assert "certificate revoked" in done.stderr


@every
def test_gnutls_agrees_with_openssl(played: Played, name: str):
    example = played(name)
    authorities = {path.name: path.read_bytes() for path in example.folder.glob("public/ca/*.pem")}
    root = example.trust.read_bytes()
    leaves = [one for one in example.certificates("issued") if not is_signed_by_ml_dsa(one)]
    for leaf in leaves[:: max(1, len(leaves) // SAMPLE)]:
        issuer = authorities[f"{leaf.ca}-g{leaf.ca_generation}.pem"]
        assert_gnutls_verifies(leaf.der, chain=[issuer] if issuer != root else (), root=root)


@every
def test_a_second_apply_changes_nothing(played: Played, name: str):
    example = played(name)
    assert example.run("plan", "-e").returncode == 0
    before = contents(example.folder)
    done = example.run("apply", "-y")
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1].startswith("Applied: nothing to do.")
    assert contents(example.folder) == before


def contents(folder: Path) -> dict[str, str]:
    """Everything published and handed out, by digest."""
    files = [path for part in ("public", "out") for path in folder.glob(f"{part}/**/*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@every
def test_the_state_is_sound_at_the_end(played: Played, name: str):
    done = played(name).run("state", "verify")
    assert done.returncode == 0, done.stderr


@every
def test_openssl_reads_every_key_and_it_belongs_to_its_chain(played: Played, name: str):
    example = played(name)
    for key in [path for path in example.folder.glob("out/**/*") if path.suffix == ".key" or path.name == "key.pem"]:
        assert key.resolve().stat().st_mode & 0o777 == 0o600
        if name == "post-quantum" and key.stem != "web" and not has_lattices():
            continue
        chain = key.with_name("chain.pem") if key.name == "key.pem" else key.with_suffix(".pem")
        openssl("pkey", "-in", key, "-check", "-noout")
        assert_key_matches(key.read_bytes(), split(chain.read_bytes())[0])


def test_a_client_of_today_finds_no_way_to_trust_the_ml_dsa_chain(played: Played):
    """And so a server needs both: what such a client cannot verify it refuses, and does not take for good."""
    if has_lattices():
        pytest.skip("this OpenSSL knows ML-DSA: it accepts the chain")
    example = played("post-quantum")
    chain = example.folder / "out/web-pq.pem"
    with pytest.raises(Refused, match="verification failed"):
        openssl("verify", "-CAfile", example.trust, "-untrusted", chain, chain)


def test_a_combined_file_holds_a_key_and_its_chain(played: Played):
    example = played("web-and-database")
    combined = (example.folder / "out/database/primary.pem").read_bytes()
    chain = split(combined)
    assert len(chain) == 2
    assert_key_matches(openssl("pkey", stdin=combined).encode(), chain[0])


def test_openssl_and_gnutls_open_the_p12_with_the_password_file(played: Played):
    folder = played("single-ca").folder
    p12, password = folder / "out/printer.p12", folder / ".pkicode/passphrase"
    text = openssl("pkcs12", "-in", p12, "-passin", f"file:{password}", "-noenc")
    chain = split(text.encode())
    assert len(chain) == 1, "the CA is the root, which is no part of a chain"
    assert_key_matches(openssl("pkey", stdin=text).encode(), chain[0])
    word = password.read_text(encoding="utf-8").strip()
    assert "PRIVATE KEY-----" in certtool("--p12-info", "--inder", "--infile", p12, "--password", word)


def test_the_readme_begins_with_what_make_apply_prints(tmp_path: Path):
    shutil.copy(ROOT / "pki.toml", tmp_path)
    done = Example(tmp_path, environment(tmp_path / "bin")).run("apply", "-y")
    shown = (
        (ROOT / "README.md").read_text(encoding="utf-8").partition("pkicode apply -y\n")[2].partition("$ make test")[0]
    )
    warned, told = [], []
    for line in shown.splitlines():
        (warned if line.startswith("warning:") else told).append(INSTANT.sub("", line))
    assert told == INSTANT.sub("", done.stdout).splitlines()
    assert INSTANT.sub("", done.stderr.replace(str(tmp_path), "...")).splitlines() == warned


def test_make_apply_runs_the_command_of_the_readme():
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\napply:")[2].split("\n\n")[0]
    assert recipe.endswith("$(BIN)/pkicode apply -y")


@pytest.mark.heavy
def test_the_offline_root_is_followed_by_the_next_after_five_years(played: Played) -> None:
    """What its README only quotes: ceremonies year after year, and the rollover, with the old bundle and the new."""
    example = played("offline-root")
    for script, last in (
        ("./years.sh", 'after 54 months a ceremony for ca.issuing@2 ocsp.root["g1"]@5 crl.root@1'),
        ("./rollover.sh", "issuer=O = Corp, CN = Corp Root R1"),
    ):
        done = subprocess.run([script], cwd=example.folder, env=example.environ, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1].strip() == last
    assert done.stdout.splitlines()[:4] == [
        "signed: ca.root@2  by ca.root@2",
        "signed: ca.root@2  by ca.root@1",
        'signed: ocsp.root["g2"]@1  by ca.root@2',
        "signed: ca.issuing@3  by ca.root@2",
    ]
