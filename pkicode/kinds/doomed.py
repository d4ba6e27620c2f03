"""What this plan takes away, worked out before certificates are planned: which of them need another, and which keys
sign no more.  Pure; that it is taken away is revocation.py's.
"""

from collections.abc import Container, Iterable, Mapping, Sequence

from attrs import evolve, frozen

from pkicode.config.language import COMPROMISES, CaSpec, Revoke
from pkicode.config.reader import Config
from pkicode.model.address import Address, parse
from pkicode.model.change import Reason, ReasonCode
from pkicode.model.instants import NO_EXPIRY
from pkicode.model.row import Held
from pkicode.plan.kind import Outlook
from pkicode.ports import Certificate, CertificateStatus

REVOKED, BLOCKED, ORPHANED = "revoked", "key-blocked", "issuer-revoked"
"""Statuses of a cert row whose certificate was taken away; also those a revoked ca row may have."""
REASONS = {REVOKED: ReasonCode.REVOKED, BLOCKED: ReasonCode.KEY_BLOCKED, ORPHANED: ReasonCode.ISSUER_REVOKED}


@frozen
class Doomed:
    """A certificate that this plan takes away."""

    reasons: tuple[Reason, ...]
    first: bool
    """Before its replacement is made, and not after."""
    by: tuple[str, ...] = ()
    """The block that takes it away in this plan."""


def doomed(outlook: Outlook) -> Mapping[tuple[str, str], Mapping[int, Doomed]]:
    """(name, key) of a cert row -> generation -> why it needs another certificate."""
    return outlook.once("doomed", lambda: _doomed(outlook))


def _doomed(outlook: Outlook) -> Mapping[tuple[str, str], Mapping[int, Doomed]]:
    found: dict[tuple[str, str], dict[int, Doomed]] = {}

    def add(one: Certificate, reasons: tuple[Reason, ...], *, first: bool) -> None:
        address = current(one.address, outlook.config)
        told = found.setdefault((address.name, address.key), {})
        if address.kind == "cert" and (one.generation not in told or (first and not told[one.generation].first)):
            told[one.generation] = Doomed(reasons, first, (f"revoke.{entry.id}",))

    for entry in sorted(outlook.config.settings.revoke, key=lambda one: one.id):
        selected = outlook.snapshot.selected.get(entry.id)
        if selected is None:
            continue
        first = entry.reason in COMPROMISES
        why = Reason(ReasonCode.REVOKED, f"{entry.reason}, revoke.{entry.id}")
        for one in selected.below:
            add(one, (Reason(ReasonCode.ISSUER_REVOKED, f"revoke.{entry.id}"),), first=first)
        for one in selected.certificates:
            if one.status != CertificateStatus.REVOKED:
                add(one, (why, Reason(ReasonCode.KEY_BLOCKED)) if blocks_key(entry, one) else (why,), first=first)
    return found


def marked(held: Sequence[Held], revoked: Iterable[Certificate], blocked: Container[str]) -> list[Held]:
    """Rows as the inventory knows them: a certificate that was revoked beside an apply has lost its row its good name.

    Who may write rows marks them in the state; until then they are marked here, for every plan.
    """
    taken: dict[tuple[str, str, int], str] = {}
    for one in revoked:
        if one.address.startswith("cert."):
            address, _ = parse(one.address)
            taken[address.name, address.key, one.generation] = one.spki
    if not taken:
        return list(held)
    rows = []
    for row in held:
        spki = taken.get((row.name, row.key, row.generation)) if row.kind == "cert" and row.status == "ok" else None
        status = BLOCKED if spki in blocked else REVOKED
        rows.append(row if spki is None else evolve(row, status=status, due=NO_EXPIRY))
    return rows


def blocks_key(entry: Revoke, certificate: Certificate) -> bool:
    """Whether an entry puts this certificate's key on the block list: also where no CRL will tell."""
    return entry.reason in COMPROMISES or entry.spki is not None or is_unseen(certificate)


def is_unseen(certificate: Certificate) -> bool:
    """Whether it is a leaf that names no list: nobody could see its revocation."""
    return certificate.duty == "[]" and certificate.address.startswith("cert.")


def barred(outlook: Outlook) -> frozenset[str]:
    """The block list, with what this plan adds to it."""
    return outlook.once("barred", lambda: _barred(outlook))


def _barred(outlook: Outlook) -> frozenset[str]:
    found = set(outlook.snapshot.blocked)
    for entry in outlook.config.settings.revoke:
        selected = outlook.snapshot.selected.get(entry.id)
        found.update(selected.stopped if selected else ())
        found.update([entry.spki] if entry.spki else ())
        for one in selected.certificates if selected else ():
            found.update([one.spki] if blocks_key(entry, one) else ())
    return frozenset(found)


def compromised(outlook: Outlook) -> Mapping[str, str]:
    """Issuer keys that sign no more once the compromises of this plan are told, which is before anything is made.

    With the block that tells of each; "" for one that is on the block list already.
    """
    return outlook.once("compromised", lambda: _compromised(outlook))


def _compromised(outlook: Outlook) -> Mapping[str, str]:
    found = dict.fromkeys(outlook.snapshot.blocked, "")
    for entry in outlook.config.settings.revoke:
        selected = outlook.snapshot.selected.get(entry.id)
        if selected and entry.reason in COMPROMISES:
            found.update((one, f"revoke.{entry.id}") for one in selected.stopped if one not in found)
    return found


def lists_of(name: str, config: Config) -> tuple[str, ...]:
    """The lists of a CA and of those above it, and where they are published: what a compromise is told by."""
    found: list[str] = []
    issuer: str | None = name
    while issuer and f"crl.{issuer}" not in found and (block := config.block("ca", issuer)):
        spec: CaSpec = block.spec
        answers = [f"ocsp.{issuer}"] if spec.ocsp else []
        found += [f"crl.{issuer}", *answers, *(f"publish.{target}" for target in spec.publish)]
        issuer = spec.issuer
    return tuple(dict.fromkeys(found))


def current(text: str, config: Config) -> Address:
    """The address that a certificate of the inventory stands at once this plan's moves are done."""
    address, _ = parse(text)
    for move in config.settings.moved:
        if move.from_ in (str(address), address.block):
            named, _ = parse(move.to)
            key = named.key if move.from_ == str(address) else address.key
            address = Address(named.kind, named.name, key)
    return address
