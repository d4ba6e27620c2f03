"""Brakes on a whole plan: max_actions and what --allow lifts (decisions 24, invariant 12)."""

from collections import Counter
from collections.abc import Sequence

from attrs import evolve

from pkicode.model.change import Action, Change, Readiness, Verdict
from pkicode.plan.kind import Outlook

_WORDS = {Action.ISSUE: "issue", Action.RENEW: "issue", Action.REVOKE: "revoke", Action.FORGET: "forget"}
"""Action -> the word of [policy] max_actions; a renewal is an issuance."""


def judge(changes: Sequence[Change], outlook: Outlook) -> tuple[tuple[Verdict, ...], list[Change]]:
    """The verdicts on these changes, and the changes with those denied marked so."""
    counts = Counter(_WORDS[one.action] for one in changes if one.action in _WORDS)
    limits = outlook.config.settings.policy.max_actions
    verdicts, denied = [], set()
    for word, limit in sorted(limits.items()):
        allowed = max(limit, int(outlook.allow.get(word, "0")))
        passed = counts[word] <= allowed
        if passed and counts[word] <= limit:
            message = f"max_actions: {counts[word]:,} of at most {limit:,} {word}"
        elif passed:
            message = f"max_actions: {counts[word]:,} {word} let through by --allow (limit {limit:,})"
        else:
            message = f"max_actions: {counts[word]:,} {word} exceed {word} = {limit:,}"
            denied.add(word)
        mend = "" if passed else f"run with --allow {word}={counts[word]}"
        verdicts.append(Verdict(f"max_actions.{word}", passed, message, mend))
    if not denied:
        return tuple(verdicts), list(changes)
    held_back = "max_actions"
    return tuple(verdicts), [
        evolve(one, readiness=Readiness.DENIED, waits=held_back) if _WORDS.get(one.action) in denied else one
        for one in changes
    ]
