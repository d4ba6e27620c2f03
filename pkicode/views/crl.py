"""A CRL, and what is to be thought of it, for people and as JSON.  Every name in it is a stranger's."""

from collections.abc import Iterator

from attrs import evolve

from pkicode.model.instants import rfc3339
from pkicode.revocation.check import Shown, Verdict
from pkicode.revocation.crl import Entry
from pkicode.views.table import listing, table
from pkicode.views.text import printable

FEW = 20
"""Entries that people get to see unless they ask for all."""


def document(shown: Shown) -> dict[str, object]:
    """`pkicode.crl`, version 1.0."""
    return {
        "format": "pkicode.crl",
        "version": "1.0",
        "issuer": shown.issuer,
        "number": shown.number,
        "this_update": rfc3339(shown.this_update),
        "next_update": rfc3339(shown.next_update) if shown.next_update is not None else None,
        "aki": shown.aki,
        "signature_algorithm": shown.signature,
        "distribution_point": list(shown.urls),
        "limits": list(shown.scope),
        "unknown_critical": list(shown.unknown),
        "sha256": f"sha256:{shown.sha256}",
        "count": len(shown.entries),
        "entries": [entry(one) for one in shown.entries],
    }


def entry(one: Entry) -> dict[str, object]:
    """One revoked serial."""
    return {
        "serial_number": f"{one.serial:x}",
        "revoked_at": rfc3339(one.revoked_at),
        "reason": one.reason or "unspecified",
        "invalidity": rfc3339(one.invalidity) if one.invalidity is not None else None,
    }


def judged(shown: Shown, verdict: Verdict) -> dict[str, object]:
    """`pkicode.crl-check`, version 1.0: what `document` says without its entries, and the verdict."""
    told = {key: value for key, value in document(evolve(shown, entries=())).items() if key != "entries"}
    return {
        **told,
        "format": "pkicode.crl-check",
        "count": len(shown.entries),
        "findings": list(verdict.findings),
        "notes": list(verdict.notes),
        "status": verdict.status or None,
        "entry": entry(verdict.entry) if verdict.entry else None,
    }


def human(shown: Shown, *, full: bool) -> str:
    """Facts, then entries: all, or the first few and how many more there are."""
    listed = shown.entries if full else shown.entries[:FEW]
    rows = [[str(value or "") for value in entry(one).values()] for one in listed]
    text = listing(_facts(shown))
    if rows:
        text += "\n" + table(("SERIAL", "REVOKED", "REASON", "COMPROMISED"), rows)
    if len(listed) < len(shown.entries):
        text += f"... and {len(shown.entries) - len(listed):,} more (--full lists all)\n"
    return text


def verdict_human(shown: Shown, verdict: Verdict) -> str:
    """Facts, what is wrong, and what the list says of the certificate asked about."""
    lines = [f"x {printable(one)}" for one in verdict.findings] + [f"~ {printable(one)}" for one in verdict.notes]
    if not verdict.findings:
        lines.append("The list is signed by this CA and in force.")
    if verdict.entry:
        said = entry(verdict.entry)
        lines.append(f"revoked: {said['serial_number']} since {said['revoked_at']}, {printable(str(said['reason']))}")
    elif verdict.status == "good":
        lines.append("good: the certificate is not on it")
    elif verdict.status:
        lines.append("unknown: the certificate is not on it, but the list may not be relied on")
    return listing(_facts(shown)) + "\n" + "".join(f"{line}\n" for line in lines)


def _facts(shown: Shown) -> Iterator[tuple[str, str]]:
    yield "issuer", shown.issuer
    yield "number", "none" if shown.number is None else str(shown.number)
    yield "this update", rfc3339(shown.this_update)
    yield "next update", "none" if shown.next_update is None else rfc3339(shown.next_update)
    yield "key", shown.aki or "none"
    yield from (("shard", url) for url in shown.urls)
    yield from (("limit", limit) for limit in shown.scope)
    yield from (("unknown", oid) for oid in shown.unknown)
    yield "entries", f"{len(shown.entries):,}"
    yield "sha256", shown.sha256
