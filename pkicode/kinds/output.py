"""Outputs: the chain, key and PKCS#12 files of a certificate, and the deploy hook that runs after they changed.

All files of one certificate switch together, and the row is recorded only after its hook succeeded.
"""

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from pkicode.config.language import OUTPUT_FILES, SECRET_FILES, CertSpec, Output
from pkicode.config.reader import Config
from pkicode.config.rows import rows as config_rows
from pkicode.config.rows import written_twice
from pkicode.kinds import authority as authorities
from pkicode.kinds.authority import Authority
from pkicode.kinds.leaf import filled, owns
from pkicode.kinds.rows import after, block_of, forgotten, template_number, templated
from pkicode.model.address import Address
from pkicode.model.change import Action, Change, Readiness, Reason, ReasonCode
from pkicode.model.faults import FaultPoint
from pkicode.model.instants import NO_EXPIRY
from pkicode.model.problem import PkicodeError, Problem
from pkicode.model.row import Block, Held, Row
from pkicode.plan.applier import write
from pkicode.plan.kind import Difference, FieldClass, Kind, Outlook, Run
from pkicode.ports import OutputFile, OutputSet
from pkicode.x509.chain import chain_pem, verify_issued
from pkicode.x509.keys import load_pkcs8, spki
from pkicode.x509.pem import encode
from pkicode.x509.tbs import facts_of

_MOST_TOLD = 100


def blocks(config: Config) -> Iterator[Block]:
    for block in sorted(config.blocks, key=lambda one: one.name):
        if block.kind == "cert" and block.spec.output:
            told = json.loads(block.template)["spec"]
            spec = {"after": told["after"], "output": told["output"]}
            yield templated("output", block.name, block.spec, spec, block.source, block.columns)


def rows(block: Block, outlook: Outlook) -> Iterator[Row]:
    cert = outlook.config.block("cert", block.name)
    return config_rows(outlook.config, cert) if cert else iter(())


def check(block: Block, outlook: Outlook) -> list[Problem]:
    """What concerns several blocks is told once, with the first."""
    if "written twice" in outlook.memo:
        return []
    outlook.memo["written twice"] = True
    return list(islice(written_twice(outlook.config), _MOST_TOLD))


def needs(block: Block, row: Row, outlook: Outlook) -> str:
    """The certificate generation whose files these are, e.g. `cert.portal@3`; "" while there is none.

    A cross-certificate in its chain is named too: `cert.portal@3 via root@1`.
    """
    generation = _generations(block.name, outlook).get(row.key, 0)
    if not generation:
        return ""
    at = Address("cert", block.name, row.key).at(generation)
    return at + _via(block, row, at, outlook)


def _via(block: Block, row: Row, at: str, outlook: Outlook) -> str:
    """Which way the chain goes.  A row does not know which generation signed its certificate: its files remember."""
    ways, now, written = outlook.once(("ways", block.name), lambda: _ways(block, outlook))
    if len(ways) == 1:
        return next(iter(ways))
    before = written.get(row.key, "")
    was = before.removeprefix(at)
    if before == at + was:
        return was if was in ways else ""
    return now


def _ways(block: Block, outlook: Outlook) -> tuple[frozenset[str], str, dict[str, str]]:
    """The ways of all chains of this block's CA, that of what is issued now, and what its rows stand on as written."""
    cert = outlook.config.block("cert", block.name)
    issuer = cert.spec.issuer if cert else ""
    known = authorities.coming(outlook)
    ways = frozenset(known.via(one) for one in known.on_duty(issuer)) or frozenset({""})
    issuing = known.issuing(issuer)
    rows = (one for one in outlook.snapshot.held if len(ways) > 1 and one.kind == "output")
    written = {one.key: one.needs for one in rows if one.name == block.name}
    return ways, known.via(issuing) if issuing else "", written


def _generations(name: str, outlook: Outlook) -> dict[str, int]:
    return outlook.once(("generations", name), lambda: _newest(name, outlook))


def _newest(name: str, outlook: Outlook) -> dict[str, int]:
    """Key -> the generation of its certificate, once this plan is done."""
    found = {
        one.key: one.generation
        for one in outlook.snapshot.held
        if one.kind == "cert" and one.name == name and not one.is_forgotten
    }
    for change in outlook.planned("cert", name):
        if change.action in (Action.ISSUE, Action.RENEW) and change.readiness is Readiness.READY:
            found[change.address.key] = change.generation
    return found


