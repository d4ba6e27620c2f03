"""Files that survive a power cut: made under another name, fsynced, then put in place in one step.

Which files, and who may read them, is decided elsewhere.
"""

import errno
import glob
import os
import re
from contextlib import suppress
from pathlib import Path

from pkicode.adapters.holder import is_gone

# Without a word of ours .keys.db.261130 would be one, which is somebody's copy with a date.
_WORD = "draft"
# The process, its thread, and for what is made of a draft its own draft; what SQLite puts beside.
_DRAFT = re.compile(rf"([1-9]\d{{0,6}})(?:(?:\.{_WORD}\.\1)?\.\d{{8,}})?(?:-journal|-wal|-shm)?")
_FOLDER = re.compile(r"([1-9]\d{0,6})\.\w{8}")
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP)
"""What link(2) says on FAT and exFAT, which sticks have."""


def sync(path: Path) -> None:
    """A file's bytes, or the names that were made, replaced or removed in a folder, are durable only after this."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(path: Path, mode: int) -> None:
    """Make a folder and those above it, durably; the last one with `mode`.  One that is there stays as it is."""
    if path.is_dir():
        return
    make_folder(path.parent, 0o777)
    # Another process may be making the same folder.
    path.mkdir(mode=mode, exist_ok=True)
    sync(path.parent)


def write_new(path: Path | str, data: bytes, mode: int, *, folder: int | None = None) -> None:
    """A new file with these bytes, on disk when this returns; its name is durable after sync of its folder.

    Args:
        folder: an open folder that a relative path is in.

    Raises:
        FileExistsError: something is there, be it a link that leads nowhere.
    """
    file = os.open(
        path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, mode & 0o600, dir_fd=folder
    )
    try:
        write_all(file, data)
        # The umask has no say, and nobody could read it before it was whole.
        os.fchmod(file, mode)
        os.fsync(file)
    finally:
        os.close(file)


def put_new(draft: Path, path: Path) -> None:
    """A draft under its name, where nothing is; it may have both names afterwards.

    Raises:
        FileExistsError: something is there.
    """
    try:
        # A link, not a rename: it fails where something is.
        os.link(draft, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # The name is taken first, and then the draft put in place of it.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        draft.replace(path)


def keep_aside(path: Path, aside: Path) -> None:
    """A second name of a file, or where there are no links a copy of it, on disk when this returns but for the name.

    Raises:
        FileExistsError: something is there.
    """
    try:
        os.link(path, aside)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        write_new(aside, path.read_bytes(), 0o600)


def draft_of(path: Path) -> Path:
    """The name beside a file under which this process makes it, `.NAME.draft.PROCESS`."""
    return path.with_name(f".{path.name}.{_WORD}.{os.getpid()}")


def sweep(path: Path) -> None:
    """Remove the drafts of a file, named as by draft_of and longer, whose makers were killed; folders among them too.

    Nobody loses a file: one whose draft goes although it lives, elsewhere, is told.
    """
    opening = f".{path.name}.{_WORD}."
    for left in path.parent.glob(f"{glob.escape(opening)}*"):
        is_folder = left.is_dir() and not left.is_symlink()
        maker = (_FOLDER if is_folder else _DRAFT).fullmatch(left.name.removeprefix(opening))
        if maker and is_gone(int(maker[1])):
            # Another user's stays where only its owner may remove it; whoever else sweeps may be there first.
            with suppress(OSError):
                if is_folder:
                    from shutil import rmtree  # it brings every compressor

                    rmtree(left)
                else:
                    left.unlink(missing_ok=True)


def write_all(file: int, data: bytes) -> None:
    """os.write may stop halfway."""
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
