"""OCSP requests against their oracles: what cryptography and OpenSSL ask is read; nothing malformed is a surprise."""

import random
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from hypothesis import given
from hypothesis import strategies as st

from pkicode.revocation import ocsp_request
from pkicode.revocation.ocsp_request import CertId, cert_id, encode, parse
from pkicode.x509.der import BOOLEAN, NULL, OCTET_STRING, SEQUENCE, integer, oid, tlv
from tests.oracles import openssl
from tests.revocation.asked import LEAF, ca, load

NONCE = "1.3.6.1.5.5.7.48.1.2"
HASHES = {"sha1": hashes.SHA1(), "sha256": hashes.SHA256()}


def wrapped(*fields: bytes) -> bytes:
    return tlv(SEQUENCE, tlv(SEQUENCE, *fields))


def listed(*ids: bytes) -> bytes:
    return tlv(SEQUENCE, *(tlv(SEQUENCE, one) for one in ids))


def extended(*extensions: bytes) -> bytes:
    return wrapped(listed(ID), tlv(0xA2, tlv(SEQUENCE, *extensions)))


def extension(dotted: str, value: bytes, *, critical: bool = False) -> bytes:
    return tlv(SEQUENCE, oid(dotted), b"\x01\x01\xff" if critical else b"", tlv(OCTET_STRING, value))


ID = ocsp_request.encode_id(cert_id(ca().issuer, LEAF, "sha1"))


@pytest.mark.parametrize("algorithm", HASHES)
def test_what_cryptography_asks_is_read(algorithm: str) -> None:
    leaf, above = load(ca().leaf()), load(ca().maker.ca)
    asked = ocsp.OCSPRequestBuilder().add_certificate(leaf, above, HASHES[algorithm]).build()
    der = asked.public_bytes(Encoding.DER)
    expected = CertId(algorithm, asked.issuer_name_hash, asked.issuer_key_hash, LEAF)
    assert parse(der).ids == (expected,) == (cert_id(ca().issuer, LEAF, algorithm),)
    assert not parse(der).extended


@given(st.integers(min_value=1, max_value=2**159 - 1), st.sampled_from(sorted(HASHES)))
def test_what_we_ask_is_what_cryptography_would_ask(serial: int, algorithm: str) -> None:
    asked = cert_id(ca().issuer, serial, algorithm)
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
        asked.issuer_name, asked.issuer_key, serial, HASHES[algorithm]
    )
    theirs = builder.build().public_bytes(Encoding.DER)
    assert parse(theirs).ids == parse(encode(asked)).ids == (asked,)
    assert ocsp.load_der_ocsp_request(encode(asked)).serial_number == serial


@pytest.mark.parametrize("more", [[], ["-no_nonce"], ["-sha256"], ["-sha256", "-no_nonce"]], ids=" ".join)
def test_what_openssl_asks_is_read(more: list[str], tmp_path: Path) -> None:
    folder = ca().write(tmp_path)
    file = folder / "request.der"
    openssl("ocsp", *more[:1], "-issuer", folder / "ca.pem", "-cert", folder / "leaf.pem", *more[1:], "-reqout", file)
    asked = parse(file.read_bytes())
    assert asked.ids == (cert_id(ca().issuer, LEAF, "sha256" if "-sha256" in more else "sha1"),)
    assert asked.extended == ("-no_nonce" not in more)


def test_openssl_reads_what_we_ask(tmp_path: Path) -> None:
    file = tmp_path / "request.der"
    file.write_bytes(encode(cert_id(ca().issuer, LEAF, "sha256")))
    told = openssl("ocsp", "-reqin", file, "-req_text", "-noverify")
    assert f"Serial Number: {LEAF:X}" in told
    assert "Hash Algorithm: sha256" in told


def test_a_signed_request_for_two_is_read_as_one_for_two(tmp_path: Path) -> None:
    folder = ca().write(tmp_path)
    own = ["-nodes", "-subj", "/CN=me", "-keyout", folder / "me.key", "-out", folder / "me.pem"]
    openssl("req", "-x509", "-newkey", "rsa:2048", *own)
    which = ["-issuer", folder / "ca.pem", "-serial", "5", "-serial", "0x77", "-signer", folder / "me.pem"]
    openssl("ocsp", *which, "-signkey", folder / "me.key", "-reqout", folder / "request.der")
    assert [one.serial for one in parse((folder / "request.der").read_bytes()).ids] == [5, 0x77]


@pytest.mark.parametrize("octets", [1, 32, 128])
def test_a_nonce_of_a_length_that_may_be_is_read_over(octets: int) -> None:
    der = extended(extension(NONCE, tlv(OCTET_STRING, bytes(octets))))
    assert parse(der).ids == parse(wrapped(listed(ID))).ids
    assert parse(der).extended


@pytest.mark.parametrize("algorithm", [tlv(SEQUENCE, ocsp_request.HASHES["sha1"])], ids=["no parameters"])
def test_hash_parameters_may_be_absent(algorithm: bytes) -> None:
    name, key = ocsp_request.hashes_of(ca().issuer, "sha1")
    der = tlv(SEQUENCE, algorithm, tlv(OCTET_STRING, name), tlv(OCTET_STRING, key), integer(LEAF))
    assert parse(wrapped(listed(der))).ids == (cert_id(ca().issuer, LEAF, "sha1"),)


