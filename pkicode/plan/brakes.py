"""Brakes on a whole plan: max_actions, denied certificates, and what --allow lifts (invariant 12)."""

from collections import Counter
from collections.abc import Mapping, Sequence

from attrs import evolve

from pkicode.model.change import APPROVAL, Action, Change, Readiness, Verdict
from pkicode.model.counted import counted
from pkicode.model.problem import PkicodeError
from pkicode.plan.kind import Outlook, covers

BRAKES = (*map(str, Action), "remove")
"""What --allow lifts with a number: the words of [policy] max_actions, and the brake on rows that go."""
REQUIRE_APPROVAL = "require_approval"
"""The verdict on a plan that somebody has to approve."""
NAMING = ("ca-revoke", "ca-rotate", "root-change")
"""What --allow lifts by the name of a CA."""
WORDS = (*BRAKES, *NAMING, "reissue")
"""All words of --allow; `reissue` takes a glob of addresses."""


def refuse_unknown(allow: Mapping[str, str]) -> None:
    """A misspelt word would allow nothing and say nothing.

    Raises:
        PkicodeError: a word that is none, or a brake without a number.
    """
    for word, value in allow.items():
        if word not in WORDS:
            raise PkicodeError(f"`{word}` is nothing that can be allowed", help=f"one of {', '.join(WORDS)}")
        if word in BRAKES and not value.isdecimal():
            raise PkicodeError(f"allowed {word}={value}: this brake takes a number", help=f"write it as in {word}=10")


def judge(changes: Sequence[Change], outlook: Outlook) -> tuple[tuple[Verdict, ...], list[Change]]:
    """The verdicts on these changes, and the changes with those denied marked so."""
    limits = outlook.config.settings.policy.max_actions
    counts = Counter(word for one in changes for word in _words(one.action))
    limited = {word: _limited(word, counts[word], limit, outlook.allow) for word, limit in sorted(limits.items())}
    exceeded = {word for word, verdict in limited.items() if not verdict.passed}
    verdicts = (*_denials(changes), *outlook.verdicts, *limited.values(), *_approvals(changes, outlook))
    return verdicts, [
        evolve(one, readiness=Readiness.DENIED, waits="max_actions")
        if exceeded.intersection(_words(one.action))
        else one
        for one in changes
    ]


def _words(action: Action) -> tuple[str, ...]:
    """What a change counts as: a renewal is an issuance too."""
    return (str(action), str(Action.ISSUE)) if action is Action.RENEW else (str(action),)


def _denials(changes: Sequence[Change]) -> list[Verdict]:
    """One verdict for each rule of [policy] deny that certificates break."""
    broken = Counter(one.waits for one in changes if one.readiness is Readiness.DENIED and one.waits not in NAMING)
    mend = "change what is asked for, or the rule in [policy]"
    return [
        Verdict(
            rule.split(" ")[0], passed=False, message=f"{counted(number, 'certificate')} denied by {rule}", help=mend
        )
        for rule, number in sorted(broken.items())
    ]


def _approvals(changes: Sequence[Change], outlook: Outlook) -> list[Verdict]:
    """What wants an approval is let through here; apply holds it back until somebody gave one."""
    globs = outlook.config.settings.policy.require_approval
    number = sum(
        one.waits == APPROVAL or (one.readiness is Readiness.READY and covers(globs, one.address)) for one in changes
    )
    message = f"{counted(number, 'change')} of {', '.join(globs)} wait{'s' * (number == 1)} for an approval"
    return [Verdict(REQUIRE_APPROVAL, passed=True, message=message)] if number else []


def _limited(word: str, count: int, limit: int, allow: Mapping[str, str]) -> Verdict:
    passed = count <= max(limit, int(allow.get(word, "0")))
    if count <= limit:
        message = f"max_actions: {count:,} of at most {limit:,} {word}"
    elif passed:
        message = f"max_actions: {count:,} {word} let through by --allow (limit {limit:,})"
    else:
        message = f"max_actions: {count:,} {word} exceed {word} = {limit:,}"
    return Verdict(f"max_actions.{word}", passed, message, "" if passed else f"run with --allow {word}={count}")
