"""The OCSP answers of a project's state, read for a responder: packs, and nothing else that is in there."""

import asyncio
from collections.abc import Sequence

from pkicode.adapters.store import StateStore
from pkicode.model.problem import PkicodeError
from pkicode.project.state import State
from pkicode.revocation.pack import Pack, read

_SETTLE = 0.2
"""Seconds in which the commits of one apply are one piece of news."""


class Answers:
    """The packs in a state; `await look()` says which there are now."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._seen: frozenset[str] | None = None
        self._ear: StateStore | None = None

    async def look(self) -> tuple[Sequence[Pack], Sequence[str]] | None:
        """Packs, and what is wrong with those that are refused; None where nothing changed.

        Raises:
            PkicodeError: there is no state, or it cannot be read.
        """
        async with self._state.existing() as store:
            known = [one for one in await store.artefacts() if one.kind == "ocsp"]
            seen = frozenset(one.sha256 for one in known)
            if seen == self._seen:
                return None
            packs, wrong = [], []
            for one in known:
                stored = await store.artefact("ocsp", one.name)
                try:
                    packs.append(read(stored.der if stored and stored.der else b""))
                except ValueError as error:
                    wrong.append(f"the answers of {one.name} in the state are refused: {error}")
        self._seen = seen
        return packs, wrong

    async def hear(self, seconds: float) -> None:
        """Return when somebody has written to a state on a server, at the latest after so many seconds."""
        self._ear = self._ear or await self._state.listening()
        if self._ear is None:
            await asyncio.sleep(seconds)
            return
        try:
            await self._ear.changed(seconds)
            await asyncio.sleep(_SETTLE)
        except PkicodeError:
            # The look that follows says what is wrong.
            await self._ear.close()
            self._ear = None
