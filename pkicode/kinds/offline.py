"""CAs whose key is on another machine: what of a plan waits for a ceremony (docs/explanation/ceremony.md).

What is carried, and what is believed of what comes back, is the ceremony's and the project's.
"""

from collections.abc import Iterable

from attrs import evolve

from pkicode.config.language import CaSpec
from pkicode.config.reader import Config
from pkicode.kinds.rows import block_of
from pkicode.model.address import Address
from pkicode.model.change import Action, Change, Readiness
from pkicode.model.instants import NO_EXPIRY, rfc3339
from pkicode.model.row import Held
from pkicode.plan.kind import Outlook


def is_offline(name: str, config: Config) -> bool:
    """Whether the key of [ca.NAME] is on another machine, as declared."""
    block = config.block("ca", name)
    return block is not None and bool(block.spec.offline)


def next_ceremony(held: Iterable[Held], config: Config, now: int) -> tuple[int, Address] | None:
    """When an offline key is to sign next, as far as rows tell, and for what; None where nothing is foreseen."""
    coming = [
        (one.due, one.address)
        for one in held
        if now < one.due < NO_EXPIRY and one.status == "ok" and is_offline(_signs(one, config), config)
    ]
    return min(coming, default=None, key=lambda one: one[0])


def _signs(row: Held, config: Config) -> str:
    """The CA that signs what is due with a row; empty where it is no CA's work."""
    if row.kind == "ca":
        block = config.block("ca", row.name)
        return (block.spec.issuer or row.name) if block else ""
    # The answers themselves are signed at hand, by the delegate that has a row with a key.
    return row.name if row.kind == "crl" or (row.kind == "ocsp" and row.key) else ""


def held_back(change: Change, outlook: Outlook) -> Change:
    """A CA generation that is about to be made, as far as it can be without its key or its issuer's."""
    spec: CaSpec = block_of(change).spec
    why = _lacks_card(change, spec, outlook.config) if spec.offline else ""
    if not why and not is_offline(spec.issuer or change.address.name, outlook.config):
        return change
    if why:
        return evolve(change, action=Action.RESERVE, irreversible=False, readiness=Readiness.WAITING, waits=why)
    return reserving(change, outlook)


def reserving(change: Change, outlook: Outlook) -> Change:
    """What an offline key is to sign: reserved now, or reserved already and waiting for its ceremony."""
    # Few projects have one, and everybody plans.
    from pkicode.ceremony.bundle import LIFE

    change = evolve(change, action=Action.RESERVE, irreversible=False)
    reserved = outlook.snapshot.reserved.get((str(change.address), change.generation))
    if reserved and outlook.now <= reserved.created + LIFE:
        until = rfc3339(reserved.created + LIFE)
        waits = f"reserved, and waits for a ceremony: `pkicode ceremony export`; until {until}"
        return evolve(change, readiness=Readiness.WAITING, waits=waits)
    return change


def _lacks_card(change: Change, spec: CaSpec, config: Config) -> str:
    # As above.
    from pkicode.ceremony import card

    label = change.address.at(change.generation)
    folder = next(one.path for one in config.settings.keystores if one.name == spec.key.store)
    found = card.find(config.root, folder, label)
    if found is None:
        return (
            f"no card of its key in {folder}: `pkicode ceremony init {label} --alg {spec.key.alg} --keystore FILE`, "
            f"where the keys are; then put {label}{card.SUFFIX} there"
        )
    if found.alg == spec.key.alg:
        return ""
    told = f"the key of its card is {found.alg}, not {spec.key.alg}"
    return f'{told}: write alg = "{found.alg}" in `key` of the CA, or bring the card of another key'
