"""CRL shards: which one a serial is on, where it is published, and which one a URL in a certificate means.

Serial modulo the number of shards at issuance; the certificate's CRL distribution point says so for ever, and the
shard's issuing distribution point repeats it (RFC 5280 sections 4.2.1.13 and 5.2.5).
"""

from collections.abc import Iterable, Sequence


def path(stem: str, shard: str = "") -> str:
    """Below a publish target: `crl/issuing-g1.crl`, and of its shards `crl/issuing-g1/3.crl`."""
    return f"crl/{stem}/{shard}.crl" if shard else f"crl/{stem}.crl"


def shards(count: int) -> list[str]:
    """The lists that certificates name: `count` shards, or the full list, which is called ""."""
    return [str(shard) for shard in range(count)] or [""]


def shard_of(serial: int, count: int) -> str:
    """Which of them the certificate with this serial names."""
    return str(serial % count) if count else ""


def sharded(urls: Iterable[str], shard: str) -> tuple[str, ...]:
    """The URLs of a shard, from those of the full list."""
    return tuple(f"{url.removesuffix('.crl')}/{shard}.crl" if shard else url for url in urls)


def named(urls: Sequence[str], stem: str) -> dict[str, list[str]]:
    """Shard -> URLs, of those URLs that are a shard of this issuer; the full list's and others are passed over."""
    found: dict[str, list[str]] = {}
    for url in urls:
        _, is_ours, rest = url.rpartition(f"/crl/{stem}/")
        shard = rest.removesuffix(".crl")
        if is_ours and rest.endswith(".crl") and shard.isascii() and shard.isdecimal():
            found.setdefault(shard, []).append(url)
    return found
