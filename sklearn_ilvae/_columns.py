"""From validated tables to tensors and back: the kind and the scale of each column.

A Gaussian column is standardised. Beyond `LINEAR_RANGE` standard deviations the scale
turns logarithmic, which tames heavy tails as clipping does, but keeps the map
one-to-one: likelihoods stay exact and the inverse exists.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import validate_data
from torch import Tensor

from ._sklearn import (
    check_sample_weight,
    get_namespace_and_device,
    move_to,
    supported_float_dtypes,
)

LINEAR_RANGE = 3.0

MISSING = ("NoneType", "NAType", "NaTType")
"""Types of missing values that are no numbers: None and those of pandas."""


def to_tensor(array: Any) -> Tensor:
    """Return an array of any namespace as a tensor, which must not be written to."""
    if torch.is_tensor(array):
        return array.detach()
    # Torch has neither read-only tensors nor negative strides: copy.
    return torch.tensor(np.ascontiguousarray(move_to(array, xp=np, device="cpu")))


def view_tensor(array: Any) -> Tensor:
    """Return an array as a tensor in the same memory, which must not be written to.

    A copy would read a memory-mapped file whole.
    """
    if torch.is_tensor(array):
        return array.detach()
    array = move_to(array, xp=np, device="cpu")
    if min(array.strides, default=0) < 0:  # torch has no negative strides
        array = array.copy()
    with warnings.catch_warnings():
        # Torch has no read-only tensors, and says so.
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(array)


def from_tensor(tensor: Tensor, like: Any) -> Any:
    """Return a tensor in the namespace and on the device of another array."""
    namespace, _, device = get_namespace_and_device(like)
    if namespace.__name__.endswith("torch"):
        return tensor.to(device)
    return move_to(tensor.cpu().numpy(), xp=namespace, device=device)


def float_dtypes(array: Any) -> list[Any]:
    """Return the floating dtypes that an array may keep: double and single."""
    namespace, _, device = get_namespace_and_device(array)
    half = getattr(namespace, "float16", None)
    return [
        dtype for dtype in supported_float_dtypes(namespace, device) if dtype != half
    ]


def validated_table(
    estimator: Any,
    X: Any,
    *,
    reset: bool,
    min_samples: int = 1,
    in_place: bool = False,
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
    in_place : bool, default=False
        Whether the tensor shares the memory of X where it can.

    Returns
    -------
    Tensor of shape (n_samples, n_features)
        In the floating dtype of X, float64 for other dtypes.
    """
    try:
        table = validate_data(
            estimator,
            X,
            reset=reset,
            dtype=float_dtypes(X),
            ensure_min_samples=min_samples,
        )
    except (ValueError, TypeError) as error:
        reason = explain_bad_table(X)
        if reason is None:
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{error}\n{reason}") from error
    return view_tensor(table) if in_place else to_tensor(table)


def weighted_table(
    estimator: Any, X: Any, sample_weight: Any, *, reset: bool
) -> tuple[Tensor, Tensor]:
    """Return the rows of positive weight, at least two, and their weights.

    Parameters
    ----------
    estimator : BaseEstimator
        Whose number and names of columns to set or to check.
    X : DataFrame or array-like of shape (n_samples, n_features)
        The table.
    sample_weight : array-like of shape (n_samples,) or None
        Non-negative weights.
    reset : bool
        Whether to set the number and names of columns.

    Returns
    -------
    table : Tensor of shape (n_rows, n_features)
    weights : Tensor of shape (n_rows,), float64
    """
    table = validated_table(estimator, X, reset=reset, min_samples=2)
    if sample_weight is None:
        return table, torch.ones(len(table), dtype=torch.float64)
    weights = to_tensor(
        check_sample_weight(sample_weight, X, ensure_non_negative=True)
    ).double()
    present = weights > 0
    if int(present.sum()) < 2:
        raise ValueError(
            f"sample_weight must be positive for at least 2 rows, got "
            f"{int(present.sum())}. Weights of 0 remove rows."
        )
    return table[present], weights[present]


