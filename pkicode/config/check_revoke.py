"""[[revoke]]: one selector, which pins what it means.  What time and inventory say is kinds/revocation.py's."""

from collections.abc import Mapping
from pathlib import Path as File
from typing import Any

from pkicode.config.check_paths import INSIDE, escapes
from pkicode.config.forms import serial
from pkicode.config.named import Tables, bare
from pkicode.config.tabular import RowNotes, csv_records
from pkicode.config.tree import Path
from pkicode.config.wrong import WrongForm
from pkicode.model.address import parse
from pkicode.model.problem import Part, Place, Problem

Values = Mapping[str, Any]
_PINS = {"cert": ("issued_before", "generation"), "ca": ("generation",)}
_BELONG = {"issued_before": ("cert",), "all_keys": ("cert",), "generation": ("cert", "ca"), "ca": ("serial",)}


def everything(tables: Tables, entries: list[tuple[Path, dict[str, Any]]]) -> None:
    """Tell of every entry that does not say what it revokes."""
    seen: dict[str, Path] = {}
    for path, values in entries:
        name = values.get("id")
        if name in seen:
            message = f"two entries have the id `{name}`"
            related = [("first here", seen[name])]
            tables.notes.add("E0330", message, (*path, "id"), help="each decision has its own id", related=related)
        elif name:
            seen[name] = path
        _declared(tables, path, values)
        raw = tables.notes.tree.data["revoke"][path[1]]
        if isinstance(raw, dict) and not tables.notes.broken(path):
            _selector(tables, path, raw, values)


def _declared(tables: Tables, path: Path, values: Values) -> None:
    name = bare(str(values.get("ca", "")))
    if name and name not in tables.entries["ca"] and not tables.suspect("ca"):
        tables.missing("ca", name, (*path, "ca"))


def _selector(tables: Tables, path: Path, raw: Values, values: Values) -> None:
    """`raw` says what was written, `values` what of it is sound."""
    notes = tables.notes
    given = [one for one in ("serial", "cert", "spki", "csv") if one in raw]
    if "ca" in raw and "serial" not in raw:
        given.append("ca")
    if len(given) != 1:
        found = " and ".join(f"`{one}`" for one in given) or "none"
        mend = "write one of serial, cert, ca with generation, spki, csv"
        notes.add("E0331", f"a [[revoke]] has one selector, and this has {found}", path, part=Part.TABLE, help=mend)
        return
    (selector,) = given
    for key, owners in _BELONG.items():
        if key in raw and key != selector and selector not in owners:
            message = f"`{key}` says nothing beside `{selector}`"
            mend = f"remove it; it belongs to {' or '.join(f'`{one}`' for one in owners)}"
            notes.add("E0331", message, (*path, key), part=Part.KEY, help=mend)
    pins = [one for one in _PINS.get(selector, ()) if one in raw]
    if len(pins) > 1:
        message, mend = "`issued_before` and `generation` both say which certificates", "write one of them"
        notes.add("E0331", message, (*path, "generation"), part=Part.KEY, help=mend)
    if selector == "ca" and not pins:
        message = f'`ca = "{raw["ca"]}"` pins no generation: the CA outlives its keys'
        notes.add("E0332", message, (*path, "ca"), help="add generation = 1, or the one that `pkicode inventory` shows")
    if values.get("generation") == 0:
        notes.add("E0212", "generations count from 1", (*path, "generation"))
    if selector == "cert" and "cert" in values:
        _rows(tables, path, values)
    if selector == "csv" and "csv" in values and escapes(values["csv"]):
        notes.add("E0112", "`csv` is no path of the project", (*path, "csv"), help=INSIDE)


def _rows(tables: Tables, path: Path, values: Values) -> None:
    """A fan-out is named with a key, or all of it is meant."""
    address, _ = parse(values["cert"])
    entry = tables.entries["cert"].get(address.name)
    if address.key and values.get("all_keys"):
        tables.notes.add("E0331", "`all_keys` beside one key", (*path, "all_keys"), part=Part.KEY, help="remove it")
    if values.get("all_keys") and "generation" in values:
        message = "`generation` beside `all_keys` would revoke the first certificate of each row to come"
        mend = "write issued_before instead"
        tables.notes.add("E0331", message, (*path, "generation"), part=Part.KEY, help=mend)
    if entry is not None and "for_each" in entry.raw and not address.key and not values.get("all_keys"):
        message = f"`{values['cert']}` is a fan-out: it names many certificates"
        mend = f"write cert = '{values['cert']}[\"KEY\"]', or add all_keys = true"
        tables.notes.add("E0335", message, (*path, "cert"), help=mend)


def serials(root: File, file: str, cas: frozenset[str]) -> tuple[list[tuple[str, str | None]], list[Problem]]:
    """(serial, CA) of each line of a `csv`, and what is wrong with the others."""
    notes = RowNotes(root, file)
    header, records = csv_records(root / file, notes)
    columns = [one.strip() for one in header]
    if header and ("serial" not in columns or not set(columns) <= {"serial", "ca"}):
        notes.row("E0320", f"the columns are {', '.join(columns)}", 1, "name them serial and, optionally, ca")
        return [], notes.problems
    found = []
    for line, record in records:
        row = dict(zip(columns, (one.strip() for one in record), strict=True))
        try:
            name = bare(row.get("ca", "")) or None
            if name and name not in cas:
                raise WrongForm("E0301", f"there is no [ca.{name}]", f"declared: {', '.join(sorted(cas))}")
            found.append((serial(row["serial"]), name))
        except WrongForm as error:
            notes.add(error.code, f"{file} line {line}: {error}", Place(file, (), line=line), help=error.mend)
    return found, notes.problems
