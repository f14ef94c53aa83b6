"""What the numbers of a table look like: how far they reach, and how fine they are.

Rows that a model draws look the same: ages are whole, prices have two decimals, and
dates that had none have no time of day.
"""

import numpy as np
import torch
from torch import Tensor

from .building import float_kind
from .frames import DATES
from .scaling import ROUNDINGS
from .schema import Column, TableSchema

DECIMALS = tuple(10.0**places for places in range(13))
"""Parts of one that numbers may be whole multiples of, coarse ones first."""

CLOCK = 1.0, 24.0, 1440.0, 86_400.0, 86_400_000.0
"""The same of dates and durations, in days: an hour, minute, second, millisecond."""

FIRST_LOOK = 1000
"""Rows that tell most columns without such a fineness from the others."""


def seen_in(rows: Tensor, schema: TableSchema, before: Tensor | None = None) -> Tensor:
    """Return the smallest and the largest value of every column, and its fineness.

    Parameters
    ----------
    rows : Tensor of shape (n_rows, n_features)
        NaN where missing.
    schema : TableSchema
        Of the columns.
    before : Tensor of shape (3, n_features), default=None
        What this function returned for earlier rows, to include.

    Returns
    -------
    Tensor of shape (3, n_features), float64
        Values are whole multiples of one divided by their fineness, that of dates in
        days; it is infinite where there is none. NaN and 1 for columns without values.
    """
    table = rows.cpu()
    fineness = _finenesses(table, schema.columns)
    lowest, highest = np.fmin.reduce(table.numpy()), np.fmax.reduce(table.numpy())
    seen = np.stack([lowest, highest, fineness]).astype(float)
    if before is not None:
        earlier = before.cpu().numpy()
        seen[0] = np.fmin(seen[0], earlier[0])
        # Of two finenesses the larger suits the values of both.
        seen[1:] = np.fmax(seen[1:], earlier[1:])
    return torch.from_numpy(seen)


def in_range(table: Tensor, seen: Tensor) -> Tensor:
    """Return values no further out than those that were seen, see `seen_in`."""
    lowest, highest, _ = seen.to(table)
    return table.clamp(lowest, highest)


def as_fine(table: Tensor, seen: Tensor) -> Tensor:
    """Return values rounded to the fineness of those that were seen, see `seen_in`."""
    return _rounded(table, seen[2].to(table))


def _rounded(values: Tensor, fineness: Tensor | float) -> Tensor:
    parts = values * fineness
    # Beyond, values have no digits left to round.
    exact = parts.abs() < 1 / torch.finfo(values.dtype).eps
    return torch.where(exact, parts.round() / fineness, values)


def _finenesses(table: Tensor, columns: tuple[Column, ...]) -> list[float]:
    """Return the coarsest fineness that suits all values of a column, for each."""
    digits = [np.finfo(float_kind(column.dtype)).eps for column in columns]
    unit = ROUNDINGS * torch.tensor(digits, dtype=torch.float64)

    def suits(fineness: float, rows: Tensor, unit: Tensor) -> Tensor:
        rows = rows.double()
        moved = (_rounded(rows, fineness) - rows).abs()
        return ((moved <= unit * rows.abs()) | rows.isnan()).all(0)

    first = table[:FIRST_LOOK]
    promising = {each: suits(each, first, unit) for each in (*DECIMALS, *CLOCK)}

    def coarsest(j: int) -> float:
        for fineness in CLOCK if columns[j].group in DATES else DECIMALS:
            if promising[fineness][j] and suits(fineness, table[:, j], unit[j]):
                return fineness
        return np.inf

    return [coarsest(j) for j in range(len(columns))]
