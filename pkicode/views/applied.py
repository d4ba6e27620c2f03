"""What an apply did: in one line, and with what it left undone."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pkicode.model.instants import rfc3339

if TYPE_CHECKING:
    from pkicode.model.change import Plan
    from pkicode.model.problem import Problem
    from pkicode.project.applied import Applied

STOPPED = "stopped; what was begun is done and recorded, the next apply goes on from there"
_DONE = {
    "issue": "issued",
    "reserve": "reserved",
    "renew": "renewed",
    "revoke": "revoked",
    "forget": "forgotten",
    "sign": "signed",
    "publish": "published",
    "update": "updated",
    "import": "imported",
    "move": "moved",
    "retire": "retired",
    "distrust": "distrusted",
}


def summary(counts: Mapping[str, int], resumed: Mapping[str, int], plan: "Plan", *, failed: int) -> str:
    """`Applied: 7 issued, 2 CRLs signed.   Next wake: ...`; packs of OCSP answers make it `lists`."""
    signed = {one.address.kind for one in plan.changes if str(one.action) == "sign"}
    what, next_due = "CRL" if signed == {"crl"} else "list", plan.next_due
    objects = {"sign": f"{what} " if counts.get("sign") == 1 else f"{what}s "}
    done = [f"{number:,} {objects.get(action, '')}{_DONE[action]}" for action, number in counts.items() if number]
    done += [f"{number:,} left open by an earlier apply now {how}" for how, number in resumed.items() if number]
    done += [f"{failed:,} failed"] if failed else []
    wake = f"   Next wake: {rfc3339(next_due)}" if next_due is not None else ""
    return f"Applied: {', '.join(done) or 'nothing to do'}.{wake}"


def human(applied: "Applied", failed: "Sequence[Problem]") -> str:
    """Where nothing else was shown: what waits, what failed, why and how to mend it; the line of `summary` is the last.

    Args:
        failed: its problems, located.
    """
    from pkicode.model.change import Readiness
    from pkicode.views import problems
    from pkicode.views.human import rows
    from pkicode.views.plan import lines

    waiting = [one for one in applied.plan.changes if one.readiness is not Readiness.READY]
    told = [*rows(lines(waiting)), *([problems.human(failed)] if failed else [])]
    told += [STOPPED] if applied.stopped else []
    return "\n".join([*told, summary(applied.counts, applied.resumed, applied.plan, failed=len(applied.problems))])