@dataclass(frozen=True)
class ColumnScaling:
    """Kind, centre and spread of every column.

    Parameters
    ----------
    mean, scale : Tensor of shape (n_features,), float64
        Centre and spread; the spread of a constant column is 1.
    likelihood : tuple of str
        ``"gaussian"`` or ``"bernoulli"`` for every column.
    """

    mean: Tensor
    scale: Tensor
    likelihood: tuple[str, ...]

    @property
    def binary(self) -> tuple[bool, ...]:
        """Which columns are Bernoulli."""
        return tuple(kind == "bernoulli" for kind in self.likelihood)

    def transform(self, table: Tensor) -> Tensor:
        """Standardise a table, in its own dtype."""
        scaled = (table - self.mean.to(table)) / self.scale.to(table)
        outside = scaled.abs() > LINEAR_RANGE
        values = scaled[outside]  # few: a logarithm of every value would cost more
        beyond = values.abs() - LINEAR_RANGE
        scaled[outside] = values.sign() * (LINEAR_RANGE + beyond.log1p())
        return scaled

    def inverse_transform(self, rows: Tensor) -> Tensor:
        """Undo `transform` for the Gaussian columns; keep probabilities as they are."""
        size = rows.abs()
        beyond = (size - LINEAR_RANGE).clamp(min=0)
        scaled = rows.sign() * (size.clamp(max=LINEAR_RANGE) + beyond.expm1())
        table = scaled * self.scale.to(rows) + self.mean.to(rows)
        return torch.where(self._binary_mask(rows), rows, table)

    def log_slope(self, table: Tensor) -> Tensor:
        """Return log |d transform / d table| of every row, over Gaussian columns."""
        slopes = self.log_slopes(table) - self.scale.to(table).log()
        return (slopes * ~self._binary_mask(table)).sum(1)

    def log_slopes(self, table: Tensor) -> Tensor:
        """Return the log-slope of every value against the linear scale, at most 0."""
        scaled = (table - self.mean.to(table)) / self.scale.to(table)
        beyond = (scaled.abs() - LINEAR_RANGE).clamp(min=0)
        return -beyond.log1p() * ~self._binary_mask(table)

    def _binary_mask(self, like: Tensor) -> Tensor:
        return torch.tensor(self.binary, device=like.device)


def find_scaling(
    table: Tensor,
    weights: Tensor,
    likelihood: str | Sequence[str],
    names: Sequence[str] | None = None,
) -> ColumnScaling:
    """Find kind, centre and spread of every column.

    Parameters
    ----------
    table : Tensor of shape (n_rows, n_features)
        Finite values.
    weights : Tensor of shape (n_rows,)
        Non-negative weights with a positive sum.
    likelihood : {"auto", "gaussian", "bernoulli"} or a sequence of these
        ``"auto"`` takes columns that hold zeros and ones, both, as Bernoulli.
    names : sequence of str, default=None
        Names of the columns, for errors.

    Returns
    -------
    ColumnScaling
        With weighted means and standard deviations.

    Raises
    ------
    ValueError
        When `likelihood` does not fit the table, or a column is too wide for float64.
    """
    rows = table.double()
    shares = (weights.double() / weights.sum()).to(rows)
    mean = shares @ rows
    centred = rows - mean
    # The second term corrects the rounding of the mean (Chan, Golub & LeVeque, 1983).
    variance = shares @ centred.square() - (shares @ centred).square()
    rounding = (len(rows) * torch.finfo(torch.float64).eps * mean).square()
    constant = variance <= rounding
    scale = torch.where(constant, 1.0, variance.clamp(min=0).sqrt())
    too_wide = (~scale.isfinite()).nonzero()
    if len(too_wide):
        raise ValueError(
            f"{column_name(int(too_wide[0, 0]), names)} spreads too widely to be "
            "standardised in float64. Rescale it, for example by taking logarithms."
        )
    asked = _likelihood_of_columns(likelihood, table.shape[1])
    zero_one = ((rows == 0) | (rows == 1)).all(0) & ~constant
    automatic = ["bernoulli" if found else "gaussian" for found in zero_one]
    kinds = tuple(
        found if kind == "auto" else kind
        for kind, found in zip(asked, automatic, strict=True)
    )
    scaling = ColumnScaling(mean, scale, kinds)
    check_binary(table, scaling.binary, names)
    return scaling


