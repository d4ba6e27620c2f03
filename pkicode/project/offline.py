"""The machine of a ceremony: it has keys, and neither pki.toml nor state nor network.

What it signs are the bytes that people looked at; what they mean for a project is asked where the project is.
"""

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from attrs import frozen

from pkicode.adapters import loop
from pkicode.adapters.sealed import SealedKeyStore
from pkicode.adapters.secret import read_secret
from pkicode.ceremony import card, look
from pkicode.ceremony.bundle import BundleError, Item, Request, Response
from pkicode.config import pkcs11_uri
from pkicode.config.language import Secret
from pkicode.config.wrong import WrongForm
from pkicode.model.address import parse
from pkicode.model.instants import DAY, rfc3339
from pkicode.model.problem import KeyStoreError, PkicodeError
from pkicode.ports import KeyStore, NewKey, Signer
from pkicode.project.keystores import Ask, token_keystore
from pkicode.x509 import keys


@frozen
class Offline:
    """A keystore on this machine.  Every method blocks."""

    _opened: Callable[[], KeyStore]

    def init(self, label: str, alg: str) -> bytes:
        """A new key and its card; of a key that is there already, its card once more.

        Args:
            label: `ca.NAME@N`.

        Raises:
            PkicodeError: another label, another algorithm than the key has, or the keystore does not open.
        """
        try:
            address, generation = parse(label)
        except ValueError as error:
            raise PkicodeError(str(error), help="write it as in ca.root@1") from error
        if address.kind != "ca" or address.key or not generation:
            raise PkicodeError(f"`{label}` is no key generation of a CA", help="write it as in ca.root@1")
        if alg not in keys.SIGNING:
            raise PkicodeError(f"`{alg}` is no algorithm that signs", help=f"one of {' '.join(keys.SIGNING)}")
        return loop.run(self._init(label, alg))

    async def _init(self, label: str, alg: str) -> bytes:
        store = self._opened()
        try:
            await store.create([NewKey(label, alg)])
            signer = await store.signer(label)
            signature = await asyncio.to_thread(_signed, signer, card.unsigned(signer.facts))
        finally:
            await store.close()
        return card.made(signer.facts, signature)

    def answer(self, request: Request, now: int) -> Response:
        """Sign every item, with keys that are here.

        Raises:
            PkicodeError: lint, or a key that is not the one it should be; nothing was signed.
        """
        check(request)
        return loop.run(self._answer(request, now))

    async def _answer(self, request: Request, now: int) -> Response:
        store = self._opened()
        try:
            # All keys, before any of them signs.
            signers = [await self._signer(item, store) for item in request.items]
            signatures = [
                await asyncio.to_thread(_signed, signer, item.tbs)
                for signer, item in zip(signers, request.items, strict=True)
            ]
        finally:
            await store.close()
        return Response(request, now, tuple(signatures))

    async def _signer(self, item: Item, store: KeyStore) -> Signer:
        signer = await store.signer(item.issuer)
        if signer.facts.spki != look.facts_of(item).spki:
            raise KeyStoreError(
                f"{item.issuer} is another key here than the one that is to sign {item.address}",
                help="take the keystore that the card came from",
            )
        return signer


def sealed(path: Path, passphrase: Callable[[], bytes]) -> Callable[[], KeyStore]:
    """The keys in a file."""
    return lambda: SealedKeyStore(path, _asked(passphrase))


