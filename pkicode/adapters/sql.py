"""The state store's statements, in the common subset of SQLite and PostgreSQL, and what it means if one does nothing.

Placeholders are `$n`; an adapter rewrites them if its database wants another form.  Nothing here talks to a database.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any

from attrs import fields, frozen

from pkicode.model.address import Address
from pkicode.model.problem import StateError
from pkicode.model.row import Held
from pkicode.ports import Archive, Artefact, Audited, Blocked, Certificate, Lease, Match, Published, Revocation

SCHEMA = 3
"""Rises with each migration; a state with a higher number was made by a newer pkicode."""


@frozen
class NewState:
    """What a state is created with.  For one that exists: the project and env it must be of."""

    project: str
    env: str
    lineage: str
    """Random, drawn by the caller."""
    at: int


def migrations() -> tuple[str, ...]:
    """The scripts that lead from nothing to SCHEMA, one for each version."""
    # It brings zipfile and tempfile, and a state that is up to date needs no script.
    from importlib.resources import files

    scripts = files("pkicode.adapters")
    return tuple(scripts.joinpath(name).read_text("utf-8") for name in ("schema.sql", "schema2.sql", "schema3.sql"))


OWN_FACTS = frozenset({"project", "env", "lineage", "schema", "created", "sequence", "head"})
"""What meta holds of the state itself; no commit writes these."""


def first_facts(new: NewState) -> dict[str, str]:
    """OWN_FACTS of a new state."""
    return {
        "schema": str(SCHEMA),
        "project": new.project,
        "env": new.env,
        "lineage": new.lineage,
        "created": str(new.at),
        "sequence": "0",
        "head": genesis(new.project, new.env, new.lineage),
    }


class Altered(StateError):
    """Somebody planted what acts by itself: a revocation would be told as made and be gone."""


def altered(place: object, what: str) -> Altered:
    """Of a trigger, say, or a view in the place of a table."""
    return Altered(
        f"the state {place} was altered: the {what} is in it, which no pkicode makes",
        help="`pkicode state verify` names all that does not belong; find out who wrote it, and DROP it",
    )


def expect(place: object, facts: Mapping[str, str], wanted: NewState | None) -> None:
    """Refuse a state of a newer pkicode, or of another project or env than wanted."""
    schema = facts.get("schema", "")
    if not schema.isdecimal() or not facts.keys() >= {"project", "env", "lineage", "sequence", "head"}:
        raise StateError(f"{place} is a database, but not a pkicode state", help="point [state] url elsewhere")
    if int(schema) > SCHEMA:
        raise StateError(
            f"the state {place} has schema {schema}; this pkicode knows {SCHEMA}",
            help="upgrade pkicode on this machine",
        )
    for word in ("project", "env") if wanted else ():
        asked = getattr(wanted, word)
        if facts[word] != asked:
            raise StateError(
                f"the state {place} is of {word} `{facts[word]}`, not `{asked}`",
                help="choose the --env, [project] name or [state] url that belong together",
            )


def _columns(row: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(row))


def _marks(count: int) -> str:
    return ", ".join(f"${number}" for number in range(1, count + 1))


AT_ONCE = 250
"""How many values a statement looks for; always as many, so that it is compiled once."""


def _among(select: str, column: str) -> str:
    """Rows whose column is among the first AT_ONCE values."""
    return f"{select} WHERE {column} IN ({_marks(AT_ONCE)})"


def _rest(number: int) -> str:
    """The placeholders behind those of _among."""
    return f"${AT_ONCE + number}"


_HELD = "kind, name, key, generation, template, vals, due, needs, status, version"
_CERTIFICATE = _columns(Certificate)
SERIAL = _CERTIFICATE.index("serial")
_ARTEFACT = "kind, name, scope, number, this_update, next_update, sha256"
_LEASE = ", ".join(_columns(Lease))
_REVOCATION = ", ".join(_columns(Revocation))
_BLOCKED = ", ".join(_columns(Blocked))
_MATCH = ", ".join(_columns(Match))
_EVENT = ", ".join(_columns(Audited))
_ARCHIVE = ", ".join(_columns(Archive))
_ROW = "kind = $1 AND name = $2 AND key = $3 AND generation = $4"

# ruff: noqa: S608 - these texts are joined from column names of ours; every value is a placeholder.

META = "SELECT key, value FROM meta"
META_PUT = "INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value"

TEMPLATES = "SELECT id, body FROM templates"
TEMPLATE_FIND = "SELECT id FROM templates WHERE digest = $1"
TEMPLATE_ADD = "INSERT INTO templates (digest, body) VALUES ($1, $2)"

HELD = f"SELECT {_HELD} FROM resources"
HELD_OF_KIND = f"{HELD} WHERE kind = $1"
HELD_OF = f"{HELD_OF_KIND} AND name = $2"
HELD_ADD = f"INSERT INTO resources ({_HELD}, record) VALUES ({_marks(11)}) ON CONFLICT DO NOTHING"
# A CA keeps a row per key generation; the one row of anything else moves on to its next generation.
HELD_PUT = (
    "UPDATE resources SET generation = $4, template = $5, vals = $6, due = $7, needs = $8, status = $9, version = $10,"
    " record = $11 WHERE kind = $1 AND name = $2 AND key = $3 AND version = $10 - 1"
    " AND (generation = $4 OR kind <> 'ca')"
)
HELD_DROP = f"DELETE FROM resources WHERE {_ROW} AND version = $5"
_RECORD = "SELECT key, generation, record FROM resources"
RECORDS = f"{_RECORD} WHERE kind = $1 AND name = $2"
RECORDS_OF = f"{_among(_RECORD, 'key')} AND kind = {_rest(1)} AND name = {_rest(2)}"
AUTHORITIES = "SELECT name, generation, record FROM resources WHERE kind = 'ca'"

CERTIFICATE_ADD = f"INSERT INTO certificates ({', '.join(_CERTIFICATE)}) VALUES ({_marks(len(_CERTIFICATE))})"
SERIALS_TAKEN = _among("SELECT issuer_key, serial, issuer_dn FROM certificates", "serial")
INTENTS = f"SELECT {', '.join(_CERTIFICATE)} FROM certificates WHERE status = 'intent' ORDER BY id"
OWN = "address = 'ca.' || ca AND generation = ca_generation"
"""A root's certificate of itself, which is nobody's issuer's business."""
LIVING = (
    "SELECT ca, ca_generation, count(*) FROM certificates WHERE ca <> '' AND status IN ('issued', 'unknown')"
    f" AND not_after >= $1 AND NOT ({OWN}) GROUP BY ca, ca_generation"
)
ENDS = (
    "SELECT ca, ca_generation, max(leaf), max(anything) FROM ("
    "SELECT ca, ca_generation, max(CASE WHEN address LIKE 'ca.%' THEN 0 ELSE not_after END) AS leaf,"
    " max(not_after) AS anything FROM certificates WHERE ca <> '' AND status <> 'aborted'"
    f" AND address NOT LIKE 'ocsp.%' AND NOT ({OWN}) GROUP BY ca, ca_generation UNION ALL"
    " SELECT ca, ca_generation, max(ended), max(ended) FROM archives WHERE ended <> 0 AND ca <> ''"
    " GROUP BY ca, ca_generation"
    ") AS told GROUP BY ca, ca_generation"
)
DUTIES = (
    "SELECT DISTINCT duty FROM certificates WHERE ca = $1 AND ca_generation = $2 AND not_after >= $3"
    " AND status <> 'aborted'"
)
DUTY = _among("SELECT issuer_key, serial, duty FROM certificates", "serial")
# Counted in the index alone; what is still an intent is not owed an answer, and will be counted once it is settled.
SIGNED = (
    "SELECT ca, ca_generation, CAST(sum(found) AS bigint) FROM ("
    "SELECT ca, ca_generation, count(*) AS found FROM certificates GROUP BY ca, ca_generation UNION ALL"
    " SELECT ca, ca_generation, -count(*) FROM certificates WHERE status = 'intent' GROUP BY ca, ca_generation"
    " UNION ALL"
    " SELECT ca, ca_generation, sum(certificates) FROM archives GROUP BY ca, ca_generation"
    ") AS counted GROUP BY ca, ca_generation"
)
ANSWERABLE = (
    "SELECT serial FROM certificates WHERE ca = $2 AND ca_generation = $3 AND issuer_key = $1 AND not_after >= $4"
    " AND status IN ('issued', 'unknown', 'revoked') ORDER BY length(serial), serial"
)
DER = f"{_among('SELECT issuer_key, serial, der FROM certificates', 'serial')} AND sha256 <> ''"
SETTLE = (
    "UPDATE certificates SET status = $3, sha256 = $4, der = COALESCE($5, der)"
    " WHERE issuer_key = $1 AND serial = $2 AND status = 'intent'"
)
READDRESS = "UPDATE certificates SET address = $2 WHERE address = $1"
OWNERS = (
    f"{_among('SELECT spki, address FROM certificates', 'spki')}"
    f" AND (not_after >= {_rest(1)} OR address LIKE 'ca.%') AND status <> 'aborted'"
)
OPEN = f"{_among('SELECT issuer_key, serial FROM certificates', 'serial')} AND status = 'intent'"
REVOKE = (
    f"INSERT INTO revocations ({_REVOCATION}) VALUES ({_marks(7)}) ON CONFLICT (issuer_key, serial) DO UPDATE"
    # The date and what asked for it first stay; a known compromise is the only thing worth saying later.
    " SET reason = excluded.reason, invalidity = COALESCE(excluded.invalidity, revocations.invalidity)"
    " WHERE excluded.reason = 'keyCompromise' AND revocations.reason <> 'keyCompromise'"
)
MARK_REVOKED = (
    "UPDATE certificates SET status = 'revoked', revoked_at = r.revoked_at, revocation_reason = r.reason"
    " FROM revocations AS r WHERE r.issuer_key = $1 AND r.serial = $2 AND certificates.issuer_key = $1"
    " AND certificates.serial = $2 AND certificates.status IN ('issued', 'unknown', 'revoked')"
)
# Hexadecimal without leading zeros sorts as a number by length first.
REVOCATIONS = f"SELECT {_REVOCATION} FROM revocations WHERE issuer_key = $1 ORDER BY length(serial), serial"
REVOCATIONS_OF = f"{_among(f'SELECT {_REVOCATION} FROM revocations', 'serial')} AND issuer_key = {_rest(1)}"
# A reason that was upgraded counts once more: the list that says so differs from the one before.
_WEIGHT = "CASE WHEN reason = 'keyCompromise' THEN 2 ELSE 1 END"
REVOKED = (
    "SELECT issuer_key, CAST(sum(found) AS bigint) FROM ("
    f"SELECT issuer_key, sum({_WEIGHT}) AS found FROM revocations GROUP BY issuer_key UNION ALL"
    " SELECT issuer_key, sum(revoked) FROM archives GROUP BY issuer_key"
    ") AS counted WHERE found > 0 GROUP BY issuer_key"
)
MATCHES = f"SELECT {_MATCH} FROM matches"
ARCHIVES = f"SELECT {_ARCHIVE} FROM archives ORDER BY file, issuer_key, ca, ca_generation"
ARCHIVE_ADD = f"INSERT INTO archives ({_ARCHIVE}) VALUES ({_marks(len(_columns(Archive)))})"
MATCH_DROP = "DELETE FROM matches WHERE entry = $1 AND issuer_key = $2 AND serial = $3"
REVOCATION_DROP = "DELETE FROM revocations WHERE issuer_key = $1 AND serial = $2"
# What is deleted is what was written to the file: a row that changed since, or has not ended, stays where it is.
CERTIFICATE_DROP = (
    "DELETE FROM certificates WHERE issuer_key = $1 AND serial = $2 AND status = $3 AND sha256 = $4 AND address = $5"
    " AND not_after < $6 AND status <> 'intent'"
)
BLOCK = f"INSERT INTO blocked ({_BLOCKED}) VALUES ({_marks(4)}) ON CONFLICT (spki) DO NOTHING"
BLOCKED = f"SELECT {_BLOCKED} FROM blocked"
ANY_BLOCKED = "SELECT 1 FROM blocked LIMIT 1"
BLOCKED_OF = _among(BLOCKED, "spki")
MATCH = (
    f"INSERT INTO matches ({_MATCH}) VALUES ({_marks(5)}) ON CONFLICT (entry, issuer_key, serial) DO UPDATE"
    " SET reason = excluded.reason"
)
ENTRIES = (
    "SELECT entry, max(not_after) FROM (SELECT m.entry, r.not_after FROM matches AS m JOIN revocations AS r"
    " ON r.issuer_key = m.issuer_key AND r.serial = m.serial UNION ALL SELECT entry, 0 FROM blocked) AS told"
    " GROUP BY entry"
)

