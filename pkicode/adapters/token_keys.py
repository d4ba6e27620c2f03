"""Keys on a PKCS #11 token: found, read, made, and made to sign (OASIS PKCS #11 2.40, and 3.0 for EdDSA).

A key is a private and a public object of one CKA_ID.  What is found twice is found not at all: who could put a second
key under a label would else choose what signs.  Sessions, PINs and tokens are token.py's.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from typing import Any

import pkcs11
from attrs import field, frozen
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from pkcs11 import exceptions as p11
from pkcs11.constants import Attribute, MechanismFlag, ObjectClass
from pkcs11.mechanisms import KeyType, Mechanism

from pkicode.config.pkcs11_uri import Pkcs11Uri
from pkicode.model.keyuse import Attested
from pkicode.model.problem import KeyStoreError
from pkicode.ports import KeyFacts
from pkicode.x509 import der
from pkicode.x509 import keys as x509_keys

_CURVES = {
    "ec-p256": der.oid("1.2.840.10045.3.1.7"),
    "ec-p384": der.oid("1.3.132.0.34"),
    "ec-p521": der.oid("1.3.132.0.35"),
}
_EDWARDS = {"ed25519": der.oid("1.3.101.112"), "ed448": der.oid("1.3.101.113")}
_BY_NAME = {der.tlv(0x13, b"edwards25519"): "ed25519", der.tlv(0x13, b"edwards448"): "ed448"}
"""EC_PARAMS as PKCS #11 3.0 allows them beside OIDs: a PrintableString."""
_ALGS = {parameters: alg for alg, parameters in (_CURVES | _EDWARDS).items()} | _BY_NAME
_DIGESTS = {"sha256": "2.16.840.1.101.3.4.2.1", "sha384": "2.16.840.1.101.3.4.2.2", "sha512": "2.16.840.1.101.3.4.2.3"}
_PRIVATE = {
    Attribute.PRIVATE: True,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
}

_ATTESTED = {
    "sensitive": Attribute.SENSITIVE,
    "always_sensitive": Attribute.ALWAYS_SENSITIVE,
    "extractable": Attribute.EXTRACTABLE,
    "never_extractable": Attribute.NEVER_EXTRACTABLE,
    "local": Attribute.LOCAL,
}


