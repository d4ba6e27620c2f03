"""DHSize: the size of the finite fields in which a target does Diffie-Hellman, and LOGJAM (RFC 9325 section 4.5)."""

from pkicode.scanner.finding import Finding, Grade
from pkicode.scanner.session import Known

_GOOD, _BROKEN = 2048, 1024


def judge(known: Known) -> list[Finding]:
    """1024 bits are within reach of whoever has a budget, fewer of whoever has a week."""
    answers = [one for one in known.all_answers() if one.exchange and one.hello and one.suite.kx.startswith("DH")]
    export = any(answer.suite.export for answer in answers)
    sizes = sorted({answer.exchange.bits for answer in answers if answer.exchange})
    return [_size(known, sizes), _logjam(known, min(sizes, default=0), export=export)]


def _size(known: Known, sizes: list[int]) -> Finding:
    if not sizes:
        grade = Grade.SKIPPED if known.is_whole() else Grade.UNKNOWN
        return Finding("TLSHandshake", "DHSize", grade, "", "No suite with a finite field is known to be taken.")
    value = " ".join(map(str, sizes))
    if sizes[0] >= _GOOD:
        return Finding("TLSHandshake", "DHSize", Grade.GOOD, value, f"{_GOOD} bits or more.")
    grade = Grade.BAD if sizes[0] <= _BROKEN else Grade.WARNING
    return Finding("TLSHandshake", "DHSize", grade, value, "Use ffdhe2048 or larger, or curves alone.")


def _logjam(known: Known, smallest: int, *, export: bool) -> Finding:
    if export or 0 < smallest < _BROKEN:
        detail = f"Diffie-Hellman with {smallest} bits is broken while you wait: use 2048 or more."
        return Finding("Vulnerabilities", "LOGJAM", Grade.BAD, str(smallest), detail)
    if smallest == _BROKEN:
        detail = "1024 bits are broken by whoever broke a common prime once: use 2048 or more."
        return Finding("Vulnerabilities", "LOGJAM", Grade.WARNING, str(smallest), detail)
    if not known.is_whole():
        return Finding("Vulnerabilities", "LOGJAM", Grade.UNKNOWN, "", f"Not all is known: {known.missing()}.")
    return Finding("Vulnerabilities", "LOGJAM", Grade.GOOD, "", "No small finite field is taken.")
