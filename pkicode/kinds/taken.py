"""Whose a published file is.  Two states that publish to one place would take each other's CRLs away from clients.

True: by a key of ours.  False: another's, and clients rely on it.  None: nothing that anybody relies on.  Who reads the
files, and what follows, is publication's.
"""

from collections.abc import Container

from cryptography import x509

from pkicode.kinds.authority import Authority
from pkicode.kinds.crl_lists import LIMIT
from pkicode.model.instants import from_datetime
from pkicode.revocation import crl, pack
from pkicode.x509 import pem
from pkicode.x509.keys import SignatureError
from pkicode.x509.tbs import facts_of


def is_our_list(data: bytes, issuer: Authority, now: int) -> bool | None:
    """Of a CRL at the place of this CA's."""
    try:
        ends = crl.read(data, limit=LIMIT).next_update
    except (ValueError, TypeError):
        return None
    try:
        crl.verify(data, issuer.facts)
    except (ValueError, SignatureError):
        return False if ends > now else None
    return True


def are_our_cas(path: str, data: bytes, mine: Container[bytes], now: int) -> bool | None:
    """Of certificates, DER or PEM, or of a pack of OCSP answers, which has its CA's in it.

    Args:
        mine: SubjectPublicKeyInfo of every CA that the state knows, however old.
    """
    try:
        found = pem.decode(data, "CERTIFICATE") if path.endswith(".pem") else [data]
        if path.endswith(".pack"):
            found = [pack.read(data).maker.ca]
        ends = [from_datetime(x509.load_der_x509_certificate(one).not_valid_after_utc) for one in found]
        spkis = [facts_of(one).spki for one in found]
    except (ValueError, TypeError):
        return None
    if any(one in mine for one in spkis):
        return True
    return False if max(ends) > now else None
