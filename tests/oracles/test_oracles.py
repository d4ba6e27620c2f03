"""The oracles can say no: each accepts what is right and refuses what is wrong."""

from pathlib import Path

import pytest

from tests.oracles import (
    Refused,
    assert_gnutls_verifies,
    assert_key_matches,
    assert_verifies,
    openssl,
    openssl_bytes,
    pem,
    revoked_serials,
)

IN_2100 = 4102444800


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root, a leaf it signed, a CRL without and one with the leaf: all made by OpenSSL."""
    folder = tmp_path_factory.mktemp("oracle")
    config = folder / "ca.cnf"
    config.write_text(
        f"[ca]\ndefault_ca=d\n[d]\ndatabase={folder}/index\nserial={folder}/serial\nnew_certs_dir={folder}\n"
        "default_md=sha256\npolicy=p\ndefault_days=30\ndefault_crl_days=7\nx509_extensions=leaf\ncrl_extensions=crl\n"
        "[p]\ncommonName=supplied\n[crl]\nauthorityKeyIdentifier=keyid:always\n"
        "[root]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n"
        "[leaf]\nbasicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature\nsubjectKeyIdentifier=hash\n"
        "authorityKeyIdentifier=keyid:always\nsubjectAltName=DNS:a.example\n"
    )
    (folder / "index").touch()
    (folder / "serial").write_text("1000\n")
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    root = [
        "-subj",
        "/CN=root",
        "-config",
        config,
        "-extensions",
        "root",
        "-days",
        "3650",
        "-keyout",
        folder / "root.key",
    ]
    with config.open("a") as more:
        more.write("[req]\ndistinguished_name=dn\n[dn]\n")
    openssl("req", "-x509", *new_key, *root, "-out", folder / "root.pem")
    openssl("req", *new_key, "-subj", "/CN=a", "-config", config, "-keyout", folder / "a.key", "-out", folder / "a.csr")
    ca = ["ca", "-config", config, "-batch", "-cert", folder / "root.pem", "-keyfile", folder / "root.key"]
    openssl(*ca, "-in", folder / "a.csr", "-out", folder / "a.pem", "-notext")
    openssl(*ca, "-gencrl", "-out", folder / "empty.crl")
    openssl(*ca, "-revoke", folder / "a.pem")
    openssl(*ca, "-gencrl", "-out", folder / "full.crl")
    return folder


def test_a_good_chain_verifies_in_both_oracles(pki: Path) -> None:
    leaf, root = (pki / "a.pem").read_bytes(), (pki / "root.pem").read_bytes()
    assert_verifies(leaf, root=root, crls=[(pki / "empty.crl").read_bytes()])
    assert_gnutls_verifies(leaf, root=root)


def test_der_is_taken_as_well_as_pem(pki: Path) -> None:
    leaf = openssl_bytes("x509", "-in", pki / "a.pem", "-outform", "DER")
    crl = openssl_bytes("crl", "-in", pki / "empty.crl", "-outform", "DER")
    assert_verifies(leaf, root=(pki / "root.pem").read_bytes(), crls=[crl])


def test_a_revoked_leaf_is_refused(pki: Path) -> None:
    crl = (pki / "full.crl").read_bytes()
    assert revoked_serials(crl) == ["1000"]
    with pytest.raises(Refused, match="certificate revoked"):
        assert_verifies((pki / "a.pem").read_bytes(), root=(pki / "root.pem").read_bytes(), crls=[crl])


def test_an_expired_leaf_is_refused(pki: Path) -> None:
    leaf, root = (pki / "a.pem").read_bytes(), (pki / "root.pem").read_bytes()
    with pytest.raises(Refused, match="expired"):
        assert_verifies(leaf, root=root, at=IN_2100)


def test_a_foreign_root_is_refused_by_both_oracles(pki: Path) -> None:
    leaf = (pki / "a.pem").read_bytes()
    with pytest.raises(Refused, match="unable to get local issuer"):
        assert_verifies(leaf, root=leaf)
    with pytest.raises(Refused, match=r"(?i)not trusted|unknown"):
        assert_gnutls_verifies(leaf, root=leaf)


def test_a_key_is_told_from_a_foreign_one(pki: Path) -> None:
    leaf = (pki / "a.pem").read_bytes()
    assert_key_matches((pki / "a.key").read_bytes(), leaf)
    with pytest.raises(AssertionError, match="another certificate"):
        assert_key_matches((pki / "root.key").read_bytes(), leaf)


def test_pem_of_pem_is_itself(pki: Path) -> None:
    leaf = (pki / "a.pem").read_bytes()
    assert pem(leaf) == leaf
