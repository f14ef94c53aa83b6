"""From a table to the rows of a network and back: scale and levels of each column.

A Gaussian or Student-t column is standardised, bent by a power where that is asked for
and it is skewed, then put on the scale of `symlog`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from ..vae.likelihoods import CONTINUOUS, COUNTS, EMPTY, LEVELS, NUMBERS
from ..vae.symlog import symexp, symlog, symlog_log_slopes
from .cores import hidden_cores
from .kinds import NUMBER, column_name
from .levels import LevelGroups, group_levels
from .moments import weighted_moments
from .powers import PowerScale, find_powers
from .support import check_support

CONSTANT_UNIT = 1e-3
WHOLE_CONSTANT_UNIT = 1e-6
"""Unit of a constant column, which has no standard deviation, relative to its value.
The unit of a whole number is 1, or this share of it where float32 cannot resolve 1."""

MOST_ONES = 1 - 1e-4
"""Largest mean of a Bernoulli column: a one lies above it, even where all are ones."""

BY_TAILS = "by_tails"
"""Family of numbers: Student t where a column has heavy tails, otherwise Gaussian."""

HEAVY_KURTOSIS = 9.0
"""Kurtosis above which tails are heavy: that of five degrees of freedom, from which the
training of a Student t starts."""

ROUNDINGS = 4
"""Units in the last place by which the values of a constant column may differ."""


@dataclass(frozen=True)
class ColumnScaling:
    """Kind, centre and spread of every column.

    Parameters
    ----------
    mean, scale : Tensor of shape (n_features,), float64
        Centre and spread; 0 and 1 for columns that are not standardised. The spread of
        a constant column is 0: whatever a network says, it is decoded as itself.
    likelihood : tuple of str
        Family of every column, see `MixedLikelihood`.
    levels : dict of int to LevelGroups
        Levels of the columns that have them, by position.
    powers : PowerScale or None, default=None
        Power transforms of the standardised columns, where they were asked for.
    """

    mean: Tensor
    scale: Tensor
    likelihood: tuple[str, ...]
    levels: Mapping[int, LevelGroups] = field(default_factory=dict)
    powers: PowerScale | None = None

    @property
    def binary(self) -> tuple[bool, ...]:
        """Which columns are Bernoulli."""
        return tuple(kind == "bernoulli" for kind in self.likelihood)

    @property
    def lambdas(self) -> Tensor:
        """λ of the power transform of every column, 1 where there is none."""
        return torch.ones_like(self.mean) if self.powers is None else self.powers.power

    @property
    def n_levels(self) -> tuple[int, ...]:
        """Number of levels of the network in every column; empty without levels."""
        if not self.levels:
            return ()
        sizes = {column: each.n_groups for column, each in self.levels.items()}
        return tuple(sizes.get(index, 1) for index in range(len(self.likelihood)))

    @cached_property
    def largest_shares(self) -> Tensor | None:
        """How much of each statistic of the network its most probable level has.

        That of a level of the network which rare levels share is below 1, and all
        others are 1. None where none is shared: most tables need no weights.
        """
        if all(each.n_groups == len(each.group) for each in self.levels.values()):
            return None
        found = [
            self.levels[column].largest_shares()
            if kind in LEVELS
            else torch.ones(0 if kind == EMPTY else 1, dtype=torch.float64)
            for column, kind in enumerate(self.likelihood)
        ]
        return torch.cat(found)

    @cached_property
    def unit(self) -> Tensor:
        """What one unit of the rows of a network is in every column of the table."""
        size = self.mean.abs()
        whole = (WHOLE_CONSTANT_UNIT * size).clamp(min=1)
        constant = torch.where(self.mean.frac() == 0, whole, CONSTANT_UNIT * size)
        return torch.where(self.scale > 0, self.scale, constant)

    def thawed(self, table: Tensor) -> "ColumnScaling":
        """Return the scaling for a network that goes on learning from a table.

        Constant columns that vary there get their unit as spread. The rows of the
        network stay as they are; what it learns of these columns can be decoded.
        """
        moved = (table - self.mean.to(table)).abs() > _rounding(self.mean).to(table)
        varies = moved.any(0).to(self.scale.device)
        # The unit of a column that varied before is its scale.
        return replace(self, scale=torch.where(varies, self.unit, self.scale))

    def with_powers(self, table: Tensor, weights: Tensor) -> "ColumnScaling":
        """Return the scaling that also transforms skewed columns, see `find_powers`."""
        standardised = self._standardised(table, slice(None))
        allowed = self._continuous_mask(table)
        return replace(self, powers=find_powers(standardised, weights, allowed))

    def transform(self, table: Tensor) -> Tensor:
        """Return rows for the network, in the dtype of the table."""
        numbers = self._columns(*NUMBERS)
        if len(numbers) == len(self.likelihood):
            return self._scaled(table, slice(None))
        rows = table.clone()
        if numbers:
            rows[:, numbers] = self._scaled(table[:, numbers], numbers)
        for column, levels in self.levels.items():
            seen = ~table[:, column].isnan()
            codes = table[seen, column].long()
            rows[seen, column] = levels.group.to(codes.device)[codes].to(rows.dtype)
        rows[:, self._columns(EMPTY)] = torch.nan
        return rows

    def _standardised(self, table: Tensor, columns: slice | list[int]) -> Tensor:
        centred = table - self.mean[columns].to(table)
        return centred / self.unit[columns].to(table)

    def _scaled(self, table: Tensor, columns: slice | list[int]) -> Tensor:
        standardised = self._standardised(table, columns)
        if self.powers is not None:
            standardised = self.powers[columns].transform(standardised)
        return symlog(standardised)

    def inverse_transform(
        self, rows: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Undo `transform`; keep probabilities and expected counts as they are.

        Parameters
        ----------
        rows : Tensor of shape (n_rows, n_features)
            Rows of the network.
        generator : torch.Generator, default=None
            Source of draws among the rare levels of a category. None takes the most
            frequent of them.

        Returns
        -------
        Tensor of shape (n_rows, n_features)
        """
        scale = self.scale.to(rows)
        standardised = symexp(rows)
        if self.powers is not None:
            standardised = self.powers.inverse_transform(standardised)
        # Far out the exponential is infinite, and infinity times 0 is not 0.
        table = torch.where(scale > 0, standardised * scale, 0) + self.mean.to(rows)
        table = torch.where(self._continuous_mask(rows), table, rows)
        for column, levels in self.levels.items():
            seen = ~rows[:, column].isnan()
            groups = rows[seen, column].long()
            chosen = (
                levels.representatives().to(groups.device)[groups]
                if generator is None
                else levels.draw(groups.cpu(), generator)
            )
            table[seen, column] = chosen.to(table)
        return table

    def log_slope(self, table: Tensor, rows: Tensor) -> Tensor:
        """Return the logarithm that takes a likelihood of rows to one of the table.

        ``log |d transform / d table|`` of the standardised columns and the
        log-probability of rare levels, summed over observed values. The parameters are
        those of `log_slopes`.
        """
        units = torch.where(self._continuous_mask(table), self.unit.to(table), 1.0)
        slopes = self.log_slopes(table, rows) - units.log()
        return slopes.masked_fill(table.isnan(), 0).sum(1)

    def log_slopes(self, table: Tensor, rows: Tensor) -> Tensor:
        """Return the log-slope of every value against the linear scale.

        At most 0 without power transforms. For a level its log-probability within its
        group; 0 for missing values.

        Parameters
        ----------
        table : Tensor of shape (n_rows, n_features)
            Rows in the units of the table.
        rows : Tensor of shape (n_rows, n_features)
            What `transform` makes of them: it knows how far outside a value lies.

        Returns
        -------
        Tensor of shape (n_rows, n_features)
        """
        slopes = symlog_log_slopes(rows)
        if self.powers is not None:
            standardised = self._standardised(table, slice(None))
            slopes = slopes + self.powers.log_slopes(standardised)
        slopes.masked_fill_(~self._continuous_mask(rows), 0)
        for column, levels in self.levels.items():
            seen = ~table[:, column].isnan()
            shares = levels.log_share.to(table)
            slopes[seen, column] = shares[table[seen, column].long()]
        return slopes

    def _columns(self, *families: str) -> list[int]:
        kinds = enumerate(self.likelihood)
        return [index for index, kind in kinds if kind in families]

    def _continuous_mask(self, like: Tensor) -> Tensor:
        kinds = [kind in CONTINUOUS for kind in self.likelihood]
        return torch.tensor(kinds, device=like.device)


