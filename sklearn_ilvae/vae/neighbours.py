"""How far rows lie from the nearest rows of a sample, as a sum over columns.

The mean squared distance to the nearest neighbours (Angiulli & Pizzuti, PKDD 2002) is
a sum over columns, so it can be taken off the terms of a log-likelihood. That
multiplies the density of a smooth model by a narrow kernel around what was seen: a
logarithmic opinion pool (Genest & Zidek, Statistical Science, 1986). The model says
what rows are like on the whole, the neighbours what was seen nearby.
"""

from math import sqrt

import torch
from torch import Tensor

from .design import Design
from .likelihoods import COUNTS, LEVELS
from .tails import tamed

BANDWIDTH = 0.5
"""Standard deviation of the kernel, in standard deviations of a column."""

LEVELS_BANDWIDTH = 1.0
"""The same for levels, of which rare ones lie far from all others."""

SAME = 1e-5
"""Nats between points that are equal but for the precision of their numbers."""

RESOLUTION = 1e-8
"""Nats below which distances tie, so that rounding does not choose the neighbours."""

NUMBERS_AT_ONCE = 1 << 19
"""So many distances stay in the cache until the smallest are found."""


def comparable_points(design: Design, coordinates: Tensor) -> tuple[Tensor, Tensor]:
    """Return points whose squared distances are in nats.

    They are coordinates in units of ``√2 h`` for the bandwidth h of numbers or of
    levels: numbers in standard deviations, counts in those of their logarithm, levels
    such that their squared distance is that of chi-squared, ``1/p + 1/q`` for two
    levels of frequencies p and q (Greenacre, 1984); rare ones lie less far.

    Parameters
    ----------
    design : Design
        Of an encoder.
    coordinates : Tensor of shape (n_rows, n_numbers)
        What it makes of rows, without gaps: see `GaussianEncoder.completed`.

    Returns
    -------
    points : Tensor of shape (n_rows, n_numbers)
    columns : Tensor of shape (n_numbers,), int
        The column that each number comes from.

    Examples
    --------
    >>> import torch
    >>> from sklearn_ilvae import vae
    >>> design = vae.Design(["gaussian"] * 3)
    >>> rows = torch.tensor([[0.0, 2.0, 1.0], [1.0, 2.0, 1.5]])
    >>> points, columns = vae.comparable_points(design, design.coordinates(rows))
    >>> (points[0] - points[1]).square(), columns
    (tensor([2.0000, 0.0000, 0.5000]), tensor([0, 1, 2]))
    """
    columns = torch.empty(coordinates.shape[1], dtype=torch.long)
    units = coordinates.new_full((coordinates.shape[1],), sqrt(2) * BANDWIDTH)
    for block in design.blocks:
        width = len(block.parameters) // len(block.columns)
        columns[block.parameters] = block.columns.repeat_interleave(width)
        if block.family in LEVELS:
            units[block.parameters] = sqrt(2) * LEVELS_BANDWIDTH
        if block.family in COUNTS:
            coordinates = coordinates.clone()
            counts = coordinates[:, block.parameters]
            coordinates[:, block.parameters] = tamed(counts)
    return coordinates / units, columns.to(coordinates.device)


def neighbour_terms(
    points: Tensor, sample: Tensor, n_neighbors: int, observed: Tensor | None = None
) -> Tensor:
    """Return mean squared differences to the nearest points of a sample.

    A point is not its own neighbour: those that equal it, in what is observed, are
    passed over. So points of the sample lie as far from it as others do.

    Parameters
    ----------
    points : Tensor of shape (n_points, n_numbers)
        Finite numbers.
    sample : Tensor of shape (n_sample, n_numbers)
        At least one point.
    n_neighbors : int
        How many neighbours, at least 1; all where the sample has fewer.
    observed : Tensor of shape (n_points, n_numbers), bool, default=None
        Which numbers were not filled in; the others add nothing. None for all.

    Returns
    -------
    Tensor of shape (n_points, n_numbers)
        Their sum over the numbers is the mean squared distance.

    Examples
    --------
    >>> import torch
    >>> from sklearn_ilvae.vae import neighbour_terms
    >>> sample = torch.tensor([[2.0, 1.0], [9.0, 9.0]])
    >>> neighbour_terms(torch.tensor([[0.0, 1.0]]), sample, n_neighbors=1)
    tensor([[4., 0.]])
    >>> neighbour_terms(sample[:1], sample, n_neighbors=1)
    tensor([[49., 64.]])
    """
    # |p|² is the same for the whole sample, and does not change the order.
    offsets = sample.square().sum(1, keepdim=True)
    directions = torch.cat([offsets, -2 * sample], dim=1).T / RESOLUTION
    count = min(n_neighbors + 1, len(sample))
    found = torch.empty_like(points)
    widest = max(len(sample), count * points.shape[1])
    places = torch.arange(len(points), device=points.device)
    for place in places.split(max(1, NUMBERS_AT_ONCE // widest)):
        part = points[place]
        with_one = torch.cat([torch.ones_like(part[:, :1]), part], dim=1)
        away = (with_one @ directions).round_()
        nearest = away.topk(count, dim=1, largest=False).indices
        terms = (part[:, None] - sample[nearest]).square()
        if observed is not None:
            terms *= observed[place, None]
        other = terms.sum(2) > SAME
        taken = (other & (other.cumsum(1) <= n_neighbors)).to(terms)
        total = taken.sum(1, keepdim=True).clamp(min=1)  # 0 where there is none
        found[place] = (taken[:, None] @ terms)[:, 0] / total
    return found
