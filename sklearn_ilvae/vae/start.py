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
from .axes import PrincipalAxes, with_fixed_signs
from .design import NaturalUnits
from .likelihoods import VARIANCE_FLOOR
from .networks import jacobian_at_zero

RELATIVE_CONSTANT = 0.3
"""The constant of a decoder relative to the standard deviation along its last axis."""


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
        directions = with_fixed_signs(directions)
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
