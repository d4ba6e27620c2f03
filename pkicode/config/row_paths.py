"""Paths that rows make: no value of a row leads one out of the project, no two rows write one file.  Opens nothing."""

import re
from collections.abc import Mapping

from pkicode.config.columns import columns_in, compiled
from pkicode.config.language import OUTPUT_FILES, CertSpec
from pkicode.config.tabular import Record

_LEADS_OUT = re.compile(r"(?:^|[/\\])\.\.?(?:$|[/\\])|^[/~]|[\\\x00-\x1f\x7f]")


class RowPaths:
    """The paths of one fan-out."""

    def __init__(self, spec: CertSpec, key: str, at: Mapping[str, int]) -> None:
        files = [getattr(spec.output, name) for name in OUTPUT_FILES if getattr(spec.output, name, None)]
        read = [spec.csr.dir, spec.csr.file] if spec.csr else []
        named = {column for text in files + read for column in columns_in(text)}
        identity = set(columns_in(key) or [key])
        self._columns = [(name, at[name]) for name in sorted(named)]
        self._shared = [compiled(text, dict(at)) for text in files if not identity <= set(columns_in(text))]
        self._written: dict[str, int] = {}
        self.any = bool(named)

    def wrong(self, record: Record, line: int) -> tuple[str, str] | None:
        """Code and message of what is wrong with the paths of a row."""
        for name, index in self._columns:
            if _LEADS_OUT.search(record[index]):
                return "E0112", f"`{name}` of this row would lead a path out of the project"
        for path in (make(record) for make in self._shared):
            if path in self._written:
                first = f", the first in line {self._written[path]}" if line else ""
                return "E0322", f"`{path}` is written by two rows{first}"
            self._written[path] = line
        return None
