"""Plan files: a plan as canonical JSON, and whether it still says what would be done.

A saved plan is an expectation, never a source of what gets signed: apply plans again and compares.  No
field can hold a secret and none a serial number, so a plan may be posted in public.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from json.encoder import encode_basestring
from typing import Any

from attrs import asdict, define, field, frozen

from pkicode.model.change import Change, Layered, Plan, Readiness
from pkicode.model.instants import parse_instant, rfc3339
from pkicode.model.problem import PkicodeError, Problem, Span, StalePlan
from pkicode.model.served import Seen

FORMAT, VERSION = "pkicode.plan", "1.1"
LIMIT = 256 * 1024 * 1024
"""The largest plan file that is read."""

_COUNTS = ("issue", "renew", "revoke", "sign", "publish", "forget", "import", "update", "blocked")


@frozen
class SavedPlan:
    """A plan file whose digest agrees with its content."""

    plan_id: str
    document: Mapping[str, Any]
    approvals: tuple[bytes, ...] = ()
    """Approval files that came with it, not yet verified."""
    detached: bool = False
    """Approved apart from the files it was made from: their digests are not compared."""

    @property
    def at(self) -> int:
        return parse_instant(self.document["at"], now=0)

    @property
    def expires_at(self) -> int:
        return parse_instant(self.document["expires_at"], now=0)


def document(plan: Plan, where: Callable[[Change], tuple[str, int]] | None = None) -> dict[str, Any]:
    """The stable JSON form, with its plan_id; what endpoints serve, if somebody looked, is no part of that.

    Args:
        where: gives the file and line of a change's block; without it actions have no `source`, which is not part of
            plan_id: moving a block in its file changes nothing.
    """
    told = _document(plan)
    plan_id = identify(told)
    if where is not None:
        for action, change in zip(told["actions"], plan.changes, strict=True):
            path, line = where(change)
            action["source"] = {"path": path, "line": line}
    if plan.seen is not None:
        told["endpoints"] = [endpoint(one) for one in plan.seen]
    return {"format": FORMAT, "version": VERSION, "plan_id": plan_id, **told}


def identify(told: Mapping[str, Any]) -> str:
    """sha256 of the canonical JSON of everything but plan_id, the sources, and what endpoints serve."""
    bare = {key: value for key, value in told.items() if key not in ("plan_id", "format", "version", "endpoints")}
    bare["actions"] = [{key: value for key, value in one.items() if key != "source"} for one in bare["actions"]]
    return hashlib.sha256(canonical(bare)).hexdigest()


def plan_id(plan: Plan) -> str:
    """What `identify` says of its document, in the memory of one action at a time."""
    digest = hashlib.sha256()
    for part in _canonical_parts(plan):
        digest.update(part)
    return digest.hexdigest()


def canonical(told: object) -> bytes:
    """Sorted keys, no spaces, UTF-8."""
    return _encode(told).encode()


_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode
"""Made once: json.dumps makes a new one for each call."""

OPENING = canonical({"format": FORMAT})[:-1] + b","
"""What every plan file begins with."""


def _canonical_parts(plan: Plan) -> Iterator[bytes]:
    """canonical(_document(plan)), bit by bit: the actions of 100,000 rows are 200 MB as dictionaries."""
    yield b'{"actions":['
    comma, text = "", _Actions()
    for change in plan.changes:
        yield (comma + text.of(change)).encode()
        comma = ","
    yield b"]," + canonical(_about(plan))[1:]


@define
class _Actions:
    """Changes as canonical JSON; what nearly all changes of a block have in common is encoded once."""

    _rests: dict[tuple[object, ...], str] = field(factory=dict)
    _forms: dict[tuple[int, tuple[str, ...]], tuple[Mapping[str, object], list[tuple[str, int]], str]] = field(
        factory=dict
    )
    """Of `common` (its identity, and itself so that the identity stays its own) and `names`: what is written before
    each own value, and after the last."""

    def of(self, change: Change) -> str:
        if not isinstance(change.after, Layered) or change.before is not None:
            return _encode(_action(change))
        # Everything that stands behind "after" in the alphabet.
        about = (
            change.address.kind,
            change.generation,
            change.readiness,
            change.waits,
            change.reasons,
            change.irreversible,
            change.depends_on,
            change.held.version if change.held else 0,
        )
        rest = self._rests.get(about)
        if rest is None:
            told = _action(change)
            del told["action"], told["address"], told["after"]
            rest = self._rests[about] = "," + _encode(told)[1:]
        address = encode_basestring(str(change.address))
        return f'{{"action":"{change.action}","address":{address},"after":{self._layered(change.after)}{rest}'

    def _layered(self, after: Layered) -> str:
        form = self._forms.get((id(after.common), after.names))
        if form is None:
            form = self._forms[id(after.common), after.names] = (after.common, *_form(after.common, after.names))
        _, places, end = form
        own = after.own
        return "".join([before + _value(own[place]) for before, place in places]) + end


def _form(common: Mapping[str, object], names: tuple[str, ...]) -> tuple[list[tuple[str, int]], str]:
    places, text = [], "{"
    for name in sorted({*common, *names}):
        text += f"{_encode(name)}:"
        if name in names:
            places.append((text, names.index(name)))
            text = ","
        else:
            text += f"{_encode(common[name])},"
    return places, text.removesuffix(",") + "}"


def _value(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{','.join(map(_value, value))}]"
    return encode_basestring(value) if isinstance(value, str) else _encode(value)


def _document(plan: Plan) -> dict[str, Any]:
    return {"actions": [_action(one) for one in plan.changes], **_about(plan)}


def _about(plan: Plan) -> dict[str, Any]:
    """Everything but the actions; their key comes first in the alphabet."""
    return {
        "project": plan.project,
        "env": plan.env,
        "at": rfc3339(plan.at),
        "expires_at": rfc3339(plan.expires_at),
        "next_due": rfc3339(plan.next_due) if plan.next_due is not None else None,
        "has_changes": plan.has_changes,
        "complete": plan.complete,
        "declared": plan.declared,
        "scope": {"only": list(plan.scope[0]), "except": list(plan.scope[1])},
        "allow": dict(plan.allow),
        "state": {"lineage": plan.lineage, "sequence": plan.sequence},
        "inputs": [{"path": path, "digest": digest} for path, digest in plan.inputs],
        "counts": counts(plan),
        "templates": {
            f"{one.block.kind}.{one.block.name}": one.block.template_id for one in plan.changes if one.block is not None
        },
        "pending": [{"block": one.block, "count": one.count, "fields": list(one.fields)} for one in plan.pending],
        "policy": [{"rule": one.rule, "passed": one.passed, "message": one.message} for one in plan.verdicts],
        "diagnostics": [diagnostic(one) for one in plan.problems],
    }


def counts(plan: Plan) -> dict[str, int]:
    """How many changes of each sort; `blocked` are those that wait or are denied, counted nowhere else."""
    found = Counter(str(one.action) if one.readiness is Readiness.READY else "blocked" for one in plan.changes)
    return {word: found.get(word, 0) for word in _COUNTS} | {
        word: number for word, number in sorted(found.items()) if word not in _COUNTS
    }


def _action(change: Change) -> dict[str, Any]:
    return {
        "address": str(change.address),
        "kind": change.address.kind,
        "action": str(change.action),
        "generation": change.generation,
        "status": str(change.readiness),
        "waits": change.waits,
        "reasons": [{"code": str(one.code), "detail": one.detail} for one in change.reasons],
        "before": change.before,
        "after": change.after.plain() if isinstance(change.after, Layered) else change.after,
        "irreversible": change.irreversible,
        "depends_on": list(change.depends_on),
        # The read set: which version of the row this was decided on; 0 = there was none.
        "version": change.held.version if change.held else 0,
    }


def endpoint(seen: Seen) -> dict[str, Any]:
    """What was seen at one address of an endpoint, as JSON."""
    return {
        "address": seen.address,
        "generation": seen.generation,
        "endpoint": seen.endpoint,
        "target": seen.target,
        "state": seen.state,
        "drift": seen.drift or None,
        "served": [
            {**asdict(one), "not_after": None if one.not_after is None else rfc3339(one.not_after)}
            for one in seen.served
        ],
    }


def diagnostic(problem: Problem) -> dict[str, Any]:
    """One problem as JSON, in plan files and in what `--format json` prints; `rows` where many rows have it."""
    rows = [{"address": address, "line": line} for address, line in problem.rows]
    return {
        "code": problem.code,
        "severity": str(problem.severity),
        "message": problem.message,
        "help": problem.help,
        "span": _span(problem.span),
        **({"rows": rows} if rows else {}),
    }


def _span(span: Span | None) -> dict[str, Any] | None:
    if span is None:
        return None
    return {
        "path": span.path,
        "start": {"line": span.line, "column": span.column},
        "end": {"line": span.end_line, "column": span.end_column},
    }


def shown(plan: Plan) -> SavedPlan:
    """A plan in memory as an expectation: what somebody has seen and agreed to."""
    return SavedPlan("", _document(plan))


def encode(plan: Plan) -> tuple[str, bytes]:
    """(plan_id, plan file); the canonical text is made once, for the digest and for the file."""
    bare = b"".join(_canonical_parts(plan))
    plan_id = hashlib.sha256(bare).hexdigest()
    head = canonical({"format": FORMAT, "plan_id": plan_id, "version": VERSION})
    return plan_id, head[:-1] + b"," + bare[1:] + b"\n"


def load(data: bytes) -> SavedPlan:
    """Read a plan file.

    Raises:
        PkicodeError: not a plan file, or of another major version.
        StalePlan: it was edited: its digest is not its plan_id.
    """
    try:
        told = json.loads(data)
        is_plan = isinstance(told, dict) and told.get("format") == FORMAT
        major = str(told.get("version", "")).split(".")[0] if is_plan else ""
    except (ValueError, RecursionError) as error:
        raise PkicodeError("this is not a plan file", help="make one with `pkicode plan -o FILE`") from error
    if not is_plan:
        raise PkicodeError("this is not a plan file", help="make one with `pkicode plan -o FILE`")
    if major != VERSION.split(".", maxsplit=1)[0]:
        raise PkicodeError(
            f"this plan file has version {told.get('version')!r}, this pkicode reads {VERSION}",
            help="plan again with the version that applies",
        )
    try:
        agrees = identify(told) == told["plan_id"]
        _expect_shape(told)
    except (KeyError, TypeError, AttributeError, ValueError):
        # A digest is no seal: whoever edits a plan can make another one.
        agrees = False
    if not agrees:
        raise StalePlan(
            "the plan file was edited: its content does not have the digest it names",
            help="plan again; a plan cannot be changed by hand",
        )
    return SavedPlan(told["plan_id"], told)


def _expect_shape(told: Mapping[str, Any]) -> None:
    """What `check` relies on is there; raises what looking at something else raises."""
    parse_instant(told["at"], now=0)
    parse_instant(told["expires_at"], now=0)
    _by_subject(told["actions"])
    _input_differences(told["inputs"], [])
    if told["state"]["lineage"] is None or not isinstance(told["templates"], dict):
        raise ValueError("not a plan")
    if not all(isinstance(told["scope"][one], list) for one in ("only", "except")) or not isinstance(
        told["allow"], dict
    ):
        raise ValueError("not a plan")


def check(saved: SavedPlan, plan: Plan, *, now: int, finished: frozenset[str] = frozenset()) -> None:
    """Whether `plan`, made anew at apply's own clock, is what the saved one announced.

    A plan that was applied before is refused by the same comparison: every action of it left another row version.

    Args:
        finished: addresses whose interrupted issuance was brought to its end since the plan was made.

    Raises:
        StalePlan: it is not; the first five differences are named and nothing was done.
    """
    fresh = _document(plan)
    saved_document = saved.document
    differences: list[str] = []
    ttl = plan.expires_at - plan.at
    if now > saved.expires_at:
        differences.append(f"it expired at {saved_document['expires_at']}")
    elif saved.at > now + ttl:
        differences.append(f"it was made for {saved_document['at']}, which is more than plan_ttl ahead")
    differences += [
        f"{what}: the plan says {saved_document.get(what)!r}, now it is {fresh[what]!r}"
        for what in ("project", "env", "scope", "allow")
        if saved_document.get(what) != fresh[what]
    ]
    if saved_document["state"]["lineage"] not in ("", fresh["state"]["lineage"]):
        differences.append("it was made from another state (lineage differs)")
    if not saved.detached:
        differences += _input_differences(saved_document["inputs"], fresh["inputs"])
    differences += [
        f"{block}: it is declared otherwise, by a variable or another release"
        for block, template in fresh["templates"].items()
        if saved_document["templates"].get(block, template) != template
    ]
    differences += _action_differences(saved_document["actions"], fresh["actions"], finished)
    if differences:
        more = f"\n  ... and {len(differences) - 5} more" if len(differences) > 5 else ""
        listed = "".join(f"\n  - {one}" for one in differences[:5])
        raise StalePlan(f"the plan is stale; nothing was done:{listed}{more}", help="plan again, and look at it again")


def _input_differences(old: list[dict[str, str]], new: list[dict[str, str]]) -> list[str]:
    before = {one["path"]: one["digest"] for one in old}
    after = {one["path"]: one["digest"] for one in new}
    return [f"{path} changed" for path in sorted(before.keys() | after.keys()) if before.get(path) != after.get(path)]


def _action_differences(old: list[dict[str, Any]], new: list[dict[str, Any]], finished: frozenset[str]) -> list[str]:
    before, after = _by_subject(old), _by_subject(new)
    found = []
    for subject in sorted(before.keys() | after.keys()):
        address = subject[0]
        if address in finished:
            continue
        if subject not in after:
            found.append(f"{address}: the plan would {before[subject]['action']} it, now there is nothing to do")
        elif subject not in before:
            found.append(f"{address}: now it would {after[subject]['action']}, the plan does not")
        else:
            was, is_now = before[subject], after[subject]
            differs = [key for key in is_now if key != "source" and was.get(key) != is_now[key]]
            if differs:
                found.append(f"{address}: {', '.join(differs)} differ")
    return found


def _by_subject(actions: list[dict[str, Any]]) -> dict[tuple[str, bool], dict[str, Any]]:
    """An address may move and change in one plan; it is asked about twice then."""
    return {(one["address"], one["action"] == "move"): one for one in actions}
