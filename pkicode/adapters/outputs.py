"""Declared outputs: the files of one certificate, which switch together in one step, and the deploy hook after them.

Beside the first declared path stands `.gen/ADDRESS/N/` with the files of generation N and a link `current` to one such
folder; each declared path is a link through `current`.  Replacing that one link switches chain and key at once: no
reader ever finds a chain with another generation's key.  The generation before stays until the next switch, so that a
failed hook can go back.  What the files hold is decided elsewhere.
"""

import asyncio
import errno
import grp
import hashlib
import os
import pwd
import re
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, count
from pathlib import Path

from attrs import field, frozen

from pkicode.adapters.durable import make_folder, sync, write_all
from pkicode.adapters.lock import Check, alone
from pkicode.adapters.process import CommandFailed, run
from pkicode.config.files import contained, resolved
from pkicode.model.faults import FaultPoint, Reach
from pkicode.ports import OutputSet

HOOK_SECONDS = 60
HOOK_OUTPUT = 65536
_HOOK_ENVIRONMENT = ("PATH", "HOME", "LANG")

_SYNCS = 8
"""fsyncs under way at once: they share commits of the file system's journal, which halves their cost."""
_FOLDER_MODE = 0o755
"""Of what lies under `.gen`: the folder of the declared path and each file's own mode say who may read."""
_PUBLIC_MODE = 0o644
_GENERATION = re.compile(r"[0-9]+(-[0-9]+)?")
_OURS = re.compile(r"(.*/)?\.gen/[^/]+/current/[^/]+", re.S)


class _Refused(Exception):
    """This set cannot be written; the text says why, and how to mend it."""


@frozen
class _File:
    name: str
    """In the generation's folder."""
    link: Path
    """The declared path; its folder is resolved."""
    data: bytes = field(repr=False)
    mode: int


@frozen
class _Set:
    """One OutputSet with every path decided."""

    folder: Path
    """`.gen/ADDRESS`."""
    files: tuple[_File, ...]
    uid: int
    gid: int
    generation: int


@frozen
class _Staged:
    planned: _Set
    before: str
    """The folder in force until the switch, "" when there is none."""
    name: str
    """The folder that holds the new files; the one in force when nothing changes."""


async def write_outputs(
    sets: Sequence[OutputSet], *, root: Path, public: Sequence[Path], reach: Reach, check: Check
) -> Sequence[str]:
    """Write and switch each set; all of them are durable when this returns.

    Fault points: OUTPUT_STAGED when every set is complete and fsynced beside the old one, OUTPUT_SWITCHED when every
    `current` names the new one.  A set that is there already, bytes, modes and owner, is left alone.
    Whoever slept through its lease switches nothing: the check is made under a lock on the root.

    Args:
        sets: a batch; its files are in memory and its fsyncs are shared.
        root: the project's folder; relative paths stay inside, and go through no link.
        public: folders that are handed out; no file of a set with a key is kept in one.
        reach: fault points.
        check: see Check.

    Returns:
        Per set an empty text, or what went wrong and how to mend it: then the old files are still in place.
    """
    staged = await asyncio.to_thread(_stage_all, sets, root, [resolved(one) for one in public])
    reach(FaultPoint.OUTPUT_STAGED)
    async with alone(root, os.O_RDONLY | os.O_DIRECTORY, doing=f"switching outputs of {root}"):
        await check()
        told = await asyncio.to_thread(_switch_all, staged)
    reach(FaultPoint.OUTPUT_SWITCHED)
    return told


async def run_hook(command: Sequence[str], environ: Mapping[str, str], *, root: Path, outer: Mapping[str, str]) -> str:
    """Run a deploy hook: no shell, HOOK_SECONDS, nothing of our environment but PATH, HOME and LANG.

    Args:
        command: program and arguments, as the root pki.toml allows them.
        environ: what the hook is told, PKICODE_ADDRESS and so on.
        root: the folder it runs in.
        outer: our own environment.

    Returns:
        An empty text for success, else what went wrong with the (printable) output of the hook, in one line.
    """
    kept = {name: outer[name] for name in _HOOK_ENVIRONMENT if name in outer}
    try:
        await run(
            command,
            root=root,
            environ={"PATH": os.defpath, **kept, **environ},
            seconds=HOOK_SECONDS,
            limit=HOOK_OUTPUT,
            stderr=asyncio.subprocess.STDOUT,
        )
    except CommandFailed as error:
        said = "; ".join(line for line in _printable(error.output).split("\n") if line.strip())
        return f"`{command[0]}` {error.why}{f': {said}' if said else ''}"
    return ""


