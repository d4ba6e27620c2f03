"""Rules of the RFCs beside 5280: keys (3279, 5480, 8410, 9881, 9935), OCSP (6960), time stamping (3161), 7633, 9608."""

from collections.abc import Iterator

from pkicode.x509 import der, extensions
from pkicode.x509.lint.reading import Shared
from pkicode.x509.lint.rule import rule
from pkicode.x509.tbs import IssuerFacts

_ENCIPHERING = {"keyEncipherment", "dataEncipherment", "keyAgreement", "encipherOnly", "decipherOnly"}
_CANNOT = {
    "rsa": {"keyAgreement", "encipherOnly", "decipherOnly"},
    "ec": {"keyEncipherment", "dataEncipherment"},
    "ed25519": _ENCIPHERING,
    "ed448": _ENCIPHERING,
    "ml-dsa": _ENCIPHERING,
    "ml-kem": set(extensions.KEY_USAGES) - {"keyEncipherment"},
}
_OCSP_SIGNING = extensions.EXTENDED_KEY_USAGES["OCSPSigning"]
_TIME_STAMPING = extensions.EXTENDED_KEY_USAGES["timeStamping"]


@rule("RFC 3279 section 2.3.1, RFC 5480 section 3, RFC 8410, RFC 9881 and RFC 9935 section 5")
def key_usage_fits_the_key(shared: Shared, _issuer: IssuerFacts) -> Iterator[str]:
    family = next((one for one in _CANNOT if shared.key_alg.startswith(one)), "")
    for word in sorted(_CANNOT.get(family, ())):
        if extensions.KEY_USAGES[word] in shared.usage:
            yield f"keyUsage says {word}, which an {shared.key_alg} key cannot do"


@rule("RFC 6960 section 4.2.2.2.1")
def nocheck_is_an_ocsp_responders(shared: Shared, _issuer: IssuerFacts) -> Iterator[str]:
    found = shared.find(extensions.OCSP_NOCHECK)
    if found and found.value != der.tlv(der.NULL):
        yield "ocsp-nocheck is not NULL"
    if found and _OCSP_SIGNING not in shared.purposes:
        yield "ocsp-nocheck stands in a certificate that signs no OCSP answers"


@rule("RFC 3161 section 2.3")
def time_stamping_stands_alone_and_critical(shared: Shared, _issuer: IssuerFacts) -> Iterator[str]:
    found = shared.find(extensions.EXTENDED_KEY_USAGE)
    if (
        found
        and not shared.is_ca
        and _TIME_STAMPING in shared.purposes
        and (len(shared.purposes) > 1 or not found.critical)
    ):
        yield "timeStamping is the only purpose, and critical, or not there"


@rule("RFC 7633 section 4.1")
def tls_features_are_numbers(shared: Shared, _issuer: IssuerFacts) -> Iterator[str]:
    found = shared.find(extensions.TLS_FEATURE)
    if found:
        features = der.children(der.only(found.value, der.SEQUENCE))
        if not features or any(tag != der.INTEGER for tag, _ in features):
            yield "tlsFeature is not a list of numbers"


@rule("RFC 9608 section 2")
def no_revocation_information_is_consistent(shared: Shared, _issuer: IssuerFacts) -> Iterator[str]:
    found = shared.find(extensions.NO_REV_AVAIL)
    if not found:
        return
    if found.value != der.tlv(der.NULL):
        yield "noRevAvail is not NULL"
    if shared.is_ca:
        yield "noRevAvail stands in a CA's certificate"
    if shared.find(extensions.CRL_DISTRIBUTION_POINTS):
        yield "noRevAvail stands beside cRLDistributionPoints"
    access = shared.find(extensions.AUTHORITY_INFO_ACCESS)
    if access and extensions.OCSP in access.value:
        yield "noRevAvail stands beside an OCSP responder"


SHARED = (
    key_usage_fits_the_key,
    nocheck_is_an_ocsp_responders,
    time_stamping_stands_alone_and_critical,
    tls_features_are_numbers,
    no_revocation_information_is_consistent,
)
