"""CRLs against their oracles: cryptography's builder byte for byte, OpenSSL and GnuTLS as readers."""

import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, load_der_private_key
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from pkicode.model.instants import DAY, as_datetime
from pkicode.model.reason import REASONS
from pkicode.revocation import crl
from pkicode.x509 import der, keys, pem
from pkicode.x509.tbs import IssuerFacts
from tests.oracles import certtool, crl_text, needs_openssl_for, revoked_serials

NOW = 1_795_424_400
"""2026-11-23T09:00:00Z."""
NAME = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Corp"), x509.NameAttribute(NameOID.COMMON_NAME, "R1")])
HASHES = {
    "ec-p256": hashes.SHA256(),
    "ec-p384": hashes.SHA384(),
    "ec-p521": hashes.SHA512(),
    "rsa-3072": hashes.SHA256(),
    "ed25519": None,
    "ed448": None,
    "ml-dsa-44": None,
    "ml-dsa-87": None,
}
URLS = ("http://pki.corp.example/crl/issuing-g1/3.crl", "http://mirror.corp.example/pki/crl/issuing-g1/3.crl")
KEYS = {alg: keys.generate(alg) for alg in HASHES}

serials = st.integers(min_value=1, max_value=crl.MOST - 1)
instants = st.integers(min_value=0, max_value=4_102_444_800)
"""1970 to 2100: both forms of Time."""
entries = st.lists(
    st.builds(
        crl.Entry,
        serial=serials,
        revoked_at=instants,
        reason=st.sampled_from([None, *REASONS]),
        invalidity=st.none() | instants,
    ),
    max_size=20,
    unique_by=lambda entry: entry.serial,
).map(lambda found: sorted(found, key=lambda entry: entry.serial))


def issuer(alg: str = "ec-p256", name: x509.Name = NAME) -> IssuerFacts:
    spki = keys.spki(KEYS[alg])
    return IssuerFacts(dn=name.public_bytes(), ski=spki[-20:], spki=spki, alg=alg)


def made(*listed: crl.Entry, alg: str = "ec-p256", number: int = 1, name: x509.Name = NAME) -> bytes:
    tbs = crl.tbs(issuer(alg, name), listed, number=number, this_update=NOW, next_update=NOW + 7 * DAY)
    return crl.crl(tbs, alg, keys.sign(KEYS[alg], tbs))


def ca_file(folder: Path, alg: str) -> Path:
    certificate = (
        x509.CertificateBuilder()
        .subject_name(NAME)
        .issuer_name(NAME)
        .public_key(KEYS[alg].public_key())
        .serial_number(1)
        .not_valid_before(as_datetime(NOW - DAY))
        .not_valid_after(as_datetime(NOW + 100 * DAY))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier(issuer(alg).ski), critical=False)
        .sign(KEYS[alg], HASHES[alg])
    )
    path = folder / "ca.pem"
    path.write_bytes(certificate.public_bytes(Encoding.PEM))
    return path


def openssl_verdict(der: bytes, ca: Path) -> str:
    """What `openssl crl -verify` says on stderr: its exit code is 0 either way."""
    command = ["openssl", "crl", "-inform", "DER", "-noout", "-verify", "-CAfile", str(ca)]
    return subprocess.run(command, input=der, capture_output=True).stderr.decode().strip()


def point(*urls: str, **more: object) -> x509.IssuingDistributionPoint:
    said = {"relative_name": None, "only_contains_user_certs": False, "only_contains_ca_certs": False}
    said |= {"only_some_reasons": None, "indirect_crl": False, "only_contains_attribute_certs": False}
    names = [x509.UniformResourceIdentifier(url) for url in urls] or None
    return x509.IssuingDistributionPoint(full_name=names, **{**said, **more})


