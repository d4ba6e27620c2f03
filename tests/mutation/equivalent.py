"""Mutants that do the same as the original, so that no test can kill them: module -> name -> why."""

_CHECKED_ALL_THE_SAME = "keys from our own keystore skip a check that they would pass"

EQUIVALENT: dict[str, dict[str, str]] = {
    "plan/template": {"difference: 1 -> 2": "only the first part of the split is used"},
    "issuing/batch": {
        "sign: True -> False": _CHECKED_ALL_THE_SAME,
        "module: False -> True": "escaped or not, JSON reads the same",
    },
}
