"""Revocation, declared: what [[revoke]] asks for, in which order it is done, and what of it is told.

A compromise is revoked and published before anything else; any other reason waits for the replacement.  The first date
is kept for ever, a reason can only become keyCompromise, and taking an entry out of pki.toml changes nothing.
"""

import json
from collections.abc import Iterator, Mapping, Sequence

from attrs import evolve

from pkicode.config.check_revoke import serials
from pkicode.config.language import COMPROMISES, Revoke
from pkicode.config.reader import Config
from pkicode.config.resolve import plain
from pkicode.kinds import replacing, selecting
from pkicode.kinds.doomed import BLOCKED, ORPHANED, REVOKED, blocks_key, current, is_unseen
from pkicode.kinds.rows import block_of, templated
from pkicode.model.address import Address, parse
from pkicode.model.change import Action, Change, Readiness, Reason, ReasonCode, Stage, Verdict
from pkicode.model.counted import counted
from pkicode.model.faults import FaultPoint
from pkicode.model.instants import NO_EXPIRY, rfc3339
from pkicode.model.problem import Part, Problem
from pkicode.model.row import Block, Held, Row, Source
from pkicode.plan.applier import write
from pkicode.plan.kind import Difference, Kind, Outlook, Run, Selected
from pkicode.ports import NO_LEASE, Blocked, Certificate, CertificateStatus, Match, Revocation

_NOTHING = Selected()


def blocks(config: Config) -> list[Block]:
    found = []
    for index, entry in enumerate(config.settings.revoke):
        place = config.place("revoke", index, part=Part.TABLE)
        found.append(templated("revoke", entry.id, entry, plain(entry), Source(place.path, place.keys)))
    # By id: the order of stanzas means nothing.
    return sorted(found, key=lambda block: block.name)


def _selected(block: Block, outlook: Outlook) -> Selected:
    return outlook.snapshot.selected.get(block.name, _NOTHING)


def rows(block: Block, outlook: Outlook) -> Iterator[Row]:
    """A row for each certificate that is not yet acted on; its key is the certificate's address and generation."""
    yield from (Row(key, "[]") for key in _targets(block, outlook))
    spki = block.spec.spki
    if spki and spki not in outlook.snapshot.blocked and not _targets(block, outlook):
        yield Row("", "[]")


def _targets(block: Block, outlook: Outlook) -> Mapping[str, Certificate]:
    return outlook.once(("targets", block.name), lambda: _keyed(_selected(block, outlook).certificates, outlook.config))


def _keyed(certificates: Sequence[Certificate], config: Config) -> dict[str, Certificate]:
    """By address and generation, which say more than a serial; with it where a CA's key has several certificates."""
    found: dict[str, Certificate] = {}
    for one in sorted(certificates, key=lambda one: (one.address, one.generation, one.serial)):
        key = current(one.address, config).at(one.generation)
        found[f"{key} {one.serial}" if key in found else key] = one
    return found


def needs(block: Block, row: Row, outlook: Outlook) -> str:
    return ""


def survey(outlook: Outlook) -> Iterator[Problem]:
    """Entries that pki.toml no longer has: nothing follows from that, and it is said."""
    declared = {entry.id for entry in outlook.config.settings.revoke}
    for name, until in sorted(outlook.snapshot.entries.items()):
        if name not in declared and until >= outlook.now:
            message = f"revoke.{name} was taken out of pki.toml: what it revoked stays revoked"
            mend = f"put it back; the list says why, until the last certificate expires ({rfc3339(until)})"
            yield Problem("W0441", message, help=mend, address=f"revoke.{name}")


def check(block: Block, outlook: Outlook) -> Iterator[Problem]:
    entry: Revoke = block.spec
    index = next(at for at, one in enumerate(outlook.config.settings.revoke) if one.id == entry.id)

    def problem(code: str, message: str, key: str, mend: str) -> Problem:
        place = outlook.config.place("revoke", index, key) if key else block.source.place()
        return Problem(code, message, help=mend, place=place, address=f"revoke.{entry.id}")

    if entry.cert and entry.issued_before is None and entry.generation is None:
        message = f"`cert = {json.dumps(entry.cert)}` pins nothing: a name outlives its certificates"
        mend = f"add issued_before = {rfc3339(outlook.now)}, or generation = N"
        yield problem("E0332", message, "cert", mend)
    for name in ("issued_before", "compromised_at"):
        instant = getattr(entry, name)
        if instant is not None and instant > outlook.now:
            message = f"`{name}` is in the future: it is {rfc3339(outlook.now)}"
            yield problem("E0336", message, name, "write an instant that has passed")
    if entry.csv:
        yield from serials(outlook.config.root, entry.csv, outlook.config.ca_names)[1]
    yield from (problem(*told) for told in _of_state(block, entry, outlook))


