"""Chains as a target would present them, and what to judge them by."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from pkicode.scanner.finding import Endpoint, Finding, Presented, Target
from pkicode.scanner.pki import Means, judge
from pkicode.scanner.trust import TrustStore, trust_store
from pkicode.x509 import keys, names, pem, tbs
from pkicode.x509.profile import Profile
from tests.x509.pki import CA, DAY, NOW, Made, make

HOST = "portal.corp.example"
SERVER = Profile(eku=("serverAuth",))
TARGET = Target(HOST, "192.0.2.7", 443, "", HOST)


@cache
def root(alg: str = "ec-p256") -> Made:
    return make(Profile(is_ca=True, usage=CA), cn=f"Root {alg}", alg=alg, begins=NOW - DAY, ends=NOW + 3650 * DAY)


@cache
def issuing() -> Made:
    profile = Profile(is_ca=True, usage=CA, path_len=0)
    return make(profile, cn="Issuing", issuer=root(), begins=NOW - DAY, ends=NOW + 365 * DAY)


def again(made: Made, profile: Profile, *, cn: str, begins: int, ends: int) -> bytes:
    """Another certificate of root() for the same name and key."""
    by, dn, public = root(), names.subject_der(names.subject([("cn", cn)])), keys.spki(made.key)
    body = tbs.form(profile, by.facts, by.facts.alg).tbs(
        serial=77, not_before=begins, not_after=ends, subject=dn, spki=public, sans=()
    )
    return tbs.certificate(body, by.facts.alg, keys.sign(by.key, body))


def crossed(key: Any, subject: str, issuer: str, serial: int) -> bytes:
    """A CA's certificate where one key stands behind all names."""
    above, below = (names.subject_der(names.subject([("cn", one)])) for one in (issuer, subject))
    by, profile = tbs.self_issued(above, keys.spki(key)), Profile(is_ca=True, usage=CA)
    body = tbs.form(profile, by, by.alg).tbs(
        serial=serial, not_before=NOW - DAY, not_after=NOW + DAY, subject=below, spki=keys.spki(key), sans=()
    )
    return tbs.certificate(body, by.alg, keys.sign(key, body))


def leaf(issuer: Made | None = None, *, profile: Profile = SERVER, sans: Iterable[str] = (f"dns:{HOST}",), **more: Any):
    """A server's certificate of ca.issuing, unless another issuer is given."""
    listed = tuple(names.san(*one.split(":", 1)) for one in sans)
    times = {"begins": NOW - DAY, "ends": NOW + 90 * DAY, **more}
    return make(profile, cn="server", issuer=issuer or issuing(), sans=listed, **times)


def foreign(
    *,
    signed_by: Any = None,
    issuer_name: str = "Stranger",
    key: Any = None,
    digest: hashes.HashAlgorithm | None = None,
    sans: Iterable[x509.GeneralName] = (x509.DNSName(HOST),),
    extensions: Iterable[x509.ExtensionType] = (),
    subject: str = "Stranger",
) -> bytes:
    """A certificate with what ours never have, by another library."""
    own = key or keys.generate("ec-p256")
    start = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=NOW - DAY)
    made = (
        x509.CertificateBuilder(
            issuer_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer_name)]),
            subject_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]),
            public_key=own.public_key(), serial_number=7, not_valid_before=start,
            not_valid_after=start + timedelta(days=90),
        )
    )  # fmt: skip
    if listed := list(sans):
        made = made.add_extension(x509.SubjectAlternativeName(listed), critical=False)
    for one in extensions:
        made = made.add_extension(one, critical=False)
    signer = signed_by or own
    hashed = None if isinstance(signer, ed25519.Ed25519PrivateKey) else digest or hashes.SHA256()
    return made.sign(signer, hashed).public_bytes(Encoding.DER)


def sent(*chain: Made | bytes, slot: int = 0) -> tuple[Presented, ...]:
    ders = [one if isinstance(one, bytes) else one.der for one in chain]
    return tuple(Presented(slot, position, der) for position, der in enumerate(ders))


def store(*roots: Made | bytes, name: str = "own") -> TrustStore:
    ders = [one if isinstance(one, bytes) else one.der for one in roots]
    return trust_store(name, b"".join(pem.encode("CERTIFICATE", der) for der in ders))


def judged(
    *chain: Made | bytes, now: int = NOW, stores: Iterable[TrustStore] | None = None, target: Target = TARGET,
    more: tuple[Presented, ...] = (), **rest: Any,
) -> tuple[dict[str, Finding], list[str]]:  # fmt: skip
    """The findings by their check, and the reasons of the verdicts ("" is trusted)."""
    means = Means(now=now, stores=tuple(stores) if stores is not None else (store(root()),), **{
        name: rest.pop(name) for name in ("log_keys", "warn_expiry") if name in rest
    })  # fmt: skip
    endpoint = Endpoint(target, now, "tls", chains=sent(*chain) + more, **rest)
    findings, verdicts = judge(endpoint, means)
    return {one.check: one for one in findings}, [one.reason for one in verdicts]
