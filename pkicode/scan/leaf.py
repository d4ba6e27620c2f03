"""The key of a leaf as a stranger sent it, for probes that calculate with it."""

import warnings
from collections.abc import Sequence

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.utils import CryptographyDeprecationWarning


def key_of(chain: Sequence[bytes]) -> CertificatePublicKeyTypes | None:
    """None where there is no certificate, or none with a key that can be read."""
    if not chain:
        return None
    try:
        with warnings.catch_warnings():
            # What is odd in a stranger's certificate is for a finding to say, not for stderr.
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)
            return x509.load_der_x509_certificate(chain[0]).public_key()
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion):
        return None
