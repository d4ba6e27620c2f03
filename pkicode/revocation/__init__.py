"""Revocation as signed bytes: CRLs, and OCSP answers signed ahead.  Who is revoked is in the store, when to sign again
is the plan's to say.
"""
