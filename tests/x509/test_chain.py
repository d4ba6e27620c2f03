"""Chains and PEM, and the second verifier: it accepts what we issue and names what differs."""

import re

import pytest
from attrs import evolve
from cryptography.hazmat.primitives.serialization import load_der_private_key

from pkicode.x509 import chain, der, keys, names, pem, pkcs12, tbs
from pkicode.x509.constraints import Constraints
from pkicode.x509.profile import Profile
from tests.oracles import Refused, certtool, openssl, openssl_bytes
from tests.x509.pki import CA, DAY, NOW, make

FULL = Profile(
    usage=("digitalSignature", "contentCommitment"),
    eku=("serverAuth", "1.3.6.1.4.1.99999.1"),
    policies=("1.3.6.1.4.1.99999.2",),
    must_staple=True,
    crl_urls=("http://a.example/crl", "http://b.example/crl"),
    ca_issuer_urls=("http://a.example/ca",),
    ocsp_urls=("http://a.example/ocsp",),
)
AUTHORITY = Profile(
    is_ca=True,
    usage=CA,
    path_len=3,
    constraints=Constraints(permit_dns=("a.example",), exclude_ip=("10.0.0.0/8",), permit_email=(".a.example",)),
)
DELEGATE = Profile(eku=("OCSPSigning",), ocsp_nocheck=True)
SILENT = Profile(eku=("timeStamping",), no_rev_avail=True)


def test_a_chain_stands_leaf_first_and_openssl_reads_it(root, issuing, tmp_path):
    leaf = make(Profile(), cn="leaf", issuer=issuing)
    (tmp_path / "chain.pem").write_bytes(chain.chain_pem(leaf.der, [issuing.der]))
    shown = openssl("crl2pkcs7", "-nocrl", "-certfile", tmp_path / "chain.pem")
    listed = openssl("pkcs7", "-print_certs", "-noout", stdin=shown)
    assert listed.index("CN = leaf") < listed.index("subject=CN = Test Issuing")
    assert pem.decode((tmp_path / "chain.pem").read_bytes(), "CERTIFICATE") == [leaf.der, issuing.der]


def test_pem_is_what_openssl_writes(root):
    assert pem.encode("CERTIFICATE", root.der) == openssl_bytes("x509", "-inform", "DER", stdin=root.der)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no PEM block"),
        (b"-----BEGIN X-----\nAA==\n", "no end line"),
        (b"-----BEGIN X-----\nA\n-----END X-----", "damaged"),
        (b"-----BEGIN X-----\n-----END X-----", "empty"),
        (b"-----BEGIN Y-----\nAA==\n-----END Y-----", "no PEM block X"),
        (b"-----BEGIN X-----\nAA==\n-----END X-----\n" * 10_001, "more than 10000"),
    ],
)
def test_damaged_or_boundless_pem_is_refused(data, reason):
    with pytest.raises(ValueError, match=reason):
        pem.decode(data, "X")
    with pytest.raises(ValueError, match="more than the 10"):
        pem.decode(b"-" * 11, "X", limit=10)


@pytest.mark.parametrize("profile", [FULL, AUTHORITY, DELEGATE, SILENT])
def test_the_second_verifier_accepts_what_was_issued_as_asked(root, profile):
    made = make(profile, cn="x", issuer=root, sans=(names.san("dns", "x.example"),))
    chain.verify_issued(made.der, root.der)
    chain.verify_profile(made.der, profile)
    chain.verify_issued(root.der, root.der)


@pytest.mark.parametrize(
    ("profile", "asked", "differs"),
    [
        (FULL, evolve(FULL, must_staple=False), "1.3.6.1.5.5.7.1.24"),
        (evolve(FULL, must_staple=False), FULL, "1.3.6.1.5.5.7.1.24"),
        (FULL, evolve(FULL, eku=("serverAuth",)), "2.5.29.37"),
        (FULL, evolve(FULL, usage=("digitalSignature",)), "2.5.29.15"),
        (FULL, evolve(FULL, crl_urls=FULL.crl_urls[:1]), "2.5.29.31"),
        (FULL, evolve(FULL, ocsp_urls=()), "1.3.6.1.5.5.7.1.1"),
        (FULL, evolve(FULL, policies=("1.2.3",)), "2.5.29.32"),
        (AUTHORITY, evolve(AUTHORITY, path_len=None), "2.5.29.19"),
        (AUTHORITY, evolve(AUTHORITY, constraints=Constraints(permit_dns=("b.example",))), "2.5.29.30"),
        (DELEGATE, evolve(DELEGATE, ocsp_nocheck=False), "1.3.6.1.5.5.7.48.1.5"),
        (SILENT, evolve(SILENT, no_rev_avail=False), "2.5.29.56"),
    ],
)
def test_the_second_verifier_names_each_extension_that_differs(root, profile, asked, differs):
    made = make(profile, cn="x", issuer=root)
    with pytest.raises(ValueError, match=differs.replace(".", r"\.")):
        chain.verify_profile(made.der, asked)


