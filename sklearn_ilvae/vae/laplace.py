"""The log-likelihood of rows by Laplace's approximation, as a sum over columns.

Bounds average over draws of the code. To compare rows, the mean of their code does as
well: it needs one pass through the decoder, no noise, and splits exactly.
"""

from dataclasses import dataclass
from math import log, pi

from torch import Tensor

from .autoencoder import VariationalAutoencoder


@dataclass(frozen=True)
class LikelihoodTerms:
    """An approximate log-likelihood of rows, split exactly.

    Parameters
    ----------
    columns : Tensor of shape (n_rows, n_features)
        ``log p(x_j | μ)`` of every column at the posterior mean μ of the code, in nats.
    latent : Tensor of shape (n_rows,)
        ``log p(μ) − log q(μ | x)``, in nats: what it takes to single out the code.
    expected : Tensor of shape (n_rows, n_features)
        ``E[x_j | μ]``: the row that the code stands for.

    Examples
    --------
    >>> import torch
    >>> columns, latent = torch.tensor([[-1.0, -2.0]]), torch.tensor([-0.5])
    >>> terms = LikelihoodTerms(columns, latent, expected=torch.zeros(1, 2))
    >>> float(terms.total())
    -3.5
    """

    columns: Tensor
    latent: Tensor
    expected: Tensor

    def total(self) -> Tensor:
        """Return the approximate log-likelihood of every row, in nats."""
        return self.columns.sum(1) + self.latent


def laplace_terms(model: VariationalAutoencoder, rows: Tensor) -> LikelihoodTerms:
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

    Returns
    -------
    LikelihoodTerms

    Examples
    --------
    >>> import torch
    >>> from sklearn.datasets import load_wine
    >>> from sklearn_ilvae import ILVAETransformer
    >>> from sklearn_ilvae.vae import laplace_terms
    >>> model = ILVAETransformer(n_components=2, max_iter=5, random_state=0)
    >>> model = model.fit(load_wine().data)
    >>> rows = torch.zeros(3, 13)
    >>> laplace_terms(model.module_, rows).columns.shape
    torch.Size([3, 13])
    """
    mean, log_variance = model.encoder(rows)
    parameters = model.decoder(mean)
    columns = model.likelihood.column_log_prob(rows, parameters)
    volume = 0.5 * (log_variance + log(2 * pi)).sum(-1)
    latent = model.prior.log_prob(mean) + volume
    return LikelihoodTerms(columns, latent, model.likelihood.mean(parameters))
