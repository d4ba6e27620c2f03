"""Sealing: what went in comes out, and only under the same key and the same facts."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkicode.adapters.envelope import Envelope, Header, Minter, NotOpened, open_header
from pkicode.ports import KeyFacts, MintedKey, NewKey
from pkicode.x509 import keys as x509_keys

keys = st.binary(min_size=32, max_size=32).map(Envelope)
facts = st.builds(
    KeyFacts, st.text(st.characters(codec="utf-8")), st.text("abc-123", max_size=8), st.binary(max_size=40)
)


@given(keys, facts, st.binary(max_size=300))
def test_a_sealed_key_opens_to_what_was_sealed(envelope: Envelope, about: KeyFacts, secret: bytes) -> None:
    sealed = envelope.seal_key(about, secret)
    assert sealed.facts == about
    assert envelope.open_key(sealed) == secret


@given(keys, facts, facts, st.binary(max_size=40))
def test_a_sealed_key_opens_under_no_other_facts(
    envelope: Envelope, about: KeyFacts, other: KeyFacts, secret: bytes
) -> None:
    sealed = envelope.seal_key(about, secret).sealed
    if other == about:
        assert envelope.open_key(MintedKey(other, sealed)) == secret
    else:
        with pytest.raises(NotOpened):
            envelope.open_key(MintedKey(other, sealed))


@given(keys, facts, st.binary(max_size=40), st.data())
def test_one_flipped_bit_opens_nothing(envelope: Envelope, about: KeyFacts, secret: bytes, data: st.DataObject) -> None:
    sealed = bytearray(envelope.seal_key(about, secret).sealed)
    bit = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(NotOpened):
        envelope.open_key(MintedKey(about, bytes(sealed)))


@given(keys, facts, st.integers(0, 27))
def test_a_seal_that_was_cut_short_opens_nothing(envelope: Envelope, about: KeyFacts, length: int) -> None:
    with pytest.raises(NotOpened):
        envelope.open_key(MintedKey(about, envelope.seal_key(about, b"").sealed[:length]))


def test_facts_that_run_together_into_the_same_letters_are_told_apart() -> None:
    envelope = Envelope(bytes(32))
    sealed = envelope.seal_key(KeyFacts("ab", "c", b""), b"key").sealed
    with pytest.raises(NotOpened):
        envelope.open_key(MintedKey(KeyFacts("a", "bc", b""), sealed))


def test_the_same_key_sealed_twice_looks_different() -> None:
    envelope, about = Envelope(bytes(32)), KeyFacts("a@1", "ec-p256", b"")
    assert envelope.seal_key(about, b"key").sealed != envelope.seal_key(about, b"key").sealed


def test_minting_gives_each_label_a_key_of_its_own() -> None:
    envelope = Envelope(bytes(32))
    minted = Minter(envelope)([NewKey("a@1", "ec-p256"), NewKey("b@1", "ec-p256"), NewKey("c@1", "ed25519")])
    assert [key.facts.alg for key in minted] == ["ec-p256", "ec-p256", "ed25519"]
    private = [x509_keys.load_pkcs8(envelope.open_key(key)) for key in minted]
    assert [x509_keys.spki(key) for key in private] == [key.facts.spki for key in minted]
    assert len({key.facts.spki for key in minted}) == 3


@pytest.mark.parametrize(("n", "p"), [(2**17, 1), (2**16, 2), (16, 1)])
def test_a_header_of_any_cost_we_ever_wrote_opens_with_its_passphrase_alone(n: int, p: int) -> None:
    key = hashlib.scrypt(b"correct horse", salt=b"salt", n=n, r=8, p=p, maxmem=2 * 128 * n * 8, dklen=32)
    proof = Envelope(key).seal(b"", b"pkicode keystore 1", f"{n} 8 {p}".encode(), b"salt")
    assert open_header(Header(n, 8, p, b"salt", proof), b"correct horse").key == key
    with pytest.raises(NotOpened):
        open_header(Header(n, 8, p, b"salt", proof), b"correct hors")


@pytest.mark.parametrize(("n", "r", "p"), [(2**21, 8, 1), (2**17, 16, 1), (2**17, 8, 17), (2**17, 8, 0)])
def test_a_header_that_asks_for_the_machines_memory_is_not_begun_with(n: int, r: int, p: int) -> None:
    with pytest.raises(NotOpened):
        open_header(Header(n, r, p, b"salt", b"proof"), b"correct horse")
