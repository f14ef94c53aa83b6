"""Lower bounds on the log-likelihood of rows, in nats.

All take standard normal `noise`, so that the caller decides what is random: fresh
noise to train, one fixed matrix shared by all rows to compare and to score.
"""

from math import log

import torch
from torch import Tensor

from .autoencoder import VariationalAutoencoder
from .encoders import EncoderInputs
from .observed import any_missing
from .posterior import fit_posterior
from .priors import StandardNormalPrior, standard_normal_log_prob

FITTED_DRAWS = 4
"""Draws from the Gaussian fitted to a row for each draw from the prior, if any."""


def shared_noise(n_draws: int, n_components: int, seed: int) -> Tensor:
    """Return standard normal noise that covers the space evenly.

    A scrambled Sobol sequence through the normal quantile function: every draw is
    standard normal, and averages over draws vary less than over independent ones
    (Owen, 1997), which matters because all rows share them.

    Parameters
    ----------
    n_draws, n_components : int
        Shape of the noise.
    seed : int
        Seed of the scrambling.

    Returns
    -------
    Tensor of shape (n_draws, n_components), float64

    Examples
    --------
    >>> from sklearn_ilvae.vae import shared_noise
    >>> shared_noise(100, 2, seed=0).shape
    torch.Size([100, 2])
    """
    sobol = torch.quasirandom.SobolEngine(n_components, scramble=True, seed=seed)
    uniform = sobol.draw(n_draws, dtype=torch.float64)
    # Torch gives the first point in its default precision.
    uniform[0] = sobol.shift.double() / 2**sobol.MAXBIT
    margin = torch.finfo(torch.float32).eps
    return torch.special.ndtri(uniform.clamp(margin, 1 - margin))


def evidence_lower_bound(
    model: VariationalAutoencoder,
    rows: Tensor,
    noise: Tensor,
    kl_weight: float = 1.0,
    inputs: EncoderInputs | None = None,
) -> Tensor:
    """Return ``E_q[log p(x|z)] − kl_weight · KL(q(z|x) ‖ p(z))`` of every row.

    Parameters
    ----------
    model : VariationalAutoencoder
        The model.
    rows : Tensor of shape (n_rows, n_features)
        Standardised rows.
    noise : Tensor of shape (n_rows or 1, n_components) or (n_draws, 1, n_components)
        Standard normal noise; the bound is averaged over draws.
    kl_weight : float, default=1
        Weight of the divergence (the β of Higgins et al., ICLR 2017).
    inputs : EncoderInputs, default=None
        What the encoder reads of the rows, where that is known already.

    Returns
    -------
    Tensor of shape (n_rows,)
        Kingma & Welling, ICLR 2014, Eq. 3; the divergence in closed form for the
        standard normal prior, on the same draws otherwise.

    Examples
    --------
    >>> import torch
    >>> from sklearn_ilvae import vae
    >>> shape = vae.Architecture("anchored", 2, ("gaussian",) * 3, (8,), "elu", 0.5, 0)
    >>> model = vae.VariationalAutoencoder(shape, torch.eye(3)[:, :2])
    >>> rows = torch.randn(10, 3, generator=torch.Generator().manual_seed(0))
    >>> vae.evidence_lower_bound(model, rows, torch.randn(10, 2)).shape
    torch.Size([10])
    """
    inputs = inputs or model.encoder.inputs(rows)
    mean, log_variance = model.encoder.from_inputs(inputs)
    codes = mean + (0.5 * log_variance).exp() * noise
    reconstruction = model.likelihood.log_prob(
        rows, model.decoder(codes), gaps=inputs.increase is not None
    )
    if isinstance(model.prior, StandardNormalPrior):
        divergence = model.prior.kl_divergence(mean, log_variance).sum(-1)
    else:
        posterior = standard_normal_log_prob(noise) - 0.5 * log_variance.sum(-1)
        divergence = posterior - model.prior.log_prob(codes)
    bound = reconstruction - kl_weight * divergence
    return bound.mean(0) if bound.ndim > 1 else bound


