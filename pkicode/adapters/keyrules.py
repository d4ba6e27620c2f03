"""What every keystore holds to: a label keeps its algorithm for ever, and keys that live elsewhere never come here."""

from collections.abc import Callable, Mapping, Sequence

from attrs import field, frozen

from pkicode.model.problem import KeyStoreError
from pkicode.ports import KeyFacts, NewKey, Signer
from pkicode.x509 import keys

_PROBE = b"pkicode keystore verify: neither a certificate nor a list"
"""No DER begins with a `p`: it is the TBS of nothing."""


@frozen
class OutsideSigner:
    """A Signer (ports.py) whose private key is on a token, or with a command."""

    facts: KeyFacts
    _call: Callable[[bytes], bytes] = field(repr=False)

    @property
    def deterministic(self) -> bool:
        """RSASSA-PKCS1-v1_5 (RFC 8017) and EdDSA (RFC 8032) are; who draws ECDSA's nonce out there is not known."""
        return not self.facts.alg.startswith("ec-")

    def sign(self, tbs: bytes) -> bytes:
        """ports.Signer.sign, verified; waits for an answer: call it in a thread."""
        signature = self._call(tbs)
        try:
            keys.verify(self.facts.spki, self.facts.alg, tbs, signature)
        except keys.SignatureError as error:
            raise KeyStoreError(
                f"what was signed with the key {self.facts.label} does not verify with its public key",
                help="`pkicode keystore verify` tries every key; nothing was given out",
            ) from error
        return signature

    def portable(self) -> bytes | None:
        """ports.Signer.portable."""
        return None


def proved(signer: Signer) -> None:
    """Let a key sign something worthless.

    Raises:
        KeyStoreError: it does not, or as another key.
    """
    signer.sign(_PROBE)


def refuse_other_algorithms(wanted: Sequence[NewKey], held: Mapping[str, KeyFacts]) -> None:
    """Raises KeyStoreError where a label is there with another algorithm."""
    for key in wanted:
        if key.label in held and held[key.label].alg != key.alg:
            raise KeyStoreError(
                f"the key {key.label} is there already, as {held[key.label].alg} and not {key.alg}",
                help="a key is never replaced in place: a new generation gets a new key",
            )


def never_leaves(name: str, labels: Sequence[str]) -> KeyStoreError:
    """What is raised when somebody asks for a private key that lives elsewhere."""
    return KeyStoreError(
        f"the private key of {', '.join(labels) or 'nobody'} never leaves {name}",
        help="export without the key; what needs the key in a file keeps it in a keystore of type file",
    )


def not_there(name: str, label: str) -> KeyStoreError:
    """What is raised where a key is needed that is not there."""
    return KeyStoreError(
        f"{name} holds no key {label}",
        help="check that it is the right keystore; a key cannot be made again",
    )
