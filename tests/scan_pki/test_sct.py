"""SCTs: read where they stand, verified by the logs whose keys are given; OpenSSL agrees on the same certificate."""

import base64
import hashlib
from contextlib import nullcontext

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pkicode.ct import sct
from pkicode.scanner.certificate import facts
from pkicode.scanner.finding import Grade
from pkicode.x509 import der, keys, pem
from tests.oracles import Refused, openssl
from tests.oracles.tls import server
from tests.scan_pki.presented import foreign, issuing, judged, leaf, root
from tests.scan_pki.test_staple import response, stapled
from tests.x509.pki import DAY, NOW

LIST_OID = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
LOG, RSA_LOG, OTHER = keys.generate("ec-p256"), rsa.generate_private_key(65537, 4096), keys.generate("ec-p256")


def spki(key) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def timestamp(entry: bytes, *, log=LOG, at: int = NOW - DAY, extensions: bytes = b"", version: int = 0) -> bytes:
    """One SCT, spelt out of RFC 6962 section 3.2 octet by octet, without the code under test."""
    begins = (at * 1000).to_bytes(8, "big")
    added = len(extensions).to_bytes(2, "big") + extensions
    body = b"\0\0" + begins + entry + added
    is_rsa = isinstance(log, rsa.RSAPrivateKey)
    signed = (
        log.sign(body, padding.PKCS1v15(), hashes.SHA256()) if is_rsa else log.sign(body, ec.ECDSA(hashes.SHA256()))
    )
    head = bytes((version,)) + hashlib.sha256(spki(log)).digest() + begins + added
    return head + bytes((4, 1 if is_rsa else 3)) + len(signed).to_bytes(2, "big") + signed


def of_certificate(certificate: bytes) -> bytes:
    return b"\0\0" + len(certificate).to_bytes(3, "big") + certificate


def of_precertificate(tbs: bytes) -> bytes:
    return b"\0\1" + hashlib.sha256(spki(issuing().key)).digest() + len(tbs).to_bytes(3, "big") + tbs


def listed(*scts: bytes) -> bytes:
    body = b"".join(len(one).to_bytes(2, "big") + one for one in scts)
    return len(body).to_bytes(2, "big") + body


def embedding(*makers, key=None) -> bytes:
    """A certificate of ca.issuing with the SCTs that are made for it."""
    own = key or keys.generate("ec-p256")

    def made(scts: tuple[bytes, ...]) -> bytes:
        value = x509.UnrecognizedExtension(LIST_OID, der.tlv(der.OCTET_STRING, listed(*scts)))
        return foreign(signed_by=issuing().key, issuer_name="Issuing", key=own, extensions=[value])

    tbs = x509.load_der_x509_certificate(made(())).tbs_precertificate_bytes
    return made(tuple(make(of_precertificate(tbs)) for make in makers))


def found(*chain, **more):
    return judged(*chain, **more)[0]["SCTs"]


@pytest.mark.parametrize("log", [LOG, RSA_LOG], ids=["ecdsa", "rsa"])
def test_an_embedded_sct_is_verified_by_its_log(log):
    certificate = embedding(lambda entry: timestamp(entry, log=log), lambda entry: timestamp(entry, log=OTHER))
    finding = found(certificate, issuing(), log_keys=(spki(log),))
    assert (finding.grade, finding.value) == (Grade.GOOD, "embedded=2 tls=0 ocsp=0 verified=1")
    assert len(facts(certificate).scts) == 2


def test_an_sct_of_the_handshake_is_about_the_certificate_itself():
    certificate = leaf()
    good = timestamp(of_certificate(certificate.der), extensions=b"\0\0\5\1\2\3\4\5")
    finding = found(certificate, issuing(), scts=(good,), log_keys=(spki(LOG),))
    assert (finding.grade, finding.value) == (Grade.GOOD, "embedded=0 tls=1 ocsp=0 verified=1")


def with_single_extension(response: bytes, extension: bytes) -> bytes:
    """An OCSP response whose one answer has this extension, signed again; no library of ours makes one."""
    (_, _), (tag, inner) = outer = der.children(der.only(response, der.SEQUENCE))
    (oid, (_, basic)) = der.children(der.only(inner, der.SEQUENCE))
    (_, tbs), algorithm, _signature, *certificates = der.children(der.only(basic, der.SEQUENCE))
    fields = der.children(tbs)
    place = next(at for at, (kind, _) in enumerate(fields) if kind == der.SEQUENCE)
    ((_, single),) = der.children(fields[place][1])
    answer = der.tlv(der.SEQUENCE, single, der.tlv(0xA1, der.tlv(der.SEQUENCE, extension)))
    fields[place] = (der.SEQUENCE, answer)
    body = der.tlv(der.SEQUENCE, *(der.tlv(*one) for one in fields))
    signed = der.bit_string(keys.sign(issuing().key, body))
    rest = b"".join(der.tlv(*one) for one in certificates)
    whole = der.tlv(der.SEQUENCE, body, der.tlv(*algorithm), signed, rest)
    wrapped = der.tlv(der.SEQUENCE, der.tlv(*oid), der.tlv(der.OCTET_STRING, whole))
    return der.tlv(der.SEQUENCE, der.tlv(*outer[0]), der.tlv(tag, wrapped))


