"""What is said about a plan: groups, symbols, counts and their order, shared by every rendering.

Texts in here are raw; a renderer passes each through its own escaping.  How things look is not decided here.
"""

from collections.abc import Iterable, Mapping, Sequence

from attrs import frozen

from pkicode.model.change import Action, Change, Plan, Readiness, ReasonCode, Verdict
from pkicode.model.counted import counted
from pkicode.model.instants import rfc3339
from pkicode.model.problem import Problem
from pkicode.plan.planfile import counts
from pkicode.views import served

SYMBOLS: Mapping[Action, str] = {
    Action.ISSUE: "+",
    Action.RESERVE: "?",
    Action.RENEW: "+/-",
    Action.REVOKE: "!",
    Action.FORGET: "-",
    Action.SIGN: "*",
    Action.PUBLISH: "*",
    Action.UPDATE: "~",
    Action.IMPORT: "=",
    Action.MOVE: ">",
    Action.RETIRE: "~",
    Action.DISTRUST: "!",
}
"""`*` is what goes to relying parties: lists signed, files published.  Taking trust away is `!`, like a revocation."""

IN_FULL = 500
"""More revocations, or changes held back, are one thing to see, not 98,000."""

_SHOWN_NAMES, _SHOWN_KEYS, _SHOWN_WIDTH = 4, 8, 72


@frozen
class Line:
    """One change, or all changes of a block with the same action, reasons and readiness."""

    symbol: str
    label: str
    """An address: with `@n` where the generation tells something, without key when it stands for many."""
    count: int
    facts: tuple[str, ...]
    """What it is, shortest first: `server`, `90d`, `DNS portal.corp.example`."""
    why: str
    """The reasons; empty for a first issuance, which needs none."""
    note: str
    """`protected`, or what it waits for."""


@frozen
class Summary:
    """All that a rendering says; nothing else in the plan is for people."""

    at: str
    env: str
    state: str
    declared: int
    scope: str
    lines: tuple[Line, ...]
    counts: Mapping[str, int]
    tally: str
    """`3 to issue (irreversible), 2 CRLs to sign, 0 to revoke, 0 to forget`, or that nothing is to do."""
    lint: str
    """What was linted, empty where nothing would be signed."""
    verdicts: tuple[Verdict, ...]
    problems: tuple[Problem, ...]
    pending: tuple[str, ...]
    """`cert.fleet x98,000: `validity` changes at the next renewal`."""
    next_wake: str
    endpoints: tuple[str, ...] = ()
    """What the declared endpoints serve, if somebody looked: a headline, then what is not as it should be."""


def summary(plan: Plan, *, full: bool = False) -> Summary:
    """Say what is in a plan; `full` keeps every change on its own line instead of one line a group."""
    only, leaving_out = plan.scope
    scope = [*(f"only {glob}" for glob in only), *(f"except {glob}" for glob in leaving_out)]
    each = counts(plan)
    return Summary(
        at=rfc3339(plan.at),
        env=plan.env,
        state=f"{plan.lineage[:8]} #{plan.sequence}" if plan.sequence else "empty (new lineage)",
        declared=plan.declared,
        scope=", ".join(scope),
        lines=lines(plan.changes, full=full),
        counts=each,
        tally=_tally(plan, each),
        lint=_lint(plan),
        verdicts=plan.verdicts,
        problems=plan.problems,
        pending=tuple(
            f"{one.block} x{one.count:,}: {', '.join(f'`{name}`' for name in one.fields)} at the next renewal"
            for one in plan.pending
        ),
        next_wake=rfc3339(plan.next_due) if plan.next_due is not None else "",
        endpoints=tuple(served.told(plan.seen, full=full)) if plan.seen else (),
    )


def _lint(plan: Plan) -> str:
    """A plan exists only if nothing in it breaks a rule; this says of how much that is true."""
    linted = (Action.ISSUE, Action.RENEW, Action.RESERVE)
    signed = [one.address.block for one in plan.changes if one.action in linted]
    if not signed:
        return ""
    return (
        f"{counted(len(set(signed)), 'template')} and the names of {counted(len(signed), 'certificate')} pass rfc5280"
        " (the exact bytes are linted again at apply)"
    )


def symbol(change: Change) -> str:
    """The mark of a change; what is held back shows that first."""
    if change.readiness is Readiness.DENIED:
        return "x"
    return "?" if change.readiness is Readiness.WAITING else SYMBOLS[change.action]


def lines(changes: Iterable[Change], *, full: bool = False) -> tuple[Line, ...]:
    """Fold changes into lines, in the order in which each group first appears."""
    if full:
        return tuple(_line((change,)) for change in changes)
    groups: dict[object, list[Change]] = {}
    changes = tuple(changes)
    in_full = sum(SYMBOLS[change.action] == "!" for change in changes) <= IN_FULL
    for change in changes:
        where = change.address
        codes = tuple([reason.code for reason in change.reasons])
        # What cannot be taken back is seen one by one.
        each = where.key if in_full and SYMBOLS[change.action] == "!" else ""
        key = (where.kind, where.name, change.action, codes, change.readiness, change.waits, each)
        groups.setdefault(key, []).append(change)
    return tuple(_line(group) for group in groups.values())


def _line(group: Sequence[Change]) -> Line:
    first = group[0]
    is_protected = (first.after or {}).get("protect") is True
    return Line(
        symbol=symbol(first),
        label=_label(first) if len(group) == 1 else first.address.block,
        count=len(group),
        facts=_facts(group),
        why=_why(group),
        note=first.waits or _note(first, is_protected=is_protected),
    )


