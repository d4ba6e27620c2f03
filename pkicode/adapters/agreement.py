"""What a row of the inventory says, held against the bytes it stands for (RFC 5280 section 4.1.2).

Names, keys and publication duty are compared with what issuance would have written of them; signatures are not checked.
"""

import base64
import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import TypeVar

from attrs import evolve, field, frozen

from pkicode.adapters import sql, wanted
from pkicode.adapters.journal import to_be_signed
from pkicode.ports import Certificate, Want
from pkicode.x509 import der, keys, names, san_list
from pkicode.x509.extensions import (
    CRL_DISTRIBUTION_POINTS,
    SUBJECT_ALT_NAME,
    authority_key_identifier,
    crl_distribution_points,
    subject_alt_name,
)
from pkicode.x509.tbs import IssuerFacts, facts_of

_T = TypeVar("_T")

SIGNED = frozenset({"issued", "revoked"})
"""What a row with a certificate is listed as."""

_EMPTY_NAME = der.tlv(der.SEQUENCE)


_FINISHED = (
    "SELECT CASE action WHEN 'issue.resumed' THEN '' ELSE subject END, max(sequence) FROM events"
    " WHERE action = 'issue.resumed' OR (action = 'issue.issued' AND subject LIKE 'ca.%') GROUP BY 1"
)
"""What was issued last of each CA's address, and under "" what was left open and finished later, of any."""


@frozen
class Issuer:
    """A CA generation of the state, as the rows of what it signed have it."""

    facts: IssuerFacts = field(repr=False)
    key: str
    ca: str
    generation: int
    says: bytes = field(repr=False)
    """The extension by which certificates name its key."""
    is_late: bool = False
    """Whether it may have been finished after certificates of it were adopted, which then name no CA."""


def issuers(connection: sqlite3.Connection) -> Iterator[Issuer]:
    """Every CA generation whose record can be read."""
    finished = dict(connection.execute(_FINISHED).fetchall())
    (adopted,) = connection.execute("SELECT min(sequence) FROM events WHERE action = 'adopt'").fetchone()
    for row in connection.execute(sql.AUTHORITIES):
        last = max(finished.get(f"ca.{row[0]}", 0), finished.get("", 0))
        if one := _read(_issuer, *row):
            yield evolve(one, is_late=adopted is not None and adopted < last)


def records(connection: sqlite3.Connection) -> Iterator[str]:
    """Every CA generation whose record cannot be read: with one no plan can be made."""
    for row in connection.execute(sql.AUTHORITIES):
        if _read(_issuer, *row) is None:
            yield f"the record of ca.{row[0]}@{row[1]} cannot be read"


def _issuer(ca: str, generation: int, record: str) -> Issuer:
    facts = facts_of(base64.b64decode(json.loads(record)["der"], validate=True))
    return Issuer(facts, keys.digest(facts.spki), ca, generation, authority_key_identifier(facts.ski))


def certificates(connection: sqlite3.Connection) -> Iterator[str]:
    """Everything in which a row differs from its certificate, or from what is to be one."""
    known = list(issuers(connection))
    statement, values = wanted.certificates(Want())
    for row in connection.execute(statement, values):
        certificate = Certificate(*row)
        for wrong in _wrong(certificate, known):
            yield f"certificate {certificate.serial} ({certificate.address}): {wrong}"


def _wrong(row: Certificate, known: Sequence[Issuer]) -> Iterator[str]:
    tbs = row.der
    try:
        if row.sha256:
            tbs = to_be_signed(row.der)
            if hashlib.sha256(row.der).hexdigest() != row.sha256:
                yield "its bytes are not those that were stored"
            if row.status not in SIGNED:
                yield f"it was signed, but is listed as {row.status}"
        elif row.status == "issued":
            yield "it is issued, but only its draft is stored"
        values = _fields(tbs)
        serial = f"{int.from_bytes(der.only(values[0], der.INTEGER), 'big', signed=True):x}"
    except ValueError as error:
        yield f"its bytes are no certificate: {error}"
        return
    agrees = {
        "serial": row.serial == serial,
        "issuer": row.issuer_dn == values[2],
        **_issued(row, values[2], tbs, known),
        "validity": _validity(row.not_before, row.not_after) == values[3],
        "subject": row.subject == _read(_subject, values[4]),
        "alternative names": _says(tbs, values, SUBJECT_ALT_NAME, _read(_names, row.sans, values[4])),
        "public key": row.spki == keys.digest(values[5]),
        "key algorithm": row.key_alg == _read(keys.alg_of_spki, values[5]),
        "CRL duty": _says(tbs, values, CRL_DISTRIBUTION_POINTS, _read(_points, row.duty)),
    }
    yield from (f"its {name} is not the one in its bytes" for name, is_one in agrees.items() if not is_one)


