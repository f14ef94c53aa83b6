"""Data-dependent start: training begins at a closed-form linear model.

The start is close to probabilistic principal component analysis (Tipping & Bishop,
1999), but with a noise variance for each column, of the coordinates of `Design`: for
columns that are not Gaussian, one step of Fisher scoring from the distribution of each
column. No unit has collapsed when training begins, and the first model is about as good
as a linear one, though not the most likely: its noise is what the axes leave over.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from .autoencoder import VariationalAutoencoder
from .completion import LinearCompletion
from .design import NaturalUnits
from .likelihoods import VARIANCE_FLOOR
from .networks import jacobian_at_zero


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
    return PrincipalAxes(variances, _with_fixed_signs(directions))


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


EM_STEPS = 10
"""Steps of the EM algorithm, from independent columns on. It stops early: further ones
would follow too closely the few values that columns full of gaps have in common."""

EM_NUMBERS = 1 << 18
"""Numbers in the rows that the EM algorithm looks at: more would tell it little."""


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


def _with_fixed_signs(directions: Tensor) -> Tensor:
    largest = directions.abs().argmax(0, keepdim=True)
    return directions * directions.gather(0, largest).sign()


@dataclass(frozen=True)
class LinearModel:
    """A linear Gaussian model of the coordinates of a table.

    Parameters
    ----------
    directions : Tensor of shape (n_parameters, n_components)
        Orthonormal directions in the space of natural parameters.
    slopes : Tensor of shape (n_components,)
        Slopes along them, for each unit of a code.
    noise : Tensor of shape (n_parameters,)
        Noise variances of the coordinates.
    units : NaturalUnits
        From coordinates to natural parameters.
    """

    directions: Tensor
    slopes: Tensor
    noise: Tensor
    units: NaturalUnits


def linear_model(
    axes: PrincipalAxes, n_components: int, units: NaturalUnits
) -> LinearModel:
    """Return the linear model of the leading axes.

    The noise variance of a number is what the axes leave over. That of a score of a
    discrete column is given: at most 1, the variance of the score itself.

    Parameters
    ----------
    axes : PrincipalAxes
        Axes of the coordinates, at least as many as to keep.
    n_components : int
        Number of axes to keep.
    units : NaturalUnits
        From coordinates to natural parameters.

    Returns
    -------
    LinearModel
        In float64.

    Examples
    --------
    >>> import torch
    >>> from sklearn_ilvae import vae
    >>> rows = torch.randn(100, 3, generator=torch.Generator().manual_seed(0))
    >>> units = vae.Design(("gaussian",) * 3).fit(rows, torch.full((100,), 0.01))
    >>> axes = vae.principal_axes(rows, torch.ones(100))
    >>> vae.linear_model(axes, 2, units).directions.shape
    torch.Size([3, 2])
    """
    variances = axes.variances[:n_components]
    directions = axes.directions[:, :n_components]
    squares = directions.square()
    rest = axes.directions[:, n_components:].square() @ axes.variances[n_components:]
    noise = rest.clamp(min=2 * VARIANCE_FLOOR)
    if units.discrete.any():
        total = rest + squares @ variances
        given = total.clamp(min=2 * VARIANCE_FLOOR, max=1)
        noise = torch.where(units.discrete, given, noise)
    # An axis below the noise still gets a slope: from 0 it would get no gradient.
    slopes = (variances - squares.T @ noise).clamp(min=VARIANCE_FLOOR).sqrt()
    if not units.trivial:
        # The decoder's directions are orthonormal in natural parameters. Rotating the
        # codes to make them so changes nothing else: their prior is round.
        loadings = units.to_natural(directions * slopes)
        directions, slopes, _ = torch.linalg.svd(loadings, full_matrices=False)
        directions = _with_fixed_signs(directions)
    return LinearModel(directions, slopes, noise, units)


@torch.no_grad()
def start_at_linear_model(
    model: VariationalAutoencoder, linear: LinearModel, rows: Tensor, weights: Tensor
) -> None:
    """Set all parameters so that the model is linear around the mean.

    Parameters
    ----------
    model : VariationalAutoencoder
        A model whose decoder is built around the directions of the linear model, and
        whose encoder has a fitted design.
    linear : LinearModel
        The linear model.
    rows : Tensor of shape (n_rows, n_features)
        Rows of the table.
    weights : Tensor of shape (n_rows,)
        Their non-negative weights.

    Examples
    --------
    >>> import torch
    >>> from sklearn_ilvae import vae
    >>> rows = torch.randn(100, 3, generator=torch.Generator().manual_seed(0))
    >>> weights, kinds = torch.ones(100), ("gaussian",) * 3
    >>> units = vae.Design(kinds).fit(rows, weights / 100)
    >>> linear = vae.linear_model(vae.principal_axes(rows, weights), 2, units)
    >>> shape = vae.Architecture("anchored", 2, kinds, (8,), "elu", 0.1, 0)
    >>> model = vae.VariationalAutoencoder(shape, linear.directions.float())
    >>> vae.start_at_linear_model(model, linear, rows, weights)
    >>> mean, log_variance = model.encoder(rows)
    >>> mean.shape
    torch.Size([100, 2])
    """
    single = next(model.parameters())
    model.decoder.start_at(linear.slopes.to(single))
    shares = (weights / weights.sum()).to(rows)
    model.likelihood.start_at(linear.noise.to(single), rows, shares)

    # The posterior of the linear model that the decoder really starts at: its
    # constraint may not allow the slopes asked for.
    n_components = model.architecture.n_components
    loadings = jacobian_at_zero(model.decoder, single.new_zeros(n_components)).double()
    if not linear.units.trivial:
        loadings = linear.units.from_natural(loadings)
    model.encoder.start_at(loadings, linear.noise)


EXPLAINED_VARIANCE = 0.99
"""The rest is no more than the noise variance that every column has at least."""

LARGEST_AUTO_COMPONENTS = 32
ROWS_PER_COMPONENT = 20
"""Axes of fewer rows are not those of the next rows."""

RELATIVE_CONSTANT = 0.3


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


def choose_inverse_lipschitz(variances: Tensor, n_components: int) -> float:
    """Return 0.3 times the standard deviation along the last axis that is kept.

    The decoder then may be three times flatter in any direction than the linear
    model is in its weakest.

    Parameters
    ----------
    variances : Tensor of shape (n_axes,)
        Variances along the principal axes, in decreasing order.
    n_components : int
        Number of axes that are kept.

    Returns
    -------
    float
        The constant, in standard deviations of the columns for each unit of a code.

    Examples
    --------
    >>> import torch
    >>> from sklearn_ilvae.vae import choose_inverse_lipschitz
    >>> variances = torch.tensor([6.0, 4.0, 1.0])
    >>> round(choose_inverse_lipschitz(variances, n_components=2), 3)
    0.6
    """
    return RELATIVE_CONSTANT * float(variances[n_components - 1].clamp(min=0).sqrt())
