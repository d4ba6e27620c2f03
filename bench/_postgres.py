"""The PostgreSQL that benches of both sides write into: the tests' own, on disk."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

from tests.postgres import Postgres, running

__all__ = ["Postgres", "running"]