def _fields(tbs: bytes) -> list[bytes]:
    """The fields of a TBSCertificate behind its version, headers included.

    Raises:
        ValueError: none, or one that lacks what every certificate has.
    """
    values = _whole(der.only(tbs, der.SEQUENCE))
    if values and values[0][:1] == b"\xa0":
        del values[0]  # version
    if len(values) < 6:
        raise ValueError("fields are missing")
    return values


def _whole(content: bytes) -> list[bytes]:
    """The values in `content`, headers included."""
    values, offset = [], 0
    while offset < len(content):
        _, _, end = der.read(content, offset)
        values.append(content[offset:end])
        offset = end
    return values


@lru_cache(maxsize=1024)
def _validity(not_before: int, not_after: int) -> bytes:
    """As it stands in the bytes (RFC 5280 section 4.1.2.5); empty where no certificate can say it.

    Of a batch all begin and end together.
    """
    with suppress(ValueError, OverflowError, OSError):
        return der.tlv(der.SEQUENCE, *map(der.utc_or_generalized, (not_before, not_after)))
    return b""


def _read(of: Callable[..., _T], *given: object) -> _T | None:
    """None for what nobody of ours wrote."""
    try:
        return of(*given)
    except (ValueError, LookupError, TypeError, RecursionError):  # the last: of JSON that is too deep
        return None


def _subject(dn: bytes) -> str:
    return ",".join(map(_rdn, reversed(_whole(der.only(dn, der.SEQUENCE)))))


@lru_cache(maxsize=1024)
def _rdn(value: bytes) -> str:
    """RFC 4514 text of one attribute; a fleet has all but one in common."""
    return names.subject_text(names.subject_from_der(der.tlv(der.SEQUENCE, value)))


def _names(text: str, dn: bytes) -> bytes:
    """The extension that holds them; empty for none."""
    sans = san_list.read(text)
    return subject_alt_name(sans, critical=dn == _EMPTY_NAME) if sans else b""


@lru_cache(maxsize=512)
def _points(duty: str) -> bytes:
    """The extension that names these URLs; empty for none."""
    urls = json.loads(duty)
    if json.dumps(urls) != duty or not all(isinstance(one, str) for one in urls):
        raise ValueError("written by nobody of ours")
    return crl_distribution_points(urls) if urls else b""


def _says(tbs: bytes, values: Sequence[bytes], oid: bytes, extension: bytes | None) -> bool:
    """Whether this is the one extension of its kind in a certificate; b"": that there is none."""
    if extension is None:
        return False
    wanted = [extension] if extension else []
    # Spares nearly all a walk over their extensions.
    if extension in tbs if extension else oid not in tbs:
        return True
    try:
        return [one for one in _extensions(values[-1]) if der.only(one, der.SEQUENCE).startswith(oid)] == wanted
    except ValueError:
        return False


def _extensions(last: bytes) -> list[bytes]:
    return _whole(der.only(der.only(last, 0xA3), der.SEQUENCE)) if last[:1] == b"\xa3" else []


def _issued(row: Certificate, dn: bytes, tbs: bytes, known: Sequence[Issuer]) -> dict[str, bool]:
    """Whether it is the CA's that its bytes name; nobody knows of one whose CA is not in the state."""
    by = next((one for one in known if one.facts.dn == dn and one.says in tbs), None)
    by = by or next((one for one in known if one.key == row.issuer_key), None)
    if by is None:
        return {}
    named = ((by.ca, by.generation), *((("", 0),) if row.reason == "adopted" and by.is_late else ()))
    return {
        "issuer's key": row.issuer_key == by.key and by.says in tbs,
        "issuing CA": (row.ca, row.ca_generation) in named,
    }
