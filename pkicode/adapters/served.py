"""What is served at endpoints, asked of them with limits; what should be served there others know."""

from collections.abc import Callable, Iterable, Iterator

from pkicode.adapters.scanning import whole
from pkicode.model.event import Event
from pkicode.model.problem import ConfigError, Place
from pkicode.model.target import Spot, spot
from pkicode.scanner.choice import choose
from pkicode.scanner.finding import Endpoint
from pkicode.scanner.served import CHECKS
from pkicode.scanner.target import targets
from pkicode.scanner.terms import Job, Terms

_NOBODY = ("closed", "filtered")


async def look(texts: Iterable[str], *, emit: Callable[[Event], None]) -> dict[str, list[Endpoint]]:
    """Each text with what was found at every address it means, at the pace and with the limits of a scan.

    Args:
        texts: endpoints as pki.toml says them; each address is asked once, whoever names it.

    Raises:
        ConfigError: they are more than a scan may ask.
    """
    meant = {text: spot(text) for text in texts}
    places = [(text, Place("pki.toml")) for text in meant]
    there, problems = targets(places, read=_unread, endpoints=lambda _: ())
    if problems:
        raise ConfigError(problems)
    found: dict[tuple[str, int, str], list[Endpoint]] = {}
    for one in await whole(Job(there, Terms(choose(CHECKS))), emit=emit):
        found.setdefault((one.target.host, one.target.port, one.target.starttls), []).append(one)
    return {text: list(_of(one, found)) for text, one in meant.items()}


def _of(meant: Spot, found: dict[tuple[str, int, str], list[Endpoint]]) -> Iterator[Endpoint]:
    """The addresses of a network at which nobody is are not news."""
    for number in range(meant.size):
        for one in found[meant.address(number), meant.port, meant.starttls]:
            if meant.network is None or one.state not in _NOBODY:
                yield one


def _unread(path: str) -> bytes:
    raise FileNotFoundError(path)
