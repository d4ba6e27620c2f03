"""Whether what is served is what was issued: every declared scan asked for its certificates, and the inventory."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence

import pandas as pd

from pkicode.adapters.asked import Wanted, jobs
from pkicode.adapters.scanning import whole
from pkicode.frames.compare import drift
from pkicode.frames.inventory import FIELDS, batches, inventory_frame
from pkicode.frames.scan import scan
from pkicode.model.event import Event
from pkicode.model.instants import from_datetime, rfc3339
from pkicode.model.problem import PkicodeError
from pkicode.ports import Want
from pkicode.project import Project
from pkicode.project.asked import declared, scans
from pkicode.scanner.finding import Endpoint
from pkicode.scanner.served import CHECKS


async def drifted(
    project: Project, names: Sequence[str] = (), *, rate: float | None = None, emit: Callable[[Event], None]
) -> tuple[pd.DataFrame, dict[str, int]]:
    """The frame of compare.drift over everything that is declared, or over these; and how the targets answered.

    Raises:
        PkicodeError: nothing is declared, or not this.
    """
    wanted = names or scans(project.config)
    if not wanted:
        raise PkicodeError("nothing says where certificates are served", help="add a [scan.X], or endpoints to a cert")
    found: list[Endpoint] = []
    expect: set[str] = set()
    for text in wanted:
        told = await declared(project.config, project.state, [text], now=project.clock())
        (meant,) = jobs(Wanted([text], CHECKS, rate=rate), told)
        # A declared scan says itself what it expects; a certificate expects itself.
        expect |= {*meant.expect, *([text] if text.startswith("cert.") else [])}
        found += await whole(meant, emit=emit)
    facts = await project.afacts(Want(), FIELDS, batches)
    inventory = await asyncio.to_thread(inventory_frame, facts, now=project.clock())
    differs = await asyncio.to_thread(drift, scan(found), inventory, expect=expect)
    return differs, dict(Counter(one.state for one in found))


def records(found: pd.DataFrame) -> list[dict[str, object]]:
    """Rows as plain values: instants as RFC 3339, None for what is missing."""
    made = []
    for row in found.to_dict("records"):
        plain = {str(name): None if name != "targets" and pd.isna(value) else value for name, value in row.items()}
        ends = plain["not_after"]
        made.append(
            {**plain, "not_after": None if ends is None else rfc3339(from_datetime(ends)), "targets": [*row["targets"]]}
        )
    return made
