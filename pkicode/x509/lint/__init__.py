"""Lint of the exact bytes to be signed: one function a rule, grouped by where the rule comes from.

A finding of severity error means: this is not signed.
"""

from attrs import define, field

from pkicode.model.problem import Severity
from pkicode.x509.lint import house, pkix, rfc5280, rfc5280_extensions
from pkicode.x509.lint.reading import Own, Shared, read
from pkicode.x509.lint.rule import Finding, Rule
from pkicode.x509.tbs import IssuerFacts

SHARED_RULES: tuple[Rule[Shared, IssuerFacts], ...] = (*rfc5280.SHARED, *rfc5280_extensions.SHARED, *pkix.SHARED)
OWN_RULES: tuple[Rule[Own, Shared, IssuerFacts], ...] = (*rfc5280.OWN, *rfc5280_extensions.OWN, *house.OWN)

_REMEMBERED = 256


@define
class Linter:
    """Lint that remembers what it found in the half that certificates of one form share."""

    _known: dict[tuple[Shared, IssuerFacts], tuple[Shared, tuple[Finding, ...]]] = field(factory=dict, repr=False)
    _last: tuple[Shared, IssuerFacts, tuple[Finding, ...]] | None = field(default=None, repr=False)
    """The half that was read last: of a thousand certificates of one form, 999 have the same."""

    def lint(self, tbs: bytes, issuer: IssuerFacts) -> list[Finding]:
        """Every rule that these bytes break under this issuer."""
        try:
            last = self._last
            shared, own = read(tbs, like=last[0] if last else None)
            if last and shared is last[0] and issuer is last[1]:
                findings = last[2]
            else:
                shared, findings = self._shared(shared, issuer)
                self._last = (shared, issuer, findings)
        except ValueError as error:
            return [Finding("structure", "RFC 5280 section 4.1", Severity.ERROR, str(error))]
        found = [*findings]
        for rule in OWN_RULES:
            if broken := rule.findings(own, shared, issuer):
                found += broken
        return found

    def _shared(self, shared: Shared, issuer: IssuerFacts) -> tuple[Shared, tuple[Finding, ...]]:
        known = self._known.get((shared, issuer))
        if known is None:
            found = tuple(found for rule in SHARED_RULES for found in rule.findings(shared, issuer))
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = self._known[shared, issuer] = (shared, found)
        return known


def lint(tbs: bytes, issuer: IssuerFacts) -> list[Finding]:
    """Every rule that these bytes break under this issuer; `Linter` is for many."""
    return Linter().lint(tbs, issuer)
