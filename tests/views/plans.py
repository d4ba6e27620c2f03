"""Plans made by hand: values, as the planner would give them."""

from collections.abc import Sequence

from pkicode.config.language import CaKeySpec, CaSpec, CertSpec, ForEach, NameConstraints
from pkicode.model.address import Address
from pkicode.model.change import Action, Change, Plan, Reason, ReasonCode
from pkicode.model.instants import DAY
from pkicode.model.row import Block, Row, Source

AT = 1795424400  # 2026-11-23T09:00:00Z


def block(kind: str, name: str, spec: object) -> Block:
    return Block(kind, name, spec, "{}", "0" * 64, Source("pki.toml", (kind, name)))


ROOT = block(
    "ca",
    "root",
    CaSpec(subject=(("cn", "Corp Root R${generation}"),), key=CaKeySpec("ec-p384", "hsm"), path_len=1, protect=True),
)
ISSUING = block(
    "ca",
    "issuing",
    CaSpec(issuer="root", subject=(("cn", "Corp A"),), name_constraints=NameConstraints(permit_dns=("corp.example",))),
)
PORTAL = block("cert", "portal", CertSpec("server", "issuing", dns=("portal.corp.example", "www.corp.example")))
MESH = block("cert", "mesh", CertSpec("mtls", "issuing", validity=30 * DAY, for_each=ForEach(values=("a", "b"))))
FLEET = block("cert", "fleet", CertSpec("server", "issuing", dns=("${each.fqdn}",), for_each=ForEach(csv="fleet.csv")))


def change(of: Block, action: Action = Action.ISSUE, key: str = "", **more: object) -> Change:
    values = {"generation": 1, "reasons": (Reason(ReasonCode.NEW),), "row": Row(key, "[]"), **more}
    return Change(Address(of.kind, of.name, key), action, block=of, **values)


def crl(name: str = "issuing", **more: object) -> Change:
    values = {"generation": 1, "reasons": (Reason(ReasonCode.CRL_CONTENT),), "after": {"number": 1}, **more}
    return Change(Address("crl", name), Action.SIGN, **values)


def plan_of(changes: Sequence[Change], **more: object) -> Plan:
    values = {
        "project": "corp-pki",
        "at": AT,
        "expires_at": AT + DAY,
        "env": "default",
        "lineage": "",
        "sequence": 0,
        "inputs": (("pki.toml", "sha256:00"),),
        "scope": ((), ()),
        "next_due": AT + DAY,
        **more,
    }
    return Plan(changes=tuple(changes), **values)


def leaf(profile: str, validity: str, *sans: str) -> dict[str, object]:
    """What the cert kind says a new certificate will be."""
    return {"profile": profile, "validity": validity, "sans": list(sans)}


def first_plan(fleet: int = 98) -> Plan:
    """What the first plan of a small company looks like."""
    root = {"subject": "CN=Corp Root R1", "key_alg": "ec-p384", "keystore": "hsm", "validity": "20y", "path_len": 1}
    issuing = {"subject": "CN=Corp A", "key_alg": "ec-p256", "validity": "5y", "path_len": None, "issuer": "ca.root"}
    portal = leaf("server", "90d", "dns:portal.corp.example", "dns:www.corp.example", "ip:10.0.0.1")
    mesh, hosts = leaf("mtls", "30d"), leaf("server", "90d")
    changes = [
        change(ROOT, irreversible=True, after={**root, "protect": True}),
        change(ISSUING, irreversible=True, depends_on=("ca.root",), after={**issuing, "protect": False}),
        change(PORTAL, irreversible=True, after=portal),
        *(change(MESH, key=key, after=mesh) for key in ("api.eu", "billing.eu")),
        *(change(FLEET, key=f"h{n}", row=Row(f"h{n}", "[]", n + 2), after=hosts) for n in range(fleet)),
        crl(),
    ]
    return plan_of(changes, declared=fleet + 3)


HOSTILE = "\x1b[31mred\u202e</pre><script>alert(1)</script>```\n::error::x\x00 =cmd|'/c calc'!A1"
"""A key that attacks a terminal, a page, a comment, a log and a spreadsheet at once."""
