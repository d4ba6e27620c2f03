"""PKCS #11 URIs (RFC 7512): every attribute is read, what is no such URI is refused, and a PIN is never repeated."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkicode.config.pkcs11_uri import Pkcs11Uri, key, label, parse, token
from pkicode.config.wrong import WrongForm

EVERYTHING = (
    "pkcs11:token=The%20Token;manufacturer=Snake%20Oil%2C%20Inc.;serial=0042;model=1.0"
    ";library-manufacturer=Snake%20Oil;library-description=Soft%20Token;library-version=3.7"
    ";slot-description=Slot%20%231;slot-manufacturer=Oil;slot-id=327"
    ";object=my-key;type=private;id=%69%95%3E%5C%F4%BD%EC%91"
    "?module-name=softoken&module-path=/usr/lib/soft%20token.so"
)


def test_every_attribute_of_the_rfc_is_read() -> None:
    assert parse(EVERYTHING) == Pkcs11Uri(
        token="The Token",
        manufacturer="Snake Oil, Inc.",
        serial="0042",
        model="1.0",
        library_manufacturer="Snake Oil",
        library_description="Soft Token",
        library_version=(3, 7),
        slot_description="Slot #1",
        slot_manufacturer="Oil",
        slot_id=327,
        object="my-key",
        type="private",
        id=bytes.fromhex("69953e5cf4bdec91"),
        module_name="softoken",
        module_path="/usr/lib/soft token.so",
    )


def test_an_empty_uri_says_nothing_and_matches_everything() -> None:
    assert parse("pkcs11:") == Pkcs11Uri()


def test_a_version_without_a_minor_number_is_zero() -> None:
    assert parse("PKCS11:library-version=3").library_version == (3, 0)


@given(st.text(max_size=20).filter(str.isprintable), st.binary(max_size=20))
def test_percent_encoding_carries_any_text_and_any_octets(text: str, octets: bytes) -> None:
    encoded = "".join(f"%{octet:02X}" for octet in text.encode())
    read = parse(f"pkcs11:token={encoded};id={''.join(f'%{octet:02x}' for octet in octets)}")
    assert (read.token, read.id) == (text, octets)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "token=corp",
        "pkcs12:token=corp",
        "pkcs11:token",
        "pkcs11:token=corp;",
        "pkcs11:token=corp;;serial=1",
        "pkcs11:token=corp;token=corp",
        "pkcs11:token=a b",
        "pkcs11:token=%zz",
        "pkcs11:token=%2",
        "pkcs11:token=%ff",
        "pkcs11:token=%0a",
        "pkcs11:token=corp/x",
        "pkcs11:type=key",
        "pkcs11:library-version=1.2.3",
        "pkcs11:library-version=256",
        "pkcs11:slot-id=one",
        "pkcs11:module-path=/usr/lib/x.so",
        "pkcs11:token=corp?object=root",
        "pkcs11:x-vendor=1",
        "pkcs11:token=corp?x-vendor=1",
        "pkcs11:token=" + "a" * 3000,
    ],
)
def test_what_is_no_such_uri_is_refused(text: str) -> None:
    with pytest.raises(WrongForm) as refused:
        parse(text)
    assert refused.value.code == "E0206"


@pytest.mark.parametrize(
    "text",
    [
        "pkcs11:token=corp?pin-value=hunter2",
        "pkcs11:token=corp;pin-value=hunter2",
        "pkcs11:token=corp?module-path=/x&PIN-VALUE=hunter2",
        "pkcs11:token=corp?pin-source=file:/hunter2",
        "https://example.org/?pin-value=hunter2",
    ],
)
def test_a_pin_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(WrongForm) as refused:
        parse(text)
    assert refused.value.code == "E0343"
    assert "hunter" not in f"{refused.value}{refused.value.mend}"


def test_a_keystore_names_a_token_and_a_key_its_object() -> None:
    assert token("pkcs11:serial=42") == "pkcs11:serial=42"
    assert key("pkcs11:id=%01;type=private") == "pkcs11:id=%01;type=private"
    for text in ("pkcs11:object=root", "pkcs11:model=1", "pkcs11:"):
        with pytest.raises(WrongForm):
            token(text)
    for text in ("pkcs11:token=corp;id=%01", "pkcs11:type=private", "pkcs11:id=%01;type=cert"):
        with pytest.raises(WrongForm):
            key(text)


@pytest.mark.parametrize("text", ["ca.root", "profile.server@1", "root@1", "ca.root@x"])
def test_a_key_is_labelled_with_an_address_and_a_generation(text: str) -> None:
    assert label('cert.fleet["a"]@3') == 'cert.fleet["a"]@3'
    with pytest.raises(WrongForm):
        label(text)