def _likelihood_of_columns(
    likelihood: str | Sequence[str], n_features: int
) -> list[str]:
    asked = (
        [likelihood] * n_features
        if isinstance(likelihood, str)
        else [str(kind) for kind in likelihood]
    )
    if len(asked) != n_features:
        raise ValueError(
            f"likelihood={likelihood!r} names {len(asked)} columns, but X has "
            f"{n_features}. Name one for every column, or pass 'auto'."
        )
    for index, kind in enumerate(asked):
        if kind not in ("auto", "gaussian", "bernoulli"):
            raise ValueError(
                f"likelihood={likelihood!r} has {kind!r} for column {index}; it must "
                "be 'auto', 'gaussian' or 'bernoulli'."
            )
    return asked


def check_binary(
    table: Tensor, binary: Sequence[bool], names: Sequence[str] | None = None
) -> None:
    """Raise an error that names the first Bernoulli column with other values.

    Parameters
    ----------
    table : Tensor of shape (n_rows, n_features)
        Values in the units of the table.
    binary : sequence of bool
        Which columns are Bernoulli.
    names : sequence of str, default=None
        Names of the columns, for the error.

    Raises
    ------
    ValueError
        When a Bernoulli column holds anything but 0 and 1.
    """
    for column in np.flatnonzero(binary).tolist():
        values = table[:, column]
        others = values[(values != 0) & (values != 1)]
        if len(others):
            raise ValueError(
                f"{column_name(column, names)} has a Bernoulli likelihood but holds "
                f"{float(others[0])}; only 0 and 1 are possible. Refit with "
                "likelihood='gaussian', or name the likelihood of every column."
            )


def column_name(index: int, names: Sequence[str] | None) -> str:
    """Return what to call a column in an error."""
    return f"Column {index}" if names is None else f"Column {names[index]!r}"


def explain_bad_table(table: Any) -> str | None:
    """Describe the first column of a table that holds no finite number somewhere.

    Parameters
    ----------
    table : DataFrame or array-like
        What a user passed.

    Returns
    -------
    str or None
        Column, value and next step; None when every value is a finite number.
    """
    names = list(table.columns) if hasattr(table, "columns") else None
    if names == []:
        return "The table has no columns; at least one is required."
    foreign = hasattr(table, "__dlpack__") and not isinstance(table, np.ndarray)
    array = to_tensor(table).cpu().numpy() if foreign else np.asarray(table)
    if array.ndim != 2:
        return None
    if array.dtype.kind in "biufc":
        finite = np.isfinite(array)
        for index in np.flatnonzero(~finite.all(axis=0)).tolist():
            row = int(np.flatnonzero(~finite[:, index])[0])
            return _not_finite(column_name(index, names), array[row, index], row)
        return None
    for index, values in enumerate(array.T):
        name = column_name(index, names)
        for row, value in enumerate(values):
            if type(value).__name__ in MISSING:
                return _not_finite(name, value, row)
            try:
                number = float(value)
            except (TypeError, ValueError):
                return (
                    f"{name} holds {value!r} in row {row}, which is not a number. "
                    "Encode text first, for example with "
                    "sklearn.preprocessing.OneHotEncoder, or drop the column."
                )
            if not isfinite(number):
                return _not_finite(name, number, row)
    return None


def _not_finite(name: str, value: object, row: int) -> str:
    return (
        f"{name} holds {value} in row {row}. Impute or drop such rows first, for "
        "example with sklearn.impute.SimpleImputer."
    )
