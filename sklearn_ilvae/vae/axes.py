"""Principal axes of a table, also beside gaps, and how many of them to keep."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .completion import LinearCompletion
from .likelihoods import VARIANCE_FLOOR

EM_STEPS = 10
"""Steps of the EM algorithm, from independent columns on. It stops early: further ones
would follow too closely the few values that columns full of gaps have in common."""

EM_NUMBERS = 1 << 18
"""Numbers in the rows that the EM algorithm looks at: more would tell it little."""

EXPLAINED_VARIANCE = 0.99
"""The rest is no more than the noise variance that every column has at least."""

LARGEST_AUTO_COMPONENTS = 32
ROWS_PER_COMPONENT = 20
"""Axes of fewer rows are not those of the next rows."""


@dataclass(frozen=True)
class PrincipalAxes:
    """Principal axes of a standardised table.

    Parameters
    ----------
    variances : Tensor of shape (n_axes,)
        Variances along the axes, in decreasing order.
    directions : Tensor of shape (n_features, n_axes)
        Orthonormal directions. Across them the table does not vary.
    """

    variances: Tensor
    directions: Tensor


def principal_axes(rows: Tensor, weights: Tensor, n_axes: int = 1) -> PrincipalAxes:
    """Return the principal axes of standardised rows.

    Parameters
    ----------
    rows : Tensor of shape (n_rows, n_features)
        Rows; their weighted mean is taken off. Where values are missing (NaN), the
        covariance is what a few steps of the EM algorithm make of it (Rubin & Thayer,
        1982), or in a table of more columns than rows the one that the mean in their
        place gives.
    weights : Tensor of shape (n_rows,)
        Non-negative weights.
    n_axes : int, default=1
        Least number of axes, at most ``n_features``.

    Returns
    -------
    PrincipalAxes
        ``n_features`` axes, or as many as rows if that is less and enough. The sign of
        each is fixed by its largest entry.

    Examples
    --------
    >>> import torch
    >>> from sklearn_ilvae import vae
    >>> rows = torch.randn(100, 3, generator=torch.Generator().manual_seed(0))
    >>> axes = vae.principal_axes(rows, torch.ones(100))
    >>> axes.directions.shape
    torch.Size([3, 3])
    >>> bool((axes.variances.diff() <= 0).all())
    True
    """
    shares = (weights / weights.sum()).to(rows)
    missing = rows.isnan()
    observed = (~missing).to(rows) if missing.any() else None
    centred = _centred(rows, shares, observed)
    if n_axes <= len(rows) < rows.shape[1]:
        variances, directions = _axes_of_wide(centred, shares, observed)
    else:
        covariance = (centred * shares[:, None]).T @ centred
        if observed is not None:
            covariance.diagonal().div_(_present(shares, observed))
            centred = centred.masked_fill(missing, torch.nan)
            covariance = _covariance_beside_gaps(covariance, centred, shares)
        variances, directions = _axes_of(covariance.double().cpu())
    return PrincipalAxes(variances, with_fixed_signs(directions))


def _centred(rows: Tensor, shares: Tensor, observed: Tensor | None) -> Tensor:
    """Return rows less their mean, 0 where missing."""
    if observed is None:
        return rows - shares @ rows
    filled = rows.nan_to_num(nan=0.0)
    return (filled - shares @ filled / _present(shares, observed)) * observed


def _present(shares: Tensor, observed: Tensor) -> Tensor:
    """Return the share of the weight that has a value in each column, to divide by."""
    return (shares @ observed).clamp(min=torch.finfo(observed.dtype).tiny)


def _axes_of(covariance: Tensor) -> tuple[Tensor, Tensor]:
    variances, directions = torch.linalg.eigh(covariance)
    return variances.flip(0).clamp(min=0), directions.flip(1)


def _covariance_beside_gaps(
    covariance: Tensor, centred: Tensor, shares: Tensor
) -> Tensor:
    """Return the covariance that linear models of few factors expect, by EM.

    Covariances of pairs of columns, each from the rows that have both, fit no model
    together: some combinations of columns would have a negative variance, and a model
    of the other axes would be certain of what it does not know.

    Parameters
    ----------
    covariance : Tensor of shape (n_features, n_features)
        To start from: with the mean in place of missing values, but right variances.
    centred : Tensor of shape (n_rows, n_features)
        Rows less their mean, NaN where missing.
    shares : Tensor of shape (n_rows,)
        Their weights.

    Returns
    -------
    Tensor of shape (n_features, n_features), float64
        On the CPU.
    """
    n_rows, n_features = centred.shape
    used = shares > 0
    most = max(EM_NUMBERS // n_features, 4 * n_features)
    part = draw_rows(int(used.sum()), most)
    rows, shares = (each[used][part].double().cpu() for each in (centred, shares))
    shares = shares / shares.sum()
    gaps = rows.isnan().any(1)
    covariance = covariance.double().cpu()
    if not gaps.any():  # those of weight 0, and those stepped over, may have had all
        return covariance
    for _ in range(EM_STEPS):
        variances, directions = _axes_of(covariance)
        n_factors = choose_n_components(variances, n_rows)
        # Probabilistic principal components (Tipping & Bishop, 1999, Eq. 7), but with
        # the noise that gives every column its variance.
        rest = variances[n_factors:].sum() / max(1, n_features - n_factors)
        slopes = (variances[:n_factors] - rest).clamp(min=0).sqrt()
        loadings = directions[:, :n_factors] * slopes
        noise = covariance.diagonal() - loadings.square().sum(1)
        completion = LinearCompletion(n_features, n_factors).double()
        completion.start_at(loadings, noise.clamp(min=2 * VARIANCE_FLOOR))
        filled = rows.clone()
        filled[gaps], unknown = completion.expect(rows[gaps], noise, shares[gaps])
        shift = shares @ filled
        rows = rows - shift
        filled = filled - shift
        covariance = (filled * shares[:, None]).T @ filled + unknown
    return covariance


def draw_rows(n_rows: int, most: int) -> slice | Tensor:
    """Return which rows to look at, in their order: all, or some drawn at random.

    Every second row, or every seventh, would not do: where rows take turns, as pairs
    and days of the week do, they are all of one kind.
    """
    if n_rows <= most:
        return slice(None)
    order = torch.randperm(n_rows, generator=torch.Generator().manual_seed(0))
    return order[:most].sort().values


def _axes_of_wide(
    centred: Tensor, shares: Tensor, observed: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return variances and axes without a covariance, which has many more entries.

    With gaps the variances of the columns are right, and their covariances too small.
    """
    weighted = centred * shares[:, None].sqrt()
    if observed is not None:
        weighted = weighted / _present(shares, observed).sqrt()
    _, deviations, axes = torch.linalg.svd(weighted.double().cpu(), full_matrices=False)
    return deviations.square(), axes.T


def with_fixed_signs(directions: Tensor) -> Tensor:
    """Return directions turned so that the largest entry of each is positive."""
    largest = directions.abs().argmax(0, keepdim=True)
    return directions * directions.gather(0, largest).sign()


def choose_n_components(variances: Tensor, n_rows: int) -> int:
    """Return the number of axes that explain 99% of the variance, within two limits.

    At most 32, and at most one for every twenty rows: the axes of a few rows are not
    those of the next few.

    Parameters
    ----------
    variances : Tensor of shape (n_axes,)
        Variances along the principal axes, in decreasing order.
    n_rows : int
        Number of rows that the axes were estimated from.

    Returns
    -------
    int
        At least 1.

    Examples
    --------
    >>> import torch
    >>> from sklearn_ilvae.vae import choose_n_components
    >>> choose_n_components(torch.tensor([6.0, 3.0, 0.95, 0.05]), n_rows=1000)
    3
    """
    enough = int((variances.cumsum(0) < EXPLAINED_VARIANCE * variances.sum()).sum()) + 1
    supported = max(1, n_rows // ROWS_PER_COMPONENT)
    return min(enough, supported, len(variances), LARGEST_AUTO_COMPONENTS)
