"""Fisher divergence of the model's posterior from the prior, and its lower bounds.

They judge the posterior p(z|x) of the model itself, which the inverse-Lipschitz
constant governs; draws from a Gaussian close to it are reweighted.
"""

import torch
from torch import Tensor

from ..autoencoder import VariationalAutoencoder
from ..bounds import importance_log_weights
from ..likelihoods import CONTINUOUS, EMPTY
from .chunks import in_chunks, numbers_per_row


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

    return in_chunks(divergence, numbers_per_row(model, len(noise)), rows)


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
    size = numbers_per_row(model, len(noise), jacobian_size)
    return constant**2 * in_chunks(bound, size, rows)


def average_fisher_lower_bound(model: VariationalAutoencoder) -> float:
    """Return the Fisher divergence that L guarantees on average over model rows.

    ``E_{p(x)} F(x) ≥ n_components L² minⱼ Iⱼ`` with ``Iⱼ = E sⱼ²`` the information of
    a column about its parameter, which is the same for every z: ``1/σ²ⱼ`` of a
    Gaussian, ``(νⱼ + 1)/((νⱼ + 3)σ²ⱼ)`` of a Student t. Given z the scores have mean 0
    and the covariance ``diag(I)``, so that ``E‖Jᵀs‖² = E tr(Jᵀ diag(I) J) ≥ minⱼ Iⱼ
    E‖J‖²_F``, and J has n_components singular values of at least L. It holds for rows
    drawn from the model, and for a table as far as the model fits it.

    Parameters
    ----------
    model : VariationalAutoencoder
        A model whose columns are all Gaussian or Student t, or without any value.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        When there are other columns: the information of a binary one, for example,
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
    others = set(model.architecture.likelihood) - {*CONTINUOUS, EMPTY}
    if others:
        raise ValueError(
            "The averaged bound needs Gaussian or Student t columns only, got columns "
            f"of likelihood {', '.join(sorted(others))}. Use "
            "fisher_divergence_lower_bound, which holds row by row."
        )
    constant = model.decoder.inverse_lipschitz()
    least = float(model.likelihood.expected_information().detach().min())
    return model.architecture.n_components * constant**2 * least


def _posterior_scores(
    model: VariationalAutoencoder, rows: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return codes, weights under p(z|x), natural parameters with graph, scores s."""
    codes, log_weights = importance_log_weights(model, rows, noise)
    with torch.enable_grad():
        parameters = model.decoder(codes.requires_grad_())
    scores = model.likelihood.score(rows, parameters)
    return codes, log_weights.softmax(0), parameters, scores
