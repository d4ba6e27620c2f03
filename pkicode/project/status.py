"""Whether a PKI is well: what should have been renewed, signed or published by now, and who holds the lease.

Read only, without any key; the publish targets are asked when somebody wants it.
"""

import asyncio
import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from attrs import field, frozen

from pkicode.adapters import loop
from pkicode.adapters.store import StateStore
from pkicode.config.language import CrlSpec, OcspSpec
from pkicode.config.reader import Config
from pkicode.kinds import KINDS, offline
from pkicode.kinds import authority as authorities
from pkicode.kinds.authority import Authority
from pkicode.kinds.crl_lists import CLOCK_TOLERANCE, LIMIT
from pkicode.model.address import Address, parse
from pkicode.model.change import Readiness
from pkicode.model.counted import counted
from pkicode.model.instants import DAY, rfc3339
from pkicode.model.problem import ConfigError, PkicodeError
from pkicode.plan import planner
from pkicode.plan.kind import Outlook, Snapshot
from pkicode.ports import Artefact, Certificate, CertificateStatus, KeyStore, Lease, Published, Want
from pkicode.project import lookout
from pkicode.project.checks import Check, Figure, Level, Status, lateness
from pkicode.project.state import State
from pkicode.project.undone import undone
from pkicode.revocation import crl, pack
from pkicode.x509.keys import SignatureError

_GOOD = (CertificateStatus.ISSUED, CertificateStatus.UNKNOWN)
_PUT_BACK = "; `pkicode apply --refresh published` puts it back"
CA_WARNING = 60 * DAY
"""A CA that ends sooner, with nothing to follow it, needs somebody's attention."""


@frozen
class _Facts:
    snapshot: Snapshot
    leases: Sequence[Lease]
    published: Sequence[Published]
    intents: int
    behind: str
    """What is wrong between journal and state; "" where nothing is."""
    living: Mapping[tuple[str, int], int]
    """As Snapshot has it; also asked for where a CA without a key is to be told of."""
    keyless: Sequence[Certificate]
    """Of CA generations that only the inventory knows, and that signed what is valid."""


@frozen
class Vitals:
    """The status of one project.  Blocking methods; the async one has an `a` in front."""

    _config: Config
    _state: State
    _keystore: Callable[[str], KeyStore] = field(repr=False)

    def status(self, *, published: bool = False, keystores: bool = False) -> Status:
        """See `astatus`."""
        return loop.run(self.astatus(published=published, keystores=keystores))

    async def astatus(self, *, published: bool = False, keystores: bool = False) -> Status:
        """Look at everything once.

        Args:
            published: also read what is published, and verify it.
            keystores: also look whether the keys of the CAs are there; none is unlocked.

        Raises:
            StateError: the state cannot be read.
        """
        now, name = self._state.clock(), self._config.settings.project.name
        async with self._state.reading() as store:
            if store is None:
                return Status(now, name, (Check("state", "state", Level.WARNING, "nothing was applied yet"),), ())
            facts = await self._facts(store, now, keystores=keystores)
        look = _Look(self._config, facts, now)
        # Beside a server the journal is on the machine that signs, which this need not be.
        elsewhere = not isinstance(self._state.place, Path)
        look.state(journal=elsewhere or self._state.journal.path.exists())
        look.leases()
        await asyncio.to_thread(look.plan)
        look.authorities()
        look.strays()
        if published:
            for target in self._config.settings.publish:
                await look.target(target.name, target.url)
        if keystores:
            for spec in self._config.settings.keystores:
                await look.keystore(spec.name, self._keystore)
        return Status(now, name, tuple(look.checks), tuple(look.figures))

    async def _facts(self, store: StateStore, now: int, *, keystores: bool) -> _Facts:
        snapshot = await self._state.snapshot(store)
        told = "; ".join(f"{one.message}: {one.help}" for one in await self._state.behind(store))
        # One more walk over the inventory, where something can come of it.
        is_asked = keystores or any(one.startswith("ca.") for one in snapshot.adopted)
        living = await store.living(now) if is_asked else snapshot.living
        keyless: list[Certificate] = []
        for name, generation in sorted(living.keys() - snapshot.authorities.keys()):
            want = Want(address=f"ca.{name}", generation=generation, unexpired_at=now, statuses=_GOOD, with_der=False)
            keyless += (await store.certificates(want))[:1]
        open_ = len(await store.intents())
        return _Facts(snapshot, await store.leases(), await store.published(), open_, told, living, keyless)


