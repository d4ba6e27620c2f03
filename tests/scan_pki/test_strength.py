"""Keys and signatures that are too weak, and grades for what nobody knows."""

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from pkicode.scanner.certificate import facts
from pkicode.scanner.finding import Grade
from pkicode.scanner.strength import rsa_equivalent
from pkicode.x509 import keys
from tests.oracles import openssl_bytes
from tests.scan_pki.presented import foreign, issuing, judged, leaf, root, store

KEYS = {
    "rsa-1024": lambda: rsa.generate_private_key(65537, 1024),
    "rsa-2048": lambda: rsa.generate_private_key(65537, 2048),
    "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p192": lambda: ec.generate_private_key(ec.SECP192R1()),
    "k256": lambda: ec.generate_private_key(ec.SECP256K1()),
    "dsa": lambda: dsa.generate_private_key(2048),
    "ed25519": lambda: keys.generate("ed25519"),
}


@pytest.mark.parametrize(
    ("kind", "grade", "value"),
    [
        ("rsa-1024", Grade.BAD, "weak"),
        ("rsa-2048", Grade.GOOD, "ok"),
        ("p256", Grade.GOOD, "ok"),
        ("p192", Grade.BAD, "weak"),
        ("k256", Grade.WARNING, "unusual"),
        ("dsa", Grade.BAD, "dsa"),
        ("ed25519", Grade.GOOD, "ok"),
    ],
)
def test_a_key_is_as_good_as_its_kind_and_size(kind, grade, value):
    certificate = foreign(key=KEYS[kind](), signed_by=root().key, issuer_name="Root ec-p256")
    finding = judged(certificate)[0]["Keys"]
    assert (finding.grade, finding.value) == (grade, value)


def test_the_weakest_key_of_the_path_counts():
    ca = KEYS["rsa-1024"]()
    finding = judged(
        foreign(signed_by=ca, issuer_name="Weak CA"), foreign(key=ca, subject="Weak CA", issuer_name="Weak CA")
    )
    assert (finding[0]["Keys"].value, finding[0]["ChainValidation"].grade) == ("weak", Grade.BAD)
    assert "CN=Weak CA" in finding[0]["Keys"].detail


@pytest.mark.parametrize("digest", ["md5", "sha1"])
def test_a_signature_over_a_broken_hash_is_bad(digest, tmp_path):
    made = openssl_bytes(
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", tmp_path / "key", f"-{digest}", "-subj", "/CN=old",
        "-addext", "subjectAltName=DNS:portal.corp.example", "-outform", "DER",
    )  # fmt: skip
    finding = judged(leaf(), made)[0]["Signatures"]
    assert finding.grade is Grade.GOOD, "what does not belong to the chain does not weaken it"
    finding = judged(made)[0]["Signatures"]
    assert (finding.grade, finding.value) == (Grade.BAD, digest)


def test_a_roots_signature_of_itself_proves_nothing(tmp_path):
    old = openssl_bytes(
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        tmp_path / "key",
        "-sha1",
        "-subj",
        "/CN=Old Root",
        "-outform",
        "DER",
    )
    assert (facts(old).self_signed, facts(old).signature_hash) == (True, "sha1")
    key = load_pem_private_key((tmp_path / "key").read_bytes(), None)
    new = foreign(signed_by=key, issuer_name="Old Root")
    assert judged(new, old)[0]["Signatures"].grade is Grade.GOOD


@pytest.mark.parametrize(
    ("alg", "bits"), [("ec-p256", 3072), ("ec-p384", 7680), ("ec-p521", 15360), ("rsa-2048", 2048), ("ed25519", 3072)]
)
def test_strengths_are_compared_as_bits_of_rsa(alg, bits):
    assert rsa_equivalent(facts(foreign(key=keys.generate(alg)))) == bits


def test_a_good_path_is_good_with_its_root():
    finding = judged(leaf(), issuing(), root(), stores=[store(root())])[0]
    assert finding["Signatures"].grade is finding["Keys"].grade is Grade.GOOD
