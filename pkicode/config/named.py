"""Named tables while they are being resolved, and how one refers to another.  Decides nothing."""

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from pkicode.config.tables import misspelt
from pkicode.config.tree import Notes, Path
from pkicode.model.problem import Place


@frozen
class Entry:
    """One [kind.NAME]: as written (merged with its profile later), decoded, and where each field was set."""

    name: str
    path: Path
    raw: Mapping[str, Any] = field(repr=False)
    values: Mapping[str, Any] = field(repr=False)
    origins: Mapping[Path, Place] = field(factory=dict, repr=False)
    sound: bool = True
    """False after a problem was told: what follows from it is not told again."""


@frozen
class Tables:
    """Every named table by kind and name."""

    notes: Notes
    entries: Mapping[str, Mapping[str, Entry]]
    hooks: tuple[tuple[str, ...], ...] = ()

    def suspect(self, kind: str) -> bool:
        """Whether the kind's tables were probably misspelt, which is told already."""
        return misspelt(self.notes.tree.data, kind)