@frozen
class _Look:
    config: Config
    facts: _Facts
    now: int
    checks: list[Check] = field(factory=list)
    figures: list[Figure] = field(factory=list)

    def _tell(self, name: str, subject: str, level: Level, message: str) -> None:
        self.checks.append(Check(name, subject, level, message))

    def _figure(self, name: str, value: int, /, **labels: str) -> None:
        self.figures.append(Figure(name, value, tuple(labels.items())))

    def state(self, *, journal: bool) -> None:
        """The state, its clock and its journal; `pkicode state verify` looks at every byte."""
        about, held = self.facts.snapshot.about, self.facts.snapshot.held
        rows = Counter(one.kind for one in held if not one.is_forgotten)
        for kind, number in sorted(rows.items()):
            self._figure("rows", number, kind=kind)
        self._figure("state_sequence", about.sequence)
        self._figure("state_newest_event_timestamp_seconds", about.newest)
        self._figure("open_intents", self.facts.intents)
        alive = any(one.expires > self.now for one in self.facts.leases)
        if self.now < about.newest - CLOCK_TOLERANCE:
            message = f"this clock is behind the newest event, {rfc3339(about.newest)}: apply refuses it"
            self._tell("state", "clock", Level.CRITICAL, message)
        elif rows["ca"] and not journal:
            self._tell("state", "journal", Level.CRITICAL, "the issuance journal is gone: `pkicode state verify`")
        elif self.facts.behind:
            self._tell("state", "journal", Level.CRITICAL, self.facts.behind)
        elif self.facts.intents and not alive:
            message = f"{self.facts.intents:,} left open by an apply that was stopped; the next one finishes them"
            self._tell("state", "intents", Level.WARNING, message)
        elif not about.sequence:
            self._tell("state", "state", Level.OK, "nothing was applied yet")
        else:
            self._tell("state", "state", Level.OK, f"newest event {rfc3339(about.newest)}")

    def leases(self) -> None:
        """Who may write."""
        for one in self.facts.leases:
            self._figure("lease_heartbeat_timestamp_seconds", one.heartbeat, name=one.name)
            told = f"held by {one.holder}, last heard of {rfc3339(one.heartbeat)}"
            if one.expires > self.now:
                self._tell("lease", one.name, Level.OK, told)
            else:
                self._tell("lease", one.name, Level.WARNING, f"{told}; it is gone, the next apply takes over")

    def plan(self) -> None:
        """What should have been done by now, and what is held back."""
        try:
            planned = planner.plan(self.config, self.facts.snapshot, now=self.now, kinds=KINDS)
        except ConfigError as error:
            first = error.problems[0]
            more = f" (and {len(error.problems) - 1} more)" if len(error.problems) > 1 else ""
            message = f"no plan can be made, nothing is renewed: [{first.code}] {first.message}{more}"
            self._tell("plan", "pki.toml", Level.CRITICAL, message)
            return
        counts = Counter((str(one.action), str(one.readiness)) for one in planned.changes)
        for (action, status), number in sorted(counts.items()):
            self._figure("planned_changes", number, action=action, status=status)
        if planned.next_due is not None:
            self._figure("next_due_timestamp_seconds", planned.next_due)
        denied = [one.message for one in planned.verdicts if not one.passed]
        if denied:
            self._tell("plan", "policy", Level.CRITICAL, f"apply is refused: {'; '.join(denied)}")
        else:
            self._tell("plan", "pki.toml", Level.OK, f"{counted(len(planned.changes), 'change')} planned")
        waiting = Counter(
            (one.address.block, one.waits) for one in planned.changes if one.readiness is Readiness.WAITING
        )
        for (block, waits), number in waiting.items():
            self._tell(
                "waiting", block, Level.WARNING, f"{number:,} wait: {waits}" if number > 1 else f"waits: {waits}"
            )
        if coming := offline.next_ceremony(self.facts.snapshot.held, self.config, self.now):
            instant, address = coming
            self._figure("next_ceremony_timestamp_seconds", instant)
            self._tell("ceremony", str(address), Level.OK, f"the next is due {rfc3339(instant)}")
        for problem in planned.problems:
            self._tell("plan", problem.address or "pki.toml", Level.WARNING, f"[{problem.code}] {problem.message}")
        for found in undone(planned, self.facts.snapshot, self.config.settings.project.name, self.now):
            if isinstance(found, Check):
                self.checks.append(found)
            else:
                self.figures.append(found)

    def authorities(self) -> None:
        """CAs and the lists they owe, as the state knows them."""
        outlook = Outlook(self.config, self.facts.snapshot, self.now, {})
        known = authorities.generations(outlook)
        lists: dict[str, list[Artefact]] = defaultdict(list)
        for one in self.facts.snapshot.artefacts:
            lists[one.name].append(one)
        for block in self.config.cas:
            for standing in authorities.on_duty(block.name, outlook):
                authority = standing.authority
                if authority is None:
                    continue
                self._figure("ca_not_after_timestamp_seconds", authority.not_after, name=authority.stem)
                newest = authorities.standing(block.name, outlook)
                is_newest = newest is not None and newest.generation == authority.generation
                self._authority(authority, newest=is_newest, sound=known.is_sound(authority))
                whole = max(
                    (one.this_update for one in lists[authority.stem] if one.kind == "crl" and not one.scope), default=0
                )
                owed = {"crl": block.spec.crl, **({"ocsp": block.spec.ocsp} if block.spec.ocsp else {})}
                for artefact in lists[authority.stem]:
                    # A shard that nobody's certificate names any more is not signed again.
                    if artefact.kind in owed and (not artefact.scope or artefact.next_update >= whole):
                        self._list(artefact, owed[artefact.kind], block.spec.publish)
                for kind in owed.keys() - {one.kind for one in lists[authority.stem]}:
                    self._tell("list", f"{kind} {authority.stem}", Level.WARNING, "was never signed")

    def strays(self) -> None:
        """CAs without a key here while something that they signed is valid: no list of theirs tells of anything."""
        for one in self.facts.keyless:
            name, generation = parse(one.address)[0].name, one.generation
            message = (
                f"its key is not known here: what can be done about the {self._signed([(name, generation)])} is to"
                f" revoke it, `pkicode revoke {one.serial}`"
            )
            self._tell("ca", f"{one.address}@{generation}", Level.WARNING, message)
        gone = {one.name for one in self.facts.snapshot.held if one.kind == "ca" and one.is_forgotten}
        for name, generation in sorted(self.facts.living.keys() & self.facts.snapshot.authorities.keys()):
            if name in gone - self.config.ca_names:
                message = f"was let go of: nothing here revokes the {self._signed([(name, generation)])}"
                self._tell("ca", Address("ca", name).at(generation), Level.OK, message)

    def _signed(self, cas: Sequence[tuple[str, int]]) -> str:
        number = sum(self.facts.living.get(one, 0) for one in cas)
        return f"{counted(number, 'valid certificate')} that {'it' if len(cas) == 1 else 'they'} signed"

    async def keystore(self, name: str, opened: Callable[[str], KeyStore]) -> None:
        """A keystore that can be reached, and has the keys of the CAs on duty that are to be in it."""
        outlook = Outlook(self.config, self.facts.snapshot, self.now, {})
        blocks = [one for one in self.config.cas if one.spec.key.store == name]
        owed = [one.authority for block in blocks for one in authorities.on_duty(block.name, outlook) if one.authority]
        try:
            store = opened(name)
            try:
                about, held = await store.about(), await store.find([one.at for one in owed])
            finally:
                await store.close()
        except PkicodeError as error:
            self._tell("keystore", name, Level.CRITICAL if owed else Level.WARNING, error.message)
            return
        gone = [one for one in owed if one.at not in held or held[one.at].spki != one.facts.spki]
        if gone:
            message, cas = ", ".join(one.at for one in gone), [(one.name, one.generation) for one in gone]
            if any(self.facts.living.get(one) for one in cas):
                message += f"; until it does, nothing revokes the {self._signed(cas)}"
            self._tell("keystore", name, Level.CRITICAL, f"does not hold the key of {message}")
        elif warning := about.get("warning"):
            self._tell("keystore", name, Level.WARNING, warning)
        else:
            self._tell("keystore", name, Level.OK, f"holds the keys of {counted(len(owed), 'CA')} on duty")

    def _authority(self, authority: Authority, *, newest: bool, sound: bool) -> None:
        left = authority.not_after - self.now
        if left < 0:
            self._tell("ca", authority.at, Level.CRITICAL, f"ended {rfc3339(authority.not_after)}")
        elif not sound:
            message = "it, or a CA above it, is revoked or distrusted: it issues nothing"
            self._tell("ca", authority.at, Level.OK, message)
        elif left < CA_WARNING and newest:
            self._tell(
                "ca", authority.at, Level.WARNING, f"ends {rfc3339(authority.not_after)}, and nothing follows it"
            )
        else:
            self._tell("ca", authority.at, Level.OK, f"ends {rfc3339(authority.not_after)}")

    def _list(self, one: Artefact, spec: CrlSpec | OcspSpec, targets: Sequence[str]) -> None:
        """A CRL, or a pack of OCSP answers: fresh, and published as it is."""
        subject = f"{one.kind} {one.name}{f'/{one.scope}' if one.scope else ''}"
        labels = {"kind": one.kind, "name": one.name, "scope": one.scope}
        self._figure("list_this_update_timestamp_seconds", one.this_update, **labels)
        self._figure("list_next_update_timestamp_seconds", one.next_update, **labels)
        # A pack may be newer than the oldest of its answers, which is the first to end.
        due = min(one.this_update + spec.refresh, one.next_update - spec.validity + spec.refresh)
        level = lateness(due, one.next_update, self.now)
        told = "was refused from" if one.next_update < self.now else "is good until"
        if one.this_update > max(self.now, self.facts.snapshot.about.newest) + CLOCK_TOLERANCE:
            level, told = Level.CRITICAL, "which was not yet (`pkicode state verify`), and is said to be good until"
        self._tell("list", subject, level, f"signed {rfc3339(one.this_update)}, {told} {rfc3339(one.next_update)}")
        if one.scope:
            return
        recorded = {
            record.target: record.sha256 for record in self.facts.published if record.path == lookout.path_of(one)
        }
        for target in targets:
            content = next((known.content for known in self.config.settings.publish if known.name == target), ())
            if one.kind in content and recorded.get(target) != one.sha256:
                self._tell(
                    "published", f"{target} {lookout.path_of(one)}", Level.WARNING, "the newest is not there yet"
                )

    async def target(self, name: str, url: str) -> None:
        """Every file we put on a target: still there, still ours, and of a CRL still good."""
        try:
            publisher = lookout.publisher(url, self.config)
            for record in self.facts.published:
                if record.target == name:
                    data = await lookout.read(publisher, record)
                    level, message = self._read(record, data)
                    if level is Level.CRITICAL:
                        message += await asyncio.to_thread(self._mend, record, data)
                    self._tell("published", f"{name} {record.path}", level, message)
                    self._figure("published_ok", int(level is Level.OK), target=name, path=record.path)
        except PkicodeError as error:
            self._tell("published", name, Level.UNKNOWN, f"cannot be read: {error.message}")

    def _mend(self, record: Published, data: bytes | None) -> str:
        """What becomes of it.  Of a list that is as it was published, and refused, another check tells."""
        word = lookout.wrong(record, data, self.facts.snapshot)
        return _PUT_BACK if word in (lookout.GONE, lookout.OTHER) else f"; it is {word}" if word else ""

    def _read(self, record: Published, data: bytes | None) -> tuple[Level, str]:
        if data is None:
            return Level.CRITICAL, "is gone"
        same = hashlib.sha256(data).hexdigest() == record.sha256
        issuer = lookout.issuer(record.path, self.facts.snapshot)
        if issuer is None:
            return (Level.OK, "is as published") if same else (Level.CRITICAL, "is not what was published")
        if record.path.endswith(".pack"):
            level, told = self._pack(data, issuer)
            return (level, told) if same or level else (Level.CRITICAL, f"{told}, is not what was published")
        try:
            crl.verify(data, issuer.facts)
            facts = crl.read(data, limit=LIMIT)
        except (ValueError, TypeError, SignatureError, PkicodeError) as error:
            return Level.CRITICAL, f"is no CRL of {issuer.at}: {error}"
        if facts.next_update < self.now:
            return Level.CRITICAL, f"number {facts.number}, clients refuse it since {rfc3339(facts.next_update)}"
        told = f"number {facts.number}, good until {rfc3339(facts.next_update)}"
        return (Level.OK, told) if same else (Level.CRITICAL, f"{told}, is not what was published")

    def _pack(self, data: bytes, issuer: Authority) -> tuple[Level, str]:
        try:
            found = pack.read(data)
        except ValueError as error:
            return Level.CRITICAL, f"is no pack of {issuer.at}: {error}"
        if found.maker.ca != issuer.der:
            return Level.CRITICAL, f"is no pack of {issuer.at}: it is another CA's"
        first = min((pack.dates(one)[1] for one in found.raw()), default=self.now)
        if first < self.now:
            return Level.CRITICAL, f"of {rfc3339(found.made)}, clients refuse answers since {rfc3339(first)}"
        return Level.OK, f"of {rfc3339(found.made)}, good until {rfc3339(first)}"
