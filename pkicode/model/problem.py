"""Problems: what is wrong, where, and how to mend it.  Views render them; faces make exit codes of them."""

from enum import StrEnum

from attrs import field, frozen

from pkicode.model.counted import counted

MOST_ROWS = 1000
"""So many rows of one problem are kept; how many there are is in its message."""
NAMED_ROWS = 10
"""So many rows beside the first its message names; of more, only the number."""


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"


class Part(StrEnum):
    """Which part of a TOML entry is meant."""

    KEY = "key"
    VALUE = "value"
    TABLE = "table"


@frozen
class Place:
    """A spot in an input before anybody has counted lines: file, key path, and the part meant.

    `keys` is the path of TOML keys and array indices, e.g. ("cert", "portal", "dns", 1).  For CSV and JSONL rows
    `line` is known and `keys` holds the column name, if one is meant.
    """

    path: str
    keys: tuple[str | int, ...] = ()
    part: Part = Part.VALUE
    line: int | None = None


@frozen
class Span:
    """Lines and columns count from 1; the end is exclusive; columns are characters, not bytes."""

    path: str
    line: int
    column: int
    end_line: int
    end_column: int
    text: str = ""
    """The source line, for the drawing under the message."""


@frozen
class Related:
    """A second place that explains the first."""

    label: str
    place: Place | None = None
    span: Span | None = None


@frozen
class Problem:
    """One mistake, told once.

    `code` is `E0203` or `W0412`; `pkicode explain CODE` has the page.  `place` becomes `span` when the configuration
    resolves it (Config.located), so that a healthy file never pays for counting lines.
    """

    code: str
    message: str
    help: str = ""
    label: str = ""
    """What stands beside the caret, e.g. "did you mean `validity`?"."""
    place: Place | None = None
    span: Span | None = None
    related: tuple[Related, ...] = ()
    address: str = ""
    rows: tuple[tuple[str, int | None], ...] = ()
    """Address and line of each row that has it, this one first, where several are told once (config/told.py)."""
    severity: Severity = field()

    @severity.default
    def _severity(self) -> Severity:
        return Severity.WARNING if self.code.startswith("W") else Severity.ERROR


def installing(extra: str) -> str:
    """How what an extra of pkicode needs gets installed: a help.  A clone is not looked up by its name in an index."""
    return f"pip install 'pkicode[{extra}]', or in a clone: .venv/bin/pip install -e '.[{extra}]'"


class PkicodeError(Exception):
    """Anything a user can mend; `help` says how.  Never carries a secret."""

    exit_code = 1

    def __init__(self, message: str, *, help: str = "") -> None:  # noqa: A002 - the word users read: `= help:`
        super().__init__(message)
        self.message = message
        self.help = help


class ConfigError(PkicodeError):
    """pki.toml, or what it includes, cannot be used; `problems` are all of them at once."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        errors = sum(problem.severity is Severity.ERROR for problem in problems)
        super().__init__(f"{counted(errors, 'error')} in the configuration")
        self.problems = problems

    def __reduce__(self) -> tuple[object, ...]:
        # An exception is made again from its message, and this one is not made from one.
        return type(self), (self.problems,), self.__dict__


class StateError(PkicodeError):
    """The state store cannot be used: wrong env, newer schema, damage, full disk."""


class LeaseHeld(PkicodeError):
    """Somebody else is applying."""

    exit_code = 5


class LeaseLost(PkicodeError):
    """Our lease was taken over: nothing more may be written (fencing)."""


class StalePlan(PkicodeError):
    """The saved plan no longer says what would be done."""

    exit_code = 4


class Denied(PkicodeError):
    """Policy or a brake refused the plan."""

    exit_code = 6


class Unapproved(PkicodeError):
    """Nothing is done before somebody has approved it."""

    exit_code = 7


class Foreign(PkicodeError):
    """What stands at a published path cannot be a file of ours: too long, a link, a pipe."""


class KeyStoreError(PkicodeError):
    """The keystore cannot be opened, or does not hold what it should."""
