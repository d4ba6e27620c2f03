"""What a key of a keystore is good for, as far as the state knows."""

from enum import StrEnum

from attrs import frozen


class Use(StrEnum):
    IN_USE = "in use"
    RETIRED = "retired"
    REMOVABLE = "removable"
    UNKNOWN = "not in the state"
    """Of a key that no certificate was ever asked for, or whose certificates were archived."""


@frozen
class KeyUse:
    """One key."""

    label: str
    alg: str
    spki: str
    """sha256 of the SPKI, hex."""
    use: Use
    since: int | None = None
    """Retired and removable: the instant from which all that stood for it was ended, revoked or replaced."""
    why: str = ""
    """What it is needed for, or kept for."""


@frozen
class Attested:
    """What the module of a token says of one key pair; None where the token does not know the attribute."""

    label: str
    alg: str
    id: str
    """CKA_ID, hex."""
    spki: str
    """sha256 of the SPKI, hex."""
    sensitive: bool | None
    always_sensitive: bool | None
    extractable: bool | None
    never_extractable: bool | None
    local: bool | None
    """Made on the token, and not brought there."""
