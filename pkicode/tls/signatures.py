"""Signature schemes: IANA's registry of them (RFC 8446 section 4.2.3), those of TLS 1.2 and older among them."""

from typing import Final

NAMES: Final = {
    0x0403: "ecdsa_secp256r1_sha256",
    0x0503: "ecdsa_secp384r1_sha384",
    0x0603: "ecdsa_secp521r1_sha512",
    0x0804: "rsa_pss_rsae_sha256",
    0x0805: "rsa_pss_rsae_sha384",
    0x0806: "rsa_pss_rsae_sha512",
    0x0401: "rsa_pkcs1_sha256",
    0x0501: "rsa_pkcs1_sha384",
    0x0601: "rsa_pkcs1_sha512",
    0x0807: "ed25519",
    0x0808: "ed448",
    0x0904: "mldsa44",
    0x0905: "mldsa65",
    0x0906: "mldsa87",
    0x0708: "sm2sig_sm3",
    0x081A: "ecdsa_brainpoolP256r1tls13_sha256",
    0x081B: "ecdsa_brainpoolP384r1tls13_sha384",
    0x081C: "ecdsa_brainpoolP512r1tls13_sha512",
    0x0809: "rsa_pss_pss_sha256",
    0x080A: "rsa_pss_pss_sha384",
    0x080B: "rsa_pss_pss_sha512",
    0x0402: "dsa_sha256",
    0x0502: "dsa_sha384",
    0x0602: "dsa_sha512",
    0x0301: "rsa_pkcs1_sha224",
    0x0303: "ecdsa_sha224",
    0x0302: "dsa_sha224",
    0x0201: "rsa_pkcs1_sha1",
    0x0203: "ecdsa_sha1",
    0x0202: "dsa_sha1",
    0x0101: "rsa_pkcs1_md5",
}
"""Every scheme that servers have, in the order in which it is offered: the good ones first."""

SCHEMES: Final = tuple(NAMES)
BROKEN: Final = (0x0201, 0x0203, 0x0202, 0x0101)
"""With SHA-1 or MD5 (RFC 9155)."""

FAMILIES: Final = {
    kind: tuple(number for number, name in NAMES.items() if name.startswith(openings))
    for kind, openings in {
        "ECDSA": ("ecdsa",),
        "RSA": ("rsa",),
        "EdDSA": ("ed2", "ed4"),
        "ML-DSA": ("mldsa",),
        "others": ("sm2", "dsa"),
    }.items()
}
"""Schemes by the keys that they need."""
