"""The log-likelihood of rows by Laplace's approximation, as a sum over columns.

Bounds average over draws of the code. To compare rows, the mean of their code does as
well: it needs one pass through the decoder, no noise, and splits exactly.
"""

from dataclasses import dataclass
from math import log, pi

import torch
from torch import Tensor

from .autoencoder import VariationalAutoencoder
from .encoders import EncoderInputs


@dataclass(frozen=True)
class LikelihoodTerms:
    """An approximate log-likelihood of rows, split exactly.

    Parameters
    ----------
    columns : Tensor of shape (n_rows, n_features)
        ``log p(x_j | μ)`` of every column at the posterior mean μ of the code, in nats.
    latent : Tensor of shape (n_rows,)
        ``log p(μ) − log q(μ | x)``, in nats: the term of the code.
    due_to_gaps : Tensor of shape (n_rows,)
        The part of `latent` that is due to gaps, in nats. With gaps the posterior is
        wider, so its density at the mean is lower. 0 for rows without gaps.
    expected : Tensor of shape (n_rows, n_features)
        ``E[x_j | μ]``: the decoded code.
    coordinates : Tensor of shape (n_rows, n_parameters)
        The coordinates that the encoder used, with gaps filled in.

    Examples
    --------
    >>> import torch
    >>> from sklearn_ilvae import vae
    >>> shape = vae.Architecture("anchored", 2, ("gaussian",) * 3, (8,), "elu", 0.1, 0)
    >>> model = vae.VariationalAutoencoder(shape, torch.eye(3)[:, :2])
    >>> terms = vae.laplace_terms(model, torch.randn(10, 3))
    >>> terms.columns.shape, terms.total().shape
    (torch.Size([10, 3]), torch.Size([10]))
    """

    columns: Tensor
    latent: Tensor
    due_to_gaps: Tensor
    expected: Tensor
    coordinates: Tensor

    def total(self) -> Tensor:
        """Return the approximate log-likelihood of every row, in nats."""
        return self.columns.sum(1) + self.latent


def laplace_terms(
    model: VariationalAutoencoder, rows: Tensor, shares: Tensor | None = None
) -> LikelihoodTerms:
    """Split ``log p(x, μ) − log q(μ | x)`` of every row into columns and code.

    By Bayes' rule ``log p(x) = log p(x, z) − log p(z | x)`` at any code z. Laplace's
    approximation takes z where the posterior is highest, and a Gaussian for the
    posterior (Tierney & Kadane, JASA 1986, Section 2); here both are those of the
    encoder, ``q(z|x) = N(μ, diag s²)``. It is exact for a linear Gaussian model whose
    posterior the encoder knows. It is no bound.

    Parameters
    ----------
    model : VariationalAutoencoder
        The model.
    rows : Tensor of shape (n_rows, n_features)
        Standardised rows.
    shares : Tensor of shape (n_statistics,), default=None
        For the expected row: see `MixedLikelihood.decide`.

    Returns
    -------
    LikelihoodTerms

    Examples
    --------
    >>> import torch
    >>> from sklearn_ilvae import vae
    >>> shape = vae.Architecture("anchored", 2, ("gaussian",) * 3, (8,), "elu", 0.1, 0)
    >>> model = vae.VariationalAutoencoder(shape, torch.eye(3)[:, :2])
    >>> terms = vae.laplace_terms(model, torch.randn(10, 3))
    >>> terms.latent.shape
    torch.Size([10])
    """
    coordinates, increase = model.encoder.completed(rows)
    # Gaps widen the posterior by a term of its own.
    inputs = EncoderInputs(model.encoder.design.with_gaps(rows, coordinates), None)
    mean, log_variance = model.encoder.from_inputs(inputs)
    parameters = model.decoder(mean)
    columns = model.likelihood.column_log_prob(rows, parameters)
    volume = 0.5 * (log_variance + log(2 * pi)).sum(-1)
    due_to_gaps = (
        torch.zeros_like(volume) if increase is None else 0.5 * increase.sum(-1)
    )
    latent = model.prior.log_prob(mean) + volume + due_to_gaps
    expected = model.likelihood.mean(parameters, shares)
    return LikelihoodTerms(columns, latent, due_to_gaps, expected, coordinates)
