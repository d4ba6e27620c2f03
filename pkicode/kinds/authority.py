"""One CA key generation as everybody below it sees it: its certificate, key, dates and constraints.

Read from the record of a `ca` row; nothing here decides anything.
"""

import base64
import hashlib
import json

from attrs import asdict, field, frozen
from cryptography import x509

from pkicode.config.language import CaSpec, NameConstraints
from pkicode.config.reader import Config
from pkicode.model.address import Address
from pkicode.model.instants import from_datetime
from pkicode.model.names import Subject
from pkicode.model.problem import Problem, StateError
from pkicode.plan.kind import Outlook, Run
from pkicode.x509 import der
from pkicode.x509.chain import verify_issued
from pkicode.x509.constraints import Constraints
from pkicode.x509.names import subject as normal_subject
from pkicode.x509.names import subject_der
from pkicode.x509.tbs import IssuerFacts, self_issued


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
        """Its address with its generation, which is also the label of its key: `ca.issuing@1`."""
        return Address("ca", self.name).at(self.generation)

    def record(self) -> str:
        """The JSON text of its row's record."""
        return json.dumps({"der": base64.b64encode(self.der).decode(), "issuer": self.issuer}, sort_keys=True)


def of_certificate(name: str, generation: int, certificate: bytes, issuer: str) -> Authority:
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
    )


def from_record(name: str, generation: int, record: str) -> Authority:
    """The authority a record tells of.

    Raises:
        StateError: the record is not one.
    """
    try:
        told: dict[str, str] = json.loads(record)
        return of_certificate(name, generation, base64.b64decode(told["der"], validate=True), told["issuer"])
    except (KeyError, ValueError, TypeError) as error:
        raise _altered(f"the record of ca.{name}@{generation} in the state cannot be read") from error


def _altered(message: str) -> StateError:
    return StateError(message, help="the database was altered: `pkicode state verify`, then restore a backup")


@frozen
class Standing:
    """What a plan may rely on of a CA, there already or planned before."""

    name: str
    generation: int
    not_before: int
    not_after: int
    authority: Authority | None
    """None while it is only planned, or foreseen."""


def foreseen(standing: Standing) -> str:
    """The record of a generation that only a forecast made: its dates, and no certificate."""
    return json.dumps({"foreseen": [standing.not_before, standing.not_after]})


def recorded(name: str, generation: int, outlook: Outlook) -> Standing:
    """A generation that the snapshot knows, made or foreseen.

    Raises:
        StateError: its record is none.
    """
    record = outlook.snapshot.authorities[name, generation]
    if record.startswith('{"foreseen": '):
        not_before, not_after = json.loads(record)["foreseen"]
        return Standing(name, generation, not_before, not_after, None)
    authority = from_record(name, generation, record)
    return Standing(name, generation, authority.not_before, authority.not_after, authority)


def standing(name: str, outlook: Outlook) -> Standing | None:
    """The newest generation of [ca.NAME], None when it is not declared or its subject cannot be."""
    memo_key = ("standing", name)
    if memo_key not in outlook.memo:
        outlook.memo[memo_key] = _standing(name, outlook)
    found: Standing | None = outlook.memo[memo_key]
    return found


def on_duty(name: str, outlook: Outlook) -> tuple[Standing, ...]:
    """The generations of [ca.NAME] that owe answers about what they signed, oldest first; the newest always does."""
    newest = standing(name, outlook)
    if newest is None:
        return ()
    older = sorted(one for known, one in outlook.snapshot.authorities if known == name and one != newest.generation)
    found = [recorded(name, generation, outlook) for generation in older]
    return (*(one for one in found if one.not_after >= outlook.now), newest)


def _standing(name: str, outlook: Outlook) -> Standing | None:
    generations = [generation for known, generation in outlook.snapshot.authorities if known == name]
    if generations:
        return recorded(name, max(generations), outlook)
    block = outlook.config.block("ca", name)
    if block is None:
        return None
    spec: CaSpec = block.spec
    not_before = outlook.now - spec.backdate
    if spec.issuer and (issuer := standing(spec.issuer, outlook)):
        not_before = max(not_before, issuer.not_before)
    return Standing(name, 1, not_before, not_before + spec.validity - 1, None)


async def load(name: str, run: Run, generation: int | None = None) -> Authority | None:
    """A generation of [ca.NAME] in the store, the newest unless told, checked up to its root and remembered.

    Raises:
        StateError: its certificate is not what pki.toml declares, or not signed by the CA above it.
    """
    memo_key = ("authority", name, generation)
    if memo_key not in run.memo:
        records = await run.world.store.records("ca", name)
        chosen = generation or max((one for _, one in records), default=0)
        record = records.get(("", chosen))
        found = from_record(name, chosen, record) if record else None
        if found:
            await _check(found, run)
        run.memo[memo_key] = found
    authority: Authority | None = run.memo[memo_key]
    return authority


async def _check(authority: Authority, run: Run) -> None:
    """What pki.toml says and the signature above agree on: else the database could choose who signs for whom."""
    block = run.config.block("ca", authority.name)
    if block is None:
        return
    spec: CaSpec = block.spec
    declared = subject_der(subject_of(spec, authority.generation))
    above = await load(spec.issuer, run) if spec.issuer else authority
    try:
        if authority.facts.dn != declared or authority.issuer != (spec.issuer or "") or above is None:
            raise ValueError("it is not the one pki.toml declares")
        verify_issued(authority.der, above.der)
        # A self-signed certificate proves nothing: the key in it is one that we hold, or no trust anchor of ours.
        held = (await run.world.keystores[store_of(authority.name, run)].find([authority.at])).get(authority.at)
        if held and held.spki != authority.facts.spki:
            raise ValueError("its key is not the one in the keystore")
    except (ValueError, x509.ExtensionNotFound) as error:
        raise _altered(f"the certificate of {authority.at} in the state is not what it should be: {error}") from error


def has_expired(certificate: bytes | None, serial: str, authority: Authority, at: int) -> bool:
    """Whether this CA itself signed that the certificate of this serial ends before an instant."""
    if certificate is None:
        return False
    try:
        verify_issued(certificate, authority.der)
        loaded = x509.load_der_x509_certificate(certificate)
    except (ValueError, TypeError, x509.ExtensionNotFound):
        return False
    return f"{loaded.serial_number:x}" == serial and from_datetime(loaded.not_valid_after_utc) < at


def subject_of(spec: CaSpec, generation: int) -> Subject:
    """The distinguished name of one key generation."""
    return normal_subject([(kind, value.replace("${generation}", str(generation))) for kind, value in spec.subject])


def store_of(name: str, run: Run) -> str:
    """The keystore that holds the key of [ca.NAME], as declared."""
    block = run.config.block("ca", name)
    return block.spec.key.store or "" if block else ""


def targets_of(name: str, run: Run) -> tuple[str, ...]:
    """The publish targets of [ca.NAME], as declared."""
    block = run.config.block("ca", name)
    spec: CaSpec | None = block.spec if block else None
    return spec.publish if spec else ()


def missing(name: str, waiting: Address) -> Problem:
    """Told of what stands on a CA that has no certificate yet."""
    return Problem(
        "E0501",
        f"{waiting} waits for ca.{name}, which is not there",
        help="apply again without leaving the CA out",
        address=str(waiting),
    )


def forget(name: str, run: Run) -> None:
    """A new generation was made: read it again."""
    run.memo.pop(("authority", name, None), None)


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
