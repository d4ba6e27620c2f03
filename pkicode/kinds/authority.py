"""The generations of a CA as everybody below sees them: what a plan may rely on, what an apply may sign with.

Read from the records of `ca` rows; what each generation does when is decided in generation.py.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from attrs import asdict, evolve, frozen
from cryptography import x509

from pkicode.config.language import CaSpec, NameConstraints
from pkicode.config.reader import Config
from pkicode.kinds.doomed import barred, compromised
from pkicode.kinds.generation import (
    Authority,
    Cross,
    Generations,
    altered,
    from_record,
    of_certificate,
    subject_of,
)
from pkicode.kinds.offline import is_offline
from pkicode.model.address import Address
from pkicode.model.change import Action, Readiness
from pkicode.model.instants import from_datetime, rfc3339
from pkicode.model.problem import Problem
from pkicode.model.row import Held
from pkicode.plan.kind import Outlook, Run
from pkicode.ports import Ends
from pkicode.x509.chain import verify_issued
from pkicode.x509.constraints import Constraints
from pkicode.x509.names import subject_der
from pkicode.x509.tbs import facts_of

if TYPE_CHECKING:
    from pkicode.issuing import Issuer

__all__ = ["Authority", "Generations", "from_record", "of_certificate", "subject_of"]

OUT = ("revoked", "distrusted")
"""Statuses of `ca` rows whose generation nobody may rely on any more."""


@frozen
class Standing:
    """What a plan may rely on of a CA, there already or planned before."""

    name: str
    generation: int
    not_before: int
    not_after: int
    authority: Authority | None
    """None while it is only planned, or foreseen."""

    @property
    def stem(self) -> str:
        """As Authority has it."""
        return f"{self.name}-g{self.generation}"

    @property
    def at(self) -> str:
        """As Authority has it."""
        return Address("ca", self.name).at(self.generation)


def several(records: Mapping[tuple[str, int], str], held: Sequence[Held], config: Config) -> bool:
    """Whether it has to be known when what a CA signed ends: a second generation, or one that issues no more."""
    names = {name for name, _ in records}
    is_ending = any(one.kind == "ca" and one.status != "ok" for one in held)
    return is_ending or len(names) < len(records) or any(one.spec.retired for one in config.cas)


def of_records(
    config: Config,
    now: int,
    records: Mapping[tuple[str, int], str],
    ends: Mapping[tuple[str, int], Ends],
    held: Sequence[Held],
) -> Generations:
    """The generations that these records tell of."""
    known: dict[str, tuple[Authority, ...]] = {}
    for (name, generation), record in sorted(records.items()):
        known[name] = (*known.get(name, ()), from_record(name, generation, record))
    out = {(one.name, one.generation) for one in held if one.kind == "ca" and one.status in OUT}
    for one in held:
        if one.kind == "ca" and one.is_forgotten:
            # With the newest the older ones were let go of; a name that comes back begins anew.
            older = [each for each in known.get(one.name, ()) if each.generation <= one.generation]
            out |= {(one.name, each.generation) for each in older}
    return Generations(config, now, known, ends, frozenset(out))


def generations(outlook: Outlook) -> Generations:
    """The generations that are there when a plan is made."""
    return outlook.once("generations", lambda: _generations(outlook))


def _generations(outlook: Outlook) -> Generations:
    snapshot = outlook.snapshot
    found = of_records(outlook.config, outlook.now, snapshot.authorities, snapshot.ends, snapshot.held)
    outlook.dues.extend(found.changes_at())
    return found


def coming(outlook: Outlook) -> Generations:
    """The same with the cross-certificates that this plan gives to generations that are there."""
    found = generations(outlook)
    known = dict(found.known)
    for name, there in found.known.items():
        newest = there[-1]
        for change in outlook.planned("ca", name):
            if change.action is Action.ISSUE and change.generation == newest.generation and change.row:
                had = {one.by for one in newest.crosses}
                made = [one.rpartition("@") for one in json.loads(change.row.values) if one not in had]
                made = [one for one in made if not is_offline(one[0], outlook.config)]
                crosses = (*newest.crosses, *(Cross(b"", issuer, int(number)) for issuer, _, number in made))
                known[name] = (*there[:-1], evolve(newest, crosses=crosses))
    return evolve(found, known=known)


def standing(name: str, outlook: Outlook) -> Standing | None:
    """The newest generation of [ca.NAME], None when it is not declared or its subject cannot be."""
    known = generations(outlook).of(name)
    return _there(known[-1]) if known else planned(name, following(name, 0, outlook), outlook)


def issuing(name: str, outlook: Outlook) -> Standing | None:
    """The generation of [ca.NAME] that signs what is issued now; the newest may have to wait.

    Compromises count as told, because they are before anything is signed.  Where they, or time, leave no other, it is
    the generation that this plan makes (CAs are planned from the roots down).
    """
    return outlook.once(("issuing", name), lambda: _issuing(name, outlook))


def _issuing(name: str, outlook: Outlook) -> Standing | None:
    left, _ = _left(outlook)
    known = left.issuing(name)
    if known is None:
        return planned(name, following(name, 0, outlook), outlook)
    is_over = not left.is_sound(known) or known.not_after < outlook.now
    if is_over and (made := _making(name, known, outlook)):
        return planned(name, made[-1], outlook)
    return _there(known)


def follower(one: Standing, outlook: Outlook) -> tuple[Standing, int, str] | None:
    """The generation that is to issue after this one, there or planned; from when, as far as is known; what it waits
    for."""
    left, _ = _left(outlook)
    newest = left.get(one.name)
    if newest and newest.generation > one.generation and left.is_sound(newest):
        since = left.usable_from(newest)
        return _there(newest), since, f"it issues from {rfc3339(since)} (rotate.prepublish)"
    for change in outlook.planned("ca", one.name):
        if change.action is Action.ISSUE and change.generation > one.generation:
            coming = planned(one.name, change.generation, outlook)
            waits = change.waits or "it issues once it was out for long enough (rotate.prepublish)"
            return (coming, outlook.now, waits) if coming else None
    return None


def taken_by(name: str, outlook: Outlook) -> tuple[str, ...]:
    """The blocks that take away, in this plan, what signs for [ca.NAME] until then: what it signs next follows them."""
    _, by = _left(outlook)
    if not by:
        return ()
    known = generations(outlook)
    signs = known.issuing(name)
    return tuple(by[one.at] for one in known.upwards(signs) if one.at in by) if signs else ()


def _left(outlook: Outlook) -> tuple[Generations, Mapping[str, str]]:
    """The generations once the compromises of this plan are told, and what takes away which."""
    return outlook.once("left", lambda: _compromises_told(outlook))


def _compromises_told(outlook: Outlook) -> tuple[Generations, Mapping[str, str]]:
    known, lost = generations(outlook), compromised(outlook)
    ended = [one for each in known.known.values() for one in each if lost and one.issuer_key in lost]
    ended = [one for one in ended if not lost[one.issuer_key] or may_end(one, outlook)]
    out = known.out | {(one.name, one.generation) for one in ended}
    by = {one.at: lost[one.issuer_key] for one in ended if lost[one.issuer_key]}
    return evolve(known, out=out), by


def may_end(one: Authority, outlook: Outlook) -> bool:
    """Whether somebody said so: else its revocation is denied."""
    return one.name in outlook.allow.get("ca-revoke" if one.issuer else "root-change", "").split()


def on_duty(name: str, outlook: Outlook) -> tuple[Standing, ...]:
    """The generations of [ca.NAME] that owe answers about what they signed, oldest first; the newest always does."""
    known = generations(outlook)
    newest = known.get(name)
    coming = _making(name, newest, outlook)
    there = [one for one in known.on_duty(name) if not coming or known.owes(one)]
    if not coming and not newest:
        coming = [following(name, 0, outlook)]
    made = [planned(name, generation, outlook) for generation in coming]
    return (*map(_there, there), *filter(None, made))


def _making(name: str, newest: Authority | None, outlook: Outlook) -> list[int]:
    """The generations of [ca.NAME] that this plan makes."""
    return [
        change.generation
        for change in outlook.planned("ca", name)
        if change.action is Action.ISSUE and change.readiness is Readiness.READY
        if newest is None or change.generation > newest.generation
    ]


def stopped(name: str, outlook: Outlook) -> str:
    """The generation by which [ca.NAME] issues, or one above it, that is revoked or distrusted; empty: all may sign."""
    keys = barred(outlook)
    standing = issuing(name, outlook) if keys else None
    if standing is None:
        return ""
    if standing.authority:
        above = generations(outlook).upwards(standing.authority)
        return next((one.at for one in above if one.issuer_key in keys), "")
    issuer = outlook.config.ca(name).issuer
    return stopped(issuer, outlook) if issuer else ""


def _there(one: Authority) -> Standing:
    return Standing(one.name, one.generation, one.not_before, one.not_after, None if one.is_foreseen else one)


def following(name: str, newest: int, outlook: Outlook) -> int:
    """The number of the generation after this one.

    Not one that the journal alone knew: its name is out with a key that may be gone, and no other key gets that name.
    A number that was only reserved comes back with the key that was made for it.
    """
    return max(newest, outlook.snapshot.adopted.get(f"ca.{name}", 0)) + 1


def planned(name: str, generation: int, outlook: Outlook) -> Standing | None:
    """A generation of [ca.NAME] that is not there yet, as pki.toml declares it; None where it does not."""
    block = outlook.config.block("ca", name)
    if block is None:
        return None
    spec: CaSpec = block.spec
    not_before = outlook.now - spec.backdate
    if spec.issuer and (issuer := issuing(spec.issuer, outlook)):
        not_before = max(not_before, issuer.not_before)
    return Standing(name, generation, not_before, not_before + spec.validity - 1, None)


async def loaded(run: Run) -> Generations:
    """The generations in the store, each to be checked by `load` before it is relied on."""
    if "generations" not in run.memo:
        store = run.world.store
        records = await store.authorities()
        held = await store.held("ca")
        ends = await store.ends() if several(records, held, run.config) else {}
        run.memo["generations"] = of_records(run.config, run.world.now, records, ends, held)
    found: Generations = run.memo["generations"]
    return found


async def load(name: str, run: Run, generation: int | None = None) -> Authority | None:
    """A generation of [ca.NAME] in the store, the newest unless told, checked up to its root and remembered.

    Raises:
        StateError: its certificate is not what pki.toml declares, or not signed by the CA above it.
    """
    known = await loaded(run)
    found = known.get(name, generation)
    if found and ("checked", found.at) not in run.memo:
        run.memo["checked", found.at] = True
        await _check(found, known, run)
    return found


async def load_issuing(name: str, run: Run) -> Authority | None:
    """The generation of [ca.NAME] that signs what is issued now, checked; None while there is none that may."""
    known = await loaded(run)
    found = known.issuing(name)
    return await load(name, run, found.generation) if found and known.is_sound(found) else None


async def _check(authority: Authority, known: Generations, run: Run) -> None:
    """What pki.toml says and the signature above agree on: else the database could choose who signs for whom."""
    block = run.config.block("ca", authority.name)
    if block is None:
        return
    spec: CaSpec = block.spec
    declared = subject_der(subject_of(spec, authority.generation))
    above = known.issuer_of(authority)
    try:
        # A self-signed certificate proves nothing: the key in it is one that we hold, or no trust anchor of ours.
        held = (await run.world.keystores[store_of(authority.name, run)].find([authority.at])).get(authority.at)
        if spec.offline and held is None:
            raise ValueError("there is no card of its key")
        if held and held.spki != authority.facts.spki:
            raise ValueError("its key is not the one in the keystore")
        # What pki.toml says is of the newest generation; an older one had another name if it was changed since.
        is_declared = authority.facts.dn == declared or (authority is not known.of(authority.name)[-1] and held)
        if not is_declared or authority.issuer != (spec.issuer or "") or above is None:
            raise ValueError("it is not the one pki.toml declares")
        verify_issued(authority.der, above.der)
        for cross in authority.crosses:
            _check_cross(authority, cross, known)
    except (ValueError, x509.ExtensionNotFound) as error:
        raise altered(f"the certificate of {authority.at} in the state is not what it should be: {error}") from error
    if above is not authority:
        await load(above.name, run, above.generation)


def _check_cross(authority: Authority, cross: Cross, known: Generations) -> None:
    by = known.get(cross.issuer, cross.generation)
    if by is None or facts_of(cross.der) != authority.facts:
        raise ValueError(f"what {cross.by} signed is not of its name and key")
    verify_issued(cross.der, by.der)


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


def store_of(name: str, run: Run) -> str:
    """The keystore that holds the key of [ca.NAME], as declared."""
    return run.config.ca(name).key.store or ""


def as_issuer(one: Authority, run: Run) -> "Issuer":
    """It as who signs what a template says."""
    # As in ca.py: a plan signs nothing.
    from pkicode.issuing import Issuer

    key = store_of(one.name, run), one.at
    return Issuer(one.name, one.generation, key, one.facts, one.der, one.not_before, one.not_after)


def missing(name: str, waiting: Address) -> Problem:
    """Told of what stands on a CA that has no certificate yet."""
    return Problem(
        "E0501",
        f"{waiting} waits for ca.{name}, which is not there",
        help="apply again without leaving the CA out",
        address=str(waiting),
    )


def forget(run: Run) -> None:
    """A new generation or certificate was made: read them again."""
    for key in list(run.memo):
        if key == "generations" or (isinstance(key, tuple) and key[0] == "checked"):
            del run.memo[key]


def crl_urls(base_urls: Iterable[str], stem: str) -> tuple[str, ...]:
    """Where the full CRL of an issuer generation is served (CDP)."""
    return tuple(f"{base.rstrip('/')}/crl/{stem}.crl" for base in base_urls)


def issuer_urls(base_urls: Iterable[str], stem: str) -> tuple[str, ...]:
    """Where the certificate of an issuer generation is served (AIA caIssuers)."""
    return tuple(f"{base.rstrip('/')}/ca/{stem}.cer" for base in base_urls)


def constraints(spec: NameConstraints | None) -> Constraints | None:
    """The same as x509 says it; types nobody permitted are closed there."""
    return Constraints(**asdict(spec)) if spec else None


def constraints_above(name: str | None, config: Config, known: Generations | None = None) -> tuple[Constraints, ...]:
    """The constraints of [ca.NAME] and of every CA above it: as declared, and as the generations that issue have them.

    The two differ from when a change is declared until the generation that has it issues.
    """
    found: list[Constraints] = []
    seen: set[str] = set()
    start = name
    while name and name not in seen:
        seen.add(name)
        spec = config.ca(name)
        if one := constraints(spec.name_constraints):
            found.append(one)
        name = spec.issuer
    issuer = known.issuing(start) if known and start else None
    held = [one.constraints for one in known.path(issuer)] if known and issuer else []
    return (*found, *(one for one in held if one is not None and one not in found))
