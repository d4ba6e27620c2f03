"""A scan into a folder of Parquet parts, which goes on where it was killed."""

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa

from pkicode.adapters.scanning import PART_MOST, clock, counted, opened
from pkicode.frames.parts import MANIFEST, Manifest, OtherScan, Parts, begin, joined
from pkicode.model.event import Event
from pkicode.scanner.terms import Job

_LEAST, _PARTS = 64, 256
"""Targets of a part: enough to ask many at once, and few enough to do again after a kill."""


async def all_into_folder(
    jobs: Sequence[Job], folder: Path, *, emit: Callable[[Event], None], processes: int | None = None
) -> dict[str, pa.Table]:
    """The Arrow tables of scans that stand in a folder when this returns: one in itself, several each under its name.

    Raises:
        OtherScan: as `into_folder`.
    """
    if len(jobs) == 1:
        return (await into_folder(jobs[0], folder, emit=emit, jobs=processes)).tables()
    if (folder / MANIFEST).exists():
        raise OtherScan(f"{folder} holds another scan", help="give an empty folder")
    parts = [
        await into_folder(job, folder / job.terms.scan, emit=emitted, jobs=processes)
        for job, emitted in zip(jobs, counted(jobs, emit), strict=True)
    ]
    return joined(parts)


async def into_folder(job: Job, folder: Path, *, emit: Callable[[Event], None], jobs: int | None = None) -> Parts:
    """Scan what no earlier run of the same scan has scanned; a part is in the folder when it is done.

    Raises:
        OtherScan: the folder holds another scan, or something else.
    """
    total = len(job.targets)
    size = min(PART_MOST, max(_LEAST, -(-total // _PARTS)))
    manifest = Manifest(job.scan_id, os.urandom(16).hex(), total, size, clock(job.terms))
    parts = await asyncio.to_thread(begin, folder, manifest)
    missing = await asyncio.to_thread(parts.missing)
    left = sum(min(size, total - number * size) for number in missing)
    async with opened(job, emit=emit, jobs=jobs, before=total - left) as scanning:
        for number in missing:
            found = await scanning.part(list(parts.manifest.numbers(number)))
            await asyncio.to_thread(parts.write, number, found)
    return parts
