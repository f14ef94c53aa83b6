"""Coordinates in which a given bandwidth is 1 along every axis."""

from dataclasses import replace

import torch
from torch import Tensor

from ..kernels.radial import median_distance
from ..sample.rows import Rows

MEDIAN_ROWS = 1000
"""Rows that a median distance is taken of, drawn at random."""

MOST_BANDWIDTHS = 1e7
"""Largest ratio of a standard deviation to its bandwidth.

A product of matrices rounds squared distances at those from the centre, for more by
more than a squared bandwidth: a row would lie as far from itself as from others.
"""

FEWEST_BANDWIDTHS = 1e-140
"""Smallest ratio: squares of less vanish."""


def in_bandwidths(rows: Rows, bandwidth: str | float | Tensor) -> Rows:
    """Return rows in coordinates in which a bandwidth is 1.

    Parameters
    ----------
    rows : Rows
    bandwidth : {"auto", "median"}, float or Tensor of shape (d,)
        As in `Settings`; ``"auto"`` leaves the rows as they are.

    Returns
    -------
    Rows
    """
    if isinstance(bandwidth, str) and bandwidth == "auto":
        return rows
    return replace(_in_given(rows, bandwidth), own_scale=rows.inverse_scale)


def _in_given(rows: Rows, bandwidth: str | float | Tensor) -> Rows:
    if isinstance(bandwidth, str):
        return _in_median_distances(rows)
    lengths = torch.as_tensor(bandwidth, dtype=torch.float64, device=rows.device)
    if lengths.numel() not in (1, rows.n_features):
        raise ValueError(
            f"bandwidth has {lengths.numel()} numbers; pass as many as X has columns, "
            f"{rows.n_features}, or one for all"
        )
    scaled = rows.rescaled((1.0 / lengths).expand_as(rows.inverse_scale))
    _check_ratios(scaled.inverse_scale / rows.inverse_scale)
    return scaled


def _in_median_distances(rows: Rows) -> Rows:
    """Return rows in units of the median distance in X, the same for all columns."""
    constant = rows.inverse_scale == 0
    scale = (1.0 / rows.inverse_scale).masked_fill(constant, 0.0)
    largest = scale.max()
    if not largest > 0:
        return rows
    alike = rows.rescaled((1.0 / largest).expand_as(scale))
    scaled = rows.rescaled(alike.inverse_scale / median_distance_of(alike))
    # Far rows may be many bandwidths away where that is the distance of most.
    _check_ratios(scaled.inverse_scale / rows.inverse_scale, most=torch.inf)
    return scaled


def median_distance_of(rows: Rows) -> float:
    """Return the median distance between distinct rows; 1 for one row."""
    some = rows.read(rows.lowest_ranks(MEDIAN_ROWS))
    median = 1.0 if len(some) < 2 else median_distance(some)
    if median > 0:
        return median
    raise ValueError(
        "most rows of X are equal up to rounding beside its largest values; remove or "
        "transform those, or pass bandwidth, kernel, form and regularization as numbers"
    )


def _check_ratios(ratios: Tensor, most: float = MOST_BANDWIDTHS) -> None:
    """Refuse bandwidths far from the standard deviations."""
    too_far = (ratios > most) | (ratios < FEWEST_BANDWIDTHS)
    if not too_far.any():
        return
    column = int(torch.nonzero(too_far)[0])
    small = bool(ratios[column] < 1.0)
    what, size = ("vanish", "smaller") if small else ("be rounding errors", "larger")
    raise ValueError(
        f"the standard deviation of column {column} of X is "
        f"{float(ratios[column]):.3g} times its bandwidth, and the squares of "
        f"distances would {what}; pass a {size} bandwidth, or 'auto'"
    )
