"""Columns of counts: Poisson and negative binomial."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from .heads import Head, observed_mean

LARGEST_LOG_RATE = 30.0
"""Above it a rate stays as it is: an exponential must not overflow."""


class PoissonHead(Head):
    """Counts of log-rate ``f_j + b_j`` with a learned offset.

    Parameters
    ----------
    n_columns : int
        Number of columns.
    """

    def __init__(self, n_columns: int) -> None:
        super().__init__(n_columns)
        self.log_rate_offset = nn.Parameter(torch.zeros(n_columns))

    def _log_rate(self, natural: Tensor) -> Tensor:
        return (natural + self.log_rate_offset).clamp(max=LARGEST_LOG_RATE)

    def log_prob(self, values: Tensor, natural: Tensor) -> Tensor:
        """Return log p(x | f) in nats of every column."""
        log_rate = self._log_rate(natural)
        return values * log_rate - log_rate.exp() - torch.lgamma(values + 1)

    def score(self, values: Tensor, natural: Tensor) -> Tensor:
        """Return ``∂ log p(x | f) / ∂f``."""
        return values - self.statistics(natural)

    def statistics(self, natural: Tensor) -> Tensor:
        """Return the expected counts."""
        return self._log_rate(natural).exp()

    def sample(self, natural: Tensor, generator: torch.Generator) -> Tensor:
        """Draw counts."""
        return torch.poisson(self.statistics(natural), generator=generator)

    @torch.no_grad()
    def start_at(self, noise: Tensor, values: Tensor, shares: Tensor) -> None:
        """Set the offsets to the mean counts."""
        self.log_rate_offset.copy_(observed_mean(values, shares).clamp(min=1e-3).log())


class NegativeBinomialHead(PoissonHead):
    """Counts of mean ``m = exp(f_j + b_j)`` and variance ``m + m²/r``, r learned.

    The natural parameter is ``f_j + b_j − log(r + m)``; f is the logarithm of the odds
    of one count more, m/r, up to an offset.

    Parameters
    ----------
    n_columns : int
        Number of columns.
    """

    def __init__(self, n_columns: int) -> None:
        super().__init__(n_columns)
        self.log_size = nn.Parameter(torch.zeros(n_columns))

    def log_prob(self, values: Tensor, natural: Tensor) -> Tensor:
        """Return log p(x | f) in nats of every column."""
        size = self.log_size.exp()
        odds = self._log_rate(natural) - self.log_size
        constant = (
            torch.lgamma(values + size) - torch.lgamma(size) - torch.lgamma(values + 1)
        )
        return constant + values * odds - (values + size) * functional.softplus(odds)

    def score(self, values: Tensor, natural: Tensor) -> Tensor:
        """Return ``∂ log p(x | f) / ∂f``."""
        size = self.log_size.exp()
        odds = self._log_rate(natural) - self.log_size
        return values - (values + size) * torch.sigmoid(odds)

    def sample(self, natural: Tensor, generator: torch.Generator) -> Tensor:
        """Draw counts: Poisson, with rates from a gamma distribution."""
        rate = self.statistics(natural)
        size = self.log_size.exp()
        gamma = torch._standard_gamma(size.expand_as(rate), generator=generator)
        return torch.poisson(rate * gamma / size, generator=generator)

    @torch.no_grad()
    def start_at(self, noise: Tensor, values: Tensor, shares: Tensor) -> None:
        """Set mean and variance to those of the columns."""
        super().start_at(noise, values, shares)
        mean = observed_mean(values, shares).clamp(min=1e-3)
        variance = observed_mean((values - mean).square(), shares)
        size = mean.square() / (variance - mean).clamp(min=1e-3)
        self.log_size.copy_(size.clamp(0.1, 1e3).log())
