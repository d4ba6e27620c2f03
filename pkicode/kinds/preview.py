"""What would be signed, linted while it can still be mended: once per template, with a key nobody has.

The names of every row are checked in names_check.py; the exact bytes are linted again in the issuance cycle.
"""

from collections.abc import Iterator

from pkicode.kinds import authority as authorities
from pkicode.model.names import Sans, SanType, Subject
from pkicode.model.problem import Problem, Severity
from pkicode.model.row import Block
from pkicode.plan.kind import Outlook
from pkicode.x509.keys import sample_spki
from pkicode.x509.names import subject_der
from pkicode.x509.profile import Profile
from pkicode.x509.tbs import IssuerFacts, form, self_issued

SERIAL = 1 << 158
"""Of a certificate that nobody is to have."""
_BROUGHT: Sans = ((SanType.DNS, "sample.invalid"),)
"""Stands for the names that a CSR brings, where pki.toml has none."""


def problems(
    block: Block, profile: Profile, subject: Subject, sans: Sans, issuer: authorities.Standing | None, outlook: Outlook
) -> Iterator[Problem]:
    """What lint says of a certificate of this block as it would be issued now."""
    # Its rules are needed for what is new, and most plans have nothing.
    from pkicode.x509.lint import lint

    spec, name = block.spec, f"{block.kind}.{block.name}"
    if profile.check(spec.key.alg) or (profile.constraints and profile.constraints.check()):
        return  # told already, and it cannot be encoded
    spki = sample_spki(spec.key.alg)
    dn = subject_der(subject)
    facts = issuer_facts(issuer, outlook) if issuer else self_issued(dn, spki)
    if facts is None:
        return
    not_before = max(outlook.now - spec.backdate, issuer.not_before if issuer else 0)
    tbs = form(profile, facts, spec.key.alg).tbs(
        serial=SERIAL,
        not_before=not_before,
        not_after=not_before + spec.validity - 1,
        subject=dn,
        spki=spki,
        sans=sans if sans or subject else _BROUGHT,
    )
    for finding in lint(tbs, facts):
        code = "E0417" if finding.severity is Severity.ERROR else "W0417"
        message = f"{name}: lint {finding.rule}: {finding.message} ({finding.section})"
        yield Problem(code, message, place=block.source.place(), address=name)


def issuer_facts(issuer: authorities.Standing, outlook: Outlook) -> IssuerFacts | None:
    """The issuer's facts, made up where it is only planned; None where its own subject is told as wrong."""
    if issuer.authority:
        return issuer.authority.facts
    declared = outlook.config.block("ca", issuer.name)
    if declared is None:
        return None
    try:
        subject = authorities.subject_of(declared.spec, issuer.generation)
        return self_issued(subject_der(subject), sample_spki(declared.spec.key.alg))
    except ValueError:
        return None
