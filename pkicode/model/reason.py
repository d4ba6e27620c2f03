"""Why a certificate is revoked: CRLReason (RFC 5280 section 5.3.1), its names and numbers."""

CRL_REASONS = {
    "unspecified": 0,
    "keyCompromise": 1,
    "cACompromise": 2,
    "affiliationChanged": 3,
    "superseded": 4,
    "cessationOfOperation": 5,
    "certificateHold": 6,
    "removeFromCRL": 8,
    "privilegeWithdrawn": 9,
    "aACompromise": 10,
}
"""What any list may say."""
REASONS = {word: code for word, code in CRL_REASONS.items() if word not in ("certificateHold", "removeFromCRL")}
"""What ours may: nothing here un-revokes."""
