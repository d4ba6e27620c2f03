"""Text for terminals and pages: strangers' characters made visible.  Layout is decided by the views."""

import unicodedata

_SHOWN = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))


def printable(text: str) -> str:
    r"""The text with every character that moves, hides or re-orders others written as `\u{..}`.

    C0 and C1 controls (so ANSI escapes and NUL), bidi marks, line separators, unassigned characters, lone surrogates.

    >>> printable("a" + chr(0x202E) + "b" + chr(27) + "[31m")
    'a\\u{202e}b\\u{1b}[31m'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(f"\\u{{{ord(c):x}}}" if unicodedata.category(c) in _SHOWN else c for c in text)
