"""`${var.x}` and `${overlay}` in string values; `${each.x}` and `${generation}` are checked and left for later."""

import re
from collections.abc import Mapping
from typing import Any

from pkicode.config.tables import closest, known, misspelt
from pkicode.config.tree import Notes, Path
from pkicode.model.problem import Part

HOLE = re.compile(r"\$\$\{|\$\{([^{}]*)\}|\$\{")
FILLED = ["cn", "subject", "dns", "ip", "email", "uri", "rid", "upn", "dirname", "csr", "output", "after", "endpoints"]
"""The keys of a [cert.X] that may differ from row to row."""
_UNTOUCHED = ("version", "include", "vars", "env")
_LITERAL = "write $${ where a literal ${ is meant"
_COLUMN = "write ${each.value} for what a for_each lists, ${each.COLUMN} for a column of its file or matrix"
_KNOWN = "write ${var.NAME}, ${overlay}, in a fan-out ${each.COLUMN}"


def variables(notes: Notes, environ: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """`[vars]`, then PKICODE_VAR_NAME, then --var."""
    declared = notes.tree.data.get("vars", {})
    if not isinstance(declared, dict):
        notes.add("E0202", "[vars] must be a table of texts", ("vars",))
        return {}
    found: dict[str, str] = {}
    for name, raw in declared.items():
        found[name] = given.get(name, environ.get(f"PKICODE_VAR_{name.upper().replace('-', '_')}", str(raw)))
        if not isinstance(raw, str):
            notes.add("E0202", f"`{name}` in [vars] must be a text", ("vars", name), help="put it in quotes")
        elif re.search(r"\$(\{|\Z)", found[name]):
            notes.add(
                "E0313",
                f"the value of variable `{name}` may not use another",
                ("vars", name),
                help="variables do not nest",
            )
    for name in given:
        if name not in declared:
            guess = closest(name, declared)
            mend = f"did you mean `{guess}`?" if guess else "declare it in [vars] first"
            notes.add("E0326", f"--var {name}= sets a variable that [vars] does not have", (), help=mend)
    return found


def substituted(notes: Notes, found: Mapping[str, str], overlay: str) -> dict[str, Any]:
    """The tree's tables with variables filled in; problems go to `notes`, one per unknown name."""
    work = _Substitution(notes, found, overlay)
    data = notes.tree.data
    result = {name: item if name in _UNTOUCHED else work.walk(item, (name,)) for name, item in data.items()}
    work.tell_unknown()
    work.tell_unused()
    return result


class _Substitution:
    def __init__(self, notes: Notes, found: Mapping[str, str], overlay: str) -> None:
        self.notes = notes
        self.variables = found
        self.overlay = overlay
        self.unknown: dict[str, list[Path]] = {}
        self.used: set[str] = set()

    def walk(self, raw: Any, path: Path) -> Any:
        if isinstance(raw, str):
            return self._text(raw, path) if "${" in raw and known(path) else raw
        if isinstance(raw, dict):
            return {name: self.walk(item, (*path, name)) for name, item in raw.items()}
        if isinstance(raw, list):
            return [self.walk(item, (*path, index)) for index, item in enumerate(raw)]
        return raw

    def _text(self, text: str, path: Path) -> str:
        if any(match[0] == "${" for match in HOLE.finditer(text)):
            return self._spoil("E0313", "`${` is not closed, or nests", path, mend=_LITERAL)
        filled_later = self._is_filled_later(path)
        in_subject = path[0] == "ca" and path[2:3] == ("subject",)

        def fill(match: re.Match[str]) -> str:
            if match[0] == "$${":
                if in_subject:
                    self._spoil("E0313", "a CA's subject cannot hold a literal ${", path)
                return match[0] if filled_later else "${"
            return self._name(match[1], path, filled_later=filled_later, in_subject=in_subject)

        return HOLE.sub(fill, text)

    def _name(self, name: str, path: Path, *, filled_later: bool, in_subject: bool) -> str:
        if name == "overlay":
            return self.overlay
        if name.startswith("var."):
            self.used.add(name[4:])
            if name[4:] not in self.variables:
                self.unknown.setdefault(name[4:], []).append(path)
                self.notes.spoil(path)
            return self.variables.get(name[4:], "")
        if name == "generation":
            if not in_subject:
                self._spoil("E0313", "`${generation}` is known only in a [ca.X] subject", path)
            return "${generation}"
        if name.startswith("each.") and len(name) > 5:
            if not filled_later:
                self._each_elsewhere(name, path)
            return f"${{{name}}}"
        guess = closest(name, [f"var.{known}" for known in self.variables] + ["overlay", "generation", "each.value"])
        if name in {"each", "each."}:
            guess, mend = "", _COLUMN
        else:
            mend = "the environment cannot be read" if name.startswith("env") else f"{_KNOWN}; {_LITERAL}"
        label = f"did you mean `${{{guess}}}`?" if guess else ""
        return self._spoil("E0312", f"`${{{name}}}` is not known", path, label=label, mend="" if guess else mend)

    def _spoil(self, code: str, message: str, path: Path, *, mend: str = "", label: str = "") -> str:
        self.notes.spoil(path)
        self.notes.add(code, message, path, help=mend, label=label)
        return ""

    def _is_filled_later(self, path: Path) -> bool:
        if path[0] != "cert" or len(path) < 3:
            return False
        block = self.notes.tree.data["cert"][path[1]]
        return "for_each" in block and (path[2] in FILLED or path[2:] == ("for_each", "key"))

    def _each_elsewhere(self, name: str, path: Path) -> None:
        self.notes.spoil(path)
        block = self.notes.tree.data["cert"][path[1]] if path[0] == "cert" and len(path) > 2 else {}
        if "for_each" in block:
            message = f"`{path[2]}` is the same for every row and cannot hold `${{{name}}}`"
            self._spoil("E0314", message, path, mend=f"rows may differ in {', '.join(FILLED)}")
        elif not closest("for_each", block):
            self._spoil(
                "E0314", f"`${{{name}}}` stands outside a fan-out", path, mend="only a [cert.X] with for_each has rows"
            )

    def tell_unknown(self) -> None:
        """One problem for each unknown variable, however often it is used."""
        if misspelt(self.notes.tree.data, "vars"):
            return  # a misspelt [vars] is told already
        for name, paths in self.unknown.items():
            guess = closest(name, self.variables)
            times = f", used {len(paths)} times" if len(paths) > 1 else ""
            self.notes.add(
                "E0312",
                f"variable `{name}` is not declared{times}",
                paths[0],
                label=f"did you mean `${{var.{guess}}}`?" if guess else "",
                help="" if guess else f'add {name} = "..." to [vars]',
                related=[("declared here", ("vars", guess))] if guess else [],
            )

    def tell_unused(self) -> None:
        """A variable that nothing uses is often one whose use is misspelt; other overlays count as use."""
        elsewhere = str(self.notes.tree.data.get("env", ""))
        for name in self.variables:
            if name not in self.used and f"${{var.{name}}}" not in elsewhere:
                self.notes.add("W0302", f"variable `{name}` is not used", ("vars", name), part=Part.KEY)
