"""Rows to put into a store."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

from attrs import evolve
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from pkicode.adapters.sql import NewState
from pkicode.model.row import Held
from pkicode.ports import Artefact, Certificate, Revocation, Settlement, Write
from pkicode.x509 import der, keys, san_list
from pkicode.x509.extensions import subject_alt_name
from pkicode.x509.names import subject_der, subject_from_text

NOW = 1_795_428_000
NEW = NewState(project="corp", env="default", lineage="5f0c2a", at=NOW)
ISSUER = hashlib.sha256(b"issuer key").hexdigest()


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def certificate(number: int, **changes: Any) -> Certificate:
    """An intent; serials are small and distinct."""
    row = Certificate(
        issuer_key=ISSUER,
        serial=f"{number + 0x1000:x}",
        issuer_dn=b"0\x10issuing",
        status="intent",
        address=f'cert.fleet["{number}"]',
        generation=1,
        ca="issuing",
        ca_generation=1,
        profile="server",
        subject=f"CN=h{number}",
        sans=f'["dns:h{number}.corp.example"]',
        not_before=NOW,
        not_after=NOW + 1000 + number,
        key_alg="ec-p256",
        key_label=f'cert.fleet["{number}"]@1',
        spki=sha(b"spki %d" % number),
        sha256="",
        der=b"tbs %d" % number,
        plan_id="p1",
        reason="new",
        session="s1",
        created=NOW,
        duty="[]",
    )
    return evolve(row, **changes)


def draft(number: int, *, key: bytes = b"\1", **changes: Any) -> Certificate:
    """One with as much of a TBSCertificate as the inventory repeats, of a CA that the state does not have."""
    changes = {"ca": "", "ca_generation": 0, **changes}
    row, (header, size) = certificate(number, **changes), keys.spki_form("ed25519")
    spki, name = header + key.ljust(size - len(header), b"\1"), b"\x30\x02\x05\x00"
    sans = san_list.read(row.sans)
    tbs = der.tlv(
        der.SEQUENCE,
        der.integer(int(row.serial, 16)),
        der.tlv(der.SEQUENCE),
        name,
        der.tlv(der.SEQUENCE, *map(der.utc_or_generalized, (row.not_before, row.not_after))),
        subject_der(subject_from_text(row.subject)),
        spki,
        der.tlv(0xA3, der.tlv(der.SEQUENCE, subject_alt_name(sans, critical=False) if sans else b"")),
    )
    return evolve(row, der=tbs, issuer_dn=name, spki=keys.digest(spki), key_alg="ed25519")


def held(key: str, template: int, **changes: Any) -> Held:
    row = Held("cert", "fleet", key, 1, template, '["x"]', NOW + 500, "ca.issuing@1", "ok", 0)
    return evolve(row, **changes)


def settled(row: Certificate, status: str = "issued") -> Settlement:
    if status != "issued":
        return Settlement(row.issuer_key, row.serial, status)
    der = b"certificate " + row.der
    return Settlement(row.issuer_key, row.serial, status, sha(der), der)


def revocation(serial: str, **changes: Any) -> Revocation:
    return evolve(Revocation(ISSUER, serial, NOW + 5, "superseded", NOW + 1000, "removed"), **changes)


def crl(number: str, **changes: Any) -> Artefact:
    """As cryptography makes it, of a CA that the state does not have; the same bytes for the same number."""
    since = datetime.fromtimestamp(NOW, UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "issuing")])
    builder = x509.CertificateRevocationListBuilder(name, since, since + timedelta(seconds=100))
    builder = builder.add_extension(x509.CRLNumber(int(number, 16)), critical=False)
    builder = builder.add_extension(x509.AuthorityKeyIdentifier(b"id", None, None), critical=False)
    der = builder.sign(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)), None).public_bytes(Encoding.DER)
    return evolve(Artefact("crl", "issuing-g1", "", number, NOW, NOW + 100, sha(der), der), **changes)


def write(**changes: Any) -> Write:
    return evolve(Write(at=NOW, actor="alice", action="issue.intent", subject="cert.fleet"), **changes)
