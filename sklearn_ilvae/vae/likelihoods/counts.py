"""Columns of counts: Poisson and negative binomial."""

from collections.abc import Sequence
from functools import cache
from math import log, pi
from typing import Any

import torch
from torch import Tensor, nn

from ..observed import observed_mean
from .heads import Head

LARGEST_LOG_RATE = 40.0
"""Limit of the logarithm of a rate: the square of its exponential must not overflow.

Adam squares gradients in float32. Counts up to 2⁵³, which float64 tells apart, lie far
below.
"""

LARGEST_LOG_SIZE = 60.0
"""Limit of the logarithm of a size, which must not overflow. Before it is reached, the
distribution is Poisson (large sizes) or all mass is at zero (small ones)."""

FAR_APART = 80.0
"""Log-ratios of count and rate from which their exponential counts as infinite.

It must not overflow in float32, and 1 beside it is far below rounding.
"""

FAR_ABOVE = 20.0
"""Ratio of a count and a rate that is far too low, and the least such count; also how
many standard deviations above it a count is far."""

SERIES_FROM = {torch.float32: (4.0, 3), torch.float64: (8.0, 8)}
"""From where on, and with how many terms, Stirling's series is exact to a rounding.

What it stands for is a difference of gamma functions and logarithms, which loses more.
"""

TABULATED = {torch.float32: (64, 1), torch.float64: (512, 2)}
"""Counts up to which factorials are tabulated, and how many terms suffice above.

So training takes the logarithm of a count, but neither gamma functions nor many terms.
"""

STIRLING = [
    *(1 / 12, -1 / 360, 1 / 1260, -1 / 1680),
    *(1 / 1188, -691 / 360360, 1 / 156, -3617 / 122400),
]
"""Coefficients of ``1/x``, ``1/x³``, … (Abramowitz & Stegun, 1964, Eq. 6.1.41)."""


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
        log_prob: Tensor = PoissonLogProb.apply(values, self._log_rate(natural))
        return log_prob

    def score(self, values: Tensor, natural: Tensor) -> Tensor:
        """Return ``∂ log p(x | f) / ∂f``."""
        beyond = natural + self.log_rate_offset > LARGEST_LOG_RATE
        return (values - self.statistics(natural)).masked_fill(beyond, 0)

    def curvature(self, values: Tensor, natural: Tensor) -> Tensor:
        """Return the rates; for counts far above, the mean slope of rates up to them.

        The rate grows e-fold with each unit of f: a Newton step by the rate where it is
        far too low leads too far by as much as the count exceeds it.
        """
        log_rate = self._log_rate(natural)
        rate = log_rate.exp()
        excess, log_ratio = values - rate, values.clamp(min=1).log() - log_rate
        far = values > FAR_ABOVE * rate.clamp(min=1)
        return torch.where(far, excess / log_ratio.clamp(min=1), rate)

    def variance(self, natural: Tensor) -> Tensor:
        """Return the variances of the counts."""
        return self.statistics(natural)

    def are_far_above(self, values: Tensor, natural: Tensor) -> Tensor:
        """Tell which counts lie many standard deviations above their rates."""
        deviation = self.variance(natural).clamp(min=1).sqrt()
        return values - self.statistics(natural) > FAR_ABOVE * deviation

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

    def _log_size(self) -> Tensor:
        return self.log_size.clamp(-LARGEST_LOG_SIZE, LARGEST_LOG_SIZE)

    def log_prob(self, values: Tensor, natural: Tensor) -> Tensor:
        """Return log p(x | f) in nats of every column."""
        log_rate, log_size = self._log_rate(natural), self._log_size()
        return NegativeBinomialLogProb.apply(values, log_rate, log_size)

    def score(self, values: Tensor, natural: Tensor) -> Tensor:
        """Return ``∂ log p(x | f) / ∂f``."""
        rate, size = self.statistics(natural), self._log_size().exp()
        return super().score(values, natural) * (size / (size + rate))

    def curvature(self, values: Tensor, natural: Tensor) -> Tensor:
        """Return that of a Poisson, times the factor of `score`.

        So it is the Fisher information too, but for counts far above their rates.
        """
        rate, size = self.statistics(natural), self._log_size().exp()
        return super().curvature(values, natural) * (size / (size + rate))

    def variance(self, natural: Tensor) -> Tensor:
        """Return the variances of the counts."""
        rate = self.statistics(natural)
        return rate + rate.square() / self._log_size().exp()

    def sample(self, natural: Tensor, generator: torch.Generator) -> Tensor:
        """Draw counts: Poisson, with rates from a gamma distribution."""
        rate = self.statistics(natural)
        size = self._log_size().exp()
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


