"""The planner: configuration and snapshot in, plan out; pure, and linear in the rows.

A row whose template, values, needs and status agree and which is not due is passed over without being looked at
further; only the rest reaches its kind.  What was declared and is gone reaches its kind with no block.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from attrs import define, evolve, field

from pkicode.config.reader import Config
from pkicode.model.address import Address, parse
from pkicode.model.change import APPROVAL, Action, Change, Pending, Plan, Readiness, Reason, ReasonCode, Stage
from pkicode.model.counted import counted
from pkicode.model.instants import NO_EXPIRY, rfc3339
from pkicode.model.problem import ConfigError, Problem, Severity
from pkicode.model.row import Block, Held, Row
from pkicode.plan.applier import arrived, moved_to
from pkicode.plan.brakes import judge, refuse_unknown
from pkicode.plan.following import following
from pkicode.plan.kind import Difference, Kind, Outlook, Snapshot, covers
from pkicode.plan.template import difference

_SAME = Difference()


def plan(
    config: Config,
    snapshot: Snapshot,
    *,
    now: int,
    kinds: Sequence[Kind],
    only: Sequence[str] = (),
    except_: Sequence[str] = (),
    allow: Mapping[str, str] | None = None,
    unapproved: Sequence[str] = (),
    held: Mapping[Address, str] | None = None,
) -> Plan:
    """What apply would do at `now`.

    Args:
        kinds: in stage order.
        only: address globs; nothing else is planned, and the plan says it is not complete.
        except_: address globs left out.
        allow: what lifts a brake for this run: {"issue": "98010"}.
        unapproved: address globs whose changes wait for an approval, and what follows with them.
        held: what is held back, and why; no list is signed for what it would have changed.

    Raises:
        ConfigError: the configuration cannot be planned; every mistake, located.
        PkicodeError: `allow` lifts nothing.
    """
    refuse_unknown(allow or {})
    by_kind = {kind.name: kind for kind in kinds}
    moves, immovable, snapshot = _moved(config, snapshot, by_kind)
    idle = {*only, *except_} - {f"{kind.name}.*" for kind in kinds}
    scope = _Scope(only, except_, unapproved, idle=idle, held=dict(held or {}))
    while True:
        outlook = Outlook(config, snapshot, now, dict(allow or {}))
        outlook.problems.extend(immovable)
        shelf, pending = _Shelf(snapshot, moves), list[Pending]()
        _plan_kinds(kinds, outlook, shelf, pending, scope)
        decided = [change for found in outlook.changes.values() for change in found]
        kept = [*scope.kept(moves), *(change for stage in Stage for change in decided if change.stage is stage)]
        kept = following(kept, _left_out(config, shelf, kept) if only or except_ else ())
        if not scope.hold_back(kept, by_kind):
            break
    outlook.problems.extend(scope.mistaken(snapshot))
    foreseen = [foresee(one, outlook) for one in kept if (foresee := by_kind[one.address.kind].foresee)]
    settings = config.settings
    verdicts, kept = judge(kept, outlook)
    later = [due for due in (*outlook.dues, *foreseen) if now < due < NO_EXPIRY]
    return Plan(
        project=settings.project.name,
        at=now,
        expires_at=now + settings.state.plan_ttl,
        env=config.env,
        lineage=snapshot.about.lineage,
        sequence=snapshot.about.sequence,
        inputs=tuple(sorted(config.inputs)),
        scope=(tuple(only), tuple(except_)),
        changes=tuple(kept),
        problems=config.located((*config.problems, *outlook.problems)),
        verdicts=verdicts,
        allow=tuple(sorted((allow or {}).items())),
        next_due=min(later) if later else None,
        declared=shelf.declared,
        complete=not scope.left_out,
        pending=tuple(pending),
    )


def _plan_kinds(
    kinds: Sequence[Kind], outlook: Outlook, shelf: "_Shelf", pending: list[Pending], scope: "_Scope"
) -> None:
    for kind in kinds:
        if kind.survey:
            outlook.problems.extend(kind.survey(outlook))
        for block in kind.blocks(outlook.config):
            if kind.check:
                outlook.problems.extend(kind.check(block, outlook))
            _plan_block(kind, block, outlook, shelf, pending)
            scope.narrow(Address(block.kind, block.name), outlook)
        for block_address, rows in shelf.left(kind.name):
            _plan_removed(kind, block_address, rows, outlook, shelf)
            scope.narrow(block_address, outlook)
    _refuse_errors(outlook.config, outlook.problems)


class _Shelf:
    """The held rows by block and key, taken off one by one; what stays was declared once and is gone."""

    def __init__(self, snapshot: Snapshot, moves: Sequence[Change]) -> None:
        self.gone = {one.held.address for one in moves if one.held}
        """Certificates that moved or are let go: what follows them goes with them, and is no news."""
        self.blocks: dict[tuple[str, str], dict[str, Held]] = {}
        for held in snapshot.held:
            rows = self.blocks.setdefault((held.kind, held.name), {})
            known = rows.get(held.key)
            # A CA keeps a row per key generation: the newest is the one that is compared.
            if known is None or known.generation < held.generation:
                rows[held.key] = held
        self.sizes = {block: sum(not row.is_forgotten for row in rows.values()) for block, rows in self.blocks.items()}
        self.declared = 0
        self.rows: dict[tuple[str, str], int] = {}
        """How many rows each block has today."""

    def take(self, block: Block) -> dict[str, Held]:
        return self.blocks.setdefault((block.kind, block.name), {})

    def left(self, kind: str) -> list[tuple[Address, list[Held]]]:
        found = []
        for (held_kind, name), rows in sorted(self.blocks.items()):
            gone = [row for row in rows.values() if not row.is_forgotten]
            if held_kind == kind and gone:
                found.append((Address(kind, name), gone))
        return found


def _plan_block(kind: Kind, block: Block, outlook: Outlook, shelf: _Shelf, pending: list[Pending]) -> None:
    shelf_rows = shelf.take(block)
    now, templates = outlook.now, outlook.snapshot.templates
    differences: dict[int, Difference] = {}
    waiting_fields: Counter[tuple[str, ...]] = Counter()
    changes = outlook.changes.setdefault(f"{block.kind}.{block.name}", [])
    diff, needs = kind.diff, kind.needs
    earliest = NO_EXPIRY
    count = 0
    for row in kind.rows(block, outlook):
        count += 1
        held = shelf_rows.pop(row.key, None)
        if held is None:
            changed = diff(block, row, None, outlook, _SAME)
        else:
            how = differences.get(held.template)
            if how is None:
                how = differences[held.template] = _compare(templates.get(held.template), block, kind)
            unchanged = held.values == row.values and held.due > now and held.status == "ok"
            if unchanged and held.needs == needs(block, row, outlook) and not how:
                if held.due < earliest:
                    earliest = held.due
                continue
            changed = diff(block, row, held, outlook, how)
            if changed is None:
                earliest = min(earliest, held.due)
                if how:
                    waiting_fields[how.of(*how.fields)] += 1
        if changed is not None:
            changes.append(changed)
    outlook.dues.append(earliest)
    shelf.rows[block.kind, block.name] = count
    if block.kind == "cert":
        shelf.declared += count
    pending.extend(Pending(f"{block.kind}.{block.name}", number, fields) for fields, number in waiting_fields.items())


def _compare(old: str | None, block: Block, kind: Kind) -> Difference:
    """A template the store lost counts as today's: nothing is signed because of it."""
    return _SAME if old is None or old == block.template else difference(old, block.template, kind.classes)


