"""A second key generation of a CA, made through the issuance cycle: what rotation will do on a date."""

from attrs import frozen

from pkicode.adapters import loop
from pkicode.issuing import issue
from pkicode.kinds import ca_apply
from pkicode.model.address import Address
from pkicode.model.change import Action, Change, Reason, ReasonCode
from pkicode.model.problem import Problem
from pkicode.model.row import Row
from pkicode.plan.kind import Run
from pkicode.ports import Artefact
from pkicode.revocation import crl
from tests.kinds.site import Site


def add_generation(site: Site, name: str, generation: int) -> None:
    """`ca.NAME@generation` with a key of its own."""
    loop.run(_issued(site, name, generation))


async def _issued(site: Site, name: str, generation: int) -> None:
    project = site.open()
    block = project.config.block("ca", name)
    reasons = (Reason(ReasonCode.CA_ROTATE),)
    change = Change(Address("ca", name), Action.ISSUE, generation, reasons, block, Row("", "[]"))
    async with (
        project.state.writing(site.now) as (store, lease),
        project._world(store, lease, site.now, lambda _: None) as world,
    ):
        remade = await ca_apply.remake(change, Run(world, project.config, lambda: False))
        assert not isinstance(remade, Problem), remade
        template, order, settle = remade
        await issue(template, [order], world, settle=settle)


@frozen
class Stored:
    """One list as the state keeps it."""

    artefact: Artefact
    facts: crl.CrlFacts

    @property
    def serials(self) -> list[str]:
        return [f"{entry.serial:x}" for entry in self.facts.entries]


def stored(site: Site) -> dict[str, Stored]:
    """`issuing-g1`, and of a shard `issuing-g1/3` -> the list."""
    return loop.run(_stored(site))


async def _stored(site: Site) -> dict[str, Stored]:
    async with site.open().state.reading() as store:
        if store is None:
            return {}
        found = {}
        for one in await store.artefacts():
            whole = await store.artefact(one.kind, one.name, one.scope)
            if one.kind == "crl" and whole and whole.der:
                name = f"{one.name}/{one.scope}" if one.scope else one.name
                found[name] = Stored(one, crl.read(whole.der, limit=10_000_000))
        return found