def _of_state(block: Block, entry: Revoke, outlook: Outlook) -> Iterator[tuple[str, str, str, str]]:
    """What only the inventory knows."""
    found = _selected(block, outlook).certificates
    named = [entry.serial] if entry.serial and not entry.ca else []
    if entry.csv:
        named = [one for one, ca in serials(outlook.config.root, entry.csv, outlook.config.ca_names)[0] if ca is None]
    issuers: dict[str, dict[str, str]] = {}
    for one in found:
        issuers.setdefault(one.serial, {})[one.issuer_key] = one.ca or "a foreign one"
    for serial in named:
        if len(cas := issuers.get(serial, {})) > 1:
            message = f"serial {serial} was given by several CAs: {', '.join(sorted(cas.values()))}"
            yield "E0440", message, "serial" if entry.serial else "csv", 'say which is meant: ca = "NAME"'
    known = entry.id in outlook.snapshot.entries or (entry.spki and entry.spki in outlook.snapshot.blocked)
    if outlook.snapshot.about.sequence and not found and not known:
        message = f"revoke.{entry.id} matches no unexpired certificate of this state, and revokes nothing"
        mend = "; a fan-out is named by a key, or with all_keys = true" if entry.cert and not entry.all_keys else ""
        yield "W0440", message, "", f"compare it with `pkicode inventory`{mend}"
    if hidden := [one for one in found if is_unseen(one)]:
        message = f"nobody can see the revocation of {_few(hidden)}: the certificate names no CRL (RFC 9608)"
        mend = "take it off its servers; it is recorded and its key blocked, but relying parties ask nobody"
        yield "W0442", message, "", mend
    if untold := [one for one in found if not _has_lists(one, outlook)]:
        by = f"ca.{untold[0].ca}@{untold[0].ca_generation}" if untold[0].ca else "the CA"
        message = f"no list can tell of the revocation of {_few(untold)}: {by}, which signed it, signs none here"
        mend = "put its [ca.NAME] back into pki.toml; where its key is lost, revoke that CA by its serial number"
        yield "E0443" if len(untold) == len(found) else "W0442", message, "", mend


def _has_lists(one: Certificate, outlook: Outlook) -> bool:
    """Whether the CA that signed it is declared and has its key: its own generation, for no other may tell of it."""
    is_declared = outlook.config.block("ca", one.ca) is not None
    return is_declared and (one.ca, one.ca_generation) in outlook.snapshot.authorities


def _few(certificates: Sequence[Certificate]) -> str:
    more = f" and {len(certificates) - 1:,} more" if len(certificates) > 1 else ""
    return f"{certificates[0].address}@{certificates[0].generation}{more}"


def diff(
    block: Block | None, row: Row | None, held: Held | None, outlook: Outlook, difference: Difference
) -> Change | None:
    if block is None or row is None:
        return None
    entry: Revoke = block.spec
    address = Address("revoke", entry.id, row.key)
    if not row.key:
        why = Reason(ReasonCode.NEW, "no certificate has this key now, and none ever will")
        told = {"block_listed": entry.spki}
        return Change(address, Action.UPDATE, 1, (why,), block, row, after=told, irreversible=True, stage=Stage.FIRST)
    one = _targets(block, outlook)[row.key]
    change = Change(
        address,
        Action.DISTRUST if one.issuer_key == one.spki else Action.REVOKE,
        1,
        (Reason(ReasonCode.NEW, entry.reason),),
        block,
        row,
        before={"not_after": rfc3339(one.not_after), "reason": one.revocation_reason},
        after={"reason": entry.reason, **_said(entry)},
        irreversible=True,
        # Whose list changes.
        depends_on=(f"ca.{one.ca}",) if one.ca else (),
        stage=Stage.FIRST if entry.reason in COMPROMISES else Stage.MAIN,
    )
    if one.status == CertificateStatus.REVOKED:
        return _again(change, one, entry)
    if one.address.startswith("ca."):
        change = _braked(change, one, block, outlook)
    if change.readiness is Readiness.READY and entry.reason not in COMPROMISES and entry.wait:
        change = _awaiting(change, one, block, outlook)
    return change


def _said(entry: Revoke) -> dict[str, object]:
    since = {"compromised_at": rfc3339(entry.compromised_at)} if entry.compromised_at is not None else {}
    return {**since, **({"note": entry.note} if entry.note else {})}


def _again(change: Change, one: Certificate, entry: Revoke) -> Change:
    """A second revocation: the first date is kept, and so is the reason unless it is worse now."""
    told = f"revoked {rfc3339(one.revoked_at or 0)} as {one.revocation_reason}"
    if entry.reason == "keyCompromise" and one.revocation_reason != entry.reason:
        return evolve(change, reasons=(Reason(ReasonCode.NEW, f"{told}; now {entry.reason}, the date is kept"),))
    why = Reason(ReasonCode.NEW, f"{told} already; the first date and reason are kept")
    kept = evolve(change, action=Action.UPDATE, reasons=(why,), after={"reason": one.revocation_reason})
    return evolve(kept, irreversible=False, depends_on=())