ARTEFACTS = f"SELECT {_ARTEFACT}, NULL FROM artefacts"
ARTEFACT = f"SELECT {_ARTEFACT}, der FROM artefacts WHERE kind = $1 AND name = $2 AND scope = $3"
ARTEFACT_PUT = (
    f"INSERT INTO artefacts ({_ARTEFACT}, der) VALUES ({_marks(8)}) ON CONFLICT (kind, name, scope) DO UPDATE"
    " SET number = excluded.number, this_update = excluded.this_update, next_update = excluded.next_update,"
    " sha256 = excluded.sha256, der = excluded.der"
    " WHERE (length(excluded.number), excluded.number) > (length(artefacts.number), artefacts.number)"
)

PUBLISHED = "SELECT target, path, sha256, at FROM published WHERE sha256 <> ''"
PUBLISHED_PUT = (
    "INSERT INTO published (target, path, sha256, at) VALUES ($1, $2, $3, $4) ON CONFLICT (target, path) DO UPDATE"
    " SET sha256 = excluded.sha256, at = excluded.at"
)

LEASES = f"SELECT {_LEASE} FROM leases WHERE expires <> 0 ORDER BY name"
LEASE = f"SELECT {_LEASE} FROM leases WHERE name = $1"
LEASE_PUT = (
    f"INSERT INTO leases ({_LEASE}) VALUES ({_marks(7)}) ON CONFLICT (name) DO UPDATE SET holder = excluded.holder,"
    " host = excluded.host, pid = excluded.pid, epoch = excluded.epoch, heartbeat = excluded.heartbeat,"
    " expires = excluded.expires"
)
LEASE_RENEW = "UPDATE leases SET heartbeat = $3, expires = $4 WHERE name = $1 AND epoch = $2 AND expires <> 0"
LEASE_DROP = "UPDATE leases SET expires = 0 WHERE name = $1 AND epoch = $2"

