"""The names of one certificate as pki.toml declares them: normal forms, and whether they may be certified.

Three questions in this order: is each one a name at all, does the profile let it through, would the CAs' name
constraints refuse it (RFC 5280 section 4.2.1.10).  Relying parties answer the last one; asking it here keeps a
certificate that nobody would accept from being made.
"""

from collections.abc import Iterator, Sequence
from ipaddress import ip_network

from attrs import asdict, evolve, frozen

from pkicode.config.language import CertSpec
from pkicode.config.rows import place_of
from pkicode.kinds import authority as authorities
from pkicode.model.address import Address
from pkicode.model.names import San, Sans, SanType, Subject
from pkicode.model.problem import Place, Problem
from pkicode.model.row import Block, Row
from pkicode.plan.kind import Outlook
from pkicode.x509 import constraints, idn, names

_NO_HOST = frozenset(((SanType.IP, "0.0.0.0"), (SanType.IP, "::")))  # noqa: S104 - nothing is bound
_FIELDS = tuple((str(one), one) for one in SanType)


def names_of(spec: CertSpec) -> Sans:
    """The SANs in normal form, each once, in declared order.

    Raises:
        ValueError: one of them is not a name.
    """
    found: dict[San, None] = {}
    for field, kind in _FIELDS:
        for text in getattr(spec, field):
            found[names.san(kind, text)] = None
    return tuple(found)


def subject_of(spec: CertSpec) -> Subject:
    """The distinguished name: the common name, if there is one, then what `subject` says.

    Raises:
        ValueError: an attribute cannot be encoded.
    """
    if not spec.cn and not spec.subject:
        return ()  # nearly every row of a fleet
    return names.subject(pair for _, pair in _attributes(spec))


def _attributes(spec: CertSpec) -> Iterator[tuple[tuple[str, ...], tuple[str, str]]]:
    """Where each attribute is declared, its name and its value."""
    if spec.cn:
        yield ("cn",), ("cn", spec.cn)
    for name, value in spec.subject:
        yield ("subject", name), (name, value)


@frozen
class Checked:
    """The names of one row, and every mistake in them."""

    subject: Subject
    sans: Sans
    problems: tuple[Problem, ...]


def check(block: Block, row: Row, spec: CertSpec, outlook: Outlook) -> Checked:
    """Normal forms, and each mistake once, at its line."""
    try:
        subject, sans = subject_of(spec), names_of(spec)
        for name in sans:
            _compared(name)
    except ValueError:
        return Checked((), (), tuple(_misspelt(block, row, spec)))
    return Checked(subject, sans, tuple(_refused(block, row, spec, subject, sans, outlook)))


def _compared(name: San) -> None:
    """Refuse what no client looks up, as lint would in the middle of an apply."""
    idn.check(name)
    if name in _NO_HOST:
        raise ValueError(f"`{name[1]}` is the unspecified address, which names no host")


def _misspelt(block: Block, row: Row, spec: CertSpec) -> Iterator[Problem]:
    """What is no name: looked for only once something is known to be."""
    for field, kind in _FIELDS:
        for index, text in enumerate(getattr(spec, field)):
            try:
                _compared(names.san(kind, text))
            except ValueError as error:
                yield _problem("E0401", str(error), block, row, (field, index))
    for place, pair in _attributes(spec):
        try:
            names.subject([pair])
        except ValueError as error:
            mend = "`pkicode explain E0405` has the attributes, and what each may hold"
            yield _problem("E0405", str(error), block, row, place, mend)


