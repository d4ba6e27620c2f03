"""pki.toml with its includes, overlay and variables to a Config.  Rows of fan-outs are read by rows.py."""

import errno
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from attrs import field, frozen

from pkicode.config import files
from pkicode.config.files import Document
from pkicode.config.forms import covers
from pkicode.config.language import CaSpec, Settings
from pkicode.config.locate import Locator
from pkicode.config.resolve import resolve
from pkicode.config.substitute import substituted, variables
from pkicode.config.tables import TOP, TOP_LATER, closest
from pkicode.config.tree import Notes, Tree
from pkicode.config.tree import Path as Keys
from pkicode.model.problem import ConfigError, Part, Place, Problem, Span
from pkicode.model.row import Block
from pkicode.model.version import VERSION


@frozen
class Config:
    """Everything one pki.toml says, resolved."""

    root: Path
    """The folder of pki.toml, links followed; paths in it are relative to here."""
    path: Path
    env: str
    """The overlay, or "default"."""
    blocks: tuple[Block, ...]
    """CAs, then certificates, each in the order of the file."""
    settings: Settings
    inputs: tuple[tuple[str, str], ...]
    """(relative path, `sha256:...`), sorted; CSRs are not here, their digests are in the rows."""
    problems: tuple[Problem, ...] = ()
    """Warnings."""
    _tree: Tree = field(repr=False, kw_only=True)
    _locator: Locator = field(repr=False, kw_only=True)
    _by_address: Mapping[tuple[str, str], Block] = field(repr=False, kw_only=True)

    def block(self, kind: str, name: str) -> Block | None:
        """The block at an address."""
        return self._by_address.get((kind, name))

    @property
    def cas(self) -> tuple[Block, ...]:
        """The [ca.X], in the order of the file."""
        return tuple(one for one in self.blocks if one.kind == "ca")

    @property
    def ca_names(self) -> frozenset[str]:
        return frozenset(one.name for one in self.cas)

    def ca(self, name: str) -> CaSpec:
        """What [ca.NAME] says; of one that is not declared, what it would say if it were empty."""
        block = self.block("ca", name)
        spec: CaSpec = block.spec if block else CaSpec()
        return spec

    def located(self, problems: Iterable[Problem]) -> tuple[Problem, ...]:
        """The problems with spans, in the order of files and lines.  Only here are lines counted."""
        return self._locator.located(problems)

    def span(self, place: Place) -> Span | None:
        """The span of one place."""
        return self._locator.span(place)

    def written(self, *keys: str | int) -> bool:
        """Whether somebody wrote a value at a key path, rather than leaving it to its default."""
        at: Any = self._tree.data
        for key in keys:
            there = key in at if isinstance(at, dict) else isinstance(at, list) and key in range(len(at))
            if not there:
                return False
            at = at[key]
        return True

    def place(self, *keys: str | int, part: Part = Part.VALUE) -> Place:
        """Where a key path such as ("policy", "max_actions") was written."""
        return self._tree.place(keys, part)


_NO_VARIABLES: Mapping[str, str] = {}


def read(
    path: Path,
    *,
    env: str | None = None,
    variables: Mapping[str, str] = _NO_VARIABLES,
    environ: Mapping[str, str],
    text: str | None = None,
) -> Config:
    """Read and resolve a configuration.

    Args:
        path: the pki.toml.
        env: the overlay; PKICODE_ENV if None.
        variables: what --var sets; wins over PKICODE_VAR_X, which wins over [vars].
        environ: read for PKICODE_ENV and PKICODE_VAR_X only.
        text: read this instead of the file (what-if).

    Raises:
        ConfigError: with every problem found, located.
    """
    root = path.parent.resolve()
    data = text.encode() if text is not None else files.read_bytes(path, path.name, files.LARGEST)
    document = files.document(path.name, data)
    base, documents, problems = files.with_includes(root, document)
    locator = Locator(root, {one.path: one.text for one in documents})
    chosen = env or environ.get("PKICODE_ENV") or "default"
    notes = Notes(base)
    notes.problems += problems
    overlays = _overlays(notes, chosen)
    _requires(notes)
    tree, settings, blocks = _resolved(notes, base, chosen, environ, variables)
    if not notes.errors:
        _overlay_variables(notes)
        for name in overlays:
            _other_overlay(notes, base, name, environ, variables)
    inputs = _inputs(notes, root, documents, blocks, settings)
    if notes.errors or settings is None:
        raise ConfigError(locator.located(notes.errors))
    by_address = {(block.kind, block.name): block for block in blocks}
    return Config(
        root,
        path,
        chosen,
        blocks,
        settings,
        inputs,
        tuple(notes.problems),
        tree=tree,
        locator=locator,
        by_address=by_address,
    )


