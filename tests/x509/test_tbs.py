"""To-be-signed certificates: byte for byte what cryptography's builder makes, and OpenSSL and GnuTLS accept them."""

import hashlib
import ipaddress
import pickle
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from hypothesis import given
from hypothesis import strategies as st

from pkicode.model.instants import NO_EXPIRY
from pkicode.x509 import keys, names, tbs
from pkicode.x509.constraints import Constraints, effective
from pkicode.x509.extensions import EXTENDED_KEY_USAGES, KEY_USAGES
from pkicode.x509.profile import Profile
from tests.oracles import (
    assert_gnutls_verifies,
    assert_verifies,
    certificate_text,
    certtool,
    needs_openssl_for,
    openssl,
)
from tests.x509.pki import CA, DAY, NOW, make

OCSP, CA_ISSUERS = x509.AuthorityInformationAccessOID.OCSP, x509.AuthorityInformationAccessOID.CA_ISSUERS
SIGNER = ec.generate_private_key(ec.SECP256R1())
SPKI = keys.spki(SIGNER)
LEAF_KEYS = {
    alg: keys.spki(keys.generate(alg))
    for alg in ("ec-p256", "ec-p521", "rsa-2048", "ed25519", "ed448", "ml-dsa-44", "ml-dsa-87")
}

_OIDS = {
    "cn": "2.5.4.3",
    "o": "2.5.4.10",
    "ou": "2.5.4.11",
    "c": "2.5.4.6",
    "st": "2.5.4.8",
    "l": "2.5.4.7",
    "street": "2.5.4.9",
    "serialnumber": "2.5.4.5",
    "email": "1.2.840.113549.1.9.1",
    "uid": "0.9.2342.19200300.100.1.1",
    "dc": "0.9.2342.19200300.100.1.25",
    "title": "2.5.4.12",
    "gn": "2.5.4.42",
    "sn": "2.5.4.4",
}

labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
hosts = st.builds(
    lambda parts, top: ".".join([*parts, top]),
    st.lists(labels, min_size=1, max_size=3),
    st.sampled_from(["example", "test", "invalid"]),
)
texts = st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=40)
oids = st.lists(st.integers(0, 2**40), min_size=1, max_size=5).map(lambda arcs: ".".join(map(str, [1, 3, *arcs])))
attributes = st.one_of(
    st.tuples(st.sampled_from(["cn", "o", "ou", "st", "l", "street", "uid", "title", "gn", "sn"]), texts),
    st.tuples(st.just("c"), st.sampled_from(["FI", "DE"])),
    st.tuples(st.just("serialnumber"), st.from_regex(r"[A-Za-z0-9]{1,20}", fullmatch=True)),
    st.tuples(st.just("email"), hosts.map(lambda host: f"who@{host}")),
    st.tuples(st.just("dc"), labels.filter(lambda label: not label.isdigit())),
)
subjects = st.lists(attributes, max_size=5).map(names.subject)
sans = st.lists(
    st.one_of(
        hosts.map(lambda text: names.san("dns", text)),
        hosts.map(lambda text: names.san("dns", f"*.{text}")),
        st.ip_addresses()
        .filter(lambda ip: getattr(ip, "ipv4_mapped", None) is None)
        .map(lambda ip: names.san("ip", str(ip))),
        hosts.map(lambda text: names.san("email", f"a.b@{text}")),
        hosts.map(lambda text: names.san("uri", f"spiffe://{text}/a/b")),
        oids.map(lambda text: names.san("rid", text)),
        hosts.map(lambda text: names.san("upn", f"ü@{text}")),
        subjects.filter(bool).map(lambda name: names.san("dirname", names.subject_text(name))),
    ),
    max_size=5,
).map(lambda found: tuple(dict.fromkeys(found)))
urls = st.lists(hosts.map(lambda host: f"http://{host}/x"), max_size=2, unique=True).map(tuple)
policies = st.lists(oids, max_size=3, unique=True).map(tuple)
networks = st.sampled_from(["10.0.0.0/8", "192.0.2.0/24", "2001:db8::/32"])
constraints = st.builds(
    Constraints,
    permit_dns=st.lists(hosts, max_size=2).map(tuple),
    exclude_dns=st.lists(hosts, max_size=2).map(tuple),
    permit_ip=st.lists(networks, max_size=2).map(tuple),
    exclude_ip=st.lists(networks, max_size=1).map(tuple),
    permit_email=st.lists(hosts.map(lambda host: f".{host}"), max_size=1).map(tuple),
    exclude_email=st.lists(hosts.map(lambda host: f"a@{host}"), max_size=1).map(tuple),
    permit_uri=st.lists(hosts, max_size=1).map(tuple),
    exclude_uri=st.lists(hosts.map(lambda host: f".{host}"), max_size=1).map(tuple),
).filter(lambda found: not found.check())
authorities = st.builds(
    Profile,
    is_ca=st.just(True),
    path_len=st.none() | st.integers(0, 300),
    usage=st.sampled_from([CA, ("digitalSignature", *CA)]),
    eku=st.sampled_from([(), ("serverAuth", "clientAuth"), ("OCSPSigning",)]),
    policies=policies,
    constraints=st.none() | constraints,
    crl_urls=urls,
    ca_issuer_urls=urls,
    ocsp_urls=urls,
)
leaves = st.builds(
    Profile,
    usage=st.sampled_from(
        [
            ("digitalSignature",),
            ("digitalSignature", "nonRepudiation"),
            ("digitalSignature", "keyAgreement"),
            ("digitalSignature", "keyAgreement", "decipherOnly"),
            ("contentCommitment", "digitalSignature"),
        ]
    ),
    eku=st.sampled_from([(), ("serverAuth", "clientAuth"), ("OCSPSigning",), ("timeStamping",), ("1.3.6.1.4.1.9.1",)]),
    policies=policies,
    must_staple=st.booleans(),
    crl_urls=urls,
    ca_issuer_urls=urls,
    ocsp_urls=urls,
).flatmap(
    lambda profile: st.sampled_from(
        [
            profile,
            Profile(usage=profile.usage, eku=("OCSPSigning",), ocsp_nocheck=True, policies=profile.policies),
            Profile(usage=profile.usage, eku=profile.eku, no_rev_avail=True, ca_issuer_urls=profile.ca_issuer_urls),
        ]
    )
)
instants = st.integers(0, NO_EXPIRY)


