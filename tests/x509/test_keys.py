"""Keys: what we make OpenSSL reads, what we sign it verifies, and weak or foreign keys are refused."""

import pickle
import subprocess

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from pkicode.x509 import der, keys
from tests.oracles import needs_openssl_for


@pytest.fixture(scope="module", params=keys.ALGORITHMS)
def key(request):
    return request.param, keys.generate(request.param)


@pytest.fixture(scope="module", params=keys.SIGNING)
def signing(request):
    return request.param, keys.generate(request.param)


@pytest.mark.parametrize("alg", [one for one in keys.ALGORITHMS if one != "rsa-4096"])
def test_a_key_that_was_just_made_is_told_with_its_own_public_key(alg):
    private, public = keys.generated(alg)
    assert public == keys.spki(keys.load_pkcs8(private))
    assert keys.alg_of_spki(public) == alg


def test_openssl_names_the_key_we_made_by_its_algorithm(key):
    alg, private = key
    needs_openssl_for(alg)
    text = subprocess.run(
        ["openssl", "pkey", "-inform", "DER", "-text", "-noout"],
        input=keys.pkcs8(private),
        capture_output=True,
        check=True,
    ).stdout.decode()
    said = {
        "ec-p256": "P-256",
        "ec-p384": "P-384",
        "ec-p521": "P-521",
        "ed25519": "ED25519",
        "ed448": "ED448",
        "rsa-2048": "2048 bit",
        "rsa-3072": "3072 bit",
        "rsa-4096": "4096 bit",
    }
    assert said.get(alg, alg.upper()) in text


def test_a_key_survives_pkcs8_and_its_header_tells_the_algorithm(key):
    alg, private = key
    again = keys.load_pkcs8(keys.pkcs8(private))
    assert keys.spki(again) == keys.spki(private.public_key())
    assert keys.alg_of_spki(keys.spki(again)) == alg