@frozen
class TokenKey:
    """A key pair on the token, while the session lasts in which it was found."""

    facts: KeyFacts
    private: Any = field(repr=False)
    wants_pin: bool
    """With each signature, beside the login (CKA_ALWAYS_AUTHENTICATE)."""

    def signature(self, tbs: bytes, pin: str | None) -> bytes:
        """The signature value; hashed here, because not every token has mechanisms that hash."""
        name = x509_keys.signature_hash(self.facts.alg)
        if not name:
            return bytes(self.private.sign(tbs, mechanism=Mechanism.EDDSA, pin=pin))
        digest = hashlib.new(name, tbs).digest()
        if self.facts.alg.startswith("rsa-"):
            algorithm = der.tlv(der.SEQUENCE, der.oid(_DIGESTS[name]), der.tlv(der.NULL))
            info = der.tlv(der.SEQUENCE, algorithm, der.tlv(der.OCTET_STRING, digest))  # RFC 8017 section 9.2
            return bytes(self.private.sign(info, mechanism=Mechanism.RSA_PKCS, pin=pin))
        raw = self.private.sign(digest, mechanism=Mechanism.ECDSA, pin=pin)
        half = len(raw) // 2
        return encode_dss_signature(int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big"))

    def attested(self) -> Attested:
        """What the token says of it."""
        said = {name: _said(self.private, attribute) for name, attribute in _ATTESTED.items()}
        spki = x509_keys.digest(self.facts.spki)
        return Attested(self.facts.label, self.facts.alg, bytes(self.private[Attribute.ID]).hex(), spki, **said)

    def weaknesses(self) -> Sequence[str]:
        """How the private key could leave the token."""
        said = {
            "is not sensitive": not self.private[Attribute.SENSITIVE],
            "may be taken off the token": bool(self.private[Attribute.EXTRACTABLE]),
            "could once be taken off the token": not self.private[Attribute.NEVER_EXTRACTABLE],
        }
        return [f"the key {self.facts.label} {what}" for what, is_so in said.items() if is_so]


def _said(private: Any, attribute: Attribute) -> bool | None:
    try:
        return bool(private[attribute])
    except p11.AttributeTypeInvalid:
        return None


def find(session: pkcs11.Session, label: str, where: Pkcs11Uri) -> TokenKey | None:
    """The key pair that is called this; needs a session that is logged in.

    Args:
        session: of the token.
        label: what we call it.
        where: object and id by which it is found.

    Raises:
        KeyStoreError: there are several, or half of one.
    """
    privates = _objects(session, ObjectClass.PRIVATE_KEY, where)
    if not privates:
        if _objects(session, ObjectClass.PUBLIC_KEY, where):
            raise _mixed(label, "a public key without its private key")
        return None
    if len(privates) > 1:
        raise _mixed(label, f"{len(privates)} private keys")
    identity = privates[0][Attribute.ID]
    if not identity:
        raise _mixed(label, "a private key without a CKA_ID")
    publics = _objects(session, ObjectClass.PUBLIC_KEY, Pkcs11Uri(id=identity))
    if len(publics) != 1:
        raise _mixed(label, f"{len(publics) or 'no'} public keys of the private key's CKA_ID")
    _refuse_idle(label, privates[0])
    return TokenKey(_facts(label, publics[0]), privates[0], wants_pin=_wants_pin(privates[0]))


def find_public(session: pkcs11.Session, label: str, where: Pkcs11Uri) -> KeyFacts | None:
    """What anybody may see of the key; None also where it can only be seen after a login.

    Raises:
        KeyStoreError: as `find`.
    """
    publics = _objects(session, ObjectClass.PUBLIC_KEY, where)
    if len(publics) > 1:
        raise _mixed(label, f"{len(publics)} public keys")
    return _facts(label, publics[0]) if publics else None


def labels(session: pkcs11.Session, is_ours: Callable[[str], bool]) -> Sequence[str]:
    """The labels of the public keys on the token that are called as we call keys."""
    there = map(_label, _objects(session, ObjectClass.PUBLIC_KEY, Pkcs11Uri()))
    return [label for label in there if is_ours(label)]


def make(session: pkcs11.Session, label: str, alg: str) -> None:
    """Make a key pair for signing, and ask that it never leaves the token; what came of that, `weaknesses` says."""
    # A CKA_ID of its own: should two processes ever make one label, the pairs can be told apart, and one be removed.
    options: dict[str, Any] = {
        "id": os.urandom(16),
        "label": label,
        "store": True,
        "capabilities": MechanismFlag.SIGN | MechanismFlag.VERIFY,
        "private_template": _PRIVATE,
        "public_template": {Attribute.PRIVATE: False},
    }
    if alg.startswith("rsa-"):
        session.generate_keypair(KeyType.RSA, int(alg[4:]), **options)
    else:
        kind = KeyType.EC if alg in _CURVES else KeyType.EC_EDWARDS
        curve = {Attribute.EC_PARAMS: (_CURVES | _EDWARDS)[alg]}
        session.create_domain_parameters(kind, curve, local=True).generate_keypair(**options)


def destroy(session: pkcs11.Session, key: KeyFacts) -> None:
    """Destroy both objects of a key, the private one first: what is left of an interruption is found and goes then.

    Raises:
        KeyStoreError: there are several of its name, or it is another key.
    """
    publics = _objects(session, ObjectClass.PUBLIC_KEY, Pkcs11Uri(object=key.label))
    if not publics:
        return
    if len(publics) > 1:
        raise _mixed(key.label, f"{len(publics)} public keys")
    if _facts(key.label, publics[0]) != key:
        raise KeyStoreError(
            f"the key {key.label} is another one than it was; it was not destroyed",
            help="look at it again: `pkicode keystore list`",
        )
    privates = _objects(session, ObjectClass.PRIVATE_KEY, Pkcs11Uri(object=key.label, id=publics[0][Attribute.ID]))
    if len(privates) > 1:
        raise _mixed(key.label, f"{len(privates)} private keys")
    for one in (*privates, *publics):
        one.destroy()


def _objects(session: pkcs11.Session, kind: ObjectClass, where: Pkcs11Uri) -> list[Any]:
    wanted: dict[Attribute, Any] = {Attribute.CLASS: kind}
    if where.object is not None:
        wanted[Attribute.LABEL] = where.object
    if where.id is not None:
        wanted[Attribute.ID] = where.id
    return list(session.get_objects(wanted))


def _label(public: Any) -> str:
    try:
        return str(public[Attribute.LABEL])
    except UnicodeDecodeError:
        return ""  # UTF-8 by the standard, Latin-1 on many a token: nobody's of ours


def _refuse_idle(label: str, private: Any) -> None:
    if not private[Attribute.SIGN]:
        raise KeyStoreError(f"the key {label} on the token may not sign", help="name a key that was made for signing")


def _wants_pin(private: Any) -> bool:
    try:
        return bool(private[Attribute.ALWAYS_AUTHENTICATE])
    except p11.AttributeTypeInvalid:
        return False  # a token older than PKCS #11 2.20


def _facts(label: str, public: Any) -> KeyFacts:
    try:
        spki = _spki(public)
        alg = x509_keys.alg_of_spki(spki)
        x509_keys.load_spki(spki)
    except ValueError as error:
        raise KeyStoreError(
            f"the key {label} on the token is none that we use: {error}",
            help=f"use one of {' '.join(x509_keys.ALGORITHMS)}",
        ) from error
    return KeyFacts(label, alg, spki)


def _spki(public: Any) -> bytes:
    kind = public[Attribute.KEY_TYPE]
    if kind == KeyType.RSA:
        numbers = (int.from_bytes(public[one], "big") for one in (Attribute.PUBLIC_EXPONENT, Attribute.MODULUS))
        return x509_keys.spki(RSAPublicNumbers(*numbers).public_key())
    if kind not in (KeyType.EC, KeyType.EC_EDWARDS):
        raise ValueError("neither RSA, nor of an elliptic curve")
    alg = _ALGS.get(bytes(public[Attribute.EC_PARAMS]))
    if alg is None:
        raise ValueError("of another curve")
    header, size = x509_keys.spki_form(alg)
    point = bytes(public[Attribute.EC_POINT])
    # An OCTET STRING around the point by the standard, the point alone on some tokens.
    return header + (point if len(point) == size - len(header) else der.only(point, der.OCTET_STRING))


def _mixed(label: str, what: str) -> KeyStoreError:
    return KeyStoreError(
        f"the token holds {what} for {label}",
        help="`pkcs11-tool --list-objects --login` shows them; remove the other one, or say which is meant: keys ="
        f' {{ "{label}" = "pkcs11:id=..." }}',
    )