def by_builder(
    alg: str, listed: list[crl.Entry], *, number: int, this_update: int, next_update: int, urls: tuple[str, ...] = ()
) -> x509.CertificateRevocationList:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(NAME)
        .last_update(as_datetime(this_update))
        .next_update(as_datetime(next_update))
        .add_extension(x509.AuthorityKeyIdentifier(issuer(alg).ski, None, None), critical=False)
        .add_extension(x509.CRLNumber(number), critical=False)
    )
    if urls:
        builder = builder.add_extension(point(*urls), critical=True)
    for entry in listed:
        row = (
            x509.RevokedCertificateBuilder().serial_number(entry.serial).revocation_date(as_datetime(entry.revoked_at))
        )
        if entry.reason not in {None, "unspecified"}:
            row = row.add_extension(x509.CRLReason(x509.ReasonFlags(entry.reason)), critical=False)
        if entry.invalidity is not None:
            row = row.add_extension(x509.InvalidityDate(as_datetime(entry.invalidity)), critical=False)
        builder = builder.add_revoked_certificate(row.build())
    return builder.sign(load_der_private_key(keys.pkcs8(KEYS[alg]), None), HASHES[alg])


@given(
    alg=st.sampled_from(sorted(HASHES)),
    listed=entries,
    number=st.integers(min_value=0, max_value=crl.MOST - 1),
    this_update=instants,
    life=st.integers(min_value=1, max_value=10 * 365 * DAY),
    urls=st.sampled_from([(), URLS[:1], URLS]),
)
@settings(max_examples=150)
def test_the_tbs_is_byte_for_byte_the_builders(alg, listed, number, this_update, life, urls):
    dates = {"number": number, "this_update": this_update, "next_update": this_update + life, "urls": urls}
    assert crl.tbs(issuer(alg), listed, **dates) == by_builder(alg, listed, **dates).tbs_certlist_bytes


@given(listed=entries, number=st.integers(min_value=0, max_value=crl.MOST - 1))
def test_reading_gives_back_what_was_written(listed, number):
    facts = crl.read(made(*listed, number=number), limit=100_000)
    told = [(one.serial, one.revoked_at, one.reason or "unspecified", one.invalidity) for one in facts.entries]
    assert told == [(one.serial, one.revoked_at, one.reason or "unspecified", one.invalidity) for one in listed]
    assert (facts.number, facts.this_update, facts.next_update) == (number, NOW, NOW + 7 * DAY)
    assert (facts.dn, facts.aki) == (issuer().dn, issuer().ski)


@pytest.mark.parametrize("alg", sorted(HASHES))
def test_openssl_and_gnutls_read_and_verify_the_crl(alg, tmp_path: Path):
    needs_openssl_for(alg)
    der = made(crl.Entry(0xABC, NOW - 60, "keyCompromise", NOW - DAY), crl.Entry(2**158, NOW), alg=alg, number=2**158)
    text = crl_text(der)
    assert revoked_serials(der) == ["abc", f"{2**158:x}"]
    assert "Key Compromise" in text
    assert "Invalidity Date" in text
    ca = ca_file(tmp_path, alg)
    (tmp_path / "list.crl").write_bytes(der)
    assert openssl_verdict(der, ca) == "verify OK"
    assert "abc" in certtool("--crl-info", "--inder", "--infile", tmp_path / "list.crl").lower()
    crl.verify(der, issuer(alg))


@pytest.mark.parametrize("alg", ["ml-dsa-44", "ml-dsa-65", "ml-dsa-87"])
def test_a_crl_signed_with_a_lattice_key_verifies_and_an_altered_one_does_not(alg):
    key = keys.generate(alg)
    spki = keys.spki(key)
    by = IssuerFacts(dn=NAME.public_bytes(), ski=spki[-20:], spki=spki, alg=alg)
    tbs = crl.tbs(by, [crl.Entry(5, NOW)], number=1, this_update=NOW, next_update=NOW + DAY)
    made = crl.crl(tbs, alg, keys.sign(key, tbs))
    crl.verify(made, by)
    assert x509.load_der_x509_crl(made).is_signature_valid(key.public_key())
    with pytest.raises(keys.SignatureError):
        crl.verify(made[:-9] + bytes((made[-9] ^ 1,)) + made[-8:], by)


