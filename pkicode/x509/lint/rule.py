"""What a rule is: one function with the section it enforces."""

from collections.abc import Callable, Iterable
from typing import Generic, TypeVarTuple

from attrs import frozen

from pkicode.model.problem import Severity

Parts = TypeVarTuple("Parts")


@frozen
class Finding:
    """One rule that the bytes break."""

    rule: str
    section: str
    """`RFC 5280 section 4.1.2.2`."""
    severity: Severity
    message: str


@frozen
class Rule(Generic[*Parts]):
    """A check; each text it gives is a finding, and so is a ValueError: bytes that cannot be read break the rule."""

    name: str
    section: str
    severity: Severity
    check: Callable[[*Parts], Iterable[str]]

    def findings(self, *parts: *Parts) -> list[Finding]:
        try:
            messages = [*told] if (told := self.check(*parts)) else []
        except ValueError as error:
            messages = [str(error)]
        return [Finding(self.name, self.section, self.severity, one) for one in messages] if messages else []


def rule(
    section: str, severity: Severity = Severity.ERROR
) -> Callable[[Callable[[*Parts], Iterable[str]]], Rule[*Parts]]:
    """Make a rule of a function; its name is the rule's."""

    def made(check: Callable[[*Parts], Iterable[str]]) -> Rule[*Parts]:
        return Rule(check.__name__, section, severity, check)

    return made
