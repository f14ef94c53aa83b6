"""From a user's table of any kind to one tensor: a number a value, NaN where missing.

A category stands as the position of its level. Tables of numbers alone are read by
scikit-learn's own validation, at its speed.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_array, validate_data
from torch import Tensor

from ..vae.likelihoods import LEVELS
from .arrays import with_gaps_for_masks
from .frames import (
    DATES,
    RawColumn,
    as_frame,
    library_of,
    names_in,
    number_columns,
    read_columns,
    read_objects,
)
from .kinds import (
    asked_kinds,
    family_of_dates,
    family_of_levels,
)
from .refusals import explain_no_table
from .schema import (
    NUMBER_GROUPS,
    Column,
    TableSchema,
    as_array,
    encode_levels,
    explain_other_groups,
    explain_other_order,
    in_order,
)
from .validation import checked_weights, rows_of_weight, validated_table

LARGEST_WHOLE = 2.0**53
"""Up to it every whole number has a float64 of its own."""


def read_new_table(
    estimator: Any, X: Any, sample_weight: Any
) -> tuple[Tensor, Tensor, TableSchema, list[str]]:
    """Read the rows of positive weight of the table of a fit.

    Parameters
    ----------
    estimator : BaseEstimator
        Whose number and names of columns to set. Its `likelihood` and
        `categorical_features` say what the columns are.
    X : DataFrame or array-like of shape (n_samples, n_features)
        The table.
    sample_weight : array-like of shape (n_samples,) or None
        Non-negative weights.

    Returns
    -------
    rows : Tensor of shape (n_rows, n_features)
        Numbers and positions of levels, NaN where missing.
    weights : Tensor of shape (n_rows,), float64
        See `rows_of_weight`.
    schema : TableSchema
    likelihood : list of str
        Family of every column: `NUMBER` for dates, ``"auto"`` where its values
        decide.

    Raises
    ------
    ValueError, TypeError
        For a table or parameters that cannot be fitted.
    """
    library = library_of(X)
    columns = number_columns(X, library) if library else None
    mixed = columns is None and (library is not None or _holds_text(X, estimator))
    if mixed:
        table, columns = _read_mixed(estimator, X, library, reset=True)
    else:
        table = validated_table(
            estimator,
            X,
            reset=True,
            min_samples=2,
            allow_missing=True,
            kinds_known=True,
        ).contiguous()
        if columns is None:
            columns = _array_columns(table)
    table, weights = rows_of_weight(table, X, sample_weight)
    names = [column.name for column in columns] if library else None
    asked, chosen, by_name = asked_kinds(estimator, len(columns), names)
    families: list[str] = []
    fitted: list[Column] = []
    codes: dict[int, np.ndarray] = {}
    for index, raw in enumerate(columns):
        if raw.group in DATES and not chosen[index]:
            column = fitted_column(raw)
            family = family_of_dates(raw.name, asked[index], by_name=by_name)
        elif raw.group == "text" or chosen[index] or asked[index] in LEVELS:
            raw = replace(raw, values=table[:, index].double().cpu().numpy())
            column, family, positions = _column_of_levels(raw, asked[index], by_name)
            if positions is not None:
                codes[index] = positions
        else:
            column, family = fitted_column(raw), asked[index]
        fitted.append(column)
        families.append(family)
    headings = tuple(X.columns.names) if library == "pandas" else (None,)
    schema = TableSchema(library or "array", tuple(fitted), headings)
    if codes:
        table = table.double()
    return _with_codes(table, codes), weights, schema, families


def _column_of_levels(
    raw: RawColumn, asked: str, by_name: bool
) -> tuple[Column, str, np.ndarray | None]:
    """Return a column, its family and positions of its levels, None without a value."""
    levels = _levels(raw)
    if not len(levels):  # all of its text is in rows of weight 0
        group = "empty" if raw.group == "text" else raw.group
        return fitted_column(replace(raw, group=group)), asked, None
    family = family_of_levels(
        raw.name, asked, len(levels), ordered=raw.ordered, by_name=by_name
    )
    return fitted_column(raw, levels), family, encode_levels(raw, levels, "error")


def fitted_column(raw: RawColumn, levels: np.ndarray | None = None) -> Column:
    """Return a column as a schema keeps it, with the levels of a fit, if any."""
    name = raw.name.item() if isinstance(raw.name, np.generic) else raw.name
    return Column(
        name, raw.dtype, raw.group, levels, raw.ordered, raw.zone, raw.level_dtype
    )


def read_known_table(
    estimator: Any,
    X: Any,
    schema: TableSchema,
    handle_unknown: str = "error",
    min_samples: int = 1,
    sample_weight: Any = None,
) -> Tensor:
    """Read a table of a fitted schema.

    Parameters
    ----------
    estimator : BaseEstimator
        Whose number and names of columns to check.
    X : DataFrame or array-like of shape (n_samples, n_features)
        The table.
    schema : TableSchema
        The schema.
    handle_unknown : {"error", "missing"}, default="error"
        What to do with a category that was not fitted.
    min_samples : int, default=1
        Least number of rows.
    sample_weight : array-like of shape (n_samples,), default=None
        Non-negative weights. A level of rows of weight 0 alone is none.

    Returns
    -------
    Tensor of shape (n_samples, n_features)

    Raises
    ------
    ValueError, TypeError
        For a table of another schema, with the difference, and for an unknown
        `handle_unknown`.
    """
    if handle_unknown not in ("error", "missing"):  # it may be set after a fit
        raise ValueError(
            f"handle_unknown={handle_unknown!r} must be 'error' or 'missing'. Set it "
            "with set_params, which needs no new fit."
        )
    X = as_frame(X)
    library = library_of(X)
    reason = None if library else explain_no_table(X, library_of_fit=schema.library)
    if reason is not None:
        raise ValueError(reason)
    columns = number_columns(X, library) if library else None
    difference = explain_other_order(schema.names or [], names_in(X))
    if schema.numbers_only and (library is None or columns is not None):
        table = validated_table(
            estimator,
            X,
            reset=False,
            min_samples=min_samples,
            allow_missing=True,
            kinds_known=True,
        ).contiguous()
        columns = None
    else:
        if library is None and schema.library != "array":
            others = [
                f"{column.name!r} ({column.dtype})"
                for column in schema.columns
                if column.group not in NUMBER_GROUPS
            ]
            kinds = ", ".join(others[:3])
            raise ValueError(
                "X must be a table with named columns, as in fit (a "
                f"{schema.library} table), got {type(X).__name__}. Columns such as "
                f"{kinds} need their dtypes."
            )
        table, columns = _read_mixed(
            estimator, X, library, reset=False, min_samples=min_samples
        )
        difference = difference or explain_other_groups(schema, columns)
    if difference is not None:
        raise ValueError(difference)
    weightless = None
    if sample_weight is not None:
        weights = checked_weights(sample_weight, X, min_samples)
        weightless = (weights == 0).cpu().numpy()
    codes = {}
    for index, column in enumerate(schema.columns):
        raw = None if columns is None else columns[index]
        if column.levels is not None:
            if raw is None:
                values = table[:, index].double().cpu().numpy()
                raw = RawColumn(column.name, column.dtype, column.group, values)
            if weightless is not None:
                raw = replace(raw, values=np.where(weightless, np.nan, raw.values))
            codes[index] = encode_levels(raw, column.levels, handle_unknown)
        elif column.group == "empty":  # no value says what the numbers stand for
            codes[index] = np.full(len(table), np.nan)
    return _with_codes(table, codes)


def _with_codes(table: Tensor, codes: Mapping[int, np.ndarray]) -> Tensor:
    """Put positions of levels into a copy of a table: it may be the user's own."""
    if not codes:
        return table
    table = table.clone()
    for index, each in codes.items():
        table[:, index] = torch.from_numpy(each).to(table)
    return table