def find_scaling(
    table: Tensor,
    weights: Tensor,
    likelihood: str | Sequence[str],
    names: Sequence[str] | None = None,
    n_levels: Sequence[int] = (),
    max_categories: int = 50,
    family_of_numbers: str = "student_t",
    power_transform: bool = False,
) -> ColumnScaling:
    """Find kind, centre and spread of every column.

    Parameters
    ----------
    table : Tensor of shape (n_rows, n_features)
        Finite values, NaN where missing.
    weights : Tensor of shape (n_rows,)
        Non-negative weights with a positive sum.
    likelihood : str or sequence of str
        Family of all columns or of every column. ``"auto"`` takes columns that hold
        zeros and ones, both, as Bernoulli, others as `NUMBER`, which is
        `family_of_numbers`.
    names : sequence of str, default=None
        Names of the columns, for errors.
    n_levels : sequence of int, default=()
        Number of levels of every column, where any has levels.
    max_categories : int, default=50
        Levels of a category that the network tells apart, at most. The most frequent
        keep a level each, all others share the last.
    family_of_numbers : {"student_t", "gaussian", BY_TAILS}, default="student_t"
        Family of numbers that are not told another.
    power_transform : bool, default=False
        Whether to transform skewed columns, see `find_powers`.

    Returns
    -------
    ColumnScaling
        With weighted means and standard deviations, or what `hidden_cores` finds.

    Raises
    ------
    ValueError
        When `likelihood` does not fit the table, or a column is too wide for float64.
    """
    rows = table.double()
    n_columns = table.shape[1]
    asked = [likelihood] * n_columns if isinstance(likelihood, str) else likelihood
    missing = rows.isnan()
    # By powers of two, which round nothing: squares of the largest numbers must not
    # overflow, nor those of the smallest vanish.
    size = torch.frexp(rows.nan_to_num().abs().amax(0)).exponent.clamp(-1000, 1023)
    step = 2.0 ** size.double()
    mean, spread, constant = _centre_and_spread(rows / step, missing, weights)
    scale = spread * step
    value = rows.nan_to_num(nan=-torch.inf).amax(0)  # a mean would be rounded
    mean = torch.where(constant & value.isfinite(), value, mean * step)
    # Differences of numbers as large as 2**1023 overflow.
    too_wide = ((size == 1023) & ~constant).nonzero()
    if len(too_wide):
        raise ValueError(
            f"{column_name(int(too_wide[0, 0]), names)} spreads too widely to be "
            "standardised in float64. Rescale it, for example by taking logarithms."
        )
    zero_one = ((rows == 0) | (rows == 1) | missing).all(0) & ~constant
    families = [family_of_numbers] * n_columns
    if family_of_numbers == BY_TAILS:
        scaled = symlog((rows - mean) / scale.masked_fill(constant, 1))
        heavy = _have_heavy_tails(scaled, missing, weights).tolist()
        families = ["student_t" if found else "gaussian" for found in heavy]
    values = zip(zero_one.tolist(), missing.all(0).tolist(), strict=True)
    kinds = tuple(
        _kind(kind, family, *found)
        for kind, family, found in zip(asked, families, values, strict=True)
    )
    others = torch.tensor([kind in (*COUNTS, *LEVELS, EMPTY) for kind in kinds])
    others = others.to(mean.device)
    binary = torch.tensor([kind == "bernoulli" for kind in kinds]).to(mean.device)
    scale = scale.masked_fill(binary & constant, 1)
    mean = torch.where(binary, mean.clamp(max=MOST_ONES), mean)
    levels = {
        column: group_levels(
            rows[:, column],
            weights,
            n_levels[column],
            max_categories if kind == "categorical" else n_levels[column],
        )
        for column, kind in enumerate(kinds)
        if kind in LEVELS
    }
    check_support(table, kinds, names)
    scaling = ColumnScaling(
        mean.masked_fill(others, 0), scale.masked_fill(others, 1), kinds, levels
    )
    return scaling.with_powers(rows, weights) if power_transform else scaling


