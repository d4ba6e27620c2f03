"""What is carried, byte by byte: one form, one digest, words for it; whatever is altered is refused."""

import json
import re
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from pkicode.ceremony import bundle, card
from pkicode.ceremony.bundle import BundleError, Item, Request, Response, decode_request, decode_response, encode
from pkicode.ceremony.words import words
from pkicode.model.instants import NO_EXPIRY
from pkicode.model.problem import KeyStoreError
from pkicode.x509 import keys
from tests.oracles import openssl

ITEM = Item("certificate", "ca.root", 1, "ca.root@1", b"", b"\x30\x03\x02\x01\x05", ("nothing",))
LIST = Item("crl", "crl.root", 1, "ca.root@1", b"\x30\x00", b"\x30\x01", ())
REQUEST = Request("corp", "0af3", 1_795_424_400, 1_795_424_400 + bundle.LIFE, (ITEM, LIST))
RESPONSE = Response(REQUEST, 1_795_424_500, (b"one", b"two"))

texts = st.text(max_size=20)
blobs = st.binary(max_size=40)
items = st.builds(
    Item, st.sampled_from(["certificate", "crl"]), texts, st.integers(0, 99), texts, blobs, blobs, st.tuples(texts)
)
instants = st.integers(0, NO_EXPIRY)
requests = st.builds(Request, texts, texts, instants, instants, st.lists(items, max_size=4).map(tuple))


@given(requests)
def test_a_request_comes_out_as_it_went_in(request: Request) -> None:
    assert decode_request(encode(request)) == request


@given(requests, instants, st.data())
def test_a_response_comes_out_as_it_went_in(request: Request, signed_at: int, data: st.DataObject) -> None:
    signatures = tuple(data.draw(blobs) for _ in request.items)
    response = Response(request, signed_at, signatures)
    assert decode_response(encode(response)) == response


@pytest.mark.parametrize(("what", "read"), [(REQUEST, decode_request), (RESPONSE, decode_response)], ids=["to", "back"])
def test_a_changed_byte_anywhere_is_refused(what, read) -> None:
    data = encode(what)
    for place in range(len(data)):
        for bit in (1, 0x20):
            altered = data[:place] + bytes((data[place] ^ bit,)) + data[place + 1 :]
            with pytest.raises(BundleError, match="or was altered"):
                read(altered)


@given(st.data())
@settings(max_examples=300)
def test_bytes_that_are_left_out_put_in_or_exchanged_are_refused(data: st.DataObject) -> None:
    good = encode(RESPONSE)
    start = data.draw(st.integers(0, len(good)))
    end = data.draw(st.integers(start, min(len(good), start + 60)))
    altered = good[:start] + data.draw(st.binary(max_size=20)) + good[end:]
    if altered != good:
        with pytest.raises(BundleError):
            decode_response(altered)


def test_the_same_said_in_another_way_is_another_file() -> None:
    told = json.loads(encode(REQUEST))
    for altered in (json.dumps(told), json.dumps(told, indent=1) + "\n\n", json.dumps(told, indent=1)):
        with pytest.raises(BundleError):
            decode_request(altered.encode())
    with pytest.raises(BundleError):
        decode_request(encode(RESPONSE))
    with pytest.raises(BundleError):
        decode_response(encode(REQUEST))


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"[" * 100_000, b"\xff" * 9, b'{"format": 1e999}'])
def test_what_is_no_bundle_is_refused_whatever_it_is(data: bytes) -> None:
    with pytest.raises(BundleError, match="no request of a ceremony"):
        decode_request(data)


@pytest.mark.parametrize("number", ["1e999", "NaN", "1.5", "-1", "true", "1" + "0" * 20, "1" + "0" * 5000])
@pytest.mark.parametrize("field", ["created", "generation", "signed_at"])
def test_a_number_that_is_no_instant_and_no_generation_is_refused(field: str, number: str) -> None:
    good = encode(RESPONSE)
    altered = re.sub(f'"{field}": [0-9]+'.encode(), f'"{field}": {number}'.encode(), good, count=1)
    assert altered != good
    with pytest.raises(BundleError, match="or was altered"):
        decode_response(altered)


def test_an_instant_that_has_no_date_is_refused_whatever_digest_it_bears() -> None:
    with pytest.raises(BundleError, match="one of its numbers"):
        decode_request(encode(evolve(REQUEST, expires=10**18)))


def test_a_response_has_a_signature_for_each_item() -> None:
    with pytest.raises(BundleError, match="one signature for each"):
        decode_response(encode(evolve(RESPONSE, signatures=(b"one",))))


def test_too_many_items_and_too_many_octets_are_refused_before_they_are_read() -> None:
    many = evolve(REQUEST, items=(ITEM,) * 1001)
    with pytest.raises(BundleError, match="more than 1000"):
        decode_request(encode(many))
    with pytest.raises(BundleError, match="octets, more than"):
        decode_request(b" " * (bundle.LIMIT + 1))


@pytest.mark.parametrize(
    ("address", "proquint"),
    [
        # Examples of arXiv 0901.4016.
        ((127, 0, 0, 1), "lusab babad"),
        ((63, 84, 220, 193), "gutih tugad"),
        ((216, 68, 232, 21), "todah vobij"),
        ((198, 81, 129, 136), "sinid makam"),
    ],
)
def test_words_are_proquints(address: tuple[int, ...], proquint: str) -> None:
    assert words(bytes(address)) == proquint


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_different_digests_have_different_words(one: bytes, other: bytes) -> None:
    assert (words(one) == words(other)) == (one == other)
    assert len(words(one).split()) == 16


@pytest.mark.parametrize("alg", ["ec-p256", "ec-p384", "rsa-2048", "ed25519", "ml-dsa-44"])
def test_a_card_proves_that_somebody_has_the_key(alg: str) -> None:
    signer = keys.soft_signer("ca.root@1", keys.generate(alg))
    data = card.made(signer.facts, signer.sign(card.unsigned(signer.facts)))
    assert card.read(data, "ca.root@1") == signer.facts
    with pytest.raises(ValueError, match=r"it is the card of CN=ca\.root@1, not of ca\.root@2"):
        card.read(data, "ca.root@2")
    other = keys.soft_signer("ca.root@1", keys.generate(alg))
    with pytest.raises(ValueError, match="no proof of possession"):
        card.read(card.made(signer.facts, other.sign(card.unsigned(signer.facts))), "ca.root@1")
    if not alg.startswith("ml-"):
        assert "CN = ca.root@1" in openssl("req", "-verify", "-noout", "-subject", stdin=data)


def test_a_card_that_is_none_is_told_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "ceremony").mkdir()
    assert card.find(tmp_path, "ceremony", "ca.root@1") is None
    (tmp_path / "ceremony/ca.root@1.csr").write_text("nothing")
    with pytest.raises(KeyStoreError, match=r"ceremony/ca\.root@1\.csr is no card"):
        card.find(tmp_path, "ceremony", "ca.root@1")