def _name(subject):
    kinds = {
        "c": x509.name._ASN1Type.PrintableString,
        "serialnumber": x509.name._ASN1Type.PrintableString,
        "email": x509.name._ASN1Type.IA5String,
        "dc": x509.name._ASN1Type.IA5String,
    }
    return x509.Name(
        x509.NameAttribute(x509.ObjectIdentifier(_OIDS[key]), value, kinds.get(key, x509.name._ASN1Type.UTF8String))
        for key, value in subject
    )


def _general_name(san):
    kind, text = san
    if kind == "ip":
        return x509.IPAddress(ipaddress.ip_address(text))
    if kind == "upn":
        value = text.encode()
        encoded = b"\x0c" + bytes([len(value)]) + value
        return x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), encoded)
    if kind == "rid":
        return x509.RegisteredID(x509.ObjectIdentifier(text))
    if kind == "dirname":
        return x509.DirectoryName(_name(names.subject_from_text(text)))
    return {"dns": x509.DNSName, "email": x509.RFC822Name, "uri": x509.UniformResourceIdentifier}[kind](text)


def _subtrees(bases):
    makers = {
        "dns": x509.DNSName,
        "ip": lambda text: x509.IPAddress(ipaddress.ip_network(text)),
        "email": x509.RFC822Name,
        "uri": x509.UniformResourceIdentifier,
    }
    return [make_name(base) for kind, make_name in makers.items() for base in bases(kind)] or None


def _authority(profile):
    bits = {KEY_USAGES[word] for word in profile.usage}
    if profile.is_ca:
        yield x509.BasicConstraints(True, profile.path_len), True
    yield x509.KeyUsage(*(bit in bits for bit in range(9))), True
    if profile.eku:
        oids = [x509.ObjectIdentifier(EXTENDED_KEY_USAGES.get(word, word)) for word in profile.eku]
        yield x509.ExtendedKeyUsage(oids), profile.eku == ("timeStamping",)
    if profile.constraints and not profile.constraints.is_empty:
        closed = effective(profile.constraints)
        yield x509.NameConstraints(_subtrees(closed.permitted), _subtrees(closed.excluded)), True
    if profile.policies:
        found = [x509.PolicyInformation(x509.ObjectIdentifier(policy), None) for policy in profile.policies]
        yield x509.CertificatePolicies(found), False


