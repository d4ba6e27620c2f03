"""Small PKIs for the tests of this room, made by the code under test."""

from typing import Any

from attrs import field, frozen

from pkicode.model.names import Sans
from pkicode.x509 import keys, names, tbs
from pkicode.x509.profile import Profile

NOW = 1_795_000_000
DAY = 86400
CA = ("keyCertSign", "cRLSign")


@frozen
class Made:
    """A certificate with its key, ready to sign others."""

    der: bytes
    tbs: bytes
    key: Any = field(repr=False)
    facts: tbs.IssuerFacts
    subject: tuple[tuple[str, str], ...]


def make(
    profile: Profile,
    *,
    cn: str,
    issuer: Made | None = None,
    alg: str = "ec-p256",
    sans: Sans = (),
    serial: int = 1 << 158,
    begins: int = NOW,
    ends: int = NOW + 30 * DAY,
    subject: tuple[tuple[str, str], ...] | None = None,
) -> Made:
    """Issue one; without an issuer it signs itself."""
    key = keys.generate(alg)
    name = names.subject([("cn", cn)] if subject is None else subject)
    dn, spki = names.subject_der(name), keys.spki(key)
    facts = tbs.self_issued(dn, spki)
    by = issuer.facts if issuer else facts
    body = tbs.form(profile, by, alg).tbs(
        serial=serial, not_before=begins, not_after=ends, subject=dn, spki=spki, sans=sans
    )
    signature = keys.sign(issuer.key if issuer else key, body)
    return Made(tbs.certificate(body, by.alg, signature), body, key, facts, name)
