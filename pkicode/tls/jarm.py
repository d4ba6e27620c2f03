"""JARM: a server known again by what it takes of ten odd hellos (Salesforce, 2020).

The ten are what JARM is: a fingerprint can be looked up elsewhere only if nothing that a server may react to differs.
"""

import hashlib
from collections.abc import Sequence
from typing import Final

from attrs import frozen

from pkicode.tls.client13 import Entropy
from pkicode.tls.conversation import Reading, Talk
from pkicode.tls.hello import (
    ALPN,
    EXTENDED_MASTER_SECRET,
    KEY_SHARE,
    POINT_FORMATS,
    PSK_MODES,
    RENEGOTIATION_INFO,
    SERVER_NAME,
    SESSION_TICKET,
    SIGNATURE_ALGORITHMS,
    SSL3,
    SUPPORTED_GROUPS,
    SUPPORTED_VERSIONS,
    TLS10,
    TLS11,
    TLS12,
    TLS13,
    ClientHello,
    ServerHello,
    numbers,
    vector,
)
from pkicode.tls.records import HANDSHAKE, Garbled, record

_MAX_FRAGMENT_LENGTH: Final = 1
_SUITES: Final = (
    0x0016, 0x0033, 0x0067, 0xC09E, 0xC0A2, 0x009E, 0x0039, 0x006B, 0xC09F, 0xC0A3, 0x009F, 0x0045, 0x00BE, 0x0088,
    0x00C4, 0x009A, 0xC008, 0xC009, 0xC023, 0xC0AC, 0xC0AE, 0xC02B, 0xC00A, 0xC024, 0xC0AD, 0xC0AF, 0xC02C, 0xC072,
    0xC073, 0xCCA9, 0x1302, 0x1301, 0xCC14, 0xC007, 0xC012, 0xC013, 0xC027, 0xC02F, 0xC014, 0xC028, 0xC030, 0xC060,
    0xC061, 0xC076, 0xC077, 0xCCA8, 0x1305, 0x1304, 0x1303, 0xCC13, 0xC011, 0x000A, 0x002F, 0x003C, 0xC09C, 0xC0A0,
    0x009C, 0x0035, 0x003D, 0xC09D, 0xC0A1, 0x009D, 0x0041, 0x00BA, 0x0084, 0x00C0, 0x0007, 0x0004, 0x0005,
)  # fmt: skip
_OF_TLS13: Final = tuple(one for one in _SUITES if one >> 8 == 0x13)
_RANKED: Final = (*sorted(set(_SUITES) - set(_OF_TLS13)), *sorted(_OF_TLS13))
"""In a fingerprint a suite is the number of its place here, from 1."""
_PROTOCOLS: Final = ("hq", "h2c", "h2", "spdy/3", "spdy/2", "spdy/1", "http/1.1", "http/1.0", "http/0.9")
_RARE: Final = tuple(one for one in _PROTOCOLS if one not in ("h2", "http/1.1"))
_GROUPS: Final = (29, 23, 24, 25)
_SIGNATURES: Final = (0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601, 0x0201)
_LETTERS: Final = "abcdef"
NOTHING: Final = "0" * 62
"""Of a server that takes none of the ten."""


@frozen
class _Odd:
    """What is odd in one hello."""

    suites: tuple[int, ...]
    protocols: tuple[str, ...]
    versions: tuple[int, ...] = ()
    """Of supported_versions, in their order; none: without it."""
    version: int = TLS12
    """Of the hello."""
    on_record: int = TLS12
    grease: bool = False


def _outward(suites: Sequence[int]) -> tuple[int, ...]:
    """From the middle to both ends by turns, the later one first."""
    middle = len(suites) // 2
    steps = ((middle + step, middle - step) for step in range(1, middle + 1))
    return (suites[middle], *(suites[at] for both in steps for at in both))


_BACK = _SUITES[::-1]
_MIDDLE = len(_SUITES) // 2
_RISING = (TLS10, TLS11, TLS12)
_ODD: Final = (
    _Odd(_SUITES, _PROTOCOLS, _RISING[::-1]),
    _Odd(_BACK, _PROTOCOLS[::-1], _RISING),
    _Odd(_BACK[_MIDDLE:], _PROTOCOLS[::-1]),
    _Odd(_SUITES[_MIDDLE + 1 :], _RARE[::-1]),
    _Odd(_outward(_SUITES), _RARE, grease=True),
    _Odd(_SUITES, _PROTOCOLS[::-1], version=TLS11, on_record=TLS11),
    _Odd(_SUITES, _PROTOCOLS, (TLS13, *_RISING[::-1]), on_record=TLS10),
    _Odd(_BACK, _PROTOCOLS[::-1], (*_RISING, TLS13), on_record=TLS10),
    _Odd(tuple(one for one in _SUITES if one not in _OF_TLS13), _PROTOCOLS[::-1], (*_RISING, TLS13), on_record=TLS10),
    _Odd(_outward(_SUITES), _PROTOCOLS, (TLS13, *_RISING[::-1]), on_record=TLS10, grease=True),
)


