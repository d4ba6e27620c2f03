"""ECCurves: the key exchange groups that a target takes, elliptic curves, finite fields and hybrids with ML-KEM."""

from collections.abc import Awaitable, Callable, Sequence

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from pkicode.scanner.certificate import public_key
from pkicode.scanner.finding import Finding, Grade
from pkicode.scanner.peeling import peel, together
from pkicode.scanner.session import Heard, Known, Session
from pkicode.tls.conversation import Answer
from pkicode.tls.groups import group_of, groups, offered
from pkicode.tls.hello import TLS13

_WEAK = 112
"""Bits of security; what has less is not taken (NIST SP 800-57)."""


async def ask(session: Session) -> None:
    """TLS 1.3 and the newest version before it: older ones have the groups of that one."""
    known = session.known
    wanted = [version for version in (known.newest_before_tls13(), TLS13) if known.answers.get(version)]
    await together([_of_version(session, version) for version in wanted])


async def _of_version(session: Session, version: int) -> None:
    known, taken = session.known, session.known.answers[version]
    with_curves = [answer for answer in taken if version == TLS13 or answer.suite.kx.startswith("ECDHE")]
    fields = {answer.group for answer in taken if answer.group and group_of(answer.group).kind == "ff"}
    if not with_curves:
        known.groups[version] = tuple(sorted(fields))
        return
    suites = [answer.number for answer in with_curves]
    # The certificate's own curve has to stay on the list, or an ECDSA certificate goes unused (RFC 8422 section 5.1.1).
    kept = {number for answer in with_curves if version < TLS13 for number in _curve(answer)}

    async def greet(remaining: tuple[int, ...]) -> Heard[Answer]:
        last = tuple(number for number in kept if number not in remaining)
        return await session.greet(session.hello([version], suites, (*remaining, *last)))

    first = with_curves[0].group
    rest = [number for number in offered(version) if number != first and number not in kept]
    peeled = await peel(greet, rest, lambda answer: 0 if answer.group in kept else answer.group)
    found = [first, *(answer.group for answer in peeled.found)]
    last = peeled.refusal.value.group if peeled.refusal.value else 0
    if last and last not in found:
        found.append(last)
    known.groups[version] = (*found, *sorted(fields.difference(found)))
    if peeled.how:
        known.unsure.setdefault(version, peeled.how)
    if last and not await _puts_last(greet, last, found):
        known.hidden_groups.add(version)


async def _puts_last(
    greet: Callable[[tuple[int, ...]], Awaitable[Heard[Answer]]], kept: int, found: Sequence[int]
) -> bool:
    """Whether it took the certificate's curve because nothing else was left, and not because it likes it best."""
    other = next((number for number in found if number != kept), 0)
    heard = await greet((kept, other)) if other else None
    return heard is not None and heard.value is not None and heard.value.group == kept


def _curve(answer: Answer) -> list[int]:
    """The group of the leaf's key, if it is on a curve."""
    key = public_key(answer.chain[0]) if answer.chain else None
    name = key.curve.name if isinstance(key, EllipticCurvePublicKey) else ""
    return [number for number, group in groups().items() if group.name == name]


def judge(known: Known) -> list[Finding]:
    """Bad below 112 bits; a warning without one that withstands a quantum computer would be too early."""
    hidden = bool(known.hidden_groups) and TLS13 not in known.groups
    taken = {group_of(number) for numbers in known.groups.values() for number in numbers}
    if not taken:
        return [Finding("TLSHandshake", "ECCurves", Grade.SKIPPED, "", "No suite of it uses a named group.")]
    value = " ".join(sorted(group.name for group in taken))
    weak = sorted(group.name for group in taken if 0 < group.strength < _WEAK and group.kind != "ff")
    if weak:
        return [Finding("TLSHandshake", "ECCurves", Grade.BAD, value, f"Too small, switch off: {', '.join(weak)}.")]
    if hidden:
        detail = "It prefers the curve of its certificate, and hides what comes after it."
        return [Finding("TLSHandshake", "ECCurves", Grade.UNKNOWN, value, detail)]
    hybrid = any(group.kind in ("hybrid", "pq") for group in taken)
    detail = "ML-KEM is among them." if hybrid else "None withstands a quantum computer; X25519MLKEM768 would."
    return [Finding("TLSHandshake", "ECCurves", Grade.GOOD, value, detail)]
