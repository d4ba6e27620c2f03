"""What [scan.X] may say; a part of the language that nothing else in it speaks of."""

from attrs import frozen

from pkicode.config.says import says
from pkicode.model.tls import VERSIONS


@frozen
class ScanPolicy:
    """What the targets of a [scan.X] must keep to."""

    min_version: str = says(
        "the oldest version of TLS that a target may speak",
        default="TLSv1.2",
        choices=VERSIONS[1:],
    )
    forbid: tuple[str, ...] = says(
        "suites that no target may take, by IANA's name or by kind: RC4 3DES CBC SHA1 MD5 NULL EXPORT ANON RSA "
        "(key exchange by RSA)",
        default=(),
        form="suite",
    )
    warn_expiry: int = says(
        "how long before its end a served certificate is told of; of one that lives shorter than three times that, "
        "when a third is left",
        form="duration",
        default=30 * 86400,
    )


@frozen
class ScanSpec:
    """[scan.X]: what to look at over the network, and what should be found there."""

    name: str
    targets: tuple[str, ...] = says(
        "host, host:port, [address]:port, network, any of them with /smtp or another protocol behind it, @file, or "
        "cert.NAME for its endpoints",
        form="target",
    )
    expect: tuple[str, ...] = says(
        "certificates that should be served there: issued and not served is drift", default=(), form="cert-address"
    )
    policy: ScanPolicy = says("what the targets must keep to", factory=ScanPolicy)
    rate: int = says("connections that are begun each second, all targets together", default=100)
    revocation: bool = says(
        "whether the CRLs and OCSP responders that served certificates name are asked: third parties learn of the scan",
        default=False,
    )
    allow_private: bool = says(
        "whether callers of the API may have private and link-local addresses scanned, and revocation be fetched there",
        default=False,
    )
