"""Frames from Parquet files, as they were: Parquet knows lists and milliseconds, not tuples and seconds."""

from os import PathLike

import pandas as pd

from pkicode.frames import accessor  # noqa: F401 - gives every frame its `.pki`
from pkicode.frames.columns import tuples


def stored_frame(path: str | PathLike[str]) -> pd.DataFrame:
    """What `to_parquet` stored, with its dtypes."""
    found = pd.read_parquet(path)
    # All that is an object in a frame of ours is a tuple, which comes back as an array.
    lists = {name: tuples([tuple(one) for one in found[name]]) for name in found.select_dtypes("object").columns}
    instants = dict.fromkeys(found.select_dtypes("datetimetz").columns, "datetime64[s, UTC]")
    return found.assign(**lists).astype(instants)