def _revocation(profile):
    if profile.crl_urls:
        full_name = [x509.UniformResourceIdentifier(url) for url in profile.crl_urls]
        yield x509.CRLDistributionPoints([x509.DistributionPoint(full_name, None, None, None)]), False
    access = [
        x509.AccessDescription(method, x509.UniformResourceIdentifier(url))
        for method, found in ((OCSP, profile.ocsp_urls), (CA_ISSUERS, profile.ca_issuer_urls))
        for url in found
    ]
    if access:
        yield x509.AuthorityInformationAccess(access), False
    if profile.ocsp_nocheck:
        yield x509.OCSPNoCheck(), False
    if profile.must_staple:
        yield x509.TLSFeature([x509.TLSFeatureType.status_request]), False
    if profile.no_rev_avail:
        yield x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.56"), b"\x05\x00"), False


def _extensions(profile, issuer_ski, spki, subject, sans):
    yield from _authority(profile)
    yield from _revocation(profile)
    yield x509.AuthorityKeyIdentifier(issuer_ski, None, None), False
    yield x509.SubjectKeyIdentifier(tbs.ski(spki)), False
    if sans:
        yield x509.SubjectAlternativeName([_general_name(san) for san in sans]), not subject


def _built(profile, issuer, *, serial, not_before, not_after, subject, spki, sans):
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    builder = (
        x509.CertificateBuilder()
        .issuer_name(_name(issuer))
        .subject_name(_name(subject))
        .public_key(load_der_public_key(spki))
        .serial_number(serial)
        .not_valid_before(epoch + timedelta(seconds=not_before))
        .not_valid_after(epoch + timedelta(seconds=not_after))
    )
    for extension, critical in _extensions(profile, tbs.ski(SPKI), spki, subject, sans):
        builder = builder.add_extension(extension, critical)
    return builder.sign(SIGNER, hashes.SHA256())


@given(
    profile=authorities | leaves,
    issuer=subjects.filter(bool),
    subject=subjects,
    sans=sans,
    serial=st.integers(1, tbs.SERIAL_LIMIT - 1),
    dates=st.tuples(instants, instants).map(sorted),
    spki=st.sampled_from(list(LEAF_KEYS.values())),
)
def test_spliced_bytes_are_those_of_the_builder(profile, issuer, subject, sans, serial, dates, spki):
    if not subject and not sans:
        subject = names.subject([("cn", "x")])
    facts = tbs.self_issued(names.subject_der(issuer), SPKI)
    spliced = tbs.form(profile, facts).tbs(
        serial=serial, not_before=dates[0], not_after=dates[1], subject=names.subject_der(subject), spki=spki, sans=sans
    )
    built = _built(
        profile, issuer, serial=serial, not_before=dates[0], not_after=dates[1], subject=subject, spki=spki, sans=sans
    )
    assert spliced.hex() == built.tbs_certificate_bytes.hex()
    assert tbs.certificate(spliced, "ec-p256", built.signature) == built.public_bytes(Encoding.DER)


@pytest.mark.parametrize("alg", keys.SIGNING)
def test_openssl_and_gnutls_accept_a_chain_of_every_algorithm(alg):
    needs_openssl_for(alg)
    # GnuTLS knows no clock but the machine's.
    dates = {"begins": 1_600_000_000, "ends": NO_EXPIRY}
    root = make(Profile(is_ca=True, usage=CA), cn="Root", alg=alg, **dates)
    middle = make(Profile(is_ca=True, usage=CA, path_len=0), cn="Issuing", alg=alg, issuer=root, **dates)
    sans = (names.san("dns", "portal.example"), names.san("ip", "2001:db8::1"))
    leaf = make(Profile(eku=("serverAuth",)), cn="portal.example", alg=alg, issuer=middle, sans=sans, **dates)
    assert_verifies(leaf.der, chain=[middle.der], root=root.der, at=NOW + DAY, purpose="sslserver")
    if not alg.startswith("ml-"):
        assert_gnutls_verifies(leaf.der, chain=[middle.der], root=root.der)