def _rounding(values: Tensor) -> Tensor:
    return ROUNDINGS * torch.finfo(torch.float64).eps * values.abs()


def _centre_and_spread(
    rows: Tensor, missing: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return centre and spread of every column, and which are constant."""
    mean, variance = weighted_moments(rows, missing, weights)
    constant = variance <= _rounding(mean).square()
    deviation = variance.masked_fill(constant, 0).sqrt()
    centre, spread = hidden_cores(rows, weights, mean, deviation)
    hidden = spread > _rounding(centre)
    centre = torch.where(hidden, centre, mean)
    return centre, torch.where(hidden, spread, deviation), constant


def _kind(asked: str, family_of_numbers: str, zero_one: bool, empty: bool) -> str:
    """Return the family of a column, given what it is told to be and its values."""
    if empty:
        return EMPTY
    if asked == "auto" and zero_one:
        return "bernoulli"
    return family_of_numbers if asked in ("auto", NUMBER) else asked


def _have_heavy_tails(rows: Tensor, missing: Tensor, weights: Tensor) -> Tensor:
    """Return which columns have a kurtosis above `HEAVY_KURTOSIS`."""
    mean, _ = weighted_moments(rows, missing, weights)
    squares = (rows - mean).square()
    variance, variance_of_squares = weighted_moments(squares, missing, weights)
    return variance_of_squares > (HEAVY_KURTOSIS - 1) * variance.square()
