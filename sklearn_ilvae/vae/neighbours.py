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

BANDWIDTH = 0.5
"""Standard deviation of the kernel, in standard deviations of a column."""

SAME = 1e-10
"""Nats between points that are equal but for the precision of their numbers."""

RESOLUTION = 1e-8
"""Nats below which distances tie, so that rounding does not choose the neighbours."""

POINTS_AT_ONCE = 1024
"""So many rows of distances stay in the cache until the smallest are found."""


def comparable_points(design: Design, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return points whose squared distances are in nats.

    Two numbers x and y differ by ``(x - y)² / 2h²`` for the bandwidth h, two levels by
    one.

    Parameters
    ----------
    design : Design
        Of the network.
    rows : Tensor of shape (n_rows, n_features)
        Rows of the network, without missing values.

    Returns
    -------
    points : Tensor of shape (n_rows, n_numbers)
    columns : Tensor of shape (n_numbers,), int
        The column that each number comes from.

    Examples
    --------
    >>> import torch
    >>> from sklearn_ilvae.vae import Design, comparable_points
    >>> design = Design(["gaussian", "categorical"], n_levels=[1, 3])
    >>> rows = torch.tensor([[0.0, 2.0], [1.0, 1.0]])
    >>> points, columns = comparable_points(design, rows)
    >>> (points[0] - points[1]).square(), columns
    (tensor([2.0000, 0.0000, 0.5000, 0.5000]), tensor([0, 1, 1, 1]))
    """
    points, columns = [], []
    coordinates = design.coordinates(rows)
    for block in design.blocks:
        if block.family == "categorical":
            levels = torch.arange(block.n_levels, device=rows.device)
            equal = rows[:, block.columns, None] == levels
            part = equal.to(rows).flatten(1) / sqrt(2)
        else:
            unit = 1 if block.family == "bernoulli" else sqrt(2) * BANDWIDTH
            part = coordinates[:, block.parameters] / unit
        points.append(part)
        width = part.shape[1] // len(block.columns)
        columns.append(block.columns.repeat_interleave(width))
    return torch.cat(points, dim=1), torch.cat(columns).to(rows.device)


def neighbour_terms(points: Tensor, sample: Tensor, n_neighbors: int) -> Tensor:
    """Return mean squared differences to the nearest points of a sample.

    A point is not its own neighbour: one that equals it is passed over. So points of
    the sample lie as far from it as others do.

    Parameters
    ----------
    points : Tensor of shape (n_points, n_numbers)
        Finite numbers.
    sample : Tensor of shape (n_sample, n_numbers)
        At least one point, all different.
    n_neighbors : int
        How many neighbours, at least 1; all where the sample has fewer.

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
    found = []
    for part in points.split(POINTS_AT_ONCE):
        with_one = torch.cat([torch.ones_like(part[:, :1]), part], dim=1)
        away = (with_one @ directions).round_()
        nearest = away.topk(count, dim=1, largest=False).indices
        terms = (part[:, None] - sample[nearest]).square()
        own = terms[:, 0].sum(1) <= SAME
        first = terms[:, :n_neighbors].mean(1)
        others = terms[:, 1:].sum(1) / max(1, count - 1)  # 0 where there is none
        found.append(torch.where(own[:, None], others, first))
    return torch.cat(found)
