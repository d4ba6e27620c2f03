"""OpenSSL, GnuTLS and Java's PKIX about one path: all accept it, or all refuse it as revoked."""

from collections.abc import Sequence

import pytest

from tests.oracles import Refused, assert_gnutls_verifies, assert_verifies
from tests.oracles.java import Ask


def assert_agreed(
    is_good: bool,
    leaf: bytes,
    *,
    chain: Sequence[bytes],
    roots: Sequence[bytes],
    crls: Sequence[bytes],
    at: int,
    ask: Ask | None = None,
) -> None:
    """What is good verifies at an instant, and what is revoked is refused for that.

    Args:
        is_good: what they ought to say.
        leaf: certificate, DER, as are all the others.
        chain: the certificates that are sent with it, nearest first.
        roots: one bundle.
        crls: all that are published, loaded together.
        at: the instant (epoch seconds).
        ask: Java (tests.oracles.java.path_builder); without it, OpenSSL alone is asked.
    """
    for verify in (assert_verifies, assert_gnutls_verifies) if ask else (assert_verifies,):
        if is_good:
            verify(leaf, chain=chain, root=roots, crls=crls, at=at)
        else:
            with pytest.raises(Refused, match="revoked"):
                verify(leaf, chain=chain, root=roots, crls=crls, at=at)
    if ask:
        # Java believes a revocation from the second after it.
        said = ask(at + 1, roots, leaf, chain, crls)
        assert said == "OK" if is_good else "revoked" in said, said
