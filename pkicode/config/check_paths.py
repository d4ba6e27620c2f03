"""Paths, fan-outs and hooks: nothing leaves the root or overwrites another.  Looks at texts, not at the disk."""

import re
from collections.abc import Iterable

from pkicode.config.language import ForEach, Output
from pkicode.config.named import Entry, Tables
from pkicode.config.tree import Notes, Path
from pkicode.model.problem import Part

_SOURCES = ("values", "matrix", "csv", "jsonl")
_FILES = ("chain", "key", "p12", "combined")


def escapes(path: str) -> bool:
    """Whether a path is absolute, climbs with `..`, or could be read as either on some system."""
    return path.startswith(("/", "~", "\\")) or ".." in re.split(r"[/\\]", path) or ":" in path[:2]


def everything(tables: Tables, certs: Iterable[Entry]) -> None:
    """Tell of every path, fan-out and hook that is not as it should be."""
    written: dict[str, Path] = {}
    for entry in certs:
        _included(tables, entry)
        _sources(tables.notes, entry)
        _outputs(tables, entry, written)
    for target in tables.entries["publish"].values():
        url = target.values.get("url", "")
        if url.startswith("file:") and not url.startswith("file:///"):
            mend = "write file:///absolute/path, or a relative path without file:"
            tables.notes.add("E0112", "a file: URL is absolute", (*target.path, "url"), help=mend)
        if "://" not in url and ".." in url.split("/"):
            tables.notes.add("E0112", "`url` leaves the project's root", (*target.path, "url"), help="remove the ..")
    for store in tables.entries["keystore"].values():
        if ".." in store.values.get("path", "").split("/"):
            tables.notes.add("E0112", "`path` leaves the project's root", (*store.path, "path"), help="remove the ..")


def _included(tables: Tables, entry: Entry) -> None:
    """What stands in an included file is a pull request's: named by an `allow`, run by nobody (decisions 19, 23)."""
    notes = tables.notes
    if notes.tree.place(entry.path).path != notes.tree.path and "allow" not in entry.values:
        profile = entry.values["profile"]
        message = f"cert.{entry.name} is in an included file, and its profile `{profile}` has no `allow`"
        mend = f'add allow = {{ dns = [".example.org"] }} to [profile.{profile}]'
        notes.add(
            "E0323", message, (*entry.path, "profile"), help=mend, related=[("the profile", ("profile", profile))]
        )
    after = entry.values.get("after")
    if after and notes.tree.place((*entry.path, "after")).path != notes.tree.path and after not in tables.hooks:
        mend = "add the whole command to hooks = [[...]] in [policy] of pki.toml"
        notes.add(
            "E0324",
            "this command is not among the hooks that included files may name",
            (*entry.path, "after"),
            help=mend,
        )


def _sources(notes: Notes, entry: Entry) -> None:
    fan: ForEach | None = entry.values.get("for_each")
    if fan is None:
        return
    path = (*entry.path, "for_each")
    given = [name for name in _SOURCES if getattr(fan, name) is not None]
    if len(given) != 1:
        found = " and ".join(given) or "none"
        notes.add(
            "E0315", f"for_each takes exactly one of values, matrix, csv, jsonl, and has {found}", path, part=Part.KEY
        )
        return
    if fan.key is None and given[0] != "values":
        example = "${each.app}.${each.region}" if given[0] == "matrix" else "host"
        notes.add(
            "E0316",
            "for_each has no `key`",
            path,
            part=Part.KEY,
            help=f'add key = "{example}": it names each row for ever',
        )
    for name in ("csv", "jsonl"):
        file = getattr(fan, name)
        if file is not None and escapes(file):
            notes.add(
                "E0112", f"`{name}` leaves the project's root", (*path, name), help="write a path inside the project"
            )


def _outputs(tables: Tables, entry: Entry, written: dict[str, Path]) -> None:
    notes, values = tables.notes, entry.values
    fans_out = "for_each" in values
    output: Output = values.get("output") or Output()
    for name in _FILES:
        file = getattr(output, name)
        if file is None:
            continue
        path = (*entry.path, "output", name)
        in_root_file = notes.tree.place(path).path == notes.tree.path
        if escapes(file) and not (file.startswith("/") and ".." not in file.split("/") and in_root_file):
            mend = (
                "an absolute path may stand in pki.toml only"
                if file.startswith("/")
                else "write a path inside the project"
            )
            notes.add("E0112", f"`output.{name}` leaves the project's root", path, help=mend)
        _alone(notes, file, path, written, fans_out=fans_out)
    csr = values.get("csr")
    if csr is None:
        return
    for name in ("dir", "file"):
        if escapes(getattr(csr, name)):
            notes.add(
                "E0112",
                f"`csr.{name}` leaves the project's root",
                (*entry.path, "csr", name),
                help="write a path inside the project",
            )
    if fans_out and "${each." not in csr.dir + csr.file:
        mend = 'write file = "${each.host}.csr"'
        notes.add("E0322", "every row would read the same CSR", (*entry.path, "csr", "file"), help=mend)


def _alone(notes: Notes, file: str, path: Path, written: dict[str, Path], *, fans_out: bool) -> None:
    """Each declared file has one writer."""
    if fans_out and "${each." not in file:
        mend = "put the row into the path, as in out/${each.host}.pem"
        notes.add("E0322", "every row would write the same file", path, help=mend)
    elif file in written:
        notes.add(
            "E0322", f"`{file}` is written by two certificates or keys", path, related=[("first here", written[file])]
        )
    written.setdefault(file, path)
