"""One target scanned: the hello that tells whether it speaks TLS, the probes stage by stage, and one record of it all.

Whatever the target does, a record comes back, within the time it may take.  Which targets there are, what chains are
worth and the letter are decided elsewhere.
"""

import asyncio
from collections.abc import Sequence
from itertools import groupby

from attrs import evolve

from pkicode.scanner.finding import Cipher, Endpoint, Finding, Grade, Group, Presented, Target
from pkicode.scanner.peeling import together
from pkicode.scanner.registry import Probe
from pkicode.scanner.session import Heard, Known, Reach, Session, Shake
from pkicode.tls import ssl2
from pkicode.tls.client13 import Entropy
from pkicode.tls.conversation import Answer, converse
from pkicode.tls.groups import group_of
from pkicode.tls.hello import NAMES, SSL3, TLS10, TLS12, ClientHello
from pkicode.tls.suites import offered, ssl2_suites, suite_of

_SHORT = 30
"""Suites in the hellos after the first."""
_GONE = {"closed": "closed", "filtered": "filtered", "unresolved": "unresolved", "not-tls": "not-tls"}
"""What the first connection says that no second one can mend."""


async def scan_one(
    target: Target,
    probes: Sequence[Probe],
    *,
    reach: Reach,
    shake: Shake,
    entropy: Entropy,
    now: int,
    seconds: float = 60.0,
) -> Endpoint:
    """Everything the probes find out of a target, in `seconds` at most; never raises anything of the target's doing.

    Args:
        target: whom.
        probes: QUICK or DEEP of pkicode/scanner/registry.py, or some of their lines.
        reach: opens connections.
        shake: whole handshakes, for what no hello tells.
        entropy: random octets, for hellos and key shares.
        now: epoch seconds, for the record alone.
        seconds: when time is up, what is not known by then is Unknown.
    """
    session = Session(target, reach, shake, entropy)
    clock = asyncio.get_running_loop().time
    started, late = clock(), False
    try:
        async with asyncio.timeout(seconds):
            await _greet(session)
            if session.known.first.value or session.known.ssl2:
                await _probe(session, probes)
    except TimeoutError:
        late = True
    return _record(session, probes, late=late, now=now, seconds=clock() - started)


async def discover(target: Target, *, reach: Reach, shake: Shake, entropy: Entropy, now: int) -> Endpoint:
    """Whether a target speaks TLS, by one hello that makes nobody calculate; the arguments as of `scan_one`."""
    session = Session(target, reach, shake, entropy)
    clock = asyncio.get_running_loop().time
    started = clock()
    session.known.first = await session.greet(session.modern())
    return _record(session, (), late=False, now=now, seconds=clock() - started)


async def _greet(session: Session) -> None:
    """The hello of a modern client; a short one, an old one and SSLv2's if nobody answers to it."""
    known = session.known
    known.first = await session.ask(converse(session.modern(), session.entropy))
    if known.first.value or known.first.how in (*_GONE, "unasked"):
        known.keep(known.first.value.chain if known.first.value else ())
        return
    for hello in _plainer(session):
        heard = await session.greet(hello)
        if heard.value:
            known.first = heard
            known.keep(heard.value.chain)
            return
    if known.first.how != "timeout":
        old = await session.ask(ssl2.converse(tuple(ssl2_suites()), session.entropy(16)))
        known.ssl2 = old.value.suites if old.value else ()


def _plainer(session: Session) -> list[ClientHello]:
    common = offered(TLS12)[:_SHORT]
    plain = session.hello([TLS12], common, (23, 24))
    # A tarpit gets one more; who hangs up or answers nonsense may have choked on the hello.
    if session.known.first.how == "timeout":
        return [plain]
    return [
        plain,
        session.hello([TLS10], offered(TLS10)[:_SHORT], (23, 24)),
        session.hello([SSL3], offered(SSL3)[:_SHORT]),
    ]


async def _probe(session: Session, probes: Sequence[Probe]) -> None:
    for _, stage in groupby(sorted(probes, key=lambda probe: probe.stage), key=lambda probe: probe.stage):
        await together([_ask(session, probe) for probe in stage])


async def _ask(session: Session, probe: Probe) -> None:
    if probe.ask:
        await probe.ask(session)
    session.known.asked.add(probe.name)