def openings(host: str, entropy: Entropy) -> tuple[bytes, ...]:
    """The ten, each as it is sent; `host` is the name or the address that is asked for."""
    return tuple(_opening(odd, host, entropy) for odd in _ODD)


def _opening(odd: _Odd, host: str, entropy: Entropy) -> bytes:
    def grease() -> tuple[int, ...]:
        return ((entropy(1)[0] & 0xF0 | 0x0A) * 0x0101,) if odd.grease else ()

    name = vector(2, b"\0" + vector(2, host.encode("utf-8", "replace")[:255]))
    share = b"".join(one.to_bytes(2, "big") + vector(2, b"\0") for one in grease())
    share += _GROUPS[0].to_bytes(2, "big") + vector(2, entropy(32))
    extensions = [(one, b"") for one in grease()]
    extensions += [
        (SERVER_NAME, name),
        (EXTENDED_MASTER_SECRET, b""),
        (_MAX_FRAGMENT_LENGTH, b"\1"),
        (RENEGOTIATION_INFO, b"\0"),
        (SUPPORTED_GROUPS, numbers(2, _GROUPS)),
        (POINT_FORMATS, b"\1\0"),
        (SESSION_TICKET, b""),
        (ALPN, vector(2, *(vector(1, one.encode()) for one in odd.protocols))),
        (SIGNATURE_ALGORITHMS, numbers(2, _SIGNATURES)),
        (KEY_SHARE, vector(2, share)),
        (PSK_MODES, b"\1\1"),
    ]
    if odd.versions:
        extensions.append((SUPPORTED_VERSIONS, numbers(1, (*grease(), *odd.versions))))
    hello = ClientHello(
        version=odd.version,
        random=entropy(32),
        suites=(*grease(), *odd.suites),
        extensions=tuple(extensions),
        session_id=entropy(32),
        is_padded=False,
    )
    return record(HANDSHAKE, odd.on_record, hello.message())


def heard(opening: bytes) -> Talk[str]:
    """What a server takes of one of them, in the words of JARM; "|||" if nothing."""
    reading = Reading()
    try:
        data = yield opening
        if data[0] != HANDSHAKE:
            # Whatever it warns of first counts as its answer.
            return "|||"
        while not reading.feed(data) and reading.answer.hello is None:
            data = yield b""
    except (Garbled, EOFError, ConnectionError):
        # To such hellos that is an answer like others.
        return "|||"
    return _said(reading.answer.hello)


def _said(hello: ServerHello | None) -> str:
    if hello is None:
        return "|||"
    kinds = "-".join(f"{one:04x}" for one in hello.extensions)
    try:
        # What stands behind two lengths, be they wrong: JARM does not look at them.
        protocol = hello.extensions.get(ALPN, b"")[3:].decode()
    except UnicodeDecodeError:
        return "|||"
    return f"{hello.suite:04x}|{hello.legacy_version:04x}|{protocol}|{kinds}"


def fingerprint(answers: Sequence[str]) -> str:
    """The 62 characters: three for each answer (suite and version), then a digest of protocols and extensions."""
    if all(one == "|||" for one in answers):
        return NOTHING
    # A protocol is a stranger's text and may have the sign that stands between the words; others go by the first four.
    parts = [one.split("|")[:4] for one in answers]
    taken = "".join(_short(suite, version) for suite, version, _, _ in parts)
    rest = "".join(f"{protocol}{kinds}" for _, _, protocol, kinds in parts)
    return taken + hashlib.sha256(rest.encode("utf-8", "replace")).hexdigest()[:32]


def _short(suite: str, version: str) -> str:
    if not suite:
        return "000"
    number = int(suite, 16)
    place = _RANKED.index(number) + 1 if number in _RANKED else len(_RANKED) + 1
    letter = _LETTERS[int(version, 16) - SSL3] if 0 <= int(version, 16) - SSL3 < len(_LETTERS) else "0"
    return f"{place:02x}{letter}"