def test_another_hash_is_read_and_known_to_be_none_of_ours() -> None:
    algorithm = tlv(SEQUENCE, oid("2.16.840.1.101.3.4.2.3"), tlv(NULL))
    der = tlv(SEQUENCE, algorithm, tlv(OCTET_STRING, bytes(64)), tlv(OCTET_STRING, bytes(64)), integer(5))
    assert parse(wrapped(listed(der))).ids[0].hash == ""


@pytest.mark.parametrize("serial", [-1, 0, 2**200])
def test_a_serial_that_no_certificate_has_is_read(serial: int) -> None:
    name, key = ocsp_request.hashes_of(ca().issuer, "sha1")
    assert parse(wrapped(listed(ocsp_request.encode_id(CertId("sha1", name, key, serial))))).ids[0].serial == serial


MALFORMED = {
    "nothing": b"",
    "text": b"GET / HTTP/1.1",
    "an empty SEQUENCE": tlv(SEQUENCE),
    "a SEQUENCE of nothing": tlv(SEQUENCE, tlv(SEQUENCE)),
    "an empty list": wrapped(tlv(SEQUENCE)),
    "a list without CertID": wrapped(tlv(SEQUENCE, tlv(SEQUENCE))),
    "octets after it": wrapped(listed(ID)) + b"\0",
    "an indefinite length": b"\x30\x80" + wrapped(listed(ID))[2:] + b"\0\0",
    "a length in too many octets": b"\x30\x81" + wrapped(listed(ID))[1:],
    "version 2": wrapped(tlv(0xA0, integer(1)), listed(ID)),
    "a field twice": wrapped(listed(ID), listed(ID)),
    "fields out of order": wrapped(listed(ID), tlv(0xA0, integer(0))),
    "an unknown field": wrapped(tlv(0xA5, integer(0)), listed(ID)),
    "a third part": tlv(SEQUENCE, tlv(SEQUENCE, listed(ID)), tlv(0xA0), tlv(0xA0)),
    "a CertID without serial": wrapped(listed(tlv(SEQUENCE, tlv(SEQUENCE, oid("1.3.14.3.2.26")), tlv(4), tlv(4)))),
    "an empty serial": wrapped(listed(tlv(SEQUENCE, tlv(SEQUENCE, oid("1.2")), tlv(4), tlv(4), tlv(2)))),
    "a padded serial": wrapped(listed(tlv(SEQUENCE, tlv(SEQUENCE, oid("1.2")), tlv(4), tlv(4), b"\x02\x02\0\x05"))),
    "no hash": wrapped(listed(tlv(SEQUENCE, tlv(SEQUENCE), tlv(4), tlv(4), integer(5)))),
    "a nonce of nothing": extended(extension(NONCE, tlv(OCTET_STRING))),
    "a nonce of 129 octets": extended(extension(NONCE, tlv(OCTET_STRING, bytes(129)))),
    "a nonce that is none": extended(extension(NONCE, b"12345678")),
    "two nonces": extended(*[extension(NONCE, tlv(OCTET_STRING, bytes(8)))] * 2),
    "a critical extension nobody knows": extended(extension("1.2.3.4", b"", critical=True)),
    "an extension without value": extended(tlv(SEQUENCE, oid(NONCE))),
    "criticality that is no boolean": extended(tlv(SEQUENCE, oid(NONCE), tlv(BOOLEAN + 1, b"\1"), tlv(4))),
    "9000 octets": wrapped(listed(*[ID] * 120)),
}


@pytest.mark.parametrize("der", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_no_request_is_refused(der: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse(der)


def test_every_beginning_of_a_request_is_refused() -> None:
    whole = extended(extension(NONCE, tlv(OCTET_STRING, bytes(32))))
    for end in range(len(whole)):
        with pytest.raises(ValueError, match=r"\w"):
            parse(whole[:end])


def test_a_thousand_mutations_are_read_or_refused() -> None:
    draw, whole = random.Random(1), extended(extension(NONCE, tlv(OCTET_STRING, bytes(32))))
    refused = 0
    for _ in range(1000):
        mutant = bytearray(whole)
        for _ in range(draw.randint(1, 4)):
            mutant[draw.randrange(len(mutant))] = draw.randrange(256)
        try:
            parse(bytes(mutant))
        except ValueError:
            refused += 1
    assert 200 < refused < 1000


@given(st.binary(max_size=200))
def test_any_octets_are_read_or_refused(der: bytes) -> None:
    with suppress(ValueError):
        assert parse(der).ids


def test_both_hashes_of_a_ca_are_those_of_its_certificate() -> None:
    loaded = load(ca().maker.ca)
    digest = hashes.Hash(hashes.SHA256())
    digest.update(loaded.subject.public_bytes())
    name, key = ocsp_request.hashes_of(ca().issuer, "sha256")
    assert name == digest.finalize()
    assert (
        ocsp_request.hashes_of(ca().issuer, "sha1")[1]
        == x509.SubjectKeyIdentifier.from_public_key(loaded.public_key()).digest
    )
    assert len(key) == 32
