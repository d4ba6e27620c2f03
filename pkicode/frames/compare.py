"""What two scans say differently, and what a scan says differently from the inventory.  Frames in, a frame out."""

from collections.abc import Collection, Iterator
from typing import Any

import pandas as pd

from pkicode.frames.columns import category, text, tuples
from pkicode.frames.scan import Scan
from pkicode.model.served import DRIFTS
from pkicode.scanner.served import Issued

WHAT = ("endpoint", "leaf", "finding", "cipher", "group")

_DIFF = ("target", "what", "name", "before", "after")


def diff(before: Scan, after: Scan) -> pd.DataFrame:
    """One row per thing that is not as it was; when and how quickly it was scanned is no difference.

    Columns:
        target: string.
        what: ordered category: endpoint, leaf (the certificate served), finding, cipher, group.
        name: string: state, letter, versions; the slot; the family and check; the version and suite or group.
        before, after: string; missing where there was or is none.
    """
    told = [_told(name, _said(name, before), _said(name, after)) for name in WHAT]
    found = pd.concat([one for one in told if not one.empty] or told, ignore_index=True)
    return pd.DataFrame(
        {
            "target": text(found["target"]),
            "what": category(list(found["what"]), WHAT),
            "name": text(found["name"]),
            "before": found["before"].astype("string"),
            "after": found["after"].astype("string"),
        }
    )


def _said(what: str, scan: Scan) -> pd.DataFrame:
    """target, name, value: what a scan says of one kind of thing, each name once."""
    # pandas 2 warns of what an empty frame among others says of dtypes.
    there = [one for one in _columns(what, scan) if not one.empty]
    said = pd.concat(there or [_none()], ignore_index=True).astype("string")
    return said.drop_duplicates(["target", "name"], keep="last")


def _none() -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series([], dtype="string") for name in ("target", "name", "value")})


def _columns(what: str, scan: Scan) -> Iterator[pd.DataFrame]:
    if what == "endpoint":
        there = scan.endpoints.assign(versions=[" ".join(one) for one in scan.endpoints["versions"]])
        for name in ("state", "letter", "versions"):
            yield _three(there, name, there[name])
    elif what == "leaf":
        leaves = scan.chains[scan.chains["role"] == "leaf"]
        yield _three(leaves, "slot " + leaves["slot"].astype("string"), leaves["sha256"])
    elif what == "finding":
        there = scan.findings
        names = there["family"].astype("string") + " " + there["check"]
        if there["scan"].nunique() > 1:
            # Each policy has an opinion of its own.
            names = there["scan"] + " " + names
        yield _three(there, names, there["grade"].astype("string") + " " + there["value"])
    else:
        there = scan.ciphers if what == "cipher" else scan.groups
        names = there["version"].astype("string") + " " + there["name"]
        yield _three(there, names, "rank " + there["rank"].astype("string"))


def _three(there: pd.DataFrame, name: "pd.Series[str] | str", value: "pd.Series[str]") -> pd.DataFrame:
    columns = {"target": there["target"], "name": name, "value": value.astype("string")}
    return pd.DataFrame(columns, index=there.index).dropna(subset=["value"])


def _told(what: str, before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    both = before.merge(after, how="outer", on=["target", "name"], suffixes=("_before", "_after"), sort=True)
    same = (both["value_before"] == both["value_after"]).fillna(value=False)
    both = both[~same].assign(what=what)
    return both.rename(columns={"value_before": "before", "value_after": "after"})[list(_DIFF)]


def drift(scan: Scan, inventory: pd.DataFrame, *, expect: Collection[str] | None = None) -> pd.DataFrame:
    """Where a scan and the inventory disagree, joined by the SHA-256 of certificates.

    Args:
        scan: what was served.
        inventory: of `inventory_frame`, at the instant of the scan.
        expect: addresses or blocks of certificates that should be served; None: all of them.

    Columns:
        drift: ordered category. unknown: served, and no certificate of ours; revoked: served, and revoked; superseded:
            served, while a newer generation of its address is good; not-served: the newest good generation of an
            expected address, served nowhere.
        address: string, generation: Int64; missing where it is unknown.
        sha256, subject: string.
        not_after: datetime64[s, UTC].
        targets: tuple, where it is served.  (`drifted` says of what is served nowhere where it was looked for.)
    """
    served = _served(scan)
    issued = Issued(set(served["sha256"]))
    for row in zip(*(inventory[name].tolist() for name in _TAKEN), strict=True):
        issued.take(*row)
    words = served.assign(drift=[issued.drift(one) for one in served["sha256"]])
    unknown = words[words["drift"] == "unknown"].merge(scan.certs[["sha256", "subject", "not_after"]], on="sha256")
    ours = inventory[inventory["address"].str.startswith("cert.")][_OURS]
    known = words.merge(ours, on="sha256")
    absent = ours[ours["sha256"].isin(set(issued.missing())) & _is_expected(ours["address"], expect)]
    rows = [
        unknown,
        known[known["drift"] == "revoked"],
        known[known["drift"] == "superseded"],
        absent.sort_values("address").assign(drift="not-served", targets=_nowhere(absent)),
    ]
    found = pd.concat([one.reindex(columns=["drift", *_OURS, "targets"]).astype(_DTYPES) for one in rows])
    found = found.reset_index(drop=True)
    return found.assign(drift=category(list(found["drift"]), DRIFTS))


_TAKEN = ("address", "generation", "sha256", "status")
_OURS = ["address", "generation", "sha256", "subject", "not_after"]
_DTYPES = {
    "drift": "string", "address": "string", "generation": "Int64", "sha256": "string", "subject": "string",
    "not_after": "datetime64[s, UTC]", "targets": "object",
}  # fmt: skip


def _served(scan: Scan) -> pd.DataFrame:
    """Each leaf certificate with the targets that serve it."""
    leaves = scan.chains[scan.chains["role"] == "leaf"].drop_duplicates(["sha256", "target"])
    where = {str(sha256): tuple(one["target"]) for sha256, one in leaves.groupby("sha256", sort=True)}
    return pd.DataFrame({"sha256": text(where), "targets": tuples(list(where.values()))})


def _nowhere(absent: pd.DataFrame) -> "pd.Series[Any]":
    return tuples([()] * len(absent)).set_axis(absent.index)


def _is_expected(addresses: "pd.Series[str]", expect: Collection[str] | None) -> "pd.Series[bool]":
    if expect is None:
        return pd.Series(data=True, index=addresses.index, dtype="bool")
    return addresses.isin(expect) | addresses.str.partition("[")[0].isin(expect)
