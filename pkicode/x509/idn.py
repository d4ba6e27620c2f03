"""Internationalised labels (RFC 5890 section 2.3.2.1): whether one that begins with `xn--` stands for anything.

Asked of names that are to be certified.  What is certified already is read as it is, and which characters a registry
takes is the registry's.
"""

import unicodedata

from pkicode.model.names import San, SanType
from pkicode.x509.names import uri_host

_ACE = "xn--"
_HIDDEN = {"Cc", "Cf", "Co", "Cs", "Zl", "Zp", "Zs"}
_JOINERS = "\u200c\u200d"
"""Invisible, and needed in some scripts (RFC 5892 appendix A)."""


def check(name: San) -> None:
    """Refuse a name in normal form with a label that no client would ever look up.

    Raises:
        ValueError: with the reason.
    """
    if _ACE not in name[1]:
        return  # nearly every one
    for label in _host(name).split("."):
        if label.startswith(_ACE) and (reason := _wrong(label)):
            raise ValueError(f"`{label}` is not an A-label (RFC 5890): {reason}; write it as it is registered")


def _host(name: San) -> str:
    kind, text = name
    if kind is SanType.DNS:
        return text
    if kind is SanType.EMAIL:
        return text.rpartition("@")[2]
    return (uri_host(text) or "") if kind is SanType.URI else ""


def _wrong(label: str) -> str:
    try:
        shown = label.removeprefix(_ACE).encode("ascii").decode("punycode")
    except UnicodeError:
        return f"what follows {_ACE} does not decode"
    if any(unicodedata.category(one) in _HIDDEN and one not in _JOINERS for one in shown):
        return "it holds characters that cannot be seen"
    again = _ACE + unicodedata.normalize("NFC", shown).encode("punycode").decode("ascii")
    return "" if again == label else f"decoded and encoded again it is `{again}`"
