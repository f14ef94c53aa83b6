"""Centre and spread of columns whose deviation is that of a few values far out."""

import torch
from torch import Tensor

from ..vae.concentration import weighted_median
from ..vae.likelihoods import VARIANCE_FLOOR
from ..vae.symlog import LINEAR_RANGE


def hidden_cores(
    rows: Tensor, weights: Tensor, mean: Tensor, deviation: Tensor
) -> tuple[Tensor, Tensor]:
    """Return centre and spread of columns whose deviation hides most of their values.

    Those are columns with a spread of less than a tenth of their standard deviation:
    the least noise of the network would cover whatever is within it.

    Parameters
    ----------
    rows : Tensor of shape (n_rows, n_features), float64
        Values, NaN where missing.
    weights : Tensor of shape (n_rows,)
        Non-negative weights.
    mean, deviation : Tensor of shape (n_features,)
        Means and standard deviations; the latter are 0 for columns to leave alone.

    Returns
    -------
    centre, spread : Tensor of shape (n_features,)
        NaN for all other columns, and for those that mostly hold one value.
    """
    found = rows.new_full((2, rows.shape[1]), torch.nan)
    # By the inequality of Cauchy and Schwarz the median is then within 0.5 deviations
    # of the mean, and eight ninths of the weight within 0.3 of the median. To look for
    # that is faster than to sort every column.
    seen = ~rows.isnan()
    beyond = (rows - mean).abs() > 0.8 * deviation
    shares = weights.to(rows)
    few = shares @ beyond.to(rows) * LINEAR_RANGE**2 < shares @ seen.to(rows)
    for column in ((deviation > 0) & few).nonzero()[:, 0].tolist():
        part = seen[:, column]
        centre, spread = _median_and_spread(rows[part, column], weights[part])
        if 0 < spread < VARIANCE_FLOOR**0.5 * deviation[column]:
            found[:, column] = torch.stack([centre, spread])
    return found[0], found[1]


def _median_and_spread(values: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return the median, and the deviation from it of values clipped to three of it.

    That is the scale of Huber's Proposal 2 (Annals of Mathematical Statistics, 1964),
    on which less than a ninth of the weight far out has little effect. 0 where half of
    the weight has the same value.
    """
    shares = (weights.double() / weights.sum()).to(values)
    centre = weighted_median(values[:, None], shares)[0]
    sizes, order = (values - centre).abs().sort()
    if weighted_median(sizes[:, None], shares[order])[0] == 0:
        return centre, centre.new_zeros(())
    inside = shares[order].cumsum(0)
    squares = (shares[order] * sizes.square()).cumsum(0)
    # With all but the first values clipped, s² = squares + (3 s)² (1 − inside).
    left = 1 - LINEAR_RANGE**2 * (1 - inside)
    spreads = (squares / left).sqrt()
    following = torch.cat([sizes[1:], sizes.new_full((1,), torch.inf)])
    solves = (left > 0) & (LINEAR_RANGE * spreads <= following)
    return centre, spreads[solves.double().argmax()]
