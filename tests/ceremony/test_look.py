"""What is said of an item before it is signed: lint of its very bytes, and everything that is in them."""

import re
from contextlib import suppress

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from pkicode.ceremony import look
from pkicode.ceremony.bundle import BundleError, Item, Request
from pkicode.project.offline import check, transcript
from pkicode.revocation import crl
from pkicode.x509 import der, extensions
from pkicode.x509.constraints import Constraints
from pkicode.x509.profile import Profile
from tests.x509.pki import CA, DAY, NOW, Made, make


@pytest.fixture(scope="module")
def root() -> Made:
    return make(Profile(is_ca=True, usage=CA, path_len=1), cn="Root", ends=NOW + 900 * DAY)


def listing(root: Made, *entries: crl.Entry) -> Item:
    tbs = crl.tbs(root.facts, entries, number=7, this_update=NOW, next_update=NOW + 300 * DAY)
    return Item("crl", "crl.root", 1, "ca.root@1", root.der, tbs)


def test_a_sound_item_has_nothing_said_against_it(root: Made) -> None:
    assert look.complaints(Item("certificate", "ca.root", 1, "ca.root@1", b"", root.tbs)) == []
    assert look.complaints(listing(root, crl.Entry(5, NOW, "superseded"))) == []


def test_lint_speaks_of_the_very_bytes(root: Made) -> None:
    other = make(Profile(is_ca=True, usage=CA), cn="Other")
    [said, *_] = look.complaints(Item("certificate", "ca.x", 1, "ca.root@1", root.der, other.tbs))
    assert said.startswith("issuer_is_copied_from_its_certificate")


def test_a_list_of_another_issuer_is_complained_of(root: Made) -> None:
    other = make(Profile(is_ca=True, usage=CA), cn="Other")
    item = evolve(listing(root), issuer_certificate=other.der)
    assert "the list does not name its issuer (RFC 5280 section 5.1.2.3)" in look.complaints(item)


def test_a_list_that_says_what_is_not_shown_is_complained_of(root: Made) -> None:
    """As an extension that no parser of ours knows."""
    item = listing(root)
    *fields, (tag, wrapped) = der.children(der.only(item.tbs, der.SEQUENCE))
    extra = der.tlv(der.SEQUENCE, der.oid("1.2.3.4"), der.tlv(der.OCTET_STRING, b"\x05\x00"))
    more = der.tlv(der.SEQUENCE, der.only(wrapped, der.SEQUENCE), extra)
    altered = der.tlv(der.SEQUENCE, *(der.tlv(*one) for one in fields), der.tlv(tag, more))
    assert look.complaints(evolve(item, tbs=altered)) == ["the list says more than can be shown"]


def test_everything_in_a_certificate_is_told(root: Made) -> None:
    profile = Profile(
        is_ca=True,
        usage=CA,
        path_len=0,
        policies=("1.3.6.1.4.1.99999.2",),
        constraints=Constraints(permit_dns=("corp.example",), exclude_ip=("10.0.0.0/8",)),
        crl_urls=("http://pki.example/crl",),
        ca_issuer_urls=("http://pki.example/ca",),
        ocsp_urls=("http://ocsp.example/",),
    )
    made = make(profile, cn="Issuing", issuer=root)
    text = "\n".join(look.told(Item("certificate", "ca.issuing", 2, "ca.root@1", root.der, made.tbs)))
    for part in (
        "certificate  ca.issuing@2  signed by ca.root@1",
        "CN=Issuing",
        "CN=Root",
        f"{1 << 158:x}",
        "a CA, at most 0 CAs below, critical",
        "key_cert_sign, crl_sign, critical",
        "permit DNS corp.example",
        "exclude IP 10.0.0.0/8",
        "http://pki.example/crl",
        "caIssuers http://pki.example/ca",
        "OCSP http://ocsp.example/",
        made.facts.ski.hex(),
        root.facts.ski.hex(),
    ):
        assert part in text, part


def test_every_usage_of_a_key_is_told() -> None:
    """Lint lets an RSA key encipher, and an EC key agree."""
    for alg, more in (("rsa-2048", ("dataEncipherment",)), ("ec-p256", ("keyAgreement", "encipherOnly"))):
        made = make(Profile(is_ca=True, usage=(*CA, *more)), cn="Root", alg=alg)
        item = Item("certificate", "ca.root", 1, "ca.root@1", b"", made.tbs)
        assert look.complaints(item) == []
        [usage] = [line for line in look.told(item) if "keyUsage" in line]
        for word in more:
            assert re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", word) in usage


def test_a_constraint_on_a_kind_of_name_that_we_do_not_know_is_told(root: Made) -> None:
    """As one on names of Kerberos."""
    other = der.tlv(0xA0, der.oid("1.3.6.1.5.2.2"), der.tlv(0xA0, der.tlv(der.SEQUENCE)))
    trees = der.tlv(der.SEQUENCE, der.tlv(0xA0, der.tlv(der.SEQUENCE, other)))
    flag, value = der.tlv(der.BOOLEAN, b"\xff"), der.tlv(der.OCTET_STRING, trees)
    *fields, (tag, wrapped) = der.children(der.only(root.tbs, der.SEQUENCE))
    extra = der.tlv(der.SEQUENCE, extensions.NAME_CONSTRAINTS, flag, value)
    more = der.tlv(der.SEQUENCE, der.only(wrapped, der.SEQUENCE), extra)
    altered = der.tlv(der.SEQUENCE, *(der.tlv(*one) for one in fields), der.tlv(tag, more))
    text = "\n".join(look.told(Item("certificate", "ca.root", 1, "ca.root@1", b"", altered)))
    assert "1.3.6.1.5.2.2" in text


def test_every_entry_of_a_list_is_told_or_where_it_is(root: Made) -> None:
    item = listing(root, *(crl.Entry(number, NOW) for number in range(1, 100)))
    lines = look.told(item)
    assert "  entries                99" in lines
    assert sum(line.startswith("  revokes ") for line in lines) == 99
    short = look.told(item, 20)
    assert short[:-1] == lines[:-79]
    assert short[-1].endswith("and 79 more: `pkicode ceremony show` lists them all")
    assert look.told(item, 99) == lines


ROOT = make(Profile(is_ca=True, usage=CA, path_len=1), cn="Root", ends=NOW + 900 * DAY)
BELOW = make(
    Profile(is_ca=True, usage=CA, path_len=0, constraints=Constraints(permit_dns=("a.example",))), cn="x", issuer=ROOT
)
ITEMS = (
    Item("certificate", "ca.root", 1, "ca.root@1", b"", ROOT.tbs),
    Item("certificate", "ca.x", 1, "ca.root@1", ROOT.der, BELOW.tbs),
    listing(ROOT, crl.Entry(5, NOW, "superseded", NOW), crl.Entry(6, NOW)),
)


@given(st.data())
@settings(max_examples=400)
def test_whatever_somebody_makes_of_a_request_is_shown_or_refused(data: st.DataObject) -> None:
    item = data.draw(st.sampled_from(ITEMS))
    field = data.draw(st.sampled_from(["tbs", "issuer_certificate"]))
    good = getattr(item, field)
    start = data.draw(st.integers(0, len(good)))
    altered = good[:start] + data.draw(st.binary(max_size=6)) + good[start + data.draw(st.integers(0, 6)) :]
    item = evolve(item, **{field: altered, "kind": data.draw(st.sampled_from([item.kind, "crl", "certificate"]))})
    request = Request("p", "l", NOW, NOW + DAY, (item,))
    with suppress(BundleError):
        check(request)
        assert transcript(request)
