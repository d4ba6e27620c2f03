"""Reasons and addresses in sentences.  Mistakes in pki.toml have their own pages, in config/codes.py."""

from collections.abc import Sequence

from pkicode.model.change import ReasonCode
from pkicode.views.text import printable

REASONS = {
    ReasonCode.NEW: "pki.toml declares it and the state has never held it, or somebody forgot it.",
    ReasonCode.DUE: "Its renewal instant has come: `renew.at`, pulled earlier by `renew.jitter`.",
    ReasonCode.SPEC_CHANGED: "A field that stands in the certificate, or one we only remember, differs from pki.toml.",
    ReasonCode.KEY_CHANGED: "The certificate request now holds another public key.",
    ReasonCode.REVOKED: "Its certificate was revoked and pki.toml still asks for one.",
    ReasonCode.KEY_BLOCKED: "Its public key was reported compromised; no certificate will ever be issued for that key.",
    ReasonCode.ISSUER_RETIRED: "Its issuer's key generation ends before it does, or signs no more.",
    ReasonCode.ISSUER_REVOKED: "Its issuer was revoked or is no longer trusted: relying parties refuse it already.",
    ReasonCode.CA_ROTATE: "The authority is due for its next key, or changed: a generation is made beside the old one.",
    ReasonCode.CRL_DUE: "The newest CRL is older than `crl.refresh`; relying parties refuse it after its next_update.",
    ReasonCode.CRL_CONTENT: "Certificates were revoked since the newest CRL was signed, or there is no CRL yet.",
    ReasonCode.OCSP_DUE: "Its OCSP answers are due for a refresh.",
    ReasonCode.OCSP_MISSING: "An unexpired certificate has no OCSP answer yet.",
    ReasonCode.PUBLISH_MISSING: "A file that certificates point to was not published yet, or in an older version.",
    ReasonCode.DRIFT_SERVED: "The endpoint serves another certificate than the state holds.",
    ReasonCode.DRIFT_PUBLISHED: "What is published differs from what we published.",
    ReasonCode.REMOVED: "pki.toml no longer declares it; the remembered `on_remove` says what that means.",
    ReasonCode.IMPORTED: "It was made elsewhere and is taken over as it is.",
    ReasonCode.ADOPTED: "An older state was put back, and only the issuance journal knew of it: `pkicode state adopt`.",
}
"""Every reason of a plan, for `pkicode explain CODE` and docs/reference/reasons.md."""


def reason(code: ReasonCode) -> str:
    """One reason code as a paragraph."""
    return f"{code}: {REASONS[code]}\n"


def explanation(
    *, address: str, generation: int, status: str, lines: Sequence[str], source: tuple[str, int] | None
) -> str:
    """Why an address is as it is: what state holds, the rules that applied, and the line that asks for it."""
    held = f"generation {generation}, {status}" if generation else status
    gone = "   not declared any more" if generation else "   not declared"
    declared = f"   declared at {source[0]}:{source[1]}" if source else gone
    return "\n".join([printable(f"{address}: {held}{declared}"), *(f"  {printable(line)}" for line in lines)]) + "\n"
