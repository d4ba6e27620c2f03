"""One hello and its answer: what is sent and what is read of a connection, without one.

A Talk is a generator: it yields what to send (b"" to read on), is sent what came, and returns what it learnt.  The end
of a connection is thrown into it: EOFError, ConnectionResetError, TimeoutError.
"""

from collections.abc import Generator
from typing import Any, TypeVar

from attrs import evolve, field, frozen

from pkicode.tls import flight
from pkicode.tls.client13 import Client, Entropy
from pkicode.tls.flight import Alert, KeyExchange
from pkicode.tls.hello import (
    SCT,
    SERVER_HELLO,
    SSL3,
    TLS13,
    ClientHello,
    ServerHello,
    alpn_of,
    extensions,
    server_hello,
)
from pkicode.tls.records import ALERT, HANDSHAKE, Cut, Garbled, Message, Messages, Record, Records
from pkicode.tls.suites import Suite, suite_of

T = TypeVar("T")
Talk = Generator[bytes, bytes, T]


@frozen
class Answer:
    """What a server said to a hello."""

    hello: ServerHello | None = None
    """None if it took nothing of what was offered."""
    alert: Alert | None = None
    chain: tuple[bytes, ...] = field(default=(), repr=False)
    staple: bytes = field(default=b"", repr=False)
    scts: tuple[bytes, ...] = field(default=(), repr=False)
    exchange: KeyExchange | None = None
    """Before TLS 1.3."""
    authorities: tuple[bytes, ...] | None = None
    """The CA names, DER, from whom it wants the client's certificate; None if it wants none."""
    alpn: str = ""
    signature: int = 0
    """The SignatureScheme with which it signed, 0 before TLS 1.2."""

    @property
    def version(self) -> int:
        """0 if it took nothing."""
        return self.hello.version if self.hello else 0

    @property
    def number(self) -> int:
        """Of the suite it took, 0 if none."""
        return self.hello.suite if self.hello else 0

    @property
    def suite(self) -> Suite:
        """Of an answer that took something."""
        return suite_of(self.number)

    @property
    def group(self) -> int:
        """Of the key exchange, by IANA's number; 0 where there is none."""
        if self.hello and self.version == TLS13:
            return self.hello.group
        return self.exchange.group if self.exchange else 0

    def has(self, extension: int) -> bool:
        """Whether the ServerHello has it."""
        return self.hello is not None and extension in self.hello.extensions


def converse(hello: ClientHello, entropy: Entropy | None = None) -> Talk[Answer]:
    """Send a hello and read to the end of the answer: ServerHelloDone, an alert, or TLS 1.3's first flight.

    With `entropy` the hello gets a key share and TLS 1.3 is read as far as the certificate; without, to its
    HelloRetryRequest.  An end of the connection that comes after a whole ServerHello ends the answer.

    Raises:
        Garbled: it is not TLS, or wrong, or too much.
    """
    client = Client(hello, entropy) if entropy else None
    reading = Reading(client)
    try:
        data = yield client.opening() if client else hello.record()
        while not reading.feed(data):
            data = yield reading.to_send
    except (EOFError, OSError):
        if reading.answer == Answer():
            raise
    return reading.answer


class Reading:
    """An answer as it comes in."""

    def __init__(self, client: Client | None = None) -> None:
        self.answer = Answer()
        """What there is of it."""
        self.to_send = b""
        """After `feed`: what goes out before more can come."""
        self._client = client
        self._records = Records()
        self._messages = Messages()

    def feed(self, data: bytes) -> bool:
        """Read on; True when the answer is whole.

        Raises:
            Garbled: it is not TLS, or wrong, or too much.
        """
        self.to_send = b""
        try:
            return any(
                self._record(self._client.open(one) if self._client else one) for one in self._records.feed(data)
            )
        except Garbled:
            # What a server does after its hello does not undo the hello.
            if self.answer.hello is None:
                raise
            return True

    def _record(self, record: Record) -> bool:
        if record.type == ALERT:
            alert = flight.alert(record.body)
            self._learn(alert=alert)
            # A warning is no answer (unrecognized_name comes before a ServerHello), but for the end itself.
            return alert.fatal or alert.description == Alert.CLOSE_NOTIFY
        return record.type == HANDSHAKE and any(self._message(one) for one in self._messages.feed(record.body))

    def _message(self, message: Message) -> bool:
        hello = self.answer.hello
        if hello is None or hello.is_retry:
            if message.type != SERVER_HELLO:
                raise Garbled(f"a handshake message of type {message.type} before the ServerHello")
            return self._greeted(server_hello(message.body), message)
        if hello.version == TLS13:
            return self._of_tls13(message)
        return self._before_tls13(message, hello.version)

    def _greeted(self, hello: ServerHello, message: Message) -> bool:
        if not SSL3 <= hello.version <= TLS13:
            raise Garbled(f"version {hello.version:#06x} is none of TLS")
        self._learn(hello=hello)
        if hello.version < TLS13:
            self._learn(alpn=alpn_of(hello.extensions), scts=flight.scts(hello.extensions.get(SCT, b"")))
            return False
        if self._client is None:
            return True
        if hello.is_retry:
            self.to_send = self._client.again(hello, message)
            return not self.to_send
        return not self._client.agree(hello, message)

    def _of_tls13(self, message: Message) -> bool:
        if message.type == flight.ENCRYPTED_EXTENSIONS:
            self._learn(alpn=alpn_of(extensions(Cut(message.body).vector(2))))
        elif message.type == flight.CERTIFICATE_REQUEST:
            self._learn(authorities=flight.authorities13(message.body))
        elif message.type == flight.CERTIFICATE:
            sent = flight.certificates13(message.body)
            self._learn(chain=sent.chain, staple=sent.staple, scts=sent.scts)
        elif message.type == flight.CERTIFICATE_VERIFY:
            self._learn(signature=Cut(message.body).number(2))
        return message.type in (flight.CERTIFICATE_VERIFY, flight.FINISHED)

    def _before_tls13(self, message: Message, version: int) -> bool:
        if message.type == flight.CERTIFICATE:
            self._learn(chain=flight.certificates(message.body).chain)
        elif message.type == flight.CERTIFICATE_STATUS:
            self._learn(staple=flight.staple(message.body))
        elif message.type == flight.SERVER_KEY_EXCHANGE:
            exchange = flight.key_exchange(message.body, self.answer.suite, version)
            self._learn(exchange=exchange, signature=exchange.signature)
        elif message.type == flight.CERTIFICATE_REQUEST:
            self._learn(authorities=flight.authorities(message.body, version))
        return message.type in (flight.SERVER_HELLO_DONE, flight.FINISHED)

    def _learn(self, **facts: Any) -> None:
        self.answer = evolve(self.answer, **facts)
