"""Which rows of a table to trust: concentration steps of a linear Gaussian model.

A few outliers decide a covariance, and so the axes, the scale and the clusters that an
autoencoder starts from. The steps find the rows that lie closest together, as the
minimum covariance determinant does (Rousseeuw & Van Driessen, Technometrics, 1999): fit
to the closest rows, measure all rows by that fit, repeat.
"""

import torch
from torch import Tensor

from .likelihoods import VARIANCE_FLOOR

CORE_SHARE = 0.5
"""Share of the weight that the steps concentrate on: no larger part can be outliers."""

LARGEST_NUMBER_OF_STEPS = 10

LEAST_START_SCALE = VARIANCE_FLOOR**0.5
"""The least noise of the autoencoder."""

CONSISTENCY = 1.4826
"""The standard deviation of a normal variable over its median absolute deviation."""


def robust_distances(
    rows: Tensor, weights: Tensor, discrete: Tensor | None = None
) -> Tensor:
    """Return squared distances of rows from the half that lies closest together.

    Starts from spatial signs (Visuri, Koivunen & Oja, 2000), as the deterministic
    minimum covariance determinant does (Hubert, Rousseeuw & Verdonck, 2012), so that
    nothing is random. The covariance of the core, in standard deviations of the core,
    has the least noise variance of the autoencoder added to its diagonal, which also
    serves tables with more columns than rows (compare Boudt et al., 2020).

    Parameters
    ----------
    rows : Tensor of shape (n_rows, n_features), float64
        Finite values in any unit.
    weights : Tensor of shape (n_rows,), float64
        Positive weights. A row of weight 2 counts as two rows.
    discrete : Tensor of shape (n_features,), bool, default=None
        Columns that are scores of levels, or mostly hold one value. In the closest half
        such a column often holds a single one. Its spread there is 0, and all others
        would be infinitely far. So the spread in all rows is used instead, and its
        square is added to the diagonal as noise. None for no such columns.

    Returns
    -------
    Tensor of shape (n_rows,), float64
        Squared Mahalanobis distances.

    Examples
    --------
    >>> import torch
    >>> rows = torch.randn(100, 3, dtype=torch.float64)
    >>> rows[:5] += 20
    >>> distances = robust_distances(rows, torch.ones(100, dtype=torch.float64))
    >>> bool(distances[:5].min() > distances[5:].max())
    True
    """
    if discrete is None:
        discrete = torch.zeros(rows.shape[1], dtype=torch.bool)
    core = closest_weights(_start_distances(rows, weights), weights, CORE_SHARE)
    for _ in range(LARGEST_NUMBER_OF_STEPS):
        distances = _distances(rows, weights, core, discrete)
        previous, core = core, closest_weights(distances, weights, CORE_SHARE)
        if torch.equal(core, previous):
            break
    return distances


def mostly_hold_one_value(rows: Tensor, weights: Tensor) -> Tensor:
    """Return in which columns a value has more weight than a core.

    A core may hold that value alone, like one level, and then any other would lie
    farther away than all outliers of other columns.
    """
    shares = weights / weights.sum()
    common = shares @ (rows == weighted_median(rows, shares)).to(shares)
    rounding = torch.finfo(shares.dtype).eps * len(shares)
    return common > CORE_SHARE + rounding


def closest_weights(distances: Tensor, weights: Tensor, share: float) -> Tensor:
    """Return the weights of the closest rows that make up a share of the total.

    Parameters
    ----------
    distances, weights : Tensor of shape (n_rows,)
        Distances and positive weights.
    share : float
        Share of the total weight, in (0, 1].

    Returns
    -------
    Tensor of shape (n_rows,)
        The weight of a row, a part of it for the last row that counts, or 0.

    Examples
    --------
    >>> import torch
    >>> closest_weights(torch.tensor([3.0, 1.0, 2.0]), torch.ones(3), 0.5)
    tensor([0.0000, 1.0000, 0.5000])
    """
    order = distances.argsort(stable=True)
    ordered = weights[order]
    before = ordered.cumsum(0) - ordered
    total = weights.sum()
    kept = share * total - before
    rounding = torch.finfo(kept.dtype).eps * len(kept) * total
    # What rounding leaves of a share must not make a row count.
    kept = kept.masked_fill(kept <= rounding, 0).minimum(ordered)
    return torch.zeros_like(weights).scatter(0, order, kept)


