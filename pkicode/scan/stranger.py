"""Keys and names as strangers send them, as far as probes need them: read or None, without exception or warning."""

import warnings
from collections.abc import Callable, Sequence
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

T = TypeVar("T")


def key_of(chain: Sequence[bytes]) -> CertificatePublicKeyTypes | None:
    """The leaf's."""
    return _quietly(lambda: x509.load_der_x509_certificate(chain[0]).public_key()) if chain else None


def name_of(der: bytes) -> str | None:
    """A distinguished name as RFC 4514 writes it."""
    return _quietly(lambda: x509.Name.from_bytes(der).rfc4514_string())


def _quietly(read: Callable[[], T]) -> T | None:
    try:
        with warnings.catch_warnings():
            # What is odd about a stranger is for a finding to say, not for stderr.
            warnings.simplefilter("ignore")
            return read()
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion):
        return None