def diff(
    block: Block | None, row: Row | None, held: Held | None, outlook: Outlook, difference: Difference
) -> Change | None:
    if block is None or row is None:
        return forgotten(held) if held else None
    stands_on = needs(block, row, outlook)
    if not stands_on:
        return None
    generation = _generations(block.name, outlook)[row.key]
    return Change(
        Address("output", block.name, row.key),
        Action.UPDATE,
        generation,
        (_reason(held, stands_on),),
        block,
        row,
        held,
        after=_paths(filled(block, row, outlook.memo).output),
        depends_on=(str(Address("cert", block.name, row.key)),),
    )


def _reason(held: Held | None, stands_on: str) -> Reason:
    if held is None or held.is_forgotten:
        return Reason(ReasonCode.NEW)
    if held.status == "hook-failed":
        return Reason(ReasonCode.SPEC_CHANGED, "the deploy hook failed and is tried again")
    if held.needs != stands_on:
        return Reason(ReasonCode.DUE, f"it follows {stands_on}")
    return Reason(ReasonCode.SPEC_CHANGED, "the declared files changed, no signature")


def _paths(output: Output | None) -> dict[str, object]:
    return {one: getattr(output, one) for one in OUTPUT_FILES if output and getattr(output, one)}


async def apply(changes: Sequence[Change], run: Run) -> Sequence[Problem | None]:
    world = run.world
    sets = await _sets(changes, run)
    ready = [(change, one) for change, one in zip(changes, sets, strict=True) if isinstance(one, OutputSet)]
    told = await world.write_outputs([one for _, one in ready])
    answers: dict[Address, Problem | None] = {
        change.address: one for change, one in zip(changes, sets, strict=True) if isinstance(one, Problem)
    }
    rows = []
    ways = await _went(changes, run)
    for (change, one), error in zip(ready, told, strict=True):
        if error:
            answers[change.address] = Problem("E0530", f"{change.address}: {error}", address=str(change.address))
            continue
        failed = await _hook(change, one, run)
        answers[change.address] = failed
        rows.append(await _row(change, ways.get(change.address.key, ""), run, "hook-failed" if failed else "ok"))
    if rows:
        world.reach(FaultPoint.HOOK_RUN)
        await world.store.commit(write(run, "output", [one for one, _ in ready], held=rows), world.lease)
    return [answers[change.address] for change in changes]


async def _went(changes: Sequence[Change], run: Run) -> dict[str, str]:
    """Key of the row -> which way its chain goes."""
    name = changes[0].address.name
    records = await run.world.store.records("cert", name, [one.address.key for one in changes])
    issuers = {key: json.loads(record)["issuer"] for (key, _), record in records.items()}
    known = await authorities.loaded(run)
    return {key: known.via(one) for key, by in issuers.items() if (one := known.get(by[0], by[1]))}


async def _row(change: Change, way: str, run: Run, status: str) -> tuple[Held, str]:
    stands_on = Address("cert", change.address.name, change.address.key).at(change.generation) + way
    row = after(change, await template_number(block_of(change), run), due=NO_EXPIRY, needs=stands_on, status=status)
    return row, json.dumps(change.after, sort_keys=True)


async def _hook(change: Change, files: OutputSet, run: Run) -> Problem | None:
    spec: CertSpec = block_of(change).spec
    if not spec.after or not change.row:
        return None
    command = filled(block_of(change), change.row, run.memo).after
    environ = {"PKICODE_ADDRESS": files.address, "PKICODE_GENERATION": str(files.generation)}
    failed = await run.world.run_hook(command, environ)
    if not failed:
        return None
    return Problem(
        "E0531",
        f"{change.address}: the deploy hook failed: {failed}",
        address=str(change.address),
        help="the new files are in place; mend the hook and apply again, it is retried",
    )


