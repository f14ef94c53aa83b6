"""Copy the observed values of a table, exactly as they were, into a filled one."""

from typing import Any

import numpy as np

from .frames import DATES, LONG_DOUBLE, as_frame, library_of
from .schema import Column, TableSchema


def keep_observed(
    schema: TableSchema, filled: Any, original: Any, observed: np.ndarray
) -> Any:
    """Return a filled table with the observed values of the original.

    On their way through float64, integers beyond 2⁵³ and dates finer than a microsecond
    are rounded. Observed values are copied instead.

    Parameters
    ----------
    schema : TableSchema
        Of the filled table.
    filled : DataFrame
        Without missing values.
    original : DataFrame or array-like
        With them. Columns of another dtype than in `filled` are left as they are.
    observed : ndarray of shape (n_rows, n_features), bool
        Where to take the value of `original`.

    Returns
    -------
    DataFrame
    """
    original = as_frame(original)
    if library_of(original) != schema.library:
        return filled
    replace = {"pandas": _pandas, "polars": _polars, "pyarrow": _pyarrow}
    for index, column in enumerate(schema.columns):
        if _may_round(column):
            filled = replace[schema.library](
                filled, original, index, observed[:, index]
            )
    return filled


def _may_round(column: Column) -> bool:
    exact = "float" in column.dtype.lower() and column.dtype not in LONG_DOUBLE
    number = column.group == "number" and not exact
    return column.levels is None and (number or column.group in DATES)


def _pandas(filled: Any, original: Any, index: int, observed: np.ndarray) -> Any:
    new, old = filled.iloc[:, index], original.iloc[:, index]
    if new.dtype == old.dtype:
        filled.isetitem(index, old.where(observed, new))
    return filled


def _polars(filled: Any, original: Any, index: int, observed: np.ndarray) -> Any:
    import polars as pl

    new, old = filled.to_series(index), original.to_series(index)
    if new.dtype != old.dtype:
        return filled
    return filled.replace_column(index, old.zip_with(pl.Series(observed), new))


def _pyarrow(filled: Any, original: Any, index: int, observed: np.ndarray) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    field = filled.schema.field(index)
    if field.type != original.schema.field(index).type:
        return filled
    chosen = pc.if_else(pa.array(observed), original[index], filled[index])
    # It may have become wider: short decimals do.
    return filled.set_column(index, field, chosen.cast(field.type))
