"""Rules of RFC 5280 about the fields of a certificate; those about extensions are in rfc5280_extensions.py."""

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache

from pkicode.model.problem import Severity
from pkicode.x509 import der, keys
from pkicode.x509.lint.reading import Own, Shared
from pkicode.x509.lint.rule import rule
from pkicode.x509.tbs import IssuerFacts

_EMPTY_NAME = b"\x30\x00"
_DIRECTORY_STRING = frozenset({der.UTF8, der.PRINTABLE})
_ATTRIBUTES = {
    "2.5.4.3": (64, _DIRECTORY_STRING),
    "2.5.4.4": (32768, _DIRECTORY_STRING),
    "2.5.4.5": (64, frozenset({der.PRINTABLE})),
    "2.5.4.6": (2, frozenset({der.PRINTABLE})),
    "2.5.4.7": (128, _DIRECTORY_STRING),
    "2.5.4.8": (128, _DIRECTORY_STRING),
    "2.5.4.10": (64, _DIRECTORY_STRING),
    "2.5.4.11": (64, _DIRECTORY_STRING),
    "2.5.4.12": (64, _DIRECTORY_STRING),
    "2.5.4.42": (32768, _DIRECTORY_STRING),
    "1.2.840.113549.1.9.1": (255, frozenset({der.IA5})),
    "0.9.2342.19200300.100.1.25": (63, frozenset({der.IA5})),
}
"""OID -> upper bound in characters and string types (appendix A.1); others are DirectoryStrings without a bound."""
_PRINTABLE = re.compile(rb"[A-Za-z0-9 '()+,./:=?-]*")
_EMAIL = der.oid("1.2.840.113549.1.9.1") + bytes((der.IA5,))
_UTC_TIME, _GENERALIZED_TIME = re.compile(rb"\d{12}Z"), re.compile(rb"\d{14}Z")


@rule("RFC 5280 section 4.1.2.1")
def version_is_3(shared: Shared, _issuer: IssuerFacts) -> Iterator[str]:
    if shared.version != der.integer(2):
        yield "a certificate with extensions is of version 3"


@rule("RFC 5280 section 4.1.2.3")
def signature_algorithm_is_the_issuers(shared: Shared, issuer: IssuerFacts) -> Iterator[str]:
    if der.tlv(der.SEQUENCE, shared.algorithm) != keys.signature_algorithm(issuer.alg):
        yield f"the signature algorithm is not the one of the issuer's {issuer.alg} key"


@rule("RFC 5280 section 4.1.2.4")
def issuer_is_copied_from_its_certificate(shared: Shared, issuer: IssuerFacts) -> Iterator[str]:
    if der.tlv(der.SEQUENCE, shared.issuer) != issuer.dn:
        yield "the issuer's name differs from the subject of the issuer's certificate"


@rule("RFC 5280 section 4.1.2.4")
def issuer_is_not_empty(shared: Shared, _issuer: IssuerFacts) -> Iterator[str]:
    if not shared.issuer:
        yield "the issuer has no name"


@rule("RFC 5280 section 4.1.2.2")
def serial_is_positive_and_short(own: Own, _shared: Shared, _issuer: IssuerFacts) -> Sequence[str]:
    number = int.from_bytes(own.serial, "big", signed=True)
    wrong = [] if number > 0 else ["the serial number is not positive"]
    if len(own.serial) > 20:
        wrong.append(f"the serial number takes {len(own.serial)} octets; at most 20 are allowed")
    if len(own.serial) != (number if number >= 0 else ~number).bit_length() // 8 + 1:
        wrong.append("the serial number is not in shortest form")
    return wrong


@rule("RFC 5280 section 4.1.2.5")
def validity_is_two_times_in_order(own: Own, _shared: Shared, _issuer: IssuerFacts) -> Sequence[str]:
    return _validity(own.validity)


@lru_cache(maxsize=256)
def _validity(content: bytes) -> tuple[str, ...]:
    times = der.children(content)
    if len(times) != 2:
        raise ValueError("the validity is not two times")
    begins, ends = (_moment(*time) for time in times)
    return ("the validity ends before it begins",) if ends < begins else ()


