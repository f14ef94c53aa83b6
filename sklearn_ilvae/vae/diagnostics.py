"""How much the posteriors say: divergences, active units and information, in nats.

Two of them judge the encoder's q(z|x), from its means and log-variances: the
divergence of every unit and the mutual information. The relative Fisher divergence and
its lower bound judge the posterior p(z|x) of the model itself, which the
inverse-Lipschitz constant governs; draws from a Gaussian close to it are reweighted.
"""

from collections.abc import Callable
from math import log, pi

import torch
from torch import Tensor

from .autoencoder import VariationalAutoencoder
from .bounds import importance_log_weights
from .likelihoods import EMPTY
from .posterior import codes_at_once
from .priors import MixturePrior, StandardNormalPrior, standard_normal_log_prob

QUADRATURE_NODES = 32
"""How exact it is turns on the distance of neighbouring Gaussians of the prior times
the standard deviation of q, both in standard deviations of these Gaussians: to rounding
for a product of 1, to 3e-8 nats for 2, and to 5e-4 for 5. A wider q needs more nodes.
"""

ALIVE = 0.01
"""Least divergence from the prior, in nats, of a unit that counts as alive."""

CHUNK = 1 << 22
"""Numbers held at once in the largest array."""


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

    both = _in_chunks(encoded, _numbers_per_row(model), rows)
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
    return _in_chunks(cross_entropy, size, mean, log_variance) - entropy


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

    log_density = _in_chunks(aggregated, len(mean), codes.flatten(0, 1))
    return (own.flatten() - log_density).mean()


def fisher_divergence_per_unit(
    model: VariationalAutoencoder, rows: Tensor, noise: Tensor
) -> Tensor:
    """Return the share of every unit in the Fisher divergence of every row.

    ``F_k(x) = E_{p(z|x)} (∂_k log p(z|x) − ∂_k log p(z))²``, which sum over units to
    `relative_fisher_divergence`.

    Parameters
    ----------
    model : VariationalAutoencoder
        The model.
    rows : Tensor of shape (n_rows, n_features)
        Standardised rows; F is the same in any unit of the rows.
    noise : Tensor of shape (n_draws, n_components)
        Standard normal noise, shared by all rows.

    Returns
    -------
    Tensor of shape (n_rows, n_components)
        By self-normalised importance sampling, see `importance_log_weights`.

    Examples
    --------
    >>> import torch
    >>> from sklearn_ilvae import vae
    >>> from sklearn_ilvae.vae import diagnostics
    >>> shape = vae.Architecture("anchored", 2, ("gaussian",) * 3, (8,), "elu", 0.5, 0)
    >>> model = vae.VariationalAutoencoder(shape, torch.eye(3)[:, :2])
    >>> rows = torch.randn(10, 3, generator=torch.Generator().manual_seed(0))
    >>> noise = vae.shared_noise(50, 2, seed=0).float()
    >>> diagnostics.fisher_divergence_per_unit(model, rows, noise).shape
    torch.Size([10, 2])
    """

    def divergence(rows: Tensor) -> Tensor:
        codes, weights, parameters, scores = _posterior_scores(model, rows, noise)
        (pulled,) = torch.autograd.grad(parameters, codes, scores)
        return (weights[..., None] * pulled.square()).sum(0)

    return _in_chunks(divergence, _numbers_per_row(model, len(noise)), rows)


def relative_fisher_divergence(
    model: VariationalAutoencoder, rows: Tensor, noise: Tensor
) -> Tensor:
    """Return the Fisher divergence of posterior from prior of every row.

    ``F(x) = E_{p(z|x)} ‖∇_z log p(z|x) − ∇_z log p(z)‖²``. By Bayes' rule the
    difference is the gradient of the log-likelihood, ``J(z)ᵀs(x, z)`` with J the
    Jacobian of the decoder f and ``s = ∂ log p(x|f)/∂f`` the score in its natural
    parameters. Where F is 0 the row says nothing about its code.

    Parameters
    ----------
    model, rows, noise
        As in `fisher_divergence_per_unit`.

    Returns
    -------
    Tensor of shape (n_rows,)

    Examples
    --------
    >>> import torch
    >>> from sklearn_ilvae import vae
    >>> from sklearn_ilvae.vae import diagnostics
    >>> shape = vae.Architecture("anchored", 2, ("gaussian",) * 3, (8,), "elu", 0.5, 0)
    >>> model = vae.VariationalAutoencoder(shape, torch.eye(3)[:, :2])
    >>> rows = torch.randn(10, 3, generator=torch.Generator().manual_seed(0))
    >>> noise = vae.shared_noise(50, 2, seed=0).float()
    >>> diagnostics.relative_fisher_divergence(model, rows, noise).shape
    torch.Size([10])
    """
    return fisher_divergence_per_unit(model, rows, noise).sum(-1)


