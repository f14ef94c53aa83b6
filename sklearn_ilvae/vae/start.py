"""Data-dependent start: training begins at a closed-form linear model.

The start is probabilistic principal component analysis (Tipping & Bishop, 1999) with
a noise variance for each column. No unit is dead when training begins, and training
sets out from a model about as good as a linear one.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from .autoencoder import VariationalAutoencoder
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
        Orthonormal directions.
    """

    variances: Tensor
    directions: Tensor


def principal_axes(rows: Tensor, weights: Tensor) -> PrincipalAxes:
    """Return all principal axes of standardised rows.

    Parameters
    ----------
    rows : Tensor of shape (n_rows, n_features)
        Rows; their weighted mean is taken off.
    weights : Tensor of shape (n_rows,)
        Non-negative weights.

    Returns
    -------
    PrincipalAxes
        ``n_features`` axes. The sign of each is fixed by its largest entry.

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
    centred = rows - shares @ rows
    covariance = (centred * shares[:, None]).T @ centred
    variances, directions = torch.linalg.eigh(covariance.double().cpu())
    variances, directions = variances.flip(0).clamp(min=0), directions.flip(1)
    largest = directions.abs().argmax(0, keepdim=True)
    return PrincipalAxes(variances, directions * directions.gather(0, largest).sign())


@torch.no_grad()
def start_at_linear_model(
    model: VariationalAutoencoder, axes: PrincipalAxes, frequency: Tensor
) -> None:
    """Set all parameters so that the model is linear around the mean.

    Parameters
    ----------
    model : VariationalAutoencoder
        A model whose decoder is built around the leading axes.
    axes : PrincipalAxes
        All axes of the table.
    frequency : Tensor of shape (n_features,)
        Share of positive values in each column, for Bernoulli columns.

    Examples
    --------
    >>> import torch
    >>> from sklearn_ilvae import vae
    >>> rows = torch.randn(100, 3, generator=torch.Generator().manual_seed(0))
    >>> axes = vae.principal_axes(rows, torch.ones(100))
    >>> shape = vae.Architecture("anchored", 2, (False,) * 3, (8,), "elu", 0.1, 0)
    >>> model = vae.VariationalAutoencoder(shape, axes.directions[:, :2].float())
    >>> vae.start_at_linear_model(model, axes, torch.zeros(3))
    >>> mean, log_variance = model.encoder(rows)
    >>> mean.shape
    torch.Size([100, 2])
    """
    n_components = model.architecture.n_components
    variances = axes.variances[:n_components]
    directions = axes.directions[:, :n_components]
    squares = directions.square()
    rest = axes.directions[:, n_components:].square() @ axes.variances[n_components:]
    noise = rest.clamp(min=2 * VARIANCE_FLOOR)
    # An axis below the noise still gets a slope: from 0 it would get no gradient.
    slopes = (variances - squares.T @ noise).clamp(min=VARIANCE_FLOOR).sqrt()

    single = next(model.parameters())
    model.decoder.start_at(slopes.to(single))
    model.likelihood.start_at(noise.to(single), frequency.to(single))

    # The posterior of the linear model that the decoder really starts at: its
    # constraint may not allow the slopes asked for.
    loadings = jacobian_at_zero(model.decoder, single.new_zeros(n_components)).double()
    scaled = loadings.T / noise
    precision = scaled @ loadings + torch.eye(n_components, dtype=torch.float64)
    linear = torch.linalg.solve(precision, scaled)
    log_variance = -precision.diagonal().log()
    model.encoder.start_at(linear.to(single), log_variance.to(single))


EXPLAINED_VARIANCE = 0.99
"""The rest is no more than the noise variance that every column has at least."""

LARGEST_AUTO_COMPONENTS = 32
ROWS_PER_COMPONENT = 20
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
