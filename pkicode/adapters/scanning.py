"""A scan while it runs: names resolved, targets discovered, those that speak TLS asked and judged; each is a record.

What a target does is in its record and never an exception.  Where records go is decided by who asked for them.
"""

import asyncio
import os
import resource
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager
from functools import lru_cache, partial
from typing import TYPE_CHECKING

from attrs import define, evolve, field, frozen

from pkicode.adapters.handshake import shake
from pkicode.adapters.network import Network, addresses
from pkicode.adapters.workers import Workers
from pkicode.model.event import Event
from pkicode.scanner import grade, pki
from pkicode.scanner.asking import discover, looked_up, scan_one
from pkicode.scanner.finding import Endpoint, Finding, Grade, Target
from pkicode.scanner.pace import Pace, Rate
from pkicode.scanner.pki import WARN_EXPIRY, Means
from pkicode.scanner.session import Ended
from pkicode.scanner.terms import Job, Terms
from pkicode.scanner.trust import TrustStore, trust_store
from pkicode.tls.conversation import Talk

if TYPE_CHECKING:
    from pkicode.adapters.revoked import Lookups

AT_ONCE = 32
"""Targets that one process asks at a time, five connections each; as many are not worth discovering first."""
PART_MOST = 4096
"""Targets that are in hand at a time."""
_LEAST, _PARTS = 64, 256
"""Targets of a part, and parts of a scan, unless they are too few or too many."""
POOL_FROM = 48
"""Targets that speak TLS from which processes pay for their start."""
_IN_FLIGHT = 500
"""Discoveries: a host that does not answer takes a socket for seconds, and no work."""
_CHUNK = 12
"""Targets that a worker gets at once."""
_SOCKETS = 4096
"""Files that may be open, where some systems allow 256 unless asked."""
_RESOLVING = 32
_SECONDS = 60.0
"""For one target, without the time in which the pace makes it wait."""
_CONNECTIONS = 45
"""Of a deep scan, about."""
_HOST_BURST, _OF_NETWORK, _OF_HOST = 60.0, 0.5, 0.2
"""A host may get one deep scan at once; a /24 gets half of all that is begun, a host a fifth."""
_UNDECIDED = ("reset", "failed")
"""One hello is not enough to know."""

Processes = int | Workers | None
"""How many, those that were begun already, or as many as there are cores where there are many targets."""


@frozen
class Paced:
    """The network, no faster than agreed."""

    network: Network
    pace: Pace

    async def __call__(self, target: Target, talk: Talk[None]) -> Ended:
        await self.turn(target.address)
        return await self.network(target, talk)

    async def turn(self, address: str) -> None:
        """Wait until a connection to an address may begin."""
        clock = asyncio.get_running_loop().time
        while address and (wait := self.pace.take(address, clock())):  # noqa: ASYNC110 - time is what it waits for
            await asyncio.sleep(wait)


