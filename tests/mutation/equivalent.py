"""Mutants that do the same as the original, so that no test can kill them: module -> name -> why."""

EQUIVALENT: dict[str, dict[str, str]] = {}
