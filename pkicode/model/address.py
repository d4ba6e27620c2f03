"""Addresses: `kind.name`, `kind.name["key"]`, and a generation `@n` of either (docs/reference/glossary.md)."""

import json
import re
from json.encoder import encode_basestring as quoted

from attrs import frozen

_BARE = re.compile(
    r"(?P<kind>[a-z]+)\.(?P<name>[A-Za-z0-9_-]+)(?:\[(?P<key>\".*\")\])?(?:@(?P<generation>[0-9]+))?\Z", re.S
)


@frozen(order=True)
class Address:
    """Where a thing stands in pki.toml; `key` is empty unless the block is a fan-out."""

    kind: str
    name: str
    key: str = ""

    def __str__(self) -> str:
        return f"{self.kind}.{self.name}[{quoted(self.key)}]" if self.key else f"{self.kind}.{self.name}"

    @property
    def block(self) -> str:
        """The address of the block this is a row of: `cert.fleet` for `cert.fleet["a"]`."""
        return f"{self.kind}.{self.name}"

    def at(self, generation: int) -> str:
        """The text of one generation, which is also the label of its key: `ca.issuing@2`."""
        return f"{self}@{generation}"


def parse(text: str) -> tuple[Address, int | None]:
    """Read an address and, where `@n` is there, its generation.

    Raises:
        ValueError: the text is not an address.
    """
    match = _BARE.match(text)
    if not match:
        raise ValueError(f'`{text}` is not an address; write kind.name or kind.name["key"], as in cert.portal')
    key = match["key"]
    try:
        key_text = json.loads(key) if key else ""
    except ValueError as error:
        raise ValueError(f"the key in `{text}` is not a JSON string") from error
    return Address(match["kind"], match["name"], key_text), int(match["generation"]) if match["generation"] else None
