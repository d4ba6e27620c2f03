"""Certification requests: what OpenSSL makes we read; the weak, the damaged and the unproven are refused."""

from itertools import count
from math import prod

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from pkicode.x509 import der, keys, pem, request
from tests.oracles import needs_openssl_for, openssl_bytes

CONFIG = "[req]\ndistinguished_name = dn\nprompt = no\n[dn]\nCN = portal.example\nO = Corp\n"


def _made(key, extension=None, subject=(("CN", "portal.example"),), digest=hashes.SHA256):
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name.from_rfc4514_string(",".join(f"{name}={value}" for name, value in subject))
    )
    if extension is not None:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, digest() if digest else None).public_bytes(Encoding.DER)


@pytest.mark.parametrize("alg", [alg for alg in keys.SIGNING if alg.startswith("ml-dsa")])
def test_a_request_with_a_lattice_key_is_read_and_one_with_an_altered_octet_refused(alg):
    key = keys.generate(alg)
    made = _made(key, digest=None)
    read = request.csr(made)
    assert (read.spki, read.alg, read.subject) == (keys.spki(key), alg, (("cn", "portal.example"),))
    with pytest.raises(ValueError, match="no proof of possession"):
        request.csr(made[:-9] + bytes((made[-9] ^ 1,)) + made[-8:])


def test_a_request_for_a_key_that_cannot_sign_has_no_proof_of_possession():
    """RFC 9935 keys cannot sign the request they stand in: the keystore makes them, or nobody."""
    made = _made(keys.generate("ml-dsa-44"), digest=None)
    (_, info), algorithm, signature = der.children(der.only(made, der.SEQUENCE))
    version, subject, _, attributes = der.children(info)
    foreign = keys.spki(keys.generate("ml-kem-768"))
    altered = der.tlv(der.SEQUENCE, der.tlv(*version), der.tlv(*subject), foreign, der.tlv(*attributes))
    with pytest.raises(ValueError, match="no proof of possession: not a public key of who can sign"):
        request.csr(der.tlv(der.SEQUENCE, altered, der.tlv(*algorithm), der.tlv(*signature)))


@pytest.mark.parametrize("alg", keys.SIGNING)
def test_a_request_of_every_algorithm_made_by_openssl_is_read(alg, tmp_path):
    needs_openssl_for(alg)
    key = keys.generate(alg)
    (tmp_path / "key.pem").write_bytes(pem.encode("PRIVATE KEY", keys.pkcs8(key)))
    (tmp_path / "config").write_text(CONFIG)
    made = openssl_bytes("req", "-new", "-key", tmp_path / "key.pem", "-config", tmp_path / "config")
    read = request.csr(made)
    assert (read.spki, read.alg) == (keys.spki(key), alg)
    assert read.subject == (("cn", "portal.example"), ("o", "Corp"))
    assert read.sans == ()


def test_every_kind_of_name_it_asks_for_is_read_in_normal_form(tmp_path):
    (tmp_path / "key.pem").write_bytes(pem.encode("PRIVATE KEY", keys.pkcs8(keys.generate("ec-p256"))))
    (tmp_path / "config").write_text(CONFIG + "[dir]\nO = Corp\nCN = x\n")
    asked = (
        "DNS:Portal.Example,DNS:portal.example,IP:192.0.2.1,IP:2001:db8::1,email:a@B.example,URI:spiffe://b.example/x,"
        "RID:1.2.3.4,dirName:dir,otherName:1.3.6.1.4.1.311.20.2.3;UTF8:u@realm"
    )
    made = openssl_bytes(
        "req",
        "-new",
        "-key",
        tmp_path / "key.pem",
        "-config",
        tmp_path / "config",
        "-addext",
        "keyUsage=keyCertSign",
        "-addext",
        f"subjectAltName={asked}",
    )
    assert [f"{kind}:{text}" for kind, text in request.csr(made).sans] == [
        "dns:portal.example",
        "ip:192.0.2.1",
        "ip:2001:db8::1",
        "email:a@b.example",
        "uri:spiffe://b.example/x",
        "rid:1.2.3.4",
        "dirname:CN=x,O=Corp",
        "upn:u@realm",
    ]


def test_junk_that_it_asks_for_is_refused_only_when_somebody_wants_it():
    key = keys.generate("ec-p256")
    names = x509.SubjectAlternativeName([x509.DNSName("a_b.example")])
    read = request.csr(_made(key, names, subject=(("2.5.4.99", "odd"),)))
    assert read.spki == keys.spki(key)
    with pytest.raises(ValueError, match="underscore"):
        _ = read.sans
    with pytest.raises(ValueError, match=r"2\.5\.4\.99"):
        _ = read.subject
    with pytest.raises(ValueError, match="not supported"):
        _ = request.csr(
            _made(key, x509.SubjectAlternativeName([x509.OtherName(x509.ObjectIdentifier("1.2.3"), b"\x05\x00")]))
        ).sans


