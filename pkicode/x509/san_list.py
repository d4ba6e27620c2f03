"""Alternative names as the inventory keeps them: a JSON list of `dns:a.example`.  What a name may be is names.py's."""

import json

from pkicode.model.names import Sans
from pkicode.x509.names import san, san_text

_JSON = json.JSONEncoder(ensure_ascii=False)
"""Made once: json.dumps makes a new one for each call."""


def written(sans: Sans) -> str:
    """The list of names in normal form."""
    return _JSON.encode([san_text(name) for name in sans])


def read(text: str) -> Sans:
    """What `written` wrote.

    Raises:
        ValueError, TypeError, RecursionError: it did not.
    """
    found = tuple(san(kind, name) for kind, _, name in (str.partition(one, ":") for one in json.loads(text)))
    if written(found) != text:
        raise ValueError("these names are not in normal form")
    return found