async def _sets(changes: Sequence[Change], run: Run) -> list[OutputSet | Problem]:
    """The files of each change, from the inventory and the keystore."""
    store = run.world.store
    records = await store.records("cert", changes[0].address.name, [one.address.key for one in changes])
    told = [json.loads(records.get((one.address.key, one.generation), "null")) for one in changes]
    ders = await store.ders([(one["issuer_key"], one["serial"]) for one in told if one])
    keys = await _keys(changes, told, run)
    found: list[OutputSet | Problem] = []
    each = iter(ders)
    for change, record in zip(changes, told, strict=True):
        der = next(each) if record else None
        if der is None or record is None:
            found.append(
                Problem(
                    "E0501",
                    f"{change.address} waits for its certificate, which is not there",
                    help="apply again",
                    address=str(change.address),
                )
            )
            continue
        found.append(await _set(change, record, der, keys.get(record["key_label"]), run))
    return found


async def _keys(changes: Sequence[Change], told: Sequence[dict[str, Any] | None], run: Run) -> dict[str, bytes]:
    """Label -> PKCS#8 of the keys these outputs declare; none is opened otherwise."""
    spec: CertSpec = block_of(changes[0]).spec
    output = spec.output or Output()
    labels = [one["key_label"] for one in told if one and one["key_label"]]
    if not labels or not any(getattr(output, one) for one in SECRET_FILES):
        return {}
    return dict(zip(labels, await run.world.keystores[spec.key.store or ""].export(labels), strict=True))


async def _set(change: Change, record: dict[str, Any], der: bytes, key: bytes | None, run: Run) -> OutputSet | Problem:
    output = filled(block_of(change), change.row, run.memo).output if change.row else None
    issuer = await authorities.load(record["issuer"][0], run, record["issuer"][1])
    if output is None or issuer is None:
        return Problem(
            "E0501", f"{change.address} waits for its issuer", help="apply again", address=str(change.address)
        )
    address = Address("cert", change.address.name, change.address.key)
    if altered := _altered(address, record, der, key, issuer, run):
        return Problem(
            "E0533",
            f"{change.address}: {altered}",
            address=str(change.address),
            help="the database was altered: `pkicode state verify`, then restore a backup",
        )
    above = (await authorities.loaded(run)).chain(issuer)
    chain = chain_pem(der, above)
    pem = encode("PRIVATE KEY", key) if key else b""
    try:
        files = [
            *([OutputFile(output.chain, chain, secret=False)] if output.chain else ()),
            *([OutputFile(output.key, pem, secret=True)] if output.key else ()),
            *([OutputFile(output.combined, pem + chain, secret=True)] if output.combined else ()),
            *([await _p12(output, change, der, above, key, run)] if output.p12 else ()),
        ]
    except PkicodeError as error:
        return Problem("E0532", f"{change.address}: {error.message}", help=error.help, address=str(change.address))
    return OutputSet(str(address), change.generation, tuple(files), int(output.mode, 8), output.owner, output.group)


def _altered(
    address: Address, record: dict[str, Any], der: bytes, key: bytes | None, issuer: Authority, run: Run
) -> str:
    """Why these bytes and this key are not the address's own, empty when they are: a record is only a pointer."""
    try:
        verify_issued(der, issuer.der)
    except ValueError as error:
        return f"its certificate is not one of {issuer.at}: {error}"
    if key is None:
        return ""
    if not owns(str(record["key_label"]), address, run.config):
        return f"its record names the key {record['key_label']}, which is not its own"
    if spki(load_pkcs8(key, trusted=True)) != facts_of(der).spki:
        return "its certificate is for another key"
    return ""


async def _p12(
    output: Output, change: Change, der: bytes, above: Sequence[bytes], key: bytes | None, run: Run
) -> OutputFile:
    if output.p12 is None or output.p12_password is None or key is None:
        raise PkicodeError("a PKCS#12 file needs p12_password", help='output.p12_password = { env = "NAME" }')
    # Few outputs are PKCS#12, and a plan writes none.
    from pkicode.x509.pkcs12 import pkcs12

    password = await run.world.secret(output.p12_password)
    # A second of hashing: on the loop, a batch of them would outlast the lease that the heartbeat keeps.
    data = await run.world.work(pkcs12, key, der, tuple(above), password, str(change.address))
    return OutputFile(output.p12, data, secret=True)


KIND = Kind(
    name="output",
    classes={"output": FieldClass.METADATA, "after": FieldClass.METADATA},
    blocks=blocks,
    rows=rows,
    check=check,
    needs=needs,
    diff=diff,
    apply=apply,
    fans_out=True,
)
