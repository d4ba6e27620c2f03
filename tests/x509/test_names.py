"""Names: one normal form each, junk refused with the reason, and DER that OpenSSL reads back as the same text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkicode.model.names import SanType
from pkicode.x509 import der, names
from pkicode.x509.profile import Profile
from tests.oracles import openssl
from tests.x509.pki import make

NORMAL = [
    ("dns", "Portal.Corp.EXAMPLE", "portal.corp.example"),
    ("dns", "localhost", "localhost"),
    ("dns", "*.corp.example", "*.corp.example"),
    ("dns", "xn--bcher-kva.example", "xn--bcher-kva.example"),
    ("dns", "3com.example", "3com.example"),
    ("ip", "192.0.2.1", "192.0.2.1"),
    ("ip", "2001:DB8:0::1", "2001:db8::1"),
    ("email", "First.Last@Corp.Example", "First.Last@corp.example"),
    ("uri", "SPIFFE://Corp.Example/A/b", "spiffe://corp.example/A/b"),
    ("uri", "https://[2001:DB8::1]:8443/x?y#z", "https://[2001:db8::1]:8443/x?y#z"),
    ("uri", "http://192.0.2.1/", "http://192.0.2.1/"),
    ("uri", "urn:uuid:f81d4fae", "urn:uuid:f81d4fae"),
    ("rid", "1.3.6.1.4.1.99999", "1.3.6.1.4.1.99999"),
    ("upn", "jörg@corp.example", "jörg@corp.example"),
    ("dirname", "cn=a\\, b, O=Corp", "CN=a\\, b,O=Corp"),
]

JUNK = [
    ("dns", "", "empty"),
    ("dns", " x", "blank"),
    ("dns", "x ", "blank"),
    ("dns", "bad name!", "letters, digits and inner hyphens"),
    ("dns", "a\0b.example", r"U\+0000"),
    ("dns", "a\u202eb.example", r"U\+202E"),
    ("dns", "a\u200bb.example", r"U\+200B"),
    ("dns", "../..", "trailing dot"),
    ("dns", "a.example.", "trailing dot"),
    ("dns", ".a.example", "two dots"),
    ("dns", "a..example", "two dots"),
    ("dns", "bücher.example", "xn--bcher-kva.example"),
    ("dns", "a_b.example", "underscore"),
    ("dns", "-a.example", "hyphen"),
    ("dns", "a" * 64 + ".example", "64 characters"),
    ("dns", ".".join(["a" * 60] * 5), "253"),
    ("dns", "*", "whole left label"),
    ("dns", "*.example", "top-level"),
    ("dns", "*.*.example", "wildcard"),
    ("dns", "f*.corp.example", "wildcard"),
    ("dns", "a.*.example", "wildcard"),
    ("dns", "*corp.example", "whole left label"),
    ("dns", "192.0.2.1", "belongs in `ip`"),
    ("dns", "https://a.example", "letters, digits"),
    ("dns", "a.example:443", "letters, digits"),
    ("ip", "192.0.2.0/24", "not an IPv4 or IPv6 address"),
    ("ip", "192.0.2.01", "not an IPv4 or IPv6 address"),
    ("ip", "fe80::1%eth0", "zone"),
    ("ip", "::ffff:192.0.2.1", "IPv4 address itself, 192.0.2.1"),
    ("ip", "192.0.2.1 ", "blank"),
    ("email", "corp.example", "mailbox"),
    ("email", "A <a@corp.example>", "mailbox"),
    ("email", '"a b"@corp.example', "mailbox"),
    ("email", "a..b@corp.example", "mailbox"),
    ("email", "ü@corp.example", "ASCII"),
    ("email", "a" * 65 + "@corp.example", "mailbox"),
    ("email", "a@[192.0.2.1]", "letters, digits"),
    ("uri", "/path", "absolute"),
    ("uri", "corp.example", "absolute"),
    ("uri", "http:", "absolute"),
    ("uri", "http://a.example/ b", "absolute"),
    ("uri", "http://a.example/%zz", "absolute"),
    ("uri", "http://user@a.example/", "user"),
    ("uri", "spiffe://a.example/../b", "path"),
    ("uri", "spiffe://a.example/b/%2E%2e", "path"),
    ("uri", "http://a.example/./b", "path"),
    ("uri", "http:///x", "empty"),
    ("uri", "http://bad_host/x", "underscore"),
    ("uri", "http://a.example:port/", "port"),
    ("uri", "http://[::1/", "port"),
    ("rid", "1.2.x", "object identifier"),
    ("rid", "3.1", "object identifier"),
    ("upn", "user", "principal"),
    ("upn", "us er@realm", "principal"),
    ("upn", "a@b@c", "principal"),
    ("dirname", "Corp", "RFC 4514"),
    ("dirname", "CN=a+O=b", "RFC 4514"),
    ("dirname", "CN=#0c0161", "RFC 4514"),
    ("dirname", "XX=a", "xx"),
    ("host", "a.example", "dns ip email uri"),
]


@pytest.mark.parametrize(("kind", "text", "normal"), NORMAL)
def test_a_name_has_one_normal_form(kind, text, normal):
    assert names.san(kind, text) == (SanType(kind), normal)
    assert names.san(kind, normal) == (SanType(kind), normal)


@pytest.mark.parametrize(("kind", "text", "reason"), JUNK)
def test_junk_is_refused_with_the_reason(kind, text, reason):
    with pytest.raises(ValueError, match=reason):
        names.san(kind, text)


@given(st.sampled_from(list(SanType)), st.text(max_size=40))
def test_whatever_is_taken_is_in_normal_form_and_can_be_encoded(kind, text):
    try:
        name = names.san(kind, text)
    except ValueError:
        return
    assert names.san(*name) == name
    der.children(der.only(names.sans_der((name,)), der.SEQUENCE))


def test_openssl_reads_a_subject_as_the_text_we_say():
    subject = names.subject(
        [
            ("c", "fi"),
            ("o", 'Corp, "Ltd"; <a+b>\\'),
            ("ou", "#1"),
            ("l", "Åbo"),
            ("st", "X"),
            ("street", "Road 1"),
            ("cn", "Name"),
            ("serialNumber", "A-1"),
            ("email", "a@Corp.example"),
            ("uid", "u=1"),
            ("title", "Dr"),
            ("gn", "Given"),
            ("sn", "Sur"),
            ("dc", "corp"),
        ]
    )
    certificate = make(Profile(), cn="", subject=subject).der
    read = openssl(
        "x509", "-inform", "DER", "-noout", "-subject", "-nameopt", "RFC2253,-esc_msb,utf8", stdin=certificate
    )
    assert read.strip() == f"subject={names.subject_text(subject)}"


attributes = st.one_of(
    st.tuples(st.sampled_from(["cn", "o", "ou", "l", "st", "street", "uid"]), st.text(min_size=1, max_size=20)),
    st.tuples(st.just("c"), st.sampled_from(["FI", "DE"])),
    st.tuples(st.just("email"), st.just("a@b.example")),
)


@given(st.lists(attributes, min_size=1, max_size=4))
def test_a_subject_survives_text_and_der(pairs):
    try:
        subject = names.subject(pairs)
    except ValueError:
        return
    assert names.subject_from_text(names.subject_text(subject)) == subject
    assert names.subject_from_der(names.subject_der(subject)) == subject


@pytest.mark.parametrize(
    ("pairs", "reason"),
    [
        ([("c", "Finland")], "`c`: at most 2"),
        ([("c", "F1")], "two letters"),
        ([("cn", "a" * 65)], "at most 64"),
        ([("cn", "")], "`cn`: an empty"),
        ([("o", "a\nb")], r"U\+000A"),
        ([("o", "a\u2066b")], r"U\+2066"),
        ([("serialnumber", "a*b")], "PrintableString"),
        ([("email", "nobody")], "mailbox"),
        ([("commonname", "a")], "did you mean|write one of"),
        ([("oo", "a")], "did you mean `o"),
    ],
)
def test_a_wrong_attribute_is_refused_by_its_name(pairs, reason):
    with pytest.raises(ValueError, match=reason):
        names.subject(pairs)


@pytest.mark.parametrize(
    "data",
    [
        b"\x30\x02\x31\x00",
        b"\x31\x00",
        bytes.fromhex("300e310c300a06035504030c0361"),
        der.tlv(0x30, der.tlv(0x31, der.tlv(0x30, der.oid("2.5.4.3"), der.tlv(0x1E, b"\0a")))),
        der.tlv(0x30, der.tlv(0x31, der.tlv(0x30, der.oid("2.5.4.99"), der.tlv(0x0C, b"a")))),
        der.tlv(0x30, der.tlv(0x31, *[der.tlv(0x30, der.oid("2.5.4.3"), der.tlv(0x0C, b"a"))] * 2)),
        der.tlv(0x30, der.tlv(0x31, der.tlv(0x30, der.oid("2.5.4.3"), der.tlv(0x0C, b"\xff")))),
    ],
)
def test_a_stranger_s_name_that_we_could_not_issue_is_refused(data):
    with pytest.raises(ValueError):  # noqa: PT011 - each breaks elsewhere
        names.subject_from_der(data)


@pytest.mark.parametrize("cn", ["a.example", "*.a.example", "192.0.2.1", "2001:db8::1", "a_b.example", "A.Example."])
def test_a_common_name_that_verifiers_take_for_a_host_looks_like_one(cn):
    assert names.looks_like_host(cn)


@pytest.mark.parametrize("cn", ["Corp Root R1", "portal", "Alice Example", "a@b.example", "*", "v1..0"])
def test_other_common_names_do_not(cn):
    assert not names.looks_like_host(cn)


def test_a_name_is_kept_in_the_inventory_as_type_and_text():
    assert names.san_text((SanType.DNS, "a.example")) == "dns:a.example"