@define
class Scanning:
    """One scan; `async with opened(job) as scanning`."""

    job: Job
    _emit: Callable[[Event], None]
    _workers: Workers = field(repr=False)
    _done: int
    _reach: Paced = field(repr=False)
    _lookups: "Lookups | None" = field(repr=False)
    _late: set[int] = field(factory=set, repr=False)  # Targets whose names nobody resolved in time.

    async def part(self, numbers: Sequence[int]) -> list[Endpoint]:
        """The records of these targets of the job, in their order; a name has one for each of its addresses."""
        room = asyncio.Semaphore(_RESOLVING)
        async with asyncio.TaskGroup() as group:
            named = [group.create_task(self._addressed(number, room)) for number in numbers]
        found = await self._asked([target for task in named for target in task.result()])
        choice = self.job.terms.choice
        if self._lookups:
            found = await self._lookups.of(found, choice, now=clock(self.job.terms))
        else:
            unasked = choice.kept(pki.unasked())
            found = [evolve(one, findings=(*one.findings, *unasked)) if one.chains else one for one in found]
        found = [evolve(one, scan=self.job.terms.scan) for one in found]
        records: list[Endpoint] = []
        for number, task in zip(numbers, named, strict=True):
            here, found = found[: len(task.result())], found[len(task.result()) :]
            records += _told(here, self.job, number, is_late=number in self._late)
        return records

    async def _addressed(self, number: int, room: asyncio.Semaphore) -> list[Target]:
        target = self.job.targets[number]
        if target.address:
            return [target]
        async with room:
            found = await addresses(target.host)
        if found is None:
            self._late.add(number)
        return [evolve(target, address=one) for one in found or ()] or [target]

    async def _asked(self, targets: Sequence[Target]) -> list[Endpoint]:
        """In the order of the targets."""
        found: dict[Target, Endpoint] = {}
        if len(targets) > AT_ONCE:
            found = await self._discovered(targets)
        pooled = [one for one in targets if one in found and found[one].state == "tls"]
        if self._workers.jobs == 1 or len(pooled) < _CHUNK:
            pooled = []
        kept = set(pooled)
        here = [one for one in targets if one not in kept and (one not in found or _is_open(found[one]))]
        # While workers are at it the rate is theirs, and ours if there is somebody left for us.
        share = self._workers.jobs + bool(here)
        chunks = [tuple(pooled[at : at + _CHUNK]) for at in range(0, len(pooled), _CHUNK)]
        try:
            async with asyncio.TaskGroup() as group:
                far = [group.create_task(self._far(chunk, share)) for chunk in chunks]
                reach = reach_of(self.job.terms, share) if far else self._reach
                near = group.create_task(together(self.job.terms, here, reach, told=self._tell))
        except BaseExceptionGroup as errors:
            # A worker that died is the end of all of them, and one sentence.
            raise errors.exceptions[0] from None
        for one in (*near.result(), *(one for task in far for one in task.result())):
            before = found.get(one.target)
            found[one.target] = evolve(one, connections=one.connections + before.connections) if before else one
        return [found[one] for one in targets]

    async def _discovered(self, targets: Sequence[Target]) -> dict[Target, Endpoint]:
        terms, reach, room = self.job.terms, self._reach, asyncio.Semaphore(_IN_FLIGHT)
        found: dict[Target, Endpoint] = {}

        async def one(target: Target) -> None:
            try:
                heard = await discover(target, reach=reach.network, shake=shake, entropy=os.urandom, now=clock(terms))
            finally:
                room.release()
            found[target] = heard
            if not _is_open(heard):
                self._tell(heard)

        async with asyncio.TaskGroup() as group:
            for target in targets:
                await room.acquire()
                await reach.turn(target.address)
                group.create_task(one(target))
        return found

    async def _far(self, targets: tuple[Target, ...], share: int) -> list[Endpoint]:
        found: list[Endpoint] = await self._workers.run(in_worker, self.job.terms, targets, share)
        for one in found:
            self._tell(one)
        return found

    def _tell(self, one: Endpoint) -> None:
        self._done += 1
        total = max(len(self.job.targets), self._done)
        self._emit(Event("scan", one.state, self._done, total, str(one.target)))


@asynccontextmanager
async def opened(
    job: Job, *, emit: Callable[[Event], None], jobs: Processes = None, before: int = 0, share: int = 1
) -> AsyncIterator[Scanning]:
    """A scan that can begin.

    Args:
        emit: gets an event for each target.
        jobs: worker processes, or those of `crew`, who end with the scan; None for as many as pay.
        before: targets that an earlier run has scanned.
        share: one of so many equal ones of the rate, while others have the rest.
    """
    _make_room()
    async with jobs if isinstance(jobs, Workers) else crew(job, jobs) as workers:
        reach = reach_of(job.terms, share)
        yield Scanning(job, emit, workers, before, reach, _lookups(job.terms, reach, emit))


def crew(job: Job, jobs: int | None = None) -> Workers:
    """The worker processes of a scan: so many, or as many as there are cores where there are many targets."""
    pays = len(job.targets) >= POOL_FROM
    return Workers((os.cpu_count() or 1 if pays else 1) if jobs is None else jobs, is_droppable=True)


