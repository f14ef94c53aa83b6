"""Which rows are held out to compare fits to the others."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .rows import Rows

N_FOLDS = 5
"""Folds of a small sample."""

FEWER_FOLDS = 3
"""Folds of a larger one."""

ROWS_FOR_FEWER_FOLDS = 1000
"""From here on two thirds of the rows choose as four fifths do.

The best strength falls more slowly than 1/n, so that it moves by less than half a step
of the grid.
"""

MOST_ROWS_IN_FOLDS = 25_000
"""With more rows one part is held out instead of each of several."""

HELD_OUT_ROWS = 10_000
"""Rows of that part."""


@dataclass(frozen=True)
class Split:
    """Parts of the rows, the first of which are held out one after the other.

    Attributes
    ----------
    labels : Tensor of shape (n_distinct,)
        The part of each row.
    n_parts, n_held_out : int
        The parts ``0 … n_held_out − 1`` are held out from a fit to all other parts.
    validated : Tensor of shape (n_validated,)
        Sorted positions of the rows on which losses are compared.
    n_kept : int
        The smallest number of rows that a fit to the other parts sees.
    """

    labels: Tensor
    n_parts: int
    n_held_out: int
    validated: Tensor
    n_kept: int

    @property
    def in_folds(self) -> bool:
        """Whether every row is held out once."""
        return self.n_parts == self.n_held_out

    def positions(self, part: int) -> Tensor:
        """Return the sorted positions of the rows of a part."""
        return torch.nonzero(self.labels == part).squeeze(1)

    def others(self, part: int) -> Tensor:
        """Return the sorted positions of the rows of all other parts."""
        return torch.nonzero(self.labels != part).squeeze(1)


def split_rows(rows: Rows) -> Split:
    """Split into folds; a large sample into a part held out and the rest.

    With many rows one part gives a loss as precise as that of folds, for one pass and
    one decomposition instead of five.
    """
    n = len(rows)
    if n > MOST_ROWS_IN_FOLDS:
        return hold_out(rows, HELD_OUT_ROWS)
    if n < 2 * N_FOLDS:
        # Too few to choose by: none is held out.
        return Split(torch.zeros_like(rows.rank), 1, 0, rows.lowest_ranks(n), n)
    count = N_FOLDS if n < ROWS_FOR_FEWER_FOLDS else FEWER_FOLDS
    return folds_of(rows, rows.rank, count)


def folds_of(rows: Rows, order: Tensor, count: int) -> Split:
    """Split into `count` folds, of rows that take turns in a random order."""
    n = len(rows)
    kept = n - math.ceil(n / count)
    return Split(order % count, count, count, rows.lowest_ranks(n), kept)


def hold_out(rows: Rows, count: int) -> Split:
    """Hold out the `count` rows of highest rank."""
    kept = len(rows) - count
    labels = (rows.rank < kept).to(torch.int64)
    validated = torch.nonzero(labels == 0).squeeze(1)
    return Split(labels, 2, 1, validated, kept)
