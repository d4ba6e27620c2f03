"""What each [[revoke]] entry selects, asked of the inventory before a plan; decides nothing and reads no bytes."""

from collections.abc import Iterator, Mapping, Sequence

from attrs import evolve

from pkicode.config.check_revoke import serials
from pkicode.config.language import COMPROMISES, Revoke
from pkicode.config.reader import Config
from pkicode.kinds.authority import from_record
from pkicode.model.address import parse
from pkicode.plan.kind import Selected
from pkicode.ports import Certificate, CertificateStatus, Store, Want

LIVE = (CertificateStatus.ISSUED, CertificateStatus.UNKNOWN)
_AT_ONCE = 500
"""Serials or keys in one question."""
_DEEPEST = 16


async def select(config: Config, store: Store, now: int) -> Mapping[str, Selected]:
    """Id of each entry -> what it is about and was not yet acted on."""
    return {one.id: await selected(one, config, store, now) for one in config.settings.revoke}


async def selected(entry: Revoke, config: Config, store: Store, now: int) -> Selected:
    """What one entry is about."""
    keys = await _ca_keys(entry, store)
    found: dict[tuple[str, str], Certificate] = {}

    async def ask(want: Want) -> None:
        asked = evolve(want, unexpired_at=now, statuses=(*LIVE, CertificateStatus.REVOKED), with_der=False)
        for one in await store.certificates(evolve(asked, not_matched_by=(entry.id, entry.reason))):
            found[one.issuer_key, one.serial] = one

    for want in _wants(entry, keys, config):
        await ask(want)
    if entry.csv:
        told, _ = serials(config.root, entry.csv, config.ca_names)
        meant = {(serial, ca) for serial, ca in told}
        found = {
            at: one for at, one in found.items() if not meant.isdisjoint({(one.serial, one.ca), (one.serial, None)})
        }
    if entry.reason in COMPROMISES:
        # A key is compromised wherever it is: every certificate for it is meant, also one that turns up later.
        for spkis in _batches(sorted({one.spki for one in found.values()})):
            await ask(Want(spkis=spkis))
        await ask(Want(blocked_by=entry.id))
    good = [one for one in found.values() if one.status != CertificateStatus.REVOKED]
    ended = await stopped(good, store, now)
    return Selected(tuple(found.values()), tuple(sorted(ended)), await below(ended, store, now))


async def _ca_keys(entry: Revoke, store: Store) -> list[str]:
    """A CA's generation is a key, whoever certified it."""
    if not (entry.ca and entry.generation):
        return []
    record = (await store.authorities()).get((entry.ca, entry.generation))
    return [from_record(entry.ca, entry.generation, record).issuer_key] if record else []


def _wants(entry: Revoke, keys: Sequence[str], config: Config) -> Iterator[Want]:
    if entry.serial:
        yield Want(serial=entry.serial, ca=entry.ca)
    elif entry.cert:
        pins = Want(generation=entry.generation, created_before=entry.issued_before)
        for text in _names(entry.cert, config):
            yield evolve(pins, block=text) if entry.all_keys else evolve(pins, address=text)
    elif entry.csv:
        told = [one for one, _ in serials(config.root, entry.csv, config.ca_names)[0]]
        yield from (Want(serials=some) for some in _batches(told))
    else:
        yield from (Want(spki=one) for one in (*keys, *([entry.spki] if entry.spki else ())))


def _batches(values: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(values), _AT_ONCE):
        yield values[start : start + _AT_ONCE]


def _names(text: str, config: Config) -> list[str]:
    """The addresses under which the certificates of an address may stand: [[moved]] renames them in the inventory."""
    found = [text]
    for name in found:
        address, _ = parse(name)
        for move in config.settings.moved:
            for one, other in ((move.from_, move.to), (move.to, move.from_)):
                if one == name:
                    found.append(other)
                elif one == address.block and not parse(other)[0].key:
                    found.append(str(evolve(parse(other)[0], key=address.key)))
        if len(found) > len(set(found)):
            found[:] = dict.fromkeys(found)
    return found


async def stopped(certificates: Sequence[Certificate], store: Store, now: int) -> set[str]:
    """The CA keys whose last good certificate is among these."""
    meant = {(one.issuer_key, one.serial) for one in certificates}
    found = set()
    for key in {one.spki for one in certificates if one.address.startswith("ca.")}:
        good = await _good(Want(spki=key), store, now)
        if good and meant.issuperset((one.issuer_key, one.serial) for one in good):
            found.add(key)
    return found


async def below(ended: set[str], store: Store, now: int) -> tuple[Certificate, ...]:
    """What these CAs signed, and what CAs signed that have no other certificate."""
    found: dict[tuple[str, str], Certificate] = {}
    dead, level = set(ended), set(ended)
    for _ in range(_DEEPEST):
        signed = [one for key in sorted(level) for one in await _good(Want(issuer_key=key), store, now)]
        found.update({(one.issuer_key, one.serial): one for one in signed if one.spki not in dead})
        level = set()
        for one in signed:
            if one.address.startswith("ca.") and one.spki not in dead:
                others = await _good(Want(spki=one.spki), store, now)
                if dead.issuperset(other.issuer_key for other in others):
                    level.add(one.spki)
        dead |= level
        if not level:
            break
    return tuple(found.values())


async def _good(want: Want, store: Store, now: int) -> Sequence[Certificate]:
    return await store.certificates(evolve(want, unexpired_at=now, statuses=LIVE, with_der=False))
