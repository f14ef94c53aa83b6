"""Where the columns of a table find their natural parameters and statistics."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Self

import torch
from torch import Tensor

CONTINUOUS = ("gaussian", "student_t")
NUMBERS = (*CONTINUOUS, "bernoulli")
"""Families whose rows hold standardised values."""

COUNTS = ("poisson", "negative_binomial")
LEVELS = ("categorical", "ordinal")
"""Families whose rows hold levels 0, 1, …"""

EMPTY = "none"
"""The likelihood of a column without any value: it has no parameter."""

FAMILIES = (*NUMBERS, *COUNTS, *LEVELS)


@dataclass(frozen=True)
class Block:
    """Columns of one family and one number of levels.

    Parameters
    ----------
    family : str
        One of `FAMILIES`.
    n_levels : int
        Number of levels; 1 for numbers and counts.
    columns, parameters, statistics : Tensor of int
        Their positions in a row, in the natural parameters and in the statistics.
    """

    family: str
    n_levels: int
    columns: Tensor
    parameters: Tensor
    statistics: Tensor

    def __deepcopy__(self, memo: object) -> Self:
        """Return itself: copies of a network share what does not change."""
        return self


class Layout:
    """Positions of all columns, in the order of the table.

    Parameters
    ----------
    likelihood : sequence of str, length n_features
        Family of every column, or `EMPTY`.
    n_levels : sequence of int, default=()
        Number of levels of every column; may be left out where no column has levels.

    Raises
    ------
    ValueError
        For an unknown family, or numbers of levels that do not match the columns.
    """

    def __init__(self, likelihood: Sequence[str], n_levels: Sequence[int] = ()) -> None:
        self.likelihood = tuple(likelihood)
        self.n_levels = tuple(n_levels) or (1,) * len(self.likelihood)
        kinds, known = set(self.likelihood), (*FAMILIES, EMPTY)
        if not kinds <= set(known):
            raise ValueError(
                f"likelihood={likelihood!r} must name one of "
                f"{', '.join(map(repr, known))} for every column."
            )
        if len(self.n_levels) != self.n_features or (
            kinds & set(LEVELS) and not n_levels
        ):
            raise ValueError(
                f"n_levels={n_levels!r} must hold as many numbers of levels as there "
                f"are columns, {self.n_features}; 1 for those of numbers and counts."
            )
        sizes = [self._sizes(*each) for each in self._columns()]
        self._parameters = [0, *accumulate(width for width, _ in sizes)]
        self._statistics = [0, *accumulate(size for _, size in sizes)]

    def __deepcopy__(self, memo: object) -> Self:
        """Return itself: copies of a network share what does not change."""
        return self

    @property
    def n_features(self) -> int:
        """Number of columns."""
        return len(self.likelihood)

    @property
    def widths(self) -> list[int]:
        """Number of natural parameters of every column."""
        return [after - before for before, after in pairwise(self._parameters)]

    @property
    def n_parameters(self) -> int:
        """Number of natural parameters."""
        return self._parameters[-1]

    @property
    def n_statistics(self) -> int:
        """Number of statistics."""
        return self._statistics[-1]

    @property
    def numbers_only(self) -> bool:
        """Whether row, natural parameters and statistics are all of one width."""
        return set(self.likelihood) <= set(NUMBERS)

    def _columns(self) -> Iterator[tuple[str, int]]:
        return zip(self.likelihood, self.n_levels, strict=True)

    @staticmethod
    def _sizes(family: str, n_levels: int) -> tuple[int, int]:
        if family == EMPTY:
            return 0, 0
        if family == "categorical":
            return n_levels - 1, n_levels
        return 1, n_levels

    def blocks(self) -> list[Block]:
        """Return the columns by family, in the order of `FAMILIES`."""
        found = []
        for family, n_levels in sorted(
            set(self._columns()) - {(EMPTY, 1)},
            key=lambda each: (FAMILIES.index(each[0]), each[1]),
        ):
            columns = [
                position
                for position, each in enumerate(self._columns())
                if each == (family, n_levels)
            ]
            found.append(
                Block(
                    family,
                    n_levels,
                    torch.tensor(columns),
                    _positions(self._parameters, columns),
                    _positions(self._statistics, columns),
                )
            )
        return found


def _positions(starts: list[int], columns: list[int]) -> Tensor:
    ranges = [range(starts[column], starts[column + 1]) for column in columns]
    return torch.tensor([each for one in ranges for each in one], dtype=torch.long)
