"""Approvals: one approver's signature over the name of one plan.  Which keys count, and for what, is decided elsewhere.

What is signed is canonical JSON, which begins with a brace: no TBS, which is DER, can ever be taken for it.
"""

import binascii
import json
from collections.abc import Mapping
from typing import Any

from attrs import frozen
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from pkicode.model.instants import parse_instant, rfc3339
from pkicode.model.problem import PkicodeError
from pkicode.plan.planfile import canonical
from pkicode.x509 import keys

FORMAT, VERSION = "pkicode.approval", "1.0"
LIMIT = 64 * 1024
"""The largest approval that is read; one by ML-DSA-87 is 7 kB."""

_TEXTS = ("format", "version", "plan_id", "approver", "approved_at", "expires_at", "signature")


class ApprovalError(PkicodeError):
    """An approval that is none."""


@frozen
class Approval:
    """Who approved which plan, and until when."""

    plan_id: str
    approver: str
    approved_at: int
    expires_at: int
    signature: bytes

    def told(self) -> dict[str, str]:
        """Everything that is signed."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "plan_id": self.plan_id,
            "approver": self.approver,
            "approved_at": rfc3339(self.approved_at),
            "expires_at": rfc3339(self.expires_at),
        }

    def encode(self) -> bytes:
        """The approval's file."""
        signature = binascii.b2a_base64(self.signature, newline=False).decode()
        return canonical({**self.told(), "signature": signature}) + b"\n"


def private_key(pem: bytes, passphrase: bytes | None) -> keys.SigningKey:
    """An approver's own key, PKCS #8 in PEM.

    Raises:
        ApprovalError: it does not open, or signs nothing.  Never shows the bytes.
    """
    try:
        key = load_pem_private_key(pem, passphrase)
        keys.alg_of_spki(keys.spki(key))  # type: ignore[arg-type]
    except (ValueError, TypeError, AttributeError) as error:
        what = "it is enciphered, and no passphrase was given" if isinstance(error, TypeError) else "it does not open"
        # The cause may be about the key.
        raise ApprovalError(f"the private key: {what}", help="a key in PEM, and its passphrase if it has one") from None
    if not isinstance(key, keys.SigningKey):
        raise ApprovalError("the private key is of a sort that signs nothing", help="use ed25519 or ec-p256")
    return key


def approve(plan_id: str, approver: str, key: keys.SigningKey, *, at: int, expires: int) -> Approval:
    """A new approval, verified once."""
    bare = Approval(plan_id, approver, at, expires, b"")
    text = canonical(bare.told())
    made = Approval(plan_id, approver, at, expires, keys.sign(key, text))
    verify(made, keys.spki(key))
    return made


def decode(data: bytes) -> Approval:
    """Read an approval's file; whose signature it is, `verify` says.

    Raises:
        ApprovalError: it is none, or of another major version.
    """
    try:
        told: Mapping[str, Any] = json.loads(data[: LIMIT + 1]) if len(data) <= LIMIT else {}
        texts = [str(told[name]) if isinstance(told[name], str) else "" for name in _TEXTS]
        form, version, plan_id, approver, approved_at, expires_at, signature = texts
        found = Approval(
            plan_id,
            approver,
            parse_instant(approved_at, now=0),
            parse_instant(expires_at, now=0),
            binascii.a2b_base64(signature, strict_mode=True),
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _none() from error
    # Everything that is not signed was made up by somebody.
    if form != FORMAT or version != VERSION or found.encode().strip() != data.strip():
        raise _none()
    return found


def _none() -> ApprovalError:
    return ApprovalError("this is not an approval, or was altered", help="`pkicode approve PLAN --key KEY` makes one")


def verify(approval: Approval, spki: bytes) -> None:
    """Whether this key signed it.

    Raises:
        ApprovalError: it did not, or is of a sort that is refused.
    """
    try:
        keys.verify(spki, keys.alg_of_spki(spki), canonical(approval.told()), approval.signature)
    except (keys.SignatureError, ValueError) as error:
        raise ApprovalError(
            f"the key of [approver.{approval.approver}] did not sign this approval: it was forged or altered",
            help="ask the approver for another one; do not apply",
        ) from error
