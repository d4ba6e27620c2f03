"""One CA key generation as everybody below it sees it: its certificate, key, dates and constraints.

Read from the record of a `ca` row; nothing here decides anything.
"""

import base64
import hashlib
import json
from typing import Any

from attrs import asdict, field, frozen

from pkicode.config.language import CaSpec, NameConstraints
from pkicode.config.reader import Config
from pkicode.model.address import Address
from pkicode.model.problem import StateError
from pkicode.plan.kind import Outlook, Run
from pkicode.x509 import der
from pkicode.x509.constraints import Constraints
from pkicode.x509.tbs import IssuerFacts, self_issued


@frozen
class Authority:
    """A CA generation that has its certificate."""

    name: str
    generation: int
    der: bytes = field(repr=False)
    facts: IssuerFacts
    key_store: str
    key_label: str
    issuer: str
    """Name of the [ca.Y] that signed it, "" for a root."""
    issuer_generation: int
    not_before: int
    not_after: int
    serial: str

    @property
    def issuer_key(self) -> str:
        """What the inventory calls this key: sha256 of its SPKI, lower-case hex."""
        return hashlib.sha256(self.facts.spki).hexdigest()

    @property
    def stem(self) -> str:
        """`issuing-g1`: how its published files are called."""
        return f"{self.name}-g{self.generation}"

    @property
    def at(self) -> str:
        return Address("ca", self.name).at(self.generation)

    def record(self) -> str:
        """The JSON text of its row's record."""
        return json.dumps(
            {
                "der": base64.b64encode(self.der).decode(),
                "issuer": self.issuer,
                "issuer_generation": self.issuer_generation,
                "key_label": self.key_label,
                "key_store": self.key_store,
                "not_after": self.not_after,
                "not_before": self.not_before,
                "serial": self.serial,
            },
            sort_keys=True,
        )


def from_record(name: str, generation: int, record: str) -> Authority:
    """The authority a record tells of.

    Raises:
        StateError: the record is not one.
    """
    try:
        told: dict[str, Any] = json.loads(record)
        certificate = base64.b64decode(told["der"], validate=True)
        return Authority(
            name=name,
            generation=generation,
            der=certificate,
            facts=facts_of(certificate),
            key_store=told["key_store"],
            key_label=told["key_label"],
            issuer=told["issuer"],
            issuer_generation=told["issuer_generation"],
            not_before=told["not_before"],
            not_after=told["not_after"],
            serial=told["serial"],
        )
    except (KeyError, ValueError, TypeError) as error:
        raise StateError(
            f"the record of ca.{name}@{generation} in the state cannot be read",
            help="the database was altered: `pkicode state verify`, then restore a backup",
        ) from error


@frozen
class Standing:
    """What a plan may rely on of a CA, there already or planned before."""

    name: str
    generation: int
    not_before: int
    not_after: int
    authority: Authority | None
    """None while it is only planned."""


def standing(name: str, outlook: Outlook) -> Standing | None:
    """The newest generation of [ca.NAME], None when it is not declared or its subject cannot be."""
    memo_key = ("standing", name)
    if memo_key not in outlook.memo:
        outlook.memo[memo_key] = _standing(name, outlook)
    found: Standing | None = outlook.memo[memo_key]
    return found


def _standing(name: str, outlook: Outlook) -> Standing | None:
    generations = [generation for known, generation in outlook.snapshot.authorities if known == name]
    if generations:
        newest = max(generations)
        authority = from_record(name, newest, outlook.snapshot.authorities[name, newest])
        return Standing(name, newest, authority.not_before, authority.not_after, authority)
    block = outlook.config.block("ca", name)
    if block is None:
        return None
    spec: CaSpec = block.spec
    not_before = outlook.now - spec.backdate
    if spec.issuer and (issuer := standing(spec.issuer, outlook)):
        not_before = max(not_before, issuer.not_before)
    return Standing(name, 1, not_before, not_before + spec.validity - 1, None)


async def load(name: str, run: Run) -> Authority | None:
    """The newest generation of [ca.NAME] in the store, remembered for this run."""
    memo_key = ("authority", name)
    if memo_key not in run.memo:
        records = await run.world.store.records("ca", name)
        newest = max(records, key=lambda one: one[1], default=None)
        run.memo[memo_key] = from_record(name, newest[1], records[newest]) if newest else None
    found: Authority | None = run.memo[memo_key]
    return found


def forget(name: str, run: Run) -> None:
    """A new generation was made: read it again."""
    run.memo.pop(("authority", name), None)


async def path(authority: Authority, run: Run) -> list[Authority]:
    """From this CA up to its root, itself first."""
    found = [authority]
    while found[-1].issuer:
        above = await load(found[-1].issuer, run)
        if above is None or len(found) > 16:
            raise StateError(
                f"the issuer of {found[-1].at}, ca.{found[-1].issuer}, is not in the state",
                help="`pkicode state verify`, then restore a backup",
            )
        found.append(above)
    return found


def constraints(spec: NameConstraints | None) -> Constraints | None:
    """The same as x509 says it; types nobody permitted are closed there (decisions 19)."""
    return Constraints(**asdict(spec)) if spec else None


def facts_of(certificate: bytes) -> IssuerFacts:
    """What certificates below say of this one, byte for byte.

    Raises:
        ValueError: not a certificate.
    """
    _, start, _ = der.read(certificate)
    _, offset, _ = der.read(certificate, start)
    fields = []
    # version, serialNumber, signature, issuer, validity, subject, subjectPublicKeyInfo (RFC 5280 section 4.1)
    for _ in range(7):
        _, _, end = der.read(certificate, offset)
        fields.append(certificate[offset:end])
        offset = end
    return self_issued(fields[5], fields[6])


def constraints_above(name: str | None, config: Config) -> tuple[Constraints, ...]:
    """The constraints of [ca.NAME] and of every CA above it, as declared."""
    found = []
    seen: set[str] = set()
    while name and name not in seen:
        seen.add(name)
        block = config.block("ca", name)
        if block is None:
            break
        spec: CaSpec = block.spec
        if one := constraints(spec.name_constraints):
            found.append(one)
        name = spec.issuer
    return tuple(found)