def test_an_sct_of_the_staple_is_about_the_certificate_itself():
    good = timestamp(of_certificate(stapled().der))
    value = der.tlv(der.OCTET_STRING, der.tlv(der.OCTET_STRING, listed(good)))
    extension = der.tlv(der.SEQUENCE, der.oid("1.3.6.1.4.1.11129.2.4.5"), value)
    staple = with_single_extension(response(), extension)
    findings, _ = judged(stapled(), issuing(), staple=staple, log_keys=(spki(LOG),))
    assert findings["Staple"].grade is Grade.GOOD
    assert (findings["SCTs"].grade, findings["SCTs"].value) == (Grade.GOOD, "embedded=0 tls=0 ocsp=1 verified=1")


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda entry: timestamp(entry)[:-1] + b"\0", "signature"),
        (lambda entry: timestamp(entry + b"x"), "signature"),
        (lambda entry: timestamp(entry, at=NOW + DAY), "future"),
        (lambda entry: timestamp(entry, version=1), "version 2"),
        (lambda entry: timestamp(entry)[:60], "cut short"),
        (lambda entry: timestamp(entry)[:43], "cut short"),
        (lambda entry: timestamp(entry)[:44], "cut short"),
        (lambda entry: timestamp(entry)[:40], "cut short"),
        (lambda entry: timestamp(entry) + b"x", "behind"),
        (lambda entry: b"", "cut short"),
        (lambda entry: timestamp(entry)[:43] + b"\2\1" + timestamp(entry)[45:], "no log signs by rsa-sha1"),
    ],
)
def test_an_sct_that_is_not_its_logs_is_bad(made, said):
    finding = found(embedding(made), issuing(), log_keys=(spki(LOG),))
    assert finding.grade is Grade.BAD
    assert said in finding.detail


@pytest.mark.parametrize("is_good", [True, False])
def test_openssl_has_the_same_opinion_of_an_embedded_sct(tmp_path, is_good):
    key = keys.generate("ec-p256")
    certificate = embedding(lambda entry: timestamp(entry if is_good else entry + b"x"), key=key)
    chain, trusted, private = (tmp_path / name for name in ("chain.pem", "root.pem", "key.pem"))
    chain.write_bytes(pem.encode("CERTIFICATE", certificate) + pem.encode("CERTIFICATE", issuing().der))
    trusted.write_bytes(pem.encode("CERTIFICATE", root().der))
    private.write_bytes(pem.encode("PRIVATE KEY", keys.pkcs8(key)))
    logs = tmp_path / "logs.cnf"
    shown = base64.b64encode(spki(LOG)).decode()
    logs.write_text(f"enabled_logs = one\n[one]\ndescription = one\nkey = {shown}\n")
    verdict = nullcontext() if is_good else pytest.raises(Refused, match="SCT validation status: invalid")
    with server(chain, private, clock=NOW) as port, verdict:
        said = openssl(
            "s_client", "-connect", f"127.0.0.1:{port}", "-CAfile", trusted, "-ct", "-ctlogfile", logs,
            stdin="GET / HTTP/1.0\r\n\r\n", clock=NOW,
        )  # fmt: skip
        assert "SCT validation status: valid" in said
    assert (found(certificate, issuing(), log_keys=(spki(LOG),)).grade is Grade.GOOD) is is_good


def test_scts_of_logs_that_nobody_knows_are_not_verified():
    certificate = embedding(timestamp)
    assert found(certificate, issuing()).grade is Grade.SKIPPED
    assert found(certificate, issuing(), log_keys=(spki(OTHER),)).grade is Grade.UNKNOWN
    assert found(certificate, stores=(), log_keys=(spki(LOG),)).grade is Grade.UNKNOWN, "without its issuer"


def test_no_sct_is_no_fault():
    assert (found(leaf(), issuing()).grade, found(leaf(), issuing()).value) == (Grade.SKIPPED, "none")


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\4\0\1", b"\0\1\0", listed(b"x") + b"y", listed(*[b"x"] * 65)])
def test_a_damaged_list_is_refused(data):
    with pytest.raises(ValueError, match="SCT"):
        sct.split(data)


def test_a_damaged_list_in_a_certificate_is_told():
    value = x509.UnrecognizedExtension(LIST_OID, der.tlv(der.OCTET_STRING, b"\0\4\0\1"))
    findings, _ = judged(foreign(signed_by=issuing().key, issuer_name="Issuing", extensions=[value]), issuing())
    assert findings["Certificates"].grade is Grade.BAD


def test_a_list_is_split_into_what_it_was_made_of():
    assert sct.split(listed(b"one", b"", b"three")) == (b"one", b"", b"three")
