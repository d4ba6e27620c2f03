"""The PKCS #11 keystore (ports.KeyStore): keys that are made on a token and never leave it.

The label of a key is CKA_LABEL, of both of its objects, unless [keystore.X] keys says where it is.  Whoever may log in
can sign, and could add keys: one that is not the key of its certificate signs nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

import pkcs11

from pkicode.adapters import token_keys
from pkicode.adapters.keyrules import OutsideSigner, never_leaves, not_there, proved, refuse_other_algorithms
from pkicode.adapters.token import Token
from pkicode.adapters.token_keys import TokenKey
from pkicode.config import pkcs11_uri
from pkicode.config.pkcs11_uri import Pkcs11Uri
from pkicode.config.wrong import WrongForm
from pkicode.model.keyuse import Attested
from pkicode.model.problem import KeyStoreError
from pkicode.ports import KeyFacts, Mint, MintedKey, NewKey, Signer


class Pkcs11KeyStore:
    """[keystore.X] of type "pkcs11".  The PIN is asked for once, when a private key is first needed.

    Args:
        name: `[keystore.NAME]`, for errors.
        token: the token.
        pin: reads the PIN.
        adopted: label -> URI of keys that are found by another name, and never made.
    """

    def __init__(
        self, name: str, token: Token, pin: Callable[[], Awaitable[bytes]], adopted: Mapping[str, str]
    ) -> None:
        self._name = name
        self._token = token
        self._pin = pin
        self._adopted = {label: pkcs11_uri.parse(uri) for label, uri in adopted.items()}
        self._lock = asyncio.Lock()
        self._logged_in = False
        self._signers: dict[str, Signer] = {}
        self._keys: dict[str, tuple[int, TokenKey]] = {}
        """Label -> (epoch of its session, key)."""

    async def create(self, keys: Sequence[NewKey]) -> Sequence[KeyFacts]:
        """ports.KeyStore.create; durable when the token says so."""
        await self._log_in()
        return [await self._token.call(partial(self._created, key)) for key in keys]

    async def mint(self) -> Mint | None:
        """ports.KeyStore.mint: None, keys are made on the token."""
        await self._log_in()
        return None

    async def keep(self, minted: Sequence[MintedKey]) -> Sequence[KeyFacts]:
        """ports.KeyStore.keep: refused, because `mint` makes none."""
        raise KeyStoreError(f"keys of {self._name} are made on its token ({len(minted)} came from elsewhere)")

    async def find(self, labels: Sequence[str]) -> Mapping[str, KeyFacts]:
        """ports.KeyStore.find, among the public keys; `create` opens the private one before it vouches for it."""

        def seen(session: pkcs11.Session) -> dict[str, KeyFacts]:
            found = {label: token_keys.find_public(session, label, self._where(label)) for label in labels}
            return {label: facts for label, facts in found.items() if facts}

        return await self._token.call(seen)

    async def labels(self) -> Sequence[str]:
        """ports.KeyStore.labels, sorted; objects on the token that are not called as we call keys are left out."""
        found = await self._token.call(lambda session: token_keys.labels(session, _is_label))
        return sorted({*found, *await self.find(list(self._adopted))})

    async def about(self) -> Mapping[str, str]:
        """ports.KeyStore.about."""
        return await self._token.about()

    async def signer(self, label: str) -> Signer:
        """ports.KeyStore.signer."""
        if label not in self._signers:
            await self._log_in()
            facts = await self._token.call(lambda session: self._key(session, label).facts)
            self._signers[label] = OutsideSigner(facts, lambda tbs: self._signed(facts, tbs))
        return self._signers[label]

    async def export(self, labels: Sequence[str]) -> Sequence[bytes]:
        """ports.KeyStore.export: always refused."""
        raise never_leaves(self._name, labels)

    async def destroy(self, keys: Sequence[KeyFacts]) -> None:
        """ports.KeyStore.destroy, one after the other; adopted keys are somebody else's."""
        if adopted := [key.label for key in keys if key.label in self._adopted]:
            raise KeyStoreError(
                f"{adopted[0]} was adopted by {self._name}; nothing was destroyed",
                help="whoever made it destroys it, with the token's own tool",
            )
        await self._log_in()
        for key in keys:
            self._signers.pop(key.label, None)
            await self._token.call(partial(self._destroyed, key))

    async def verify(self) -> Sequence[str]:
        """ports.KeyStore.verify: every key signs, is the only one of its name, and cannot leave the token."""
        found: list[str] = []
        for label in sorted({*await self.labels(), *self._adopted}):
            try:
                await asyncio.to_thread(proved, await self.signer(label))
                found += await self._token.call(partial(self._weaknesses, label))
            except KeyStoreError as error:
                found.append(error.message)
        return found

    async def attest(self) -> Sequence[Attested]:
        """What the token says of every key, by label; needs the PIN, because private objects are seen with it only."""
        await self._log_in()
        labels = sorted({*await self.labels(), *self._adopted})
        return await self._token.call(lambda session: [self._key(session, label).attested() for label in labels])

    async def close(self) -> None:
        """ports.KeyStore.close: logs out."""
        self._signers.clear()
        self._keys.clear()
        await self._token.close()

    async def _log_in(self) -> None:
        async with self._lock:
            if not self._logged_in:
                self._token.log_in(await self._pin())
                self._logged_in = True

    def _signed(self, facts: KeyFacts, tbs: bytes) -> bytes:
        def work(session: pkcs11.Session) -> bytes:
            key = self._key(session, facts.label)
            if key.facts != facts:
                raise KeyStoreError(
                    f"the key {facts.label} on the token of {self._name} is another one than before",
                    help="find out who exchanged it, and put the token back that belongs to this state",
                )
            if not key.wants_pin:
                return key.signature(tbs, None)
            # Anew: the flags of a session's token are those of the day it was opened.
            return self._token.with_pin(session.token.slot.get_token(), partial(key.signature, tbs))

        return self._token.run(work)

    # What follows runs in the token's thread.

    def _where(self, label: str) -> Pkcs11Uri:
        return self._adopted.get(label) or Pkcs11Uri(object=label)

    def _look(self, session: pkcs11.Session, label: str) -> TokenKey | None:
        epoch, key = self._keys.get(label, (-1, None))
        if key is None or epoch != self._token.epoch:
            key = token_keys.find(session, label, self._where(label))
            if key is None:
                return None
            for other, (_, there) in self._keys.items():
                if other != label and there.facts.spki == key.facts.spki:
                    raise KeyStoreError(
                        f"{label} and {other} are one key on the token of {self._name}",
                        help="each generation of a CA has a key of its own: correct the URIs in `keys`",
                    )
            self._keys[label] = self._token.epoch, key
        return key

    def _key(self, session: pkcs11.Session, label: str) -> TokenKey:
        key = self._look(session, label)
        if key is None:
            raise not_there(self._name, label)
        return key

    def _created(self, wanted: NewKey, session: pkcs11.Session) -> KeyFacts:
        found = self._look(session, wanted.label)
        if found is None and wanted.label in self._adopted:
            raise KeyStoreError(
                f"no key on the token is what {self._name} keys says of {wanted.label}",
                help="correct the URI, or take it out, and a new key is made",
            )
        if found is None:
            token_keys.make(session, wanted.label, wanted.alg)
            found = self._key(session, wanted.label)
        refuse_other_algorithms([wanted], {wanted.label: found.facts})
        if wanted.label not in self._adopted and (weak := found.weaknesses()):
            raise KeyStoreError(
                f"this is no key of {self._name}: {'; '.join(weak)}",
                help=f'if it is to be used all the same, adopt it: keys = {{ "{wanted.label}" = "pkcs11:id=..." }}',
            )
        return found.facts

    def _destroyed(self, key: KeyFacts, session: pkcs11.Session) -> None:
        self._keys.pop(key.label, None)
        token_keys.destroy(session, key)

    def _weaknesses(self, label: str, session: pkcs11.Session) -> Sequence[str]:
        return self._key(session, label).weaknesses()


def _is_label(text: str) -> bool:
    try:
        pkcs11_uri.label(text)
    except WrongForm:
        return False
    return True
