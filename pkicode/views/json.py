"""JSON documents that scripts may rely on: what `validate` found, and the schema of a plan (plan/planfile.py)."""

from collections.abc import Iterable

from pkicode.model.change import Action, Readiness, ReasonCode
from pkicode.model.problem import Problem, Severity
from pkicode.model.served import DRIFTS
from pkicode.plan.planfile import diagnostic

Document = dict[str, object]


def diagnostics_json(problems: Iterable[Problem]) -> Document:
    """What `validate` found."""
    found = tuple(problems)
    return {
        "format": "pkicode.diagnostics",
        "version": "1.1",
        "valid": all(problem.severity is not Severity.ERROR for problem in found),
        "diagnostics": [diagnostic(problem) for problem in found],
    }


def plan_schema() -> Document:
    """The JSON Schema of a plan; minor versions only add fields."""
    text, whole = {"type": "string"}, {"type": "integer"}
    optional_object = {"type": ["object", "null"]}
    place = _object(line=whole, column=whole)
    fields: dict[str, object] = {
        "format": {"const": "pkicode.plan"},
        "version": {"type": "string", "pattern": r"^1\.[0-9]+$"},
        "next_due": {"type": ["string", "null"]},
        "has_changes": {"type": "boolean"},
        "complete": {"type": "boolean"},
        "declared": whole,
        "scope": _object(only=_list(text), **{"except": _list(text)}),
        "allow": {"type": "object", "additionalProperties": text},
        "state": _object(lineage=text, sequence=whole),
        "inputs": _list(_object(path=text, digest=text)),
        "counts": {"type": "object", "additionalProperties": whole},
        "templates": {"type": "object", "additionalProperties": text},
        "actions": _list(
            _object(
                # Only what is printed has it: where a block stands in its file is no part of a saved plan.
                {"source": _object(path=text, line=whole)},
                address=text,
                kind=text,
                action={"enum": [str(action) for action in Action]},
                generation=whole,
                status={"enum": [str(readiness) for readiness in Readiness]},
                waits=text,
                reasons=_list(_object(code={"enum": [str(code) for code in ReasonCode]}, detail=text)),
                before=optional_object,
                after=optional_object,
                irreversible={"type": "boolean"},
                depends_on=_list(text),
            )
        ),
        "pending": _list(_object(block=text, count=whole, fields=_list(text))),
        "policy": _list(_object(rule=text, passed={"type": "boolean"}, message=text)),
        "diagnostics": _list(
            _object(
                # Only where it was found in several rows of a fan-out: a thousand of them.
                {"rows": _list(_object(address=text, line={"type": ["integer", "null"]}))},
                code=text,
                severity={"enum": [str(severity) for severity in Severity]},
                message=text,
                help=text,
                span={"anyOf": [{"type": "null"}, _object(path=text, start=place, end=place)]},
            )
        ),
    }
    name_or_none = {"type": ["string", "null"]}
    served = _object(sha256=text, serial_number=text, issuer=text, subject=text, not_after=name_or_none)
    # Only where somebody looked, and never in a saved plan.
    endpoints = _list(
        _object(
            address=text,
            generation={"type": ["integer", "null"]},
            endpoint=text,
            target=text,
            state=text,
            drift={"enum": [*DRIFTS, None]},
            served=_list(served),
        )
    )
    texts: dict[str, object] = dict.fromkeys(("plan_id", "project", "env", "at", "expires_at"), text)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "pkicode plan",
        **_object({"endpoints": endpoints}, **texts, **fields),
    }


def _object(optional: Document | None = None, /, **fields: object) -> Document:
    return {"type": "object", "required": sorted(fields), "properties": {**fields, **(optional or {})}}


def _list(items: object) -> Document:
    return {"type": "array", "items": items}
