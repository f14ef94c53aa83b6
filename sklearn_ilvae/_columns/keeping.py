"""Copy the observed values of a table, exactly as they were, into a filled one."""

from typing import Any

import numpy as np

from .frames import DATES, LONG_DOUBLE, library_of
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
    if library_of(original) != schema.library:
        return filled
    replace = {"pandas": _pandas, "polars": _polars, "pyarrow": _pyarrow}
    for index, column in enumerate(schema.columns):
        if _may_round(column):
            filled = replace[schema.library](
                filled, original, column.name, observed[:, index]
            )
    return filled


def _may_round(column: Column) -> bool:
    exact = "float" in column.dtype.lower() and column.dtype not in LONG_DOUBLE
    number = column.group == "number" and not exact
    return column.levels is None and (number or column.group in DATES)


def _pandas(filled: Any, original: Any, name: Any, observed: np.ndarray) -> Any:
    if filled[name].dtype == original[name].dtype:
        filled[name] = original[name].where(observed, filled[name])
    return filled


def _polars(filled: Any, original: Any, name: Any, observed: np.ndarray) -> Any:
    import polars as pl

    if filled[name].dtype != original[name].dtype:
        return filled
    chosen = original[name].zip_with(pl.Series(observed), filled[name])
    return filled.with_columns(chosen.alias(name))


def _pyarrow(filled: Any, original: Any, name: Any, observed: np.ndarray) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    position = filled.schema.get_field_index(name)
    field = filled.schema.field(position)
    if field.type != original.schema.field(name).type:
        return filled
    chosen = pc.if_else(pa.array(observed), original[name], filled[name])
    # It may have become wider: short decimals do.
    return filled.set_column(position, field, chosen.cast(field.type))
