"""[scan.X] and `endpoints`: targets and expectations that lead somewhere.  The network is asked by pkicode.scanner."""

from collections.abc import Iterator

from pkicode.config.check_paths import INSIDE, escapes, is_included
from pkicode.config.named import Entry, Tables
from pkicode.config.tree import Notes, Path
from pkicode.model import target
from pkicode.model.address import Address, parse
from pkicode.model.problem import Part
from pkicode.model.target import FileOf


def everything(tables: Tables) -> None:
    """Tell of what a scan could not begin with, or would find nothing by."""
    for entry in tables.entries["cert"].values():
        _endpoints(tables.notes, entry)
    for entry in tables.entries["scan"].values():
        if tables.notes.broken(entry.path):
            continue
        if entry.values["targets"] == ():
            mend = 'write targets = ["host:443"]'
            tables.notes.add("E0354", f"[scan.{entry.name}] scans nothing", (*entry.path, "targets"), help=mend)
        if entry.values.get("rate") == 0:
            mend = "write 1 or more"
            tables.notes.add("E0212", "`rate` 0 would never begin", (*entry.path, "rate"), part=Part.VALUE, help=mend)
        _private(tables.notes, entry)
        for text, path in _targets(entry):
            what = target.read(text)
            if isinstance(what, Address):
                _declared(tables, what, path)
            elif isinstance(what, FileOf) and escapes(what.path):
                tables.notes.add("E0112", f"`{text}` is no path of the project", path, help=INSIDE)
        for index, text in enumerate(entry.values.get("expect", ())):
            _declared(tables, parse(text)[0], (*entry.path, "expect", index))


def _private(notes: Notes, entry: Entry) -> None:
    """A pull request's scan names hosts of its choice, and their certificates any URL behind the firewall."""
    path = (*entry.path, "allow_private")
    if entry.values.get("allow_private") and is_included(notes, entry, ("allow_private",)):
        message = f"[scan.{entry.name}] is in an included file, and those may not allow private addresses"
        notes.add("E0355", message, path, help="declare this scan in pki.toml, or say --allow-private for one run")


def _endpoints(notes: Notes, entry: Entry) -> None:
    """Those of a fan-out that hold columns are read with their rows."""
    for index, text in enumerate(entry.values.get("endpoints", ())):
        if "${each." in text:
            continue
        try:
            target.spot(text)
        except ValueError as error:
            notes.add("E0350", f"an endpoint of cert.{entry.name}: {error}", (*entry.path, "endpoints", index))


def _targets(entry: Entry) -> Iterator[tuple[str, Path]]:
    return ((text, (*entry.path, "targets", index)) for index, text in enumerate(entry.values["targets"]))


def _declared(tables: Tables, address: Address, path: Path) -> None:
    if address.name not in tables.entries["cert"] and not tables.suspect("cert"):
        tables.missing("cert", address.name, path)
