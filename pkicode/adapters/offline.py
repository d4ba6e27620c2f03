"""ports.KeyStore of keys that are on another machine: their cards in a folder of the project, and no private key."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from attrs import frozen

from pkicode.ceremony import card
from pkicode.model.problem import KeyStoreError
from pkicode.ports import KeyFacts, MintedKey, NewKey, Signer

_MEND = "`pkicode ceremony init` on the machine that has the keys makes a key and its card"


@frozen
class OfflineKeyStore:
    """The cards in one folder; every one is read, and its proof of possession verified, when it is asked for."""

    _root: Path
    _folder: str

    async def create(self, keys: Sequence[NewKey]) -> Sequence[KeyFacts]:
        """ports.KeyStore.create, of which nothing but finding can be done here."""
        found = await self.find([key.label for key in keys])
        for key in keys:
            if key.label not in found:
                raise KeyStoreError(f"there is no card of {key.label} in {self._folder}", help=_MEND)
            if found[key.label].alg != key.alg:
                raise KeyStoreError(f"the key {key.label} is {found[key.label].alg}, and not {key.alg}", help=_MEND)
        return [found[key.label] for key in keys]

    async def mint(self) -> None:
        """ports.KeyStore.mint: keys are made elsewhere."""

    async def keep(self, minted: Sequence[MintedKey]) -> Sequence[KeyFacts]:
        """ports.KeyStore.keep."""
        self._refuse([key.facts.label for key in minted])

    async def find(self, labels: Sequence[str]) -> Mapping[str, KeyFacts]:
        """ports.KeyStore.find."""
        cards = ((label, card.find(self._root, self._folder, label)) for label in labels)
        return {label: facts for label, facts in cards if facts}

    async def labels(self) -> Sequence[str]:
        """ports.KeyStore.labels, sorted."""
        return sorted(
            path.name.removesuffix(card.SUFFIX) for path in (self._root / self._folder).glob(f"*{card.SUFFIX}")
        )

    async def about(self) -> Mapping[str, str]:
        """ports.KeyStore.about."""
        return {"cards": str(self._root / self._folder)}

    async def verify(self) -> Sequence[str]:
        """ports.KeyStore.verify: each card is signed by the key it is of."""
        wrong = []
        for label in await self.labels():
            try:
                await self.find([label])
            except KeyStoreError as error:
                wrong.append(error.message)
        return wrong

    async def signer(self, label: str) -> Signer:
        """ports.KeyStore.signer: there is none here."""
        self._refuse([label])

    async def export(self, labels: Sequence[str]) -> Sequence[bytes]:
        """ports.KeyStore.export."""
        self._refuse(labels)

    async def destroy(self, keys: Sequence[KeyFacts]) -> None:
        """ports.KeyStore.destroy."""
        self._refuse([key.label for key in keys])

    async def close(self) -> None:
        """ports.KeyStore.close."""

    def _refuse(self, labels: Sequence[str]) -> NoReturn:
        raise KeyStoreError(
            f"the key {', '.join(labels) or 'of nobody'} is offline, on another machine",
            help="a ceremony signs with it",
        )
