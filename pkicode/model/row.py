"""Blocks and rows (what pki.toml says) and held rows (what the state store remembers)."""

from typing import Any

from attrs import field, frozen

from pkicode.model.address import Address
from pkicode.model.problem import Part, Place

FORGOTTEN = "forgotten"
"""Status of a row nobody manages any more; it stays so that a name that comes back goes on counting generations."""


@frozen
class Source:
    """Where a block stands: its file and key path, and for each resolved field the place that set it."""

    path: str
    keys: tuple[str | int, ...]
    origins: dict[tuple[str | int, ...], Place] = field(factory=dict, repr=False)
    """Field path inside the spec -> place; a field without an entry is a default."""

    def place(self, *keys: str | int, part: Part = Part.VALUE) -> Place:
        """The place of a field: the nearest origin at or above the path, else the block's header."""
        path = tuple(keys)
        while path:
            if path in self.origins:
                origin = self.origins[path]
                return Place(origin.path, origin.keys + tuple(keys[len(path) :]), part)
            path = path[:-1]
        return Place(self.path, self.keys, Part.TABLE)


@frozen
class Block:
    """One table of pki.toml, resolved once: profile merged, variables replaced, `${each.x}` still in place."""

    kind: str
    name: str
    spec: Any = field(repr=False)
    """The kind's spec class of config/language.py."""
    template: str = field(repr=False)
    """Canonical JSON: {"kind", "version", "spec", "defaulted"}; equal text means nothing changed."""
    template_id: str
    """sha256 of `template`, hex."""
    source: Source = field(repr=False)
    columns: tuple[str, ...] = ()
    """The `${each.x}` columns the spec uses, sorted."""


@frozen
class Row:
    """One instance of a block.  `values` is the JSON text of the used columns' values in the order of Block.columns."""

    key: str
    values: str
    line: int = 0
    """The line in the CSV or JSONL file, else 0."""


@frozen
class Held:
    """One row of state without its record, small because 100,000 are read for every plan.

    A CA has one row per key generation; other kinds keep the newest only.
    """

    kind: str
    name: str
    key: str
    generation: int
    template: int
    """The store's number of the template (Store.templates)."""
    values: str
    due: int
    """The instant from which a plan would change it by time alone; NO_EXPIRY where time changes nothing."""
    needs: str
    """What it stands on, e.g. the issuer's generation `ca.issuing@1`; a difference reaches the kind's diff."""
    status: str
    """`ok`, `forgotten`, or a word of the kind's own (revoked, waiting, hook-failed, ...)."""
    version: int
    """Rises with each write of the row; plans record it (read set)."""

    @property
    def address(self) -> Address:
        return Address(self.kind, self.name, self.key)

    @property
    def is_forgotten(self) -> bool:
        return self.status == FORGOTTEN
