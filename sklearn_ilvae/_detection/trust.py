"""Which rows a detector trains on, and which it keeps out."""

import torch
from torch import Tensor
from torch.nn import functional

from .._columns import ColumnScaling
from ..vae import (
    Design,
    LinearCompletion,
    choose_n_components,
    closest_weights,
    linear_model,
    principal_axes,
    robust_distances,
)
from ..vae.concentration import mostly_hold_one_value
from ..vae.design import NaturalUnits

AUTO_SUPPORT = 0.75
AUTO_REST = 0.1
"""``support_fraction="auto"``: share of trusted rows, and weight of the others."""

ROWS_A_COLUMN = 5
"""Least trusted rows for each column of numbers that varies, if there are so many.

From fewer rows a covariance cannot be estimated robustly, and then no row can be said
to lie far out (the rule of Rousseeuw & van Zomeren, JASA, 1990, for minimum volume
ellipsoids).
"""


def trusted_weights(
    table: Tensor,
    weights: Tensor,
    support_fraction: float | str,
    discrete: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the weights to train with, and which rows are trusted.

    Parameters
    ----------
    table : Tensor of shape (n_rows, n_features)
        Finite values.
    weights : Tensor of shape (n_rows,)
        Positive weights.
    support_fraction : float or "auto"
        Share of trusted rows. A number gives the others no weight. ``"auto"`` is
        three quarters, or more in a table of few rows, and gives the others a tenth.
    discrete : Tensor of shape (n_features,), bool, default=None
        Which columns are scores of levels; None for none.

    Returns
    -------
    weights : Tensor of shape (n_rows,)
    trusted : Tensor of shape (n_rows,), bool
        At least two rows, or the only one.
    """
    if support_fraction == "auto":
        share, rest = _automatic_share(table, discrete), AUTO_REST
    else:
        share, rest = float(support_fraction), 0.0
    if share == 1:
        return weights, torch.ones_like(weights, dtype=torch.bool)
    largest = weights.max()
    weights = weights / largest  # sums of equal weights other than 1 are rounded
    rows, weights_of_rows = table.double().cpu(), weights.cpu()
    like_levels = mostly_hold_one_value(rows, weights_of_rows)
    if discrete is not None:
        like_levels |= discrete.to(like_levels.device)
    distances = robust_distances(rows, weights_of_rows, like_levels).to(weights)
    kept = closest_weights(distances, weights, share)
    two = distances.argsort(stable=True)[:2]
    kept[two] = weights[two]
    return (kept + rest * (weights - kept)) * largest, kept > 0


def _automatic_share(table: Tensor, discrete: Tensor | None) -> float:
    counted = (table != table[0]).any(0)  # a constant has no covariance to estimate
    if discrete is not None:
        counted &= ~discrete.to(counted.device)
    least = ROWS_A_COLUMN * int(counted.sum()) / len(table)
    return max(AUTO_SUPPORT, min(1.0, least))


def comparable_numbers(
    table: Tensor, weights: Tensor, scaling: ColumnScaling, seed: int
) -> tuple[Tensor, Tensor | None]:
    """Return complete numbers between which distances can be computed.

    A table of numbers without gaps is returned as it is. Otherwise categories and
    counts are replaced by the coordinates that the network sees, and missing values by
    draws given the observed values of their row. So a gap makes a row neither more nor
    less likely to be trusted.

    Parameters
    ----------
    table : Tensor of shape (n_rows, n_features)
        Numbers and positions of levels, NaN where missing.
    weights : Tensor of shape (n_rows,)
        Positive weights.
    scaling : ColumnScaling
        Kinds and levels of the columns.
    seed : int
        Seed of the draws.

    Returns
    -------
    numbers : Tensor of shape (n_rows, n_numbers)
    discrete : Tensor of shape (n_numbers,), bool, or None
        Which numbers are scores of levels; None for a table of numbers.
    """
    design = Design(scaling.likelihood, scaling.n_levels)
    if design.plain and not table.isnan().any():
        return table, None
    rows = scaling.transform(table.double()).cpu()
    weights = weights.cpu()
    units = design.double().fit(rows, weights / weights.sum())
    numbers = design.coordinates(rows)
    if numbers.isnan().any():
        numbers = _drawn(numbers, weights, units, seed)
    return numbers.to(table.device), None if design.plain else units.discrete


def _drawn(
    coordinates: Tensor, weights: Tensor, units: NaturalUnits, seed: int
) -> Tensor:
    axes = principal_axes(coordinates, weights)
    n_components = choose_n_components(axes.variances, len(coordinates))
    linear = linear_model(axes, n_components, units)
    completion = LinearCompletion(*linear.directions.shape).double()
    loadings = units.from_natural(linear.directions * linear.slopes)
    completion.start_at(loadings, linear.noise)
    generator = torch.Generator().manual_seed(seed)
    drawn = completion.draw(coordinates, linear.noise, generator)
    again = completion.draw_each(drawn, linear.noise, generator)
    missing = coordinates.isnan()
    partly = missing.any(0) & ~missing.all(0)  # a batch may lack a column
    for column in partly.nonzero()[:, 0].tolist():
        gaps, seen = missing[:, column], ~missing[:, column]
        drawn[gaps, column] = values_of_the_same_rank(
            drawn[gaps, column],
            again[seen, column],
            coordinates[seen, column],
            weights[seen],
        )
    return drawn


def values_of_the_same_rank(
    drawn: Tensor, references: Tensor, values: Tensor, weights: Tensor
) -> Tensor:
    """Return the values of a column that rank among all as draws do among references.

    Draws of a linear model are Gaussian. In a column that mostly holds one value, or
    has heavy tails, they would lie far from what is seen there.

    Parameters
    ----------
    drawn : Tensor of shape (n_drawn,)
        Draws in the place of missing values.
    references : Tensor of shape (n_values,)
        Draws in the place of the observed values.
    values : Tensor of shape (n_values,)
        The observed values.
    weights : Tensor of shape (n_values,)
        Positive weights of their rows.

    Returns
    -------
    Tensor of shape (n_drawn,)
    """
    references, order = references.sort()
    below = functional.pad(weights[order].cumsum(0), (1, 0))
    rank = below[torch.searchsorted(references, drawn)]
    values, order = values.sort()
    places = torch.searchsorted(weights[order].cumsum(0), rank, right=True)
    return values[places.clamp(max=len(values) - 1)]
