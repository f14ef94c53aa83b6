"""Missing values given the observed ones, by importance sampling.

Draws from a Gaussian close to the posterior given the observed values, and from the
prior, are reweighted to that posterior (Mattei & Frellsen, ICML 2019, Section 3.4).
"""

import torch
from torch import Tensor

from .autoencoder import VariationalAutoencoder
from .bounds import weighted_draws


def expected_rows(
    model: VariationalAutoencoder,
    rows: Tensor,
    noise: Tensor,
    shares: Tensor | None = None,
) -> Tensor:
    """Return ``E[x | x_observed]`` of every column, the most probable level for levels.

    Parameters
    ----------
    model : VariationalAutoencoder
        The model.
    rows : Tensor of shape (n_rows, n_features)
        Scaled rows, NaN where missing.
    noise : Tensor of shape (n_draws, n_components)
        Standard normal noise, shared by all rows.
    shares : Tensor of shape (n_statistics,), default=None
        For levels that stand for several, see `MixedLikelihood.decide`.

    Returns
    -------
    Tensor of shape (n_rows, n_features)
        By self-normalised importance sampling (Eq. 12).

    Examples
    --------
    >>> import torch
    >>> from sklearn_ilvae import vae
    >>> shape = vae.Architecture("anchored", 2, ("gaussian",) * 3, (8,), "elu", 0.1, 0)
    >>> model = vae.VariationalAutoencoder(shape, torch.eye(3)[:, :2])
    >>> rows = torch.tensor([[0.0, 1.0, torch.nan], [1.0, torch.nan, 2.0]])
    >>> noise = vae.shared_noise(50, 2, seed=0).float()
    >>> with torch.no_grad():
    ...     filled = vae.expected_rows(model, rows, noise)
    >>> bool(filled.isfinite().all())
    True
    """
    _, parameters, log_weights = weighted_draws(model, rows, noise)
    statistics = model.likelihood.statistics(parameters)
    weights = log_weights.softmax(0)[..., None]
    return model.likelihood.decide((weights * statistics).sum(0), shares)


def drawn_rows(
    model: VariationalAutoencoder,
    rows: Tensor,
    noise: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """Draw rows from ``p(x | x_observed)``, by sampling importance resampling.

    Parameters
    ----------
    model : VariationalAutoencoder
        The model.
    rows : Tensor of shape (n_rows, n_features)
        Scaled rows, NaN where missing.
    noise : Tensor of shape (n_draws, n_components)
        Standard normal noise, shared by all rows.
    generator : torch.Generator
        Source of the draws.

    Returns
    -------
    Tensor of shape (n_rows, n_features)
        Approximately from the conditional distribution, better with more noise.

    Examples
    --------
    >>> import torch
    >>> from sklearn_ilvae import vae
    >>> shape = vae.Architecture("anchored", 2, ("gaussian",) * 3, (8,), "elu", 0.1, 0)
    >>> model = vae.VariationalAutoencoder(shape, torch.eye(3)[:, :2])
    >>> rows = torch.tensor([[0.0, 1.0, torch.nan], [1.0, torch.nan, 2.0]])
    >>> noise = vae.shared_noise(50, 2, seed=0).float()
    >>> with torch.no_grad():
    ...     filled = vae.drawn_rows(model, rows, noise, torch.Generator())
    >>> bool(filled.isfinite().all())
    True
    """
    _, parameters, log_weights = weighted_draws(model, rows, noise)
    chosen = log_weights.softmax(0).T.multinomial(1, generator=generator)[:, 0]
    parameters = parameters[chosen, torch.arange(len(rows), device=rows.device)]
    return model.likelihood.sample(parameters, generator)
