"""Paths, fan-outs and hooks: nothing leaves the root or overwrites another.  Looks at texts, not at the disk."""

import posixpath
import re
from collections.abc import Iterable

from pkicode.config.files import PRIVATE
from pkicode.config.language import OUTPUT_FILES, SECRET_FILES, ForEach, Output
from pkicode.config.named import Entry, Tables
from pkicode.config.tree import Notes, Path
from pkicode.model.problem import Part

_SOURCES = ("values", "matrix", "csv", "jsonl")
_PASSWORD = ("output", "p12_password")

_PLAIN = re.compile(r"[A-Za-z0-9_-]{2}[A-Za-z0-9_.-]*")
"""One name in the same folder, and not one of PRIVATE, which begin with a dot."""
INSIDE = "write a path inside the project, and not in .pkicode or .git"


def escapes(path: str) -> bool:
    """Whether a path is absolute, climbs with `..`, could be read as either somewhere, or enters a private folder."""
    if _PLAIN.fullmatch(path):
        return False  # spares 2 us on each of 100,000 file names
    parts = re.split(r"[/\\]", path)
    return path.startswith(("/", "~", "\\")) or ".." in parts or ":" in path[:2] or not PRIVATE.isdisjoint(parts)


def _secrets(tables: Tables) -> set[str]:
    """pki.toml, and files that hold keys and passphrases: no rows, CSRs or outputs may be one of them."""
    found = {tables.notes.tree.path}
    for store in tables.entries["keystore"].values():
        secrets = [one for one in (store.values.get("passphrase"), store.values.get("pin")) if one]
        files = (store.values.get("path"), *(one.file for one in secrets))
        found.update(posixpath.normpath(file) for file in files if file)
    return found


def everything(tables: Tables, certs: Iterable[Entry]) -> None:
    """Tell of every path, fan-out and hook that is not as it should be."""
    secrets = _secrets(tables)
    written: dict[str, Path] = {}
    for entry in certs:
        _included(tables, entry)
        _sources(tables.notes, entry, secrets)
        _outputs(tables, entry, written, secrets)
        _unpublished(tables, entry)
    for target in tables.entries["publish"].values():
        url = target.values.get("url", "")
        if url.startswith("file:") and not url.startswith("file:///"):
            mend = "write file:///absolute/path, or a relative path without file:"
            tables.notes.add("E0112", "a file: URL is absolute", (*target.path, "url"), help=mend)
        if "://" not in url and ".." in url.split("/"):
            tables.notes.add("E0112", "`url` leaves the project", (*target.path, "url"), help="remove the ..")
    for store in tables.entries["keystore"].values():
        if ".." in store.values.get("path", "").split("/"):
            tables.notes.add("E0112", "`path` leaves the project", (*store.path, "path"), help="remove the ..")


def _included(tables: Tables, entry: Entry) -> None:
    """What stands in an included file is a pull request's: named by an `allow`, run by nobody."""
    notes = tables.notes
    if is_included(notes, entry, ()) and "allow" not in entry.values:
        profile = entry.values["profile"]
        message = f"cert.{entry.name} is in an included file, and its profile `{profile}` has no `allow`"
        mend = f'add allow = {{ dns = [".example.org"] }} to [profile.{profile}]'
        notes.add(
            "E0323", message, (*entry.path, "profile"), help=mend, related=[("the profile", ("profile", profile))]
        )
    output = entry.values.get("output")
    password = output.p12_password if output else None
    commands = {("after",): entry.values.get("after"), _PASSWORD: password.command if password else None}
    for field, command in commands.items():
        if command and is_included(notes, entry, field) and command not in tables.hooks:
            mend = "add the whole command to hooks = [[...]] in [policy] of pki.toml"
            message = "this command is not among the hooks that included files may name"
            notes.add("E0324", message, (*entry.path, *field), help=mend)
    if password and password.file and escapes(password.file) and is_included(notes, entry, _PASSWORD):
        notes.add("E0112", "`file` is no path of the project", (*entry.path, *_PASSWORD, "file"), help=INSIDE)


def is_included(notes: Notes, entry: Entry, field: Path) -> bool:
    """Whether it stands in another file than pki.toml."""
    return notes.tree.place((*entry.path, *field)).path != notes.tree.path


def _sources(notes: Notes, entry: Entry, secrets: set[str]) -> None:
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
        if file is not None and (escapes(file) or posixpath.normpath(file) in secrets):
            notes.add("E0112", f"`{name}` is no path of the project", (*path, name), help=INSIDE)


def _outputs(tables: Tables, entry: Entry, written: dict[str, Path], secrets: set[str]) -> None:
    notes, values = tables.notes, entry.values
    fans_out = "for_each" in values
    output: Output = values.get("output") or Output()
    for name in OUTPUT_FILES:
        file = getattr(output, name)
        if file is None:
            continue
        path = (*entry.path, "output", name)
        in_root_file = notes.tree.place(path).path == notes.tree.path
        absolute = file.startswith("/") and ".." not in file.split("/")
        if (escapes(file) and not (absolute and in_root_file)) or posixpath.normpath(file) in secrets:
            mend = "an absolute path may stand in pki.toml only" if absolute else INSIDE
            notes.add("E0112", f"`output.{name}` is no path of the project", path, help=mend)
        _alone(notes, file, path, written, fans_out=fans_out)
    csr = values.get("csr")
    if csr is None:
        return
    for name in ("dir", "file"):
        if escapes(getattr(csr, name)):
            notes.add("E0112", f"`csr.{name}` is no path of the project", (*entry.path, "csr", name), help=INSIDE)
    if posixpath.normpath(f"{csr.dir}/{csr.file}") in secrets:
        notes.add("E0112", "this is no CSR", (*entry.path, "csr", "file"), help=INSIDE)
    if fans_out and "${each." not in csr.dir + csr.file:
        mend = 'write file = "${each.host}.csr"'
        notes.add("E0322", "every row would read the same CSR", (*entry.path, "csr", "file"), help=mend)


def _alone(notes: Notes, file: str, path: Path, written: dict[str, Path], *, fans_out: bool) -> None:
    """Each declared file has one writer, however its path is spelt."""
    plain = posixpath.normpath(file)
    if fans_out and "${each." not in file:
        mend = "put the row into the path, as in out/${each.host}.pem"
        notes.add("E0322", "every row would write the same file", path, help=mend)
    elif plain in written:
        notes.add(
            "E0322", f"`{file}` is written by two certificates or keys", path, related=[("first here", written[plain])]
        )
    written.setdefault(plain, path)


def _unpublished(tables: Tables, entry: Entry) -> None:
    """What a web server hands out holds no key, and no link to one."""
    output: Output = entry.values.get("output") or Output()
    declared = [name for name in OUTPUT_FILES if getattr(output, name)]
    secret = [name for name in declared if name in SECRET_FILES]
    # Files of a certificate are kept together, beside the first one.
    for name in dict.fromkeys([*declared[:1], *secret]) if secret else ():
        file = posixpath.normpath(getattr(output, name))
        for target in tables.entries["publish"].values():
            url = target.values.get("url", "").removeprefix("file://")
            if url and ":" not in url and file.startswith(posixpath.normpath(url) + "/"):
                message = f"`output.{name}` would put a private key into what publish.{target.name} hands out"
                mend = "write it outside of that folder" + (
                    "" if name in secret else f": {secret[0]} is kept beside it"
                )
                tables.notes.add("E0112", message, (*entry.path, "output", name), help=mend)