def test_a_request_for_thousands_of_names_is_not_read():
    names = x509.SubjectAlternativeName([x509.DNSName(f"a{number}.example") for number in range(1001)])
    with pytest.raises(ValueError, match="1001 names"):
        _ = request.csr(_made(keys.generate("ec-p256"), names)).sans


def test_der_and_pem_of_both_labels_and_with_text_around_are_the_same_request():
    made = _made(keys.generate("ec-p256"))
    old = pem.encode("NEW CERTIFICATE REQUEST", made)
    assert request.csr(made) == request.csr(pem.encode("CERTIFICATE REQUEST", made)) == request.csr(b"Text\n" + old)


GOOD = _made(keys.generate("ec-p256"))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no PEM block"),
        (b"0", "DER ends"),
        (b"-----BEGIN CERTIFICATE REQUEST-----\n!!\n-----END CERTIFICATE REQUEST-----", "damaged"),
        (b"-----BEGIN CERTIFICATE REQUEST-----\nMAA=\n", "no end line"),
        (pem.encode("CERTIFICATE REQUEST", GOOD) * 2, "2 requests in one file"),
        (b"0" * (request.LIMIT + 1), "at most 65536"),
        (GOOD + b"\0", "1 more octets"),
        (GOOD[:-1], "DER ends"),
        (pem.encode("CERTIFICATE REQUEST", GOOD + b"\0"), "1 more octets"),
        (b"\x30\x00", "not a certification request"),
        (GOOD.replace(b"portal", b"mortal"), "no proof of possession: the signature does not verify"),
        (GOOD.replace(b"\x02\x01\x00", b"\x02\x01\x01", 1), "version 1"),
        (_made(rsa.generate_private_key(65537, 1024)), "1024 bits is refused"),
        (_made(rsa.generate_private_key(3, 2048)), "exponent is refused"),
        (_made(ec.generate_private_key(ec.SECP256K1())), "not a public key of"),
    ],
)
def test_what_is_no_good_request_is_refused_with_the_reason(data, reason):
    with pytest.raises(ValueError, match=reason):
        request.csr(data)


def test_a_request_signed_by_another_key_is_no_proof_of_possession():
    ours, theirs = keys.generate("ec-p256"), keys.generate("ec-p256")
    stolen = _made(ours).replace(keys.spki(ours), keys.spki(theirs))
    with pytest.raises(ValueError, match="proof of possession"):
        request.csr(stolen)


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_a_request_with_one_octet_changed_never_passes(place, change):
    damaged = bytearray(GOOD)
    damaged[place] ^= change
    with pytest.raises(ValueError):  # noqa: PT011 - each octet breaks elsewhere
        request.csr(bytes(damaged))


def _roca_prime(bits: int) -> int:
    """A prime of the form k * M + (65537 ** a mod M), M a product of the first primes, as the chips made them."""
    base = prod(number for number in range(2, 640) if all(number % below for below in range(2, number)))
    power = pow(65537, 0x1234567, base)
    factor = 3 << (bits - 2 - base.bit_length())
    return next(n for n in (k * base + power for k in count(factor)) if _is_prime(n) and n % 65537 != 1)


def _is_prime(number: int) -> bool:
    return all(pow(base, number - 1, number) == 1 for base in (2, 3, 5))


def _next_prime(number: int) -> int:
    return next(one for one in count(number | 1, 2) if _is_prime(one) and one % 65537 != 1)


def _of_primes(p: int, q: int) -> rsa.RSAPrivateKey:
    d = pow(65537, -1, (p - 1) * (q - 1))
    public = rsa.RSAPublicNumbers(65537, p * q)
    parts = (rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q))
    return rsa.RSAPrivateNumbers(p, q, d, *parts, public).private_key(unsafe_skip_rsa_key_validation=True)


def weak_key(what: str) -> rsa.RSAPrivateKey:
    start = 0b1101 << 1020
    match what:
        case "ROCA":
            return _of_primes(_roca_prime(1060), _roca_prime(1061))
        case "so close":
            p = _next_prime(start)
            return _of_primes(p, _next_prime(p + 2))
        case _:
            # The first prime above 2^2050; to look for it took 15 seconds.
            return _of_primes(743, _next_prime((1 << 2050) + 1435))


@pytest.mark.parametrize("what", ["ROCA", "so close", "small factor"])
def test_a_request_for_a_key_that_anybody_can_factor_is_refused(what):
    """Proof of possession it has: so would have whoever factors it."""
    made = _made(weak_key(what))
    with pytest.raises(ValueError, match=what):
        request.csr(made)


def test_a_request_for_a_label_that_stands_for_nothing_is_refused_and_a_certificate_with_it_is_read():
    asked = x509.SubjectAlternativeName([x509.DNSName("a.example"), x509.DNSName("xn--zzzz.example")])
    read = request.csr(_made(ec.generate_private_key(ec.SECP256R1()), asked))
    with pytest.raises(ValueError, match="`xn--zzzz` is not an A-label"):
        _ = read.sans
    assert request.san_of(0x82, b"xn--zzzz.example") == ("dns", "xn--zzzz.example")
