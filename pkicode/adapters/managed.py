"""What resource rows stand for, held against the inventory: the certificate of each row, the CA of each certificate."""

import base64
import hashlib
import json
import sqlite3
from collections.abc import Iterator

from pkicode.adapters.agreement import issuers
from pkicode.adapters.sql import OWN
from pkicode.model.address import Address
from pkicode.model.counted import counted
from pkicode.x509.tbs import facts_of


def rows(connection: sqlite3.Connection) -> Iterator[str]:
    """Every row whose certificate the inventory has not, has under another address, or tells otherwise of.

    Plans go on from rows, and `revoke` looks in the inventory for what bears an address.
    """
    there = (
        "SELECT sha256, ca, ca_generation, issuer_key, key_label, not_after, not_before, serial FROM certificates"
        " WHERE address = ? AND generation = ?"
    )
    for kind, name, key, generation, due, status, record in connection.execute(
        "SELECT kind, name, key, generation, due, status, record FROM resources"
        " WHERE (kind IN ('ca', 'cert') OR kind = 'ocsp' AND key <> '') AND status <> 'forgotten'"
    ):
        address = Address(kind, name, key)
        told = _told(kind, record)
        if not told:
            if kind != "ca":  # told by agreement.py
                yield f"the record of {address.at(generation)} cannot be read"
            continue
        found = {row[0]: row for row in connection.execute(there, (str(address), generation))}
        row = found.get(told["sha256"])
        if row is None:
            yield f"{address.at(generation)}: its certificate is not in the inventory, or not under this address"
        elif kind == "cert":
            said = dict(zip(("sha256", "issuer", *_SAME), (row[0], [*row[1:3]], *row[3:]), strict=True))
            if not said.items() <= told.items():
                yield f"{address.at(generation)}: its record differs from the inventory"
            if status == "ok" and due > said["not_after"]:
                yield f"{address.at(generation)}: it would be renewed after its certificate has ended"


_SAME = ("issuer_key", "key_label", "not_after", "not_before", "serial")
"""What a leaf's record has as the inventory has it."""


def _told(kind: str, record: str) -> dict[str, object]:
    """What a record says, with the sha256 of its certificate; nothing where it says none."""
    try:
        told = json.loads(record)
        if kind == "ca":
            content = base64.b64decode(told["der"], validate=True)
            facts_of(content)
            return {"sha256": hashlib.sha256(content).hexdigest()}
        return told if isinstance(told["sha256"], str) else {}
    except (ValueError, LookupError, TypeError, RecursionError):
        return {}


def cas(connection: sqlite3.Connection) -> Iterator[str]:
    """Every CA generation that signed something and has no row: its number would be given once more."""
    # A CA that only the journal knew, and whose key is gone, has none; what it signed was adopted as well.
    statement = (
        "SELECT DISTINCT issuer_key, ca, ca_generation FROM certificates AS c"  # noqa: S608 - a condition of ours
        f" WHERE ca <> '' AND reason <> 'adopted' AND NOT ({OWN}) AND NOT EXISTS (SELECT 1 FROM resources AS r"
        " WHERE r.kind = 'ca' AND r.name = c.ca AND r.generation = c.ca_generation)"
    )
    known = {one.key for one in issuers(connection)}
    for key, ca, generation in connection.execute(statement):
        if key not in known:  # told by agreement.py, as those of another name
            yield f"{Address('ca', ca).at(generation)}: certificates say that it signed them, and its row is gone"


def adopted(connection: sqlite3.Connection) -> Iterator[str]:
    """More rows that `state adopt` is said to have recorded than it told the audit of."""
    (listed,) = connection.execute("SELECT count(*) FROM certificates WHERE reason = 'adopted'").fetchone()
    told = 0
    for (detail,) in connection.execute("SELECT detail FROM events WHERE action = 'adopt'"):
        try:
            told += int(json.loads(detail)["count"])
        except (ValueError, LookupError, TypeError, RecursionError):  # told by the chain
            continue
    if listed > told:
        yield f"adopted: {counted(listed, 'certificate')} by the inventory, but {told} by the audit"
