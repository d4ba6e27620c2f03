"""The generations of every CA at one instant: which one issues, which owe answers, which roots stand in bundles.

A pure function of records, configuration and the instant, so that plan and apply cannot differ; how records are got and
whether they are believed is authority.py's.  The story is told in docs/explanation/rollover.md.
"""

import base64
import json
from collections.abc import Iterator, Mapping
from functools import cached_property

from attrs import evolve, field, frozen
from cryptography import x509

from pkicode.config.language import CaSpec
from pkicode.config.reader import Config
from pkicode.model.address import Address
from pkicode.model.instants import DAY, NO_EXPIRY, from_datetime
from pkicode.model.names import Subject
from pkicode.model.problem import StateError
from pkicode.ports import Ends
from pkicode.x509 import keys
from pkicode.x509.constraints import Constraints, read
from pkicode.x509.names import subject as normal_subject
from pkicode.x509.tbs import IssuerFacts, facts_of

PREPUBLISH = 14 * DAY
"""How long a generation is out before it issues where `rotate` does not say it."""


@frozen
class Cross:
    """One more certificate of a root's key, signed by another root."""

    der: bytes = field(repr=False)
    issuer: str
    """Name of the [ca.Y] that signed it."""
    generation: int
    """Which of its generations."""

    @property
    def by(self) -> str:
        """`root@1`: who signed it, as rows and plans write it."""
        return f"{self.issuer}@{self.generation}"


@frozen
class Authority:
    """A CA generation that has its certificate.

    Whoever can write the database can write its record, so what decides over keys and dates is not taken from there:
    dates and names are the certificate's own, the key is the one the keystore holds under this address.
    """

    name: str
    generation: int
    der: bytes = field(repr=False)
    facts: IssuerFacts
    issuer: str
    """Name of the [ca.Y] that signed it, "" for a root."""
    not_before: int
    not_after: int
    serial: str
    crosses: tuple[Cross, ...] = ()
    signed_by: int = 0
    """Which generation of its issuer signs it, where a forecast made it and it has no certificate to tell."""

    @property
    def issuer_key(self) -> str:
        """What the inventory calls this key: sha256 of its SPKI, lower-case hex."""
        return keys.digest(self.facts.spki)

    @property
    def stem(self) -> str:
        """`issuing-g1`: how its published files are called."""
        return f"{self.name}-g{self.generation}"

    @property
    def at(self) -> str:
        """Its address with its generation, which is also the label of its key: `ca.issuing@1`."""
        return Address("ca", self.name).at(self.generation)

    @cached_property
    def certificate(self) -> x509.Certificate:
        return x509.load_der_x509_certificate(self.der)

    @property
    def is_foreseen(self) -> bool:
        return not self.der

    @property
    def path_len(self) -> int | None:
        """How many CAs may follow below it, None for any number."""
        return self.certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length

    @cached_property
    def constraints(self) -> Constraints | None:
        """The name constraints in its certificate, which may be older than those declared."""
        return None if self.is_foreseen else read(self.certificate)

    def record(self) -> str:
        """The JSON text of its row's record."""
        told: dict[str, object] = {"der": base64.b64encode(self.der).decode(), "issuer": self.issuer}
        if self.is_foreseen:
            told["foreseen"] = [self.not_before, self.not_after, self.signed_by]
        if self.crosses:
            told["crosses"] = [[one.issuer, one.generation, base64.b64encode(one.der).decode()] for one in self.crosses]
        return json.dumps(told, sort_keys=True)


def of_certificate(
    name: str, generation: int, certificate: bytes, issuer: str, crosses: tuple[Cross, ...] = ()
) -> Authority:
    """The authority a certificate makes of a name.

    Raises:
        ValueError: not a certificate.
    """
    loaded = x509.load_der_x509_certificate(certificate)
    return Authority(
        name=name,
        generation=generation,
        der=certificate,
        facts=facts_of(certificate),
        issuer=issuer,
        not_before=from_datetime(loaded.not_valid_before_utc),
        not_after=from_datetime(loaded.not_valid_after_utc),
        serial=f"{loaded.serial_number:x}",
        crosses=crosses,
    )


def foreseen(name: str, generation: int, dates: tuple[int, int], issuer: str, signed_by: int) -> Authority:
    """A generation that only a forecast made: no certificate, and a key identifier that is nobody's."""
    facts = IssuerFacts(b"", b"", f"{name}@{generation}".encode(), "")
    return Authority(name, generation, b"", facts, issuer, *dates, serial="", signed_by=signed_by)


