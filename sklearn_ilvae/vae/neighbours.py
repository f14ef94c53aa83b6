"""How far rows lie from the nearest rows of a sample, as a sum over columns.

The mean squared distance to the nearest neighbours (Angiulli & Pizzuti, PKDD 2002) is
a sum over columns, so it can be subtracted from the terms of a log-likelihood. That
multiplies the density of a smooth model by a narrow kernel around the rows of the
sample: a logarithmic opinion pool (Genest & Zidek, Statistical Science, 1986). The
model describes the global structure of the table, the neighbours the local one.
"""

from math import sqrt

import torch
from torch import Tensor
from torch.nn import functional

from .design import Design
from .likelihoods import COUNTS, LEVELS
from .symlog import symlog

BANDWIDTH = 0.7
"""Standard deviation of the kernel, in standard deviations of a column."""

LEVELS_BANDWIDTH = 1.4
"""The same for levels, of which rare ones lie far from all others."""

SAME = 1e-5
"""Distance in nats up to which two points count as equal: it can be rounding alone."""

RESOLUTION = 1e-8
"""Distances are compared in multiples of it: rounding must not choose neighbours."""

NUMBERS_AT_ONCE = 1 << 19
"""Distances computed at once: few enough to stay in the cache."""


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
    (tensor([1.0204, 0.0000, 0.2551]), tensor([0, 1, 2]))
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
            coordinates[:, block.parameters] = symlog(counts)
    return coordinates / units, columns.to(coordinates.device)


def neighbour_terms(
    points: Tensor, sample: Tensor, n_neighbors: int, observed: Tensor | None = None
) -> Tensor:
    """Return mean squared differences to the nearest points of a sample.

    A point is not its own neighbour: those that equal it, in what is observed, are
    passed over. So points of the sample lie as far from it as others do. Only a point
    with gaps that equals all of the nearest lies as near as they do.

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
    # |p|² is the same for the whole sample, and does not change the order. Half a
    # resolution turns rounding into floor, which gives no negative zeros.
    offsets = sample.square().sum(1, keepdim=True) + 0.5 * RESOLUTION
    directions = torch.cat([offsets, -2 * sample], dim=1).double().T / RESOLUTION
    with_one = functional.pad(points, (1, 0), value=1.0).double()
    n_neighbors = min(n_neighbors, len(sample))  # torch refuses numbers above 2**63
    count = min(n_neighbors + 1, len(sample))
    found = torch.empty_like(points)
    size = max(1, NUMBERS_AT_ONCE // max(len(sample), count * points.shape[1]))
    memory = with_one.new_empty(size, len(sample))
    for start in range(0, len(points), size):
        part = slice(start, start + size)
        some = with_one[part]
        away = torch.mm(some, directions, out=memory[: len(some)]).floor_()
        nearest = _places_of_smallest(away, count)
        terms = _squared_differences(points[part], sample, nearest)
        if observed is not None:
            terms *= observed[part, None]
        other = terms.sum(2) > SAME
        crowded = other.sum(1) < n_neighbors  # by points that equal it
        if observed is not None:
            crowded &= observed[part].all(1)
        if count < len(sample) and crowded.any():
            some = some[crowded]
            away = torch.mm(some, directions).floor_()
            distances = RESOLUTION * away + some[:, 1:].square().sum(1, keepdim=True)
            away[distances <= SAME] = torch.finfo(away.dtype).max
            nearest = _places_of_smallest(away, count)
            terms[crowded] = _squared_differences(
                points[part][crowded], sample, nearest
            )
            other = terms.sum(2) > SAME
        taken = other & (other.cumsum(1) <= n_neighbors)
        total = taken.sum(1, keepdim=True).clamp(min=1)  # 0 where there is none
        found[part] = terms.mul_(taken[..., None]).sum(1) / total
    return found


def _squared_differences(points: Tensor, sample: Tensor, places: Tensor) -> Tensor:
    """Return those to some points of a sample: (n_points, n_places, n_numbers)."""
    terms = sample.index_select(0, places.flatten()).unflatten(0, places.shape)
    return terms.sub_(points[:, None]).square_()


def _places_of_smallest(values: Tensor, count: int) -> Tensor:
    """Return where the smallest values of every row are, in their order.

    The place of a value overwrites its last bits, so that a minimum says where it is:
    minima take a fraction of the time of `torch.topk`.

    Parameters
    ----------
    values : Tensor of shape (n_rows, n_values), float64
        Finite; overwritten.
    count : int
        How many of a row, at most n_values.

    Returns
    -------
    Tensor of shape (n_rows, count), int
    """
    n_values = values.shape[1]
    last_bits = (1 << (n_values - 1).bit_length()) - 1
    bits = values.view(torch.int64)
    bits &= ~last_bits
    bits |= torch.arange(n_values, device=values.device)
    places = []
    for _ in range(count):
        smallest = values.amin(1, keepdim=True).view(torch.int64)
        places.append(smallest & last_bits)
        values.scatter_(1, places[-1], torch.inf)
    return torch.cat(places, dim=1)
