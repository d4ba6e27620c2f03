"""Profiles: what every certificate of one sort has in common, checked before anything is built (RFC 5280, 9608).

Names, validity and keys are each certificate's own; allow-lists are in constraints.py.
"""

import difflib
from collections.abc import Iterable, Iterator

from attrs import frozen

from pkicode.x509 import der, names
from pkicode.x509.constraints import Constraints
from pkicode.x509.extensions import EXTENDED_KEY_USAGES, KEY_USAGES

_CA_ONLY = ("keyCertSign", "cRLSign")
_NEEDED = {
    "serverAuth": ("digitalSignature", "keyEncipherment", "keyAgreement"),
    "clientAuth": ("digitalSignature", "keyAgreement"),
    "codeSigning": ("digitalSignature",),
    "timeStamping": ("digitalSignature", "nonRepudiation", "contentCommitment"),
    "OCSPSigning": ("digitalSignature", "nonRepudiation", "contentCommitment"),
}
"""At least one of these usages goes with the purpose (RFC 5280 section 4.2.1.12)."""


@frozen
class Profile:
    """The fixed part of a certificate."""

    is_ca: bool = False
    path_len: int | None = None
    usage: tuple[str, ...] = ("digitalSignature",)
    """Words of RFC 5280 in camelCase."""
    eku: tuple[str, ...] = ()
    """Words of RFC 5280 in camelCase, or OIDs."""
    policies: tuple[str, ...] = ()
    constraints: Constraints | None = None
    must_staple: bool = False
    ocsp_nocheck: bool = False
    no_rev_avail: bool = False
    crl_urls: tuple[str, ...] = ()
    ca_issuer_urls: tuple[str, ...] = ()
    ocsp_urls: tuple[str, ...] = ()

    def check(self, key_alg: str = "") -> list[str]:
        """What is wrong with it, a sentence each; with `key_alg`, also what such a key cannot do."""
        return [
            *_words("usage", self.usage, KEY_USAGES),
            *_words("eku", [word for word in self.eku if "." not in word], EXTENDED_KEY_USAGES),
            *_syntax(self),
            *_authority(self),
            *_purposes(self),
            *_revocation(self),
            *_key(self, key_alg),
        ]


def _words(field: str, words: Iterable[str], known: Iterable[str]) -> Iterator[str]:
    seen = set()
    for word in words:
        if word in seen:
            yield f"{field}: `{word}` stands there twice"
        seen.add(word)
        if word not in known:
            lower = {name.lower(): name for name in known}
            near = difflib.get_close_matches(word.lower(), lower, 1)
            hint = f"did you mean `{lower[near[0]]}`?" if near else f"write one of {' '.join(known)}"
            yield f"{field}: `{word}` is not known; {hint}"


def _syntax(profile: Profile) -> Iterator[str]:
    for field, texts in (("eku", [word for word in profile.eku if "." in word]), ("policies", profile.policies)):
        for text in texts:
            try:
                der.oid(text)
            except ValueError as error:
                yield f"{field}: {error}"
    for url in (*profile.crl_urls, *profile.ca_issuer_urls, *profile.ocsp_urls):
        try:
            names.san("uri", url)
        except ValueError as error:
            yield f"`{url}` is not a URL: {error}"


def _authority(profile: Profile) -> Iterator[str]:
    if not profile.usage:
        yield "usage: at least one is needed, as in digitalSignature (RFC 5280 section 4.2.1.3)"
    if profile.is_ca:
        missing = [word for word in _CA_ONLY if word not in profile.usage]
        if missing:
            yield f"usage: a CA needs {' and '.join(missing)} (RFC 5280 section 4.2.1.3)"
        if profile.path_len is not None and profile.path_len < 0:
            yield "path_len: it cannot be negative (RFC 5280 section 4.2.1.9)"
        if profile.constraints is not None:
            yield from (f"name_constraints.{reason}" for reason in profile.constraints.check())
        return
    for word in profile.usage:
        if word in _CA_ONLY:
            yield f"usage: `{word}` belongs to a CA only (RFC 5280 section 4.2.1.9)"
    if profile.path_len is not None:
        yield "path_len: only a CA has one (RFC 5280 section 4.2.1.9)"
    if profile.constraints is not None:
        yield "name_constraints: only a CA has them (RFC 5280 section 4.2.1.10)"


def _purposes(profile: Profile) -> Iterator[str]:
    if not profile.is_ca:
        for word in profile.eku:
            needed = _NEEDED.get(word, profile.usage)
            if not set(needed) & set(profile.usage):
                yield f"eku: `{word}` goes with usage {' or '.join(needed)} (RFC 5280 section 4.2.1.12)"
        if "timeStamping" in profile.eku and len(profile.eku) > 1:
            yield "eku: timeStamping stands alone (RFC 3161 section 2.3)"
    if profile.ocsp_nocheck and "OCSPSigning" not in profile.eku:
        yield "ocsp_nocheck: only an OCSP responder's certificate has it (RFC 6960 section 4.2.2.2.1)"
    if profile.must_staple and profile.is_ca:
        yield "must_staple: only a server's certificate has it (RFC 7633)"
    if {"encipherOnly", "decipherOnly"} & set(profile.usage) and "keyAgreement" not in profile.usage:
        yield "usage: encipherOnly and decipherOnly say nothing without keyAgreement (RFC 5280 section 4.2.1.3)"


def _revocation(profile: Profile) -> Iterator[str]:
    if not profile.no_rev_avail:
        return
    if profile.is_ca:
        yield 'revocation: "none" is never a CA\'s (RFC 9608 section 2)'
    if profile.crl_urls or profile.ocsp_urls:
        yield 'revocation: "none" goes with no CRL and no OCSP URL (RFC 9608 section 2)'
    if profile.must_staple:
        yield 'must_staple: with revocation = "none" there is no OCSP answer to staple'


def _key(profile: Profile, key_alg: str) -> Iterator[str]:
    """RFC 3279 section 2.3.1, RFC 5480 section 3, RFC 8410 and RFC 9881 section 5, RFC 9935 section 5."""
    if key_alg.startswith("ml-kem"):
        yield from _encapsulation_key(profile, key_alg)
        return
    if not key_alg:
        return
    kind = key_alg.partition("-")[0]
    refused = {
        "rsa": ("keyAgreement", "encipherOnly", "decipherOnly"),
        "ec": ("keyEncipherment", "dataEncipherment"),
    }.get(kind, ("keyEncipherment", "dataEncipherment", "keyAgreement", "encipherOnly", "decipherOnly"))
    for word in profile.usage:
        if word in refused:
            other = "an RSA key" if word.endswith("Encipherment") else "an EC key"
            yield f"usage: {key_alg} cannot do `{word}`; use {other} or leave it out"


def _encapsulation_key(profile: Profile, key_alg: str) -> Iterator[str]:
    """A key that secrets are enciphered to, and that does nothing else (RFC 9935 section 5)."""
    if profile.is_ca:
        yield f"key: {key_alg} signs nothing, and so is no CA's; use ml-dsa-65 or another that signs"
        return
    for word in profile.usage:
        if word != "keyEncipherment":
            yield f'usage: {key_alg} cannot do `{word}`; write usage = ["keyEncipherment"]'