def _make_room() -> None:
    """As many sockets as a scan opens at once, if we may: what cannot be asked for want of one stays unknown."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _SOCKETS if hard == resource.RLIM_INFINITY else min(_SOCKETS, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _lookups(terms: Terms, reach: Paced, emit: Callable[[Event], None]) -> "Lookups | None":
    if not terms.revocation:
        return None
    # They bring what reads lists and responses, a third of the start of a scan.
    from pkicode.adapters.guarded import Guarded
    from pkicode.adapters.revoked import Lookups

    return Lookups(Guarded(terms.allow_private, reach.turn), _stores(terms.stores), emit)


def clock(terms: Terms) -> int:
    """Epoch seconds."""
    return int(time.time()) if terms.now is None else terms.now


Part = tuple[int, Sequence[int]]
"""The number of a part, and those of its targets."""
Ask = Callable[..., AsyncGenerator[tuple[int, list[Endpoint]]]]
"""`here`, or something with the same parameters that asks elsewhere."""


async def here(
    job: Job, parts: Iterable[Part], *, emit: Callable[[Event], None], jobs: Processes = None, before: int = 0
) -> AsyncGenerator[tuple[int, list[Endpoint]]]:
    """Parts of a scan as they are done, each with its number: by this machine, one after the other."""
    async with opened(job, emit=emit, jobs=jobs, before=before) as scanning:
        for number, numbers in parts:
            yield number, await scanning.part(numbers)


async def whole(job: Job, *, emit: Callable[[Event], None], jobs: Processes = None, ask: Ask = here) -> list[Endpoint]:
    """Every record of a scan, in the order of its targets."""
    numbers = range(len(job.targets))
    size = PART_MOST if ask is here else part_size(len(numbers))
    parts = [(at, numbers[at : at + size]) for at in numbers[::size]]
    async with aclosing(ask(job, parts, emit=emit, jobs=jobs)) as asked:
        found = {number: records async for number, records in asked}
    return [one for number, _ in parts for one in found[number]]


def part_size(total: int) -> int:
    """Targets of a part: enough to ask many at once, and few enough to share out, and to do again after a kill."""
    return min(PART_MOST, max(_LEAST, -(-total // _PARTS)))


async def each(
    jobs: Sequence[Job], *, emit: Callable[[Event], None], processes: Processes = None, ask: Ask = here
) -> list[Endpoint]:
    """As `whole`, of several scans one after the other, each at its rate; a target of two of them is asked twice."""
    found: list[Endpoint] = []
    for job, emitted in zip(jobs, counted(jobs, emit), strict=True):
        found += await whole(job, emit=emitted, jobs=processes, ask=ask)
    return found


def counted(jobs: Sequence[Job], emit: Callable[[Event], None]) -> Iterable[Callable[[Event], None]]:
    """For each scan of a run an `emit` that counts the targets of all of them."""
    before, total = 0, sum(len(job.targets) for job in jobs)
    for job in jobs:
        yield partial(_emit_after, emit, before, total)
        before += len(job.targets)


def _emit_after(emit: Callable[[Event], None], before: int, total: int, event: Event) -> None:
    emit(evolve(event, done=event.done + before, total=max(total, event.total)))


def reach_of(terms: Terms, share: int) -> Paced:
    """The network, for one event loop; of the rate it has one of so many shares."""
    pace = _pace(terms.rate, share, threading.get_ident())
    return Paced(Network(connect_seconds=terms.patience, answer_seconds=terms.patience), pace)


@lru_cache(maxsize=64)
def _pace(rate: float, share: int, _thread: int) -> Pace:
    """One for each thread: what a worker gets next goes on where the last was.

    Whatever is shared out is so with its bursts, that the limits hold for all shares together.
    """
    burst = max(1.0, _HOST_BURST / share)
    return Pace(
        Rate(rate / share, max(1.0, rate / share / 10)),
        Rate(rate / share * _OF_NETWORK, burst),
        Rate(rate / share * _OF_HOST, burst),
    )


def in_worker(terms: Terms, targets: tuple[Target, ...], share: int) -> list[Endpoint]:
    """`together`, in a process of its own."""
    return asyncio.run(together(terms, targets, reach_of(terms, share)))


async def together(
    terms: Terms, targets: Iterable[Target], reach: Paced, *, told: Callable[[Endpoint], None] = lambda _one: None
) -> list[Endpoint]:
    """Targets asked at the same time and judged, in their order."""
    room = asyncio.Semaphore(AT_ONCE)
    # Who waits for the pace must not be taken for somebody who does not answer.
    seconds = _SECONDS + AT_ONCE * _CONNECTIONS / reach.pace.network.per_second
    ask = partial(scan_one, reach=reach, shake=shake, entropy=os.urandom, seconds=seconds)

    async def one(target: Target) -> Endpoint:
        async with room:
            try:
                found = judged(await ask(target, terms.choice.lines, now=clock(terms)), terms)
            except Exception as error:  # noqa: BLE001 - one target must not end the scan of a million, also not again
                found = _unexpected(target, error, terms)
        told(found)
        return found

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(target)) for target in targets]
    return [task.result() for task in tasks]


def _unexpected(target: Target, error: Exception, terms: Terms) -> Endpoint:
    """A record of what should not be: somebody has to hear of it."""
    detail = f"pkicode met something it does not expect, please report it: {type(error).__name__}: {error}"
    finding = Finding("Connectivity", "TLSDial", Grade.UNKNOWN, "unexpected", detail)
    return Endpoint(target, clock(terms), "failed", findings=terms.choice.kept([finding]))


def judged(endpoint: Endpoint, terms: Terms) -> Endpoint:
    """What is to be thought of what was found: certificates, policy, letter."""
    held = terms.policy
    means = Means(clock(terms), _stores(terms.stores), held.warn_expiry if held else WARN_EXPIRY)
    findings, verdicts = pki.judge(endpoint, means)
    found = evolve(endpoint, findings=(*endpoint.findings, *findings), verdicts=verdicts)
    if held:
        found = evolve(found, findings=(*found.findings, *_held(found, terms)))
    letter = grade.rate(found).letter if terms.choice.is_whole else ""
    return evolve(found, letter=letter, findings=terms.choice.kept(found.findings))


def _held(endpoint: Endpoint, terms: Terms) -> Iterable[Finding]:
    """What the policy says.  Nothing is called good of which not everything was asked, or answered."""
    # Only a [scan.X] has one, and it brings the language of pki.toml.
    from pkicode.scanner import policy

    known = {one.check for one in endpoint.findings if one.grade is not Grade.UNKNOWN}
    # A quick scan tells of TLS 1.0 and 1.1 only the newer.
    modern = "Versions" in known and not {"TLSv1.0", "TLSv1.1"}.intersection(endpoint.versions)
    whole = {"MinVersion": "CipherSuite" in known or modern, "ForbiddenSuites": "CipherSuite" in known}
    for one in policy.findings(endpoint, terms.policy) if terms.policy else ():
        is_open = one.grade is Grade.GOOD and not whole[one.check]
        yield evolve(one, grade=Grade.UNKNOWN, value="", detail="Not all that it takes is known.") if is_open else one


@lru_cache(maxsize=8)
def _stores(given: tuple[tuple[str, bytes], ...]) -> tuple[TrustStore, ...]:
    return tuple(trust_store(name, roots) for name, roots in given)


def _is_open(endpoint: Endpoint) -> bool:
    """Whether there is more to be asked."""
    return endpoint.state in ("tls", *_UNDECIDED)


def _told(found: Sequence[Endpoint], job: Job, number: int, *, is_late: bool) -> Iterable[Endpoint]:
    """The records of one target of the job: what is said of its name, and of its addresses together."""
    kept = job.terms.choice.kept
    if job.targets.is_of_network(number):
        return map(_nobodys, found)
    target = job.targets[number]
    if target.address:
        return found
    there = [one.target.address for one in found if one.target.address]
    lookup = looked_up(there, is_late=is_late)
    same = pki.same_everywhere(found)
    return [
        evolve(
            one,
            findings=(
                *kept([lookup]),
                *(same if same.grade is Grade.WARNING and each.check == same.check else each for each in one.findings),
            ),
        )
        for one in found
    ]


def _nobodys(endpoint: Endpoint) -> Endpoint:
    """That most addresses of a network are silent is no finding."""
    if endpoint.state not in ("closed", "filtered"):
        return endpoint
    detail = "Nobody answers at this address of the network."
    return evolve(
        endpoint, findings=tuple(evolve(one, grade=Grade.SKIPPED, detail=detail) for one in endpoint.findings)
    )
