"""From validated tables to tensors and back: the kind and the scale of each column.

A Gaussian column is standardised. Beyond `LINEAR_RANGE` standard deviations the scale
turns logarithmic, which tames heavy tails as clipping does, but keeps the map
one-to-one: likelihoods stay exact and the inverse exists.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._sklearn import get_namespace_and_device, move_to, supported_float_dtypes

LINEAR_RANGE = 3.0


def to_tensor(array: Any) -> Tensor:
    """Return an array of any namespace as a tensor that shares no memory to write."""
    if isinstance(array, np.ndarray):
        return torch.tensor(array)
    device = getattr(array, "device", "cpu") if torch.is_tensor(array) else "cpu"
    return move_to(array, xp=torch, device=device)


def float_dtypes(array: Any) -> list[Any]:
    """Return the floating dtypes that an array's namespace and device support."""
    namespace, _, device = get_namespace_and_device(array)
    return list(supported_float_dtypes(namespace, device))


def from_tensor(tensor: Tensor, like: Any) -> Any:
    """Return a tensor in the namespace and on the device of another array."""
    namespace, _, device = get_namespace_and_device(like)
    if namespace.__name__.endswith("torch"):
        return tensor.to(device)
    return move_to(tensor.cpu().numpy(), xp=namespace, device=device)


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
        size = scaled.abs()
        if not bool((size > LINEAR_RANGE).any()):
            return scaled
        beyond = (size - LINEAR_RANGE).clamp(min=0)
        return scaled.sign() * (size.clamp(max=LINEAR_RANGE) + beyond.log1p())

    def inverse_transform(self, rows: Tensor) -> Tensor:
        """Undo `transform` for the Gaussian columns; keep probabilities as they are."""
        size = rows.abs()
        beyond = (size - LINEAR_RANGE).clamp(min=0)
        scaled = rows.sign() * (size.clamp(max=LINEAR_RANGE) + beyond.expm1())
        table = scaled * self.scale.to(rows) + self.mean.to(rows)
        return torch.where(self._binary_mask(rows), rows, table)

    def log_slope(self, table: Tensor) -> Tensor:
        """Return log |d transform / d table| of every row, over Gaussian columns."""
        mask = ~self._binary_mask(table)
        scaled = (table - self.mean.to(table)) / self.scale.to(table)
        beyond = (scaled.abs() - LINEAR_RANGE).clamp(min=0)
        slopes = -beyond.log1p() - self.scale.to(table).log()
        return (slopes * mask).sum(1)

    def _binary_mask(self, like: Tensor) -> Tensor:
        return torch.tensor(self.binary, device=like.device)


def find_scaling(
    table: Tensor, weights: Tensor, likelihood: str | Sequence[str]
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

    Returns
    -------
    ColumnScaling
        With weighted means and standard deviations.
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
    if not bool(scale.isfinite().all()):
        column = int((~scale.isfinite()).nonzero()[0, 0])
        raise ValueError(
            f"Column {column} spreads too widely to be standardised in float64. "
            "Rescale it, for example by taking logarithms."
        )
    zero_one = ((rows == 0) | (rows == 1)).all(0)
    n_features = table.shape[1]
    asked = [likelihood] * n_features if isinstance(likelihood, str) else likelihood
    if len(asked) != n_features or not set(asked) <= {"auto", "gaussian", "bernoulli"}:
        raise ValueError(
            f"likelihood={likelihood!r} must be 'auto', 'gaussian' or 'bernoulli', or "
            f"a sequence of these for the {n_features} columns."
        )
    automatic = ["bernoulli" if found else "gaussian" for found in zero_one & ~constant]
    kinds = tuple(
        found if kind == "auto" else kind
        for kind, found in zip(asked, automatic, strict=True)
    )
    scaling = ColumnScaling(mean, scale, kinds)
    check_binary(table, scaling.binary)
    return scaling


def check_binary(table: Tensor, binary: Sequence[bool]) -> None:
    """Raise an error that names the first Bernoulli column with other values.

    Parameters
    ----------
    table : Tensor of shape (n_rows, n_features)
        Values in the units of the table.
    binary : sequence of bool
        Which columns are Bernoulli.

    Raises
    ------
    ValueError
        When a Bernoulli column holds anything but 0 and 1.
    """
    for column in np.flatnonzero(binary):
        values = table[:, column]
        others = values[(values != 0) & (values != 1)]
        if len(others):
            raise ValueError(
                f"Column {column} has a Bernoulli likelihood but holds "
                f"{float(others[0])}; only 0 and 1 are possible. Refit with "
                "likelihood='gaussian', or name the likelihood of every column."
            )


def name_bad_column(table: Any) -> str | None:
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
    if hasattr(table, "columns"):
        columns = [(f"column {name!r}", table[name]) for name in table.columns]
    else:
        array = np.asarray(table, dtype=object)
        if array.ndim != 2:
            return None
        columns = [(f"column {index}", each) for index, each in enumerate(array.T)]
    for name, values in columns:
        for row, value in enumerate(np.asarray(values, dtype=object)):
            try:
                number = float(value)
            except (TypeError, ValueError):
                return (
                    f"{name} holds {value!r} in row {row}, which is not a number. "
                    "Encode text first, for example with "
                    "sklearn.preprocessing.OneHotEncoder, or drop the column."
                )
            if not isfinite(number):
                return (
                    f"{name} holds {number} in row {row}. Impute or drop such rows "
                    "first, for example with sklearn.impute.SimpleImputer."
                )
    return None
