"""What is believed of a stranger's list: the signature, with every algorithm that a CA may have."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import Encoding

from pkicode.model.instants import DAY, as_datetime
from pkicode.revocation.check import in_force, show
from pkicode.x509 import keys

NOW = 1_800_000_000


ALGORITHMS = [
    ("rsa-2048", hashes.SHA256(), padding.PKCS1v15()),
    ("rsa-2048", hashes.SHA384(), padding.PSS(padding.MGF1(hashes.SHA384()), 48)), ("ec-p256", hashes.SHA512(), None),
    ("ec-p521", hashes.SHA256(), None), ("ed25519", None, None), ("ml-dsa-65", None, None),
]  # fmt: skip


@pytest.mark.parametrize(("alg", "digest", "scheme"), ALGORITHMS)
def test_a_signature_is_believed_where_the_library_believes_it(alg: str, digest, scheme):
    """The library's own check encodes every entry anew: it is the oracle, and too slow for a stranger's list."""
    key, other = keys.generate(alg), keys.generate(alg)
    name = x509.Name.from_rfc4514_string("CN=Signed in many ways")
    built = x509.CertificateRevocationListBuilder(name, as_datetime(NOW - 60), as_datetime(NOW + DAY))
    list_of = built.sign(key, digest, **({"rsa_padding": scheme} if scheme else {}))
    for signer in (key, other):
        ca = (
            x509.CertificateBuilder(name, name, signer.public_key(), 1, as_datetime(NOW - DAY), as_datetime(NOW + DAY))
            .sign(signer, None if digest is None else hashes.SHA256())
        )  # fmt: skip
        believed = list_of.is_signature_valid(signer.public_key())
        assert believed == (signer is key)
        assert (in_force(show(list_of.public_bytes(Encoding.DER)), ca, now=NOW) == ()) == believed
