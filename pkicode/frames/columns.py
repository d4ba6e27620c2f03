"""Columns and their dtypes: text, ordered categories, instants, tuples.  What stands in them the frames decide."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc


def text(values: Iterable[str]) -> "pd.Series[str]":
    """The `string` dtype, which has its own missing value."""
    return pd.Series(list(values), dtype="string")


def whole(values: Iterable[int]) -> "pd.Series[int]":
    """Int64: whole numbers that may be missing."""
    return pd.Series(list(values), dtype="Int64")


def truth(values: Iterable[bool]) -> "pd.Series[bool]":
    """Plain bool; never missing."""
    return pd.Series(list(values), dtype="bool")


def category(values: Sequence[str | None], order: Iterable[str]) -> "pd.Series[str]":
    """An ordered category: sorting follows `order`, and groups keep it."""
    names = [str(name) for name in order]
    codes = {name: code for code, name in enumerate(names)}
    numbers = np.fromiter((codes[value] if value is not None else -1 for value in values), "int64", len(values))
    return pd.Series(pd.Categorical.from_codes(numbers, categories=pd.Index(names, dtype="str"), ordered=True))


def instants(values: Sequence[int | None]) -> "pd.Series[pd.Timestamp]":
    """datetime64[s, UTC]: seconds, because 9999-12-31 does not fit into nanoseconds."""
    seconds = np.fromiter((value if value is not None else 0 for value in values), "int64", len(values))
    found = seconds.astype("datetime64[s]")
    found[np.fromiter((value is None for value in values), "bool", len(values))] = np.datetime64("NaT")
    return pd.Series(found).dt.tz_localize("UTC")


def tuples(values: Sequence[tuple[str, ...]]) -> "pd.Series[Any]":
    """Tuples as they are: hashable, so that they can be grouped; `explode` gives one row each."""
    found = np.empty(len(values), dtype="object")
    found[:] = values if values else []
    return pd.Series(found, dtype="object")


# The same, of columns that are Arrow's already: a million rows are copied and not made one by one.


def arrow_text(column: pa.ChunkedArray) -> "pd.Series[str]":
    """As `text`."""
    return pd.Series(pd.array(column, dtype=pd.StringDtype("pyarrow")))


def arrow_whole(column: pa.ChunkedArray) -> "pd.Series[int]":
    """As `whole`; none is missing."""
    return pd.Series(pd.array(column.to_numpy(), dtype="Int64"))


def arrow_truth(column: pa.ChunkedArray) -> "pd.Series[bool]":
    """As `truth`."""
    return pd.Series(column.to_numpy(), dtype="bool")


def arrow_real(column: pa.ChunkedArray) -> "pd.Series[float]":
    """float64; none is missing."""
    return pd.Series(column.to_numpy(), dtype="float64")


def arrow_tuples(column: pa.ChunkedArray) -> "pd.Series[Any]":
    """As `tuples`, of lists."""
    return tuples([tuple(one) for one in column.to_pylist()])


def arrow_instants(column: pa.ChunkedArray) -> "pd.Series[pd.Timestamp]":
    """As `instants`, of epoch seconds or timestamps."""
    seconds = column.combine_chunks().cast(pa.timestamp("s", "UTC"))
    return pd.Series(seconds.to_numpy(zero_copy_only=False)).dt.tz_localize("UTC")


def arrow_category(column: pa.ChunkedArray, order: Iterable[str]) -> "pd.Series[str]":
    """As `category`."""
    names = [str(name) for name in order]
    codes = pc.fill_null(pc.index_in(column, pa.array(names)), -1).to_numpy()
    return pd.Series(pd.Categorical.from_codes(codes, categories=pd.Index(names, dtype="str"), ordered=True))
