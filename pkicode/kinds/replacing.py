"""Whether a certificate that is to be revoked has a replacement: in place, in this plan, or waited for."""

from attrs import frozen

from pkicode.kinds import authority as authorities
from pkicode.kinds.doomed import current
from pkicode.model.address import Address
from pkicode.model.change import Action, Change, Readiness, ReasonCode
from pkicode.model.row import Held
from pkicode.plan.kind import Outlook
from pkicode.ports import Certificate

_MAKES = (Action.ISSUE, Action.RENEW)
_TAKES = (Action.FORGET, Action.REVOKE)


@frozen
class Replacement:
    """None of the three: nobody asks for one."""

    is_in_place: bool = False
    is_planned: bool = False
    waits: str = ""
    """What it is held back by."""

    @property
    def is_coming(self) -> bool:
        return self.is_in_place or self.is_planned


def replacement(certificate: Certificate, outlook: Outlook) -> Replacement:
    """What replaces a leaf certificate, judged after certificates were planned."""
    address = current(certificate.address, outlook.config)
    block = outlook.config.block("cert", address.name)
    if block is None or not block.spec.reissue:
        return Replacement()
    held = _held(outlook).get(("cert", address.name, address.key))
    planned = _planned(address.name, outlook).get(address.key)
    if planned and planned[0] in _TAKES:
        return Replacement()
    if planned and planned[0] in _MAKES:
        return Replacement(is_planned=not planned[1], waits=planned[1])
    if held is None or held.is_forgotten:
        return Replacement()
    if held.status != "ok" or held.generation <= certificate.generation:
        return Replacement(waits=f"{address} has none")
    if block.spec.output and not _handed_out(address, held, outlook):
        return Replacement(is_planned=True)
    return Replacement(is_in_place=True)


def _handed_out(address: Address, held: Held, outlook: Outlook) -> bool:
    """Whether files and hook of the newest certificate are done."""
    output = _held(outlook).get(("output", address.name, address.key))
    at = address.at(held.generation)
    # Of files whose chain holds a cross-certificate the row says that, too (output.needs).
    return (
        output is not None and output.status == "ok" and (output.needs == at or output.needs.startswith(f"{at} via "))
    )


def _held(outlook: Outlook) -> dict[tuple[str, str, str], Held]:
    held = outlook.snapshot.held
    return outlook.once(
        "held", lambda: {(one.kind, one.name, one.key): one for one in held if one.kind in ("cert", "output")}
    )


def _planned(name: str, outlook: Outlook) -> dict[str, tuple[Action, str]]:
    """Key -> what the plan does to the certificate, and what that is held back by."""
    return outlook.once(
        ("planned", name),
        lambda: {
            one.address.key: (one.action, _held_back(one, outlook))
            for one in outlook.planned("cert", name)
            if one.action in (*_MAKES, *_TAKES)
        },
    )


def _held_back(change: Change, outlook: Outlook) -> str:
    """A renewal by the CA that is to be replaced replaces nothing."""
    if change.readiness is not Readiness.READY:
        return change.waits
    orphaned = change.block is not None and any(one.code is ReasonCode.ISSUER_REVOKED for one in change.reasons)
    ca = authorities.stopped(change.block.spec.issuer, outlook) if orphaned and change.block else ""
    return f"until {ca} is replaced, it signs what falls due" if ca else ""