def _start_distances(rows: Tensor, weights: Tensor) -> Tensor:
    """Return distances in the axes of the spatial signs, scaled robustly."""
    centred = rows - weighted_median(rows, weights)
    spread = _spread(centred, weights / weights.sum())
    scaled = centred / spread
    signs = scaled / scaled.norm(dim=1, keepdim=True).clamp(min=1e-12)
    if len(rows) < rows.shape[1]:  # then no row varies along any other axis
        weighted = signs * weights[:, None].sqrt()
        axes = torch.linalg.svd(weighted, full_matrices=False)[2].T
    else:
        axes = torch.linalg.eigh((signs * weights[:, None]).T @ signs)[1]
    projected = scaled @ axes
    size = CONSISTENCY * weighted_median(projected.abs(), weights)
    return (projected / size.clamp(min=LEAST_START_SCALE)).square().sum(1)


def _distances(rows: Tensor, weights: Tensor, core: Tensor, discrete: Tensor) -> Tensor:
    """Return squared distances of all rows by the fit to a core."""
    shares = core / core.sum()
    inside = shares > 0
    centred = rows - shares @ rows
    # Columns that do not vary in the core are measured by their spread in all rows.
    fallback = _spread(centred, weights / weights.sum())
    spread = torch.where(discrete, fallback, _spread(centred, shares, fallback))
    scaled = centred / spread
    noise = torch.ones_like(spread).masked_fill(~discrete, VARIANCE_FLOOR)
    part, share = scaled[inside], shares[inside, None]
    if len(part) >= part.shape[1]:
        covariance = (part * share).T @ part
        covariance.diagonal().add_(noise)
        return _quadratic_forms(covariance, scaled)
    # With B the core in units of the noise, I − Bᵀ(I + BBᵀ)⁻¹B is the inverse of
    # I + BᵀB (Woodbury), of which a wide table has a large one.
    scaled = scaled / noise.sqrt()
    part = scaled[inside] * share.sqrt()
    gram = part @ part.T
    gram.diagonal().add_(1)
    return scaled.square().sum(1) - _quadratic_forms(gram, scaled @ part.T)


def _quadratic_forms(matrix: Tensor, rows: Tensor) -> Tensor:
    """Return ``xᵀM⁻¹x`` for every row x."""
    factor = torch.linalg.cholesky(matrix)
    solved = torch.linalg.solve_triangular(factor, rows.T, upper=False)
    return solved.square().sum(0)


def _spread(centred: Tensor, shares: Tensor, fallback: Tensor | None = None) -> Tensor:
    spread = (shares @ centred.square()).sqrt()
    rounding = len(centred) * torch.finfo(centred.dtype).eps * centred.abs().amax(0)
    other = torch.ones_like(spread) if fallback is None else fallback
    return torch.where(spread > rounding, spread, other)


def weighted_median(values: Tensor, weights: Tensor) -> Tensor:
    """Return the least value of each column with half the weight at or below it."""
    ordered, order = values.sort(dim=0)
    place = first_to_reach(weights[order].cumsum(0) / weights.sum(), 0.5)
    return ordered.gather(0, place[None])[0]


def first_to_reach(cumulative: Tensor, share: float) -> Tensor:
    """Return where cumulative shares (n_rows, …) reach a share, up to rounding."""
    rounding = torch.finfo(cumulative.dtype).eps * len(cumulative)
    return (cumulative >= share - rounding).double().argmax(0)