def test_openssl_verifies_our_signature(signing, tmp_path):
    alg, private = signing
    needs_openssl_for(alg)
    (tmp_path / "pub.der").write_bytes(keys.spki(private))
    (tmp_path / "tbs").write_bytes(b"to be signed")
    (tmp_path / "sig").write_bytes(keys.sign(private, b"to be signed"))
    digest = {"ec-p384": ["-digest", "sha384"], "ec-p521": ["-digest", "sha512"], "rsa-4096": ["-digest", "sha384"]}
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", "pub.der", "-rawin"]
    command += [] if alg.startswith(("ed", "ml-")) else digest.get(alg, ["-digest", "sha256"])
    command += ["-in", "tbs", "-sigfile", "sig"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert "Signature Verified Successfully" in done.stdout, done.stderr


def test_signing_again_gives_the_same_signature_where_that_is_promised_and_it_verifies(signing):
    alg, private = signing
    signature = keys.sign(private, b"tbs")
    assert keys.is_repeatable(alg) == (signature == keys.sign(private, b"tbs")) == (not alg.startswith("ml-dsa"))
    assert keys.soft_signer("ca.root@1", private).deterministic == keys.is_repeatable(alg)
    keys.verify(keys.spki(private), alg, b"tbs", signature)
    keys.verify(keys.spki(private), keys.signature_algorithm(alg), b"tbs", signature)


def test_another_message_or_another_algorithm_does_not_verify(signing):
    alg, private = signing
    signature = keys.sign(private, b"tbs")
    with pytest.raises(keys.SignatureError, match="does not verify"):
        keys.verify(keys.spki(private), alg, b"tbt", signature)
    other = "ed25519" if alg != "ed25519" else "ed448"
    with pytest.raises(keys.SignatureError, match="does not belong"):
        keys.verify(keys.spki(private), other, b"tbs", signature)


@pytest.mark.parametrize("algorithm", [b"", b"\x30\x00", der.tlv(der.SEQUENCE, der.oid("1.2.840.113549.1.1.5"))])
def test_an_unknown_signature_algorithm_never_verifies(algorithm):
    private = keys.generate("ec-p256")
    with pytest.raises(keys.SignatureError):
        keys.verify(keys.spki(private), algorithm, b"tbs", keys.sign(private, b"tbs"))


def test_a_signer_shows_no_secret_and_is_not_pickled_by_accident():
    signer = keys.soft_signer("ca.root@1", keys.generate("ec-p256"))
    secret = keys.load_pkcs8(signer.portable()).private_numbers().private_value
    assert "PrivateKey" not in repr(signer)
    assert str(secret) not in repr(signer)
    assert signer.deterministic
    keys.verify(signer.facts.spki, signer.facts.alg, b"x", signer.sign(b"x"))
    with pytest.raises(TypeError, match="portable"):
        pickle.dumps(signer)


def _algorithm(oid):
    return der.tlv(der.SEQUENCE, der.oid(oid))


def _with_parameters(spki):
    """The same key, its algorithm with the NULL that RFC 9881 section 2 forbids."""
    (_, algorithm), (_, bits) = der.children(der.only(spki, der.SEQUENCE))
    return der.tlv(der.SEQUENCE, der.tlv(der.SEQUENCE, algorithm, der.tlv(der.NULL)), der.tlv(der.BIT_STRING, bits))


def _public(private):
    return private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize(
    ("spki", "reason"),
    [
        (lambda: _public(rsa.generate_private_key(65537, 1024)), "1024 bits"),
        (lambda: _public(rsa.generate_private_key(3, 2048)), "exponent"),
        (lambda: _public(ec.generate_private_key(ec.SECP256K1())), "not a public key of"),
        (lambda: _public(x25519.X25519PrivateKey.generate()), "not a public key of"),
        (lambda: _public(dsa.generate_private_key(1024)), "not a public key of"),
        (lambda: keys.spki(keys.generate("ec-p256")) + b"\0", "more octets"),
        (lambda: b"", "DER ends"),
        (lambda: keys.spki(keys.generate("ec-p256"))[:-1] + b"\0", "not a valid key"),
        (lambda: keys.spki(keys.generate("ml-kem-768")), "not a public key of who can sign"),
        (lambda: _with_parameters(keys.spki(keys.generate("ml-dsa-44"))), "ml-dsa-44 stands with parameters"),
        (lambda: der.tlv(der.SEQUENCE, _algorithm("2.16.840.1.101.3.4.3.18"), der.bit_string(b"short")), "1952 octets"),
        # ML-KEM-512, which the library does not have, and SLH-DSA.
        (
            lambda: der.tlv(der.SEQUENCE, _algorithm("2.16.840.1.101.3.4.4.1"), der.bit_string(bytes(800))),
            "not a public",
        ),
        (
            lambda: der.tlv(der.SEQUENCE, _algorithm("2.16.840.1.101.3.4.3.20"), der.bit_string(bytes(32))),
            "not a public",
        ),
    ],
)
def test_weak_and_foreign_public_keys_are_refused_with_the_reason(spki, reason):
    with pytest.raises(ValueError, match=reason):
        keys.load_spki(spki())


def test_a_private_key_that_cannot_sign_here_is_refused_without_its_bytes():
    foreign = x25519.X25519PrivateKey.generate().private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(ValueError, match="is of no use here"):
        keys.load_pkcs8(foreign)
    with pytest.raises(ValueError, match="not an unencrypted PKCS#8") as caught:
        keys.load_pkcs8(b"planted-secret")
    assert "planted" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_an_unknown_algorithm_is_refused_with_those_that_are_known():
    for function in (keys.generate, keys.signature_algorithm):
        with pytest.raises(ValueError, match="ec-p256"):
            function("dsa-1024")


def test_a_lattice_key_is_kept_as_its_seed_and_one_without_it_is_refused():
    """RFC 9881 section 6: seed [0], expandedKey OCTET STRING, or both."""
    for alg, seed in (("ml-dsa-44", 32), ("ml-kem-768", 64)):
        private = keys.pkcs8(keys.generate(alg))
        version, algorithm, (_, held) = der.children(der.only(private, der.SEQUENCE))
        assert held[:2] == bytes((0x80, seed))
        assert len(held) == 2 + seed
        expanded = der.tlv(der.OCTET_STRING, bytes(2560))
        alone = der.tlv(der.SEQUENCE, der.tlv(*version), der.tlv(*algorithm), der.tlv(der.OCTET_STRING, expanded))
        with pytest.raises(ValueError, match="not an unencrypted PKCS#8"):
            keys.load_pkcs8(alone)


def test_a_key_that_only_deciphers_signs_nothing():
    kem = keys.generate("ml-kem-1024")
    with pytest.raises(ValueError, match="ml-kem-1024 keys sign nothing"):
        keys.load_signing(keys.pkcs8(kem))
    with pytest.raises(ValueError, match="not an algorithm that signs"):
        keys.signature_algorithm("ml-kem-1024")
    with pytest.raises(keys.SignatureError, match="not a public key of who can sign"):
        keys.verify(keys.spki(kem), "ml-dsa-44", b"tbs", bytes(2420))
