"""Servers that misbehave, in the event loop of the scan, and boxes before a server that do not bear every hello."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from pkicode.tls.hello import TLS12
from pkicode.tls.records import HANDSHAKE, Message, record
from tests.scan.servers import HOST

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(serve: Serve) -> AsyncIterator[int]:
    """Give each connection to `serve`, and hang up after it; gives the port."""
    tasks: set[asyncio.Task[None]] = set()

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        tasks.add(task)
        try:
            # The client is free to leave at any time.
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await serve(reader, writer)
        finally:
            writer.close()
            tasks.discard(task)

    server = await asyncio.start_server(one, HOST, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def hello_of(reader: asyncio.StreamReader) -> bytes:
    """The record with the client's hello, or what there is of something else."""
    opening = await reader.readexactly(2)
    if opening[0] & 0x80:
        return opening + await reader.readexactly(int.from_bytes(opening, "big") & 0x7FFF)
    rest = await reader.readexactly(3)
    return opening + rest + await reader.readexactly(int.from_bytes(rest[1:], "big"))


async def leave(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Hang up."""


async def reset(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Hang up so that the client gets a reset."""
    line = writer.get_extra_info("socket")
    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def tarpit(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Reads and says nothing."""
    while await reader.read(1000):
        continue


async def hangs_up(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await hello_of(reader)


async def resets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await hello_of(reader)
    await reset(reader, writer)


def says(said: bytes, *, again: bool = False, then_stays: bool = False) -> Serve:
    """A server that answers with these octets: once or for ever, and hangs up or stays."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await hello_of(reader)
        writer.write(said)
        # Many at once: a line is full sooner, and whoever writes waits.
        many = said * (65536 // len(said) + 1)
        while again:
            await writer.drain()
            writer.write(many)
        if then_stays:
            await tarpit(reader, writer)
        await writer.drain()

    return serve


def server_hello(suite: int, *messages: Message) -> bytes:
    """A ServerHello of TLS 1.2, and what follows it, in as many records as it takes."""
    said = Message(2, TLS12.to_bytes(2, "big") + bytes(32) + b"\0" + suite.to_bytes(2, "big") + b"\0").encode()
    said += b"".join(message.encode() for message in messages)
    return b"".join(record(HANDSHAKE, TLS12, said[at : at + 16384]) for at in range(0, len(said), 16384))


def box(port: int, bears: Callable[[bytes], bool], refuse: Serve) -> Serve:
    """A box before the server at `port` that lets pass only the hellos that it bears; `refuse` gets the others."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello = await hello_of(reader)
        if not bears(hello):
            await refuse(reader, writer)
            return
        back, forth = await asyncio.open_connection(HOST, port)
        forth.write(hello)
        await passing((reader, writer), (back, forth))

    return serve


Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def passing(client: Line, server: Line) -> None:
    """Everything from each to the other, until both hung up."""
    try:
        async with asyncio.TaskGroup() as both:
            both.create_task(_pass(server[0], client[1]))
            both.create_task(_pass(client[0], server[1]))
    finally:
        server[1].close()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    # Either side may hang up; the other hears of it.
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()
