"""The command keystore (ports.KeyStore): a program of yours holds the keys and signs (signer-command.md).

It is told labels, algorithms and digests, and tells public keys and signatures.  It is believed in nothing: a public
key is read and checked, a signature is verified before anybody else sees it, and a key that becomes another one is an
error.  Which key may sign what, is decided here; that nobody else asks it, is the program's own care.
"""

import asyncio
import hashlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from pkicode.adapters.keyrules import OutsideSigner, never_leaves, not_there, proved, refuse_other_algorithms
from pkicode.adapters.process import CommandFailed
from pkicode.adapters.talking import Talking
from pkicode.model.problem import KeyStoreError
from pkicode.ports import KeyFacts, Mint, MintedKey, NewKey, Signer
from pkicode.x509 import keys as x509_keys

T = TypeVar("T")

VERSION = 1
_AT_ONCE = 500
"""Labels in one question."""
_LONGEST = 300
"""Characters of what a command says of an error."""


class CommandKeyStore:
    """[keystore.X] of type "command".

    Args:
        name: of the [keystore.NAME], for errors.
        talking: the program.
    """

    def __init__(self, name: str, talking: Talking) -> None:
        self._name = name
        self._talking = talking
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="signer")

    async def create(self, keys: Sequence[NewKey]) -> Sequence[KeyFacts]:
        """ports.KeyStore.create; durable when the command has answered."""
        return [await self._call(self._create, key) for key in keys]

    async def mint(self) -> Mint | None:
        """ports.KeyStore.mint: None, the command makes keys."""
        return None

    async def keep(self, minted: Sequence[MintedKey]) -> Sequence[KeyFacts]:
        """ports.KeyStore.keep: refused, because `mint` makes none."""
        raise KeyStoreError(f"the command of [keystore.{self._name}] makes keys ({len(minted)} came from elsewhere)")

    async def find(self, labels: Sequence[str]) -> Mapping[str, KeyFacts]:
        """ports.KeyStore.find."""
        batches = [list(labels[start : start + _AT_ONCE]) for start in range(0, len(labels), _AT_ONCE)]
        found: dict[str, KeyFacts] = {}
        for batch in batches:
            found |= await self._call(self._find, batch)
        return found

    async def labels(self) -> Sequence[str]:
        """ports.KeyStore.labels, sorted."""
        return await self._call(self._labels)

    async def about(self) -> Mapping[str, str]:
        """ports.KeyStore.about."""
        return {"command": self._talking.program}

    async def signer(self, label: str) -> Signer:
        """ports.KeyStore.signer."""
        facts = (await self.find([label])).get(label)
        if facts is None:
            raise not_there(f"[keystore.{self._name}]", label)
        return OutsideSigner(facts, lambda tbs: self._thread.submit(self._signed, facts, tbs).result())

    async def export(self, labels: Sequence[str]) -> Sequence[bytes]:
        """ports.KeyStore.export: always refused."""
        raise never_leaves(f"[keystore.{self._name}]", labels)

    async def destroy(self, keys: Sequence[KeyFacts]) -> None:
        """ports.KeyStore.destroy: refused, the protocol has no word for it."""
        raise KeyStoreError(
            f"the command of [keystore.{self._name}] keeps its keys itself, and {len(keys)} would have to go",
            help="remove them where they are kept",
        )

    async def verify(self) -> Sequence[str]:
        """ports.KeyStore.verify: every key that the command names signs, and its signature verifies."""
        found: list[str] = []
        for label in await self.labels():
            try:
                await asyncio.to_thread(proved, await self.signer(label))
            except KeyStoreError as error:
                found.append(error.message)
        return found

    async def close(self) -> None:
        """ports.KeyStore.close: the command ends."""
        await self._call(self._talking.close)
        self._thread.shutdown()

    # What follows `_call` runs in one thread: the command is asked one thing after the other.

    async def _call(self, function: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *args)

    def _ask(self, do: str, **more: Any) -> Mapping[str, Any]:
        try:
            answer = self._talking.ask({"v": VERSION, "do": do, **more})
        except CommandFailed as error:
            raise KeyStoreError(
                f"the command of [keystore.{self._name}] {error.why}",
                help="run it by hand with the question on its stdin; what was interrupted goes on with the next apply",
            ) from error
        if "error" in answer:
            said = str(answer["error"])[:_LONGEST]
            raise KeyStoreError(f"the command of [keystore.{self._name}] says: {said}", help="it is its own to mend")
        return answer

    def _create(self, wanted: NewKey) -> KeyFacts:
        facts = self._read(self._ask("create", label=wanted.label, alg=wanted.alg).get("key"))
        if facts.label != wanted.label:
            raise self._nonsense(f"a key for {wanted.label} that is called something else")
        refuse_other_algorithms([wanted], {wanted.label: facts})
        return facts

    def _find(self, wanted: Sequence[str]) -> dict[str, KeyFacts]:
        told = self._ask("find", labels=wanted).get("keys")
        found = [self._read(one) for one in told] if isinstance(told, list) else None
        if found is None or len({one.label for one in found}) < len(found) or {one.label for one in found} - {*wanted}:
            raise self._nonsense("other keys than it was asked for")
        return {one.label: one for one in found}

    def _labels(self) -> Sequence[str]:
        told = self._ask("labels").get("labels")
        if not isinstance(told, list) or not all(isinstance(one, str) for one in told):
            raise self._nonsense("no list of labels")
        return sorted(told)

    def _read(self, told: object) -> KeyFacts:
        try:
            if not isinstance(told, dict) or not isinstance(told["label"], str):
                raise TypeError
            spki = b64decode(told["spki"], validate=True)
            alg = x509_keys.alg_of_spki(spki)
            x509_keys.load_spki(spki)
        except (KeyError, TypeError, ValueError) as error:
            raise self._nonsense("no public key that we use") from error
        return KeyFacts(told["label"], alg, spki)

    def _signed(self, facts: KeyFacts, tbs: bytes) -> bytes:
        name = x509_keys.signature_hash(facts.alg)
        what = {"hash": name, "digest": _text(hashlib.new(name, tbs).digest())} if name else {"message": _text(tbs)}
        answer = self._ask("sign", label=facts.label, alg=facts.alg, **what)
        try:
            return b64decode(answer["signature"], validate=True)
        except (KeyError, TypeError, ValueError) as error:
            raise self._nonsense("no signature") from error

    def _nonsense(self, what: str) -> KeyStoreError:
        return KeyStoreError(
            f"the command of [keystore.{self._name}] answers with {what}",
            help="docs/reference/signer-command.md says what it has to answer",
        )


def _text(octets: bytes) -> str:
    return b64encode(octets).decode("ascii")
