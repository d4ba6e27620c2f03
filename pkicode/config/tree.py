"""The tables of all files as one tree that remembers where each value was written, and the problems found in it."""

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import field, frozen

from pkicode.config.spans import Path
from pkicode.model.problem import Part, Place, Problem, Related, Severity

__all__ = ["Notes", "Path", "Tree", "merged"]


@frozen
class Tree:
    """Merged tables.  `origins` holds what does not stand in the root file under its own path."""

    path: str
    data: Mapping[str, Any] = field(repr=False)
    origins: Mapping[Path, Place] = field(factory=dict, repr=False)

    def place(self, keys: Path, part: Part = Part.VALUE) -> Place:
        """Where a value was written: the nearest origin at or above it, else the root file."""
        if self.origins:
            for length in range(len(keys), 0, -1):
                origin = self.origins.get(keys[:length])
                if origin:
                    return Place(origin.path, origin.keys + keys[length:], part)
        return Place(self.path, keys, part)


def merged(base: Any, over: Any, at: Path, place: Place, origins: dict[Path, Place]) -> Any:
    """`over` on top of `base`: tables merge, scalars and lists replace; `origins` learns what came from `over`."""
    if not (isinstance(base, dict) and isinstance(over, dict)):
        for path in [path for path in origins if path[: len(at)] == at]:
            del origins[path]
        origins[at] = place
        return over
    result = dict(base)
    for name, item in over.items():
        below = Place(place.path, (*place.keys, name))
        if name in base:
            result[name] = merged(base[name], item, (*at, name), below, origins)
        else:
            result[name] = item
            origins[(*at, name)] = below
    return result


class Notes:
    """Problems as they are found, each with the place of its path in the tree."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.problems: list[Problem] = []
        self._broken: set[Path] = set()
        self._spoiled: set[Path] = set()

    def add(
        self,
        code: str,
        message: str,
        path: Path,
        *,
        part: Part = Part.VALUE,
        help: str = "",  # noqa: A002 - the word users read
        label: str = "",
        related: Sequence[tuple[str, Path]] = (),
    ) -> None:
        """Note one problem; `related` are (label, path) of other tables or values."""
        if code.startswith("E"):
            self._broken.update((path[:1], path[:2]))
        self.problems.append(
            Problem(
                code,
                message,
                help=help,
                label=label,
                place=self.tree.place(path, part),
                related=tuple(Related(text, self.tree.place(other, _part(other))) for text, other in related),
                address=f"{path[0]}.{path[1]}" if len(path) > 1 and path[0] in ("ca", "cert") else "",
            )
        )

    @property
    def errors(self) -> list[Problem]:
        """Those that are no warnings."""
        return [problem for problem in self.problems if problem.severity is Severity.ERROR]

    def carry(self, other: "Notes") -> None:
        """Take over what another round over the same tables noted."""
        self.problems += other.problems
        self._broken |= other._broken
        self._spoiled |= other._spoiled

    def spoil(self, path: Path) -> None:
        """A value that could not be made: what is wrong with it is told, so nothing else is."""
        self._broken.update((path[:1], path[:2]))
        self._spoiled.add(path)

    def spoiled(self, path: Path) -> bool:
        """Whether a value could not be made."""
        return path in self._spoiled

    def broken(self, path: Path) -> bool:
        """Whether a problem was noted in this block: what follows from it is not told again."""
        return path[:2] in self._broken


def _part(path: Path) -> Part:
    if path[0] == "vars":
        return Part.KEY
    return Part.TABLE if len(path) <= 2 else Part.VALUE
