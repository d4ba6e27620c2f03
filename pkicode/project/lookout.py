"""What is published, compared with what was: for a plan that is to say so, and an apply that is to mend it."""

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Sequence

from attrs import evolve

from pkicode.adapters.publish import open_publisher
from pkicode.config.reader import Config
from pkicode.kinds import authority as authorities
from pkicode.kinds import publication
from pkicode.kinds.authority import Authority
from pkicode.model.change import Plan, ReasonCode
from pkicode.model.faults import nothing
from pkicode.model.problem import Foreign, PkicodeError
from pkicode.plan.kind import Snapshot
from pkicode.plan.planfile import SavedPlan
from pkicode.ports import Artefact, Published, Publisher
from pkicode.revocation import pack, shards

GONE, OTHER = "gone", "not as published"
"""What an apply that looks puts back."""


def looked(plan: Plan | SavedPlan) -> bool:
    """Whether a plan stands on a look at what is published: then it is looked at again before it is applied."""
    if isinstance(plan, SavedPlan):
        codes = {reason["code"] for one in plan.document["actions"] for reason in one["reasons"]}
    else:
        codes = {reason.code for one in plan.changes for reason in one.reasons}
    return ReasonCode.DRIFT_PUBLISHED in codes


def publisher(url: str, config: Config) -> Publisher:
    """The target of a [publish.X] url, to be read only."""

    async def unused() -> None:
        """Nothing is put, so no lease is checked."""

    return open_publisher(url, config.root, reach=nothing, check=unused)


async def read(target: Publisher, record: Published) -> bytes | None:
    """A published file as it is there now: None where it is gone, b"" where what stands there cannot be a file of ours.

    Raises:
        PkicodeError: the target cannot be read.
    """
    try:
        return await target.read(record.path, limit=publication.limit_of(record.path))
    except Foreign:
        return b""


def issuer(path: str, snapshot: Snapshot) -> Authority | None:
    """Who answers for the CRL, whole or a shard, or the pack of a path; None where it is something else."""
    folder, _, rest = path.partition("/")
    name = rest.partition("/")[0]
    stem = name.removesuffix(".crl").removesuffix(".pack") if folder in ("crl", "ocsp") else ""
    for (name, generation), record in snapshot.authorities.items():
        if stem == f"{name}-g{generation}":
            return authorities.from_record(name, generation, record)
    return None


async def looking(config: Config, snapshot: Snapshot, published: Sequence[Published]) -> Snapshot:
    """The snapshot with what is not there as it was published.

    A target that cannot be read is told like any other: whoever owns one stops nothing that is due elsewhere.
    """
    adrift = {}
    for declared in config.settings.publish:
        records = [one for one in published if one.target == declared.name]
        if told := await _adrift(declared.url, config, records, snapshot):
            adrift[declared.name] = told
    return evolve(snapshot, adrift=adrift)


async def _adrift(url: str, config: Config, records: Sequence[Published], snapshot: Snapshot) -> str:
    """What of this is not there as it was published, in words."""
    paths: dict[str, list[str]] = defaultdict(list)
    unread = []
    try:
        target = publisher(url, config)
        for record in records:
            data = await read(target, record)
            if word := await asyncio.to_thread(wrong, record, data, snapshot):
                paths[word].append(record.path)
    except PkicodeError as error:
        unread = [f"it cannot be read: {error.message}"]
    told = [
        f"{those[0]} is {word}" if len(those) == 1 else f"{len(those)} files are {word}"
        for word, those in sorted(paths.items())
    ]
    return ", ".join([*told, *unread])


def wrong(record: Published, data: bytes | None, snapshot: Snapshot) -> str:
    """What is wrong with a published file: GONE, OTHER, or that it is above the state's and stays; "" for nothing."""
    if data is None:
        return GONE
    if hashlib.sha256(data).hexdigest() == record.sha256:
        return ""
    authority = issuer(record.path, snapshot)
    artefact = next((one for one in snapshot.artefacts if path_of(one) == record.path), None)
    above = publication.newer(data, authority, artefact) if authority and artefact else ""
    return f"{above}, which the state does not know, and stays" if above else OTHER


def path_of(artefact: Artefact) -> str:
    return pack.path(artefact.name) if artefact.kind == "ocsp" else shards.path(artefact.name, artefact.scope)