class PoissonLogProb(torch.autograd.Function):
    """Log-probabilities of counts v, given the logarithms of the rates m.

    Half the deviance, ``m − v − v log(m / v)``, and what depends on v alone. The terms
    ``v log m``, m and log v! of a large count are each far larger than their sum.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, log_rate: Tensor) -> Tensor:
        """Return log p(v) in nats, of the shape that both broadcast to."""
        log_ratio, gap, remainder = compare(values, log_rate, log_rate.exp())
        ctx.save_for_backward(values, log_rate, gap)
        return log_ratio.mul_(values).sub_(gap).sub_(remainder)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        """Return the gradient in log m."""
        values, log_rate, gap = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative may be asked for
            gap = log_rate.exp() - values
        return None, (gradient * gap).neg_().sum_to_size(log_rate.shape)


class NegativeBinomialLogProb(torch.autograd.Function):
    """Log-probabilities of counts v, given the logarithms of rate m and size r.

    Written as Loader (2000, "Fast and accurate computation of binomial probabilities")
    does: by how far v lies from m, and by what Stirling's formula leaves of the gamma
    functions. Subtracted from each other, the gamma functions of large sizes or counts
    leave no digit in float32. The gradient by hand costs half of that by autograd.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, log_rate: Tensor, log_size: Tensor) -> Tensor:
        """Return log p(v) in nats, of the shape that all three broadcast to."""
        rate, size = log_rate.exp(), log_size.exp()
        log_ratio, gap, remainder = compare(values, log_rate, rate)
        # Logarithms of one plus a positive number, which lose no digits.
        excess = gap.abs() / (torch.minimum(values, rate) + size)
        growth = excess.log1p_().copysign_(gap)  # log((m + r) / (v + r))
        apart = log_ratio.abs()
        share = size / (torch.maximum(values, rate) + size)
        log_odds_ratio = (apart.clamp(max=FAR_APART).expm1_() * share).log1p_()
        log_odds_ratio += (apart - FAR_APART).clamp_(min=0)
        log_odds_ratio.copysign_(log_ratio)  # log(m (v + r) / (v (m + r)))
        total = values + size
        ctx.save_for_backward(
            values, log_rate, log_size, rate, size, total, gap, growth
        )
        constant = stirling_remainder(total) - stirling_remainder(size)
        constant -= 0.5 * (values / size).log1p() + remainder
        return (values * log_odds_ratio).addcmul_(size, growth, value=-1).add_(constant)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, Tensor]:
        """Return the gradients in log m and log r."""
        values, log_rate, log_size, rate, size, total, gap, growth = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative may be asked for
            rate, size = log_rate.exp(), log_size.exp()
            total, gap = values + size, rate - values
            growth = (gap / total).log1p()
        share = size / (size + rate)
        by_rate = (values - rate) * share
        slopes = size * (stirling_slope(total) - stirling_slope(size) - growth)
        by_size = slopes + 0.5 * values / total + gap * share
        return (
            None,
            (gradient * by_rate).sum_to_size(rate.shape),
            (gradient * by_size).sum_to_size(size.shape),
        )


def compare(
    values: Tensor, log_rate: Tensor, rate: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Compare counts v with rates m, from which they may differ by little.

    Parameters
    ----------
    values, log_rate, rate : Tensor
        The counts v, log m and m.

    Returns
    -------
    log_ratio : Tensor
        ``log(m / v)``; log m for a v of 0, which it counts 0 times.
    gap : Tensor
        ``m − v``, by way of the logarithm: the two nearly cancel.
    remainder : Tensor
        ``log v! − v log v + v``, exactly 0 for a v of 0.
    """
    most, n_terms = TABULATED[values.dtype]
    positive, present = values.clamp(min=1), values.clamp(max=1)
    log_positive = positive.log()
    log_ratio = log_rate - log_positive
    gap = log_ratio.expm1().mul_(values).addcmul_(rate, 1 - present)
    table = _beside_series(values.dtype, values.device)
    remainder = table.take(values.clamp(max=most).long())
    remainder += stirling_series(present / positive, n_terms)
    return log_ratio, gap, remainder.add_(log_positive, alpha=0.5)


@cache
def _beside_series(dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return ``log v! − (v + ½) log v + v`` less the series, of 0, 1, … `TABULATED`.

    The last is that of all larger counts. The first is 0, of a series that is 0 too.
    """
    most, n_terms = TABULATED[dtype]
    counts = torch.arange(1, most + 1, dtype=torch.float64)
    series = stirling_series(counts.reciprocal(), n_terms)
    beside = stirling_remainder(counts) - series + 0.5 * log(2 * pi)
    return nn.functional.pad(beside, (1, 0)).to(device, dtype)


def stirling_remainder(points: Tensor) -> Tensor:
    """Return ``log Γ(x) − (x − ½) log x + x − ½ log 2π``, of any x > 0.

    What Stirling's formula leaves.
    """
    series_from, n_terms = SERIES_FROM[points.dtype]
    few = points.clamp(max=series_from)
    exact = few.lgamma() - (few - 0.5) * few.log() + (few - 0.5 * log(2 * pi))
    series = stirling_series(points.reciprocal(), n_terms)
    return torch.where(points < series_from, exact, series)


def stirling_series(inverse: Tensor, n_terms: int) -> Tensor:
    """Return the first terms of Stirling's series, of 1/x."""
    return inverse * _polynomial(inverse.square(), STIRLING[:n_terms])


def stirling_slope(points: Tensor) -> Tensor:
    """Return the derivative of `stirling_remainder`."""
    series_from, n_terms = SERIES_FROM[points.dtype]
    few = points.clamp(max=series_from)
    exact = few.digamma() - few.log() + 0.5 / few
    slopes = [-(2 * k + 1) * STIRLING[k] for k in range(n_terms)]
    square = points.square().reciprocal()
    series = square * _polynomial(square, slopes)
    return torch.where(points < series_from, exact, series)


def _polynomial(x: Tensor, coefficients: Sequence[float]) -> Tensor | float:
    """Return ``c₀ + c₁ x + c₂ x² + …``; of c₀ alone the number."""
    total: Tensor | float = coefficients[-1]
    for coefficient in coefficients[-2::-1]:
        total = total * x + coefficient
    return total
