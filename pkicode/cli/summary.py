"""What an apply did, in one line."""

from collections.abc import Mapping

from pkicode.model.instants import rfc3339

_DONE = {
    "issue": "issued",
    "renew": "renewed",
    "revoke": "revoked",
    "forget": "forgotten",
    "sign": "signed",
    "publish": "published",
    "update": "updated",
    "import": "imported",
    "move": "moved",
    "retire": "retired",
    "distrust": "distrusted",
}


def summary(counts: Mapping[str, int], resumed: Mapping[str, int], *, failed: int, next_due: int | None) -> str:
    """`Applied: 7 issued, 2 CRLs signed.   Next wake: ...`"""
    done = [f"{number:,} {_object(action, number)}{_DONE[action]}" for action, number in counts.items() if number]
    done += [f"{number:,} left open by an earlier apply now {how}" for how, number in resumed.items() if number]
    done += [f"{failed:,} failed"] if failed else []
    wake = f"   Next wake: {rfc3339(next_due)}" if next_due is not None else ""
    return f"Applied: {', '.join(done) or 'nothing to do'}.{wake}"


def _object(action: str, number: int) -> str:
    return f"CRL{'s' * (number != 1)} " if action == "sign" else ""
