"""Everything a server takes of a list, in its order: offer all, take out what it picked, offer again.

One connection for each thing it takes, and one that it refuses.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from attrs import frozen

from pkicode.scanner.session import Heard
from pkicode.tls.conversation import Answer

T = TypeVar("T")


@frozen
class Peeled:
    """What a server took."""

    found: tuple[Answer, ...]
    """In the order in which it took them."""
    refusal: Heard[Answer]
    """What ended it; its `value` says no to the rest, without one the rest is not known."""

    @property
    def how(self) -> str:
        """ "" if everything is known, else how the connection ended that should have told the rest."""
        # A server that hangs up without a word at a hello it does not like says no; one that resets may be tired.
        return "" if self.refusal.value or self.refusal.how == "eof" else self.refusal.how


async def peel(
    greet: Callable[[tuple[int, ...]], Awaitable[Heard[Answer]]],
    offered: Sequence[int],
    pick: Callable[[Answer], int],
    *,
    first: Answer | None = None,
) -> Peeled:
    """Ask `greet` until `pick` finds nothing in the answer (0) or nothing is left.

    `first` is the answer to all of them, where it is known already.
    """
    found = [first] if first else []
    remaining = [number for number in offered if not first or number != pick(first)]
    heard: Heard[Answer] = Heard(Answer())
    while remaining:
        heard = await greet(tuple(remaining))
        if heard.value is None and found:
            # It has answered before: once more before it counts as silent.
            heard = await greet(tuple(remaining))
        chosen = pick(heard.value) if heard.value else 0
        if not chosen:
            break
        if chosen not in remaining or heard.value is None:
            heard = Heard(None, "garbled", f"it takes {chosen:#06x}, which it was not offered")
            break
        found.append(heard.value)
        remaining.remove(chosen)
    return Peeled(tuple(found), heard)


async def together(asked: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """All at the same time, what they gave in the same order."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one) for one in asked]
    return [task.result() for task in tasks]
