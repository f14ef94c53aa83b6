"""Tables of the fitted kind from numbers: library, names, order, dtypes, levels."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from .frames import DATES, MICROSECONDS_A_DAY
from .schema import Column, TableSchema

DAYS_ALONE = re.compile("Date$|date32|date64")
"""Dtypes of polars and pyarrow that have dates without a time of day."""

MICROSECONDS = {"day": 86_400_000_000, "s": 1_000_000, "ms": 1000}
"""Of the units of dates that are longer."""

MOST_MICROSECONDS = {"ns": 2.0**63 // 1000, "us": 2.0**62}
"""Farthest from 1970 that a date of a unit can lie, or well within."""

CALENDAR = -62_135_596_800e6, 253_402_300_799e6
"""First and last second of the years 1 to 9999, in microseconds from 1970."""

SHORT_FLOATS = {"float16": "e", "halffloat": "e", "float32": "f", "float": "f"}
"""Dtypes of numbers, in small letters, that hold less than float64, for NumPy."""


def build_frame(schema: TableSchema, table: np.ndarray, like: Any = None) -> Any:
    """Return a data frame from one number a value.

    Parameters
    ----------
    schema : TableSchema
        Of a data frame.
    table : ndarray of shape (n_rows, n_features), float64
        Numbers and positions of levels, NaN where missing. Numbers are rounded in
        columns of integers and of truth values.
    like : DataFrame, default=None
        A pandas frame whose index to take.

    Returns
    -------
    DataFrame
        Of the library of the schema.
    """
    builders: dict[str, Callable[..., Any]] = {
        "pandas": _pandas,
        "polars": _polars,
        "pyarrow": _pyarrow,
    }
    return builders[schema.library](schema, table, like)


def user_values(column: Column, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the values of a column as its users know them, and where they miss.

    Dates and durations are microseconds, in whole units of their dtype and as far out
    as it reaches; what misses is arbitrary.
    """
    missing = np.isnan(values)
    filled = np.where(missing, 0, values)
    if column.levels is not None:
        return column.levels[filled.astype(np.intp)], missing
    if column.group in DATES:
        unit = _time_unit(column.dtype)
        most = MOST_MICROSECONDS["ns" if unit == "ns" else "us"]
        limits = -most, most
        if column.zone is not None:
            # Its clocks are those of Python, and may be ahead or behind.
            first, last = max(-most, CALENDAR[0]), min(most, CALENDAR[1])
            limits = first + MICROSECONDS_A_DAY, last - MICROSECONDS_A_DAY
        step = MICROSECONDS.get(unit, 1)
        stamps = np.rint(filled * (MICROSECONDS_A_DAY / step)) * step
        return stamps.clip(*limits).astype(np.int64), missing
    if column.group == "boolean":
        return filled > 0.5, missing
    return filled, missing


def _levels(column: Column) -> list[Any]:
    return [] if column.levels is None else column.levels.tolist()


def float_kind(dtype: str) -> str:
    """Return NumPy's letter for what holds the numbers of a dtype while they are read.

    That of float64 for all that is no shorter float.
    """
    return SHORT_FLOATS.get(dtype.lower().removesuffix("[pyarrow]"), "d")


def _whole(values: np.ndarray, dtype: str) -> np.ndarray:
    """Round to what a dtype of integers, decimal or short numbers can hold."""
    if values.dtype.kind != "f":
        return values
    kind = float_kind(dtype)
    if kind != "d":
        most = float(np.finfo(kind).max)
        return values.clip(-most, most)
    decimal = _decimals(dtype)
    if decimal is not None:
        precision, scale = decimal
        # A little below the largest, because the library rounds once more.
        limit = (10**precision - 1) / 10**scale * (1 - 2**-50)
        return values.round(scale).clip(-limit, limit)
    found = re.match(r"(u?)int(8|16|32|64|128)\b", dtype.lower())
    if found is None:
        return values
    unsigned, bits = found[1] == "u", int(found[2])
    most = 2 ** (bits - (not unsigned)) - 1
    largest = float(most)
    if int(largest) > most:  # of 64 bits or more: it has no float64 of its own
        largest = np.nextafter(largest, 0)
    whole = np.rint(values).clip(0.0 if unsigned else -most - 1.0, largest)
    # NumPy has none of 128 bits.
    return whole if bits == 128 else whole.astype(f"{found[1]}int{bits}")


