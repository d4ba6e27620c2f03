"""DER (X.690): the few encodings certificates and CRLs are spliced from, and a strict reader.

Says nothing of what the bytes mean, and reads no BER: one value has one encoding, so `tlv(tag, content)` gives back
exactly what `children` took apart.
"""

from functools import lru_cache

from pkicode.model.instants import as_datetime

BOOLEAN, INTEGER, BIT_STRING, OCTET_STRING, NULL, OID = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06
UTF8, PRINTABLE, IA5 = 0x0C, 0x13, 0x16
UTC_TIME, GENERALIZED_TIME = 0x17, 0x18
SEQUENCE, SET = 0x30, 0x31

TRUE = b"\x01\x01\xff"


def tlv(tag: int, *parts: bytes) -> bytes:
    """One value: tag, shortest length, and the parts one after the other."""
    body = b"".join(parts)
    return opening(tag, len(body)) + body


@lru_cache(maxsize=4096)
def opening(tag: int, size: int) -> bytes:
    """What stands before the content: tag and shortest length.

    A certificate has twenty of them, nearly all those of the one before it; of a million entries nobody wants a copy.
    """
    if size < 0x80:
        return bytes((tag, size))
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length


def integer(number: int) -> bytes:
    """INTEGER in two's complement, shortest form."""
    bits = number if number >= 0 else ~number
    return tlv(INTEGER, number.to_bytes(bits.bit_length() // 8 + 1, "big", signed=True))


@lru_cache(maxsize=1024)
def oid(dotted: str) -> bytes:
    """OBJECT IDENTIFIER.

    Raises:
        ValueError: not an object identifier, or an arc longer than 128 bits.
    """
    arcs = dotted.split(".")
    if len(arcs) < 2 or not all(arc.isascii() and arc.isdigit() and str(int(arc[:40])) == arc for arc in arcs):
        raise ValueError(f"`{dotted}` is not an object identifier; write numbers and dots, as in 1.3.6.1.4.1")
    first, second, *rest = (int(arc) for arc in arcs)
    if first > 2 or (first < 2 and second > 39):
        raise ValueError(f"`{dotted}` is not an object identifier: {first}.{second} is outside the tree")
    return tlv(OID, *(_base128(arc) for arc in (first * 40 + second, *rest)))


def _base128(arc: int) -> bytes:
    if arc.bit_length() > 128:
        raise ValueError("an arc of an object identifier is longer than 128 bits")
    groups = [arc & 0x7F]
    while arc := arc >> 7:
        groups.append(0x80 | arc & 0x7F)
    return bytes(reversed(groups))


def dotted(content: bytes) -> str:
    """The text of an OBJECT IDENTIFIER's content.

    Raises:
        ValueError: not a whole, shortest-form identifier.
    """
    arcs: list[int] = []
    arc, fresh = 0, True
    for octet in content:
        if fresh and octet == 0x80:
            raise ValueError("an arc of an object identifier is padded")
        arc, fresh = arc << 7 | octet & 0x7F, octet < 0x80
        if fresh:
            arcs.append(arc)
            arc = 0
        elif arc.bit_length() > 121:
            raise ValueError("an arc of an object identifier is longer than 128 bits")
    if not fresh or not arcs:
        raise ValueError("an object identifier is cut short")
    first = min(arcs[0] // 40, 2)
    return ".".join(str(number) for number in (first, arcs[0] - 40 * first, *arcs[1:]))


@lru_cache(maxsize=1024)
def utc_or_generalized(instant: int) -> bytes:
    """Time: UTCTime through 2049, GeneralizedTime from 2050 on (RFC 5280 section 4.1.2.5)."""
    moment = as_datetime(instant)
    if 1950 <= moment.year <= 2049:
        return tlv(UTC_TIME, moment.strftime("%y%m%d%H%M%SZ").encode())
    return generalized(instant)


def generalized(instant: int) -> bytes:
    """GeneralizedTime in whole seconds, whatever the year (invalidityDate, RFC 5280 section 5.3.2)."""
    moment = as_datetime(instant)
    return tlv(GENERALIZED_TIME, b"%04d" % moment.year, moment.strftime("%m%d%H%M%SZ").encode())


def bit_string(octets: bytes) -> bytes:
    """BIT STRING of whole octets."""
    return tlv(BIT_STRING, b"\0", octets)


def named_bits(positions: set[int]) -> bytes:
    """BIT STRING of a named bit list: trailing zero bits are left out (X.690 section 11.2.2)."""
    top = max(positions, default=-1)
    octets = bytearray(top // 8 + 1)
    for position in positions:
        octets[position // 8] |= 0x80 >> position % 8
    return tlv(BIT_STRING, bytes(((7 - top) % 8,)), bytes(octets))


def read(data: bytes, offset: int = 0) -> tuple[int, int, int]:
    """The tag at `offset`, and where its content starts and ends.

    Raises:
        ValueError: cut short, a long-form tag, an indefinite length, or a length in more octets than needed.
    """
    try:
        tag, size = data[offset], data[offset + 1]
    except IndexError:
        raise ValueError(f"DER ends inside a header at octet {offset}") from None
    start = offset + 2
    if tag & 0x1F == 0x1F:
        raise ValueError(f"DER has a long-form tag at octet {offset}")
    if size >= 0x80:
        octets = size & 0x7F
        size = int.from_bytes(data[start : start + octets], "big")
        if not 1 <= octets <= 4 or size < 0x80 or size >> (8 * octets - 8) == 0:
            raise ValueError(f"DER has a length that is not in shortest form at octet {offset}")
        start += octets
    if start + size > len(data):
        raise ValueError(f"DER ends inside a value at octet {offset}")
    return tag, start, start + size


def children(content: bytes) -> list[tuple[int, bytes]]:
    """Tag and content of each value in `content`, which must hold whole values only.

    Raises:
        ValueError: see `read`.
    """
    values = []
    offset, size = 0, len(content)
    while offset < size:
        # The usual header is two octets; `read` knows the others, and refuses what is wrong.
        start = offset + 2
        if start <= size and (length := content[offset + 1]) < 0x80 and start + length <= size:
            tag, end = content[offset], start + length
        else:
            tag, start, end = read(content, offset)
        if tag & 0x1F == 0x1F:
            raise ValueError(f"DER has a long-form tag at octet {offset}")
        values.append((tag, content[start:end]))
        offset = end
    return values


def only(data: bytes, tag: int) -> bytes:
    """The content of `data`, which must be one value with this tag and nothing after it.

    Raises:
        ValueError: another tag, or octets after the value.
    """
    found, start, end = read(data)
    if found != tag:
        raise ValueError(f"DER has tag {found:#04x} where {tag:#04x} belongs")
    if end != len(data):
        raise ValueError(f"DER is followed by {len(data) - end} more octets")
    return data[start:end]
