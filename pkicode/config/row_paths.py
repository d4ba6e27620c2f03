"""Paths that rows make: no value of a row leads one out of the project, no two rows write one file.  Opens nothing."""

import posixpath
import re
from collections.abc import Mapping

from pkicode.config.columns import columns_in, compiled
from pkicode.config.language import OUTPUT_FILES, CertSpec
from pkicode.config.tabular import Record

_LEADS_OUT = re.compile(r"(?:^|[/\\])(?:\.{0,2}|\.pkicode|\.git)(?:$|[/\\])|^[/~]|[\\\x00-\x1f\x7f]")
"""Nothing at all does: what is written after it would be absolute."""


def written(spec: CertSpec) -> list[str]:
    """The paths of its output files, each spelt in one way, with the rows still to be filled in."""
    return [posixpath.normpath(path) for name in OUTPUT_FILES if (path := getattr(spec.output, name, None))]


def _may_meet(one: str, other: str) -> bool:
    """Whether rows can make one path of two texts, by what stands before and after what they fill in."""
    (begins, _, _), (starts, _, _) = one.partition("${"), other.partition("${")
    (_, _, ends), (_, _, stops) = one.rpartition("}"), other.rpartition("}")
    same_start = begins.startswith(starts) or starts.startswith(begins)
    return same_start and (ends.endswith(stops) or stops.endswith(ends))


class RowPaths:
    """The paths of one fan-out."""

    def __init__(self, spec: CertSpec, key: str, at: Mapping[str, int]) -> None:
        files = written(spec)
        read = [spec.csr.dir, spec.csr.file] if spec.csr else []
        named = {column for text in files + read for column in columns_in(text)}
        self._columns = [(name, at[name]) for name in sorted(named)]
        self._shared = [
            compiled(text, dict(at))
            for text in files
            if set(columns_in(text)) != {key} or any(one != text and _may_meet(one, text) for one in files)
        ]
        self._written: dict[str, int] = {}
        self.any = bool(named)

    def wrong(self, record: Record, line: int) -> tuple[str, str] | None:
        """Code and message of what is wrong with the paths of a row."""
        for name, index in self._columns:
            if _LEADS_OUT.search(record[index]):
                return (
                    "E0112",
                    f"its column {name} would lead a path out of the project or into .pkicode or .git, or is empty",
                )
        for path in (make(record) for make in self._shared):
            if path in self._written:
                first = f", the first in line {self._written[path]}" if line else ""
                return "E0322", f"`{path}` is written by two rows{first}"
            self._written[path] = line
        return None
