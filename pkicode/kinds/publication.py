"""Publication: the files under every [publish.X], and that they are what state says they should be.

Certificates first, then CRLs and OCSP answers, then bundles and the index (invariant 9).  Local readers never see half
a file; what is already there and unchanged is not written again.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence

from attrs import evolve

from pkicode.config.reader import Config
from pkicode.kinds import authority as authorities
from pkicode.kinds.authority import Authority
from pkicode.kinds.ca import by_depth
from pkicode.kinds.ocsp_apply import on_duty
from pkicode.kinds.rows import after, forgotten, template_number, templated
from pkicode.model.address import Address
from pkicode.model.change import Action, Change, Reason, ReasonCode
from pkicode.model.faults import FaultPoint
from pkicode.model.instants import NO_EXPIRY, rfc3339
from pkicode.model.problem import Foreign, PkicodeError, Problem
from pkicode.model.row import Block, Held, Row, Source
from pkicode.plan.applier import write
from pkicode.plan.kind import Difference, Kind, Outlook, Run
from pkicode.ports import Published, Publisher
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
    """One row; its value is the digest of what should be there, "" where this plan will change it."""
    facts = []
    digests = {(one.kind, one.name, one.scope): one.sha256 for one in outlook.snapshot.artefacts}
    for name in _authorities(block.name, outlook.config):
        if any(outlook.planned(kind, name) for kind in ("ca", "crl", "ocsp")):
            facts.append("coming")
        elif (standing := authorities.standing(name, outlook)) and standing.authority:
            facts.append(f"{standing.authority.stem} {digests.get(('crl', standing.authority.stem, ''))}")
            if "ocsp" in block.spec.content:
                stems = [one.authority.stem for one in authorities.on_duty(name, outlook) if one.authority]
                facts += [f"{stem} {digest}" for stem in stems if (digest := digests.get(("ocsp", stem, "")))]
    yield Row("", json.dumps(["" if "coming" in facts else _digest(facts)]))


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
    files = await _files(block, run, facts)
    target = world.publishers[block.name]
    try:
        fresh = [one for one in files if not await _holds(target, one[0], one[1])]
        await target.put(fresh)
    except PkicodeError as error:
        return Problem("E0510", f"publish.{block.name}: {error.message}", help=error.help, address=str(change.address))
    world.reach(FaultPoint.PUBLISHED)
    published = [Published(block.name, path, _sha256(data), world.now) for path, data, _ in files]
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


async def _files(block: Block, run: Run, facts: list[str]) -> list[tuple[str, bytes, str]]:
    """(path, bytes, content type) in the order they are put; `facts` gets what `rows` makes its digest of."""
    certificates, crls, packs, bundles, trust = [], [], [], [], []
    index: dict[str, dict[str, object]] = {}
    content = block.spec.content
    for name in _authorities(block.name, run.config):
        authority = await authorities.load(name, run)
        artefact = await run.world.store.artefact("crl", authority.stem) if authority else None
        if authority is None:
            continue
        facts.append(f"{authority.stem} {artefact.sha256 if artefact else None}")
        chain = await authorities.path(authority, run)
        certificates += [
            (f"ca/{authority.stem}.cer", authority.der, _CERT),
            (f"ca/{authority.stem}.pem", encode("CERTIFICATE", authority.der), _PEM),
        ]
        bundles.append((f"bundle/{name}.pem", _chain(chain), _PEM))
        if chain[-1] not in trust:
            trust.append(chain[-1])
        index[f"ca/{authority.stem}.cer"] = {
            "not_after": rfc3339(authority.not_after),
            "sha256": _sha256(authority.der),
        }
        if artefact and artefact.der:
            crls.append((f"crl/{authority.stem}.crl", artefact.der, _CRL))
            index[f"crl/{authority.stem}.crl"] = {
                "next_update": rfc3339(artefact.next_update),
                "number": int(artefact.number, 16),
                "sha256": artefact.sha256,
                "this_update": rfc3339(artefact.this_update),
            }
        for one in await on_duty(name, run) if "ocsp" in content else ():
            answers = await run.world.store.artefact("ocsp", one.stem)
            if answers and answers.der:
                facts.append(f"{one.stem} {answers.sha256}")
                packs.append((f"ocsp/{one.stem}.pack", answers.der, _PACK))
                index[f"ocsp/{one.stem}.pack"] = {
                    "next_update": rfc3339(answers.next_update),
                    "number": int(answers.number, 16),
                    "sha256": answers.sha256,
                    "this_update": rfc3339(answers.this_update),
                }
    bundles.append(("bundle/trust.pem", b"".join(encode("CERTIFICATE", root.der) for root in trust), _PEM))
    files = [
        *(certificates if "ca" in content else ()),
        *(crls if "crl" in content else ()),
        *packs,
        *(bundles if "bundle" in content else ()),
    ]
    listed = {path: told for path, told in index.items() if any(path == one[0] for one in files)}
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
)
