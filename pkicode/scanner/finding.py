"""What a scan says of a target: plain records, one class for each table of frames/scan.py.

A failed host is a record, never an exception.  Every text that a target sent is hostile: faces show it by printable().
"""

from enum import StrEnum

from attrs import field, frozen


class Grade(StrEnum):
    """Of one check, the mildest first, as frames sort it.

    What was not looked at says least.  What is known to be bad counts more than what is not known, and that more than
    what only should be better.
    """

    SKIPPED = "Skipped"
    GOOD = "Good"
    WARNING = "Warning"
    UNKNOWN = "Unknown"
    """Not answered: a timeout or a reset after something had answered is never "not supported"."""
    BAD = "Bad"

    def weight(self) -> int:
        """Of several the one with the greatest counts."""
        return tuple(Grade).index(self)


@frozen
class Target:
    """One address and port, and the name it was asked for by."""

    host: str
    """A name or an address, as it was given."""
    address: str
    """IPv4 or IPv6, "" when the name does not resolve."""
    port: int
    starttls: str = ""
    """"" for TLS from the first byte, else one of smtp imap pop3 ftp ldap xmpp postgres mysql."""
    server_name: str = ""
    """Sent as SNI; "" for none, as for a bare address."""

    def __str__(self) -> str:
        address = f"[{self.address}]" if ":" in self.address else self.address
        named = address if self.host == self.address else f"{self.host} ({address})" if address else self.host
        return f"{named}:{self.port}"


@frozen
class Finding:
    """One check of one target."""

    family: str
    """Connectivity, PKI, TLSHandshake, TLSSession, Vulnerabilities, HTTP, MutualTLS, Fingerprint, Broad."""
    check: str
    """CipherSuite, ChainValidation, ...: CFSSL's names where it has the check."""
    grade: Grade
    value: str
    """Short, machine-readable where it can be: `TLSv1.2 TLSv1.3`, `expired`, `RC4`."""
    detail: str
    """A sentence: why this grade, and what mends it."""


@frozen
class Cipher:
    """One suite that a version of the target takes."""

    version: str
    """SSLv2 SSLv3 TLSv1.0 TLSv1.1 TLSv1.2 TLSv1.3."""
    rank: int
    """1 is what the server prefers; the order is the server's if it has one."""
    id: int
    """IANA's number (SSLv2: three octets)."""
    name: str
    """IANA's name."""
    kx: str
    bits: int
    fs: bool
    aead: bool
    strength: str
    """strong, good, weak, insecure."""


@frozen
class Group:
    """One key exchange group that a version of the target takes."""

    version: str
    rank: int
    id: int
    name: str
    """IANA's name."""


@frozen
class Presented:
    """One certificate in one chain that a target sent."""

    slot: int
    """0 is the chain of a modern client; another number is another chain (other signature algorithms, other suites)."""
    position: int
    """0 is the leaf."""
    der: bytes = field(repr=False)


@frozen
class Judged:
    """One chain against one trust store."""

    slot: int
    store: str
    ok: bool
    reason: str
    """"" when it is ok."""


@frozen
class Endpoint:
    """Everything known of one target."""

    target: Target
    at: int
    """When it was scanned, epoch seconds."""
    state: str
    """tls, closed, filtered, unresolved, not-tls, reset, failed."""
    versions: tuple[str, ...] = ()
    letter: str = ""
    """By the rating guide: A+ A A- B C D E F T M, "" when it speaks no TLS."""
    alpn: str = ""
    seconds: float = 0.0
    connections: int = 0
    octets: int = 0
    """Read from it."""
    findings: tuple[Finding, ...] = ()
    ciphers: tuple[Cipher, ...] = ()
    groups: tuple[Group, ...] = ()
    chains: tuple[Presented, ...] = ()
    verdicts: tuple[Judged, ...] = ()
    staple: bytes = field(default=b"", repr=False)
    """The OCSP response that was stapled, DER."""
    scts: tuple[bytes, ...] = field(default=(), repr=False)
    """SCTs of the TLS extension, as they were sent."""
    scan: str = ""
    """Name of the [scan.X] by whose policy it was judged, "" for none."""
