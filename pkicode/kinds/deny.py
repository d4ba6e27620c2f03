"""[policy] deny: which rule a certificate would break, found while it is planned, so that nothing is begun.

What becomes of a denied change is the brakes' (plan/brakes.py).
"""

from pkicode.config.language import Deny
from pkicode.config.reader import Config
from pkicode.kinds.authority import Standing
from pkicode.x509.keys import signature_hash


def broken_by_key(alg: str, deny: Deny) -> str:
    """The rule against a public key of this algorithm, empty for none."""
    if alg in deny.key_algs:
        return f"deny.key_algs has {alg}"
    if deny.rsa_bits_below and alg.startswith("rsa-") and int(alg[4:]) < deny.rsa_bits_below:
        return f"deny.rsa_bits_below = {deny.rsa_bits_below}"
    return ""


def broken_by_signature(alg: str, deny: Deny) -> str:
    """The rule against what a key of this algorithm signs, empty for none."""
    digest = signature_hash(alg)
    return f"deny.hashes has {digest}" if digest in deny.hashes else ""


def signing_alg(issuer: Standing, config: Config) -> str:
    """The key algorithm of a CA, there already or only planned."""
    return issuer.authority.facts.alg if issuer.authority else config.ca(issuer.name).key.alg
