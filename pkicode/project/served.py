"""What the endpoints of certificates serve, for a plan that is to say so.  It looks, and decides nothing."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from pkicode.adapters.served import look
from pkicode.config.language import CertSpec
from pkicode.config.reader import Config
from pkicode.config.rows import filler, rows
from pkicode.model.address import Address
from pkicode.model.event import Event
from pkicode.model.served import Seen
from pkicode.plan.kind import covers
from pkicode.ports import Want, seen_as
from pkicode.project.state import State
from pkicode.scanner.served import Issued, served_by

_FIELDS = ("address", "generation", "sha256", "status", "not_after")


async def seen(
    config: Config,
    state: State,
    *,
    only: Sequence[str],
    except_: Sequence[str],
    now: int,
    emit: Callable[[Event], None],
) -> tuple[Seen, ...]:
    """Every address of every endpoint that certificates in this scope declare, in the order of pki.toml.

    Raises:
        ConfigError: rows that cannot be read, or more endpoints than a scan may ask.
        StateError: the state cannot be read.
    """
    meant = [(address, text) for address, text in declared(config) if _is_meant(address, only, except_)]
    found = await look(dict.fromkeys(text for _, text in meant), emit=emit) if meant else {}
    issued = Issued(served_by(one for those in found.values() for one in those))
    async with state.reading() as store:
        if store:
            await store.facts(Want(with_der=False), _FIELDS, partial(_taken, issued, now))
    return tuple(issued.seen(str(address), text, one) for address, text in meant for one in found[text])


def declared(config: Config) -> Iterable[tuple[Address, str]]:
    """Each certificate with each of its endpoints."""
    for block in config.blocks:
        if isinstance(block.spec, CertSpec) and block.spec.endpoints:
            fill = filler(block)
            for row in rows(config, block):
                for text in fill(row).endpoints:
                    yield Address("cert", block.name, row.key), text


def _is_meant(address: Address, only: Sequence[str], except_: Sequence[str]) -> bool:
    return not covers(except_, address) and (not only or covers(only, address))


def _taken(issued: Issued, now: int, facts: Iterable[Sequence[Any]]) -> list[Any]:
    """Read once, and forgotten: an inventory may be larger than memory."""
    for address, generation, sha256, status, not_after in facts:
        if is_now := seen_as(status, not_after, now):
            issued.take(address, generation, sha256, is_now)
    return []