def test_openssl_and_gnutls_read_every_extension_as_it_was_meant(root, issuing):
    leaf = make(
        Profile(
            usage=("digitalSignature", "keyAgreement"),
            eku=("serverAuth", "1.3.6.1.4.1.99999.1"),
            policies=("1.3.6.1.4.1.99999.2",),
            must_staple=True,
            crl_urls=("http://pki.example/crl",),
            ca_issuer_urls=("http://pki.example/ca",),
            ocsp_urls=("http://ocsp.example/",),
        ),
        cn="portal.example",
        issuer=issuing,
        sans=tuple(
            names.san(kind, text)
            for kind, text in [
                ("dns", "portal.example"),
                ("dns", "*.portal.example"),
                ("ip", "192.0.2.1"),
                ("email", "a@b.example"),
                ("uri", "spiffe://b.example/x"),
                ("rid", "1.2.3.4"),
                ("upn", "user@realm"),
                ("dirname", "CN=x,O=y"),
            ]
        ),
    )
    text = certificate_text(leaf.der)
    for said in (
        "Digital Signature, Key Agreement",
        "TLS Web Server Authentication, 1.3.6.1.4.1.99999.1",
        "Policy: 1.3.6.1.4.1.99999.2",
        "status_request",
        "URI:http://pki.example/crl",
        "OCSP - URI:http://ocsp.example/",
        "CA Issuers - URI:http://pki.example/ca",
        "DNS:portal.example, DNS:*.portal.example, IP Address:192.0.2.1, email:a@b.example, URI:spiffe://b.example/x, "
        "Registered ID:1.2.3.4, othername: UPN::user@realm, DirName:",
        leaf.facts.ski.hex(":").upper(),
        issuing.facts.ski.hex(":").upper(),
    ):
        assert said in text
    shown = certtool("-i", "--inder", stdin=leaf.der)
    for said in ("DNSname: *.portal.example", "IPAddress: 192.0.2.1", "RFC822Name: a@b.example", "Key agreement."):
        assert said in shown
    openssl("asn1parse", "-inform", "DER", stdin=leaf.der)
    assert_verifies(leaf.der, chain=[issuing.der], root=root.der, at=NOW + DAY)


def test_an_ocsp_delegate_and_a_certificate_without_revocation_are_read_by_openssl(issuing):
    delegate = make(Profile(eku=("OCSPSigning",), ocsp_nocheck=True), cn="OCSP", issuer=issuing)
    assert "OCSP No Check" in certificate_text(delegate.der)
    silent = make(Profile(eku=("clientAuth",), no_rev_avail=True), cn="Silent", issuer=issuing)
    assert "X509v3 No Revocation Available" in certificate_text(silent.der) or "2.5.29.56" in certificate_text(
        silent.der
    )


def test_a_certificate_without_subject_has_a_critical_alternative_name(root, issuing):
    leaf = make(Profile(), cn="", subject=(), issuer=issuing, sans=(names.san("uri", "spiffe://a.example/b"),))
    assert "X509v3 Subject Alternative Name: critical" in certificate_text(leaf.der)
    assert_verifies(leaf.der, chain=[issuing.der], root=root.der, at=NOW + DAY)


def test_the_issuer_s_name_and_key_identifier_are_copied_byte_for_byte():
    # An imported issuer may have a name and identifier that we would never encode ourselves.
    dn = bytes.fromhex("300f310d300b06035504031404543631c5")
    facts = tbs.IssuerFacts(dn, b"\x01\x02\x03", SPKI, "ec-p256")
    made = tbs.form(Profile(), facts).tbs(serial=1, not_before=NOW, not_after=NOW, subject=dn, spki=SPKI, sans=())
    assert made.count(dn) == 2
    assert bytes.fromhex("30058003010203") in made


def test_a_form_survives_pickling_and_makes_the_same_bytes(issuing):
    compiled = tbs.form(Profile(), issuing.facts)
    filling = {
        "serial": 5,
        "not_before": NOW,
        "not_after": NOW + DAY,
        "spki": SPKI,
        "sans": (),
        "subject": names.subject_der((("cn", "x"),)),
    }
    assert pickle.loads(pickle.dumps(compiled)).tbs(**filling) == compiled.tbs(**filling)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"serial": 0}, "positive"),
        ({"serial": -1}, "positive"),
        ({"serial": 1 << 159}, "20 octets"),
        ({"not_after": NOW - 1}, "ends before"),
        ({"subject": b"\x30\x00"}, "needs a subject"),
    ],
)
def test_what_can_never_be_a_certificate_is_refused(issuing, change, reason):
    filling = {
        "serial": 5,
        "not_before": NOW,
        "not_after": NOW + DAY,
        "spki": SPKI,
        "sans": (),
        "subject": names.subject_der((("cn", "x"),)),
    }
    with pytest.raises(ValueError, match=reason):
        tbs.form(Profile(), issuing.facts).tbs(**(filling | change))


def test_a_wrong_profile_is_never_compiled(issuing):
    with pytest.raises(ValueError, match="belongs to a CA only"):
        tbs.form(Profile(usage=("keyCertSign",)), issuing.facts)
    with pytest.raises(ValueError, match="ed25519 cannot do"):
        tbs.form(Profile(usage=("keyEncipherment",)), issuing.facts, "ed25519")


def test_the_key_identifier_is_method_1_of_rfc_7093():
    public = load_der_public_key(SPKI)
    point = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    assert tbs.ski(SPKI) == hashlib.sha256(point).digest()[:20]