NEWEST = "SELECT at FROM events ORDER BY sequence DESC LIMIT 1"
EVENT_ADD = f"INSERT INTO events ({_EVENT}) VALUES ({_marks(8)})"
EVENTS = f"SELECT {_EVENT} FROM events WHERE sequence > $1 ORDER BY sequence LIMIT $2"

held_values = attrgetter(*_columns(Held))
certificate_values = attrgetter(*_CERTIFICATE)
settlement_values = attrgetter("issuer_key", "serial", "status", "sha256", "der")
revocation_values = attrgetter(*_columns(Revocation))
blocked_values = attrgetter(*_columns(Blocked))
match_values = attrgetter(*_columns(Match))
artefact_values = attrgetter(*_columns(Artefact))
published_values = attrgetter(*_columns(Published))
lease_values = attrgetter(*_columns(Lease))
audited_values = attrgetter(*_columns(Audited))
archive_values = attrgetter(*_columns(Archive))
archived_values = attrgetter("issuer_key", "serial", "status", "sha256", "address")


def held(rows: Iterable[Sequence[Any]]) -> list[Held]:
    """The rows of HELD.  Words that most of them share are kept once: 100,000 rows in half the memory."""
    shared: dict[str, str] = {}
    one = shared.setdefault
    return [
        Held(one(kind, kind), one(name, name), key, generation, template, vals, due, one(needs, needs),
             one(status, status), version)
        for kind, name, key, generation, template, vals, due, needs, status, version in rows
    ]  # fmt: skip


