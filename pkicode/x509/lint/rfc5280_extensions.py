"""Rules of RFC 5280 section 4.2: certificate extensions."""

import ipaddress
from collections import Counter
from collections.abc import Iterator, Sequence

from pkicode.model.names import SanType
from pkicode.model.problem import Severity
from pkicode.x509 import der, extensions, names
from pkicode.x509.lint.reading import Own, Shared
from pkicode.x509.lint.rule import rule
from pkicode.x509.tbs import IssuerFacts

_KEY_CERT_SIGN, _CRL_SIGN, _KEY_AGREEMENT = 5, 6, 4
_ENCIPHER_ONLY, _DECIPHER_ONLY = 7, 8
_MUST_BE_CRITICAL = {
    extensions.BASIC_CONSTRAINTS: "basicConstraints",
    extensions.KEY_USAGE: "keyUsage",
    extensions.NAME_CONSTRAINTS: "nameConstraints",
}
_MAY_BE_CRITICAL = {extensions.EXTENDED_KEY_USAGE, extensions.CERTIFICATE_POLICIES, extensions.SUBJECT_ALT_NAME}
_NEVER_CRITICAL = {
    extensions.SUBJECT_KEY_IDENTIFIER: "subjectKeyIdentifier",
    extensions.AUTHORITY_KEY_IDENTIFIER: "authorityKeyIdentifier",
    extensions.AUTHORITY_INFO_ACCESS: "authorityInfoAccess",
    extensions.CRL_DISTRIBUTION_POINTS: "cRLDistributionPoints",
    extensions.OCSP_NOCHECK: "ocsp-nocheck",
    extensions.TLS_FEATURE: "tlsFeature",
    extensions.NO_REV_AVAIL: "noRevAvail",
}
_BASE_TAGS = {0x81: SanType.EMAIL, 0x82: SanType.DNS, 0x86: SanType.URI}


@rule("RFC 5280 section 4.2")
def each_extension_stands_once(shared: Shared, _issuer: IssuerFacts) -> Iterator[str]:
    for oid, count in Counter(extension.oid for extension in shared.extensions).items():
        if count > 1:
            yield f"the extension {der.dotted(oid[2:])} stands {count} times"


@rule("RFC 5280 section 4.2")
def criticality_is_as_the_section_says(shared: Shared, _issuer: IssuerFacts) -> Iterator[str]:
    for extension in shared.extensions:
        if extension.oid in _MUST_BE_CRITICAL and not extension.critical:
            yield f"{_MUST_BE_CRITICAL[extension.oid]} is not critical"
        elif extension.oid in _NEVER_CRITICAL and extension.critical:
            yield f"{_NEVER_CRITICAL[extension.oid]} is critical"


@rule("RFC 5280 section 4.2")
def no_unknown_extension_is_critical(shared: Shared, _issuer: IssuerFacts) -> Iterator[str]:
    known = _MUST_BE_CRITICAL.keys() | _MAY_BE_CRITICAL | _NEVER_CRITICAL.keys()
    for extension in shared.extensions:
        if extension.critical and extension.oid not in known:
            yield f"the extension {der.dotted(extension.oid[2:])} is critical, and verifiers that do not know it refuse"


@rule("RFC 5280 section 4.2.1.1")
def authority_key_identifier_is_the_issuers(shared: Shared, issuer: IssuerFacts) -> Iterator[str]:
    found = shared.find(extensions.AUTHORITY_KEY_IDENTIFIER)
    if found is None:
        yield "the authority key identifier is missing"
    elif der.children(der.only(found.value, der.SEQUENCE)) != [(0x80, issuer.ski)]:
        yield "the authority key identifier is not exactly the issuer's subject key identifier"


@rule("RFC 5280 section 4.2.1.3")
def key_usage_says_something(shared: Shared, _issuer: IssuerFacts) -> Iterator[str]:
    found = shared.find(extensions.KEY_USAGE)
    if found is None:
        yield "keyUsage is missing"
    elif not shared.usage:
        yield "keyUsage has no bit set"
    elif found.value != der.named_bits(set(shared.usage)):
        yield "keyUsage is not encoded as a named bit list"


@rule("RFC 5280 section 4.2.1.3")
def key_usage_of_a_ca_signs_certificates_and_crls(shared: Shared, _issuer: IssuerFacts) -> Iterator[str]:
    if shared.is_ca and not {_KEY_CERT_SIGN, _CRL_SIGN} <= shared.usage:
        yield "a CA lacks keyCertSign or cRLSign"


