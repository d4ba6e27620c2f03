"""`df.pki`: questions that frames of scans, plans and inventories are asked again and again.  Frames in, frames out."""

import datetime
import json

import pandas as pd

from pkicode.frames.columns import text, whole
from pkicode.model.instants import from_datetime, parse_duration, parse_instant
from pkicode.scanner.finding import Grade


@pd.api.extensions.register_dataframe_accessor("pki")
class PkiAccessor:
    """Each method names the columns it needs; a frame without them is a KeyError."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self._frame = frame

    def expiring(
        self, within: str | datetime.timedelta = "30d", now: str | datetime.datetime | None = None
    ) -> pd.DataFrame:
        """The rows whose `not_after` lies ahead and no further than this, the next first.

        Args:
            within: a duration, as in 30d, or a timedelta.
            now: an instant; the clock's without it.
        """
        at = _moment(now)
        ends = self._frame["not_after"]
        until = at + (pd.Timedelta(seconds=parse_duration(within)) if isinstance(within, str) else within)
        return self._frame[(ends >= at) & (ends <= until)].sort_values("not_after", kind="stable")

    def grade_table(self) -> pd.DataFrame:
        """Findings: one row per family and check, one column per grade, how many targets (Int64)."""
        counted = self._frame.groupby(["family", "check", "grade"], observed=True).size().unstack(fill_value=0)
        return counted.reindex(columns=[str(one) for one in Grade], fill_value=0).astype("Int64")

    def posture(self) -> pd.DataFrame:
        """Findings: one row per target, one column per family, the worst grade; missing where nothing was checked."""
        worst = self._frame.groupby(["target", "family"], observed=True)["grade"].max().unstack()
        # A categorical index of columns would take no column of the analyst's own.
        return worst.set_axis([*worst], axis="columns")

    def timeline(self, every: str = "W") -> pd.DataFrame:
        """How many rows end when: `not_after` (the beginning of each week, month or day: W, M, D) and `count`."""
        ends = self._frame["not_after"].dropna().dt.tz_localize(None)
        begins = ends.dt.to_period(every).dt.start_time.dt.tz_localize("UTC").astype("datetime64[s, UTC]")
        counted = begins.value_counts().sort_index()
        index = pd.Series(counted.index).astype("datetime64[s, UTC]")
        return pd.DataFrame({"not_after": index, "count": whole(int(one) for one in counted)})

    def explode_sans(self) -> pd.DataFrame:
        """One row per alternative name: `sans` becomes `san_type` and `san`."""
        there = self._frame.explode("sans", ignore_index=True)
        there = there[there["sans"].notna()].reset_index(drop=True)
        parts = [str(one).partition(":") for one in there["sans"]]
        return there.drop(columns="sans").assign(
            san_type=text(kind for kind, _, _ in parts), san=text(name for _, _, name in parts)
        )

    def split_address(self) -> pd.DataFrame:
        """Beside `address` what it is made of: `block` (cert.fleet) and `key`, the row of a fan-out, else empty."""
        parts = [(None, None) if pd.isna(one) else _split(one) for one in self._frame["address"]]
        made = {"block": [block for block, _ in parts], "key": [key for _, key in parts]}
        columns = {name: pd.Series(values, self._frame.index, "string") for name, values in made.items()}
        return self._frame.assign(**columns)

    def to_toml(self, reason: str = "superseded") -> str:
        """Rows of an inventory as `[[revoke]]` entries for pki.toml: `serial_number` and `ca` are needed."""
        rows = self._frame[["serial_number", "ca"]].to_dict("records")
        return "\n".join(_entry(str(row["serial_number"]), str(row["ca"]), reason) for row in rows)


def _split(address: str) -> tuple[str, str]:
    block, _, key = address.partition("[")
    return block, json.loads(key[:-1]) if key else ""


def _entry(serial: str, ca: str, reason: str) -> str:
    # Hex alone goes into a file that a program acts on.
    number = f"{int(serial, 16):x}"
    said = {"id": f"serial-{number}", "serial": number, "ca": ca, "reason": reason}
    return "[[revoke]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in said.items())


def _moment(now: str | datetime.datetime | None) -> pd.Timestamp:
    at = int(datetime.datetime.now(datetime.UTC).timestamp())
    if now is not None:
        at = from_datetime(now) if isinstance(now, datetime.datetime) else parse_instant(now, now=at)
    return pd.Timestamp(at, unit="s", tz="UTC")
