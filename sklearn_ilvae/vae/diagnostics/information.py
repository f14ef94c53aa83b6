"""How much the encoder's q(z|x) says, in nats, from its means and log-variances."""

from math import log, pi

import torch
from torch import Tensor

from ..autoencoder import VariationalAutoencoder
from ..priors import MixturePrior, StandardNormalPrior, standard_normal_log_prob
from .chunks import in_chunks, numbers_per_row

QUADRATURE_NODES = 32
"""How exact it is turns on the distance of neighbouring Gaussians of the prior times
the standard deviation of q, both in standard deviations of these Gaussians: to rounding
for a product of 1, to 3e-8 nats for 2, and to 5e-4 for 5. A wider q needs more nodes.
"""

ALIVE = 0.01
"""Least divergence from the prior, in nats, of a unit that counts as alive."""


def posterior(model: VariationalAutoencoder, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and log-variance of q(z|x) of every row, encoded in chunks.

    Parameters
    ----------
    model : VariationalAutoencoder
        The model.
    rows : Tensor of shape (n_rows, n_features)
        Standardised rows, NaN where missing.

    Returns
    -------
    mean, log_variance : Tensor of shape (n_rows, n_components)

    Examples
    --------
    >>> import torch
    >>> from sklearn_ilvae import vae
    >>> from sklearn_ilvae.vae import diagnostics
    >>> shape = vae.Architecture("anchored", 2, ("gaussian",) * 3, (8,), "elu", 0.5, 0)
    >>> model = vae.VariationalAutoencoder(shape, torch.eye(3)[:, :2])
    >>> mean, log_variance = diagnostics.posterior(model, torch.zeros(10, 3))
    >>> mean.shape, log_variance.shape
    (torch.Size([10, 2]), torch.Size([10, 2]))
    """

    def encoded(rows: Tensor) -> Tensor:
        return torch.cat(model.encoder(rows), dim=1)

    both = in_chunks(encoded, numbers_per_row(model), rows)
    mean, log_variance = both.chunk(2, dim=1)
    return mean, log_variance


def gauss_hermite(n_nodes: int) -> tuple[Tensor, Tensor]:
    """Return nodes and weights that integrate against the standard normal density.

    Parameters
    ----------
    n_nodes : int
        Polynomials up to degree ``2 n_nodes − 1`` are integrated exactly.

    Returns
    -------
    nodes, weights : Tensor of shape (n_nodes,), float64
        By the eigenvalues of the Jacobi matrix (Golub & Welsch, 1969). The weights
        sum to 1.

    Examples
    --------
    >>> from sklearn_ilvae.vae.diagnostics import gauss_hermite
    >>> nodes, weights = gauss_hermite(3)
    >>> round(float(weights @ nodes**4), 9)  # the fourth moment
    3.0
    """
    beside = torch.arange(1, n_nodes, dtype=torch.float64).sqrt()
    nodes, vectors = torch.linalg.eigh(beside.diag(1) + beside.diag(-1))
    return nodes, vectors[0].square()


def kl_per_unit(
    mean: Tensor,
    log_variance: Tensor,
    prior: StandardNormalPrior | MixturePrior,
    n_nodes: int = QUADRATURE_NODES,
) -> Tensor:
    """Return ``KL(q(z_k|x) ‖ p(z_k))`` of every row and unit.

    p(z_k) is the prior's marginal of the unit. The units of a mixture prior depend on
    each other, so that the divergence of the whole code exceeds the sum over units.

    Parameters
    ----------
    mean, log_variance : Tensor of shape (n_rows, n_components)
        Of the encoder's Gaussians.
    prior : StandardNormalPrior or MixturePrior
        The prior.
    n_nodes : int, default=32
        Nodes of the Gauss–Hermite quadrature; the standard normal needs none.

    Returns
    -------
    Tensor of shape (n_rows, n_components)

    Examples
    --------
    >>> import torch
    >>> from sklearn_ilvae.vae.diagnostics import kl_per_unit
    >>> from sklearn_ilvae.vae.priors import StandardNormalPrior
    >>> mean, log_variance = torch.tensor([[2.0, 0.0]]), torch.zeros(1, 2)
    >>> kl_per_unit(mean, log_variance, StandardNormalPrior(2))
    tensor([[2., 0.]])
    """
    if isinstance(prior, StandardNormalPrior):
        return prior.kl_divergence(mean, log_variance)
    nodes, weights = (each.to(mean) for each in gauss_hermite(n_nodes))

    def cross_entropy(mean: Tensor, log_variance: Tensor) -> Tensor:
        codes = mean + (0.5 * log_variance).exp() * nodes[:, None, None]
        return -torch.tensordot(weights, prior.marginal_log_prob(codes), dims=1)

    size = n_nodes * mean.shape[1] * len(prior.logits)
    entropy = 0.5 * (log_variance + log(2 * pi) + 1)
    return in_chunks(cross_entropy, size, mean, log_variance) - entropy


def active_units(mean: Tensor, threshold: float = 0.01) -> Tensor:
    """Return which units have means that vary over rows by more than a threshold.

    Parameters
    ----------
    mean : Tensor of shape (n_rows, n_components)
        Means of the encoder's Gaussians.
    threshold : float, default=0.01
        Least variance of an active unit.

    Returns
    -------
    Tensor of shape (n_components,), bool
        Burda, Grosse & Salakhutdinov, ICLR 2016, Section 5.2.

    Examples
    --------
    >>> import torch
    >>> from sklearn_ilvae.vae.diagnostics import active_units
    >>> active_units(torch.tensor([[1.0, 0.1], [-1.0, 0.1]]))
    tensor([ True, False])
    """
    return mean.var(0, correction=0) > threshold


def mutual_information(mean: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
    """Return the mutual information of row and code under the encoder.

    ``I = (1/n) Σᵢ KL(q(z|xᵢ) ‖ q(z))`` with the aggregated posterior
    ``q(z) = (1/n) Σⱼ q(z|xⱼ)`` over the rows at hand (Hoffman & Johnson, 2016). As
    ``q(z) ≥ q(z|xᵢ)/n``, it saturates at log n_rows: close to it, more rows are
    needed to tell how much more there is.

    Parameters
    ----------
    mean, log_variance : Tensor of shape (n_rows, n_components)
        Of the encoder's Gaussians.
    noise : Tensor of shape (n_draws, n_rows, n_components)
        Standard normal noise.

    Returns
    -------
    Tensor of shape ()
        In nats. Takes of the order of ``n_draws · n_rows²`` operations, and rounds
        to 1e-15 times the largest squared ratio of mean to standard deviation.

    Examples
    --------
    >>> import torch
    >>> from sklearn_ilvae.vae.diagnostics import mutual_information
    >>> mean = torch.tensor([[-9.0], [9.0]])  # of two rows that codes tell apart
    >>> mutual_information(mean, torch.zeros(2, 1), torch.zeros(1, 2, 1))
    tensor(0.6931)
    """
    codes = mean + (0.5 * log_variance).exp() * noise
    own = standard_normal_log_prob(noise) - 0.5 * log_variance.sum(-1)
    precision = (-log_variance).exp()
    constant = (mean.square() * precision + log_variance + log(2 * pi)).sum(-1)

    def aggregated(codes: Tensor) -> Tensor:
        squares = codes.square() @ precision.T - 2 * codes @ (mean * precision).T
        return (-0.5 * (squares + constant)).logsumexp(-1) - log(len(mean))

    log_density = in_chunks(aggregated, len(mean), codes.flatten(0, 1))
    # No draw gives more than log n_rows, but rounding may.
    return (own.flatten() - log_density).mean().clamp(max=log(len(mean)))
