"""Servers of eight protocols up to STARTTLS; what follows goes to a TLS server behind them."""

import asyncio
import re
from collections.abc import Sequence

from tests.scan.servers import HOST
from tests.scan.strange import Serve, passing

XMPP = b"urn:ietf:params:xml:ns:xmpp-tls"
LDAP_SUCCESS = bytes.fromhex("300c02010178070a010004000400")
LDAP_LONG = bytes.fromhex("308400000010020101788400000007" + "0a010004000400")
POSTGRES = re.escape((80877103).to_bytes(4, "big"))
MYSQL = b"\x0a8.0.36\0" + (7).to_bytes(4, "little") + b"8 octets" + b"\0" + bytes.fromhex("00aa2108000fc0") + bytes(30)

Turn = tuple[bytes, bytes]
"""What the server waits for (a pattern of the last octets), and what it says then."""

PROTOCOLS: dict[str, Sequence[Turn]] = {
    "smtp": [
        (b"", b"220-mail.example ESMTP\r\n220 ready\r\n"),
        (b"\r\n", b"250-mail.example\r\n250-STARTTLS\r\n250 SIZE\r\n"),
        (b"STARTTLS\r\n", b"220 Go ahead\r\n"),
    ],
    "imap": [
        (b"", b"* OK [CAPABILITY IMAP4rev1 STARTTLS] ready\r\n"),
        (b"STARTTLS\r\n", b"%(tag)s OK begin\r\n"),
    ],
    "pop3": [(b"", b"+OK ready\r\n"), (b"STLS\r\n", b"+OK begin\r\n")],
    "ftp": [(b"", b"220-Welcome\r\n220 ready\r\n"), (b"AUTH TLS\r\n", b"234 AUTH command OK\r\n")],
    "ldap": [(b"1.3.6.1.4.1.1466.20037", LDAP_SUCCESS)],
    "xmpp": [
        (
            rb"<stream:stream[^>]*>",
            b"<?xml version='1.0'?><stream:stream id='1' from='scanned.example' version='1.0' xmlns='jabber:client'"
            b" xmlns:stream='http://etherx.jabber.org/streams'><stream:features><starttls xmlns='" + XMPP + b"'>"
            b"<required/></starttls></stream:features>",
        ),
        (rb"<starttls[^>]*>", b"<proceed xmlns='" + XMPP + b"'/>"),
    ],
    "postgres": [(POSTGRES, b"S")],
    "mysql": [(b"", len(MYSQL).to_bytes(3, "little") + b"\0" + MYSQL), (rb"\0{23}", b"")],
}


def clear(port: int, turns: Sequence[Turn]) -> Serve:
    """The dialogue, then everything to and from the TLS server at `port`."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for awaited, said in turns:
            heard = b""
            while not re.search(awaited + rb"\Z", heard):
                heard += await reader.readexactly(1)
                if heard.endswith(b"CAPABILITY\r\n"):
                    writer.write(b"* CAPABILITY IMAP4rev1 STARTTLS\r\n" + heard.split(b" ")[0] + b" OK\r\n")
                    heard = b""
            writer.write(said.replace(b"%(tag)s", heard.split(b" ")[0]))
        back, forth = await asyncio.open_connection(HOST, port)
        await passing((reader, writer), (back, forth))

    return serve
