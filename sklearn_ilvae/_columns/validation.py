"""Tables of numbers, checked as scikit-learn checks them; errors that name a column."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import isinf, isnan
from numbers import Number
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_array, validate_data
from torch import Tensor

from .._sklearn import check_sample_weight
from .._text import counted
from .arrays import float_dtypes, to_numpy, to_tensor, with_gaps_for_masks
from .frames import (
    MAKE_DENSE,
    as_frame,
    is_missing,
    library_of,
    names_in,
    without_long_integers,
)
from .kinds import column_name
from .refusals import ENCODE_TEXT, explain_no_table, explain_other_kinds


def validated_table(
    estimator: Any,
    X: Any,
    *,
    reset: bool,
    min_samples: int = 1,
    allow_missing: bool = False,
    kinds_known: bool = False,
) -> Tensor:
    """Return a user's table as a tensor, or raise an error that names a bad column.

    Parameters
    ----------
    estimator : BaseEstimator
        Whose number and names of columns to set or to check.
    X : DataFrame or array-like of shape (n_samples, n_features)
        The table.
    reset : bool
        Whether to set the number and names of columns.
    min_samples : int, default=1
        Least number of rows.
    allow_missing : bool, default=False
        Whether values may be missing.
    kinds_known : bool, default=False
        Whether the columns of a data frame are known to hold numbers.

    Returns
    -------
    Tensor of shape (n_samples, n_features)
        In the floating dtype of X, float64 for other dtypes, and in its memory where
        that can be: not to be written to.
    """
    X = _ready_for_scikit_learn(X, kinds_known=kinds_known)
    with _bad_column_named(X, allow_missing):
        table = validate_data(
            estimator,
            X,
            reset=reset,
            dtype=float_dtypes(X),
            ensure_min_samples=min_samples,
            ensure_all_finite="allow-nan" if allow_missing else True,
        )
    return to_tensor(table)


def checked_numbers(X: Any, name: str, *, min_samples: int, finite: bool) -> Tensor:
    """Return a table that belongs to no estimator, or raise an error that names it.

    Parameters
    ----------
    X : DataFrame or array-like of shape (n_samples, n_features)
        The table.
    name : str
        What the user knows it by.
    min_samples : int
        Least number of rows.
    finite : bool
        Whether all values must be finite.

    Returns
    -------
    Tensor of shape (n_samples, n_features)
        As `validated_table` returns it.
    """
    with _argument_named(name):
        X = _ready_for_scikit_learn(X, name)
        with _bad_column_named(X, allow_missing=False):
            table = check_array(
                X,
                dtype=float_dtypes(X),
                ensure_min_samples=min_samples,
                ensure_all_finite=finite,
            )
    return to_tensor(table)


@contextmanager
def _argument_named(name: str) -> Iterator[None]:
    """Say in an error about an array which argument it came as."""
    try:
        yield
    except (ValueError, TypeError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{name}: {error}") from error


def _ready_for_scikit_learn(
    X: Any, name: str = "X", *, kinds_known: bool = False
) -> Any:
    """Return a table of numbers as scikit-learn reads it, without loss."""
    X = as_frame(X)
    foreign = explain_no_table(X, name)
    if foreign is None and not kinds_known:
        foreign = explain_other_kinds(X)
    if foreign is not None:
        raise ValueError(foreign)
    return without_long_integers(with_gaps_for_masks(X))


@contextmanager
def _bad_column_named(X: Any, allow_missing: bool) -> Iterator[None]:
    """Add to an error about a table what `explain_bad_table` finds in it."""
    try:
        yield
    except (ValueError, TypeError, OverflowError) as error:
        reason = explain_bad_table(X, allow_missing)
        if reason is None:
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{error}\n{reason}") from error


def checked_weights(sample_weight: Any, X: Any, min_samples: int = 1) -> Tensor:
    """Return the weights of rows, or raise an error that names `sample_weight`.

    Parameters
    ----------
    sample_weight : array-like of shape (n_samples,)
        Non-negative weights.
    X : DataFrame or array-like of shape (n_samples, n_features)
        The table as it came.
    min_samples : int, default=1
        Least number of rows of positive weight.

    Returns
    -------
    weights : Tensor of shape (n_samples,), float64
    """
    # Beside a tensor, scikit-learn takes arrays alone.
    if not isinstance(sample_weight, Number | None):
        with _argument_named("sample_weight"):
            sample_weight = check_array(
                sample_weight, ensure_2d=False, dtype=float_dtypes(sample_weight)
            )
    weights = to_tensor(
        check_sample_weight(sample_weight, X, ensure_non_negative=True)
    ).double()
    count = int((weights > 0).sum())
    if count < min_samples:
        raise ValueError(
            "sample_weight must be positive for at least "
            f"{counted(min_samples, 'row')}, got {count}. Weights of 0 remove rows."
        )
    return weights


def rows_of_weight(
    table: Tensor, X: Any, sample_weight: Any, min_samples: int = 2
) -> tuple[Tensor, Tensor]:
    """Return the rows of positive weight and their weights.

    Parameters
    ----------
    table : Tensor of shape (n_samples, n_features)
        The table as a tensor.
    X : DataFrame or array-like of shape (n_samples, n_features)
        The table as it came.
    sample_weight : array-like of shape (n_samples,) or None
        Non-negative weights.
    min_samples : int, default=2
        Least number of rows of positive weight.

    Returns
    -------
    rows : Tensor of shape (n_rows, n_features)
    weights : Tensor of shape (n_rows,), float64
        Positive, at most 2: only their ratios matter.
    """
    if sample_weight is None:
        return table, torch.ones(len(table), dtype=torch.float64, device=table.device)
    weights = checked_weights(sample_weight, X, min_samples).to(table.device)
    present = weights > 0
    weights = weights[present]
    # By a power of two, which rounds nothing, so that no sum of weights overflows.
    size = torch.frexp(weights.max()).exponent.clamp(min=-1000)
    tiny = torch.finfo(weights.dtype).tiny
    return table[present], (weights * 2.0 ** (1 - size.double())).clamp(min=tiny)


def explain_bad_table(table: Any, allow_missing: bool) -> str | None:
    """Describe the first column of a table that holds no usable number somewhere.

    Parameters
    ----------
    table : DataFrame or array-like
        What a user passed.
    allow_missing : bool
        Whether values may be missing.

    Returns
    -------
    str or None
        Column, value and next step; None when every value is usable.
    """
    table = as_frame(table)
    library = library_of(table)
    names = None if library is None else names_in(table)
    if names == []:
        return "The table has no columns; at least one is required."
    if library == "pandas":
        for name, dtype in zip(names or [], table.dtypes, strict=True):
            if str(dtype).startswith("Sparse"):
                return f"Column {name!r} has dtype {dtype}. {MAKE_DENSE}."
    array = to_numpy(table)
    if array.ndim != 2:
        return None
    if array.dtype.kind in "biufc":
        return _explain_bad_number(array, names, allow_missing)
    return _explain_bad_object(array, names, allow_missing)


def _explain_bad_number(
    array: np.ndarray, names: Sequence[Any] | None, allow_missing: bool
) -> str | None:
    bad = np.isinf(array) if allow_missing else ~np.isfinite(array)
    if array.dtype.kind == "c":
        bad = array.imag != 0
    columns = np.flatnonzero(bad.any(axis=0))
    if not len(columns):
        return None
    index = int(columns[0])
    row = int(np.flatnonzero(bad[:, index])[0])
    name = column_name(index, names)
    return _not_usable(name, array[row, index], row, allow_missing)


def _explain_bad_object(
    array: np.ndarray, names: Sequence[Any] | None, allow_missing: bool
) -> str | None:
    for index, values in enumerate(array.T):
        name = column_name(index, names)
        for row, value in enumerate(values):
            if is_missing(value):
                if allow_missing:
                    continue
                return _not_usable(name, value, row, allow_missing)
            try:
                number = float(value)
            except (TypeError, ValueError):
                step = (
                    "Name such columns in categorical_features, or pass a data frame"
                    if allow_missing
                    else f"{ENCODE_TEXT}, or drop the column"
                    if isinstance(value, str)
                    else "Convert it to numbers, or drop the column"
                )
                shown = value.item() if isinstance(value, np.generic) else value
                return f"{name} holds {shown!r} in row {row}, not a number. {step}."
            except OverflowError:
                return (
                    f"{name} holds a number beyond the largest float64 in row {row}. "
                    "Rescale it, for example by taking logarithms, or drop it."
                )
            if not np.isfinite(number) and not (allow_missing and isnan(number)):
                return _not_usable(name, number, row, allow_missing)
    return None


def _not_usable(name: str, value: object, row: int, allow_missing: bool) -> str:
    if isinstance(value, complex):
        return (
            f"{name} holds {value} in row {row}. Give real and imaginary parts a "
            "column each."
        )
    if isinstance(value, float | np.floating) and isinf(value):
        note = "; a missing value is NaN" if allow_missing else ""
        return (
            f"{name} holds {value} in row {row}. Replace infinite values, or drop such "
            f"rows{note}."
        )
    return (
        f"{name} holds {value} in row {row}. Impute or drop such rows first, for "
        "example with sklearn.impute.SimpleImputer."
    )
