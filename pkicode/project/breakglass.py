"""`pkicode revoke`: what a selector of the command line means, and the entry written back into pki.toml."""

import asyncio
import re
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from attrs import evolve, frozen

from pkicode.adapters import durable
from pkicode.adapters.store import StateStore
from pkicode.config import files
from pkicode.config.forms import FORMS
from pkicode.config.language import COMPROMISES, Revoke
from pkicode.config.reader import Config
from pkicode.config.wrong import WrongForm
from pkicode.kinds import KINDS as ALL
from pkicode.kinds import revocation
from pkicode.model.address import Address, parse
from pkicode.model.change import Action, Plan
from pkicode.model.faults import FaultPoint, Reach
from pkicode.model.instants import rfc3339
from pkicode.model.problem import LeaseHeld, PkicodeError, Problem, StateError
from pkicode.plan import planner
from pkicode.plan.applier import Outcome
from pkicode.ports import Certificate, Store, Want
from pkicode.project.state import State

KINDS = tuple(one for one in ALL if one.tells or one is revocation.KIND)
_KEY = re.compile(r"spki:([0-9A-Fa-f:]+)\Z")
_DIGITS = re.compile(r"(0x)?[0-9A-Fa-f:]+\Z")


@frozen
class Asked:
    """What was asked for on the command line."""

    selector: str
    """An address, `ca.NAME@N`, a serial number, or `spki:SHA256`."""
    reason: str
    id: str | None = None
    note: str = ""
    ca: str | None = None
    all_keys: bool = False
    compromised_at: int | None = None


@frozen
class Revoked:
    """What the command did."""

    entry: Revoke
    addresses: tuple[str, ...]
    already: tuple[str, ...]
    """Those of them that were revoked before, and of which nothing changed."""
    counts: Mapping[str, int]
    problems: tuple[Problem, ...]
    """What could not be published; the revocation is durable."""
    written_to: Path | None
    why_not: str = ""
    block: str = ""
    """The entry as it is to be written, where that failed."""


async def planned(entry: Revoke, state: State, store: StateStore, now: int, allow: Mapping[str, str]) -> Plan:
    """The entry and the lists that tell of it, and nothing else that could stand in its way."""
    snapshot = await state.snapshot(store, now)
    scope = [f"revoke.{entry.id}*", *(f"{one.name}.*" for one in KINDS if one.tells)]
    return await asyncio.to_thread(planner.plan, state.config, snapshot, now=now, kinds=KINDS, only=scope, allow=allow)


def refuse_nothing(plan: Plan, asked: Asked) -> None:
    """A mistyped serial number must not pass for a revocation.

    Raises:
        PkicodeError: the entry selects nothing that is left to do.
    """
    if not any(one.address.kind == "revoke" for one in plan.changes):
        mend = "`pkicode inventory` lists what there is; what is revoked already is not revoked again"
        raise PkicodeError(f"`{asked.selector}` selects no unexpired certificate", help=mend)


def refuse_ca(plan: Plan) -> None:
    """Revoking a CA stops the issuance that somebody else is at, and changes the rows of all that stands on it.

    Raises:
        LeaseHeld: the plan revokes a CA.
    """
    for one in plan.changes:
        if one.address.kind == "revoke" and one.address.key.startswith("ca."):
            raise LeaseHeld(
                f"{one.address.key} is not revoked while somebody else is applying; nothing was done",
                help="end that apply, or wait for it: `pkicode state lock show` says who it is",
            )


def ended(config: Config, entry: Revoke, plan: Plan, outcome: Outcome, reach: Reach) -> Revoked:
    """Write the entry back, and say what was done."""
    acts = [one for one in plan.changes if one.address.kind == "revoke"]
    addresses = tuple(one.address.key for one in acts)
    already = tuple(one.address.key for one in acts if one.action is Action.UPDATE)
    problems = tuple(outcome.failed.values())
    try:
        written = write_back(config, entry, reach)
        return Revoked(entry, addresses, already, dict(outcome.done), problems, written)
    except PkicodeError as error:
        from pkicode.config import append

        block = append.shown(entry)
        return Revoked(entry, addresses, already, dict(outcome.done), problems, None, error.message, block)


