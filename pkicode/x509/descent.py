"""Whose certificates these are: which CA keys signed them (RFC 5280 section 6.1.3 a 1).

Only names and signatures are looked at: what was signed is somebody's whether or not it is valid, or was revoked.
"""

from collections.abc import Iterable, Mapping

from cryptography import x509

from pkicode.x509 import der, keys
from pkicode.x509.tbs import IssuerFacts, certificate, facts_of, leading


class NotSigned(ValueError):
    """A certificate that names a CA as its issuer, which did not sign it; or one that is none."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(why)
        self.name = name
        """What `below` was given it as."""


def named(made: bytes, cas: Iterable[IssuerFacts]) -> tuple[str, list[IssuerFacts]]:
    """The serial number of a certificate (lower-case hex), and those CAs that it may name as its issuer.

    Raises:
        ValueError: not a certificate.
    """
    # Most lines of a journal that several states share are another one's: bytes that are not there decide that.
    near = [one for one in cas if one.ski in made and one.dn in made]
    if not near:
        return "", []
    _, serial, _, issuer = leading(made, 4)
    return f"{int.from_bytes(der.only(serial, der.INTEGER), 'big'):x}", [one for one in near if one.dn == issuer]


def signer(made: bytes, cas: Iterable[IssuerFacts]) -> IssuerFacts | None:
    """The CA whose key signed a certificate, None where it names none of these.

    Raises:
        ValueError: it names one that did not sign it, or is no certificate.
    """
    serial, issuers = named(made, cas)
    if not issuers:
        return None
    try:
        tbs = x509.load_der_x509_certificate(made).tbs_certificate_bytes
    except x509.InvalidVersion as error:
        raise ValueError(f"serial {serial} is of a version that is none") from error
    for one in issuers:
        if is_signed(tbs, made, one.spki):
            return one
    raise ValueError(f"serial {serial} names a CA as its issuer whose key did not sign it")


def below(names: Iterable[str], made: Mapping[str, bytes], cas: Iterable[IssuerFacts]) -> dict[str, IssuerFacts]:
    """Which of `made`'s certificates with these names the keys of these CAs signed, or CAs signed in turn; and who did.

    A CA that signs itself is among them where one of these has signed its key as well.

    Raises:
        NotSigned: as `signer`.
    """
    found: dict[str, IssuerFacts] = {}
    fresh = list(cas)
    known = {one.spki for one in fresh}
    left = set(names)
    while fresh:
        looked, fresh = fresh, []
        for name in left - found.keys():
            one = made[name]
            try:
                issuer = signer(one, looked)
                facts = facts_of(one) if issuer and is_ca(one) else None
            except ValueError as error:
                raise NotSigned(name, str(error)) from error
            if issuer is None:
                continue
            found[name] = issuer
            if facts and facts.spki not in known:
                known.add(facts.spki)
                fresh.append(facts)
    return found


def is_ca(made: bytes) -> bool:
    """Whether basicConstraints says so (RFC 5280 section 4.2.1.9)."""
    extensions = x509.load_der_x509_certificate(made).extensions
    try:
        return extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def is_signed(tbs: bytes, made: bytes, spki: bytes) -> bool:
    """Whether `made` is the certificate of `tbs` under this issuer key.

    Raises:
        ValueError: not a certificate.
    """
    alg, signature = keys.alg_of_spki(spki), x509.load_der_x509_certificate(made).signature
    try:
        keys.verify(spki, alg, tbs, signature)
    except keys.SignatureError:
        return False
    return certificate(tbs, alg, signature) == made
