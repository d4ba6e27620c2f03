"""A two-tier PKI whose CAs live on a token, and whose leaves have their keys in a sealed file."""

from pathlib import Path

from tests.kinds import site
from tests.kinds.site import Site
from tests.quick import quick_keystore
from tests.softhsm import PIN, SoftHsm, keystore

LEAVES = """
[cert.portal]
profile = "server"
dns = ["portal.corp.example"]
output = { chain = "out/portal.pem", key = "out/portal.key" }
[cert.old]
profile = "server"
dns = ["old.corp.example"]
on_remove = "revoke"
"""


def text(hsm: SoftHsm, token: str, *, alg: str = "ec-p256", more: str = "") -> str:
    """pki.toml without leaves: root and issuing CA on the token, with OCSP, published in full."""
    on_token = f'key = {{ alg = "{alg}", store = "hsm" }}\n'
    return (
        site.BASE.replace("[ca.root]\n", f"[ca.root]\n{on_token}")
        .replace("[ca.issuing]\n", f"[ca.issuing]\n{on_token}")
        .replace('eku = ["serverAuth"]\n', 'eku = ["serverAuth"]\nkey = { store = "main" }\n')
        .replace("path_len = 0", 'path_len = 0\nocsp = { url = "http://ocsp.corp.example" }')
        .replace('url = "public"\n', 'url = "public"\ncontent = ["ca", "crl", "ocsp", "bundle"]\n')
    ) + keystore(hsm, token, more=more)


def with_pin(folder: Path, pin: str = PIN) -> Path:
    """The folder with a keystore for leaves, and the token's PIN in a file."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / ".pkicode").exists():
        quick_keystore(folder)
    secret = folder / ".pkicode/pin"
    secret.touch(mode=0o600)
    secret.write_text(pin + "\n")
    return folder


def on_token(folder: Path, hsm: SoftHsm, token: str, **options: str) -> Site:
    """The PKI, not yet applied."""
    return Site(with_pin(folder)).write(LEAVES, base=text(hsm, token, **options))
