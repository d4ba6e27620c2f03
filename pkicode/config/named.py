"""Named tables while they are being resolved, and how one refers to another.  Decides nothing."""

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from pkicode.config.tables import closest, misspelt, nameless
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


def bare(reference: str) -> str:
    """The name in a reference to a CA, which may be written `issuing` or `ca.issuing`."""
    return reference.removeprefix("ca.")


@frozen
class Tables:
    """Every named table by kind and name."""

    notes: Notes
    entries: Mapping[str, Mapping[str, Entry]]
    hooks: tuple[tuple[str, ...], ...] = ()

    def suspect(self, kind: str) -> bool:
        """Whether the kind's tables were probably misspelt, or have no name, which is told already."""
        return misspelt(self.notes.tree.data, kind) or nameless(self.notes.tree.data, kind)

    def missing(self, kind: str, name: str, path: Path, times: str = "") -> None:
        """Tell of a reference to a table that is not there, with what was probably meant."""
        there = self.entries[kind]
        guess = closest(name, there)
        self.notes.add(
            "E0301",
            f"there is no [{kind}.{name}]{times}",
            path,
            label=f"did you mean `{guess}`?" if guess else "",
            help="" if guess else f"declared: {', '.join(there) or 'none'}",
            related=[("declared here", (kind, guess))] if guess else [],
        )
