"""One target while it is scanned: connections to it, one hello or more on each, and what was heard so far.

Sockets are somebody else's (adapters/network.py is the Reach of a scan).
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar

from attrs import define, evolve, field, frozen

from pkicode.scanner.finding import Target
from pkicode.tls import hello
from pkicode.tls.client13 import GROUPS, SUITES, Entropy
from pkicode.tls.conversation import Answer, Talk, converse
from pkicode.tls.groups import offered
from pkicode.tls.hello import ClientHello
from pkicode.tls.records import Garbled, NotTls
from pkicode.tls.starttls import DIALOGUES, after
from pkicode.tls.suites import offered as suites_offered
from pkicode.tls.ticket13 import Ticket

T = TypeVar("T")
_NOBODYS = 0x7A7A
"""A group of GREASE (RFC 8701)."""
_MODERN = 30
"""Suites of TLS 1.2 in a modern hello."""


@frozen
class Ended:
    """How a connection ended."""

    how: str
    """"" when the talk came to its end, else why it did not: closed (refused), filtered (no answer to connect),
    unresolved (no address), unasked (no socket or route on this side), eof, reset, timeout."""
    octets: int
    """Read."""


Reach = Callable[[Target, Talk[None]], Awaitable[Ended]]
"""Opens one connection and drives one talk over it, with limits on time and octets; raises nothing of the network."""


@frozen
class Wish:
    """What is wanted of a whole handshake."""

    version: int
    """TLS 1.2 or 1.3."""
    tickets: bool = True
    """Before TLS 1.3: False for a session id."""
    request: bytes = b""
    """What is said over it."""
    resume: object = None
    """The session of a handshake before it."""

    def again(self, session: object) -> "Wish":
        return evolve(self, resume=session)


@frozen
class Shaken:
    """A whole handshake."""

    resumed: bool
    session: object = field(repr=False)
    """What another one may come back with, None if nothing."""
    ticket: bool = False
    """The session is a ticket of the server's."""
    said: bytes = b""
    """To the request, its beginning."""


Shake = Callable[[str, Wish], Talk[Shaken]]
"""A whole handshake with a server of this name as a talk; for those that no hello tells (adapters/handshake.py)."""


@frozen
class Heard(Generic[T]):
    """What a talk learnt, or why it learnt nothing."""

    value: T | None
    how: str = ""
    """As of Ended; also not-tls and garbled."""
    why: str = ""
    """A sentence, for those two."""


@define
class Known:
    """What probes have found out, for those after them."""

    first: Heard[Answer] = Heard(None, "closed")
    """To the hello of a modern client."""
    asked: set[str] = field(factory=set)
    """Probes that came to their end."""
    seen: list[Answer] = field(factory=list)
    """Everything it took, as it came, also of versions that are not known to their end."""
    learnt: set[int] = field(factory=set)
    """Versions that are."""
    answers: dict[int, tuple[Answer, ...]] = field(factory=dict)
    """By version, one for each suite it takes, in its order; not the versions it refuses."""
    unsure: dict[int, str] = field(factory=dict)
    """Versions of which not everything is known, and how the connection ended that should have told."""
    groups: dict[int, tuple[int, ...]] = field(factory=dict)
    """By version, in the order in which the server took them."""
    hidden_groups: set[int] = field(factory=set)
    """Versions whose groups may be more than those in `groups`."""
    chains: list[tuple[bytes, ...]] = field(factory=list)
    """Different ones; the first is that of a modern client."""
    ssl2: tuple[int, ...] = ()
    """Cipher kinds of SSLv2."""
    signatures: set[int] = field(factory=set)
    """SignatureSchemes with which it signed for chains that had to be asked for."""
    schemes: tuple[int, ...] = ()
    """With which it signs: those of its newest version in its order, then one with a broken hash if it has one."""
    fallback: Heard[Answer] | None = None
    """To a hello that says it could do better (RFC 7507); None if there is nothing better."""
    strange: dict[str, Heard[Answer]] = field(factory=dict)
    """To hellos that a server has to bear, by what is strange in them."""
    attacks: dict[str, Heard[str]] = field(factory=dict)
    """What an attack brought, by its check: safe, vulnerable, or another word of the probe's own."""
    resumed: dict[str, Heard[Shaken]] = field(factory=dict)
    """The second handshake, by the way in which its session came back or did not."""
    http: Heard[Shaken] | None = None
    """What it says to a browser; None if no browser would ask."""
    early: Heard[Ticket] | None = None
    """What comes after a whole handshake of TLS 1.3; None if it does not speak it."""
    renegotiated: Heard[str] | None = None
    """What it makes of a client that renegotiates: accepted, refused; None if it could not be asked."""
    odd: tuple[Heard[str], ...] = ()
    """What it takes of the ten hellos of JARM; none if it was not asked."""
    preference: str = ""
    """server or client, "" if nobody knows."""
    foreign_share: bool = False
    """It stumbles over an empty key_share, and has to be sent one of a group that nobody has."""
    short_only: bool = False
    """It takes hellos of sixty suites, and none of several hundred."""

    def learn(self, version: int, taken: tuple[Answer, ...], how: str) -> None:
        """What it takes of a version; `how` as in `unsure`, "" if that is all."""
        self.learnt.add(version)
        if taken:
            self.answers[version] = taken
        if how:
            self.unsure[version] = how
        for answer in taken:
            self.keep(answer.chain)

    def give_up(self) -> None:
        """No more will be heard: what was seen counts, and what was not is not refused."""
        self.unsure |= {version: "timeout" for version in hello.NAMES if version not in self.learnt}
        for answer in self.seen:
            taken = self.answers.get(answer.version, ())
            if answer.version not in self.learnt and answer.number not in {one.number for one in taken}:
                self.answers[answer.version] = (*taken, answer)
                self.keep(answer.chain)

    def is_whole(self) -> bool:
        """Whether what is not among the answers is refused; SSLv2 has its own check."""
        return bool(self.answers) and not self.unsure.keys() - {hello.SSL2}

    def missing(self) -> str:
        """What is not known, as part of a sentence."""
        told = [f"{hello.NAMES[version]} was not answered ({how})" for version, how in sorted(self.unsure.items())]
        return " and ".join(told)

    def versions(self) -> tuple[int, ...]:
        """Those it takes, oldest first; SSLv2 with them."""
        return (*((hello.SSL2,) if self.ssl2 else ()), *sorted(one for one, taken in self.answers.items() if taken))

    def all_answers(self) -> tuple[Answer, ...]:
        """Of every version, and to the first hello."""
        taken = tuple(answer for version in sorted(self.answers) for answer in self.answers[version])
        return (*taken, self.first.value) if self.first.value and self.first.value.hello else taken

    def newest_before_tls13(self) -> int:
        """0 if there is none."""
        return max((version for version in self.versions() if hello.SSL3 <= version < hello.TLS13), default=0)

    def keep(self, chain: tuple[bytes, ...]) -> None:
        if chain and chain not in self.chains:
            self.chains.append(chain)


