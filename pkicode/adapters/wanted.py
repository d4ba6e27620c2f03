"""Which certificates are wanted, as a query of the inventory: the statement and its values.

In the common subset of SQLite and PostgreSQL, as all of sql.py; nothing here talks to a database.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from attrs import fields

from pkicode.ports import Certificate, Want

# ruff: noqa: S608 - these texts are joined from column names of ours; every value is a placeholder.

_CERTIFICATE = tuple(one.name for one in fields(Certificate))
_DER = _CERTIFICATE.index("der")

_SEEN = {
    "revoked": "status = 'revoked'",
    "expired": "status NOT IN ('revoked', 'aborted') AND not_after < {at}",
    "good": "status = 'issued' AND not_after >= {at}",
    "unknown": "status NOT IN ('issued', 'revoked', 'aborted') AND not_after >= {at}",
}
"""What relying parties see at an instant."""


def certificates(want: Want, names: Sequence[str] = ()) -> tuple[str, list[Any]]:
    """The query for what is wanted, and its values; of all fields, or of those named."""
    values: list[Any] = []

    def mark(value: object) -> str:
        values.append(value)
        return f"${len(values)}"

    conditions = [
        f"{column} = {mark(value)}"
        for column, value in (
            ("ca", want.ca),
            ("ca_generation", want.ca_generation),
            ("address", want.address),
            ("serial", want.serial),
            ("spki", want.spki),
            ("issuer_key", want.issuer_key),
            ("generation", want.generation),
        )
        if value is not None
    ]
    if want.statuses:
        either = f"status IN ({', '.join([mark(status) for status in want.statuses])})"
        conditions.append(f"({either} OR reason = {mark(want.or_reason)})" if want.or_reason else either)
    if want.block is not None:
        # Rows of a fan-out are `block["key"]`; a backslash is the character after the bracket.
        low, high = mark(want.block + "["), mark(want.block + "\\")
        conditions.append(f"(address = {mark(want.block)} OR (address >= {low} AND address < {high}))")
    if want.expiring_before is not None:
        conditions.append(f"not_after < {mark(want.expiring_before)}")
    if want.valid_at is not None:
        at = mark(want.valid_at)
        conditions.append(f"not_before <= {at} AND not_after >= {at}")
    conditions += _by_entry(want, mark)
    if want.seen_as:
        # PostgreSQL refuses a value that no condition names.
        at = mark(want.seen_at) if any(one != "revoked" for one in want.seen_as) else ""
        conditions.append(f"({' OR '.join(f'({_SEEN[one].format(at=at)})' for one in want.seen_as)})")
    # Only names of ours stand in a query.
    chosen = [_CERTIFICATE[_CERTIFICATE.index(name)] for name in names]
    columns = ", ".join(chosen or [name for name in _CERTIFICATE if want.with_der or name != "der"])
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"SELECT {columns} FROM certificates{where} ORDER BY id", values


def _by_entry(want: Want, mark: Callable[[object], str]) -> Iterator[str]:
    """The conditions that [[revoke]] entries ask by."""
    for column, values in (("serial", want.serials), ("spki", want.spkis)):
        if values:
            yield f"{column} IN ({', '.join(map(mark, values))})"
    if want.created_before is not None:
        yield f"created < {mark(want.created_before)}"
    if want.unexpired_at is not None:
        yield f"not_after >= {mark(want.unexpired_at)}"
    if want.blocked_by is not None:
        yield f"spki IN (SELECT spki FROM blocked WHERE entry = {mark(want.blocked_by)})"
    matched = "EXISTS (SELECT 1 FROM matches AS m WHERE m.issuer_key = certificates.issuer_key"
    matched += " AND m.serial = certificates.serial AND m.entry = "
    if want.matched_by is not None:
        yield f"{matched}{mark(want.matched_by)})"
    if want.not_matched_by is not None:
        entry, reason = want.not_matched_by
        yield f"NOT {matched}{mark(entry)} AND m.reason = {mark(reason)})"


def certificate_rows(rows: Iterable[Sequence[Any]], *, with_der: bool) -> list[Certificate]:
    """The rows of such a query; `der` is empty where it was not asked for."""
    return [Certificate(*(row if with_der else (*row[:_DER], b"", *row[_DER:]))) for row in rows]
