"""HSTS and SecurityHeaders: what a web server tells browsers (RFC 6797; the others by W3C and WHATWG)."""

import re

from pkicode.model.instants import DAY
from pkicode.scanner.finding import Finding, Grade
from pkicode.scanner.session import Known, Session, Wish
from pkicode.tls.hello import TLS12, TLS13

_PORTS = (443, 8443)
_LONG = 180 * DAY
_WANTED = ("content-security-policy", "x-content-type-options", "x-frame-options", "referrer-policy")
_HEADERS_MOST = 100
_VALUE_MOST = 300
"""Characters of a header that are told."""


async def ask(session: Session) -> None:
    """Only of whom a browser would ask: a port of the web, or a protocol of it chosen by ALPN."""
    known, target = session.known, session.target
    chosen = known.first.value.alpn if known.first.value else ""
    version = next((version for version in (TLS13, TLS12) if version in known.answers), 0)
    if version and not target.starttls and (chosen in {"h2", "http/1.1"} or target.port in _PORTS):
        name = target.server_name or (f"[{target.address}]" if ":" in target.address else target.address)
        host = re.sub(r"[^A-Za-z0-9._:\[\]-]", "", name)
        request = f"GET / HTTP/1.1\r\nHost: {host}\r\nUser-Agent: pkicode\r\nConnection: close\r\n\r\n".encode()
        known.http = await session.shake(Wish(version, request=request))


def judge(known: Known) -> list[Finding]:
    """A missing header is a warning."""
    if known.http is None or (known.http.value and not known.http.value.said.startswith(b"HTTP/")):
        return [
            Finding("HTTP", check, Grade.SKIPPED, "", "It speaks no HTTP.") for check in ("HSTS", "SecurityHeaders")
        ]
    if known.http.value is None:
        detail = f"The question was not answered ({known.http.how})."
        return [Finding("HTTP", check, Grade.UNKNOWN, "", detail) for check in ("HSTS", "SecurityHeaders")]
    headers = _headers(known.http.value.said)
    return [_hsts(headers), _others(headers)]


def _headers(said: bytes) -> dict[str, str]:
    """The first of each name, in lower case."""
    lines = said.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1 : _HEADERS_MOST + 1]
    pairs = [line.partition(":") for line in lines]
    return {name.strip().lower(): value.strip()[:_VALUE_MOST] for name, colon, value in reversed(pairs) if colon}


def _hsts(headers: dict[str, str]) -> Finding:
    value = headers.get("strict-transport-security", "")
    age = re.search(r"(?i)max-age\s*=\s*\"?([0-9]{1,12})\b", value)
    if not age:
        detail = "Browsers may be sent to plain HTTP: send Strict-Transport-Security: max-age=31536000."
        return Finding("HTTP", "HSTS", Grade.WARNING, value, detail)
    if int(age[1]) < _LONG:
        return Finding("HTTP", "HSTS", Grade.WARNING, value, "Less than 180 days are too short: max-age=31536000.")
    return Finding("HTTP", "HSTS", Grade.GOOD, value, "Browsers remember to come by TLS.")


def _others(headers: dict[str, str]) -> Finding:
    there, missing = [one for one in _WANTED if one in headers], [one for one in _WANTED if one not in headers]
    if missing:
        detail = f"Not sent: {', '.join(missing)}."
        return Finding("HTTP", "SecurityHeaders", Grade.WARNING, " ".join(there), detail)
    return Finding("HTTP", "SecurityHeaders", Grade.GOOD, " ".join(there), "All that are asked for are sent.")
