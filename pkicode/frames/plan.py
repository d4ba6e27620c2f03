"""A plan as a DataFrame: one row is one change, fan-outs unfolded."""

from collections.abc import Sequence

import pandas as pd

from pkicode.frames.columns import category, text, truth, whole
from pkicode.kinds import KINDS
from pkicode.model.change import Action, Change, Plan, Readiness, ReasonCode

KIND_NAMES = tuple(one.name for one in KINDS)
"""In the order of their stages, which is how the column sorts."""


def plan_frame(plan: Plan) -> pd.DataFrame:
    """One row per change, in the order they are applied.

    Columns:
        address, block, key: string; `block` is the address without key.
        kind, action, status: ordered category.
        reason: ordered category, the first reason; `detail` (string) is its sentence's end.
        generation: Int64, the generation the change makes.
        waits: string, what holds it back, empty when it is ready.
        irreversible: bool.
    """
    changes = plan.changes
    addresses = [one.address for one in changes]
    return pd.DataFrame(
        {
            "address": text(map(str, addresses)),
            "block": text(address.block for address in addresses),
            "key": text(address.key for address in addresses),
            "kind": category([address.kind for address in addresses], KIND_NAMES),
            "action": category([one.action for one in changes], Action),
            "reason": category(_codes(changes), ReasonCode),
            "detail": text(one.reasons[0].detail if one.reasons else "" for one in changes),
            "generation": whole(one.generation for one in changes),
            "status": category([one.readiness for one in changes], Readiness),
            "waits": text(one.waits for one in changes),
            "irreversible": truth(one.irreversible for one in changes),
        }
    )


def _codes(changes: Sequence[Change]) -> list[str | None]:
    return [one.reasons[0].code if one.reasons else None for one in changes]