def _pandas(schema: TableSchema, table: np.ndarray, like: Any) -> Any:
    import pandas as pd

    index = like.index if like is not None else pd.RangeIndex(len(table))
    series = [
        _pandas_series(pd, column, values, index)
        for column, values in zip(schema.columns, table.T, strict=True)
    ]
    frame = pd.DataFrame(dict(enumerate(series)), index=index)
    several = len(schema.headings) > 1  # levels; a name of one may be a tuple as well
    names = pd.Index([each.name for each in schema.columns], tupleize_cols=several)
    names.names = schema.headings
    # The same names as in the rows to follow may have headings of their own there.
    known = like is not None and names.equals(like.columns)
    frame.columns = like.columns if known else names
    return frame


def _pandas_dtype(pd: Any, printed: str) -> Any:
    """Return the dtype that prints so: not always what pandas takes the name for."""
    if not printed.endswith("[pyarrow]"):
        return printed
    import pyarrow as pa

    return pd.ArrowDtype(_pyarrow_type(pa, printed.removesuffix("[pyarrow]")))


def restored_row(schema: TableSchema, row: Any) -> Any:
    """Return a row that a pandas frame gave as a series as a frame of its dtypes.

    A series has one dtype for all of its values. Numbers, text and dates say what they
    are; what a category or a dtype of pyarrow held, its values alone do not tell.
    """
    import pandas as pd

    frame = row.to_frame().T
    restored = frame.infer_objects()
    for column in schema.columns:
        if column.name not in frame.columns:
            continue
        kept = restored[column.name].dtype == object and "[pyarrow]" in column.dtype
        if kept or column.dtype == "category":
            dtype = _pandas_dtype(pd, column.dtype)
            restored[column.name] = frame[column.name].astype(dtype)
    return restored


def _pandas_series(pd: Any, column: Column, values: np.ndarray, index: Any) -> Any:
    found, missing = user_values(column, values)
    dtype = _pandas_dtype(pd, column.dtype)
    if column.dtype == "category":
        codes = np.where(missing, -1, np.nan_to_num(values)).astype(np.intp)
        level_dtype = _pandas_dtype(pd, str(column.level_dtype))
        levels = pd.Index(_levels(column), dtype=level_dtype, tupleize_cols=False)
        data = pd.Categorical.from_codes(codes, levels, ordered=column.ordered)
        return pd.Series(data, index=index)
    if column.group in DATES:
        stamps = found.view("M8[us]" if column.group == "date" else "m8[us]")
        series = pd.Series(stamps, index=index).mask(missing)
        if column.zone is not None:
            series = series.dt.tz_localize("UTC").dt.tz_convert(column.zone)
        return series.astype(dtype)
    if not missing.any():
        whole = _whole(found, column.dtype)
        # Objects may be text that no dtype of text holds, such as names of files.
        first = object if column.dtype == "object" else None
        return pd.Series(whole, index=index, dtype=first).astype(dtype)
    number = column.group == "number" and column.dtype != "object"
    # Nullable integers must be whole, and missing values have no integer.
    kept = (_whole(found, column.dtype) if number else found).astype(object)
    kept[missing] = None
    if number:
        integer = re.fullmatch(r"u?int\d+", column.dtype)
        return pd.Series(kept, index=index, dtype=float if integer else dtype)
    return pd.Series(kept, index=index, dtype=object).astype(dtype)


def _polars(schema: TableSchema, table: np.ndarray, like: Any) -> Any:
    import polars as pl

    return pl.DataFrame(
        [
            _polars_series(pl, column, values)
            for column, values in zip(schema.columns, table.T, strict=True)
        ]
    )


