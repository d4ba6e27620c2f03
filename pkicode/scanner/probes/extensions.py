"""ALPN, EMS, EncryptThenMAC, Renegotiation, SessionTickets, CRIME, Downgrade and ClientCAs: what the answers say.

Every hello names these extensions, so that no connection is needed for them.
"""

from pkicode.scanner.certificate import name_text
from pkicode.scanner.finding import Finding, Grade
from pkicode.scanner.session import Known
from pkicode.tls.conversation import Answer
from pkicode.tls.hello import (
    ENCRYPT_THEN_MAC,
    EXTENDED_MASTER_SECRET,
    RENEGOTIATION_INFO,
    SESSION_TICKET,
    SSL3,
    TLS13,
)

_TOLD, _LETTERS = 20, 200
"""Names of CAs in one sentence, and characters of one."""
_HANDSHAKE, _SESSION, _ATTACKS = "TLSHandshake", "TLSSession", "Vulnerabilities"


def judge(known: Known) -> list[Finding]:
    """One finding for each."""
    old = [answer for answer in known.all_answers() if SSL3 < answer.version < TLS13]
    return [
        _alpn(known),
        _ems(old),
        _etm(old),
        _renegotiation(known),
        _tickets(old),
        _crime(known),
        _downgrade(known),
        _authorities(known),
    ]


def _alpn(known: Known) -> Finding:
    first = known.first.value
    if first is None or not first.hello:
        return Finding(_HANDSHAKE, "ALPN", Grade.UNKNOWN, "", "The hello that names protocols was not answered.")
    chosen = f"It chooses {first.alpn}." if first.alpn else "It chooses none of h2 and http/1.1."
    return Finding(_HANDSHAKE, "ALPN", Grade.GOOD, first.alpn, chosen)


def _ems(old: list[Answer]) -> Finding:
    if not old:
        return Finding(_HANDSHAKE, "EMS", Grade.SKIPPED, "", "TLS 1.3 needs it no more.")
    if all(answer.has(EXTENDED_MASTER_SECRET) for answer in old):
        return Finding(_HANDSHAKE, "EMS", Grade.GOOD, "yes", "Sessions are bound to their handshake (RFC 7627).")
    detail = "Sessions can be made to look alike on two connections (RFC 7627): update the TLS library."
    return Finding(_HANDSHAKE, "EMS", Grade.WARNING, "no", detail)


def _etm(old: list[Answer]) -> Finding:
    blocks = [answer for answer in old if answer.suite.cbc]
    if not blocks:
        return Finding(_HANDSHAKE, "EncryptThenMAC", Grade.SKIPPED, "", "No CBC suite is taken.")
    if all(answer.has(ENCRYPT_THEN_MAC) for answer in blocks):
        return Finding(_HANDSHAKE, "EncryptThenMAC", Grade.GOOD, "yes", "CBC suites encrypt first (RFC 7366).")
    detail = "CBC suites authenticate first (RFC 7366): use AEAD suites alone."
    return Finding(_HANDSHAKE, "EncryptThenMAC", Grade.WARNING, "no", detail)


def _renegotiation(known: Known) -> Finding:
    # SSLv3 is asked by its signalling suite, and answers with the extension.
    old = [answer for answer in known.all_answers() if answer.version < TLS13]
    if not old:
        return Finding(_SESSION, "SecureRenegotiation", Grade.SKIPPED, "", "TLS 1.3 does not renegotiate.")
    if all(answer.has(RENEGOTIATION_INFO) for answer in old):
        return Finding(_SESSION, "SecureRenegotiation", Grade.GOOD, "yes", "Renegotiation is bound (RFC 5746).")
    detail = "Another's handshake can be put before a client's (CVE-2009-3555): update the TLS library."
    return Finding(_SESSION, "SecureRenegotiation", Grade.BAD, "no", detail)


def _tickets(old: list[Answer]) -> Finding:
    if not old:
        return Finding(_SESSION, "SessionTickets", Grade.SKIPPED, "", "TLS 1.3 alone.")
    value = "yes" if any(answer.has(SESSION_TICKET) for answer in old) else "no"
    cached = (
        "it also gives session ids" if any(answer.hello and answer.hello.session_id for answer in old) else "no ids"
    )
    return Finding(_SESSION, "SessionTickets", Grade.GOOD, value, f"Tickets before TLS 1.3: {value}; {cached}.")


def _crime(known: Known) -> Finding:
    old = [answer for answer in known.all_answers() if answer.version < TLS13]
    if any(answer.hello and answer.hello.compression for answer in old):
        detail = "Compression tells of the plaintext by its length (CVE-2012-4929): switch it off."
        return Finding(_ATTACKS, "CRIME", Grade.BAD, "compression", detail)
    if not known.is_whole():
        return Finding(_ATTACKS, "CRIME", Grade.UNKNOWN, "", f"Not all is known: {known.missing()}.")
    return Finding(_ATTACKS, "CRIME", Grade.GOOD, "", "Nothing is compressed.")


def _downgrade(known: Known) -> Finding:
    if TLS13 not in known.answers and not (known.first.value and known.first.value.version == TLS13):
        return Finding(_HANDSHAKE, "Downgrade", Grade.SKIPPED, "", "It does not speak TLS 1.3.")
    old = [answer for taken in known.answers.values() for answer in taken if answer.hello and answer.version < TLS13]
    old = [answer for answer in old if answer.version >= 0x0301]
    if not old:
        return Finding(_HANDSHAKE, "Downgrade", Grade.SKIPPED, "", "It speaks TLS 1.3 alone.")
    if all(answer.hello and answer.hello.downgraded_from for answer in old):
        return Finding(_HANDSHAKE, "Downgrade", Grade.GOOD, "yes", "A downgrade shows in its random (RFC 8446 4.1.3).")
    detail = "Nobody sees when TLS 1.3 is suppressed (RFC 8446 section 4.1.3): update the TLS library."
    return Finding(_HANDSHAKE, "Downgrade", Grade.WARNING, "no", detail)


def _authorities(known: Known) -> Finding:
    wanted = [answer.authorities for answer in known.all_answers() if answer.authorities is not None]
    if not wanted:
        return Finding("MutualTLS", "ClientCAs", Grade.SKIPPED, "", "It asks for no certificate of the client.")
    asked = sorted({der for authorities in wanted for der in authorities})
    names = [(name_text(der) or "no name")[:_LETTERS] for der in asked[:_TOLD]]
    names += ["others"] if len(asked) > _TOLD else []
    detail = f"It asks for a certificate of {', '.join(names)}." if asked else "It asks for a certificate of anybody."
    return Finding("MutualTLS", "ClientCAs", Grade.GOOD, str(len(asked)), detail)
