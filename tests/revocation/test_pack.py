"""Packs: every answer comes out as it was signed, and nothing that was altered, cut short or mixed is read."""

import mmap
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pkicode.model.instants import DAY
from pkicode.model.reason import REASONS
from pkicode.revocation import pack
from pkicode.revocation.ocsp_request import cert_id
from pkicode.revocation.ocsp_response import GOOD, Standing, verified
from pkicode.revocation.presign import Due, presign
from pkicode.x509 import keys
from tests.revocation.asked import GONE, LEAF, NOW, ca

SERIALS = [1, 0x7F, 0x80, LEAF, LEAF + 1, (1 << 159) - 1]


@pytest.fixture(scope="module")
def data() -> bytes:
    return ca().packed(*(ca().due(one, GONE if one % 2 else GOOD) for one in SERIALS))


def test_every_answer_comes_out_as_it_was_signed(data: bytes) -> None:
    found = pack.read(data)
    assert (len(found), found.made, found.maker) == (len(SERIALS), NOW, ca().maker)
    for serial in SERIALS:
        record = found.find(serial)
        assert record is not None
        for algorithm, signature in zip(("sha1", "sha256"), record.signatures, strict=True):
            form = found.maker.form
            tbs = form.tbs(algorithm, serial, record.standing, this_update=NOW, next_update=NOW + 4 * DAY)
            asked = cert_id(ca().issuer, serial, algorithm)
            answer = verified(form.response(tbs, signature), asked, ca().maker.ca, now=NOW)
            assert answer.status == ("revoked" if serial % 2 else "good")


@pytest.mark.parametrize("serial", [-5, 0, 2, LEAF - 1, LEAF + 2, 1 << 159, 1 << 160, 1 << 4000])
def test_a_serial_that_is_not_in_it_is_not_found(data: bytes, serial: int) -> None:
    assert pack.read(data).find(serial) is None


def test_an_empty_pack_knows_nobody() -> None:
    assert pack.read(ca().packed()).find(LEAF) is None


def test_a_pack_is_read_where_it_lies(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "pack").write_bytes(data)
    with (tmp_path / "pack").open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        found = pack.read(mapped)
        assert found.find(LEAF) == pack.read(data).find(LEAF)
        del found


records = st.builds(
    pack.Record,
    serial=st.integers(1, 2**159 - 1),
    this_update=st.integers(0, 2**40),
    next_update=st.integers(0, 2**40),
    standing=st.just(GOOD) | st.builds(Standing, st.integers(0, 2**40), st.sampled_from([None, *REASONS])),
    signatures=st.tuples(st.binary(max_size=75), st.binary(max_size=75)),
)


@given(records)
def test_a_record_says_what_was_packed(record: pack.Record) -> None:
    raw = pack.packed(record, 75)
    assert pack.unpack(raw) == record
    assert pack.dates(raw) == (record.this_update, record.next_update)


# An octet may turn the serial number of a certificate in it negative, which cryptography reads all the same.
@pytest.mark.filterwarnings("ignore:Parsed a serial number")
@settings(max_examples=60)
@given(st.data())
def test_whatever_is_altered_the_pack_is_refused(drawn: st.DataObject) -> None:
    whole = ca().packed(ca().due())
    place = drawn.draw(st.integers(0, len(whole) - 1))
    altered = bytearray(whole)
    altered[place] ^= drawn.draw(st.integers(1, 255))
    with pytest.raises(ValueError, match=r"\w"):
        pack.read(bytes(altered))


def test_a_pack_whose_ca_says_a_thing_twice_is_refused() -> None:
    """One octet makes another extension of one; the signature above it is nobody's to check."""
    altered = bytearray(ca().packed(ca().due()))
    altered[339] ^= 1
    with pytest.raises(ValueError, match="Duplicate"):
        pack.read(bytes(altered))


def test_a_pack_that_is_cut_short_or_longer_is_refused(data: bytes) -> None:
    draw = random.Random(2)
    for end in [0, 10, 20, 23, 24, len(data) - 1, *(draw.randrange(len(data)) for _ in range(200))]:
        with pytest.raises(ValueError, match=r"\w"):
            pack.read(data[:end])
    with pytest.raises(ValueError, match="cut short, or longer"):
        pack.read(data + b"\0")


def test_answers_of_two_packs_cannot_be_mixed(data: bytes) -> None:
    """An old good answer over a new revoked one: each is genuine, the pack is not."""
    good, gone = ca().packed(ca().due()), ca().packed(ca().due(standing=GONE))
    width = len(next(pack.read(good).raw()))
    start = good.index(next(pack.read(good).raw()))
    mixed = gone[:start] + good[start : start + width] + gone[start + width :]
    with pytest.raises(ValueError, match="does not verify"):
        pack.read(mixed)


def test_records_out_of_order_make_no_pack(data: bytes) -> None:
    one, two, *_ = pack.read(data).raw()
    for listed in ([two, one], [one, one]):
        with pytest.raises(ValueError, match="ascending order"):
            pack.unsigned(ca().maker, listed, made=NOW)


def test_a_stranger_signs_no_pack() -> None:
    body = pack.unsigned(ca().maker, [], made=NOW)
    stranger = keys.generate("ec-p256")
    with pytest.raises(ValueError, match="does not verify"):
        pack.read(pack.signed(body, keys.sign(stranger, pack.to_sign(body))))
    with pytest.raises(ValueError, match="wrong"):
        pack.read(_foreign())


def _foreign() -> bytes:
    """A pack whose delegate another CA issued."""
    other = ca("Another CA")
    maker = pack.Maker("corp-g1", ca().maker.ca, other.maker.delegate)
    body = pack.unsigned(maker, [], made=NOW)
    return pack.signed(body, keys.sign(other.delegate, pack.to_sign(body)))


def test_nothing_good_is_signed_about_what_the_ca_did_not_issue() -> None:
    """Whoever can write the database can name any serial, and any certificate for it."""
    other = ca("Another CA")
    named = [
        Due(LEAF, GOOD, None),
        Due(LEAF, GOOD, b"not a certificate"),
        Due(LEAF, GOOD, other.leaf()),
        Due(LEAF + 1, GOOD, ca().leaf(LEAF)),
        Due(LEAF, GONE, None),
        ca().due(),
    ]
    made = presign(ca().maker, keys.pkcs8(ca().delegate), named, NOW, NOW + DAY)
    assert [one is None for one in made] == [True, True, True, True, False, False]


def test_another_key_than_the_delegates_signs_nothing() -> None:
    with pytest.raises(keys.SignatureError):
        presign(ca().maker, keys.pkcs8(keys.generate("ec-p256")), [ca().due()], NOW, NOW + DAY)


@pytest.mark.parametrize("alg", ["ec-p256", "ec-p384", "ec-p521", "rsa-2048", *keys.SIGNING[6:]])
def test_every_signature_fits_its_place(alg: str) -> None:
    key = keys.generate(alg)
    assert max(len(keys.sign(key, bytes((one,)))) for one in range(20)) <= pack.slot_of(keys.spki(key))