def clash(entering: Sequence[tuple[Any, ...]], there: Sequence[tuple[str, str, bytes]]) -> tuple[Any, ...] | None:
    """The first of these certificates whose serial its issuer's key or its issuer's name has given already."""
    if not there and len({row[SERIAL] for row in entering}) == len(entering):
        return None
    keys, names = {(key, serial) for key, serial, _ in there}, {(name, serial) for _, serial, name in there}
    for row in entering:
        key, serial, name = row[:3]
        if (key, serial) in keys or (name, serial) in names:
            return row
        keys.add((key, serial))
        names.add((name, serial))
    return None


def taken(issuer_key: str, serial: str, *_: object) -> StateError:
    return StateError(
        f"serial {serial} of the issuer key {issuer_key[:16]}... is taken; nothing was written",
        help="draw another serial; an import that is already there needs none",
    )


def not_an_intent(issuer_key: str, serial: str, *_: object) -> StateError:
    return StateError(
        f"serial {serial} of the issuer key {issuer_key[:16]}... is not an open intent; nothing was written",
        help="it was settled already or never reserved: read the inventory before trying again",
    )


def changed(kind: str, name: str, key: str, generation: int, *_: object) -> StateError:
    return StateError(
        f"{Address(kind, name, key).at(generation)} is not what it was when this was planned; nothing was written",
        help="somebody else wrote meanwhile: plan again",
    )


def number_fell(kind: str, name: str, scope: str, number: str, *_: object) -> StateError:
    scoped = f" {scope}" if scope else ""
    return StateError(
        f"the {kind} {name}{scoped} has the number {number} or a higher one already; nothing was written",
        help="numbers only rise: read the newest list before signing the next",
    )


def stays(issuer_key: str, serial: str, *_: object) -> StateError:
    return StateError(
        f"certificate {serial} of the issuer key {issuer_key[:16]}... is not what was archived; nothing was removed",
        help="somebody else wrote meanwhile: run it again",
    )


def genesis(project: str, env: str, lineage: str) -> str:
    """What the first audit event follows on, hex: a chain is good for one state only."""
    return hashlib.sha256(_canonical([project, env, lineage])).hexdigest()


def link(prev: str, sequence: int, at: int, actor: str, action: str, subject: str, detail: str) -> str:
    """The hash of an audit event, hex: sha256 of the hash before it and the canonical JSON of what it says."""
    rest = {"sequence": sequence, "at": at, "actor": actor, "action": action, "subject": subject, "detail": detail}
    return hashlib.sha256(bytes.fromhex(prev) + _canonical(rest)).hexdigest()


def digest(template: str) -> str:
    """By which a template is found again, hex."""
    return hashlib.sha256(template.encode()).hexdigest()


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