def _moment(tag: int, content: bytes) -> datetime:
    """UTCTime through 2049, GeneralizedTime from 2050 on; whole seconds, Z (sections 4.1.2.5.1 and 4.1.2.5.2)."""
    if tag == der.UTC_TIME and _UTC_TIME.fullmatch(content):
        century = b"20" if content < b"5" else b"19"
        return _datetime(century + content)
    if tag == der.GENERALIZED_TIME and _GENERALIZED_TIME.fullmatch(content):
        if content < b"2050":
            raise ValueError("a time through 2049 is not UTCTime")
        return _datetime(content)
    raise ValueError("a time is not UTCTime or GeneralizedTime in whole seconds that ends in Z")


def _datetime(digits: bytes) -> datetime:
    return datetime.strptime(digits.decode("ascii"), "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


@rule("RFC 5280 section 4.1.2.6")
def ca_has_a_subject(own: Own, shared: Shared, _issuer: IssuerFacts) -> Sequence[str]:
    return ["a CA has no name"] if shared.is_ca and own.subject == _EMPTY_NAME else []


@rule("RFC 5280 section 4.1.2.6")
def subject_or_alternative_name(own: Own, _shared: Shared, _issuer: IssuerFacts) -> Sequence[str]:
    named = own.sans or own.subject != _EMPTY_NAME
    return [] if named else ["neither a subject nor an alternative name is there"]


@rule("RFC 5280 section 4.1.2.4 and appendix A.1")
def subject_is_well_formed(own: Own, _shared: Shared, _issuer: IssuerFacts) -> Iterable[str]:
    return () if own.subject == _EMPTY_NAME else _rdns(own.subject)


def _rdns(subject: bytes) -> Iterator[str]:
    for tag, rdn in der.children(der.only(subject, der.SEQUENCE)):
        attributes = der.children(rdn)
        if tag != der.SET or not attributes:
            raise ValueError("an RDN is not a SET of attributes")
        for _, attribute in attributes:
            yield from _attribute(attribute)


def _attribute(attribute: bytes) -> Iterator[str]:
    (tag, oid), (kind, value) = der.children(attribute)
    if tag != der.OID:
        raise ValueError("an attribute has no type")
    name = der.dotted(oid)
    longest, kinds = _ATTRIBUTES.get(name, (None, _DIRECTORY_STRING))
    if kind not in kinds:
        yield f"the attribute {name} is a string of tag {kind:#04x}"
    if kind == der.PRINTABLE and not _PRINTABLE.fullmatch(value):
        yield f"the attribute {name} holds characters that PrintableString has not"
    text = value.decode("ascii" if kind == der.IA5 else "utf-8")
    if not text or (longest and len(text) > longest):
        yield f"the attribute {name} has {len(text)} characters; 1 to {longest or 'any number'} are allowed"
    if not text.isprintable() and any(ord(character) < 32 or 127 <= ord(character) < 160 for character in text):
        yield f"the attribute {name} holds control characters"


@rule("RFC 5280 section 4.1.2.6", Severity.WARNING)
def email_in_subject_is_an_alternative_name_too(own: Own, _shared: Shared, _issuer: IssuerFacts) -> Sequence[str]:
    if _EMAIL not in own.subject:
        return []
    found = own.subject.partition(_EMAIL)[2]
    address = found[1 : 1 + found[0]]
    if any(der.tlv(0x81, address) in san.value for san in own.sans):
        return []
    return ["the e-mail address in the subject is not among the alternative names"]


@rule("RFC 3279 section 2.3, RFC 5480 section 2, RFC 8410 section 3, RFC 9881 section 2, RFC 9935 section 3")
def public_key_is_of_a_known_algorithm(own: Own, _shared: Shared, _issuer: IssuerFacts) -> Sequence[str]:
    keys.alg_of_spki(own.spki)
    return ()


SHARED = (
    version_is_3,
    signature_algorithm_is_the_issuers,
    issuer_is_copied_from_its_certificate,
    issuer_is_not_empty,
)
OWN = (
    serial_is_positive_and_short,
    validity_is_two_times_in_order,
    ca_has_a_subject,
    subject_or_alternative_name,
    subject_is_well_formed,
    email_in_subject_is_an_alternative_name_too,
    public_key_is_of_a_known_algorithm,
)
