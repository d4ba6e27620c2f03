"""Publication: the files under every [publish.X], and that they are what state says they should be.

Certificates first, then CRLs, then bundles and the index (invariant 9).  Local readers never see half a file; what is
already there and unchanged is not written again.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence

from attrs import evolve

from pkicode.config.reader import Config
from pkicode.kinds import authority as authorities
from pkicode.kinds import crl_lists
from pkicode.kinds.authority import Authority
from pkicode.kinds.ca import by_depth
from pkicode.kinds.rows import after, forgotten, template_number, templated
from pkicode.model.address import Address
from pkicode.model.change import Action, Change, Readiness, Reason, ReasonCode
from pkicode.model.faults import FaultPoint
from pkicode.model.instants import NO_EXPIRY, rfc3339
from pkicode.model.problem import Foreign, PkicodeError, Problem
from pkicode.model.row import Block, Held, Row, Source
from pkicode.plan.applier import write
from pkicode.plan.kind import Difference, Kind, Outlook, Run
from pkicode.ports import Artefact, Published, Publisher
from pkicode.revocation.shards import path
from pkicode.x509.pem import encode

_CERT, _CRL, _PEM, _JSON = (
    "application/pkix-cert",
    "application/pkix-crl",
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
    """One row; its value is the digest of what should be there, "" where this plan will change it."""
    facts = []
    for name in _authorities(block.name, outlook.config):
        if outlook.planned("crl", name) or outlook.planned("ca", name) or _distrusting(outlook):
            facts.append("coming")
        elif (standing := authorities.standing(name, outlook)) and standing.authority:
            facts += _facts(standing.authority.stem, outlook.snapshot.artefacts)
            # A distrusted root leaves the bundle.
            facts += ["barred"] if standing.authority.issuer_key in outlook.snapshot.blocked else []
    yield Row("", json.dumps(["" if "coming" in facts else _digest(facts)]))


def _facts(stem: str, artefacts: Sequence[Artefact]) -> list[str]:
    """Which lists there should be of a CA generation: the full one, and its shards."""
    digests = {one.scope: one.sha256 for one in artefacts if (one.kind, one.name) == ("crl", stem)}
    return [f"{stem} {digests.pop('', None)}", *(f"{stem} {shard} {digests[shard]}" for shard in sorted(digests))]


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
    detail = "" if held is None else "what it should hold changed"
    reason = Reason(ReasonCode.NEW if held is None else ReasonCode.PUBLISH_MISSING, detail)
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
        newer = [one for one in fresh if one[0] in lists and await _is_newer(target, *lists[one[0]], run)]
        await target.put([one for one in fresh if one not in newer])
    except PkicodeError as error:
        return Problem("E0510", f"publish.{block.name}: {error.message}", help=error.help, address=str(change.address))
    world.reach(FaultPoint.PUBLISHED)
    there = [one for one in files if one not in newer]
    published = [Published(block.name, one, _sha256(data), world.now) for one, data, _ in there]
    row = after(change, await template_number(block, run), due=NO_EXPIRY, needs="")
    values = json.dumps([_digest(facts)])
    stored = write(run, "publish", [change], held=[(evolve(row, values=values), "{}")], published=published)
    await world.store.commit(stored, world.lease)
    return None


async def _holds(target: Publisher, path: str, data: bytes) -> bool:
    """Whether a file is there.  The target is asked, not the state: it may be another one now, or have lost a file."""
    try:
        return await target.read(path, limit=len(data)) == data
    except Foreign:
        return False


async def _is_newer(target: Publisher, authority: Authority, artefact: Artefact, run: Run) -> bool:
    """Whether a list of ours with a higher number is published, as after the restore of a backup.

    It stays: the one that state keeps may lack what that one revokes.  The next that is signed will be above it.
    """
    where = path(authority.stem, artefact.scope)
    try:
        there = await target.read(where, limit=crl_lists.LIMIT)
    except Foreign:
        return False
    found = await run.world.work(crl_lists.genuine, there, authority, artefact.scope) if there else ""
    if isinstance(found, str) or found.number <= int(artefact.number, 16):
        return False
    crl_lists.alarm(
        authority, run, f"{where} is number {found.number} where it is published, and older in the state; it stays"
    )
    return True


async def _files(
    block: Block, run: Run, facts: list[str], lists: dict[str, tuple[Authority, Artefact]]
) -> list[tuple[str, bytes, str]]:
    """(path, bytes, content type) in the order they are put.

    `facts` gets what `rows` makes its digest of, `lists` which path holds which list.
    """
    certificates, crls, bundles, trust = [], [], [], []
    index: dict[str, dict[str, object]] = {}
    content = block.spec.content
    for name in _authorities(block.name, run.config):
        authority = await authorities.load(name, run)
        if authority is None:
            continue
        told = [one for one in await run.world.store.artefacts() if (one.kind, one.name) == ("crl", authority.stem)]
        facts += _facts(authority.stem, told)
        chain = await authorities.path(authority, run)
        distrusted = await run.world.store.blocked([authority.issuer_key, chain[-1].issuer_key])
        facts += ["barred"] if authority.issuer_key in distrusted else []
        certificates += [
            (f"ca/{authority.stem}.cer", authority.der, _CERT),
            (f"ca/{authority.stem}.pem", encode("CERTIFICATE", authority.der), _PEM),
        ]
        bundles.append((f"bundle/{name}.pem", _chain(chain), _PEM))
        if chain[-1] not in trust and chain[-1].issuer_key not in distrusted:
            trust.append(chain[-1])
        index[f"ca/{authority.stem}.cer"] = {
            "not_after": rfc3339(authority.not_after),
            "sha256": _sha256(authority.der),
        }
        for scope in sorted(one.scope for one in told):
            artefact = await run.world.store.artefact("crl", authority.stem, scope)
            if artefact is None or artefact.der is None:
                continue
            where = path(authority.stem, scope)
            lists[where] = (authority, artefact)
            crls.append((where, artefact.der, _CRL))
            index[where] = {
                "next_update": rfc3339(artefact.next_update),
                "number": int(artefact.number, 16),
                "sha256": artefact.sha256,
                "this_update": rfc3339(artefact.this_update),
            }
    bundles.append(("bundle/trust.pem", b"".join(encode("CERTIFICATE", root.der) for root in trust), _PEM))
    files = [
        *(certificates if "ca" in content else ()),
        *(crls if "crl" in content else ()),
        *(bundles if "bundle" in content else ()),
    ]
    there = {one[0] for one in files}
    listed = {where: told for where, told in index.items() if where in there}
    document = {"files": listed, "format": "pkicode.index", "version": "1.0"}
    text = json.dumps(document, indent=1, sort_keys=True) + "\n"
    return [*files, ("index.json", text.encode(), _JSON)]


def _chain(path: Sequence[Authority]) -> bytes:
    """The CAs a server hands out below the root; the root alone where it signs leaves itself."""
    return b"".join(encode("CERTIFICATE", one.der) for one in (path[:-1] or path))


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
    tells=True,
)