def importance_log_weights(
    model: VariationalAutoencoder, rows: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor]:
    """Return draws of the code and log-weights, whose exponentials average to p(x).

    They are drawn from q, a Gaussian fitted to the posterior of each row and a little
    wider, with weights ``p(x, z) / q(z|x)``. A row with gaps may be like several
    clusters of the prior, and one with Student t values far out may have several modes.
    The Gaussian finds one of them, so that a fifth of the draws for such rows come from
    the prior. The power heuristic combines the two (Veach & Guibas, SIGGRAPH 1995):
    where the Gaussian fits, draws from the prior add next to nothing, no noise either.
    What is drawn from is a constant for autograd: gradients reach decoder, likelihood
    and prior alone.

    Parameters
    ----------
    model : VariationalAutoencoder
        The model.
    rows : Tensor of shape (n_rows, n_features)
        Standardised rows.
    noise : Tensor of shape (n_draws, n_components)
        Standard normal noise, shared by all rows.

    Returns
    -------
    codes : Tensor of shape (n_draws, n_rows, n_components)
    log_weights : Tensor of shape (n_draws, n_rows)

    Examples
    --------
    >>> import torch
    >>> from sklearn_ilvae import vae
    >>> shape = vae.Architecture("anchored", 2, ("gaussian",) * 3, (8,), "elu", 0.5, 0)
    >>> model = vae.VariationalAutoencoder(shape, torch.eye(3)[:, :2])
    >>> rows = torch.randn(10, 3, generator=torch.Generator().manual_seed(0))
    >>> noise = vae.shared_noise(50, 2, seed=0).float()
    >>> codes, log_weights = vae.importance_log_weights(model, rows, noise)
    >>> codes.shape, log_weights.shape
    (torch.Size([50, 10, 2]), torch.Size([50, 10]))
    """
    codes, _, log_weights = weighted_draws(model, rows, noise)
    return codes, log_weights


def weighted_draws(
    model: VariationalAutoencoder, rows: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return what `importance_log_weights` does, and what the codes are decoded to.

    The natural parameters (n_draws, n_rows, n_parameters) come second.
    """
    gaps = any_missing(rows)
    fitted = fit_posterior(model, rows, gaps).broadened()
    codes = fitted.draw(noise)
    log_density = fitted.log_prob(noise[:, None])
    n_draws = len(noise)
    several = fitted.unsettled
    if gaps:
        several = several | rows.isnan().any(-1)
    n_apart = n_draws // (FITTED_DRAWS + 1) if several.any() else 0
    if n_apart:
        last = torch.arange(n_draws, device=rows.device) >= n_draws - n_apart
        with torch.no_grad():
            # Even steps choose the Gaussians of a mixture. Other noise would not do:
            # points of Sobol's sequence resemble those a power of two before them, but
            # cover the space together with their numbers (Hammersley, 1960). The start
            # is the last digits of a point: others share the first.
            start = (2**12 * torch.special.ndtr(noise[0, 0])).frac()
            steps = torch.arange(n_draws).to(noise)
            uniform = ((steps + start) / n_apart).frac()
            anywhere = model.prior.draw(noise, uniform)
        apart = (last[:, None] & several)[..., None]
        codes = torch.where(apart, anywhere[:, None], codes)
    parameters = model.decoder(codes)
    log_prior = model.prior.log_prob(codes)
    if n_apart:
        where = several.nonzero()[:, 0]
        part, drawn = fitted.at(where), codes[:, where]
        by_fitted = part.log_prob(part.noise_of(drawn)) + log(1 - n_apart / n_draws)
        by_prior = log_prior[:, where].detach() + log(n_apart / n_draws)
        own = torch.where(last[:, None], by_prior, by_fitted)
        combined = torch.logaddexp(2 * by_fitted, 2 * by_prior) - own
        log_density = log_density.index_copy(1, where, combined)
    log_likelihood = model.likelihood.log_prob(rows, parameters, gaps)
    return codes, parameters, log_likelihood + log_prior - log_density


def importance_weighted_bound(
    model: VariationalAutoencoder, rows: Tensor, noise: Tensor
) -> Tensor:
    """Return the importance-weighted bound on log p(x) of every row.

    Parameters
    ----------
    model : VariationalAutoencoder
        The model.
    rows : Tensor of shape (n_rows, n_features)
        Standardised rows.
    noise : Tensor of shape (n_draws, n_components)
        Standard normal noise, shared by all rows.

    Returns
    -------
    Tensor of shape (n_rows,)
        Burda, Grosse & Salakhutdinov, ICLR 2016, Eq. 8. It rises to log p(x) with
        the number of draws.

    Examples
    --------
    >>> import torch
    >>> from sklearn_ilvae import vae
    >>> shape = vae.Architecture("anchored", 2, ("gaussian",) * 3, (8,), "elu", 0.5, 0)
    >>> model = vae.VariationalAutoencoder(shape, torch.eye(3)[:, :2])
    >>> rows = torch.randn(10, 3, generator=torch.Generator().manual_seed(0))
    >>> noise = vae.shared_noise(50, 2, seed=0).float()
    >>> vae.importance_weighted_bound(model, rows, noise).shape
    torch.Size([10])
    """
    _, log_weights = importance_log_weights(model, rows, noise)
    return log_weights.logsumexp(0) - log(len(noise))
