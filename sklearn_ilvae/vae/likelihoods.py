"""Likelihood of a row given the natural parameters that a decoder returns."""

from collections.abc import Sequence
from math import log, pi

import torch
from torch import Tensor, nn
from torch.nn import functional

VARIANCE_FLOOR = 1e-2
"""Least noise variance, in units of the standardised column.

Without it a column that the decoder can copy drives its variance to zero, and the
likelihood to infinity.
"""


class MixedLikelihood(nn.Module):
    """Independent Gaussian and Bernoulli columns.

    A Gaussian column has mean ``f_j`` and a learned variance; a Bernoulli column has
    logit ``f_j + b_j`` with a learned offset, and any positive value stands for 1.

    Parameters
    ----------
    binary : sequence of bool, length n_features
        Which columns are Bernoulli.
    """

    binary_columns: Tensor
    gaussian_columns: Tensor

    def __init__(self, binary: Sequence[bool]) -> None:
        super().__init__()
        mask = torch.as_tensor(binary, dtype=torch.bool)
        self.n_features = len(mask)
        self.any_binary = bool(mask.any())
        self.any_gaussian = not bool(mask.all())
        self.register_buffer("binary_columns", mask.nonzero()[:, 0])
        self.register_buffer("gaussian_columns", (~mask).nonzero()[:, 0])
        n_binary = int(mask.sum())
        self.raw_variance = nn.Parameter(torch.zeros(self.n_features - n_binary))
        self.logit_offset = nn.Parameter(torch.zeros(n_binary))

    def variance(self) -> Tensor:
        """Return the noise variances of the Gaussian columns."""
        return VARIANCE_FLOOR + self.raw_variance.exp()

    @torch.no_grad()
    def start_at(self, variance: Tensor, frequency: Tensor) -> None:
        """Set the noise variances and the frequencies of ones (both all columns)."""
        excess = (variance[self.gaussian_columns] - VARIANCE_FLOOR).clamp(min=1e-4)
        self.raw_variance.copy_(excess.log())
        self.logit_offset.copy_(torch.logit(frequency[self.binary_columns], eps=1e-4))

    def _gaussian(self, values: Tensor) -> Tensor:
        return values[..., self.gaussian_columns] if self.any_binary else values

    def log_prob(self, rows: Tensor, parameters: Tensor) -> Tensor:
        """Return log p(x | f) in nats, summed over columns: shape (…,)."""
        total = rows.new_zeros(())
        if self.any_gaussian:
            variance = self.variance()
            squares = (self._gaussian(rows) - self._gaussian(parameters)).square()
            constant = variance.log().sum() + len(variance) * log(2 * pi)
            total = total - 0.5 * (squares @ variance.reciprocal() + constant)
        if self.any_binary:
            logits = parameters[..., self.binary_columns] + self.logit_offset
            ones = (rows[..., self.binary_columns] > 0).to(logits.dtype)
            total = total + (ones * logits - functional.softplus(logits)).sum(-1)
        return total

    def column_log_prob(self, rows: Tensor, parameters: Tensor) -> Tensor:
        """Return log p(x_j | f) in nats of every column: shape of parameters."""
        terms = torch.empty_like(parameters)
        if self.any_gaussian:
            variance = self.variance()
            squares = (self._gaussian(rows) - self._gaussian(parameters)).square()
            gaussian = -0.5 * (squares / variance + (2 * pi * variance).log())
            terms[..., self.gaussian_columns] = gaussian
        if self.any_binary:
            logits = parameters[..., self.binary_columns] + self.logit_offset
            ones = (rows[..., self.binary_columns] > 0).to(logits.dtype)
            terms[..., self.binary_columns] = ones * logits - functional.softplus(
                logits
            )
        return terms

    def score(self, rows: Tensor, parameters: Tensor) -> Tensor:
        """Return ``∂ log p(x | f) / ∂f``, the residual T(x) − ∇A in natural units."""
        score = torch.empty_like(parameters)
        if self.any_gaussian:
            residuals = self._gaussian(rows) - self._gaussian(parameters)
            score[..., self.gaussian_columns] = residuals / self.variance()
        if self.any_binary:
            logits = parameters[..., self.binary_columns] + self.logit_offset
            ones = (rows[..., self.binary_columns] > 0).to(logits.dtype)
            score[..., self.binary_columns] = ones - torch.sigmoid(logits)
        return score

    def mean(self, parameters: Tensor) -> Tensor:
        """Return the expected row: the mean, or the probability of a one."""
        if not self.any_binary:
            return parameters
        mean = parameters.clone()
        logits = parameters[..., self.binary_columns] + self.logit_offset
        mean[..., self.binary_columns] = torch.sigmoid(logits)
        return mean

    def sample(self, parameters: Tensor, generator: torch.Generator) -> Tensor:
        """Draw one row for each row of parameters."""
        drawn = self.mean(parameters).clone()
        if self.any_gaussian:
            mean = drawn[..., self.gaussian_columns]
            noise = torch.empty_like(mean).normal_(generator=generator)
            drawn[..., self.gaussian_columns] = mean + self.variance().sqrt() * noise
        if self.any_binary:
            columns = self.binary_columns
            drawn[..., columns] = drawn[..., columns].bernoulli(generator=generator)
        return drawn
