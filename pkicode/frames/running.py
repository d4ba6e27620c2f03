"""A scan into a folder of Parquet parts, which goes on where it was killed."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from pkicode.adapters.scanning import PART_MOST, clock, opened
from pkicode.frames.parts import Manifest, Parts, begin
from pkicode.model.event import Event
from pkicode.scanner.terms import Job

_LEAST, _PARTS = 64, 256
"""Targets of a part: enough to ask many at once, and few enough to do again after a kill."""


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
