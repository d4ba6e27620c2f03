"""A scan into a folder of Parquet parts, which goes on where it was killed."""

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import aclosing
from pathlib import Path

from pkicode.adapters.scanning import Ask, clock, counted, here, part_size
from pkicode.frames.parts import MANIFEST, Manifest, OtherScan, Parts, begin
from pkicode.model.event import Event
from pkicode.model.instants import rfc3339
from pkicode.scanner.terms import Job


async def all_into_folder(
    jobs: Sequence[Job],
    folder: Path,
    *,
    emit: Callable[[Event], None],
    processes: int | None = None,
    ask: Ask = here,
) -> list[Parts]:
    """Scans that stand in a folder when this returns: one in itself, several each under its name.

    Raises:
        OtherScan: as `into_folder`.
    """
    if len(jobs) == 1:
        return [await into_folder(jobs[0], folder, emit=emit, jobs=processes, ask=ask)]
    if (folder / MANIFEST).exists():
        raise OtherScan(f"{folder} holds another scan", help="give an empty folder")
    return [
        await into_folder(job, folder / job.terms.scan, emit=emitted, jobs=processes, ask=ask)
        for job, emitted in zip(jobs, counted(jobs, emit), strict=True)
    ]


async def into_folder(
    job: Job, folder: Path, *, emit: Callable[[Event], None], jobs: int | None = None, ask: Ask = here
) -> Parts:
    """Scan what no earlier run of the same scan has scanned; a part is in the folder when it is done.

    Raises:
        OtherScan: the folder holds another scan, or something else.
    """
    total = len(job.targets)
    size = part_size(total)
    manifest = Manifest(job.scan_id, os.urandom(16).hex(), total, size, clock(job.terms))
    parts = await asyncio.to_thread(begin, folder, manifest)
    missing = await asyncio.to_thread(parts.missing)
    left = sum(min(size, total - number * size) for number in missing)
    if left < total:
        emit(Event("scan", _told_before(folder, parts.manifest, total - left), failed=True))
    meant = ((number, list(parts.manifest.numbers(number))) for number in missing)
    async with aclosing(ask(job, meant, emit=emit, jobs=jobs, before=total - left)) as asked:
        async for number, found in asked:
            await asyncio.to_thread(parts.write, number, found)
    return parts


def _told_before(folder: Path, manifest: Manifest, asked: int) -> str:
    """What is old looks as good as new: whoever mended a server and asks again must not read what it was before."""
    which = f"{asked:,} of {manifest.targets:,} targets" if asked < manifest.targets else "all targets"
    told = f"{folder} has {which} from a run that began {rfc3339(manifest.begun)}, and they are not asked again"
    return f"{told}; give another folder to ask anew"
