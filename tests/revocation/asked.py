"""A CA with a delegate and leaves, made in memory, for tests of requests, answers and packs."""

from functools import cache
from pathlib import Path

from attrs import frozen
from cryptography import x509

from pkicode.model.instants import DAY
from pkicode.model.names import SanType
from pkicode.revocation import pack
from pkicode.revocation.ocsp_response import GOOD, Standing
from pkicode.revocation.presign import Due, presign
from pkicode.x509 import keys, names
from pkicode.x509.pem import encode
from pkicode.x509.profile import Profile
from pkicode.x509.tbs import IssuerFacts, certificate, facts_of, form, self_issued

NOW = 1_795_424_400
"""2026-11-23T09:00:00Z."""
LEAF = 1 << 158 | 5
GONE = Standing(NOW - DAY, "keyCompromise")


@frozen
class Ca:
    """One CA key with a delegate."""

    key: keys.PrivateKey
    delegate: keys.PrivateKey
    maker: pack.Maker

    @property
    def issuer(self) -> IssuerFacts:
        return facts_of(self.maker.ca)

    def issue(self, profile: Profile, serial: int, key: keys.PrivateKey, name: str) -> bytes:
        return _issue(self.issuer, self.key, profile, serial, keys.spki(key), name)

    def leaf(self, serial: int = LEAF) -> bytes:
        return self.issue(Profile(eku=("serverAuth",)), serial, leaf_key(), "host.corp.example")

    def due(self, serial: int = LEAF, standing: Standing = GOOD) -> Due:
        return Due(serial, standing, self.leaf(serial))

    def packed(self, *due: Due, made: int = NOW, validity: int = 4 * DAY) -> bytes:
        """A pack of these answers."""
        records = presign(
            self.maker, keys.pkcs8(self.delegate), sorted(due, key=lambda one: one.serial), made, made + validity
        )
        body = pack.unsigned(self.maker, [one for one in records if one], made=made)
        return pack.signed(body, keys.sign(self.delegate, pack.to_sign(body)))

    def write(self, folder: Path) -> Path:
        """ca.pem and leaf.pem, as clients want them."""
        for file, der in (("ca", self.maker.ca), ("leaf", self.leaf())):
            (folder / f"{file}.pem").write_bytes(encode("CERTIFICATE", der))
        return folder


@cache
def leaf_key() -> keys.PrivateKey:
    return keys.generate("ec-p256")


@cache
def ca(name: str = "Corp CA", alg: str = "ec-p256") -> Ca:
    key, delegate = keys.generate(alg), keys.generate("ec-p256")
    issuer = self_issued(names.subject_der((("o", "Corp"), ("cn", name))), keys.spki(key))
    root = _issue(issuer, key, Profile(is_ca=True, usage=("keyCertSign", "cRLSign")), 1, issuer.spki, name)
    by = _issue(issuer, key, Profile(eku=("OCSPSigning",), ocsp_nocheck=True), 2, keys.spki(delegate), "OCSP")
    return Ca(key, delegate, pack.Maker("corp-g1", root, by))


def _issue(issuer: IssuerFacts, key: keys.PrivateKey, profile: Profile, serial: int, spki: bytes, name: str) -> bytes:
    tbs = form(profile, issuer).tbs(
        serial=serial,
        not_before=NOW - DAY,
        not_after=NOW + 29 * DAY,
        subject=issuer.dn if profile.is_ca else names.subject_der((("cn", name),)),
        spki=spki,
        sans=((SanType.DNS, name),) if "serverAuth" in profile.eku else (),
    )
    return certificate(tbs, issuer.alg, keys.sign(key, tbs))


def load(der: bytes) -> x509.Certificate:
    return x509.load_der_x509_certificate(der)
