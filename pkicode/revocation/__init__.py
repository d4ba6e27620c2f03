"""Revocation as signed bytes: CRLs.  Who is revoked is in the store; when to sign again is the plan's to say."""