def fisher_divergence_lower_bound(
    model: VariationalAutoencoder, rows: Tensor, noise: Tensor
) -> Tensor:
    """Return the part of the Fisher divergence that the constant L guarantees.

    ``F(x) ≥ L² E_{p(z|x)} ‖Π(z)s(x, z)‖²`` with Π the orthogonal projector on the
    range of J(z). For an L-inverse-Lipschitz f no singular value of J is less than L,
    hence ``‖Jᵀs‖ = ‖JᵀΠs‖ ≥ L‖Πs‖`` for every z. Without Π this is false when there
    are fewer units than columns: Jᵀ maps the residual across the range to 0.

    Parameters
    ----------
    model : VariationalAutoencoder
        The model.
    rows : Tensor of shape (n_rows, n_features)
        Standardised rows.
    noise : Tensor of shape (n_draws, n_components)
        Standard normal noise. With the noise that `relative_fisher_divergence` was
        given the inequality holds draw by draw, whatever the Monte Carlo error.

    Returns
    -------
    Tensor of shape (n_rows,)
        0 for a decoder that certifies nothing.

    Examples
    --------
    >>> import torch
    >>> from sklearn_ilvae import vae
    >>> from sklearn_ilvae.vae import diagnostics
    >>> shape = vae.Architecture("anchored", 2, ("gaussian",) * 3, (8,), "elu", 0.5, 0)
    >>> model = vae.VariationalAutoencoder(shape, torch.eye(3)[:, :2])
    >>> rows = torch.randn(10, 3, generator=torch.Generator().manual_seed(0))
    >>> noise = vae.shared_noise(50, 2, seed=0).float()
    >>> bound = diagnostics.fisher_divergence_lower_bound(model, rows, noise)
    >>> divergence = diagnostics.relative_fisher_divergence(model, rows, noise)
    >>> bool((bound <= divergence).all())
    True
    """
    constant = model.decoder.inverse_lipschitz()
    if constant == 0:
        return rows.new_zeros(len(rows))

    def bound(rows: Tensor) -> Tensor:
        codes, weights, parameters, scores = _posterior_scores(model, rows, noise)
        # A loop over columns: the first use of torch.func imports seconds of modules.
        gradients = [
            torch.autograd.grad(
                parameters, codes, column.expand_as(parameters), retain_graph=True
            )[0]
            for column in torch.eye(model.likelihood.n_parameters).to(rows)
        ]
        basis = torch.linalg.qr(torch.stack(gradients, dim=-2)).Q
        along = basis.mT @ scores[..., None]
        return (weights * along.square().sum((-2, -1))).sum(0)

    jacobian_size = model.likelihood.n_parameters * model.architecture.n_components
    size = _numbers_per_row(model, len(noise), jacobian_size)
    return constant**2 * _in_chunks(bound, size, rows)


def average_fisher_lower_bound(model: VariationalAutoencoder) -> float:
    """Return the Fisher divergence that L guarantees on average over model rows.

    ``E_{p(x)} F(x) ≥ n_components L²/σ²_max`` for Gaussian columns of noise variances
    at most σ²_max: given z the scores have covariance ``Ψ⁻¹ ⪰ I/σ²_max``, so that
    ``E‖Jᵀs‖² = E tr(JᵀΨ⁻¹J) ≥ E‖J‖²_F/σ²_max``, and J has n_components singular
    values of at least L. It holds for rows drawn from the model, and for a table as
    far as the model fits it.

    Parameters
    ----------
    model : VariationalAutoencoder
        A model whose columns are all Gaussian, or without any value.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        When there are other columns: the variance of a binary score, for example,
        has no positive lower bound.

    Examples
    --------
    >>> import torch
    >>> from sklearn_ilvae import vae
    >>> from sklearn_ilvae.vae import diagnostics
    >>> shape = vae.Architecture("anchored", 2, ("gaussian",) * 3, (8,), "elu", 0.5, 0)
    >>> model = vae.VariationalAutoencoder(shape, torch.eye(3)[:, :2])
    >>> diagnostics.average_fisher_lower_bound(model) > 0
    True
    """
    others = set(model.architecture.likelihood) - {"gaussian", EMPTY}
    if others:
        raise ValueError(
            "The averaged bound needs Gaussian columns only, got columns of likelihood "
            f"{', '.join(sorted(others))}. Use fisher_divergence_lower_bound, which "
            "holds row by row."
        )
    constant = model.decoder.inverse_lipschitz()
    largest = float(model.likelihood.variance().detach().max())
    return model.architecture.n_components * constant**2 / largest


def _posterior_scores(
    model: VariationalAutoencoder, rows: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return codes, weights under p(z|x), natural parameters with graph, scores s."""
    codes, log_weights = importance_log_weights(model, rows, noise)
    with torch.enable_grad():
        parameters = model.decoder(codes.requires_grad_())
    scores = model.likelihood.score(rows, parameters)
    return codes, log_weights.softmax(0), parameters, scores


def _numbers_per_row(
    model: VariationalAutoencoder, n_draws: int = 1, numbers_per_draw: int = 0
) -> int:
    """Return the numbers that the largest array holds for a row."""
    shape = model.architecture
    widths = (model.encoder.design.width, *shape.hidden_layer_sizes)
    layers = codes_at_once(n_draws, shape.n_components) * max(widths)
    # To encode a row with gaps takes a matrix, whatever the number of draws.
    return max(layers, n_draws * numbers_per_draw, shape.n_components**2)


@torch.no_grad()
def _in_chunks(
    function: Callable[..., Tensor], numbers_per_row: int, *arrays: Tensor
) -> Tensor:
    size = max(1, CHUNK // numbers_per_row)
    chunks = zip(*(each.split(size) for each in arrays), strict=True)
    return torch.cat([function(*chunk) for chunk in chunks])