def test_an_altered_crl_is_refused_by_openssl_and_by_us(tmp_path: Path):
    der = made(crl.Entry(5, NOW))
    altered = der.replace(b"\x02\x01\x05\x17", b"\x02\x01\x06\x17")
    assert altered != der
    ca = ca_file(tmp_path, "ec-p256")
    assert openssl_verdict(der, ca) == "verify OK"
    assert openssl_verdict(altered, ca) == "verify failure"
    with pytest.raises(keys.SignatureError):
        crl.verify(altered, issuer())


def test_an_empty_crl_has_no_list_of_revoked_certificates():
    assert "No Revoked Certificates." in crl_text(made())


def test_unspecified_is_left_out_of_the_entry():
    assert made(crl.Entry(7, NOW, "unspecified"))[:-80] == made(crl.Entry(7, NOW))[:-80]
    assert "CRL entry extensions" not in crl_text(made(crl.Entry(7, NOW, "unspecified")))


@pytest.mark.parametrize("reason", ["certificateHold", "removeFromCRL", "keycompromise", ""])
def test_reasons_that_unrevoke_or_do_not_exist_are_refused(reason):
    with pytest.raises(ValueError, match=f"`{reason}` is not a reason"):
        made(crl.Entry(1, NOW, reason))


@pytest.mark.parametrize("bad", [[(0,)], [(-1,)], [(crl.MOST,)], [(5,), (5,)], [(6,), (5,)]])
def test_serials_are_positive_short_unique_and_in_order(bad):
    with pytest.raises(ValueError, match="serial"):
        made(*(crl.Entry(*serial, NOW) for serial in bad))


@pytest.mark.parametrize("number", [-1, crl.MOST])
def test_a_number_that_does_not_fit_20_octets_is_refused(number):
    with pytest.raises(ValueError, match="20 octets"):
        made(number=number)


def test_a_crl_that_ends_before_it_begins_is_refused():
    with pytest.raises(ValueError, match="nextUpdate"):
        crl.tbs(issuer(), (), number=1, this_update=NOW, next_update=NOW)


