"""What every keystore holds to: a label keeps its algorithm for ever, and keys that live elsewhere never come here."""

from collections.abc import Callable, Mapping, Sequence

from attrs import field, frozen

from pkicode.model.problem import KeyStoreError
from pkicode.ports import KeyFacts, NewKey


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
        """Waits for an answer: call it in a thread."""
        return self._call(tbs)

    def portable(self) -> bytes | None:
        """ports.Signer.portable."""
        return None


def refuse_other_algorithms(keys: Sequence[NewKey], held: Mapping[str, KeyFacts]) -> None:
    """Raises KeyStoreError where a label is there with another algorithm."""
    for key in keys:
        if key.label in held and held[key.label].alg != key.alg:
            raise KeyStoreError(
                f"the key {key.label} is there already, as {held[key.label].alg} and not {key.alg}",
                help="a key is never replaced in place: a new generation gets a new key",
            )


def never_leaves(name: str, labels: Sequence[str]) -> KeyStoreError:
    """What is raised when somebody asks for a private key that lives elsewhere."""
    return KeyStoreError(
        f"the private key of {', '.join(labels) or 'nobody'} never leaves [keystore.{name}]",
        help="export without the key; what needs the key in a file keeps it in a keystore of type file",
    )


def not_there(name: str, label: str) -> KeyStoreError:
    """What is raised where a key is needed that is not there."""
    return KeyStoreError(
        f"[keystore.{name}] holds no key {label}",
        help="check that it is the right keystore; a key cannot be made again",
    )
