"""Chains: how they are handed out, and a second verifier for what was just issued (RFC 5280 section 6, in part).

The second verifier shares no code with the encoders: it reads the certificate with another parser and compares.
"""

import ipaddress
from collections.abc import Callable, Iterator, Sequence

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509.oid import AuthorityInformationAccessOID

from pkicode.x509 import pem
from pkicode.x509.constraints import Constraints, effective
from pkicode.x509.extensions import EXTENDED_KEY_USAGES
from pkicode.x509.profile import Profile

_USAGES = {
    "digitalSignature": "digital_signature",
    "nonRepudiation": "content_commitment",
    "contentCommitment": "content_commitment",
    "keyEncipherment": "key_encipherment",
    "dataEncipherment": "data_encipherment",
    "keyAgreement": "key_agreement",
    "keyCertSign": "key_cert_sign",
    "cRLSign": "crl_sign",
}
_NO_REV_AVAIL = x509.ObjectIdentifier("2.5.29.56")


_UNREADABLE = (x509.InvalidVersion, x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)


def chain_pem(leaf: bytes, issuers: Sequence[bytes]) -> bytes:
    """PEM of DER certificates: the leaf, then its issuers, nearest first; the caller leaves the root out."""
    return b"".join(pem.encode("CERTIFICATE", certificate) for certificate in (leaf, *issuers))


def verify_issued(certificate: bytes, issuer_certificate: bytes) -> None:
    """Whether the issuer's certificate (DER) may have issued this one, and did.

    Raises:
        ValueError: with everything that is wrong.
    """
    try:
        issued, issuer = _load(certificate), _load(issuer_certificate)
        wrong = [*_signature(issued, issuer), *_issuer_may(issued, issuer), *_identifiers(issued, issuer)]
    except _UNREADABLE as error:
        raise ValueError(f"the certificate, or its issuer's, cannot be read: {error}") from error
    if wrong:
        raise ValueError("the certificate just issued is wrong: " + "; ".join(wrong))


def verify_profile(certificate: bytes, profile: Profile) -> None:
    """Whether a certificate (DER) says what its profile asked for, no less and no more.

    Raises:
        ValueError: naming each extension that differs.
    """
    found = {extension.oid: extension for extension in _load(certificate).extensions}
    for oid in (x509.SubjectKeyIdentifier.oid, x509.AuthorityKeyIdentifier.oid, x509.SubjectAlternativeName.oid):
        found.pop(oid, None)
    wanted = {value.oid: (value, critical) for value, critical in _wanted(profile)}
    wrong = [
        oid.dotted_string
        for oid in {**wanted, **found}
        if oid not in found or oid not in wanted or (found[oid].value, found[oid].critical) != wanted[oid]
    ]
    if wrong:
        raise ValueError(f"the certificate just issued differs from its profile in {', '.join(sorted(wrong))}")


def _load(certificate: bytes) -> x509.Certificate:
    loaded = x509.load_der_x509_certificate(certificate)
    if loaded.version is not x509.Version.v3:
        raise ValueError("the certificate is not of version 3")
    return loaded


def _signature(issued: x509.Certificate, issuer: x509.Certificate) -> Iterator[str]:
    try:
        issued.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        yield str(error)
    except InvalidSignature:
        yield "its signature is not its issuer's"


def _issuer_may(issued: x509.Certificate, issuer: x509.Certificate) -> Iterator[str]:
    is_ca, path_len = _basic(issuer)
    if not is_ca or not issuer.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign:
        yield "its issuer is no CA"
    if (
        issued.not_valid_before_utc < issuer.not_valid_before_utc
        or issued.not_valid_after_utc > issuer.not_valid_after_utc
    ):
        yield "its validity is not inside its issuer's"
    if issued.subject == issuer.subject:
        return
    child_is_ca, child_path_len = _basic(issued)
    if child_is_ca and path_len is not None and (path_len == 0 or (child_path_len or 0) >= path_len):
        yield f"its path length does not fit below its issuer's {path_len}"


def _basic(certificate: x509.Certificate) -> tuple[bool, int | None]:
    try:
        value = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        return False, None
    return value.ca, value.path_length


def _identifiers(issued: x509.Certificate, issuer: x509.Certificate) -> Iterator[str]:
    authority = issued.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    subject = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    if authority.key_identifier != subject.digest:
        yield "its authority key identifier is not its issuer's subject key identifier"


def _wanted(profile: Profile) -> Iterator[tuple[x509.ExtensionType, bool]]:
    if profile.is_ca:
        yield x509.BasicConstraints(ca=True, path_length=profile.path_len), True
    yield _key_usage(profile), True
    if profile.eku:
        oids = [x509.ObjectIdentifier(EXTENDED_KEY_USAGES.get(word, word)) for word in profile.eku]
        yield x509.ExtendedKeyUsage(oids), "timeStamping" in profile.eku
    if profile.constraints is not None and not profile.constraints.is_empty:
        yield _name_constraints(profile), True
    if profile.policies:
        policies = [x509.PolicyInformation(x509.ObjectIdentifier(policy), None) for policy in profile.policies]
        yield x509.CertificatePolicies(policies), False
    yield from _revocation(profile)


def _key_usage(profile: Profile) -> x509.KeyUsage:
    asked = {name: any(_USAGES.get(word) == name for word in profile.usage) for name in set(_USAGES.values())}
    return x509.KeyUsage(
        **asked, encipher_only="encipherOnly" in profile.usage, decipher_only="decipherOnly" in profile.usage
    )


def _name_constraints(profile: Profile) -> x509.NameConstraints:
    asked = effective(profile.constraints or Constraints())
    makers: dict[str, Callable[[str], x509.GeneralName]] = {
        "dns": x509.DNSName,
        "ip": lambda text: x509.IPAddress(ipaddress.ip_network(text)),
        "email": x509.RFC822Name,
        "uri": x509.UniformResourceIdentifier,
    }
    permitted, excluded = (
        [make(base) for kind, make in makers.items() for base in bases(kind)]
        for bases in (asked.permitted, asked.excluded)
    )
    return x509.NameConstraints(permitted or None, excluded or None)


def _revocation(profile: Profile) -> Iterator[tuple[x509.ExtensionType, bool]]:
    if profile.crl_urls:
        full_name = [x509.UniformResourceIdentifier(url) for url in profile.crl_urls]
        yield x509.CRLDistributionPoints([x509.DistributionPoint(full_name, None, None, None)]), False
    if profile.ocsp_urls or profile.ca_issuer_urls:
        ocsp, issuers = AuthorityInformationAccessOID.OCSP, AuthorityInformationAccessOID.CA_ISSUERS
        methods = [(ocsp, url) for url in profile.ocsp_urls] + [(issuers, url) for url in profile.ca_issuer_urls]
        access = [x509.AccessDescription(method, x509.UniformResourceIdentifier(url)) for method, url in methods]
        yield x509.AuthorityInformationAccess(access), False
    if profile.ocsp_nocheck:
        yield x509.OCSPNoCheck(), False
    if profile.must_staple:
        yield x509.TLSFeature([x509.TLSFeatureType.status_request]), False
    if profile.no_rev_avail:
        yield x509.UnrecognizedExtension(_NO_REV_AVAIL, b"\x05\x00"), False