@rule("RFC 5280 section 4.2.1.3")
def encipher_and_decipher_only_go_with_key_agreement(shared: Shared, _issuer: IssuerFacts) -> Iterator[str]:
    if shared.usage & {_ENCIPHER_ONLY, _DECIPHER_ONLY} and _KEY_AGREEMENT not in shared.usage:
        yield "encipherOnly or decipherOnly stands without keyAgreement"


@rule("RFC 5280 section 4.2.1.4")
def policies_are_there_once(shared: Shared, _issuer: IssuerFacts) -> Iterator[str]:
    found = shared.find(extensions.CERTIFICATE_POLICIES)
    if found is None:
        return
    policies = [der.children(content)[0] for _, content in der.children(der.only(found.value, der.SEQUENCE))]
    if not policies:
        yield "certificatePolicies is empty"
    if len(set(policies)) != len(policies):
        yield "a certificate policy stands twice"


@rule("RFC 5280 section 4.2.1.9")
def only_a_ca_signs_certificates(shared: Shared, _issuer: IssuerFacts) -> Iterator[str]:
    if not shared.is_ca and _KEY_CERT_SIGN in shared.usage:
        yield "keyCertSign is set, and basicConstraints says it is no CA"


@rule("RFC 5280 section 4.2.1.9")
def basic_constraints_are_well_formed(shared: Shared, _issuer: IssuerFacts) -> Iterator[str]:
    found = shared.find(extensions.BASIC_CONSTRAINTS)
    if found is None:
        return
    fields = der.children(der.only(found.value, der.SEQUENCE))
    if fields[:1] == [(der.BOOLEAN, b"\0")]:
        yield "cA FALSE is the default, which DER leaves out"
    rest = fields[1:] if shared.is_ca else fields
    if rest and not shared.is_ca:
        yield "only a CA has a path length"
    elif rest and (len(rest) > 1 or rest[0][0] != der.INTEGER or rest[0][1][:1] >= b"\x80"):
        yield "the path length is not one non-negative number"


@rule("RFC 5280 section 4.2.1.10")
def name_constraints_are_a_ca_s(shared: Shared, _issuer: IssuerFacts) -> Iterator[str]:
    if shared.find(extensions.NAME_CONSTRAINTS) and not shared.is_ca:
        yield "nameConstraints stand in a certificate that is no CA's"


@rule("RFC 5280 section 4.2.1.10")
def name_constraints_are_well_formed(shared: Shared, _issuer: IssuerFacts) -> Iterator[str]:
    found = shared.find(extensions.NAME_CONSTRAINTS)
    if found is None:
        return
    trees = der.children(der.only(found.value, der.SEQUENCE))
    if not trees or any(tag not in {0xA0, 0xA1} or not content for tag, content in trees):
        yield "nameConstraints hold no subtree"
    for _, content in trees:
        for _, subtree in der.children(content):
            fields = der.children(subtree)
            if len(fields) != 1:
                yield "a subtree has a minimum or maximum"
            yield from _base(*fields[0])


def _base(tag: int, content: bytes) -> Iterator[str]:
    if tag == 0x87:
        half = len(content) // 2
        if len(content) not in {8, 32}:
            yield "a subtree of addresses is not an address and a mask"
        elif not _is_mask(content[half:]):
            yield "the mask of a subtree of addresses has holes"
    elif tag == 0x82 and not content.startswith(b"."):
        names.host(content.decode("ascii"))
    elif tag in {0x81, 0x86}:
        names.host(content.decode("ascii").rpartition("@")[2].removeprefix("."))


def _is_mask(mask: bytes) -> bool:
    bits = f"{int.from_bytes(mask, 'big'):0{8 * len(mask)}b}"
    return "01" not in bits


@rule("RFC 5280 section 4.2.1.12")
def purposes_are_there_once(shared: Shared, _issuer: IssuerFacts) -> Iterator[str]:
    if shared.find(extensions.EXTENDED_KEY_USAGE) and not shared.purposes:
        yield "extKeyUsage is empty"
    if len(set(shared.purposes)) != len(shared.purposes):
        yield "a purpose stands twice"


@rule("RFC 5280 section 4.2.1.13")
def distribution_points_say_where(shared: Shared, _issuer: IssuerFacts) -> Iterator[str]:
    found = shared.find(extensions.CRL_DISTRIBUTION_POINTS)
    if found is None:
        return
    points = der.children(der.only(found.value, der.SEQUENCE))
    if not points:
        yield "cRLDistributionPoints is empty"
    for _, point in points:
        fields = der.children(point)
        if [tag for tag, _ in fields] != [0xA0]:
            raise ValueError("a distribution point has no name, or reasons or an issuer of its own")
        yield from _urls(der.children(der.only(fields[0][1], 0xA0)), "a CRL", ("http", "ldap"))