def _holds_text(X: Any, estimator: Any) -> bool:
    """Whether an array or a list holds objects, some of which are called categories."""
    if isinstance(X, list | tuple):
        X = np.asarray(X, dtype=object)
    if not isinstance(X, np.ndarray) or X.dtype.kind not in "OUST":
        return False
    named = estimator.categorical_features
    by_name = not isinstance(estimator.likelihood, str)
    return by_name or (named is not None and not isinstance(named, str))


def _array_columns(table: Tensor) -> list[RawColumn]:
    dtype = str(table.dtype).removeprefix("torch.")
    nothing = np.empty(0)
    return [
        RawColumn(index, dtype, "number", nothing) for index in range(table.shape[1])
    ]


def _read_mixed(
    estimator: Any,
    X: Any,
    library: str | None,
    *,
    reset: bool,
    min_samples: int = 2,
) -> tuple[Tensor, list[RawColumn]]:
    """Read a table column by column."""
    if library is None:
        if isinstance(X, list | tuple):
            X = np.asarray(X, dtype=object)  # one type for all would be text
        X = check_array(with_gaps_for_masks(X), dtype=None, ensure_all_finite=False)
        validate_data(estimator, X, reset=reset, skip_check_array=True)
        columns = [
            read_objects(index, str(X.dtype), values.astype(object))
            for index, values in enumerate(X.T)
        ]
    else:
        validate_data(estimator, X, reset=reset, skip_check_array=True)
        columns = list(read_columns(X, library))
    n_rows = len(columns[0].values)
    if n_rows < min_samples:
        raise ValueError(
            f"Found array with {n_rows} sample(s) (shape={(n_rows, len(columns))}) "
            f"while a minimum of {min_samples} is required by "
            f"{type(estimator).__name__}."
        )
    for column in columns:
        infinite = np.flatnonzero(np.isinf(column.values))
        if len(infinite):
            raise ValueError(
                f"Column {column.name!r} holds {column.values[infinite[0]]} in row "
                f"{infinite[0]}. Replace infinite values, or drop such rows."
            )
    stacked = np.column_stack([column.values for column in columns])
    return torch.from_numpy(stacked), columns


