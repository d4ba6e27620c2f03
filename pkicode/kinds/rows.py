"""Resource rows as kinds write them: which template, values and dates a change leaves behind."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence

from attrs import evolve

from pkicode.model.change import Action, Change, Reason, ReasonCode
from pkicode.model.instants import rfc3339
from pkicode.model.row import Block, Held, Source
from pkicode.plan.applier import write
from pkicode.plan.kind import Run


async def template_number(block: Block, run: Run) -> int:
    """The store's number of a block's template, stored once per run."""
    memo_key = ("template", block.template_id)
    if memo_key not in run.memo:
        run.memo[memo_key] = await run.world.store.template(block.template, lease=run.world.lease)
    found: int = run.memo[memo_key]
    return found


def columns(values: str) -> list[object]:
    """The values of a row; none where somebody altered what is stored, so that the row differs and is made anew."""
    try:
        found = json.loads(values)
    except (ValueError, RecursionError):
        return []
    return found if isinstance(found, list) else []


def believed(held: Iterable[Held], templates: Mapping[int, str], latest: int) -> list[Held]:
    """Rows, of which lists that are due later than any apply until `latest` can have set are due at once.

    Whoever can write the database could put a list off until clients refuse it, and no plan would tell.
    """
    return [evolve(one, due=0) if _is_put_off(one, templates, latest) else one for one in held]


def _is_put_off(held: Held, templates: Mapping[int, str], latest: int) -> bool:
    # Delegates of offline CAs, which have keys, are due when they end.
    if held.kind not in ("crl", "ocsp") or held.is_forgotten or (held.kind == "ocsp" and held.key):
        return False
    try:
        refresh = int(json.loads(templates[held.template])["spec"]["refresh"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return False  # an altered template is told where it is compared
    return held.due > latest + refresh


def since(held: Held) -> str:
    """Since when a row is due, as a reason says it."""
    return f"due {rfc3339(held.due)}" if held.due else "the state has it due later than any apply can have set"


def block_of(change: Change) -> Block:
    """The block that asks for a change; only rows that nothing declares any more are changed without one."""
    if change.block is None:
        raise ValueError(f"{change.address} has no block")
    return change.block


def forgotten(held: Held) -> Change:
    """A row that nothing declares any more and that needs nothing but to be let go."""
    return Change(held.address, Action.FORGET, held.generation, (Reason(ReasonCode.REMOVED),), held=held)


def after(change: Change, template: int, *, due: int, needs: str, status: str = "ok") -> Held:
    """The row a change leaves; it replaces the version the plan was made from, except for another CA generation."""
    replaces = change.held and (change.held.generation == change.generation or change.address.kind != "ca")
    return Held(
        kind=change.address.kind,
        name=change.address.name,
        key=change.address.key,
        generation=change.generation,
        template=template,
        values=change.row.values if change.row else "[]",
        due=due,
        needs=needs,
        status=status,
        version=change.held.version if change.held and replaces else 0,
    )


async def rewrite(changes: Sequence[Change], run: Run, due: Callable[[Change, str], int] | None = None) -> None:
    """Metadata changed: new template, values and dates, the same record, no signature."""
    first = changes[0].address
    records = await run.world.store.records(first.kind, first.name, [one.address.key for one in changes])
    rows = []
    for change in changes:
        if change.block is None or change.held is None:
            continue
        record = records[change.address.key, change.held.generation]
        number = await template_number(change.block, run)
        rows.append(
            (
                after(
                    change,
                    number,
                    due=due(change, record) if due else change.held.due,
                    needs=change.held.needs,
                    status=change.held.status,  # what was revoked stays so whatever is noted beside it
                ),
                record,
            )
        )
    await run.world.store.commit(write(run, "update", changes, held=rows), run.world.lease)


def derived(kind: str, parent: Block, field: str) -> Block:
    """The block of a kind that pki.toml declares as a table inside another block: `crl` of a ca, `output` of a cert."""
    told = json.loads(parent.template)
    defaulted = [
        one.removeprefix(field).removeprefix(".")
        for one in told["defaulted"]
        if one == field or one.startswith(f"{field}.")
    ]
    spec = told["spec"][field]
    if "" in defaulted:
        defaulted = sorted(spec)
    return templated(kind, parent.name, getattr(parent.spec, field), spec, parent.source, parent.columns, defaulted)


def templated(
    kind: str,
    name: str,
    spec: object,
    told: object,
    source: Source,
    columns: tuple[str, ...] = (),
    defaulted: Sequence[str] = (),
) -> Block:
    """A block with its canonical template text."""
    document = {"defaulted": sorted(defaulted), "kind": kind, "spec": told, "version": 1}
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return Block(kind, name, spec, text, hashlib.sha256(text.encode()).hexdigest(), source, columns)
