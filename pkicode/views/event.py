"""A step of an apply or a scan in one line."""

import math

from pkicode.model.event import Event
from pkicode.views.text import printable

WARNINGS = 20
"""What fails is told in full at the end; a thousand warnings on the way there would bury the first."""


def line(event: Event, rate: float = 0.0) -> str:
    """`issue 34,500/100,000, 4,800/s, 14 s left: cert.fleet`."""
    counted = f" {event.done:,}/{event.total:,}" if event.total else ""
    if counted and rate:
        counted += f", {rate:,.0f}/s, {math.ceil((event.total - event.done) / rate):,} s left"
    told = event.message if event.address in event.message else f"{event.address} {event.message}".rstrip()
    return printable(f"{event.stage}{counted}: {told}" if told else f"{event.stage}{counted}")
