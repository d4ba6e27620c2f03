"""Publication: the files under every [publish.X], and that they are what state says they should be.

Certificates first, then CRLs and OCSP answers, then bundles and the index (invariant 9).  Local readers never see half
a file; what is already there and unchanged is not written again.
"""

import hashlib
import json
from collections.abc import Container, Iterator, Sequence

from attrs import evolve

from pkicode.config.reader import Config
from pkicode.kinds import authority as authorities
from pkicode.kinds import crl_lists
from pkicode.kinds.authority import Authority, Generations
from pkicode.kinds.ca import by_depth
from pkicode.kinds.rows import after, forgotten, template_number, templated
from pkicode.kinds.taken import are_our_cas, is_our_list
from pkicode.model.address import Address
from pkicode.model.change import Action, Change, Readiness, Reason, ReasonCode
from pkicode.model.event import Event
from pkicode.model.faults import FaultPoint
from pkicode.model.instants import NO_EXPIRY, rfc3339
from pkicode.model.problem import Foreign, LeaseLost, PkicodeError, Problem
from pkicode.model.row import Block, Held, Row, Source
from pkicode.plan.applier import write
from pkicode.plan.kind import Difference, Kind, Outlook, Run
from pkicode.ports import Artefact, Published, Publisher
from pkicode.revocation import pack, shards
from pkicode.x509.pem import encode

_CERT, _CRL, _PACK, _PEM, _JSON = (
    "application/pkix-cert",
    "application/pkix-crl",
    "application/octet-stream",
    "application/pem-certificate-chain",
    "application/json",
)


def blocks(config: Config) -> Iterator[Block]:
    for target in sorted(config.settings.publish, key=lambda one: one.name):
        told = {"content": target.content, "url": target.url, "base_url": target.base_url}
        yield templated("publish", target.name, target, told, Source(str(config.path.name), ("publish", target.name)))


def _authorities(target: str, config: Config) -> list[str]:
    return [block.name for block in by_depth(config) if target in block.spec.publish]


def rows(block: Block, outlook: Outlook) -> Iterator[Row]:
    """One row; its value is the digest of what should be there, "" where this plan will change it or put it back."""
    names = _authorities(block.name, outlook.config)
    is_changing = any(
        change.action in (Action.ISSUE, Action.SIGN) and change.readiness is Readiness.READY
        for name in names
        for kind in ("ca", "crl", "ocsp")
        for change in outlook.planned(kind, name)
    )
    there = _offered(block, outlook.snapshot.artefacts)
    facts = _facts(names, authorities.generations(outlook), there, outlook.snapshot.blocked)
    is_adrift = block.name in outlook.snapshot.adrift
    yield Row("", json.dumps(["" if is_changing or is_adrift or _distrusting(outlook) else _digest(facts)]))


def _offered(block: Block, artefacts: Sequence[Artefact]) -> list[Artefact]:
    """The lists, and the packs of OCSP answers where this target takes them."""
    return [one for one in artefacts if one.kind == "crl" or (one.kind == "ocsp" and "ocsp" in block.spec.content)]


def _facts(
    names: Sequence[str], known: Generations, artefacts: Sequence[Artefact], barred: Container[str]
) -> list[str]:
    """What a target holds, a line for each CA generation and its further certificates, and one for older roots."""
    facts = []
    for name in names:
        for one in known.on_duty(name):
            scopes = {each.scope: each.sha256 for each in artefacts if (each.kind, each.name) == ("crl", one.stem)}
            facts.append(f"{one.stem} {scopes.pop('', None)}")
            facts += [f"{one.stem} {shard} {scopes[shard]}" for shard in sorted(scopes)]
            facts += [f"{one.stem} {each.sha256}" for each in artefacts if (each.kind, each.name) == ("ocsp", one.stem)]
            facts += [f"{one.stem} by {cross.by}" for cross in one.crosses]
            # A distrusted root leaves the bundle.
            facts += ["barred"] if one.issuer_key in barred else []
    # What a single generation says by itself is left out: a new release publishes nothing again.
    trusted = [one.stem for one in _trusted(names, known, barred)]
    several = any(len(generations) > 1 for generations in known.known.values())
    return [*facts, *([f"trust {' '.join(trusted)}"] if several else ())]


def _trusted(names: Sequence[str], known: Generations, barred: Container[str]) -> list[Authority]:
    """The roots of the bundle: of every CA published here, each generation in force that is not distrusted."""
    roots = dict.fromkeys(known.path(one)[-1].name for name in names for one in known.on_duty(name))
    return [one for root in roots for one in known.trusted(root) if one.issuer_key not in barred]


def _distrusting(outlook: Outlook) -> bool:
    """Whether this plan takes a root out of the bundle."""
    changes = (change for some in outlook.changes.values() for change in some)
    return any(one.action is Action.DISTRUST and one.readiness is Readiness.READY for one in changes)


