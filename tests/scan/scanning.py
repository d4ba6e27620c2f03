"""A scan of one target, and what its record says in words."""

import asyncio
import os
from collections.abc import Sequence
from typing import Any

from pkicode.adapters.handshake import shake
from pkicode.adapters.network import Network
from pkicode.scanner.asking import scan_one
from pkicode.scanner.finding import Endpoint, Finding, Target
from pkicode.scanner.registry import DEEP, Probe
from tests.scan.servers import HOST

NOW = 1_795_424_400
PATIENCE = 10.0
"""Seconds that a loaded machine may take to answer."""


async def scan(
    port: int,
    probes: Sequence[Probe] = DEEP,
    *,
    address: str = HOST,
    server_name: str = "",
    starttls: str = "",
    seconds: float = 60,
    patience: float = PATIENCE,
) -> Endpoint:
    """Through real sockets."""
    target = Target(server_name or address, address, port, starttls, server_name)
    network = Network(connect_seconds=patience, answer_seconds=patience)
    return await scan_one(target, probes, reach=network, shake=shake, entropy=os.urandom, now=NOW, seconds=seconds)


def scanned(port: int, probes: Sequence[Probe] = DEEP, **more: Any) -> Endpoint:
    """As `scan`, to its end."""
    return asyncio.run(scan(port, probes, **more))


def suites(endpoint: Endpoint, version: str) -> list[str]:
    """In the order of their rank."""
    ranked = sorted((cipher for cipher in endpoint.ciphers if cipher.version == version), key=lambda one: one.rank)
    return [cipher.name for cipher in ranked]


def groups(endpoint: Endpoint, version: str) -> list[str]:
    """In the order of their rank."""
    return [group.name for group in endpoint.groups if group.version == version]


def found(endpoint: Endpoint, check: str) -> Finding:
    """The one finding of a check."""
    (finding,) = [finding for finding in endpoint.findings if finding.check == check]
    return finding


def grades(endpoint: Endpoint, *checks: str) -> dict[str, str]:
    return {check: found(endpoint, check).grade.value for check in checks}