def test_the_second_verifier_refuses_what_this_issuer_may_not_have_issued(root, issuing):
    leaf = make(Profile(), cn="leaf", issuer=issuing)
    stranger = make(Profile(is_ca=True, usage=CA), cn="Test Issuing")
    below = make(Profile(is_ca=True, usage=CA), cn="Below", issuer=issuing)
    outliving = make(Profile(), cn="leaf", issuer=issuing, ends=NOW + 366 * DAY)
    for certificate, issuer, reason in [
        (leaf, root, "Issuer"),
        (leaf, stranger, "signature"),
        (leaf, stranger, "authority key identifier"),
        (leaf, leaf, "no CA"),
        (below, issuing, "path length"),
        (outliving, issuing, "validity"),
    ]:
        with pytest.raises(ValueError, match=reason):
            chain.verify_issued(certificate.der, issuer.der)


def test_one_octet_of_signature_changed_is_found(root):
    made = make(Profile(), cn="x", issuer=root)
    forged = tbs.certificate(made.tbs, "ec-p256", keys.sign(keys.generate("ec-p256"), made.tbs))
    with pytest.raises(ValueError, match="signature is not its issuer's"):
        chain.verify_issued(forged, root.der)


def test_a_pkcs12_file_is_strong_and_openssl_opens_it(issuing, tmp_path):
    leaf = make(Profile(), cn="leaf", issuer=issuing)
    made = pkcs12.pkcs12(keys.pkcs8(leaf.key), leaf.der, (issuing.der,), b"pass word", "leaf")
    (tmp_path / "p12").write_bytes(made)
    shown = openssl("pkcs12", "-in", tmp_path / "p12", "-passin", "pass:pass word", "-nodes")
    assert shown.count("BEGIN CERTIFICATE") == 2
    assert "friendlyName: leaf" in shown
    # The weakest of the three is what a guesser works on.
    info = certtool("--p12-info", "--inder", "--infile", tmp_path / "p12", "--password", "pass word")
    assert re.findall(r"Iteration count: (\d+)", info) == [str(pkcs12.ROUNDS)] * 3
    assert info.count("AES256-CBC") == 2
    assert "MAC: SHA256" in info
    with pytest.raises(ValueError, match="without a password"):
        pkcs12.pkcs12(keys.pkcs8(leaf.key), leaf.der, (), b"", "leaf")
    with pytest.raises(ValueError, match="not the certificate's"):
        pkcs12.pkcs12(keys.pkcs8(keys.generate("ec-p256")), leaf.der, (), b"x", "leaf")


@pytest.mark.parametrize("alg", ["ml-dsa-44", "ml-kem-768"])
def test_a_pkcs12_file_with_a_lattice_key_opens_and_is_as_strong(issuing, tmp_path, alg):
    usage = ("keyEncipherment",) if alg.startswith("ml-kem") else ("digitalSignature",)
    leaf = make(Profile(usage=usage), cn="leaf", issuer=issuing, alg=alg)
    made = pkcs12.pkcs12(keys.pkcs8(leaf.key), leaf.der, (issuing.der,), b"pass word", "leaf")
    (tmp_path / "p12").write_bytes(made)
    shown = openssl("pkcs12", "-in", tmp_path / "p12", "-passin", "pass:pass word", "-nokeys")
    assert shown.count("BEGIN CERTIFICATE") == 2
    assert "friendlyName: leaf" in shown
    with pytest.raises(Refused, match="invalid password"):
        openssl("pkcs12", "-in", tmp_path / "p12", "-passin", "pass:pass wort", "-nokeys")
    info = certtool("--p12-info", "--inder", "--infile", tmp_path / "p12", "--password", "pass word")
    assert re.findall(r"Iteration count: (\d+)", info) == [str(pkcs12.ROUNDS)] * 3
    assert info.count("AES256-CBC") == 2
    # No library here takes such a key out of PKCS#12; what is in the bag is PKCS#8 that one of them reads.
    assert keys.pkcs8(load_der_private_key(_shrouded(made), b"pass word")) == keys.pkcs8(leaf.key)


def _shrouded(pfx: bytes) -> bytes:
    """The EncryptedPrivateKeyInfo of the last bag (RFC 7292 section 4.2.2)."""
    _, (_, content), _ = der.children(der.only(pfx, der.SEQUENCE))
    _, (_, wrapped) = der.children(content)
    *_, (_, info) = der.children(der.only(der.only(wrapped, der.OCTET_STRING), der.SEQUENCE))
    _, (_, wrapped) = der.children(info)
    [(_, bag)] = der.children(der.only(der.only(wrapped, der.OCTET_STRING), der.SEQUENCE))
    oid, (_, shrouded), _ = der.children(bag)
    assert der.dotted(oid[1]) == "1.2.840.113549.1.12.10.1.2"
    return shrouded
