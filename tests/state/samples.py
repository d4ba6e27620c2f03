"""Rows to put into a store."""

import hashlib
from typing import Any

from attrs import evolve

from pkicode.adapters.sql import NewState
from pkicode.model.row import Held
from pkicode.ports import Artefact, Certificate, Revocation, Settlement, Write

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
    der = b"crl " + number.encode()
    return evolve(Artefact("crl", "issuing-g1", "", number, NOW, NOW + 100, sha(der), der), **changes)


def write(**changes: Any) -> Write:
    return evolve(Write(at=NOW, actor="alice", action="issue.intent", subject="cert.fleet"), **changes)
