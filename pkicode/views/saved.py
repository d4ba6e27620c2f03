"""Plan files back into plans, for showing them.  Nothing is ever applied from what this returns."""

from collections.abc import Mapping
from typing import Any

from pkicode.model.address import parse
from pkicode.model.change import Action, Change, Pending, Plan, Readiness, Reason, ReasonCode, Verdict
from pkicode.model.instants import parse_instant
from pkicode.model.problem import PkicodeError, Problem, Severity


def plan_of(document: Mapping[str, Any]) -> Plan:
    """The plan that a plan file's document (plan/planfile.py) was made from, without blocks and rows.

    Raises:
        PkicodeError: fields are missing or hold something else.
    """
    try:
        return _plan(document)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PkicodeError("this plan file cannot be read", help="make one with `pkicode plan -o FILE`") from error


def _plan(told: Mapping[str, Any]) -> Plan:
    return Plan(
        project=told["project"],
        at=parse_instant(told["at"], now=0),
        expires_at=parse_instant(told["expires_at"], now=0),
        env=told["env"],
        lineage=told["state"]["lineage"],
        sequence=told["state"]["sequence"],
        inputs=tuple((one["path"], one["digest"]) for one in told["inputs"]),
        scope=(tuple(told["scope"]["only"]), tuple(told["scope"]["except"])),
        changes=tuple(map(_change, told["actions"])),
        problems=tuple(map(_problem, told["diagnostics"])),
        verdicts=tuple(Verdict(one["rule"], one["passed"], one["message"]) for one in told["policy"]),
        allow=tuple(sorted(told["allow"].items())),
        next_due=None if told["next_due"] is None else parse_instant(told["next_due"], now=0),
        declared=told["declared"],
        complete=told["complete"],
        pending=tuple(Pending(one["block"], one["count"], tuple(one["fields"])) for one in told["pending"]),
    )


def _change(told: Mapping[str, Any]) -> Change:
    address, _ = parse(told["address"])
    return Change(
        address=address,
        action=Action(told["action"]),
        generation=told["generation"],
        reasons=tuple(Reason(ReasonCode(one["code"]), one["detail"]) for one in told["reasons"]),
        before=told["before"],
        after=told["after"],
        irreversible=told["irreversible"],
        readiness=Readiness(told["status"]),
        waits=told["waits"],
        depends_on=tuple(told["depends_on"]),
    )


def _problem(told: Mapping[str, Any]) -> Problem:
    rows = tuple((one["address"], one["line"]) for one in told.get("rows", ()))
    return Problem(told["code"], told["message"], help=told["help"], rows=rows, severity=Severity(told["severity"]))
