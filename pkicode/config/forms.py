"""The forms a text in pki.toml may have: durations, fractions, modes, addresses.  No tables, no places."""

import binascii
import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

from attrs import field, frozen

from pkicode.config import pkcs11_uri, state_url
from pkicode.config.wrong import WrongForm
from pkicode.model import target
from pkicode.model.address import parse
from pkicode.model.instants import DAY, YEAR, duration, parse_duration
from pkicode.model.reason import REASONS

_LONGEST = 1000 * YEAR
_WITHIN = f"{duration(1)} to {duration(_LONGEST)}"
MOST = 10**9
"""Of whole numbers, which are never negative."""
_KEPT = 30 * DAY
"""The least that certificates are kept after their end: a list says once more that they are revoked, and people ask."""
_FRACTION = re.compile(r"([1-9][0-9]{0,5})/([1-9][0-9]{0,5})\Z")
_PERCENT = re.compile(r"(100|[0-9]{1,2})%\Z")
_MODE = re.compile(r"0[0-7]{3}\Z")
_HTTP = re.compile(r"http://[A-Za-z0-9.\[\]:-]+(/[\x21-\x7e]*)?\Z")
_SERIAL = re.compile(r"(?:0x)?0*([1-9a-f][0-9a-f]{0,39})\Z")
_LONG = 60
"""Characters of a stranger's text that a message shows: more than any serial number has."""
_ENTRY = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_SPKI = re.compile(r"[0-9a-f]{64}\Z")
_PUBLIC_KEY = re.compile(r"-----(BEGIN|END) PUBLIC KEY-----")
_VERSIONS = re.compile(r"(>=|==|<) *([0-9]+(?:\.[0-9]+){0,2})\Z")


SUITE_KINDS = ("RC4", "3DES", "CBC", "SHA1", "MD5", "NULL", "EXPORT", "ANON", "RSA")
"""Kinds of cipher suites that `forbid` knows; which suites are of a kind is scanner/policy.py's."""
_IANA_SUITE = re.compile(r"TLS_[A-Z0-9_]{3,80}\Z", re.IGNORECASE)


@frozen
class Form:
    """What is expected, in words for a message; how it is read; its pattern in JSON Schema."""

    expected: str
    example: str
    read: Callable[[str], Any] = field(repr=False)
    pattern: str = ""
    within: str = ""
    """Its least and its most, in words."""


def _duration(text: str) -> int:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise WrongForm("E0205", str(error)) from error
    if not 0 < seconds <= _LONGEST:
        raise WrongForm("E0212", f"`{text}` is not within {_WITHIN}")
    return seconds


def _kept(text: str) -> int:
    seconds = _duration(text)
    if seconds < _KEPT:
        raise WrongForm(
            "E0212", f"`{text}` is less than {duration(_KEPT)}", f'write keep = "{duration(_KEPT)}" or more'
        )
    return seconds


def _fraction_or_duration(text: str) -> str:
    fraction = _FRACTION.match(text)
    if fraction:
        if int(fraction[1]) > int(fraction[2]):
            raise WrongForm("E0212", f"`{text}` is more than the whole validity", "write a fraction such as 2/3")
        return text
    try:
        _duration(text)
    except WrongForm as error:
        raise WrongForm("E0206", f"`{text}` is neither a fraction such as 2/3 nor a duration such as 30d") from error
    return text