def test_another_issuers_crl_does_not_verify():
    der = made(crl.Entry(1, NOW))
    for other in (
        issuer(name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Other")])),
        issuer("ec-p384"),
        IssuerFacts(dn=issuer().dn, ski=issuer().ski, spki=keys.spki(KEYS["ec-p384"]), alg="ec-p384"),
    ):
        with pytest.raises(ValueError, match="another"):
            crl.verify(der, other)


@given(listed=entries)
def test_what_is_read_quickly_is_what_the_parser_reads(listed):
    der_of = made(*listed)
    slowly = tuple(map(crl._entry, x509.load_der_x509_crl(der_of)))
    assert crl.read(der_of, limit=100_000).entries == slowly


def test_what_is_written_here_is_read_quickly():
    listed = (
        crl.Entry(1, NOW),
        crl.Entry(300, NOW + DAY, "superseded"),
        crl.Entry(1 << 100, NOW, "keyCompromise", NOW - 9),
    )
    der_of = made(*listed)
    _, start, end = crl._places(der_of)
    assert crl._quickly(der_of[start:end]) == listed


@pytest.mark.parametrize("urls", [URLS[:1], URLS])
def test_a_shard_says_which_it_is_and_openssl_and_gnutls_read_it(urls, tmp_path: Path):
    tbs = crl.tbs(issuer(), [crl.Entry(5, NOW)], number=3, this_update=NOW, next_update=NOW + DAY, urls=urls)
    shard = crl.crl(tbs, "ec-p256", keys.sign(KEYS["ec-p256"], tbs))
    crl.verify(shard, issuer())
    assert crl.read(shard, limit=10_000).urls == urls
    assert crl.read(made(), limit=10_000).urls == ()
    text = crl_text(shard)
    assert "Issuing Distribution Point: critical" in text
    assert all(f"URI:{url}" in text for url in urls)
    assert openssl_verdict(shard, ca_file(tmp_path, "ec-p256")) == "verify OK"
    (tmp_path / "shard.crl").write_bytes(shard)
    assert "05" in certtool("--crl-info", "--inder", "--infile", tmp_path / "shard.crl")


@pytest.mark.parametrize("urls", [(), URLS])
def test_gnutls_verifies_full_lists_and_shards(urls, tmp_path: Path):
    """By the machine's clock: certtool has no other."""
    dates = {"number": 1, "this_update": 1_577_836_800, "next_update": 1_577_836_800 + 60 * 365 * DAY, "urls": urls}
    ca = ca_file(tmp_path, "ec-p256")
    for key, verdict in (("ec-p256", "verified"), ("ec-p384", "not verified")):
        tbs = crl.tbs(issuer(), [crl.Entry(5, NOW)], **dates)
        signature = keys.sign(KEYS["ec-p256"], tbs if key == "ec-p256" else tbs + b"\0")
        (tmp_path / "list.pem").write_bytes(pem.encode("X509 CRL", crl.crl(tbs, "ec-p256", signature)))
        command = ["certtool", "--verify-crl", "--load-ca-certificate", ca, "--infile", tmp_path / "list.pem"]
        said = subprocess.run(command, capture_output=True, text=True)
        assert f"Verification output: {verdict}".lower() in (said.stdout + said.stderr).lower(), said


@pytest.mark.parametrize(
    ("extension", "critical", "why"),
    [
        (point(*URLS, only_contains_user_certs=True), True, "issuing distribution point"),
        (point(*URLS, indirect_crl=True), True, "issuing distribution point"),
        (point(*URLS), False, "issuing distribution point"),
        (point(only_contains_ca_certs=True), True, "issuing distribution point"),
        (x509.DeltaCRLIndicator(1), True, "critical extension"),
    ],
)
def test_a_scope_that_is_not_made_here_is_not_read(extension, critical, why):
    whole = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(NAME)
        .last_update(as_datetime(NOW))
        .next_update(as_datetime(NOW + DAY))
        .add_extension(x509.AuthorityKeyIdentifier(issuer().ski, None, None), critical=False)
        .add_extension(x509.CRLNumber(1), critical=False)
        .add_extension(extension, critical=critical)
        .sign(KEYS["ec-p256"], hashes.SHA256())
        .public_bytes(Encoding.DER)
    )
    for reader in (lambda: crl.read(whole, limit=10_000), lambda: crl.verify(whole, issuer())):
        with pytest.raises(ValueError, match=why):
            reader()


def test_a_longer_crl_than_allowed_is_not_parsed():
    der_of = made()
    assert crl.read(der_of, limit=len(der_of))
    with pytest.raises(ValueError, match=f"more than the {len(der_of) - 1} allowed"):
        crl.read(der_of, limit=len(der_of) - 1)


@given(data=st.data())
@settings(max_examples=200)
def test_damaged_bytes_are_a_valueerror_or_a_different_crl_never_anything_else(data):
    der = bytearray(made(crl.Entry(5, NOW, "superseded"), crl.Entry(6, NOW, None, NOW)))
    der[data.draw(st.integers(min_value=0, max_value=len(der) - 1))] = data.draw(
        st.integers(min_value=0, max_value=255)
    )
    try:
        crl.read(bytes(der), limit=10_000)
    except ValueError:
        return
    try:
        crl.verify(bytes(der), issuer())
    except (ValueError, keys.SignatureError):
        return
    assert bytes(der) == made(crl.Entry(5, NOW, "superseded"), crl.Entry(6, NOW, None, NOW))


def by_hand(*, version: bytes, extensions: bytes) -> bytes:
    """A signed CRL with any version and extensions."""
    alg = keys.signature_algorithm("ec-p256")
    dates = (der.utc_or_generalized(NOW), der.utc_or_generalized(NOW + DAY))
    tbs = der.tlv(der.SEQUENCE, version, alg, NAME.public_bytes(), *dates, extensions)
    return crl.crl(tbs, "ec-p256", keys.sign(KEYS["ec-p256"], tbs))


