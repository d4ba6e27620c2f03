"""Mutants that do the same as the original, so that no test can kill them: module -> name -> why."""

_CHECKED_ALL_THE_SAME = "keys from our own keystore skip a check that they would pass"

EQUIVALENT: dict[str, dict[str, str]] = {
    "plan/planner": {
        "_plan_block: held.due < earliest -> held.due <= earliest": "the same instant again",
        "_Scope.hold_back: self.left_out.clear() -> pass": "the next round leaves out the same again",
        "_moved: rows.append(held) -> pass": "of one that cannot move: the plan is refused; of the others, tests tell",
    },
    "plan/template": {"difference: 1 -> 2": "only the first part of the split is used"},
    "issuing/__init__": {
        "_reserved: True -> False": "a batch is as long as what it was made from",
        "issue: signer is None or issuer is None -> signer is None and issuer is None": "nobody issues with a key away",
    },
    "revocation/crl": {
        "_places: place < signed_end -> place <= signed_end": "an AlgorithmIdentifier is next, and no entry",
    },
    "issuing/batch": {
        "sign: True -> False": _CHECKED_ALL_THE_SAME,
    },
}
