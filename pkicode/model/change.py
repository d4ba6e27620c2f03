"""Changes and plans: what would be done at one instant, and why."""

from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING

from attrs import field, frozen

from pkicode.model.address import Address
from pkicode.model.problem import Problem
from pkicode.model.served import Seen

if TYPE_CHECKING:
    from pkicode.model.row import Block, Held, Row


class Action(StrEnum):
    """The closed set of decisions a plan can hold."""

    ISSUE = "issue"
    RESERVE = "reserve"
    RENEW = "renew"
    REVOKE = "revoke"
    FORGET = "forget"
    SIGN = "sign"
    PUBLISH = "publish"
    UPDATE = "update"
    IMPORT = "import"
    MOVE = "move"
    RETIRE = "retire"
    DISTRUST = "distrust"


class ReasonCode(StrEnum):
    """Why; a closed set (docs/reference/reasons.md)."""

    NEW = "new"
    DUE = "due"
    SPEC_CHANGED = "spec-changed"
    KEY_CHANGED = "key-changed"
    REVOKED = "revoked"
    KEY_BLOCKED = "key-blocked"
    ISSUER_RETIRED = "issuer-retired"
    ISSUER_REVOKED = "issuer-revoked"
    CA_ROTATE = "ca-rotate"
    CRL_DUE = "crl-due"
    CRL_CONTENT = "crl-content"
    OCSP_DUE = "ocsp-due"
    OCSP_MISSING = "ocsp-missing"
    PUBLISH_MISSING = "publish-missing"
    DRIFT_SERVED = "drift-served"
    DRIFT_PUBLISHED = "drift-published"
    REMOVED = "removed"
    IMPORTED = "imported"
    ADOPTED = "adopted"


class Stage(StrEnum):
    """Which part of an apply a change belongs to; inside one, the order of kinds counts."""

    FIRST = "first"
    """A compromise: revoked, and published, before anything else is done."""
    MAIN = "main"
    LAST = "last"
    """What is replaced in this plan: revoked when the replacement is in place."""


APPROVAL = "an approval: `pkicode plan -o FILE`, `pkicode approve FILE`"
"""What a change waits for that [policy] require_approval means."""


CEREMONY = "`pkicode ceremony "
"""What a change waits for that an offline key is to sign names a command that begins so."""


class Readiness(StrEnum):
    READY = "ready"
    WAITING = "waiting"
    DENIED = "denied"


@frozen
class Reason:
    code: ReasonCode
    detail: str = ""
    """A sentence's end for people: "due 2027-01-11T09:00:00Z", "`dns` changed"."""


@frozen(eq=False)
class Layered(Mapping[str, object]):
    """JSON values of one change: most are shared by all changes of its block, its own are made when they are asked for.

    100,000 dictionaries are 56 MB, and 26 MB are their own values alone.
    """

    common: Mapping[str, object]
    names: tuple[str, ...]
    row: "Row"
    own_of: Callable[["Row"], tuple[object, ...]]
    """Makes the own values of a row, in the order of `names`; shared, too."""

    @property
    def own(self) -> tuple[object, ...]:
        """Its own values; made anew each time."""
        return self.own_of(self.row)

    def __getitem__(self, name: str) -> object:
        return self.own[self.names.index(name)] if name in self.names else self.common[name]

    def __iter__(self) -> Iterator[str]:
        yield from self.names
        yield from self.common

    def __len__(self) -> int:
        return len(self.names) + len(self.common)

    def __reduce__(self) -> tuple[object, ...]:
        # What makes the values cannot be pickled: they go as they are.
        return dict, (self.plain(),)

    def plain(self) -> dict[str, object]:
        """As JSON would give it back: lists, where tuples take less memory."""
        own = [list(one) if isinstance(one, tuple) else one for one in self.own]
        return {**self.common, **dict(zip(self.names, own, strict=True))}


@frozen
class Change:
    """One action on one address.

    `before` and `after` hold JSON values; a value known in `after` is the value in the record that apply leaves.
    `waits` says what a WAITING or DENIED change is held back by.
    """

    address: Address
    action: Action
    generation: int
    reasons: tuple[Reason, ...]
    block: "Block | None" = field(default=None, repr=False)
    row: "Row | None" = field(default=None, repr=False)
    held: "Held | None" = field(default=None, repr=False)
    before: Mapping[str, object] | None = None
    after: Mapping[str, object] | None = None
    irreversible: bool = False
    readiness: Readiness = Readiness.READY
    waits: str = ""
    depends_on: tuple[str, ...] = ()
    stage: Stage = Stage.MAIN

    @property
    def by_ceremony(self) -> bool:
        """Whether nothing but a ceremony lies between it and its end."""
        return CEREMONY in self.waits or (self.action is Action.RESERVE and self.readiness is Readiness.READY)


@frozen
class Verdict:
    """What a policy rule said of the whole plan."""

    rule: str
    passed: bool
    message: str
    help: str = ""


@frozen
class Pending:
    """Rows of a block whose changed fields wait for their next renewal."""

    block: str
    count: int
    fields: tuple[str, ...]


@frozen
class Plan:
    """What apply would do at `at`.  Pure data; rendering is in views, saving in plan/planfile.py."""

    project: str
    at: int
    expires_at: int
    env: str
    lineage: str
    sequence: int
    inputs: tuple[tuple[str, str], ...]
    """(path relative to the root, `sha256:` digest), sorted."""
    scope: tuple[tuple[str, ...], tuple[str, ...]]
    """The --only and --except globs."""
    changes: tuple[Change, ...]
    """In the order they are applied."""
    problems: tuple[Problem, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    allow: tuple[tuple[str, str], ...] = ()
    """What --allow lifted, recorded in the plan."""
    next_due: int | None = None
    """The first instant after `at` at which a plan would not be empty."""
    declared: int = 0
    """Leaf certificates declared in pki.toml."""
    complete: bool = True
    """False where --only or --except left something out."""
    pending: tuple[Pending, ...] = ()
    seen: tuple[Seen, ...] | None = None
    """What the declared endpoints serve; None: nobody looked.  It decides nothing, and plan files leave it out."""

    @property
    def has_changes(self) -> bool:
        return bool(self.changes)
