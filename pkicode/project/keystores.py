"""[keystore.X] of pki.toml as the adapter of its type.  Nothing is opened or asked for before a key is needed."""

from collections.abc import Callable, Mapping
from pathlib import Path

from attrs import evolve

from pkicode.adapters.command import CommandKeyStore
from pkicode.adapters.offline import OfflineKeyStore
from pkicode.adapters.sealed import SealedKeyStore
from pkicode.adapters.secret import read_secret
from pkicode.adapters.talking import Talking
from pkicode.config import pkcs11_uri
from pkicode.config.language import KeystoreSpec, Secret
from pkicode.config.reader import Config
from pkicode.model.problem import KeyStoreError, installing
from pkicode.ports import KeyStore

Warn = Callable[[str], None]


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
    try:
        from pkicode.adapters.pkcs11 import Pkcs11KeyStore
        from pkicode.adapters.token import Token
    except ImportError as error:
        raise KeyStoreError(
            f"[keystore.{spec.name}] is a PKCS #11 token, and python-pkcs11 is not installed",
            help=installing("hsm"),
        ) from error

    async def pin() -> bytes:
        return await read_secret(spec.pin or Secret(), root=root, environ=environ, warn=warn)

    uri = pkcs11_uri.parse(spec.uri or "")
    module = str(root / (spec.module or uri.module_path or ""))
    return Pkcs11KeyStore(spec.name, Token(spec.name, uri, module), pin, spec.keys)
