"""tlslite-ng as a server, in a thread: what OpenSSL serves no more (SSLv3, RC4) or not yet (ML-KEM)."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tlslite.api import HandshakeSettings, TLSConnection, X509CertChain, parsePEMKey

from tests.scan.servers import HOST, SECONDS, Identity


@contextmanager
def tlslite(mine: Identity, settings: HandshakeSettings) -> Iterator[int]:
    """Shakes hands as often as it is asked to; gives its port."""
    chain = X509CertChain()
    chain.parsePemList(mine.chain.read_text())
    key = parsePEMKey(mine.key.read_text(), private=True)
    with socket.create_server((HOST, 0), backlog=100) as listening:

        def serve() -> None:
            # The socket is closed when the test is over.
            with contextlib.suppress(OSError):
                while True:
                    line, _ = listening.accept()
                    line.settimeout(SECONDS)
                    # A scanner leaves in the middle, or is refused, or finds a bug of the server.
                    with line, contextlib.suppress(Exception):
                        TLSConnection(line).handshakeServer(certChain=chain, privateKey=key, settings=settings)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(SECONDS)
