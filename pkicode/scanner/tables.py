"""A scan as rows of seven tables; faces print them, and frames store them.  Texts are what strangers sent."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pkicode.scanner import certificate
from pkicode.scanner.chain import MOST, Role, chains
from pkicode.scanner.finding import Endpoint

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "endpoints": (
        "target", "host", "address", "port", "starttls", "server_name", "at", "state", "versions", "letter", "alpn",
        "seconds", "connections", "octets", "scan",
    ),
    "findings": ("target", "family", "check", "grade", "value", "detail", "scan"),
    "ciphers": ("target", "version", "rank", "id", "name", "kx", "bits", "fs", "aead", "strength"),
    "groups": ("target", "version", "rank", "id", "name"),
    "certs": (
        "sha256", "subject", "issuer", "serial_number", "not_before", "not_after", "key_alg", "key_bits",
        "signature_hash", "spki", "sans", "is_ca", "self_signed", "must_staple", "ocsp_urls", "crl_urls", "trouble",
    ),
    "chains": ("target", "slot", "position", "sha256", "role"),
    "verdicts": ("target", "slot", "store", "ok", "reason"),
}  # fmt: skip
"""Table -> its columns, in their order; docs/reference/frames.md says what each means."""
INSTANTS = frozenset({"at", "not_before", "not_after"})
"""Columns of epoch seconds."""

Row = tuple[Any, ...]
Rows = Mapping[str, list[Row]]


def rows(endpoints: Iterable[Endpoint]) -> dict[str, list[Row]]:
    """The rows of each table; certificates are unique within them."""
    found: dict[str, list[Row]] = {name: [] for name in COLUMNS}
    seen: set[str] = set()
    for one in endpoints:
        for name, made in _rows(one):
            found[name] += made
        new = {presented.der for presented in one.chains}
        for facts in map(certificate.facts, sorted(new)):
            if facts.sha256 not in seen:
                seen.add(facts.sha256)
                found["certs"].append(_values(facts, COLUMNS["certs"]))
    return found


def _rows(one: Endpoint) -> Iterator[tuple[str, list[Row]]]:
    target, where = str(one.target), one.target
    yield "endpoints", [
        (
            target, where.host, where.address, where.port, where.starttls, where.server_name, one.at, one.state,
            one.versions, one.letter, one.alpn, one.seconds, one.connections, one.octets, one.scan,
        )
    ]  # fmt: skip
    yield "findings", [(target, *_values(record, COLUMNS["findings"][1:-1]), one.scan) for record in one.findings]
    for name, records in (("ciphers", one.ciphers), ("groups", one.groups), ("verdicts", one.verdicts)):
        yield name, [(target, *_values(record, COLUMNS[name][1:])) for record in records]
    yield "chains", list(_sent(target, one))


def _sent(target: str, one: Endpoint) -> Iterator[Row]:
    judged = {chain.slot: chain for chain in chains(one.chains)}
    places: dict[int, int] = {}
    for sent in sorted(one.chains, key=lambda sent: (sent.slot, sent.position)):
        place = places[sent.slot] = places.get(sent.slot, -1) + 1
        role = judged[sent.slot].role(place) if place < MOST else Role.EXTRA
        yield (target, sent.slot, sent.position, certificate.facts(sent.der).sha256, role)


def _values(record: Any, names: Iterable[str]) -> Row:
    return tuple(getattr(record, name) for name in names)