def _note(change: Change, *, is_protected: bool) -> str:
    if change.action is Action.RESERVE:
        return "reserves a serial; then a ceremony signs it: `pkicode ceremony export`"
    return "protected" if is_protected else ""


def _label(change: Change) -> str:
    tells = change.address.kind == "ca" or change.generation > 1
    return change.address.at(change.generation) if tells else str(change.address)


def _why(group: Sequence[Change]) -> str:
    """The detail where all agree on it, else only the code: 98,000 due dates are no sentence."""
    said = []
    for index, reason in enumerate(group[0].reasons):
        if reason.code is ReasonCode.NEW and not reason.detail:
            continue
        agreed = reason.detail and all(change.reasons[index].detail == reason.detail for change in group)
        said.append(reason.detail if agreed else str(reason.code))
    return ", ".join(said)


def _facts(group: Sequence[Change]) -> tuple[str, ...]:
    """From what the change leaves behind, so that a plan file says the same as the plan it was made from."""
    first = group[0]
    after = first.after or {}
    if first.address.kind == "ca" and "subject" in after:
        return _ca_facts(first, after)
    if first.address.kind == "cert" and "profile" in after:
        return (str(after["profile"]), str(after["validity"]), *_leaf_names(group, after))
    return (*_taken_away(first), *(_values(after) if len(group) == 1 else _keys(group)))


def _taken_away(change: Change) -> tuple[str, ...]:
    """In words, because a mark alone is overlooked, and because forgetting sounds like more than it does."""
    if change.action is Action.REVOKE:
        return ("revoke",)
    if change.action is Action.DISTRUST:
        return ("distrust, out of the bundle",)
    if change.action is Action.FORGET and change.address.kind == "output":
        return ("forget, files stay",)
    return ("forget",) if change.action is Action.FORGET else ()


def _ca_facts(change: Change, after: Mapping[str, object]) -> tuple[str, ...]:
    signer = f"signed by {after['issuer']}" if after.get("issuer") else "self-signed"
    store = f" in {after['keystore']}" if after.get("keystore") else ""
    facts = [f"key {after['key_alg']}{store}", f'{signer} "{after["subject"]}"', str(after["validity"])]
    if after.get("path_len") is not None:
        facts.append(f"pathLen {after['path_len']}")
    constraints = change.block.spec.name_constraints if change.block is not None else None
    for field in ("permit_dns", "permit_ip", "permit_email", "permit_uri"):
        permitted = getattr(constraints, field, ())
        if permitted:
            facts.append(f"permit {field.removeprefix('permit_').upper()} {_few(permitted)}")
    return tuple(facts)


def _leaf_names(group: Sequence[Change], after: Mapping[str, object]) -> tuple[str, ...]:
    if len(group) > 1:
        return _keys(group)
    sans = after.get("sans")
    found: dict[str, list[str]] = {}
    for san in sans if isinstance(sans, list | tuple) else ():
        kind, _, name = str(san).partition(":")
        found.setdefault(kind.upper(), []).append(name)
    return tuple(f"{kind} {_few(names)}" for kind, names in found.items())


def _keys(group: Sequence[Change]) -> tuple[str, ...]:
    """The keys where they fit on the line, else where they come from, or the first and the last."""
    keys = [change.address.key for change in group[: _SHOWN_KEYS + 1]]
    listed = " ".join(keys)
    if len(group) <= _SHOWN_KEYS and len(listed) <= _SHOWN_WIDTH:
        return (listed,)
    rows = getattr(group[0].block.spec, "for_each", None) if group[0].block is not None else None
    source = (rows.csv or rows.jsonl) if rows else None
    return (f"from {source}" if source else f"{keys[0]} .. {group[-1].address.key}", "(--full lists all)")


_USUAL = ("on_remove", "orphan")


def _values(after: Mapping[str, object]) -> tuple[str, ...]:
    # Protection is said at the end of the line, and what everybody has who says nothing is no news.
    shown = [
        f"{name} {value}"
        for name, value in after.items()
        if isinstance(value, (str, int)) and value != "" and (name, value) != _USUAL and name != "protect"
    ]
    return (", ".join(shown[:_SHOWN_NAMES]),) if shown else ()


def _few(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN_NAMES
    return ", ".join(names[:_SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")


def _tally(plan: Plan, found: Mapping[str, int]) -> str:
    if not plan.has_changes:
        return "No changes."
    only_crls = all(change.address.kind == "crl" for change in plan.changes if change.action is Action.SIGN)
    said = [f"{found['issue']:,} to issue" + (" (irreversible)" if found["issue"] else "")]
    said += [f"{found[word]:,} to {word}" for word in ("renew", "reserve", "import", "update") if found.get(word)]
    said.append(f"{counted(found['sign'], 'CRL' if only_crls else 'list')} to sign")
    said += [f"{found['publish']:,} to publish"] if found["publish"] else []
    said.append(f"{found['revoke']:,} to revoke" + (" (irreversible)" if found["revoke"] else ""))
    said += [f"{number:,} to distrust (irreversible)"] if (number := found.get("distrust", 0)) else []
    said.append(f"{found['forget']:,} to forget")
    said += [f"{found['blocked']:,} held back"] if found["blocked"] else []
    return ", ".join(said)