def _record(session: Session, probes: Sequence[Probe], *, late: bool, now: int, seconds: float) -> Endpoint:
    known, first = session.known, session.known.first
    speaks = bool(first.value or known.answers or known.ssl2)
    state = "tls" if speaks else _GONE.get(first.how) or ("reset" if first.how == "reset" else "failed")
    if late:
        known.give_up()
    if first.value and first.value.hello:
        # A quick scan, or one that ran out of time, knows at least what was taken first.
        known.answers.setdefault(first.value.version, (first.value,))
    judged = [finding for probe in probes for finding in _judged(known, probe)] if speaks else []
    return Endpoint(
        target=session.target,
        at=now,
        state=state,
        versions=tuple(NAMES[version] for version in known.versions()),
        alpn=first.value.alpn if first.value else "",
        seconds=seconds,
        connections=session.connections,
        octets=session.octets,
        findings=(*_connectivity(session, state), *judged),
        ciphers=_ciphers(known),
        groups=tuple(
            Group(NAMES[version], rank, number, group_of(number).name)
            for version, numbers in sorted(known.groups.items())
            for rank, number in enumerate(numbers, 1)
        ),
        chains=tuple(
            Presented(slot, position, der)
            for slot, chain in enumerate(known.chains)
            for position, der in enumerate(chain)
        ),
        staple=first.value.staple if first.value else b"",
        scts=first.value.scts if first.value else (),
    )


def _judged(known: Known, probe: Probe) -> list[Finding]:
    """Of a probe that did not come to its end only what is wrong is known."""
    findings = probe.judge(known)
    if probe.ask is None or probe.name in known.asked:
        return findings
    detail = "Time was up before it was known."
    wrong = (Grade.BAD, Grade.WARNING)
    return [one if one.grade in wrong else evolve(one, grade=Grade.UNKNOWN, detail=detail) for one in findings]


_DIALLED = {
    "closed": "The port is closed.",
    "filtered": "Nobody answers at the address: it is not there, or something before it drops what is sent.",
    "unresolved": "No address of the name is known.",
}


def looked_up(addresses: Sequence[str], *, is_late: bool) -> Finding:
    """What is said of a name; `is_late`: time was up before anybody told its addresses."""
    if addresses:
        return Finding("Connectivity", "DNSLookup", Grade.GOOD, " ".join(addresses), "The name resolves.")
    if is_late:
        detail = "No answer came in time: the name may have an address all the same."
        return Finding("Connectivity", "DNSLookup", Grade.UNKNOWN, "timeout", detail)
    return Finding("Connectivity", "DNSLookup", Grade.BAD, "unresolved", "The name has no address.")


def _connectivity(session: Session, state: str) -> list[Finding]:
    first: Heard[Answer] = session.known.first
    if state in _DIALLED:
        return [Finding("Connectivity", "TCPDial", Grade.BAD, state, _DIALLED[state])]
    if first.how == "unasked":
        detail = "This machine could not ask: no socket is left, or no route leads into that network."
        return [Finding("Connectivity", "TCPDial", Grade.UNKNOWN, "unasked", detail)]
    dialled = Finding("Connectivity", "TCPDial", Grade.GOOD, "", "A connection comes about.")
    if state == "tls":
        return [dialled, Finding("Connectivity", "TLSDial", Grade.GOOD, "", "It speaks TLS.")]
    grade = Grade.BAD if state == "not-tls" else Grade.UNKNOWN
    detail = first.why or f"The connection ended in a {first.how} before it said anything of TLS."
    return [dialled, Finding("Connectivity", "TLSDial", grade, state, detail)]


def _ciphers(known: Known) -> tuple[Cipher, ...]:
    taken = [(version, [answer.number for answer in known.answers[version]]) for version in sorted(known.answers)]
    ranked = [
        (NAMES[version], rank, suite_of(number))
        for version, numbers in [*([(2, list(known.ssl2))] if known.ssl2 else []), *taken]
        for rank, number in enumerate(numbers, 1)
    ]
    return tuple(
        Cipher(version, rank, suite.id, suite.name, suite.kx, suite.bits, suite.fs, suite.aead, suite.strength)
        for version, rank, suite in ranked
    )
