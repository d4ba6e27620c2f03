"""What the state says of its lists, held against their bytes: CRLs (RFC 5280 section 5) and packs of OCSP answers.

Signature, number and dates, and that nothing in the inventory stands better than on the newest list.  That it lists all
it should is asked of no list: the next one does.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from typing import NamedTuple

from pkicode.adapters.agreement import Issuer, issuers
from pkicode.revocation import crl, pack
from pkicode.x509.keys import SignatureError

_COMPROMISE = "keyCompromise"

_SLACK = 300
"""By how much a list may be dated ahead of the event that tells of it: of two clocks one was behind."""


class _Said(NamedTuple):
    """Number, thisUpdate and nextUpdate; None for what the bytes do not say."""

    number: str | None
    this_update: int
    next_update: int | None


def lists(connection: sqlite3.Connection) -> Iterator[str]:
    """Every list that is not what was stored, or not what its row says."""
    cas = {f"{one.ca}-g{one.generation}": one for one in issuers(connection)}
    for kind, name, scope, number, this_update, next_update, sha256, content in connection.execute(
        "SELECT kind, name, scope, number, this_update, next_update, sha256, der FROM artefacts"
    ):
        subject, issuer = f"{kind} {name} {scope}".rstrip(), cas.get(name)
        if hashlib.sha256(content).hexdigest() != sha256:
            yield f"{subject}: its bytes are not those that were stored"
            continue
        try:
            said = _pack(content, issuer) if kind == "ocsp" else _crl(content, issuer)
        except (ValueError, SignatureError) as error:
            yield f"{subject}: its bytes are no list of its CA: {error}"
            continue
        for field, is_said, one in zip(_Said._fields, said, (number, this_update, next_update), strict=True):
            if is_said not in (None, one):
                yield f"{subject}: its {field} is not the one in its bytes"
        if kind == "crl" and issuer:
            yield from _taken_back(connection, subject, content, issuer)
    yield from _late(connection)


def _crl(content: bytes, issuer: Issuer | None) -> _Said:
    found = crl.read(content, limit=len(content))
    if issuer:
        crl.verify(content, issuer.facts)
    return _Said(f"{found.number:x}", found.this_update, found.next_update)


def _pack(content: bytes, issuer: Issuer | None) -> _Said:
    found = pack.read(content)
    if issuer and found.maker.issuer != issuer.facts:
        raise ValueError("it is another CA's")
    return _Said(None, found.made, min((pack.dates(one)[1] for one in found.raw()), default=None))


def _taken_back(connection: sqlite3.Connection, subject: str, content: bytes, issuer: Issuer) -> Iterator[str]:
    """What a list says of a certificate, and no state that it was signed from can.

    A later date, or a compromise that the state does not know, are left by an older state that was put back: the list's
    stands.  A compromise that the list does not know is told by the next one.
    """
    for one in crl.read(content, limit=len(content)).entries:
        key = issuer.key, f"{one.serial:x}"
        known = connection.execute(
            "SELECT revoked_at, reason FROM revocations WHERE issuer_key = ? AND serial = ?", key
        ).fetchone()
        if known is None:
            live = "SELECT address FROM certificates WHERE issuer_key = ? AND serial = ? AND status <> 'revoked'"
            for row in connection.execute(live, key):
                yield f"certificate {key[1]} ({row[0]}): {subject} says that it is revoked, and the state does not"
        elif known[0] < one.revoked_at or len({known[1], one.reason or "unspecified", _COMPROMISE}) == 3:
            yield f"the revocation of {key[1]}: {subject} gives another date or reason"


def _late(connection: sqlite3.Connection) -> Iterator[str]:
    """Lists that would be signed later than any apply can have meant."""
    (newest,) = connection.execute("SELECT max(at) FROM events").fetchone()
    for kind, name, key, due, body in connection.execute(
        "SELECT kind, name, key, due, body FROM resources JOIN templates ON id = template"
        " WHERE (kind = 'crl' OR kind = 'ocsp' AND key = '') AND status <> 'forgotten'"
    ):
        try:
            refresh = int(json.loads(body)["spec"]["refresh"])
        except (ValueError, LookupError, TypeError, RecursionError):  # an altered template is told already
            continue
        if due > (newest or 0) + refresh + _SLACK:
            yield f"{kind}.{name} {key}".rstrip() + ": its lists are due later than anybody can have set"