def from_record(name: str, generation: int, record: str) -> Authority:
    """The authority a record tells of.

    Raises:
        StateError: the record is not one.
    """
    try:
        told = json.loads(record)
        crosses = tuple(
            Cross(base64.b64decode(text, validate=True), str(by), int(number))
            for by, number, text in told.get("crosses", ())
        )
        if "foreseen" in told:
            not_before, not_after, signed_by = map(int, told["foreseen"])
            made = foreseen(name, generation, (not_before, not_after), str(told["issuer"]), signed_by)
            return evolve(made, crosses=crosses)
        own = base64.b64decode(told["der"], validate=True)
        return of_certificate(name, generation, own, told["issuer"], crosses)
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise altered(f"the record of ca.{name}@{generation} in the state cannot be read") from error


def altered(message: str) -> StateError:
    return StateError(message, help="the database was altered: `pkicode state verify`, then restore a backup")


def subject_of(spec: CaSpec, generation: int) -> Subject:
    """The distinguished name of one key generation."""
    return normal_subject([(kind, value.replace("${generation}", str(generation))) for kind, value in spec.subject])


def rotates_at(spec: CaSpec, not_before: int) -> int:
    """When a generation that begins then is followed by the next; never, where `rotate` does not say so."""
    return not_before + spec.backdate + spec.rotate.every if spec.rotate and not spec.retired else NO_EXPIRY


