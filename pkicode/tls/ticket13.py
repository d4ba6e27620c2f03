"""The ticket after a TLS 1.3 handshake (RFC 8446 section 4.6.1): does it let a client send before it is answered?

The handshake is finished as far as a server wants it, and the goodbye goes with the Finished: whoever has a ticket to
give gives it first.
"""

from attrs import frozen

from pkicode.tls import flight
from pkicode.tls.client13 import (
    CLIENT_APPLICATION,
    CLIENT_HANDSHAKE,
    SERVER_APPLICATION,
    Client,
    Entropy,
    Opener,
    finished,
)
from pkicode.tls.conversation import Talk
from pkicode.tls.hello import SERVER_HELLO, TLS12, TLS13, ClientHello, extensions, server_hello, vector
from pkicode.tls.records import (
    ALERT,
    APPLICATION_DATA,
    CHANGE_CIPHER_SPEC,
    HANDSHAKE,
    Cut,
    Garbled,
    Message,
    Messages,
    Record,
    Records,
    record,
)

_EARLY_DATA = 42
_GOODBYE = b"\1\0"


@frozen
class Ticket:
    """What a server gave after its handshake."""

    given: bool
    early: int = 0
    """Octets that may be sent with it before the server has said anything."""
    alert: int | None = None
    """How it ended the connection instead of giving one; 0 is the goodbye."""


def ticket(hello: ClientHello, entropy: Entropy) -> Talk[Ticket]:
    """A whole handshake of TLS 1.3 and the first ticket after it.

    Raises:
        Garbled: there is no handshake to be had.
    """
    ending = _Ending(Client(hello, entropy))
    try:
        data = yield ending.opening()
        while not ending.feed(data):
            data = yield ending.to_send
    except EOFError:
        # A reset is another matter: it takes a ticket with it that was on the way.
        if not ending.stands:
            raise
    return ending.ticket


class _Ending:
    """A handshake as it comes in."""

    def __init__(self, client: Client) -> None:
        self.ticket = Ticket(given=False)
        self.to_send = b""
        self.stands = False
        """Everything that a client has to say is said."""
        self._client = client
        self._opener: Opener | None = None
        self._records, self._messages = Records(), Messages()
        self._transcript = b""
        self._asked: bytes | None = None
        """The context of a CertificateRequest."""

    def opening(self) -> bytes:
        return self._client.opening()

    def feed(self, data: bytes) -> bool:
        """Read on; True when there is a ticket, or none will come.

        Raises:
            Garbled: it is not TLS, or wrong, or too much.
        """
        self.to_send = b""
        return any(self._record(one) for one in self._records.feed(data))

    def _record(self, one: Record) -> bool:
        if one.type == CHANGE_CIPHER_SPEC:
            return False
        inner = self._open(one)
        if inner.type == ALERT:
            alert = flight.alert(inner.body)
            if not self.stands:
                raise Garbled(f"an alert ({alert.description}) instead of a handshake")
            self.ticket = Ticket(given=False, alert=alert.description)
            return True
        return inner.type == HANDSHAKE and any(self._message(message) for message in self._messages.feed(inner.body))

    def _open(self, one: Record) -> Record:
        if self._opener is None:
            return self._client.open(one)
        return self._opener.open(one) if one.type == APPLICATION_DATA else one

    def _message(self, message: Message) -> bool:
        if self.stands:
            return self._after(message)
        if not self._client.suite:
            self._greeted(message)
            return False
        self._transcript += message.encode()
        if message.type == flight.CERTIFICATE_REQUEST:
            self._asked = Cut(message.body).vector(1)
        if message.type == flight.FINISHED:
            self._finish()
        return False

    def _greeted(self, message: Message) -> None:
        if message.type != SERVER_HELLO:
            raise Garbled(f"a handshake message of type {message.type} before the ServerHello")
        hello = server_hello(message.body)
        if hello.version != TLS13:
            raise Garbled("another version than TLS 1.3")
        if hello.is_retry:
            self.to_send = self._client.again(hello, message)
        if not (self.to_send if hello.is_retry else self._client.agree(hello, message)):
            raise Garbled("a suite or group that this client has not")

    def _finish(self) -> None:
        """A client without a certificate says so; nobody's signature and nobody's Finished are looked at."""
        client, before = self._client, self._client.transcript
        whole = before + self._transcript
        handshake = Opener(client.suite, client.shared, before, CLIENT_HANDSHAKE)
        nobody = b""
        if self._asked is not None:
            nobody = Message(flight.CERTIFICATE, vector(1, self._asked) + vector(3)).encode()
        said = nobody + finished(client.suite, client.shared, before, whole + nobody).encode()
        own = Opener(client.suite, client.shared, whole, CLIENT_APPLICATION)
        self._opener = Opener(client.suite, client.shared, whole, SERVER_APPLICATION)
        self.to_send = (
            record(CHANGE_CIPHER_SPEC, TLS12, b"\1") + handshake.seal(HANDSHAKE, said) + own.seal(ALERT, _GOODBYE)
        )
        self.stands = True

    def _after(self, message: Message) -> bool:
        if message.type != flight.NEW_SESSION_TICKET:
            return False
        cut = Cut(message.body)
        cut.take(8)
        cut.vector(1)
        cut.vector(2)
        told = extensions(cut.vector(2)).get(_EARLY_DATA, bytes(4))
        if len(told) != 4:
            raise Garbled("a size of early data that is no uint32")
        self.ticket = Ticket(given=True, early=int.from_bytes(told, "big"))
        return True
