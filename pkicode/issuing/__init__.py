"""THE issuance cycle: prepare, lint, intent, sign, verify, journal, commit (docs/explanation/issuance-cycle.md).

Everything that ever issues calls `issue`: roots, intermediates, leaves, requests; apply today, an API later.  What to
issue, and what a resource remembers of it, is the caller's.  What a crash left open is resumption.py's.
"""

from collections.abc import Sequence

from pkicode.issuing import steps
from pkicode.issuing.batch import Issued, Issuer, Order, Ready, Settle, Template, issuer_of
from pkicode.issuing.resumption import Remade, resume, waiting
from pkicode.model.problem import Problem, StateError
from pkicode.ports import Signer, World
from pkicode.x509.tbs import IssuerFacts

__all__ = ["Issued", "Issuer", "Order", "Remade", "Settle", "Template", "issue", "reserve", "resume", "waiting"]

_DRAWS = 4
"""How often a batch draws its serials: 159 random bits never clash twice."""


async def issue(
    template: Template, orders: Sequence[Order], world: World, *, settle: Settle
) -> Sequence[Issued | Problem]:
    """Issue a batch; a bad order is a Problem in its slot and stops nothing else.

    Two commits: the intents with their exact TBS; then certificates and resource rows together.  What is Issued is
    durable in keystore, journal and store.

    Args:
        template: common to all of `orders`.
        orders: a few hundred at most: they are one transaction.
        world: what may be touched.
        settle: called once, with all that was signed.

    Raises:
        PkicodeError: the issuer's key does not sign what its certificate verifies; the intents are `unknown`.
        LeaseLost: somebody else took over; nothing was signed since.
        StateError: the store failed; `resume` settles what is open.
    """
    prepared, issuer, signer, reserved = await _reserved(template, orders, world)
    if signer is None or issuer is None:
        return [one for one in prepared if isinstance(one, Problem)]
    signed = await steps.certificates(template, issuer, signer, reserved, world)
    issued = iter(await steps.settle(reserved, signed, settle, world))
    return [one if isinstance(one, Problem) else next(issued) for one in prepared]


async def reserve(template: Template, orders: Sequence[Order], world: World) -> Sequence[Problem | None]:
    """The first half of `issue`, where the key is offline: what is None has its intent, and waits for a ceremony.

    The second half is `resume`'s, once the certificate is in the journal.

    Args, Raises: as `issue`.
    """
    if not template.offline:
        raise ValueError("a key that is at hand signs at once")
    prepared, *_ = await _reserved(template, orders, world)
    return [one if isinstance(one, Problem) else None for one in prepared]


async def _reserved(
    template: Template, orders: Sequence[Order], world: World
) -> tuple[list[Ready | Problem], IssuerFacts | None, Signer | None, list[steps.Reserved]]:
    """Each order as prepared; who signs, with which key if it is at hand, and the durable intents; None for nobody."""
    if template.issuer.facts is None and len(orders) != 1:
        raise ValueError("a self-signed template is for one order")
    for _ in range(_DRAWS):
        prepared = await steps.prepared(template, orders, world)
        pairs = [(order, one) for order, one in zip(orders, prepared, strict=True) if isinstance(one, Ready)]
        if not pairs:
            return prepared, None, None, []
        issuer = issuer_of(template, pairs[0][0].subject, pairs[0][1].spki)
        # Before the intents: a keystore that does not open leaves nothing to settle.
        signer = None if template.offline else await steps.signer(template, issuer, world)
        reserved = steps.intents(template, issuer, pairs, world)
        if await steps.reserve(reserved, world):
            return prepared, issuer, signer, reserved
    raise StateError("every serial number drawn is taken", help="the machine's source of randomness is broken")