def _refused(
    block: Block, row: Row, spec: CertSpec, subject: Subject, sans: Sans, outlook: Outlook
) -> Iterator[Problem]:
    if not sans and not (spec.csr and spec.copy):
        mend = "clients look at SANs only: add dns, ip, email or uri"
        yield _problem("E0407", "there is no alternative name", block, row, ("cn",), mend)
    if spec.cn and names.looks_like_host(spec.cn) and not _is_among(spec.cn, sans):
        message = f"the CN `{spec.cn}` looks like a host and is not among the SANs"
        yield _problem("E0402", message, block, row, ("cn",), f'add "{spec.cn}" to dns, or drop cn')
    allow, chain = outlook.once(("limits", block.template_id), lambda: _limits(spec, outlook))
    if allow is not None:
        for name in sans:
            for reason in constraints.allowed((name,), allow):
                mend = _widened(spec, name, allow)
                yield _problem("E0403", reason, block, row, _declared(spec, name), mend)
    if chain:
        for reason in constraints.verdict(subject, sans, chain):
            named = next((one for one in sans if f"`{names.san_text(one)}`" in reason), None)
            yield _outside(block, row, spec, reason, named, chain)


def _widened(spec: CertSpec, name: San, allow: constraints.Allow) -> str:
    """What the profile would have to say so that it lets a name through."""
    kind, text = name
    where = f"the `allow` of profile {spec.profile}"
    if kind not in constraints.TYPES:
        return f"{where} can let no {kind} through: drop the name, or follow a profile without `allow`"
    if text.startswith("*.") and not allow.wildcard:
        return f"drop the name, or add wildcard = true to {where}"
    entry = str(ip_network(text)) if kind is SanType.IP else text.removeprefix("*")
    return f'drop the name, or add to `{kind}` in {where} what covers it, as "{entry}" does'


def _outside(
    block: Block,
    row: Row,
    spec: CertSpec,
    reason: str,
    named: San | None,
    chain: Sequence[constraints.Constraints],
) -> Problem:
    """A name in the subject was not written as one, so it is said how it came to be one."""
    if named is not None:
        kind, above = named[0], f"the name constraints of ca.{spec.issuer} or of a CA above it"
        mend = f"{above} refuse this name"
        if any(one.shuts(kind) for one in chain):
            opens = f"add `permit_{kind}` there" if kind in constraints.TYPES else "use a CA without permit_*"
            mend = f"{above} permit other types only, which shuts this one: drop the name, or {opens}"
        return _problem("E0408", reason, block, row, _declared(spec, named), mend)
    if reason.startswith("`email:"):
        mend = f"verifiers hold it, too, against what ca.{spec.issuer} and the CAs above it permit: correct or drop it"
        return _problem("E0408", f"in the subject, {reason}", block, row, ("subject",), mend)
    mend = "verifiers take one word in the common name for a host; write two words (`Anna Smith`), or add `dns`"
    return _problem("E0408", f"in the common name, {reason}", block, row, ("cn",), mend)


def _limits(spec: CertSpec, outlook: Outlook) -> tuple[constraints.Allow | None, Sequence[constraints.Constraints]]:
    """What the profile and the CAs above let through."""
    allow = constraints.Allow(**asdict(spec.allow)) if spec.allow is not None else None
    return allow, authorities.constraints_above(spec.issuer, outlook.config, authorities.generations(outlook))


def _is_among(cn: str, sans: Sans) -> bool:
    lowered = cn.lower().rstrip(".")
    return any(value == lowered for kind, value in sans if kind in (SanType.DNS, SanType.IP))


def _declared(spec: CertSpec, name: San) -> tuple[str | int, ...]:
    """Which entry of which field a name in normal form was written in."""
    field = str(name[0])
    for index, text in enumerate(getattr(spec, field)):
        if names.san(name[0], text) == name:
            return field, index
    return (field,)


def _problem(code: str, message: str, block: Block, row: Row, field: tuple[str | int, ...], mend: str = "") -> Problem:
    address = str(Address("cert", block.name, row.key))
    # Rows of a file have the entry, too: it tells mistakes in two entries apart.
    place: Place = evolve(place_of(block, row), keys=field) if row.line else block.source.place(*field)
    return Problem(code, f"{address}: {message}", help=mend, place=place, address=address)