def extension(oid: str, value: bytes) -> bytes:
    return der.tlv(der.SEQUENCE, der.oid(oid), der.tlv(der.OCTET_STRING, value))


NUMBER = extension("2.5.29.20", der.integer(1))
AKI = extension("2.5.29.35", der.tlv(der.SEQUENCE, der.tlv(0x80, issuer().ski)))
AKI_WITHOUT_KEY = extension("2.5.29.35", der.tlv(der.SEQUENCE))


@pytest.mark.parametrize(
    ("version", "extensions", "reason"),
    [
        (b"", (), "version|number|malformed"),
        (der.integer(1), (), "lacks its number or its authority key identifier"),
        (der.integer(1), (NUMBER,), "lacks its number or its authority key identifier"),
        (der.integer(1), (AKI,), "lacks its number or its authority key identifier"),
        (der.integer(1), (AKI_WITHOUT_KEY, NUMBER), "has no keyIdentifier"),
        (der.integer(1), (AKI, NUMBER, NUMBER), "malformed"),
    ],
)
def test_a_list_that_rfc_5280_forbids_is_neither_read_nor_verified(version, extensions, reason):
    der_bytes = by_hand(
        version=version,
        extensions=der.tlv(0xA0, der.tlv(der.SEQUENCE, *extensions)) if extensions else b"",
    )
    with pytest.raises(ValueError, match=reason):
        crl.read(der_bytes, limit=10_000)
    with pytest.raises(ValueError, match=reason):
        crl.verify(der_bytes, issuer())


def test_a_list_without_next_update_is_not_read():
    whole = by_hand(version=der.integer(1), extensions=der.tlv(0xA0, der.tlv(der.SEQUENCE, AKI, NUMBER)))
    tbs = der.children(der.only(der.tlv(*der.children(der.only(whole, der.SEQUENCE))[0]), der.SEQUENCE))
    endless = der.tlv(der.SEQUENCE, *(der.tlv(*one) for one in tbs if one != tbs[4]))
    with pytest.raises(ValueError, match="lacks nextUpdate"):
        crl.read(crl.crl(endless, "ec-p256", keys.sign(KEYS["ec-p256"], endless)), limit=10_000)


def test_a_list_made_by_hand_with_all_it_needs_is_read():
    whole = by_hand(version=der.integer(1), extensions=der.tlv(0xA0, der.tlv(der.SEQUENCE, AKI, NUMBER)))
    assert crl.read(whole, limit=10_000).number == 1
    crl.verify(whole, issuer())


def test_a_date_under_another_name_is_no_invalidity_date():
    known = made(crl.Entry(5, NOW, None, NOW - DAY))
    _, start, end = crl._places(known)
    assert crl._quickly(known[start:end].replace(der.oid("2.5.29.24"), der.oid("2.5.29.99"))) is None


def test_an_entry_with_a_critical_extension_nobody_knows_is_not_read():
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    row = x509.RevokedCertificateBuilder().serial_number(5).revocation_date(as_datetime(NOW))
    for critical in (False, True):
        whole = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(NAME)
            .last_update(as_datetime(NOW))
            .next_update(as_datetime(NOW + DAY))
            .add_extension(x509.AuthorityKeyIdentifier(issuer().ski, None, None), critical=False)
            .add_extension(x509.CRLNumber(1), critical=False)
            .add_revoked_certificate(row.add_extension(unknown, critical=critical).build())
            .sign(KEYS["ec-p256"], hashes.SHA256())
            .public_bytes(Encoding.DER)
        )
        if not critical:
            assert crl.read(whole, limit=10_000).entries == (crl.Entry(5, NOW),)
            continue
        with pytest.raises(ValueError, match="serial 5 has an unknown critical"):
            crl.read(whole, limit=10_000)