def _levels(raw: RawColumn) -> np.ndarray:
    """Return the levels of a column, in the order of its dtype or sorted."""
    if raw.group in DATES:
        raise ValueError(
            f"Column {raw.name!r} holds dates (dtype {raw.dtype}), which cannot be "
            "categories. Convert it first, for example to text or to the day of the "
            "week."
        )
    if raw.declared:
        return as_array(raw.levels)
    found = np.unique(raw.values[~np.isnan(raw.values)])
    if raw.levels:
        return as_array(in_order([raw.levels[int(each)] for each in found]))
    if np.abs(found).max(initial=0) > LARGEST_WHOLE:
        raise ValueError(
            f"Column {raw.name!r} holds numbers beyond 2**53, which float64 cannot "
            "tell apart: they cannot be categories. Convert the column to text first, "
            "for example with astype(str)."
        )
    return found


def decoded_levels(schema: TableSchema, table: np.ndarray) -> np.ndarray:
    """Return an array with the levels themselves in the place of their positions.

    Parameters
    ----------
    schema : TableSchema
        Of an array.
    table : ndarray of shape (n_rows, n_features)
        Numbers and positions of levels, NaN where missing.

    Returns
    -------
    ndarray of shape (n_rows, n_features)
        Of objects, where levels are text.
    """
    if all(column.levels is None for column in schema.columns):
        return table
    result = table.copy()
    if any(column.group == "text" for column in schema.columns):
        result = result.astype(object)
    for index, column in enumerate(schema.columns):
        if column.levels is not None:
            seen = ~np.isnan(table[:, index])
            result[seen, index] = column.levels[table[seen, index].astype(np.intp)]
    return result
