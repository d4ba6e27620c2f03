"""Who may approve a plan: the keys in pki.toml, each for as long as it is the one that approved first."""

import binascii
import json
from pathlib import Path

from attrs import evolve

from pkicode.config import files
from pkicode.config.reader import Config
from pkicode.model.change import Plan
from pkicode.model.instants import MINUTE, rfc3339
from pkicode.model.problem import StalePlan, Unapproved
from pkicode.plan import approval
from pkicode.plan.approval import Approval, ApprovalError
from pkicode.plan.brakes import REQUIRE_APPROVAL
from pkicode.plan.planfile import SavedPlan
from pkicode.ports import World, Write
from pkicode.x509 import keys

SUFFIX = ".approval"
_PIN = "approver."
"""Under which the state remembers the sha256 of an approver's SPKI."""
_AHEAD = 5 * MINUTE
"""How far an approver's clock may be ahead of this one."""


def approve(saved: SavedPlan, key: keys.SigningKey, config: Config, *, now: int) -> Approval:
    """This key's approval of a plan, which lives as long as the plan does.

    Raises:
        ApprovalError: the key is nobody's in pki.toml.
        StalePlan: the plan has ended.
    """
    if now > saved.expires_at:
        raise StalePlan(f"the plan expired at {rfc3339(saved.expires_at)}", help="plan again")
    spki = keys.spki(key)
    for one in config.settings.approvers:
        if binascii.a2b_base64(one.public_key) == spki:
            return approval.approve(saved.plan_id, one.name, key, at=now, expires=saved.expires_at)
    declared = ", ".join(one.name for one in config.settings.approvers) or "none"
    raise ApprovalError(
        "no [approver.X] of pki.toml has the public half of this key",
        help=f"declared: {declared}; add one, or use its key",
    )


def with_approvals(saved: SavedPlan, plan: Path, given: list[Path], *, detached: bool) -> SavedPlan:
    """The plan with these approvals; with the one that lies beside it where none is given."""
    beside = plan.with_name(plan.name + SUFFIX)
    paths = given or ([beside] if beside.exists() else [])
    found = []
    for path in paths:
        found.append(files.read_bytes(path, str(path), approval.LIMIT))
    return evolve(saved, approvals=tuple(found), detached=detached)


async def unapproved(plan: Plan | SavedPlan | None, fresh: Plan, config: Config, world: World) -> tuple[str, ...]:
    """The globs whose changes wait for an approval; none where one came with the plan, which is remembered then.

    Raises:
        ApprovalError: an approval is forged, expired, another plan's, or by a key that does not count.
        Unapproved: the plan is to be applied detached, which takes an approval.
    """
    saved = plan if isinstance(plan, SavedPlan) else None
    if saved is None or not saved.approvals:
        if saved is not None and saved.detached:
            raise Unapproved("a detached plan has no approval", help="`pkicode approve FILE --key KEY`")
        wanted = any(one.rule == REQUIRE_APPROVAL for one in fresh.verdicts)
        return config.settings.policy.require_approval if wanted else ()
    known = await world.store.meta()
    pins = {}
    for data in saved.approvals:
        one = approval.decode(data)
        pins[f"{_PIN}{one.approver}"] = _checked(one, saved, config, known.get(f"{_PIN}{one.approver}"), world.now)
    # From here on nobody else is approver of this name.
    detail = json.dumps({"keys": pins, "plan": saved.plan_id}, sort_keys=True)
    write = Write(at=world.now, actor=world.actor, action="approve", subject=" ".join(pins), detail=detail, meta=pins)
    await world.store.commit(write, world.lease)
    return ()


def _checked(one: Approval, plan: SavedPlan, config: Config, pin: str | None, now: int) -> str:
    """sha256 of the key that approved."""
    declared = {each.name: binascii.a2b_base64(each.public_key) for each in config.settings.approvers}
    if one.approver not in declared:
        raise ApprovalError(
            f"there is no [approver.{one.approver}] in pki.toml", help="another approver has to approve"
        )
    spki = declared[one.approver]
    approval.verify(one, spki)
    if one.plan_id != plan.plan_id:
        raise ApprovalError(
            "this approval is of another plan", help="approve this one: `pkicode approve FILE --key KEY`"
        )
    if now > one.expires_at:
        raise ApprovalError(f"the approval ended {rfc3339(one.expires_at)}", help="plan again, and approve again")
    if one.approved_at > now + _AHEAD:
        text = f"the approval was made {rfc3339(one.approved_at)}, and this clock says {rfc3339(now)}"
        raise ApprovalError(text, help="set the clock that is wrong")
    digest = keys.digest(spki)
    if pin is not None and pin != digest:
        raise ApprovalError(
            f"[approver.{one.approver}] has another key in pki.toml than the one that approved first (sha256 {pin})",
            help="put that key back; a new key is a new approver, with a name of its own",
        )
    return digest
