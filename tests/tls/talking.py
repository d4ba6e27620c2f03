"""Talks without a connection: given what a server says, piece by piece, and then the end."""

from typing import TypeVar

from pkicode.tls.conversation import Talk

T = TypeVar("T")


def told(talk: Talk[T], *pieces: bytes, end: Exception | None = None) -> T:
    """What the talk makes of the pieces; after them comes `end` (EOFError)."""
    try:
        next(talk)
        for piece in pieces:
            talk.send(piece)
        talk.throw(end or EOFError())
    except StopIteration as done:
        value: T = done.value
        return value
    raise AssertionError("the talk goes on after the end")


def sent(talk: Talk[object], *pieces: bytes) -> list[bytes]:
    """What the talk sends, first and after each piece, as long as it goes on."""
    out = []
    try:
        out.append(next(talk))
        out += [talk.send(piece) for piece in pieces]
    except StopIteration:
        return out
    talk.close()
    return out