def _polars_series(pl: Any, column: Column, values: np.ndarray) -> Any:
    found, missing = user_values(column, values)
    found = _whole(found, column.dtype)
    data = [None if gap else v for v, gap in zip(found.tolist(), missing, strict=True)]
    if column.group == "empty":
        dtype = getattr(pl, column.dtype.split("(")[0])
        return pl.Series(column.name, [None] * len(values), dtype=dtype)
    if column.group == "date":
        stamps = pl.Series(column.name, data, dtype=pl.Int64).cast(pl.Datetime("us"))
        if column.dtype == "Date":
            return stamps.cast(pl.Date)
        if column.zone is not None:
            zoned = stamps.dt.replace_time_zone("UTC")
            stamps = zoned.dt.convert_time_zone(column.zone)
        return stamps.dt.cast_time_unit(_time_unit(column.dtype))
    if column.group == "duration":
        spans = pl.Series(column.name, data, dtype=pl.Int64).cast(pl.Duration("us"))
        return spans.dt.cast_time_unit(_time_unit(column.dtype))
    if column.dtype == "Object":  # to which polars casts nothing
        return pl.Series(column.name, data, dtype=pl.Object)
    series = pl.Series(column.name, data, strict=False)
    if column.dtype.startswith("Enum"):
        return series.cast(pl.Enum(_levels(column)))
    if decimal := _decimals(column.dtype):
        return series.cast(pl.Decimal(*decimal))
    return series.cast(getattr(pl, column.dtype.split("(")[0]))


def _decimals(dtype: str) -> tuple[int, int] | None:
    """Return precision and scale of a dtype of decimal numbers, None for others."""
    found = re.match(
        r"decimal\d*\((?:precision=)?(\d+), (?:scale=)?(\d+)", dtype.lower()
    )
    return (int(found[1]), int(found[2])) if found else None


def _time_unit(dtype: str) -> str:
    if DAYS_ALONE.match(dtype):
        return "day"
    found = re.search(r"\b(s|ms|us|ns)\b", dtype)
    return found[0] if found else "us"


def _pyarrow(schema: TableSchema, table: np.ndarray, like: Any) -> Any:
    import pyarrow as pa

    return pa.table(
        {
            column.name: _pyarrow_array(pa, column, values)
            for column, values in zip(schema.columns, table.T, strict=True)
        }
    )


def _pyarrow_array(pa: Any, column: Column, values: np.ndarray) -> Any:
    found, missing = user_values(column, values)
    dictionary = re.match(r"dictionary<values=(.+), indices=(\w+)", column.dtype)
    if dictionary:
        value_type, index_type = (
            _pyarrow_type(pa, each) for each in dictionary.groups()
        )
        codes = np.nan_to_num(values).astype(np.int64)
        return pa.DictionaryArray.from_arrays(
            pa.array(codes, mask=missing).cast(index_type),
            pa.array(_levels(column), type=value_type),
            ordered=column.ordered,
        )
    if column.group == "empty":
        return pa.nulls(len(values), _pyarrow_type(pa, column.dtype))
    if column.group == "date":
        stamps = pa.array(found, mask=missing).cast(pa.timestamp("us", column.zone))
        return stamps.cast(_pyarrow_type(pa, column.dtype), safe=False)
    if column.group == "duration":
        spans = pa.array(found, mask=missing).cast(pa.duration("us"))
        return spans.cast(pa.type_for_alias(column.dtype), safe=False)
    whole = _whole(found, column.dtype)
    # Lists of the largest numbers without a sign would be taken for signed ones.
    data = pa.array(whole if whole.dtype.kind == "u" else whole.tolist(), mask=missing)
    exact = _decimals(column.dtype) is None
    return data.cast(_pyarrow_type(pa, column.dtype), safe=exact)


def _pyarrow_type(pa: Any, printed: str) -> Any:
    """Return the type that prints so, which need not be a name that pyarrow takes."""
    if decimal := _decimals(printed):
        return getattr(pa, printed.split("(")[0])(*decimal)
    if zoned := re.fullmatch(r"timestamp\[(\w+), tz=(.+)\]", printed):
        return pa.timestamp(*zoned.groups())
    if sized := re.fullmatch(r"fixed_size_binary\[(\d+)\]", printed):
        return pa.binary(int(sized[1]))
    return pa.type_for_alias(printed)
