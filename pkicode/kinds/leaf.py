"""What a leaf certificate is made from: its filled spec, its profile, whether it keeps its key, when it is renewed."""

import hashlib
import json
from functools import lru_cache
from typing import Any

from attrs import frozen

from pkicode.config.language import CertSpec, Rekey, Renew
from pkicode.config.reader import Config
from pkicode.config.rows import filler
from pkicode.kinds.authority import crl_urls, issuer_urls
from pkicode.model.address import Address, parse
from pkicode.model.change import Reason, ReasonCode
from pkicode.model.instants import NO_EXPIRY, renewal_window
from pkicode.model.problem import Problem
from pkicode.model.row import Block, Held, Row
from pkicode.x509.profile import Profile


def profile_of(spec: CertSpec, stem: str) -> Profile:
    """What a certificate of this spec says besides its names (RFC 5280 section 4.2)."""
    revocable = spec.revocation == "crl"
    return Profile(
        is_ca=False,
        path_len=None,
        usage=spec.usage,
        eku=spec.eku,
        policies=spec.policies,
        constraints=None,
        must_staple=spec.must_staple,
        ocsp_nocheck=spec.ocsp_nocheck,
        no_rev_avail=not revocable,
        crl_urls=crl_urls(spec.base_urls, stem) if revocable else (),
        ca_issuer_urls=issuer_urls(spec.base_urls, stem),
        ocsp_urls=spec.ocsp_urls if revocable else (),
    )


def filled(block: Block, row: Row, memo: dict[Any, Any]) -> CertSpec:
    """The spec of one row; the filler of a block is made once per plan or run."""
    fill = memo.get(("filler", block.template_id))
    if fill is None:
        fill = memo["filler", block.template_id] = filler(block)
    spec: CertSpec = fill(row)
    return spec


def keeps_key(spec: CertSpec, held: Held | None, reason: Reason) -> bool:
    """Renewal instead of re-key (RFC 3647 section 4.6); never for a key somebody else may have."""
    compromised = reason.code in (ReasonCode.REVOKED, ReasonCode.KEY_BLOCKED)
    return held is not None and not held.is_forgotten and spec.renew.rekey is Rekey.NO and not compromised


def key_again(block: Block) -> Problem:
    """That a request which was used already is used again, where a new key is asked for at each renewal."""
    return Problem(
        "W0416",
        f"cert.{block.name} is renewed with a request that was used already: the key stays the same",
        help='hand in a new request before each renewal; `renew = { rekey = "require" }` waits for it, and'
        " `rekey = false` says that the key may stay",
        place=block.source.place("csr"),
        address=f"cert.{block.name}",
    )


def owns(label: str, address: Address, config: Config) -> bool:
    """Whether a key label found in a record may belong to this address.

    Whoever can write the database could name any key there, even a CA's, and have it written to an output.  A label is
    `ADDRESS@N` of the address itself, or of one that it was moved from.
    """
    try:
        made_for, _ = parse(label)
    except ValueError:
        return False
    if made_for == address:
        return True
    if made_for.kind != "cert":
        return False
    moves = [(one.from_, one.to) for one in config.settings.moved]
    moved = (str(made_for), str(address)) in moves or (made_for.block, address.block) in moves
    return moved or config.block("cert", made_for.name) is None


def due_of(renew: Renew, *, not_before: int, not_after: int, seed: str) -> int:
    """When a certificate is renewed: the declared instant less a jitter that is the same at every plan.

    Jitter is a share of the validity and only pulls earlier, never before half of the time to the declared instant.
    """
    declared, width = renewal_window(renew.at, renew.jitter, not_after + 1 - not_before)
    return not_before + declared - drawn(width, seed)


def drawn(width: int, seed: str) -> int:
    """What jitter takes of `width` seconds."""
    return int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big") * width // 2**64


def seed_of(project: str, address: Address, generation: int) -> str:
    """What the jitter of one certificate is drawn from."""
    return f"{project}\0{address}\0{generation}"


@frozen
class Life:
    """The dates of a certificate, worked out from what state remembers of its row without its record."""

    not_before: int
    not_after: int
    declared: int
    """The instant that renewal was declared for, which jitter only pulls earlier."""
    earliest: int
    """The first instant that jitter can give."""


def life_of(held: Held, template: str, project: str) -> Life:
    """From the due instant back to the issuance it was counted from.

    It is off where `renew` was changed so late that the new instant had passed already: the row is due at once then.
    """
    at, jitter, validity = _renewal(template)
    declared, width = renewal_window(at, jitter, validity)
    not_before = held.due - declared + drawn(width, seed_of(project, held.address, held.generation))
    until = not_before + declared
    return Life(not_before, not_before + validity - 1, until, until - width)


def due_elsewhere(held: Held, address: Address, template: str, project: str) -> int:
    """When a row that is given another address is due there: jitter is drawn from the address, the dates stay."""
    if held.due == NO_EXPIRY:
        return held.due
    _, width = renewal_window(*_renewal(template))
    here, there = (drawn(width, seed_of(project, one, held.generation)) for one in (held.address, address))
    return held.due + here - there


@lru_cache(maxsize=256)
def _renewal(template: str) -> tuple[str, str, int]:
    spec = json.loads(template)["spec"]
    return spec["renew"]["at"], spec["renew"]["jitter"], spec["validity"]
