"""What a plan shows to be overdue: certificates, the files and hooks that follow them, and revocations.

What a plan would do because pki.toml says something new is no fault; what an apply should have done already is.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping

from pkicode.kinds.leaf import life_of
from pkicode.model.change import Change, Plan, Readiness, ReasonCode, Stage
from pkicode.model.counted import counted
from pkicode.model.instants import NO_EXPIRY, rfc3339
from pkicode.model.row import Held
from pkicode.plan.kind import Snapshot
from pkicode.project.checks import Check, Figure, Level, lateness


def undone(planned: Plan, snapshot: Snapshot, project: str, now: int) -> Iterator[Check | Figure]:
    """By block, with the mend where it is not the next apply alone."""
    yield from _renewals(planned, snapshot, project, now)
    yield from _outputs(planned, snapshot, project, now)
    yield from _revocations(planned)


def _renewals(planned: Plan, snapshot: Snapshot, project: str, now: int) -> Iterator[Check | Figure]:
    """Certificates that are due: how many, and how little time the most urgent has."""
    late: dict[str, list[tuple[Level, int]]] = defaultdict(list)
    for change in planned.changes:
        held = change.held
        if change.address.kind == "cert" and change.block and held and held.status == "ok" and held.due <= now:
            end = life_of(held, snapshot.templates[held.template], project).not_after
            late[change.address.block].append((lateness(held.due, end, now), end))
    for block, found in late.items():
        level, first = max(one for one, _ in found), min(end for _, end in found)
        yield Figure("certificates_due", len(found), (("block", block),))
        yield Figure("certificates_due_first_end_timestamp_seconds", first, (("block", block),))
        gone = "ended" if first < now else "ends"
        yield Check("renewal", block, level, f"{len(found):,} due and not renewed; the first {gone} {rfc3339(first)}")


def _outputs(planned: Plan, snapshot: Snapshot, project: str, now: int) -> Iterator[Check | Figure]:
    """Files that were not written, and hooks that failed: the service goes on with what it had."""
    coming = {(one.address.name, one.address.key) for one in planned.changes if one.address.kind == "cert"}
    owed: dict[str, list[Change]] = defaultdict(list)
    for change in _ready(planned, "output"):
        # Files of a certificate that is yet to come follow it.
        if change.block and (_hook_failed(change) or (change.address.name, change.address.key) not in coming):
            owed[change.address.block].append(change)
    certs = {(one.name, one.key): one for one in snapshot.held if owed and one.kind == "cert"}
    for block, changes in owed.items():
        yield Figure("outputs_pending", len(changes), (("block", block),))
        level = max(_urgency(one, certs, snapshot, project, now) for one in changes)
        whose = counted(len(changes), "certificate")
        message = f"the files of {whose} are not as declared: `pkicode apply` writes them"
        if failed := sum(map(_hook_failed, changes)):
            whose = counted(failed, "certificate")
            message = f"the deploy hook of {whose} failed; mend it: each `pkicode apply` tries again"
        yield Check("output", block, level, message)


def _ready(planned: Plan, kind: str) -> Iterator[Change]:
    """What is held back is told as that."""
    return (one for one in planned.changes if one.address.kind == kind and one.readiness is Readiness.READY)


def _hook_failed(change: Change) -> bool:
    return change.held is not None and change.held.status == "hook-failed"


def _urgency(
    change: Change, certs: Mapping[tuple[str, str], Held], snapshot: Snapshot, project: str, now: int
) -> Level:
    """The certificate before was due when this one was made, and had as long to go as this one will have then."""
    follows = _hook_failed(change) or any(one.code is ReasonCode.DUE for one in change.reasons)
    cert = certs.get((change.address.name, change.address.key))
    if not follows or cert is None or cert.status != "ok" or cert.due == NO_EXPIRY:
        return Level.WARNING
    life = life_of(cert, snapshot.templates[cert.template], project)
    end = life.not_before + life.not_after - cert.due
    return max(Level.WARNING, lateness(life.not_before, end, now))


def _revocations(planned: Plan) -> Iterator[Check | Figure]:
    """Entries that are not acted on, and what was acted on and no CRL tells."""
    owed: dict[str, list[Change]] = defaultdict(list)
    for change in _ready(planned, "revoke"):
        if change.irreversible:
            owed[change.address.block].append(change)
    for block, changes in owed.items():
        yield Figure("revocations_pending", len(changes), (("entry", changes[0].address.name),))
        level = Level.CRITICAL if any(one.stage is Stage.FIRST for one in changes) else Level.WARNING
        named = sum(bool(one.address.key) for one in changes)
        what = f"{counted(named, 'certificate')} not revoked" if named else "the key is not block-listed"
        yield Check("revocation", block, level, f"{what} yet: `pkicode apply`")
    for change in () if owed else _ready(planned, "crl"):
        if any(one.code is ReasonCode.CRL_CONTENT for one in change.reasons):
            message = "the newest CRL lacks what was revoked since: `pkicode apply` signs one"
            yield Check("revocation", str(change.address), Level.WARNING, message)
