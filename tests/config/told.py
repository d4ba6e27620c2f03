"""What is wrong with the rows of a configuration."""

from pkicode.config.reader import Config
from pkicode.config.rows import rows
from pkicode.model.problem import ConfigError, Problem


def problems(config: Config) -> tuple[Problem, ...]:
    """The problems of all fan-outs, block by block."""
    found: list[Problem] = []
    for block in config.blocks:
        try:
            for _ in rows(config, block):
                pass
        except ConfigError as error:
            found += error.problems
    return tuple(found)