def _matching(pattern: re.Pattern[str], code: str, what: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if not pattern.match(text):
            raise WrongForm(code, f"`{text}` is not {what}")
        return text

    return read


def _address(text: str) -> str:
    try:
        address, _ = parse(text)
    except ValueError as error:
        raise WrongForm("E0206", str(error)) from error
    if address.kind not in ("ca", "cert"):
        raise WrongForm("E0206", f"`{text}` is not the address of a CA or a certificate", "write ca.NAME or cert.NAME")
    return text


def _cert_address(text: str) -> str:
    if not _address(text).startswith("cert."):
        raise WrongForm(
            "E0206", f"`{text}` is not the address of a certificate", 'write cert.NAME; a CA is ca = "NAME"'
        )
    if parse(text)[1] is not None:
        raise WrongForm(
            "E0206", f"`{text}` has a generation", "leave out the @N; a [[revoke]] says it as generation = N"
        )
    return text


def _target(text: str) -> str:
    try:
        target.read(text)
    except ValueError as error:
        raise WrongForm("E0350", str(error)) from error
    return text


def _suite(text: str) -> str:
    if text in SUITE_KINDS or _IANA_SUITE.match(text):
        return text
    close = get_close_matches(text.upper(), SUITE_KINDS, 1)
    mend = f"did you mean {close[0]}?" if close else f"one of {' '.join(SUITE_KINDS)}, or TLS_... as IANA writes it"
    raise WrongForm("E0206", f"`{text}` is neither a kind of suites nor the name of one", mend)


def serial(text: str) -> str:
    """A serial number as the inventory has it: `7A:3F` or `0x07a3f` as `7a3f`.

    Raises:
        WrongForm: not hexadecimal, zero, or longer than RFC 5280 section 4.1.2.2 allows.
    """
    match = _SERIAL.match(text.replace(":", "").lower())
    if not match:
        raise WrongForm(
            "E0334",
            f"`{text if len(text) <= _LONG else text[:_LONG] + '...'}` is not a serial number",
            "write it in hexadecimal, as `pkicode inventory` and `openssl x509 -serial` do",
        )
    return match[1]


def _reason(text: str) -> str:
    if text in ("certificateHold", "removeFromCRL"):
        raise WrongForm(
            "E0333",
            f"`{text}` is refused: it says that a revocation may be taken back, and relying parties cache",
            "revoke for good, with another reason; what is wanted again is issued again",
        )
    if text not in REASONS:
        words, word = {one.lower(): one for one in REASONS}, text.lower()
        # Nearer in letters is cACompromise, and who writes no more than this means the key.
        guess = get_close_matches(f"key{word}" if word.startswith("comp") else word, words, 1)
        near = f"; did you mean `{words[guess[0]]}`?" if guess else ""
        raise WrongForm(
            "E0204", f"`{text}` is no reason of RFC 5280 section 5.3.1{near}", f"one of {', '.join(REASONS)}"
        )
    return text


def _public_key(text: str) -> str:
    """Base64 without blanks; what is given is never shown, because it may be the private half."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    bare = "".join(_PUBLIC_KEY.sub("", text).split())
    try:
        load_der_public_key(binascii.a2b_base64(bare, strict_mode=True))
    except (ValueError, UnsupportedAlgorithm):
        mend = "write what `openssl pkey -in key.pem -pubout` prints"
        # Whatever the cause holds is not told: it may be about a private key.
        raise WrongForm("E0206", "this is no public key", mend) from None
    return bare


def _path(text: str) -> str:
    if not text or not text.isprintable():
        raise WrongForm("E0206", "a path may not be empty or hold control characters")
    return text


def _http_url(text: str) -> str:
    if text.startswith("https://"):
        raise WrongForm(
            "E0213",
            f"`{text}` is https, but whoever fetches a CRL to check that certificate would need a CRL first",
            "write http://; CRLs and CA certificates are signed themselves (RFC 5280 section 8)",
        )
    return _matching(_HTTP, "E0206", "an http URL such as http://pki.example.org")(text)


def _requires(text: str) -> str:
    bounds(text)
    return text


def bounds(text: str) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """`>=0.1,<2` as ((">=", (0, 1, 0)), ("<", (2, 0, 0)))."""
    found = []
    for part in text.split(","):
        match = _VERSIONS.match(part.strip())
        if not match:
            raise WrongForm("E0206", f"`{text}` is not a list of version bounds; write e.g. >=0.1,<2")
        numbers = [int(number) for number in match[2].split(".")]
        found.append((match[1], (*numbers, *[0] * (3 - len(numbers)))))
    return tuple(found)


def covers(text: str, version: str) -> bool:
    """Whether `>=0.1,<2` lets this version through."""
    ours = tuple(int(number) for number in version.split("."))
    tests: Mapping[str, Callable[[tuple[int, ...], tuple[int, ...]], bool]] = {
        ">=": lambda a, b: a >= b,
        "==": lambda a, b: a == b,
        "<": lambda a, b: a < b,
    }
    return all(tests[sign](ours, bound) for sign, bound in bounds(text))


FORMS: Mapping[str, Form] = {
    "duration": Form('a duration such as "90d"', '"90d"', _duration, "^[0-9]{1,9}[smhdwy]$", _WITHIN),
    "kept": Form(
        'a duration such as "2y"', '"2y"', _kept, "^[0-9]{1,9}[smhdwy]$", f"{duration(_KEPT)} to {duration(_LONGEST)}"
    ),
    "fraction-or-duration": Form(
        'a fraction such as "2/3" or a duration such as "30d"',
        '"2/3"',
        _fraction_or_duration,
        "^[0-9]+(/[0-9]+|[smhdwy])$",
        f"a fraction to the whole, 1/1; {_WITHIN}",
    ),
    "percent": Form(
        'a percentage such as "30%"',
        '"30%"',
        _matching(_PERCENT, "E0206", "a percentage such as 30%"),
        "^[0-9]{1,3}%$",
        "0% to 100%",
    ),
    "mode": Form(
        'an octal file mode such as "0600"',
        '"0600"',
        _matching(_MODE, "E0206", "an octal file mode such as 0600"),
        "^0[0-7]{3}$",
        "0000 to 0777",
    ),
    "address": Form('an address such as "cert.portal"', '"cert.portal"', _address),
    "cert-address": Form("the address of a certificate", '"cert.portal"', _cert_address),
    "entry-id": Form(
        "an id such as INC-1042",
        '"INC-1042"',
        _matching(_ENTRY, "E0206", "an id: letters, digits, _ and -, at most 64"),
        "^[A-Za-z0-9_-]{1,64}$",
    ),
    "reason": Form("a reason such as keyCompromise", '"keyCompromise"', _reason, f"^({'|'.join(REASONS)})$"),
    "serial": Form("a serial number in hexadecimal, as text", '"7a3f"', serial, "^(0x)?[0-9A-Fa-f:]+$"),
    "spki": Form(
        "the sha256 of a public key, in hexadecimal",
        '"9f86..."',
        lambda text: _matching(_SPKI, "E0206", "64 hexadecimal digits, the sha256 of a SubjectPublicKeyInfo")(
            text.replace(":", "").lower()
        ),
        "^[0-9A-Fa-f:]{64,95}$",
    ),
    "public-key": Form("a public key, as PEM or base64", '"MCowBQYDK2VwAyEA..."', _public_key),
    "target": Form("a target such as host:443", '"portal.example.org:443"', _target),
    "suite": Form("a kind of suites, or IANA's name of one", '"RC4"', _suite),
    "path": Form("a path", '"out/portal.pem"', _path),
    "http-url": Form("an http URL", '"http://pki.example.org"', _http_url, "^http://"),
    "state-url": Form(
        "a state URL", '"sqlite:///.pkicode/state.db"', state_url.checked, "^(sqlite:///|postgres(ql)?://)"
    ),
    "pkcs11-uri": Form("the PKCS #11 URI of a token", '"pkcs11:token=corp"', pkcs11_uri.token, "^[Pp][Kk][Cc][Ss]11:"),
    "requires": Form("a list of version bounds", '">=0.1,<2"', _requires),
}
