"""PEM (RFC 7468): text around DER, written in its one strict form and read with limits."""

import base64
import binascii

_LIMIT = 16 * 1024 * 1024
"""A bundle of every public root is below 1 MiB."""
_MOST_BLOCKS = 10_000


def encode(label: str, der: bytes) -> bytes:
    """One block, 64 characters a line."""
    text = base64.b64encode(der)
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    mark = label.encode("ascii")
    return b"-----BEGIN %b-----\n%b\n-----END %b-----\n" % (mark, b"\n".join(lines), mark)


def decode(data: bytes, label: str, *, limit: int = _LIMIT) -> list[bytes]:
    """The DER of every block with this label, in their order; text between blocks and other blocks are passed over.

    Raises:
        ValueError: larger than `limit`, no such block, a block without its end, or base64 that is damaged.
    """
    if len(data) > limit:
        raise ValueError(f"{len(data)} octets of PEM are more than the {limit} that are read")
    begin, end = b"-----BEGIN %b-----" % label.encode("ascii"), b"-----END %b-----" % label.encode("ascii")
    blocks: list[bytes] = []
    offset = data.find(begin)
    while offset >= 0:
        stop = data.find(end, offset)
        if stop < 0:
            raise ValueError(f"the PEM block {label} has no end line")
        blocks.append(_body(data[offset + len(begin) : stop], label))
        if len(blocks) > _MOST_BLOCKS:
            raise ValueError(f"more than {_MOST_BLOCKS} PEM blocks")
        offset = data.find(begin, stop)
    if not blocks:
        raise ValueError(f"no PEM block {label} is there")
    return blocks


def _body(text: bytes, label: str) -> bytes:
    try:
        der = base64.b64decode(b"".join(text.split()), validate=True)
    except binascii.Error as error:
        raise ValueError(f"the PEM block {label} is damaged: {error}") from error
    if not der:
        raise ValueError(f"the PEM block {label} is empty")
    return der