def _overlays(notes: Notes, chosen: str) -> list[str]:
    """The other overlays there are; tells when the chosen one is not."""
    overlays = notes.tree.data.get("env", {})
    if not isinstance(overlays, dict) or not all(isinstance(one, dict) for one in overlays.values()):
        notes.add("E0202", "`env` must be tables such as [env.prod.state]", ("env",), part=Part.KEY)
        return []
    if chosen != "default" and chosen not in overlays:
        guess = closest(chosen, overlays)
        mend = f"did you mean `{guess}`?" if guess else f"declared: {', '.join(overlays) or 'none'}"
        notes.add("E0111", f"there is no overlay [env.{chosen}]", (), help=mend)
    for name, one in overlays.items():
        for key in one:
            if key not in TOP or key in ("version", "include", "env"):
                _not_in_overlay(notes, name, key)
    return [name for name in overlays if name != chosen]


def _overlay_variables(notes: Notes) -> None:
    """An overlay gives declared variables other values; a name that only it knows is a misspelt one."""
    declared = notes.tree.data.get("vars", {})
    overlays = notes.tree.data.get("env", {})
    given = {name: overlay["vars"] for name, overlay in overlays.items() if isinstance(overlay.get("vars"), dict)}
    for name, variable in [(name, variable) for name, one in given.items() for variable in one]:
        if variable not in declared:
            guess = closest(variable, declared)
            label = f"did you mean `{guess}`?" if guess else ""
            message = f"[env.{name}.vars] sets `{variable}`, which [vars] does not have"
            mend = "" if guess else "declare it in [vars] first"
            notes.add("E0326", message, ("env", name, "vars", variable), part=Part.KEY, label=label, help=mend)


def _not_in_overlay(notes: Notes, name: str, key: str) -> None:
    options = [known for known in TOP if known not in ("version", "include", "env")]
    guess = closest(key, options)
    mend = f"known here: {', '.join(options)}" if not guess else ""
    code, message = "E0203", f"unknown key `{key}` in [env.{name}]"
    if key in TOP_LATER:
        code, message, guess = "E0210", f"`{key}` is not yet in this version: {TOP_LATER[key]}", ""
    label = f"did you mean `{guess}`?" if guess else ""
    notes.add(code, message, ("env", name, key), part=Part.KEY, label=label, help=mend)


def _requires(notes: Notes) -> None:
    project = notes.tree.data.get("project")
    wanted = project.get("requires") if isinstance(project, dict) else None
    if not isinstance(wanted, str):
        return
    try:
        covered = covers(wanted, VERSION)
    except ValueError:
        return  # told when the table is decoded
    if not covered:
        message = f"this project asks for pkicode {wanted}, and this is {VERSION}"
        notes.add("E0109", message, ("project", "requires"), help="install a version that fits")


def _resolved(
    notes: Notes, base: Tree, overlay: str, environ: Mapping[str, str], given: Mapping[str, str]
) -> tuple[Tree, Settings | None, tuple[Block, ...]]:
    tree = files.with_overlay(base, overlay)
    inner = Notes(tree)
    found = variables(inner, environ, given)
    filled = Tree(tree.path, substituted(inner, found, overlay), tree.origins)
    outer = Notes(filled)
    outer.carry(inner)
    settings, blocks = resolve(outer)
    notes.problems += outer.problems
    return filled, settings, blocks


def _other_overlay(notes: Notes, base: Tree, name: str, environ: Mapping[str, str], given: Mapping[str, str]) -> None:
    """Mistakes in an overlay that is not chosen are mistakes too: tomorrow it is."""
    apart = Notes(base)
    _resolved(apart, base, name, environ, given)
    notes.problems += [problem for problem in apart.errors if problem.place and problem.place.keys[:2] == ("env", name)]


def _inputs(
    notes: Notes, root: Path, documents: list[Document], blocks: Iterable[Block], settings: Settings | None
) -> tuple[tuple[str, str], ...]:
    found = {one.path: one.digest for one in documents}
    for block in blocks:
        fan = block.spec.for_each if block.kind == "cert" else None
        if fan and (name := fan.csv or fan.jsonl):
            path = (block.kind, block.name, "for_each", "csv" if fan.csv else "jsonl")
            _input(notes, root, name, path, found)
    for index, entry in enumerate(settings.revoke if settings else ()):
        if entry.csv:
            _input(notes, root, entry.csv, ("revoke", index, "csv"), found)
    return tuple(sorted(found.items()))


def _input(notes: Notes, root: Path, name: str, path: Keys, found: dict[str, str]) -> None:
    """Take the digest of a file that is read while planning."""
    if name in found:
        return
    file = root / name
    if not files.contained(root, file):
        mend = "a link to outside is not followed; copy it in"
        notes.add("E0112", f"`{name}` leads out of the project's root", path, help=mend)
        return
    try:
        # A pipe would keep us waiting for whoever writes to it.
        if file.exists() and not file.is_file():
            raise OSError(errno.EINVAL, "not a regular file")
        if file.stat().st_size > files.LARGEST_ROWS:
            raise OSError(errno.EFBIG, f"larger than {files.LARGEST_ROWS:,} bytes")
        with file.open("rb") as stream:
            found[name] = files.digest_of(stream)
    except OSError as error:
        why = (error.strerror or "cannot be read").lower()
        notes.add("E0105", f"`{name}`: {why}", path, help="the path is relative to pki.toml")