@rule("RFC 5280 section 4.2.2.1")
def information_access_says_where(shared: Shared, _issuer: IssuerFacts) -> Iterator[str]:
    found = shared.find(extensions.AUTHORITY_INFO_ACCESS)
    if found is None:
        return
    methods = der.children(der.only(found.value, der.SEQUENCE))
    if not methods:
        yield "authorityInfoAccess is empty"
    for _, method in methods:
        _, location = der.children(method)
        yield from _urls([location], "authorityInfoAccess", ("http", "ldap"))


def _urls(locations: list[tuple[int, bytes]], what: str, schemes: tuple[str, ...]) -> Iterator[str]:
    """Of several locations one in plain http is enough: https there would need itself checked first (section 8)."""
    texts = [names.san(SanType.URI, content.decode("ascii"))[1] for tag, content in locations if tag == 0x86]
    if not any(text.partition(":")[0] in schemes for text in texts):
        yield f"{what} is at no {' or '.join(schemes)} URL"


@rule("RFC 5280 section 4.2.1.2")
def subject_key_identifier_is_there(own: Own, _shared: Shared, issuer: IssuerFacts) -> Sequence[str]:
    if len(own.skis) != 1:
        return [f"the subject key identifier stands {len(own.skis)} times"]
    identifier, wrong = der.only(own.skis[0].value, der.OCTET_STRING), []
    if own.skis[0].critical or not identifier:
        wrong.append("the subject key identifier is critical or empty")
    if own.spki == issuer.spki and identifier != issuer.ski:
        wrong.append("one key has two subject key identifiers")
    return wrong


@rule("RFC 5280 section 4.2.1.6")
def alternative_names_are_critical_without_a_subject(own: Own, _shared: Shared, _issuer: IssuerFacts) -> Sequence[str]:
    wrong = ["subjectAltName stands more than once"] if len(own.sans) > 1 else []
    unnamed = own.subject == b"\x30\x00"
    for san in own.sans:
        if san.critical != unnamed:
            wrong.append("subjectAltName is critical exactly when the subject is empty")
    return wrong


@rule("RFC 5280 section 4.2.1.6")
def alternative_names_are_well_formed(own: Own, _shared: Shared, _issuer: IssuerFacts) -> Sequence[str]:
    wrong: list[str] = []
    for san in own.sans:
        found = der.children(der.only(san.value, der.SEQUENCE))
        if not found:
            wrong.append("subjectAltName is empty")
        for tag, content in found:
            kind = _BASE_TAGS.get(tag)
            wrong += _general_name(tag, content) if kind is None else _text(kind, content.decode("ascii"))
    return wrong


def _text(kind: SanType, text: str) -> Sequence[str]:
    return [] if names.san(kind, text)[1] == text else [f"`{kind}:{text}` is not in normal form"]


def _general_name(tag: int, content: bytes) -> Iterator[str]:
    if tag == 0x87 and len(content) not in {4, 16}:
        yield f"an address of {len(content)} octets is neither IPv4 nor IPv6"
    elif tag == 0x87:
        if ipaddress.ip_address(content).is_unspecified:
            yield "the unspecified address names no host"
    elif tag == 0x88:
        der.dotted(content)
    elif tag == 0xA4:
        der.only(content, der.SEQUENCE)
    elif tag != 0xA0 or [each for each, _ in der.children(content)] != [der.OID, 0xA0]:
        yield f"a name of tag {tag:#04x} has no defined form"


@rule("RFC 5280 section 4.2.1.6", Severity.WARNING)
def alternative_names_are_there_once(own: Own, _shared: Shared, _issuer: IssuerFacts) -> Sequence[str]:
    names_of = [der.children(der.only(san.value, der.SEQUENCE)) for san in own.sans]
    return ["an alternative name stands twice" for found in names_of if len(set(found)) != len(found)]


SHARED = (
    each_extension_stands_once,
    criticality_is_as_the_section_says,
    no_unknown_extension_is_critical,
    authority_key_identifier_is_the_issuers,
    key_usage_says_something,
    key_usage_of_a_ca_signs_certificates_and_crls,
    encipher_and_decipher_only_go_with_key_agreement,
    policies_are_there_once,
    only_a_ca_signs_certificates,
    basic_constraints_are_well_formed,
    name_constraints_are_a_ca_s,
    name_constraints_are_well_formed,
    purposes_are_there_once,
    distribution_points_say_where,
    information_access_says_where,
)
OWN = (
    subject_key_identifier_is_there,
    alternative_names_are_critical_without_a_subject,
    alternative_names_are_well_formed,
    alternative_names_are_there_once,
)
