"""Templates: what differs between the text a row was made from and the block's text of today.

Compared field by field, never by digest: a field that nobody wrote, before or now, never counts, so that a new release
with another default, a new field or another JSON order plans nothing.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pkicode.plan.kind import Difference, FieldClass

_SPOKEN = {
    "base_urls": "base_url of its issuer",
    "own_base_urls": "base_url",
    "ocsp_urls": "ocsp.url of its issuer",
    "crl_shards": "crl.shards of its issuer",
}
"""What somebody wrote where a field is derived from it."""


def difference(old: str, new: str, classes: Mapping[str, FieldClass]) -> Difference:
    """The changed fields by class, each once, sorted, by the names that people write.

    Raises:
        ValueError: one of the texts is not a template.
    """
    before, after = json.loads(old), json.loads(new)
    defaulted_before, defaulted_after = _defaulted(before), _defaulted(after)
    old_fields, new_fields = dict(_leaves(before["spec"])), dict(_leaves(after["spec"]))
    found: dict[FieldClass, set[str]] = {}
    for path in old_fields.keys() | new_fields.keys():
        if old_fields.get(path) == new_fields.get(path) and (path in old_fields) == (path in new_fields):
            continue
        unwritten_before = path not in old_fields or _under(path, defaulted_before)
        unwritten_after = path not in new_fields or _under(path, defaulted_after)
        if unwritten_before and unwritten_after:
            continue
        name = path.split(".", 1)[0]
        found.setdefault(_class_of(path, classes), set()).add(_SPOKEN.get(name, name))
    found.pop(FieldClass.NOTHING, None)
    return Difference({one: tuple(sorted(found[one])) for one in FieldClass if one in found})


def _defaulted(template: Any) -> frozenset[str]:
    return frozenset(template.get("defaulted", ()))


def _under(path: str, prefixes: frozenset[str]) -> bool:
    return any(path == prefix or path.startswith(prefix + ".") for prefix in prefixes)


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted path -> value; tables open, lists are values of their own.  An empty table is a value too."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else key)
    else:
        yield path, value


def _class_of(path: str, classes: Mapping[str, FieldClass]) -> FieldClass:
    while path:
        if path in classes:
            return classes[path]
        path = path.rpartition(".")[0]
    # A field no kind has classed is one of a newer release's template: never a reason to sign.
    return FieldClass.METADATA
