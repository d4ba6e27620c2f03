"""Pre-signing: batches of OCSP answers, as a pure function that a worker process may run.

A good answer is signed only for a certificate that the CA's own key verifies: whoever can write the database can name
any serial, and must not have it vouched for.
"""

from collections.abc import Callable, Sequence

from attrs import frozen
from cryptography import x509

from pkicode.revocation.ocsp_response import GOOD, Standing
from pkicode.revocation.pack import Maker, Record, packed, slot_of
from pkicode.x509 import keys

Sign = Callable[[bytes], bytes]


@frozen
class Due:
    """One answer to sign."""

    serial: int
    standing: Standing
    certificate: bytes | None
    """None is enough where it is revoked."""


def presign(maker: Maker, pkcs8: bytes, batch: Sequence[Due], this_update: int, next_update: int) -> list[bytes | None]:
    """Packed records; None for what the CA did not issue."""
    key = keys.load_signing(pkcs8)
    return presigned(maker, lambda tbs: keys.sign(key, tbs), batch, this_update, next_update)


def presigned(maker: Maker, sign: Sign, batch: Sequence[Due], this_update: int, next_update: int) -> list[bytes | None]:
    """As `presign`, with a key that cannot leave its token.

    Raises:
        SignatureError: the key is not the delegate's.
    """
    form, issuer, spki = maker.form, maker.issuer, maker.spki
    alg, slot = keys.alg_of_spki(spki), slot_of(spki)
    made: list[bytes | None] = []
    verified = False
    for due in batch:
        if due.standing == GOOD and not _is_issued(due, issuer.spki, issuer.alg):
            made.append(None)
            continue
        signatures = []
        for algorithm in ("sha1", "sha256"):
            tbs = form.tbs(algorithm, due.serial, due.standing, this_update=this_update, next_update=next_update)
            signatures.append(sign(tbs))
            if not verified:
                # One of a batch: a wrong key would be wrong in all of them, and clients check each.
                keys.verify(spki, alg, tbs, signatures[0])
                verified = True
        record = Record(due.serial, this_update, next_update, due.standing, (signatures[0], signatures[1]))
        made.append(packed(record, slot))
    return made


def _is_issued(due: Due, spki: bytes, alg: str) -> bool:
    try:
        loaded = x509.load_der_x509_certificate(due.certificate or b"")
        keys.verify(spki, alg, loaded.tbs_certificate_bytes, loaded.signature)
    except (ValueError, keys.SignatureError):
        return False
    return loaded.serial_number == due.serial