@frozen
class Generations:
    """What every CA generation does at `now`."""

    config: Config
    now: int
    known: Mapping[str, tuple[Authority, ...]]
    """Name -> its generations, oldest first."""
    ends: Mapping[tuple[str, int], Ends]
    """When what they signed ends; not asked for while every CA has one generation."""
    out: frozenset[tuple[str, int]] = frozenset()
    """Generations that were revoked or distrusted: they issue nothing, vouch for nobody and stand in no bundle."""

    def spec(self, name: str) -> CaSpec:
        return self.config.ca(name)

    def of(self, name: str) -> tuple[Authority, ...]:
        """The generations of [ca.NAME], oldest first."""
        return self.known.get(name, ())

    def get(self, name: str, generation: int | None = None) -> Authority | None:
        """One generation of [ca.NAME], the newest unless told."""
        return next((one for one in reversed(self.of(name)) if generation in (None, one.generation)), None)

    def since(self, one: Authority) -> int:
        """When it was made, and so, in the same apply, published: by its certificate, not by what the state says."""
        return one.not_before + self.spec(one.name).backdate

    def usable_from(self, one: Authority) -> int:
        """The instant from which it issues: the first at once, later ones when they have been out long enough.

        A root whose key the one before has signed is good at once for whoever trusts that one; without such a
        certificate every bundle in force has to hold it before anything stands on it.
        """
        if self._is_first(one):
            return one.not_before
        spec = self.spec(one.name)
        wait = spec.rotate.prepublish if spec.rotate else PREPUBLISH
        if not one.issuer and not any(cross.issuer == one.name for cross in one.crosses):
            wait = max(wait, spec.overlap)
        return self.since(one) + wait

    def _is_first(self, one: Authority) -> bool:
        return not any(older.generation < one.generation and self.is_sound(older) for older in self.of(one.name))

    def is_sound(self, one: Authority) -> bool:
        """Whether neither it nor a CA above it is out: what stands on a root that nobody trusts is worth nothing."""
        return not self.out or not any((each.name, each.generation) in self.out for each in self.upwards(one))

    def issuing(self, name: str) -> Authority | None:
        """The generation that signs what is issued at `now`: the newest that has been out long enough and is valid."""
        sound = [one for one in self.of(name) if self.is_sound(one)]
        ready = [one for one in sound if self.usable_from(one) <= self.now <= one.not_after]
        known = ready or sound or list(self.of(name))
        return known[-1] if known else None

    def is_current(self, one: Authority) -> bool:
        """Whether it signs something now or later."""
        issuing = self.issuing(one.name)
        is_there = issuing is not None and one.generation >= issuing.generation
        return is_there and self.is_sound(one) and not self.spec(one.name).retired

    def on_duty(self, name: str) -> tuple[Authority, ...]:
        """The generations that owe answers, oldest first: the newest, and each until the last it signed has ended."""
        generations = self.of(name)
        return tuple(one for one in generations if one is generations[-1] or self.owes(one))

    def owes(self, one: Authority) -> bool:
        """Whether somebody may still ask about what it signed."""
        return one.not_after >= self.now and (self.is_current(one) or self._ends(one).anything >= self.now)

    def _ends(self, one: Authority) -> Ends:
        return self.ends.get((one.name, one.generation), Ends())

    def issuer_of(self, one: Authority) -> Authority | None:
        """The generation whose key signed it; itself for a root."""
        return next((above for above in self.of(one.issuer or one.name) if _signed(above, one)), None)

    def upwards(self, one: Authority) -> list[Authority]:
        """From a CA generation up to its root, itself first; as far as it can be followed."""
        found = [one]
        while found[-1].issuer and len(found) <= 16 and (above := self.issuer_of(found[-1])):
            found.append(above)
        return found

    def path(self, one: Authority) -> list[Authority]:
        """From a CA generation up to its root, itself first.

        Raises:
            StateError: one above it is missing.
        """
        found = self.upwards(one)
        if found[-1].issuer:
            raise altered(
                f"the certificate of {found[-1].at} in the state is not what it should be:"
                f" no generation of ca.{found[-1].issuer} signed it"
            )
        return found

    def chain(self, one: Authority) -> list[bytes]:
        """The certificates that a server sends after its own, nearest first, the root left out (RFC 8446 4.4.2)."""
        above = self.path(one)
        return [*(below.der for below in above[:-1]), *(cross.der for cross in self.bridges(above[-1]))]

    def bridges(self, root: Authority) -> list[Cross]:
        """From a root that not every bundle in force holds to one that does, by cross-certificates.

        One that pki.toml asks for by name is sent for as long as it does.
        """
        found: list[Cross] = []
        passed = {root.at}
        while (bridge := self._bridge(root)) and bridge[1].at not in passed:
            cross, root = bridge
            passed.add(root.at)
            found.append(cross)
        return found

    def _bridge(self, root: Authority) -> tuple[Cross, Authority] | None:
        """The cross-certificate that is sent with a root's own, and who signed it."""
        by = [(one, above) for one in root.crosses if (above := self._standing(one))]
        spec = self.spec(root.name)
        is_new = not self._is_first(root) and self.now < self.since(root) + spec.overlap
        own = [one for one in by if one[0].issuer == root.name and is_new]
        asked = [one for one in by if one[0].issuer in spec.cross_sign]
        return next(iter([*own, *reversed(asked)]), None)

    def _standing(self, cross: Cross) -> Authority | None:
        """The root that signed a cross-certificate, if it still stands for it."""
        by = self.get(cross.issuer, cross.generation)
        return by if by and by.not_after >= self.now and self.is_sound(by) else None

    def via(self, one: Authority) -> str:
        """Which cross-certificates its chain holds: ` via root@1`; empty for a plain one."""
        return "".join(f" via {cross.by}" for cross in self.bridges(self.path(one)[-1]))

    def trusted(self, name: str) -> tuple[Authority, ...]:
        """The generations of a root that stand in a bundle, oldest first.

        A root enters when it is made, before anything stands on it, and leaves `overlap` after its last leaf.
        """
        return tuple(one for one in self.of(name) if self.leaves_bundle(one) > self.now)

    def leaves_bundle(self, root: Authority) -> int:
        """The instant from which a root stands in no bundle any more, as far as can be told now."""
        if not self.is_sound(root):
            return 0
        if any(self.is_current(one) for one in self._below(root)):
            return root.not_after + 1
        last = max(self._ends(one).leaf for one in self._below(root))
        return min(last + self.spec(root.name).overlap, root.not_after) + 1

    def _below(self, one: Authority) -> Iterator[Authority]:
        """A generation and every CA generation that stands on it."""
        yield one
        for generations in self.known.values():
            for below in generations:
                if below.issuer and self.issuer_of(below) is one:
                    yield from self._below(below)

    def changes_at(self) -> Iterator[int]:
        """The instants after `now` at which time alone changes what is published, sent or answered."""
        several = [one for generations in self.known.values() if len(generations) > 1 for one in generations]
        for one in several:
            yield self.usable_from(one)
            yield self._ends(one).anything + 1
            if not one.issuer:
                yield self.since(one) + self.spec(one.name).overlap
                yield self.leaves_bundle(one)


def _signed(above: Authority, one: Authority) -> bool:
    """By name and key identifier, which every certificate of ours copies from its issuer's."""
    if one.is_foreseen or above.is_foreseen:
        return above.generation == (one.signed_by if one.issuer else one.generation)
    if one.certificate.issuer != above.certificate.subject:
        return False
    try:
        named = one.certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    except x509.ExtensionNotFound:
        return True
    return named is None or named == above.facts.ski
