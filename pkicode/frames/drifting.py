"""Whether what is served is what was issued: every declared scan asked for its certificates, and the inventory."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import chain

import pandas as pd

from pkicode.adapters.asked import Wanted, jobs
from pkicode.adapters.scanning import whole
from pkicode.config.reader import Config
from pkicode.frames.columns import tuples
from pkicode.frames.compare import drift
from pkicode.frames.inventory import FIELDS, batches, inventory_frame
from pkicode.frames.scan import scan
from pkicode.model.event import Event
from pkicode.model.instants import from_datetime, rfc3339
from pkicode.ports import Want
from pkicode.project import Project
from pkicode.project.asked import declared, meant
from pkicode.project.served import declared as endpoints
from pkicode.scanner.finding import Endpoint
from pkicode.scanner.served import CHECKS

_ITS_OWN = ""
"""Among targets: the endpoints that a certificate declares."""


async def drifted(
    project: Project, names: Sequence[str] = (), *, rate: float | None = None, emit: Callable[[Event], None]
) -> tuple[pd.DataFrame, dict[str, int]]:
    """The frame of compare.drift over everything that is declared, or over these; and how the targets answered.

    Raises:
        PkicodeError: nothing is declared, or not this.
    """
    found: list[Endpoint] = []
    looked: dict[str, list[str]] = defaultdict(list)
    for text in meant(project.config, names):
        told = await declared(project.config, project.state, [text], now=project.clock())
        (job,) = jobs(Wanted([text], CHECKS, rate=rate), told)
        heard = await whole(job, emit=emit)
        found += heard
        # A declared scan says itself what it expects; a certificate expects itself, at its own endpoints.
        for address in job.expect:
            looked[address] += (str(one.target) for one in heard)
        if text.startswith("cert."):
            looked[text] += [_ITS_OWN]
    facts = await project.afacts(Want(), FIELDS, batches)
    inventory = await asyncio.to_thread(inventory_frame, facts, now=project.clock())
    differs = await asyncio.to_thread(drift, scan(found), inventory, expect=looked)
    placed = await asyncio.to_thread(_placed, differs, looked, project.config)
    return placed, dict(Counter(one.state for one in found))


def _placed(found: pd.DataFrame, looked: Mapping[str, Sequence[str]], config: Config) -> pd.DataFrame:
    """What is served nowhere gets the targets at which it was looked for."""
    own: dict[str, list[str]] = defaultdict(list)
    if (found["drift"] == "not-served").any():
        for place, text in endpoints(config):
            own[str(place)].append(text)
    targets = []
    for word, address, where in zip(found["drift"], found["address"], found["targets"], strict=True):
        if word == "not-served":
            asked = [text for at in (address, address.partition("[")[0]) for text in looked.get(at, ())]
            each = (own[address] if text == _ITS_OWN else [text] for text in asked)
            targets.append(tuple(dict.fromkeys(chain.from_iterable(each))))
        else:
            targets.append(where)
    return found.assign(targets=tuples(targets))


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