def _braked(change: Change, one: Certificate, block: Block, outlook: Outlook) -> Change:
    """Revoking a CA needs to be allowed by its name; what stops validating is said either way."""
    word = "root-change" if change.action is Action.DISTRUST else "ca-revoke"
    name = parse(one.address)[0].name
    passed = name in outlook.allow.get(word, "").split()
    verdict = Verdict(
        word, passed, _radius(change, block, outlook), "" if passed else f"run with --allow {word}={name}"
    )
    if verdict not in outlook.verdicts:
        outlook.verdicts.append(verdict)
    return change if passed else evolve(change, readiness=Readiness.DENIED, waits=word)


def _radius(change: Change, block: Block, outlook: Outlook) -> str:
    below = [one for one in _selected(block, outlook).below if one.address.startswith("cert.")]
    replaced = sum(replacing.replacement(one, outlook).is_coming for one in below)
    what = "distrusts" if change.action is Action.DISTRUST else "revokes"
    live = counted(len(below), "live certificate")
    return f"{what} {change.address.key}: {live} below it, which stop validating; {replaced:,} with a replacement"


def _awaiting(change: Change, one: Certificate, block: Block, outlook: Outlook) -> Change:
    """The change as far as its replacement lets it be done."""
    meant = [one] if one.address.startswith("cert.") else _selected(block, outlook).below
    found = [replacing.replacement(each, outlook) for each in meant if each.address.startswith("cert.")]
    waiting = [each for each in found if each.waits]
    if waiting:
        more = f" ({len(waiting):,} certificates)" if len(waiting) > 1 else ""
        return evolve(change, readiness=Readiness.WAITING, waits=f"no replacement yet{more}: {waiting[0].waits}")
    return evolve(change, stage=Stage.LAST) if any(each.is_planned for each in found) else change


async def apply(changes: Sequence[Change], run: Run) -> Sequence[Problem | None]:
    """All of an entry in one transaction: revocations, block list, and the rows that hold what was taken away."""
    if run.world.lease != NO_LEASE:
        return await _revoke(changes, run)
    # Rows are somebody else's now; the next plan sees in the inventory what they have lost (doomed.marked).
    async with run.publishing([one.name for one in run.config.cas]) as leased:
        return await _revoke(changes, leased, rows=False)


async def _revoke(changes: Sequence[Change], run: Run, *, rows: bool = True) -> Sequence[Problem | None]:
    block = block_of(changes[0])
    entry: Revoke = block.spec
    world = run.world
    selected = await selecting.selected(entry, run.config, world.store, world.now)
    there = _keyed(selected.certificates, run.config)
    meant = [there[one.address.key] for one in changes if one.address.key in there]
    good = [one for one in meant if one.status != CertificateStatus.REVOKED]
    stopped = await selecting.stopped(good, world.store, world.now)
    keys = {one.spki for one in meant if blocks_key(entry, one)} | stopped | ({entry.spki} if entry.spki else set())
    revocations = [
        Revocation(one.issuer_key, one.serial, world.now, entry.reason, one.not_after, entry.id, entry.compromised_at)
        for one in meant
    ]
    below = await selecting.below(stopped, world.store, world.now)
    detail = {"count": len(meant), "note": entry.note, "plan": world.plan_id, "reason": entry.reason}
    stored = write(
        run,
        "revoke",
        changes,
        held=await _rows_of(good, below, frozenset(keys), stopped, run) if rows else (),
        revocations=revocations,
        blocked=[Blocked(one, world.now, entry.reason, entry.id) for one in sorted(keys)],
        matches=[Match(entry.id, one.issuer_key, one.serial, entry.reason, world.now) for one in meant],
    )
    await world.store.commit(evolve(stored, detail=json.dumps(detail, sort_keys=True)), world.lease)
    world.reach(FaultPoint.REVOKED)
    return [None] * len(changes)


async def _rows_of(
    good: Sequence[Certificate],
    below: Sequence[Certificate],
    blocked: frozenset[str],
    stopped: set[str],
    run: Run,
) -> list[tuple[Held, str]]:
    """The rows whose current certificate is taken away, marked so that the next plan replaces it."""
    marks = {(one.address, one.generation): ORPHANED for one in below if one.address.startswith("cert.")}
    for one in good:
        if one.address.startswith("cert.") or one.spki in stopped:
            is_blocked = one.spki in blocked and one.address.startswith("cert.")
            marks[one.address, one.generation] = BLOCKED if is_blocked else REVOKED
    found = []
    records: dict[tuple[str, str], Mapping[tuple[str, int], str]] = {}
    for row in await run.world.store.held():
        status = marks.get((str(row.address), row.generation))
        if status is None or row.is_forgotten:
            continue
        block = (row.kind, row.name)
        if block not in records:
            records[block] = await run.world.store.records(*block)
        found.append((evolve(row, status=status, due=NO_EXPIRY), records[block][row.key, row.generation]))
    return found


KIND = Kind(
    name="revoke",
    classes={},
    blocks=blocks,
    rows=rows,
    needs=needs,
    check=check,
    diff=diff,
    apply=apply,
    survey=survey,
    whole=True,
)