def _digest(facts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()


def needs(block: Block, row: Row, outlook: Outlook) -> str:
    return ""


def diff(
    block: Block | None, row: Row | None, held: Held | None, outlook: Outlook, difference: Difference
) -> Change | None:
    if block is None or row is None:
        return forgotten(held) if held else None
    if not _authorities(block.name, outlook.config):
        return None
    if held is None:
        reason = Reason(ReasonCode.NEW)
    elif told := outlook.snapshot.adrift.get(block.name):
        reason = Reason(ReasonCode.DRIFT_PUBLISHED, told)
    else:
        reason = Reason(ReasonCode.PUBLISH_MISSING, "what it should hold changed")
    return Change(
        Address("publish", block.name),
        Action.PUBLISH,
        1,
        (reason,),
        block,
        row,
        held,
        after={"url": block.spec.url},
        depends_on=tuple(f"crl.{name}" for name in _authorities(block.name, outlook.config)),
    )


def _leased(target: str, config: Config) -> list[str]:
    # One that nobody publishes to any more is nobody's either.
    return _authorities(target, config) or [target]


async def apply(changes: Sequence[Change], run: Run) -> Sequence[Problem | None]:
    return [await _publish(change, run) for change in changes]


async def _publish(change: Change, run: Run) -> Problem | None:
    world, block = run.world, change.block
    if block is None:
        return None
    facts: list[str] = []
    lists: dict[str, tuple[Authority, Artefact]] = {}
    files = await _files(block, run, facts, lists)
    target = world.publishers[block.name]
    try:
        fresh = [one for one in files if not await _holds(target, one[0], one[1])]
        if len(fresh) == len(files) and (taken := await _taken(change, files, lists, run)):
            return taken
        above = [one for one in fresh if one[0] in lists and await _is_newer(target, one[0], *lists[one[0]], run)]
        await target.put([one for one in fresh if one not in above])
    except LeaseLost:
        # Not the target's fault, and no reason to go on.
        raise
    except PkicodeError as error:
        return Problem("E0510", f"publish.{block.name}: {error.message}", help=error.help, address=str(change.address))
    world.reach(FaultPoint.PUBLISHED)
    there = [one for one in files if one not in above]
    published = [Published(block.name, one, _sha256(data), world.now) for one, data, _ in there]
    ours = {one[0] for one in files}
    left = [one for one in await world.store.published() if one.target == block.name and one.path not in ours]
    published += [evolve(one, sha256="", at=world.now) for one in left]
    row = after(change, await template_number(block, run), due=NO_EXPIRY, needs="")
    values = json.dumps([_digest(facts)])
    stored = write(run, "publish", [change], held=[(evolve(row, values=values), "{}")], published=published)
    await world.store.commit(stored, world.lease)
    return None


async def _taken(
    change: Change, files: Sequence[tuple[str, bytes, str]], lists: dict[str, tuple[Authority, Artefact]], run: Run
) -> Problem | None:
    """That nothing at a target is ours, and something another's on which clients rely.

    Where something is ours, what is not was put there by whoever owns the target, who would else stop all that is due.
    """
    store, name, theirs = run.world.store, change.address.name, ""
    mine = {authorities.from_record(*at, record).facts.spki for at, record in (await store.authorities()).items()}
    for path, _, _ in files:
        try:
            data = await run.world.publishers[name].read(path, limit=limit_of(path))
        except Foreign:
            continue
        if data is None:
            continue
        if path.endswith(".crl"):
            ours = await run.world.work(is_our_list, data, lists[path][0], run.world.now)
        else:
            ours = await run.world.work(are_our_cas, path, data, mine, run.world.now)
        if ours:
            return None
        if ours is False:
            theirs = theirs or path
    if not theirs:
        return None
    return Problem(
        "E0513",
        f"publish.{name} is another PKI's: {theirs} is valid there, by a key that this state does not know",
        help="give one of the two another url and base_url; if nobody needs what is there any more, move it away",
        address=str(change.address),
    )


async def _holds(target: Publisher, path: str, data: bytes) -> bool:
    """Whether a file is there.  The target is asked, not the state: it may be another one now, or have lost a file."""
    try:
        return await target.read(path, limit=len(data)) == data
    except Foreign:
        return False


async def _is_newer(target: Publisher, path: str, authority: Authority, artefact: Artefact, run: Run) -> bool:
    """Whether a list or pack of ours that is above the state's is published, as after the restore of a backup.

    It stays: the one that state keeps may lack what that one revokes.  The next that is signed will be above it.
    """
    try:
        there = await target.read(path, limit=limit_of(path))
    except Foreign:
        return False
    named = await run.world.work(newer, there, authority, evolve(artefact, der=None)) if there else ""
    if named:
        told = f"{path} is {named} where it is published, and older in the state; it stays"
        address = f"{artefact.kind}.{authority.name}"
        run.world.emit(Event(artefact.kind, f"{address} {told}", address=address, failed=True))
    return bool(named)


def newer(data: bytes, authority: Authority, artefact: Artefact) -> str:
    """What a list or pack that is above this one says it is; "" where it is not, or somebody else's."""
    if artefact.kind == "crl":
        facts = crl_lists.genuine(data, authority, artefact.scope)
        is_above = not isinstance(facts, str) and facts.number > int(artefact.number, 16)
        return f"number {facts.number}" if is_above and not isinstance(facts, str) else ""
    try:
        found = pack.read(data)
    except ValueError:
        return ""
    is_above = found.maker.ca == authority.der and found.made > artefact.this_update
    return f"of {rfc3339(found.made)}" if is_above else ""


def limit_of(path: str) -> int:
    """The largest published file of this name that is read."""
    return pack.LIMIT if path.endswith(".pack") else crl_lists.LIMIT


async def _files(
    block: Block, run: Run, facts: list[str], lists: dict[str, tuple[Authority, Artefact]]
) -> list[tuple[str, bytes, str]]:
    """(path, bytes, content type) in the order they are put.

    `facts` gets what `rows` makes its digest of, `lists` which path holds which list or pack.
    """
    certificates, signed, bundles = [], [], []
    index: dict[str, dict[str, object]] = {}
    content = block.spec.content
    known = await authorities.loaded(run)
    names = _authorities(block.name, run.config)
    artefacts = _offered(block, await run.world.store.artefacts())
    barred = await run.world.store.blocked([one.issuer_key for each in known.known.values() for one in each])
    for name in names:
        for one in known.on_duty(name):
            await authorities.load(name, run, one.generation)
            certificates += _certificates(one)
            index[f"ca/{one.stem}.cer"] = {"not_after": rfc3339(one.not_after), "sha256": _sha256(one.der)}
            for kind, scope in sorted((each.kind, each.scope) for each in artefacts if each.name == one.stem):
                artefact = await run.world.store.artefact(kind, one.stem, scope)
                if artefact is None or artefact.der is None:
                    continue
                if kind == "ocsp":
                    where, media = pack.path(one.stem), _PACK
                else:
                    where, media = shards.path(one.stem, scope), _CRL
                lists[where] = (one, artefact)
                signed.append((where, artefact.der, media))
                index[where] = {
                    "next_update": rfc3339(artefact.next_update),
                    "number": int(artefact.number, 16),
                    "sha256": artefact.sha256,
                    "this_update": rfc3339(artefact.this_update),
                }
        if known.of(name):
            bundles.append((f"bundle/{name}.pem", _bundle(name, known), _PEM))
    facts += _facts(names, known, artefacts, barred)
    roots = _trusted(names, known, barred)
    for root in roots:
        await authorities.load(root.name, run, root.generation)
    bundles.append(("bundle/trust.pem", b"".join(encode("CERTIFICATE", root.der) for root in roots), _PEM))
    files = [
        *(certificates if "ca" in content else ()),
        *(one for one in signed if "crl" in content or one[2] == _PACK),
        *(bundles if "bundle" in content else ()),
    ]
    there = {one[0] for one in files}
    listed = {where: told for where, told in index.items() if where in there}
    document = {"files": listed, "format": "pkicode.index", "version": "1.0"}
    text = json.dumps(document, indent=1, sort_keys=True) + "\n"
    return [*files, ("index.json", text.encode(), _JSON)]


def _certificates(one: Authority) -> list[tuple[str, bytes, str]]:
    """Every certificate of a generation: its own, and those other roots gave its key."""
    named = [(one.stem, one.der), *((f"{one.stem}-by-{by.issuer}-g{by.generation}", by.der) for by in one.crosses)]
    return [
        file
        for stem, der in named
        for file in ((f"ca/{stem}.cer", der, _CERT), (f"ca/{stem}.pem", encode("CERTIFICATE", der), _PEM))
    ]


def _bundle(name: str, known: Generations) -> bytes:
    """The CAs a server hands out below the root, of the generation that issues first; a lone root alone."""
    first = known.issuing(name)
    generations = [*([first] if first else ()), *reversed(known.on_duty(name))]
    chain = dict.fromkeys(der for one in generations for der in known.chain(one) or [one.der])
    return b"".join(encode("CERTIFICATE", der) for der in chain)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


KIND = Kind(
    name="publish",
    classes={},
    blocks=blocks,
    rows=rows,
    needs=needs,
    diff=diff,
    apply=apply,
    lists=_leased,
)
