"""What is published, compared with what was: for a plan that is to say so, and an apply that is to mend it."""

import hashlib
from collections.abc import Sequence

from pkicode.adapters.publish import open_publisher
from pkicode.config.reader import Config
from pkicode.kinds.crl_lists import LIMIT
from pkicode.model.change import Plan, ReasonCode
from pkicode.model.faults import nothing
from pkicode.model.problem import Foreign
from pkicode.plan.planfile import SavedPlan
from pkicode.ports import Published, Publisher
from pkicode.revocation import pack


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
    """A published file as it is there now, None where it is gone.

    Raises:
        Foreign: what stands there cannot be a file of ours.
        PkicodeError: the target cannot be read.
    """
    return await target.read(record.path, limit=pack.LIMIT if record.path.endswith(".pack") else LIMIT)


async def adrift(config: Config, published: Sequence[Published]) -> dict[str, str]:
    """[publish.X] name -> what is not there as it was published, in words.

    Raises:
        PkicodeError: a target cannot be read.
    """
    found: dict[str, str] = {}
    for declared in config.settings.publish:
        target = publisher(declared.url, config)
        gone, other = [], []
        for record in published:
            if record.target == declared.name:
                try:
                    data = await read(target, record)
                except Foreign:
                    data = b""
                if data is None:
                    gone.append(record.path)
                elif hashlib.sha256(data).hexdigest() != record.sha256:
                    other.append(record.path)
        told = [_told(paths, word) for paths, word in ((gone, "gone"), (other, "not as published")) if paths]
        if told:
            found[declared.name] = ", ".join(told)
    return found


def _told(paths: Sequence[str], word: str) -> str:
    return f"{paths[0]} is {word}" if len(paths) == 1 else f"{len(paths)} files are {word}"