def on_token(
    uri: str,
    module: Path | None,
    pin: Secret | Callable[[], bytes],
    adopted: Mapping[str, str],
    *,
    root: Path,
    environ: Mapping[str, str],
) -> Callable[[], KeyStore]:
    """The keys on a token.

    Args:
        uri: which token (RFC 7512).
        module: the library that speaks for it, unless the URI names it.
        pin: where it is read from, or who asks for it.
        adopted: label -> URI of keys that are found by another name.
        root: where relative paths begin.
        environ: where the PIN may be.

    Raises:
        KeyStoreError: a URI is none, or nothing names the module.
    """
    try:
        parsed = pkcs11_uri.parse(uri)
        for one in adopted.values():
            pkcs11_uri.parse(one)
    except WrongForm as error:
        raise KeyStoreError(f"`--token`: {error}", help=error.mend) from error
    path = module or (Path(parsed.module_path) if parsed.module_path else None)
    if path is None:
        raise KeyStoreError(
            "nothing says which module speaks for the token", help="--module FILE, its PKCS #11 library"
        )
    ask: Ask
    if isinstance(pin, Secret):
        ask = partial(read_secret, pin, root=root, environ=environ, warn=_nobody)
    else:
        ask = _asked(pin)
    return lambda: token_keystore("`--token`", parsed, str(root / path), ask, adopted)


def _nobody(told: str) -> None:
    """No PIN is made up."""


def _asked(secret: Callable[[], bytes]) -> Ask:
    async def ask() -> bytes:
        # Somebody may be typing it.
        return await asyncio.to_thread(secret)

    return ask


def _signed(signer: Signer, data: bytes) -> bytes:
    signature = signer.sign(data)
    keys.verify(signer.facts.spki, signer.facts.alg, data, signature)
    return signature


def check(request: Request) -> None:
    """Whether lint lets every item through, told anew of the bytes that are here.

    Raises:
        BundleError: with everything that is wrong.
    """
    wrong = []
    for item in request.items:
        try:
            found = look.complaints(item)
            wrong += [f"{item.address}: {one}" for one in found]
            # What lint lets through is read by another parser as well, which warns of what lint refuses.
            if not found:
                look.told(item)
        except (ValueError, TypeError, *look.UNREADABLE) as error:
            wrong.append(f"{item.address}: it cannot be read: {error}")
    if wrong:
        raise BundleError(f"nothing of this is signed: {'; '.join(wrong)}", help="export again where the project is")


def check_clock(request: Request, now: int) -> None:
    """Whether a request is of now.

    Raises:
        BundleError: it has ended, or is of this clock's future.
    """
    if now < request.created - DAY:
        text = f"the request was made {rfc3339(request.created)}, and this clock says {rfc3339(now)}"
        raise BundleError(text, help="set the clock; --allow-clock where it cannot be")
    if now > request.expires:
        text = f"the request ended {rfc3339(request.expires)}, and this clock says {rfc3339(now)}"
        raise BundleError(text, help="export again; if the clock is wrong and cannot be set, --allow-clock")


def transcript(request: Request, response: Response | None = None, *, most: int | None = None) -> list[str]:
    """What is to be signed, and what was, in lines; `most`: of the entries of a list, all of them if None."""
    lines = [
        f"project   {request.project}, state {request.lineage}",
        f"made      {rfc3339(request.created)}, to be back by {rfc3339(request.expires)}",
        f"sha256    {request.digest.hex()}",
        f"words     {request.words}",
    ]
    for item in request.items:
        lines += ["", *look.told(item, most), f"  {'lint':<22} {'; '.join(look.complaints(item)) or 'nothing to say'}"]
    if response:
        lines += ["", f"signed    {rfc3339(response.signed_at)} by this machine's clock"]
        lines += [
            f"  {item.address}@{item.generation}  signature of sha256 {hashlib.sha256(one).hexdigest()}"
            for item, one in zip(request.items, response.signatures, strict=True)
        ]
    return lines


def records(request: Request) -> dict[str, object]:
    """What is to be signed, as JSON values."""
    return {
        "format": "pkicode.ceremony",
        "version": "1.0",
        "project": request.project,
        "lineage": request.lineage,
        "created": rfc3339(request.created),
        "expires": rfc3339(request.expires),
        "sha256": request.digest.hex(),
        "words": request.words,
        "items": [
            {
                "kind": item.kind,
                "address": item.address,
                "generation": item.generation,
                "issuer": item.issuer,
                "lint": look.complaints(item),
                "says": [{"name": name, "value": value} for name, value in look.said(item)],
            }
            for item in request.items
        ],
    }