class Session:
    """Asks one target."""

    def __init__(self, target: Target, reach: Reach, shake: Shake, entropy: Entropy) -> None:
        self.target = target
        self.entropy = entropy
        self.known = Known()
        self.connections = self.octets = 0
        self._reach = reach
        self._shake = shake

    async def ask(self, talk: Talk[T]) -> Heard[T]:
        """Hold a talk on a connection of its own, after STARTTLS where the target wants it."""
        heard: list[Heard[T]] = []
        dialogue = DIALOGUES.get(self.target.starttls)
        whole = after(dialogue(self.target.server_name or self.target.host), talk) if dialogue else talk

        def kept() -> Talk[None]:
            try:
                heard.append(Heard((yield from whole)))
            except Garbled as error:
                heard.append(Heard(None, "not-tls" if isinstance(error, NotTls) else "garbled", str(error)))

        self.connections += 1
        ended = await self._reach(self.target, kept())
        self.octets += ended.octets
        return heard[0] if heard else Heard(None, ended.how)

    async def greet(self, said: ClientHello) -> Heard[Answer]:
        """One hello and its answer in the clear."""
        heard = await self.ask(converse(said))
        if heard.value and heard.value.hello:
            self.known.seen.append(heard.value)
        return heard

    async def shake(self, wish: Wish) -> Heard[Shaken]:
        """A whole handshake on a connection of its own."""
        return await self.ask(self._shake(self.target.server_name, wish))

    def modern(self) -> ClientHello:
        """The hello that everybody should answer: TLS 1.3 and 1.2 as today's clients have them."""
        alpn = () if self.target.starttls else ("h2", "http/1.1")
        suites = (*SUITES, *suites_offered(hello.TLS12)[:_MODERN])
        return self.hello([hello.TLS13, hello.TLS12], suites, GROUPS, alpn=alpn)

    def hello(
        self, versions: Sequence[int], suites: Sequence[int], groups: Sequence[int] = (), **more: Any
    ) -> ClientHello:
        """A hello to this target: with its name, and every group if none is said."""
        groups = groups or offered(max(versions))
        foreign = self.known.foreign_share and max(versions) == hello.TLS13
        said = hello.client_hello(
            versions,
            suites,
            (*groups, _NOBODYS) if foreign else groups,
            self.entropy(64),
            server_name=self.target.server_name,
            **more,
        )
        share = hello.vector(2, _NOBODYS.to_bytes(2, "big") + hello.vector(2, b"\0"))
        return said.with_extensions((hello.KEY_SHARE, share)) if foreign else said
