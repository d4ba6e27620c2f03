"""A scan into a folder of Parquet parts, which goes on where it was killed."""

import asyncio
import os
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

from pkicode.adapters.scanning import Ask, clock, here, part_size
from pkicode.frames.parts import Manifest, Parts, begin
from pkicode.model.event import Event
from pkicode.scanner.terms import Job


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
    meant = ((number, list(parts.manifest.numbers(number))) for number in missing)
    async with aclosing(ask(job, meant, emit=emit, jobs=jobs, before=total - left)) as asked:
        async for number, found in asked:
            await asyncio.to_thread(parts.write, number, found)
    return parts
