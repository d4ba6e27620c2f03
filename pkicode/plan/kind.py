"""What a resource kind is to the planner and the applier: a frozen table of functions.

The kinds themselves stand in kinds/, one file each; nothing in this room knows any of them.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any, TypeVar

from attrs import evolve, field, frozen

from pkicode.config.reader import Config
from pkicode.model.address import Address
from pkicode.model.change import Change, Verdict
from pkicode.model.problem import Problem
from pkicode.model.row import Block, Held, Row
from pkicode.ports import About, Artefact, Blocked, Certificate, Ends, World

T = TypeVar("T")


class FieldClass(StrEnum):
    """What a changed field means."""

    NOW = "now"
    """Reissue."""
    NEXT = "next"
    """Takes effect at the next renewal."""
    METADATA = "metadata"
    """No signature."""
    ROTATE = "ca-rotate"
    """The next generation of a CA, never in place, never automatic."""
    FORBIDDEN = "forbidden"
    """Needs [[moved]] or a new name."""
    NOTHING = "nothing"
    """Says which rows there are, and nothing about any one of them."""


@frozen
class Difference:
    """Which fields differ between the template a row was made from and the block's of today, by class."""

    fields: Mapping[FieldClass, tuple[str, ...]] = field(factory=dict)

    def __bool__(self) -> bool:
        return bool(self.fields)

    def of(self, *classes: FieldClass) -> tuple[str, ...]:
        """The fields of these classes."""
        return tuple(name for one in classes for name in self.fields.get(one, ()))


@frozen
class Selected:
    """What the inventory knows of a [[revoke]] entry."""

    certificates: Sequence[Certificate] = ()
    """Unexpired, and not yet acted on for this reason."""
    stopped: Sequence[str] = ()
    """Issuer keys that may sign no more, because the last certificate for them is revoked."""
    below: Sequence[Certificate] = ()
    """Unexpired certificates that stop validating with them."""


@frozen
class Snapshot:
    """What the store knew when the plan was made; empty for a state that does not exist yet."""

    about: About
    held: Sequence[Held]
    templates: Mapping[int, str]
    authorities: Mapping[tuple[str, int], str]
    """(name, generation) -> record of each ca row."""
    artefacts: Sequence[Artefact]
    revoked: Mapping[str, int]
    """Issuer key -> number of revocations ever recorded for it."""
    signed: Mapping[tuple[str, int], int] = field(factory=dict)
    """(ca, generation) -> certificates it ever signed; asked for only where a [ca.X] has `ocsp`."""
    living: Mapping[tuple[str, int], int] = field(factory=dict)
    """(ca, generation) -> unexpired certificates; asked for only when a [ca.X] was deleted."""
    ends: Mapping[tuple[str, int], Ends] = field(factory=dict)
    """(ca, generation) -> when what it signed ends; asked for only when a CA has a second generation or is retired."""
    lost: Mapping[str, int] = field(factory=dict)
    """Address -> highest generation that ended as unknown or revoked: its number is burnt, whatever the row says."""
    adopted: Mapping[str, int] = field(factory=dict)
    """Address -> highest generation that only the journal knew: its number is taken, and no row holds it."""
    selected: Mapping[str, Selected] = field(factory=dict)
    """By id of the [[revoke]] entry."""
    entries: Mapping[str, int] = field(factory=dict)
    """Id of each [[revoke]] entry ever acted on -> when the last certificate it was about expires."""
    blocked: Mapping[str, Blocked] = field(factory=dict)
    """The block list, by SPKI."""
    reserved: Mapping[tuple[str, int], Certificate] = field(factory=dict)
    """(address, generation) -> its open intent; asked for only where a [ca.X] is offline."""
    adrift: Mapping[str, str] = field(factory=dict)
    """[publish.X] name -> what is not there as it was published; looked at only where that was asked for."""

    def taken(self, address: str) -> int:
        """The highest generation of an address that no row need tell of: never given again, whatever the row says."""
        return max(self.lost.get(address, 0), self.adopted.get(address, 0))


@frozen
class Outlook:
    """What a kind may look at while it decides: today's config and state, and what is already planned."""

    config: Config
    snapshot: Snapshot
    now: int
    allow: Mapping[str, str]
    changes: dict[str, list[Change]] = field(factory=dict)
    """Block address -> changes planned so far, in stage order."""
    problems: list[Problem] = field(factory=list)
    """Told by kinds while deciding; one per mistake."""
    verdicts: list[Verdict] = field(factory=list)
    """Brakes of the kinds' own."""
    dues: list[int] = field(factory=list)
    """Instants at which time changes something: the earliest `due` of each block, and what no row's `due` tells."""
    memo: dict[Any, Any] = field(factory=dict)
    """What kinds worked out once per plan."""

    def once(self, key: Hashable, work: Callable[[], T]) -> T:
        """What `work` finds; it works once per plan."""
        if key not in self.memo:
            self.memo[key] = work()
        found: T = self.memo[key]
        return found

    def planned(self, kind: str, name: str) -> Sequence[Change]:
        return self.changes.get(f"{kind}.{name}", ())


