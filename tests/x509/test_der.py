"""DER against asn1crypto-free facts: X.690's own examples, round trips, and what a strict reader refuses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkicode.x509 import der


@pytest.mark.parametrize(
    ("number", "encoded"),
    [(0, "020100"), (127, "02017f"), (128, "02020080"), (256, "02020100"), (-128, "020180"), (-129, "0202ff7f")],
)
def test_integers_take_the_shortest_two_s_complement_form(number, encoded):
    assert der.integer(number).hex() == encoded


@pytest.mark.parametrize(("size", "header"), [(127, "047f"), (128, "048180"), (255, "0481ff"), (256, "04820100")])
def test_lengths_take_the_shortest_form(size, header):
    assert der.tlv(der.OCTET_STRING, bytes(size)).hex().startswith(header + "00")


@pytest.mark.parametrize("text", ["2.5.29.15", "1.3.6.1.4.1.311.20.2.3", "2.999.3", "0.9.2342.19200300.100.1.25"])
def test_object_identifiers_round_trip(text):
    assert der.dotted(der.only(der.oid(text), der.OID)) == text


def test_the_object_identifier_of_x690_8_19_5_is_encoded_as_it_says():
    assert der.oid("2.999.3").hex() == "0603883703"


@pytest.mark.parametrize("text", ["", "1", "1.40", "3.1", "1.02", "1.-2", "1..2", "a.b", "1.2.³", "2.5." + "9" * 60])
def test_what_is_no_object_identifier_is_refused(text):
    with pytest.raises(ValueError, match="object identifier"):
        der.oid(text)


@pytest.mark.parametrize("content", [b"", b"\x55\x80\x01", b"\x55\x81", b"\x2a" + b"\xff" * 40 + b"\x01"])
def test_a_damaged_object_identifier_is_not_read(content):
    with pytest.raises(ValueError, match="object identifier"):
        der.dotted(content)


@pytest.mark.parametrize(
    ("instant", "encoded"),
    [
        (2524607999, b"\x17\x0d491231235959Z"),
        (2524608000, b"\x18\x0f20500101000000Z"),
        (253402300799, b"\x18\x0f99991231235959Z"),
        (0, b"\x17\x0d700101000000Z"),
    ],
)
def test_times_turn_into_generalized_time_in_2050(instant, encoded):
    assert der.utc_or_generalized(instant) == encoded


def test_named_bits_end_with_their_last_set_bit():
    assert der.named_bits({0}).hex() == "03020780"
    assert der.named_bits({5, 6}).hex() == "03020106"
    assert der.named_bits({0, 8}).hex() == "0303078080"
    assert der.named_bits(set()).hex() == "030100"


@pytest.mark.parametrize(
    "data",
    ["", "30", "3001", "308000", "30810100", "3082000100", "30850000000001", "1f0100", "30ff", "308400000001ff"],
)
def test_the_reader_refuses_what_is_not_der(data):
    with pytest.raises(ValueError, match="DER"):
        der.read(bytes.fromhex(data))


def test_a_value_followed_by_octets_is_not_only_that_value():
    assert der.only(b"\x30\x00", der.SEQUENCE) == b""
    with pytest.raises(ValueError, match="1 more octets"):
        der.only(b"\x30\x00\x00", der.SEQUENCE)
    with pytest.raises(ValueError, match="tag 0x31"):
        der.only(b"\x31\x00", der.SEQUENCE)


@given(st.lists(st.tuples(st.sampled_from([0x02, 0x04, 0x30, 0xA0, 0x82]), st.binary(max_size=300)), max_size=8))
def test_what_was_put_together_is_taken_apart_the_same(values):
    assert der.children(b"".join(der.tlv(tag, content) for tag, content in values)) == values


@given(st.binary(max_size=80))
def test_whatever_the_reader_takes_is_the_only_encoding_of_what_it_read(data):
    try:
        values = der.children(data)
    except ValueError:
        return
    assert b"".join(der.tlv(tag, content) for tag, content in values) == data


@given(st.integers(-(2**170), 2**170))
def test_integers_round_trip(number):
    assert int.from_bytes(der.only(der.integer(number), der.INTEGER), "big", signed=True) == number
