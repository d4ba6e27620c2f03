"""[keystore.X] of pki.toml as the adapter of its type.  Nothing is opened or asked for before a key is needed."""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from attrs import evolve

from pkicode.adapters.command import CommandKeyStore
from pkicode.adapters.offline import OfflineKeyStore
from pkicode.adapters.sealed import SealedKeyStore
from pkicode.adapters.secret import read_secret
from pkicode.adapters.talking import Talking
from pkicode.config import pkcs11_uri
from pkicode.config.language import KeystoreSpec, Secret
from pkicode.config.pkcs11_uri import Pkcs11Uri
from pkicode.config.reader import Config
from pkicode.model.problem import KeyStoreError, installing
from pkicode.ports import KeyStore

Warn = Callable[[str], None]
Ask = Callable[[], Awaitable[bytes]]


def keystore(config: Config, name: str, environ: Mapping[str, str], warn: Warn) -> KeyStore:
    """[keystore.NAME].

    Raises:
        KeyStoreError: there is no such keystore, or what it needs is not installed.
    """
    for spec in config.settings.keystores:
        if spec.name == name:
            return open_keystore(spec, config.root, environ, warn)
    raise KeyStoreError(f"there is no [keystore.{name}]", help="pki.toml says which there are")


def open_keystore(spec: KeystoreSpec, root: Path, environ: Mapping[str, str], warn: Warn) -> KeyStore:
    """One keystore; closed by the caller."""
    if spec.offline:
        return OfflineKeyStore(root, spec.path)
    if spec.type == "pkcs11":
        return _token(spec, root, environ, warn)
    if spec.type == "command":
        talking = Talking(spec.command, root=root, environ=environ, seconds=spec.timeout)
        return CommandKeyStore(spec.name, talking)
    return _sealed(spec, root, environ, warn)


def _sealed(spec: KeystoreSpec, root: Path, environ: Mapping[str, str], warn: Warn) -> KeyStore:
    path = root / spec.path

    async def passphrase() -> bytes:
        if spec.passphrase is None:
            raise KeyStoreError(f"[keystore.{spec.name}] has no passphrase", help='passphrase = { env = "NAME" }')
        # What opens a keystore that is there cannot be made anew.
        source = evolve(spec.passphrase, create=False) if path.exists() else spec.passphrase
        return await read_secret(source, root=root, environ=environ, warn=warn)

    return SealedKeyStore(path, passphrase)


def _token(spec: KeystoreSpec, root: Path, environ: Mapping[str, str], warn: Warn) -> KeyStore:
    async def pin() -> bytes:
        return await read_secret(spec.pin or Secret(), root=root, environ=environ, warn=warn)

    uri = pkcs11_uri.parse(spec.uri or "")
    module = str(root / (spec.module or uri.module_path or ""))
    return token_keystore(f"[keystore.{spec.name}]", uri, module, pin, spec.keys)


def token_keystore(name: str, uri: Pkcs11Uri, module: str, pin: Ask, adopted: Mapping[str, str]) -> KeyStore:
    """The keys on a token.

    Args:
        name: what named it, for errors.
        uri: of the token.
        module: path of the library.
        pin: asked when a private key is first needed.
        adopted: label -> URI of keys that are found by another name.

    Raises:
        KeyStoreError: python-pkcs11 is not installed.
    """
    try:
        from pkicode.adapters.pkcs11 import Pkcs11KeyStore
        from pkicode.adapters.token import Token
    except ImportError as error:
        raise KeyStoreError(
            f"{name} is a PKCS #11 token, and python-pkcs11 is not installed", help=installing("hsm")
        ) from error
    return Pkcs11KeyStore(name, Token(name, uri, module), pin, adopted)
