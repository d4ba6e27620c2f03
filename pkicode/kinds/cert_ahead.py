"""What becomes of leaf certificates as time goes by: when they are due again, until when they are valid, who signs.

For plans (the next due instant) and forecasts; pure.
"""

from collections.abc import Callable, Iterator

from pkicode.config.language import CertSpec, Rekey
from pkicode.kinds import authority as authorities
from pkicode.kinds.leaf import drawn, due_of, life_of, seed_of
from pkicode.model.address import Address
from pkicode.model.change import Action, Change
from pkicode.model.instants import NO_EXPIRY, duration, renewal_window, rfc3339
from pkicode.model.problem import Problem
from pkicode.model.row import Block, Held
from pkicode.plan.kind import Ahead, Outlook
from pkicode.ports import Ends


def foresee(change: Change, outlook: Outlook) -> int:
    block, held = change.block, change.held
    if block is None:
        return NO_EXPIRY
    spec: CertSpec = block.spec
    seed = seed_of(outlook.config.settings.project.name, change.address, change.generation)
    if change.action in (Action.ISSUE, Action.RENEW):
        not_before = _not_before(spec, outlook)
        return due_of(spec.renew, not_before=not_before, not_after=not_before + spec.validity - 1, seed=seed)
    if held is None:
        return NO_EXPIRY
    life = life_of(held, outlook.snapshot.templates[held.template], outlook.config.settings.project.name)
    due = due_of(spec.renew, not_before=life.not_before, not_after=life.not_after, seed=seed)
    return max(due, outlook.now + 1)


def _not_before(spec: CertSpec, outlook: Outlook) -> int:
    """Of a certificate issued now: never before its issuer's."""
    issuer = authorities.issuing(spec.issuer, outlook)
    return max(outlook.now - spec.backdate, issuer.not_before if issuer else 0)


def again(block: Block, outlook: Outlook) -> Callable[[str, int], int] | None:
    spec: CertSpec = block.spec
    issuer = authorities.issuing(spec.issuer, outlook)
    deny = outlook.config.settings.policy.deny
    differs = deny.wildcard or (
        spec.csr and (spec.renew.rekey is Rekey.REQUIRE or deny.rsa_bits_below or deny.key_algs)
    )
    if issuer is None or differs or last_issuance(spec, issuer) < outlook.now:
        return None
    project, not_before = outlook.config.settings.project.name, _not_before(spec, outlook)
    declared, width = renewal_window(spec.renew.at, spec.renew.jitter, spec.validity)

    def due_after(key: str, generation: int) -> int:
        seed = seed_of(project, Address("cert", block.name, key), generation)
        return not_before + declared - drawn(width, seed)

    return due_after


def last_issuance(spec: CertSpec, issuer: authorities.Standing) -> int:
    """The last instant at which a certificate can be issued that does not outlive its issuer."""
    return issuer.not_after + 1 + spec.backdate - spec.validity


def outlives(block: Block, issuer: authorities.Standing, outlook: Outlook) -> str:
    """What has to be waited for before a certificate may be issued that its issuer outlives; empty: nothing.

    Nobody knows of anything to wait for: it is told as an error.
    """
    spec: CertSpec = block.spec
    if outlook.now <= last_issuance(spec, issuer):
        return ""
    if found := authorities.follower(issuer, outlook):
        following, since, waits = found
        if since <= last_issuance(spec, following):
            return f"it would outlive {issuer.at}, which ends {rfc3339(issuer.not_after)}; {following.at}: {waits}"
    outlook.problems.append(
        Problem(
            "E0415",
            f"cert.{block.name} would outlive its issuer",
            place=block.source.place("validity"),
            label=f"{duration(spec.validity)} from now is after ca.{issuer.name}: {rfc3339(issuer.not_after)}",
            help="set a shorter validity, or give the profile an issuer that lives longer",
            address=f"cert.{block.name}",
        )
    )
    return ""


def ends(held: Held, outlook: Outlook) -> int:
    template = outlook.snapshot.templates[held.template]
    return life_of(held, template, outlook.config.settings.project.name).not_after


def ahead(block: Block, outlook: Outlook) -> Iterator[Ahead]:
    issuer = authorities.issuing(block.spec.issuer, outlook)
    if issuer:
        at = last_issuance(block.spec, issuer) + 1
        detail = f"{issuer.at} ends {rfc3339(issuer.not_after)}"
        yield Ahead(at, "outlive", detail)


def signs(change: Change, outlook: Outlook) -> Iterator[tuple[tuple[str, int], Ends]]:
    if change.action not in (Action.ISSUE, Action.RENEW) or change.block is None:
        return
    spec: CertSpec = change.block.spec
    if issuer := authorities.issuing(spec.issuer, outlook):
        last = _not_before(spec, outlook) + spec.validity - 1
        yield (issuer.name, issuer.generation), Ends(last, last)