def _printable(output: bytes) -> str:
    text = output.decode(errors="replace")
    return "".join(
        letter if letter.isprintable() or letter in "\n\t" else "\N{REPLACEMENT CHARACTER}" for letter in text
    )


def _stage_all(sets: Sequence[OutputSet], root: Path, public: Sequence[Path]) -> Sequence[_Staged | str]:
    inside = resolved(root)
    return _synced([_told(_stage, one, inside, public) for one in sets], _written)


def _switch_all(staged: Sequence[_Staged | str]) -> Sequence[str]:
    switched = _synced([one if isinstance(one, str) else _told(_switch, one) for one in staged], _relinked)
    for one in switched:
        if not isinstance(one, str):
            _sweep(one)
    return [one if isinstance(one, str) else "" for one in switched]


def _told(function: Callable[..., _Staged], *args: object) -> _Staged | str:
    """What went wrong as text: one set that cannot be written stops no other."""
    try:
        return function(*args)
    except _Refused as error:
        return str(error)
    except OSError as error:
        return f"{error.filename or 'an output file'} cannot be written: {error.strerror}"


def _stage(one: OutputSet, root: Path, public: Sequence[Path]) -> _Staged:
    planned = _planned(one, root)
    if any(file.secret for file in one.files):
        _refuse_public(planned, public)
    for file in planned.files:
        _refuse_foreign(file.link)
        make_folder(file.link.parent, 0o777)
    for folder in (planned.folder.parent, planned.folder):
        if not folder.is_dir():
            folder.mkdir()
            folder.chmod(_FOLDER_MODE)
    before = _current(planned.folder)
    if before and _agrees(planned, planned.folder / before):
        return _Staged(planned, before, before)
    return _Staged(planned, before, _write(planned))


def _planned(one: OutputSet, root: Path) -> _Set:
    links = [_link(file.path, root) for file in one.files]
    names = [link.name for link in links]
    if len(set(links)) < len(links):
        raise _Refused("two of its files have the same path; give each its own")
    if len(set(names)) < len(names):
        names = [f"{number}-{name}" for number, name in enumerate(names)]
    folder = links[0].parent / ".gen" / _slug(one.address)
    if resolved(folder) != folder:
        raise _Refused(f"{folder} leads elsewhere through a link; remove the link")
    files = tuple(
        _File(name, link, file.data, one.mode if file.secret else _PUBLIC_MODE)
        for name, link, file in zip(names, links, one.files, strict=True)
    )
    try:
        uid = pwd.getpwnam(one.owner).pw_uid if one.owner else -1
        gid = grp.getgrnam(one.group).gr_gid if one.group else -1
    except KeyError as error:
        raise _Refused(
            f"owner or group is unknown on this host: {error.args[0]}; make it, or change `output`"
        ) from error
    return _Set(folder, files, uid, gid, one.generation)


def _link(path: str, root: Path) -> Path:
    declared = Path(path)
    if "\0" in path or declared.name in ("", "..") or ".gen" in declared.parts:
        raise _Refused(f"`{path!r}` is not a path an output can have; name a file, outside of `.gen`")
    folder, inside = resolved((root / declared).parent), Path(os.path.normpath(root / declared)).parent
    if not declared.is_absolute() and not folder.is_relative_to(root):
        raise _Refused(f"`{path}` leaves the project's folder; relative outputs stay inside it, links included")
    # Whoever may add a link to the project could have another certificate's files replaced, or reach the keystore.
    is_aside = not declared.is_absolute() and folder != inside
    if is_aside or (folder.is_relative_to(root) and not contained(root, folder)):
        raise _Refused(f"`{path}` goes through a link, or into .pkicode or .git; name the folder that is meant")
    return folder / declared.name


def _refuse_public(planned: _Set, public: Sequence[Path]) -> None:
    """All files of a set are kept beside the first one, so each folder counts, not only the key's."""
    for place in (planned.folder, *(file.link for file in planned.files)):
        if any(place.is_relative_to(one) for one in public):
            raise _Refused(f"{place} is in a folder that is published, and a key is among the files; choose another")