async def entry_of(asked: Asked, config: Config, store: Store, now: int) -> Revoke:
    """The [[revoke]] entry that says the same, pinned to what there is now.

    Raises:
        PkicodeError: the selector is none, or selects nothing.
    """
    reason = _formed("reason", asked.reason)
    name = _formed("entry-id", asked.id or _named(asked.selector, now))
    if any(one.id == name for one in config.settings.revoke):
        raise PkicodeError(f"there is a [[revoke]] entry {name} already", help="give another --id")
    if asked.ca and config.block("ca", asked.ca.removeprefix("ca.")) is None:
        raise PkicodeError(
            f"there is no [ca.{asked.ca.removeprefix('ca.')}]", help="`pkicode inventory` says who signed"
        )
    bare = Revoke(
        id=name,
        reason=reason,
        note=asked.note,
        compromised_at=asked.compromised_at,
        # This command does not wait for a replacement, and the plan that adopts the entry must not either.
        wait=reason in COMPROMISES,
    )
    if key := _KEY.match(asked.selector):
        return evolve(bare, spki=_formed("spki", key[1]))
    if _DIGITS.match(asked.selector):
        ca = asked.ca.removeprefix("ca.") if asked.ca else None
        return evolve(bare, serial=_formed("serial", asked.selector), ca=ca)
    return await _pinned(bare, asked, config, store, now)


def _formed(form: str, text: str) -> str:
    try:
        return str(FORMS[form].read(text))
    except WrongForm as error:
        raise PkicodeError(str(error), help=error.mend or "`pkicode revoke --help` shows each form") from error


def _named(selector: str, now: int) -> str:
    words = re.sub(r"[^A-Za-z0-9]+", "-", selector).strip("-")[:40]
    return f"{words}-{re.sub('[^0-9TZ]', '', rfc3339(now))}"


async def _pinned(bare: Revoke, asked: Asked, config: Config, store: Store, now: int) -> Revoke:
    try:
        address, generation = parse(asked.selector)
        if address.kind not in ("ca", "cert"):
            raise ValueError(f"`{asked.selector}` is not the address of a CA or a certificate")
    except ValueError as error:
        mend = "write cert.NAME, ca.NAME@N, a serial number in hexadecimal, or spki:SHA256"
        raise PkicodeError(str(error), help=mend) from error
    if address.kind == "ca":
        if generation is None or config.block("ca", address.name) is None:
            raise PkicodeError(f"say which generation of {address}", help=f"`pkicode revoke {address}@1 ...`")
        return evolve(bare, ca=address.name, generation=generation)
    want = Want(unexpired_at=now, with_der=False)
    want = evolve(want, address=str(address)) if address.key else evolve(want, block=str(address))
    live = [one for one in await store.certificates(want) if generation in (None, one.generation)]
    _refuse_many(address, generation, live, asked)
    bare = evolve(bare, cert=str(address), all_keys=asked.all_keys and not address.key)
    if generation is not None:
        return evolve(bare, generation=generation)
    if all(one.created < now for one in live):
        return evolve(bare, issued_before=now)
    generations = {one.generation for one in live}
    if len(generations) > 1 or bare.all_keys:
        raise PkicodeError(f"{address} was issued in this very second", help=f"wait one, or name `{address}@N`")
    return evolve(bare, generation=generations.pop())


def _refuse_many(address: Address, generation: int | None, live: Sequence[Certificate], asked: Asked) -> None:
    if not live:
        raise PkicodeError(f"{address} has no unexpired certificate", help="`pkicode inventory` lists those there are")
    if asked.all_keys and generation is not None:
        raise PkicodeError("a generation and --all-keys exclude each other", help="leave one of them out")
    if not asked.all_keys and any(parse(one.address)[0].key != address.key for one in live):
        mend = f"name one, as in '{live[0].address}', or give --all-keys"
        raise PkicodeError(f"{address} is a fan-out: it names many certificates", help=mend)


def with_entry(config: Config, entry: Revoke) -> Config:
    """The configuration as it will be read once the entry is written back."""
    return evolve(config, settings=evolve(config.settings, revoke=(*config.settings.revoke, entry)))


def write_back(config: Config, entry: Revoke, reach: Reach) -> Path:
    """Put the entry into the file it belongs to: whole or not at all, comments kept; the file.

    Raises:
        PkicodeError: it cannot be written.  The revocation itself is done.
    """
    from pkicode.config import append  # tomlkit takes 8 ms, and plans edit nothing

    name = append.home(config)
    path = config.root / name
    # A link, as some keep their pki.toml, stays one.
    aim = path.resolve()
    data = files.read_bytes(aim, name, files.LARGEST)
    made = append.appended(name, data.decode(), entry)
    draft = durable.draft_of(aim)
    try:
        draft.unlink(missing_ok=True)
        durable.sweep(aim)
        durable.write_new(draft, made.encode(), stat.S_IMODE(aim.stat().st_mode))
        reach(FaultPoint.ENTRY_STAGED)
        if files.read_bytes(aim, name, files.LARGEST) != data:
            raise StateError(f"{name} was edited meanwhile", help="add the block by hand")
        draft.replace(aim)
        durable.sync(aim.parent)
    except OSError as error:
        raise StateError(f"{path} cannot be written: {error.strerror}", help="add the block by hand") from error
    finally:
        with suppress(FileNotFoundError):
            draft.unlink()
    return path
