"""What the certificate of a CA says (RFC 5280 section 4.2): a plan checks it, an apply signs it."""

from pkicode.config.language import CaSpec
from pkicode.kinds import authority as authorities
from pkicode.kinds.authority import crl_urls, issuer_urls
from pkicode.model.row import Block
from pkicode.x509.profile import Profile


def profile_of(block: Block, issuer_stem: str) -> Profile:
    """What the certificate of this CA says (RFC 5280 section 4.2)."""
    spec: CaSpec = block.spec
    return Profile(
        is_ca=True,
        path_len=spec.path_len,
        usage=("keyCertSign", "cRLSign"),
        eku=(),
        policies=spec.policies,
        constraints=authorities.constraints(spec.name_constraints),
        must_staple=False,
        ocsp_nocheck=False,
        no_rev_avail=False,
        crl_urls=crl_urls(spec.base_urls, issuer_stem) if spec.issuer else (),
        ca_issuer_urls=issuer_urls(spec.base_urls, issuer_stem) if spec.issuer else (),
        ocsp_urls=spec.ocsp_urls if spec.issuer else (),
    )
