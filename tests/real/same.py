"""Whether two scans found the same."""

import pandas as pd

from pkicode.notebook.scanned import Scanned

TIMES = ["at", "seconds", "connections", "octets"]
"""Of an endpoint: what the clock and the network decide."""


def same(one: Scanned, other: Scanned) -> None:
    """All seven frames, in whatever order the targets came."""
    for name in ("endpoints", "findings", "ciphers", "groups", "certs", "chains", "verdicts"):
        frames = [getattr(scan, name).drop(columns=TIMES, errors="ignore") for scan in (one, other)]
        by = [column for column in frames[0].columns if frames[0][column].dtype != "object"]
        left, right = (frame.sort_values(by, ignore_index=True) for frame in frames)
        pd.testing.assert_frame_equal(left, right)
