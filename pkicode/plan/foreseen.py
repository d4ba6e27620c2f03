"""The state as plans to come would leave it; forecast.py moves it on, one plan a day.

Rows of fan-outs that nothing has touched are passed over.  What a change leaves is worked out from the change and its
kind (Kind.foresee); nothing in here knows what a certificate is.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from attrs import evolve, frozen

from pkicode.config.reader import Config
from pkicode.model.address import Address, parse
from pkicode.model.change import Action, Change, Plan, Readiness
from pkicode.model.instants import NO_EXPIRY
from pkicode.model.row import FORGOTTEN, Block, Held, Row
from pkicode.plan.applier import arrived, moved_to
from pkicode.plan.kind import Ahead, Kind, Outlook, Snapshot
from pkicode.plan.planner import plan
from pkicode.ports import Ends

GROUND = "ca"
"""What everything stands on: when one changes, every row is looked at.  It has a row per generation (ports.Write)."""

Place = tuple[str, str]
"""Name of a block and key of a row: a certificate and its output share it."""


@frozen
class Steady:
    """Rows of one block that a day renews just as it did before."""

    block: Block
    keys: Sequence[str]
    due_after: Callable[[str, int], int]
    """See Kind.again."""


@frozen
class Step:
    """What one day does: a plan, and the rows that are too many and too much alike to be planned one by one."""

    plan: Plan
    steady: Sequence[Steady] = ()


class Foreseen:
    """Held rows, by kind; those of fan-outs by place, and what is to be looked at on which day."""

    def __init__(
        self,
        config: Config,
        snapshot: Snapshot,
        kinds: Sequence[Kind],
        *,
        day: Callable[[int], int | None],
        one_by_one: bool,
    ) -> None:
        """`day` numbers the first plan at or after an instant, from 0; None is after the last.  `one_by_one`: no row is
        renewed without its plan."""
        self._config, self._snapshot, self._day, self._one_by_one = config, snapshot, day, one_by_one
        self._kinds = {kind.name: kind for kind in kinds}
        self._declared = {kind.name: tuple(kind.blocks(config)) for kind in kinds}
        fanned = [kind.name for kind in kinds if kind.fans_out]
        names = [block.name for kind in fanned for block in self._declared[kind]]
        self._alone = frozenset(name for name in names if names.count(name) == 1)
        """Blocks whose rows no other fan-out follows."""
        self._known: dict[tuple[str, str], dict[str, tuple[int, Row]]] = {}
        """Block -> key -> the row and how many come before it."""
        self._rows: dict[str, dict[Place, Held]] = {name: {} for name in fanned}
        self._plain: dict[tuple[Address, int], Held] = {}
        self._templates = dict(snapshot.templates)
        self._numbers = {text: number for number, text in self._templates.items()}
        self._authorities = dict(snapshot.authorities)
        self._ends = dict(snapshot.ends)
        self._turns: tuple[int, ...] = ()
        """Instants at which time alone changes what rows of fan-outs stand on."""
        self._today = 0
        self._due: dict[int, list[Place]] = defaultdict(list)
        self._restless: set[Place] = set()
        """What every plan looks at: waiting, denied, or not as it should be."""
        self._steady: dict[Place, tuple[int, int]] = {}
        """(generation, due), newer than those of the held row, of rows that agree with pki.toml in all but time."""
        self._shaken = True
        self._ahead: list[tuple[Address, Ahead]] = []
        for one in snapshot.held:
            self._keep(one)

    def step(self, at: int, allow: Mapping[str, str] | None = None) -> Step:
        """The plan at an instant.  Of every row where something that everything stands on has changed or will; else of
        what is due and what is restless."""
        self._today = self._day(at) or 0
        if any(turn <= at for turn in self._turns):
            self._turns = tuple(turn for turn in self._turns if turn > at)
            self._shaken = True
        due = self._due.get(self._today, [])
        places = self._restless.union(due)
        if not self._shaken:
            alike = self._alike(due, at) if self._within_brakes(len(places)) else []
            passed = {(one.block.name, key) for one in alike for key in one.keys}
            planned = self._plan(at, places - passed, allow)
            if alike and not self._still_alike(alike, planned):
                alike, planned = [], self._plan(at, places, allow)
            if all(one.address.kind != GROUND for one in planned.changes):
                return Step(planned, alike)
        return Step(self._plan(at, None, allow))

    def _within_brakes(self, rows: int) -> bool:
        """Whether so many rows, and all the others, cannot reach max_actions; else the planner has to count them."""
        limits = self._config.settings.policy.max_actions.values()
        return all(rows + len(self._plain) <= limit for limit in limits)

    def _alike(self, due: Iterable[Place], at: int) -> list[Steady]:
        """Steady rows that are due.  The first of each block is left to the plan, for the kinds of later stages to see
        that there are renewals, and for us to see that they are still what they were."""
        found = []
        outlook = self._outlook(at, ())
        # A row may have fallen due twice, or be due later than it once was.
        ready = dict.fromkeys(place for place in due if place in self._steady and self._steady[place][1] <= at)
        for name, keys in _by_name(ready).items():
            for kind in self._kinds.values():
                block = self._config.block(kind.name, name)
                due_after = kind.again(block, outlook) if kind.again and block and keys[1:] else None
                if due_after and block:
                    found.append(Steady(block, keys[1:], due_after))
        return found

    def _still_alike(self, alike: Sequence[Steady], planned: Plan) -> bool:
        renewed = {
            one.address.name
            for one in planned.changes
            if one.action is Action.RENEW and one.readiness is Readiness.READY
        }
        return all(one.block.name in renewed for one in alike)

    def _plan(self, at: int, places: set[Place] | None, allow: Mapping[str, str] | None) -> Plan:
        kinds = [self._narrowed(kind, places) if kind.fans_out else kind for kind in self._kinds.values()]
        # Nobody asks these plans when the next is due.
        kinds = [evolve(kind, foresee=None) for kind in kinds]
        return plan(self._config, self._facts(places), now=at, kinds=kinds, allow=allow)

    def _narrowed(self, kind: Kind, places: set[Place] | None) -> Kind:
        """A kind of fan-outs that has no other rows than these; what it gave once is not read again."""
        declared = self._declared[kind.name]
        wanted = None if places is None else _by_name(places)

        def rows(block: Block, outlook: Outlook) -> Iterator[Row]:
            known = self._known.get((kind.name, block.name))
            if known is None:
                known = {row.key: (number, row) for number, row in enumerate(kind.rows(block, outlook))}
                self._known[kind.name, block.name] = known
            keys = known if wanted is None else (key for key in wanted[block.name] if key in known)
            return (row for _, row in sorted((known[key] for key in keys), key=lambda one: one[0]))

        blocks = declared if wanted is None else [block for block in declared if block.name in wanted]
        return evolve(kind, rows=rows, blocks=lambda _config: blocks)

    def _facts(self, places: Iterable[Place] | None) -> Snapshot:
        held = list(self._plain.values())
        for kind, rows in self._rows.items():
            found = rows if places is None else (place for place in places if place in rows)
            held.extend(self._held(kind, place) for place in found)
        known = evolve(self._snapshot, templates=self._templates, authorities=self._authorities, ends=self._ends)
        return evolve(known, held=held)

    def _held(self, kind: str, place: Place) -> Held:
        held = self._rows[kind][place]
        if place not in self._steady:
            return held
        generation, due = self._steady[place]
        return evolve(held, generation=generation, due=due)

    def _outlook(self, at: int, changes: Sequence[Change]) -> Outlook:
        """What kinds saw when they planned these changes, but for rows of fan-outs that did not change."""
        outlook = Outlook(self._config, self._facts({_place(one) for one in changes}), at, {})
        for one in changes:
            outlook.changes.setdefault(one.address.block, []).append(one)
        return outlook

    def apply(self, step: Step, at: int) -> list[set[int]]:
        """Move on by what a step does; the generations that it gives to each of its steady blocks."""
        changes = list(map(_as_held, step.plan.changes))
        first = self._today == 0
        passed = {(one.block.name, key) for one in step.steady for key in one.keys}
        looked_at = self._restless.union(self._due.pop(self._today, ())) - passed
        self._today += 1
        generations = [self._renew(alike) for alike in step.steady]
        outlook = self._outlook(at, changes)
        done = [one for one in changes if one.readiness is Readiness.READY]
        for one in done:
            self._leave(one, outlook)
        self._settle([one for one in done if one.address.kind not in self._rows], at)
        held_back = {_place(one) for one in changes if one.readiness is not Readiness.READY}
        self._restless = held_back.union(place for place in looked_at if self._is_restless(place, at))
        self._shaken = any(one.address.kind == GROUND for one in done)
        if first and not self._one_by_one:
            self._steady_from_the_start()
        if first or self._shaken:
            self._ahead = self._look_ahead(at)
            self._turns = self._turning(at)
        return generations

    def _renew(self, alike: Steady) -> set[int]:
        name, generations = alike.block.name, set()
        for key in alike.keys:
            generation = self._steady[name, key][0] + 1
            due = alike.due_after(key, generation)
            self._steady[name, key] = generation, due
            self._falls_due((name, key), due)
            generations.add(generation)
        return generations

    def _steady_from_the_start(self) -> None:
        """Rows that agree with pki.toml: the first plan has looked at all of them."""
        for kind in self._kinds.values():
            numbers = {one.name: self._numbers.get(one.template) for one in self._declared[kind.name] if kind.again}
            for place, held in self._rows.get(kind.name, {}).items():
                agrees = numbers.get(held.name) == held.template and held.status == "ok"
                if agrees and held.name in self._alone and place not in self._restless:
                    self._steady[place] = held.generation, held.due
        for taken in (*self._snapshot.lost, *self._snapshot.adopted):
            address, _ = parse(taken)
            self._steady.pop((address.name, address.key), None)

    def _leave(self, change: Change, outlook: Outlook) -> None:
        """The row that apply leaves."""
        address, held, row, block = change.address, change.held, change.row, change.block
        self._steady.pop(_place(change), None)
        if change.action is Action.MOVE and held:
            self._keep(arrived(held, change, version=held.version))
            self._keep(evolve(held, status=FORGOTTEN, due=NO_EXPIRY, needs=moved_to(address)))
        elif block and row:
            self._made(change, block, row, outlook)
        elif held:
            # Nothing declares it any more.
            self._keep(evolve(held, status=FORGOTTEN, due=NO_EXPIRY))

    def _made(self, change: Change, block: Block, row: Row, outlook: Outlook) -> None:
        kind, address, generation = self._kinds[change.address.kind], change.address, change.generation
        number = self._numbers.setdefault(block.template, max(self._templates, default=0) + 1)
        self._templates[number] = block.template
        due = kind.foresee(change, outlook) if kind.foresee else NO_EXPIRY
        needs = kind.needs(block, row, outlook)
        self._keep(
            Held(kind.name, address.name, address.key, generation, number, row.values, due, needs, "ok", version=0)
        )
        if change.action not in (Action.ISSUE, Action.RENEW):
            return
        for by, ends in kind.signs(change, outlook) if kind.signs else ():
            known = self._ends.get(by, Ends())
            self._ends[by] = Ends(max(known.leaf, ends.leaf), max(known.anything, ends.anything))
        if kind.record:
            self._authorities[address.name, generation] = kind.record(change, outlook)
        if kind.again and address.name in self._alone and due < NO_EXPIRY and not self._one_by_one:
            self._steady[_place(change)] = generation, due

    def _keep(self, held: Held) -> None:
        if held.kind not in self._rows:
            self._plain[_slot(held.address, held.generation)] = held
            return
        place = (held.name, held.key)
        self._rows[held.kind][place] = held
        if held.status not in ("ok", FORGOTTEN):
            self._restless.add(place)
        elif held.due < NO_EXPIRY:
            self._falls_due(place, held.due)

    def _falls_due(self, place: Place, due: int) -> None:
        day = self._day(due)
        if day is not None:
            self._due[max(day, self._today)].append(place)

    def _settle(self, done: Sequence[Change], at: int) -> None:
        """Values that tell of other rows are what they are once all is done."""
        outlook = self._outlook(at, ())
        for block in {id(one.block): one.block for one in done if one.block}.values():
            values = {row.key: row.values for row in self._kinds[block.kind].rows(block, outlook)}
            for one in done:
                slot = _slot(one.address, one.generation)
                if one.block is block and one.address.key in values:
                    self._plain[slot] = evolve(self._plain[slot], values=values[one.address.key])

    def _is_restless(self, place: Place, at: int) -> bool:
        if place in self._steady:
            return self._steady[place][1] <= at
        held = [rows[place] for rows in self._rows.values() if place in rows]
        return any(one.status not in ("ok", FORGOTTEN) or one.due <= at for one in held)

    def _turning(self, at: int) -> tuple[int, ...]:
        outlook = self._outlook(at, ())
        for block in self._declared[GROUND]:
            for _ in self._kinds[GROUND].rows(block, outlook):
                pass  # what looks at CAs tells the outlook when to look again
        return tuple(turn for turn in outlook.dues if turn > at)

    def _look_ahead(self, at: int) -> list[tuple[Address, Ahead]]:
        outlook = self._outlook(at, ())
        found = [
            (Address(kind.name, block.name), one)
            for kind in self._kinds.values()
            if kind.ahead
            for block in self._declared[kind.name]
            for one in kind.ahead(block, outlook)
        ]
        return sorted(found, key=lambda one: one[1].at)

    def ahead(self, since: int, until: int) -> list[tuple[Address, Ahead]]:
        """What comes by itself in since <= instant < until, earliest first."""
        return [(address, one) for address, one in self._ahead if since <= one.at < until]

    def ending(self, planned: Plan, until: int) -> Iterator[tuple[Change, int]]:
        """Changes that are held back while what they would replace ends, with the instant after its last."""
        outlook = self._outlook(planned.at, ())
        for change in planned.changes:
            kind, held = self._kinds[change.address.kind], change.held
            if change.readiness is Readiness.READY or kind.ends is None or held is None or held.status != "ok":
                continue
            ended = kind.ends(held, outlook) + 1
            if planned.at <= ended < until:
                yield change, ended


def _as_held(change: Change) -> Change:
    """What waits for a ceremony as if that were held the same day: people bring it there because the plan says so."""
    if not change.by_ceremony:
        return change
    action = Action.ISSUE if change.action is Action.RESERVE else change.action
    return evolve(change, action=action, readiness=Readiness.READY)


def _place(change: Change) -> Place:
    return change.address.name, change.address.key


def _slot(address: Address, generation: int) -> tuple[Address, int]:
    return address, generation if address.kind == GROUND else 0


def _by_name(places: Iterable[Place]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, key in places:
        found.setdefault(name, []).append(key)
    return found
