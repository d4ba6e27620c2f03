"""Named fault points: the instants between two durable effects at which a crash must lose and double nothing.

Code calls `reach(FaultPoint.X)`; in production that does nothing, in tests it stops the process there
(docs/explanation/issuance-cycle.md says which invariant each one guards).
"""

from collections.abc import Callable
from enum import StrEnum


class FaultPoint(StrEnum):
    KEYS_MADE = "keys-made"
    """Keys are durable in the keystore; no intent names them yet."""
    INTENTS_STORED = "intents-stored"
    """Intents are durable; nothing is signed."""
    SIGNED = "signed"
    """Signatures exist in memory only."""
    JOURNALLED = "journalled"
    """Certificates are fsynced in the journal; the store still says intent."""
    ISSUED = "issued"
    """Certificates and resource rows are committed."""
    REVOKED = "revoked"
    """Revocations are committed; no CRL says so yet."""
    ENTRY_STAGED = "entry-staged"
    """What `pkicode revoke` revoked is published, and the new pki.toml is complete beside the old one."""
    LISTS_LEASED = "lists-leased"
    """A publish lease is held; nothing of the lists it guards was read."""
    CRL_SIGNED = "crl-signed"
    """The CRL exists in memory only."""
    CRL_STORED = "crl-stored"
    """The CRL is committed; the published one is still the old."""
    OCSP_SIGNED = "ocsp-signed"
    """Answers and their pack exist in memory only."""
    OCSP_STORED = "ocsp-stored"
    """The pack is committed; the published one is still the old."""
    PUBLISH_STAGED = "publish-staged"
    """The temporary file is written and fsynced, not yet renamed."""
    PUBLISHED = "published"
    """Files are in place; the store does not know yet."""
    OUTPUT_STAGED = "output-staged"
    """`.gen/N` is complete; the link still points at the old pair."""
    OUTPUT_SWITCHED = "output-switched"
    """The link points at the new pair; the hook has not run."""
    HOOK_RUN = "hook-run"
    """The deploy hook succeeded; the store does not know yet."""
    ARCHIVE_STAGED = "archive-staged"
    """The archive is written and fsynced, not yet under its name."""
    ARCHIVED = "archived"
    """The archive is in place and was read back; all it holds is still in the inventory."""
    PRUNED = "pruned"
    """What the archive holds has left the inventory; the next archive is not begun."""

    KEYS_CONDEMNED = "keys-condemned"
    """The audit says which keys are to be destroyed; they are still there."""


Reach = Callable[[FaultPoint], None]


def nothing(point: FaultPoint) -> None:
    """The production `Reach`."""
