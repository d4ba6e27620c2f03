"""A planted passphrase and the private keys' bytes are nowhere but in the keystore and the declared key outputs."""

import asyncio
import base64
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_private_key

from pkicode.model.problem import PkicodeError
from tests.cli.running import spawn
from tests.kinds.site import Site
from tests.quick import PASSPHRASE
from tests.security.conftest import LEAVES

MORE = """
[cert.failing]
profile = "server"
dns = ["failing.corp.example"]
output.key = "out/failing.key"
output.combined = "out/failing.pem"
output.p12 = "out/failing.p12"
output.p12_password = { file = "p12-password" }
after = ["sh", "-c", "env; cat .pkicode/passphrase >/dev/null; exit 3"]
[policy]
hooks = [["sh", "-c", "env; cat .pkicode/passphrase >/dev/null; exit 3"]]
"""
P12_PASSWORD = b"planted-p12-Password-77aa"
MAY_HOLD_KEYS = ("keys.db", "passphrase", "p12-password", "portal.key", "failing.key", "failing.pem", "failing.p12")


def keys_of(site: Site) -> dict[str, bytes]:
    """Label -> PKCS#8 of every key in the keystore."""

    async def exported() -> dict[str, bytes]:
        keystore = site.open().keystore("main")
        labels = list(await keystore.labels())
        found = dict(zip(labels, await keystore.export(labels), strict=True))
        await keystore.close()
        return found

    return asyncio.run(exported())


def forms(secret: bytes) -> Iterator[bytes]:
    """The secret as it is, in hex, and inside base64 at each of the three places it can begin."""
    yield secret
    yield secret.hex().encode()
    yield secret.hex().upper().encode()
    for skipped in range(3):
        whole = base64.b64encode(bytes(skipped) + secret)
        # The first and last group also hold neighbours.
        yield whole[4:-4]
        yield whole[4:-4].translate(bytes.maketrans(b"+/", b"-_"))


def planted(site: Site) -> dict[str, bytes]:
    found = {"the passphrase": PASSPHRASE, "the PKCS#12 password": P12_PASSWORD}
    for label, pkcs8 in keys_of(site).items():
        key = load_der_private_key(pkcs8, None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        found[f"the key {label}"] = pkcs8
        found[f"the scalar of {label}"] = key.private_numbers().private_value.to_bytes(32, "big")
    return found


def leaks(site: Site, secrets: dict[str, bytes], **said: str) -> list[str]:
    """Where a secret is found: files by path, texts by name."""
    texts = {str(path.relative_to(site.root)): path.read_bytes() for path in site.root.rglob("*") if path.is_file()}
    texts = {path: data for path, data in texts.items() if Path(path).name not in MAY_HOLD_KEYS}
    texts |= {name: text.encode(errors="surrogateescape") for name, text in said.items()}
    # Line breaks inside base64 hide nothing.
    flat = {name: (data, data.replace(b"\n", b"").replace(b"\\n", b"")) for name, data in texts.items()}
    return [
        f"{what} in {name}"
        for what, secret in secrets.items()
        for form in forms(secret)
        for name, both in flat.items()
        if any(form in data for data in both)
    ]


@pytest.fixture
def secret_site(site: Site) -> Site:
    password = site.root / "p12-password"
    password.touch(mode=0o600)
    password.write_bytes(P12_PASSWORD + b"\n")
    return site.write(LEAVES + MORE)


def test_the_search_finds_what_is_declared(secret_site: Site) -> None:
    """A search that finds nothing anywhere would prove nothing."""
    secret_site.apply()
    found = leaks(
        secret_site,
        planted(secret_site),
        key=(secret_site.root / "out/portal.key").read_text(),
        word=PASSPHRASE.decode(),
    )
    assert "the key cert.portal@1 in key" in found
    assert "the passphrase in word" in found


def test_no_secret_is_in_any_file_or_anything_said(secret_site: Site) -> None:
    site = secret_site
    at = {"PKICODE_NOW": "2026-11-23T09:00:00Z"}
    ran = [
        spawn(site.root, "-v", "plan", "-o", "saved.plan", "--format", "json", **at),
        spawn(site.root, "-v", "apply", "-y", "--allow-clock", **at),
        spawn(site.root, "-v", "plan", "--format", "html", "--full", **at),
        spawn(site.root, "inventory", "--format", "json", **at),
        spawn(site.root, "audit", "log", "--format", "json", **at),
        spawn(site.root, "keystore", "list", **at),
        spawn(site.root, "state", "backup", "copy.db", **at),
        spawn(site.root, "export", "--allow-clock", "cert.portal", "--chain", "portal-chain.pem", **at),
    ]
    assert [one.code for one in ran] == [0, 8, 0, 0, 0, 0, 0, 0], [one.err for one in ran]
    assert "failing" in ran[1].err
    said = {f"{number}-{name}": getattr(one, name) for number, one in enumerate(ran) for name in ("out", "err")}
    assert leaks(site, planted(site), **said) == []


@pytest.mark.parametrize("broken", ["keys.db", "state.db", "passphrase", "publish", "journal.log"])
def test_no_secret_is_in_the_error_of_what_fails(broken: str, secret_site: Site) -> None:
    site = secret_site
    site.apply()
    secrets = planted(site)
    if broken == "publish":
        (site.root / "public/crl").rename(site.root / "elsewhere")
        (site.root / "public/crl").write_text("in the way")
    elif broken == "passphrase":
        (site.root / ".pkicode/passphrase").write_bytes(b"another " + PASSPHRASE)
    else:
        path = site.root / ".pkicode" / broken
        data = path.read_bytes()
        path.write_bytes(data[:3000] + b"\xff" * 200 + data[3200:])
    site.later(61)
    try:
        told = repr(site.apply())
    except PkicodeError as error:
        told = "".join(traceback.format_exception(error)) + error.help + repr(error.__dict__)
    assert leaks(site, secrets, told=told) == []
