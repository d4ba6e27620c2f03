"""What is wrong with the rows of a configuration."""

from pkicode.config.reader import Config
from pkicode.config.rows import rows
from pkicode.kinds import revocation
from pkicode.model.problem import ConfigError, Problem
from pkicode.plan import planner
from pkicode.plan.kind import Snapshot
from pkicode.ports import About

NOW = 1_795_424_400
"""2026-11-23T09:00:00Z."""


def problems(config: Config) -> tuple[Problem, ...]:
    """The problems of all fan-outs, block by block."""
    found: list[Problem] = []
    for block in config.blocks:
        try:
            for _ in rows(config, block):
                pass
        except ConfigError as error:
            found += error.problems
    return (*found, *_of_revocations(config))


def _of_revocations(config: Config) -> tuple[Problem, ...]:
    """What it takes an instant to say, without any state."""
    if not config.settings.revoke:
        return ()
    empty = Snapshot(About("", "", "", 0, 0, "", 0), (), {}, {}, (), {})
    return planner.validate(config, now=NOW, kinds=[revocation.KIND], empty=empty)