@frozen
class Run:
    """What a kind may use while it applies: the world, and what it worked out in this run."""

    world: World
    config: Config
    stopping: Callable[[], bool]
    """True once the user asked to stop: what is under way is finished, nothing new is begun."""
    memo: dict[Any, Any] = field(factory=dict)

    @asynccontextmanager
    async def publishing(self, names: Sequence[str]) -> AsyncIterator["Run"]:
        """This run under the publish leases of these CAs: at their instant, and knowing nothing that was read before.

        Raises:
            LeaseHeld: another process signs or publishes their lists, and goes on.
        """
        async with self.world.publishing(names) as (lease, now):
            yield evolve(self, world=evolve(self.world, lease=lease, now=now), memo={})


@frozen
class Ahead:
    """Something that no plan does, and that comes all the same: a CA ends, a leaf would outlive it."""

    at: int
    action: str
    """`expire` or `outlive`."""
    detail: str
    generation: int | None = None


@frozen
class Kind:
    """One resource kind.

    Functions of planning are pure.  `apply` always gets a batch of changes of one block and answers in its order:
    None for done, a Problem for a row that failed; a failed row stops nothing else.
    """

    name: str
    classes: Mapping[str, FieldClass]
    """Field of the spec (dotted; the longest prefix counts) -> what its change means."""
    blocks: Callable[[Config], Iterable[Block]]
    """The blocks of this kind, in the order they are applied."""
    rows: Callable[[Block, Outlook], Iterator[Row]]
    needs: Callable[[Block, Row, Outlook], str]
    """What a row stands on; compared with Held.needs."""
    diff: Callable[[Block | None, Row | None, Held | None, Outlook, Difference], Change | None]
    apply: Callable[[Sequence[Change], Run], Awaitable[Sequence[Problem | None]]]
    check: Callable[[Block, Outlook], Iterable[Problem]] | None = None
    """Once per block, whatever state says."""
    foresee: Callable[[Change, Outlook], int] | None = None
    """When the row falls due again once the change is done at `outlook.now`; None: time changes nothing.

    The rest of the row that apply leaves is worked out in foreseen.py: the change's generation, today's template, what
    `needs` said when it was planned, status ok, and as values what `rows` says once all of the plan is done.  So a
    kind keeps three promises, and owes a forecast nothing else.  Apply leaves such a row: after it, a plan at the same
    instant is empty.  Nothing but `due`, an earlier change or pki.toml makes `diff` change its mind.  And what `rows`,
    `needs` and `diff` know of held rows and of CAs comes through the outlook, where a forecast puts what it foresees.
    """
    record: Callable[[Change, Outlook], str] | None = None
    """Of CAs: what Snapshot.authorities will hold of the generation that the change makes."""
    signs: Callable[[Change, Outlook], Iterable[tuple[tuple[str, int], Ends]]] | None = None
    """Of what CAs sign: the generations that do because of a change, and when what they sign ends (Snapshot.ends)."""
    again: Callable[[Block, Outlook], Callable[[str, int], int] | None] | None = None
    """Of fan-outs, for forecasts of many rows: asked once a day for a block whose rows were renewed since anything but
    the clock changed, and that time alone makes due again.  (key, new generation) -> when the row is due after that
    renewal; None where a renewal today may be something else."""
    ends: Callable[[Held, Outlook], int] | None = None
    """The last instant at which what a row stands for is valid."""
    arrives: Callable[[Held, Address, str, str], int] | None = None
    """When a row is due once [[moved]] gave it an address: row, address, its template, the project's name."""
    ahead: Callable[[Block, Outlook], Iterable[Ahead]] | None = None
    """What will come over a block by itself, as far as can be seen from what there is now."""
    audit_rows: Callable[[Block, Row, Outlook], Iterable[Problem]] | None = None
    """Everything that can be said of a row without state; `validate` asks it of all rows."""
    survey: Callable[[Outlook], Iterable[Problem]] | None = None
    """Once per plan, whatever blocks there are."""
    lists: Callable[[str, Config], Sequence[str]] | None = None
    """Of kinds that make what relying parties read, which is done before what may only follow it (CRL before reissue):
    name of a block -> the CAs under whose publish leases it is applied."""
    whole: bool = False
    """Whether all changes of a block are one batch, and so one transaction, however many."""
    parallel: bool = False
    """Whether batches of one block may be applied side by side."""
    fans_out: bool = False
    """Whether rows are those of the certificate block of the same name, one for each key, whatever the day.  A forecast
    looks at such a row when it, or a row of the same name and key, is due; at the rows of other kinds daily."""

    @property
    def tells(self) -> bool:
        """Whether it makes what relying parties read."""
        return self.lists is not None


def covers(patterns: Sequence[str], address: Address) -> bool:
    """Whether an address, its block or one of its rows is meant by any of the --only or --except globs."""
    text = str(address)
    return any(fnmatchcase(text, pattern.replace("[", "[[]")) or address.block == pattern for pattern in patterns)