def _plan_removed(kind: Kind, block: Address, rows: Sequence[Held], outlook: Outlook, shelf: _Shelf) -> None:
    changes = outlook.changes.setdefault(str(block), [])
    forgotten = {one.address for one in outlook.config.settings.forget}
    planned = []
    for held in sorted(rows, key=lambda one: one.key):
        address = held.address
        if str(address) in forgotten or address.block in forgotten:
            reason = Reason(ReasonCode.REMOVED, "by [[forget]]")
            planned.append(Change(address, Action.FORGET, held.generation, (reason,), held=held))
        elif change := kind.diff(None, None, held, outlook, _SAME):
            planned.append(change)
    news = [one for one in planned if Address("cert", one.address.name, one.address.key) not in shelf.gone]
    if news and not kind.tells:
        at = block.kind, block.name
        problem = _removal_brake(block, news, shelf.sizes.get(at, 0), outlook, has_rows=shelf.rows.get(at, 0) > 0)
        outlook.problems.extend([problem] if problem else [])
    shelf.gone.update(one.address for one in planned)
    changes.extend(planned)


def _removal_brake(
    block: Address, gone: Sequence[Change], size: int, outlook: Outlook, *, has_rows: bool
) -> Problem | None:
    """More than max(10, 5 %) of a fan-out's keys gone at once, or all of them, needs --allow remove=N."""
    is_fan_out = any(one.address.key for one in gone)
    if not is_fan_out or (len(gone) <= max(10, size * 5 // 100) and len(gone) < size):
        return None
    if int(outlook.allow.get("remove", "0")) >= len(gone):
        return None
    declared = outlook.config.block(block.kind, block.name)
    what = f"{len(gone):,} of {size:,} keys are gone"
    if declared and len(gone) == size:
        what = f"none of the {counted(size, 'key')} it had is left" if has_rows else "the source is empty"
    would = f"let go of {len(gone)} at once"
    if block.kind == "cert":
        would = f"remove {counted(len(gone), 'certificate')} at once"
    return Problem(
        "E0370",
        f"{block}: {what}, which would {would}",
        help=f"check the source of the fan-out; if it is another name for it, say so with [[moved]]; if it is meant, "
        f"run with --allow remove={len(gone)}",
        place=declared.source.place("for_each") if declared else None,
        address=str(block),
    )


def _moved(
    config: Config, snapshot: Snapshot, kinds: Mapping[str, Kind]
) -> tuple[list[Change], list[Problem], Snapshot]:
    """Re-address held rows as [[moved]] says; a move whose `from` is not there is done already."""
    changes: list[Change] = []
    problems: list[Problem] = []
    if not config.settings.moved:
        return changes, problems, snapshot
    targets = {one.from_: one.to for one in config.settings.moved}
    taken = {held.address: held for held in snapshot.held}
    rows = []
    for held in snapshot.held:
        source = str(held.address)
        exact = targets.get(source)
        target = exact or targets.get(held.address.block)
        if target is None or held.is_forgotten:
            rows.append(held)
            continue
        named, _ = parse(target)
        address = Address(held.kind, named.name, named.key if exact else held.key)
        there = taken.get(address)
        if problem := _immovable(held, address, there, config):
            problems.append(problem)
            rows.append(held)
            continue
        replaces = there.version if there else 0
        # The move is committed first and leaves the next version, over what is left of an earlier stay.
        reason = Reason(ReasonCode.NEW, f"[[moved]] from {source}")
        before = {"address": source, "replaces": replaces}
        template, kind = snapshot.templates.get(held.template), kinds.get(held.kind)
        known = kind.arrives if kind and template else None
        due = known(held, address, template or "", config.settings.project.name) if known else held.due
        after = {"due": rfc3339(due)}
        change = Change(address, Action.MOVE, held.generation, (reason,), held=held, before=before, after=after)
        rows.append(arrived(held, change, version=replaces + 1))
        taken[address] = rows[-1]
        changes.append(change)
    new = {one.address for one in changes}
    left = [one for one in rows if not one.is_forgotten or one.address not in new]
    return changes, problems, evolve(snapshot, held=left)


def _immovable(held: Held, new: Address, there: Held | None, config: Config) -> Problem | None:
    """Why a row cannot take another address: a number or a file of somebody else's would become its own."""
    old = held.address
    if there and (not there.is_forgotten or there.needs != moved_to(old)):
        why, mend = f"{new} has, or had, certificates of its own", "choose another name for it"
    elif old.kind != "cert" or new.kind != "cert":
        why, mend = "only certificates move: a CA's name is in the URLs of what it signed", "keep the name"
    else:
        return None
    message = f"{old} cannot move to {new}: {why}"
    return Problem("E0371", message, help=mend, place=config.place("moved"), address=str(new))


@define
class _Scope:
    """The --only and --except globs, what they left out, and what that holds back."""

    _only: Sequence[str]
    _leaving: Sequence[str]
    _unapproved: Sequence[str]
    _idle: set[str]
    """Globs by which nothing was met yet; every project may have all of a kind, or none."""
    _held: dict[Address, str]
    """What is held back -> why."""
    left_out: list[Change] = field(factory=list)

    def narrow(self, block: Address, outlook: Outlook) -> None:
        """What is left out is not planned: no list is signed for a revocation that is not made."""
        if self._only or self._leaving or self._unapproved or self._held:
            changes = outlook.changes[str(block)]
            self._meet(block)
            for one in changes if self._idle else ():
                self._meet(one.address)
            outlook.changes[str(block)] = self.kept(changes)

    def _meet(self, address: Address) -> None:
        self._idle = {pattern for pattern in self._idle if not covers((pattern,), address)}

    def mistaken(self, snapshot: Snapshot) -> list[Problem]:
        """A warning for each glob that means nothing at all: `no changes` would read as good news."""
        for one in snapshot.held:
            if not self._idle:
                break
            self._meet(one.address)
        mend = '`pkicode inventory` and pki.toml say what there is; a row is cert.NAME["KEY"]'
        return [Problem("W0303", f"`{one}` names nothing that there is", help=mend) for one in sorted(self._idle)]

    def kept(self, changes: Iterable[Change]) -> list[Change]:
        found: list[Change] = []
        for one in changes:
            if covers(self._leaving, one.address) or (self._only and not covers(self._only, one.address)):
                self.left_out.append(one)
            elif one.address in self._held and one.readiness is Readiness.READY:
                found.append(evolve(one, readiness=Readiness.WAITING, waits=self._held[one.address]))
            elif self._wants_approval(one):
                found.append(evolve(one, readiness=Readiness.WAITING, waits=APPROVAL))
            else:
                found.append(one)
        return found

    def _wants_approval(self, change: Change) -> bool:
        """A row that moves was taken for moved already by everything that was planned."""
        is_ready = change.readiness is Readiness.READY and change.action is not Action.MOVE
        return is_ready and covers(self._unapproved, change.address)

    def hold_back(self, kept: Sequence[Change], kinds: Mapping[str, Kind]) -> bool:
        """Whether something is held back only now, so that everything is to be planned once more.

        What has to follow a compromise, or the lists that tell of it, does not overtake one that is left out.
        """
        first = {
            name
            for one in self.left_out
            if one.stage is Stage.FIRST or kinds[one.address.kind].tells
            for name in (str(one.address), one.address.block)
        }
        found = {
            one.address: f"{missing[0]} comes before it, and is left out"
            for one in kept
            if one.readiness is Readiness.READY and not kinds[one.address.kind].tells
            if (missing := [name for name in one.depends_on if name in first])
        }
        self._held.update(found)
        if found:
            self.left_out.clear()
        return bool(found)


def _left_out(config: Config, shelf: _Shelf, kept: Iterable[Change]) -> set[str]:
    """The CAs that are not there and that nobody makes now: a plan of lists alone does not even look at them."""
    coming = {str(one.address) for one in kept}
    new = {f"ca.{one.name}" for one in config.blocks if one.kind == "ca" and not shelf.sizes.get(("ca", one.name))}
    return new - coming


def _refuse_errors(config: Config, problems: Iterable[Problem]) -> None:
    found = [one for one in problems if one.severity is Severity.ERROR]
    if found:
        raise ConfigError(config.located(tuple(found)))


def validate(config: Config, *, now: int, kinds: Sequence[Kind], empty: Snapshot) -> tuple[Problem, ...]:
    """Every problem that can be seen without state: all blocks, all rows."""
    outlook = Outlook(config, empty, now, {})
    found: list[Problem] = []
    for kind in kinds:
        for block in kind.blocks(config):
            if kind.check:
                found.extend(kind.check(block, outlook))
            if kind.audit_rows:
                rows: Iterable[Row] = kind.rows(block, outlook)
                try:
                    for row in rows:
                        found.extend(kind.audit_rows(block, row, outlook))
                except ConfigError as error:  # the rows of the other blocks are still looked at
                    found.extend(error.problems)
    return config.located((*config.problems, *found, *outlook.problems))
