"""Cards: the public half of a key that is on another machine, in a request that it signed itself (PKCS #10, RFC 2986).

Making the key, and putting cards into a folder, is done elsewhere.
"""

from pathlib import Path

from pkicode.config.csr import CsrFiles
from pkicode.model.problem import KeyStoreError
from pkicode.ports import KeyFacts
from pkicode.x509 import der, keys, names, pem
from pkicode.x509.request import csr

SUFFIX = ".csr"
_PEM = "CERTIFICATE REQUEST"


def unsigned(facts: KeyFacts) -> bytes:
    """What the key signs to prove that somebody has it: a CertificationRequestInfo whose subject is the label."""
    subject = names.subject_der((("cn", facts.label),))
    return der.tlv(der.SEQUENCE, der.integer(0), subject, facts.spki, der.tlv(0xA0))


def made(facts: KeyFacts, signature: bytes) -> bytes:
    """The card, PEM."""
    algorithm = keys.signature_algorithm(facts.alg)
    return pem.encode(_PEM, der.tlv(der.SEQUENCE, unsigned(facts), algorithm, der.bit_string(signature)))


def read(data: bytes, label: str) -> KeyFacts:
    """The key of this label.

    Raises:
        ValueError: no card, of another key, or without proof that somebody has the private half.
    """
    found = csr(data)
    if found.subject != (("cn", label),):
        raise ValueError(f"it is the card of {names.subject_text(found.subject)}, not of {label}")
    return KeyFacts(label, found.alg, found.spki)


def find(root: Path, folder: str, label: str) -> KeyFacts | None:
    """The card `LABEL.csr` in a folder of the project; None where there is none.

    Raises:
        KeyStoreError: something else is there.
    """
    data = CsrFiles(root).read(folder, f"{label}{SUFFIX}")
    if data is None:
        return None
    try:
        return read(data, label)
    except ValueError as error:
        raise KeyStoreError(
            f"{folder}/{label}{SUFFIX} is no card: {error}", help="`pkicode ceremony init` makes it again"
        ) from error
