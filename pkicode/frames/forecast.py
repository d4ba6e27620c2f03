"""A forecast as a DataFrame: one row is one coming action, or a group of them in one fan-out on one day."""

from collections.abc import Sequence

import pandas as pd

from pkicode.frames.columns import category, instants, text, whole
from pkicode.frames.plan import KIND_NAMES
from pkicode.model.change import Action, Readiness
from pkicode.plan.forecast import Coming

ACTIONS = (*map(str, Action), "expire", "outlive", "error")
"""What plans do, then what comes by itself."""


def forecast_frame(rows: Sequence[Coming]) -> pd.DataFrame:
    """One row per row of the forecast, in the order of the days.

    Columns:
        at: datetime64[s, UTC], the instant of the plan, or of the event itself where no plan does it.
        address: string; a block's where several rows are told together.
        kind, action, status: ordered category; kind is missing where an error concerns all of pki.toml.
        reason, detail: string; the first reason's code and the rest of its sentence.
        generation: Int64, missing where several rows are told together and theirs differ.
        count: Int64, how many rows are told together.
    """
    reasons = [one.reasons[0] if one.reasons else ("", "") for one in rows]
    return pd.DataFrame(
        {
            "at": instants([one.at for one in rows]),
            "address": text(one.address for one in rows),
            "kind": category([one.kind or None for one in rows], KIND_NAMES),
            "action": category([one.action for one in rows], ACTIONS),
            "reason": text(code for code, _ in reasons),
            "detail": text(detail for _, detail in reasons),
            "generation": _numbers([one.generation for one in rows]),
            "count": whole(one.count for one in rows),
            "status": category([one.status for one in rows], Readiness),
        }
    )


def _numbers(values: Sequence[int | None]) -> "pd.Series[int]":
    return pd.Series([pd.NA if value is None else value for value in values], dtype="Int64")