def _slug(address: str) -> str:
    """A folder name for an address: itself where it is a plain name, else told apart by its digest."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", address)[:80]
    return plain if plain == address else f"{plain}-{hashlib.sha256(address.encode()).hexdigest()[:16]}"


def _refuse_foreign(link: Path) -> None:
    try:
        if _OURS.fullmatch(os.readlink(link)):
            return
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    raise _Refused(f"{link} is there and was not written by pkicode; move it away, or declare another path")


def _current(folder: Path) -> str:
    """The folder in force, "" when there is none."""
    try:
        name = os.readlink(folder / "current")
    except FileNotFoundError:
        return ""
    return name if _GENERATION.fullmatch(name) else ""


def _agrees(planned: _Set, folder: Path) -> bool:
    if not folder.is_dir() or sorted(os.listdir(folder)) != sorted(file.name for file in planned.files):
        return False
    return all(_agrees_file(planned, file, folder / file.name) for file in planned.files)


def _agrees_file(planned: _Set, file: _File, path: Path) -> bool:
    facts = path.lstat()
    return (
        stat.S_ISREG(facts.st_mode)
        and stat.S_IMODE(facts.st_mode) == file.mode
        and planned.uid in (-1, facts.st_uid)
        and planned.gid in (-1, facts.st_gid)
        and facts.st_size == len(file.data)
        and path.read_bytes() == file.data
    )


def _write(planned: _Set) -> str:
    """The new folder's name; its files are whole but not yet synced."""
    name = _make_generation(planned)
    folder = planned.folder / name
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            for file in planned.files:
                _write_file(planned, file, handle)
            os.fchmod(handle, _FOLDER_MODE)
        finally:
            os.close(handle)
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return name


def _make_generation(planned: _Set) -> str:
    # `3`, or `3-2` when 3 is there: left by a crash, or in force with other bytes (a changed path or chain).
    names = chain([str(planned.generation)], (f"{planned.generation}-{number}" for number in count(2)))
    return next(name for name in names if _makes(planned.folder / name))


def _makes(folder: Path) -> bool:
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        return False
    return True


def _write_file(planned: _Set, file: _File, folder: int) -> None:
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(file.name, flags, 0o600, dir_fd=folder)
    try:
        write_all(handle, file.data)
        if (planned.uid, planned.gid) != (-1, -1):
            os.fchown(handle, planned.uid, planned.gid)
        os.fchmod(handle, file.mode)
    finally:
        os.close(handle)


def _switch(staged: _Staged) -> _Staged:
    planned = staged.planned
    _point(planned.folder / "current", staged.name)
    for file in planned.files:
        _point(file.link, os.path.relpath(planned.folder / "current" / file.name, file.link.parent))
    return staged


def _point(link: Path, target: str) -> None:
    try:
        there = os.readlink(link)
    except FileNotFoundError:
        # Fails, and does not replace, when somebody has put a file there since we looked.
        os.symlink(target, link)
        return
    if there != target:
        draft = link.with_name(f".{link.name}.draft")
        draft.unlink(missing_ok=True)
        draft.symlink_to(target)
        draft.replace(link)


def _sweep(staged: _Staged) -> None:
    """Remove what is neither in force nor was before: older generations, and what crashes left."""
    if staged.before == staged.name:
        return
    folder = staged.planned.folder
    for name in os.listdir(folder):
        if name not in ("current", staged.name, staged.before):
            shutil.rmtree(folder / name, ignore_errors=True)


def _written(staged: _Staged) -> Iterator[Path]:
    folder = staged.planned.folder
    for file in staged.planned.files:
        yield folder / staged.name / file.name
    yield from (folder / staged.name, folder, folder.parent, folder.parent.parent)


def _relinked(staged: _Staged) -> Iterator[Path]:
    yield staged.planned.folder
    for file in staged.planned.files:
        yield file.link.parent


def _synced(sets: Sequence[_Staged | str], paths: Callable[[_Staged], Iterator[Path]]) -> Sequence[_Staged | str]:
    """The sets, durable: a folder that many share is synced once."""
    every = {path: None for one in sets if not isinstance(one, str) for path in paths(one)}
    try:
        with ThreadPoolExecutor(_SYNCS) as threads:
            for _ in threads.map(sync, every):
                pass
    except OSError as error:
        # The disk itself fails: nobody knows what of the batch is on it.
        return [one if isinstance(one, str) else f"the disk does not take it: {error.strerror}" for one in sets]
    return sets
