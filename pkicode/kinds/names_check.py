"""The names of one certificate as pki.toml declares them: normal forms, and whether they may be certified.

Three questions in this order: is each one a name at all, does the profile let it through, would the CAs' name
constraints refuse it (RFC 5280 section 4.2.1.10).  Relying parties answer the last one; asking it here keeps a
certificate that nobody would accept from being made.
"""

from collections.abc import Iterator, Sequence

from attrs import asdict

from pkicode.config.language import CertSpec
from pkicode.config.rows import place_of
from pkicode.kinds import authority as authorities
from pkicode.model.names import San, Sans, SanType, Subject
from pkicode.model.problem import Place, Problem
from pkicode.model.row import Block, Row
from pkicode.plan.kind import Outlook
from pkicode.x509 import constraints, names

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
    pairs = [("cn", spec.cn)] if spec.cn else []
    return names.subject([*pairs, *spec.subject])


def problems_of(block: Block, row: Row, spec: CertSpec, outlook: Outlook) -> Iterator[Problem]:
    """Each mistake in the names of one row, once, at its line."""
    address = f"cert.{block.name}" + (f"[{row.key!r}]" if row.key else "")
    found: dict[San, int] = {}
    broken = False
    for field, kind in _FIELDS:
        for index, text in enumerate(getattr(spec, field)):
            try:
                found.setdefault(names.san(kind, text), index)
            except ValueError as error:
                broken = True
                yield Problem("E0401", f"{address}: {error}", place=_place(block, row, field, index), address=address)
    try:
        subject = subject_of(spec)
    except ValueError as error:
        yield Problem("E0405", f"{address}: {error}", place=_place(block, row, "cn"), address=address)
        return
    if not broken:
        yield from _refused(block, row, spec, subject, found, outlook, address)


def _refused(
    block: Block, row: Row, spec: CertSpec, subject: Subject, found: dict[San, int], outlook: Outlook, address: str
) -> Iterator[Problem]:
    sans = tuple(found)
    if not sans and not spec.copy:
        yield Problem(
            "E0407",
            f"{address} has no alternative name",
            place=_place(block, row, "cn"),
            address=address,
            help="clients look at SANs only: add dns, ip, email or uri",
        )
    if spec.cn and names.looks_like_host(spec.cn) and not _is_among(spec.cn, sans):
        yield Problem(
            "E0402",
            f"{address}: the CN `{spec.cn}` looks like a host and is not among the SANs",
            address=address,
            place=_place(block, row, "cn"),
            help=f'add "{spec.cn}" to dns, or drop cn',
        )
    if spec.allow is not None:
        for reason in constraints.allowed(sans, constraints.Allow(**asdict(spec.allow))):
            yield Problem(
                "E0403",
                f"{address}: {reason}",
                place=_first(block, row, found, reason),
                address=address,
                help=f"profile {spec.profile} has an `allow` that does not cover it",
            )
    chain = _chain(spec.issuer, outlook)
    if chain:
        for reason in constraints.verdict(subject, sans, chain):
            yield Problem(
                "E0408",
                f"{address}: {reason}",
                place=_first(block, row, found, reason),
                address=address,
                help=f"the name constraints of ca.{spec.issuer} or a CA above it refuse this name",
            )


def _chain(issuer: str, outlook: Outlook) -> Sequence[constraints.Constraints]:
    memo_key = ("constraints", issuer)
    if memo_key not in outlook.memo:
        outlook.memo[memo_key] = authorities.constraints_above(issuer, outlook.config)
    found: Sequence[constraints.Constraints] = outlook.memo[memo_key]
    return found


def _is_among(cn: str, sans: Sans) -> bool:
    lowered = cn.lower().rstrip(".")
    return any(value == lowered for kind, value in sans if kind in (SanType.DNS, SanType.IP))


def _first(block: Block, row: Row, found: dict[San, int], reason: str) -> Place:
    """The place of the name a reason speaks of."""
    for (kind, value), index in found.items():
        if f"`{value}`" in reason or value in reason:
            return _place(block, row, str(kind), index)
    return _place(block, row, "cn")


def _place(block: Block, row: Row, field: str, index: int | None = None) -> Place:
    if row.line:
        return place_of(block, row)
    return block.source.place(field) if index is None else block.source.place(field, index)
