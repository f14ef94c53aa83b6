"""Gaussian and Student-t columns."""

from math import log, pi

import torch
from torch import Tensor, nn

from .heads import Head

VARIANCE_FLOOR = 1e-2
"""Least noise variance, in units of the standardised column.

Without it a column that the decoder can copy drives its variance to zero, and the
likelihood to infinity.
"""

LEAST_FREEDOM = 1.0
STARTING_FREEDOM = 5.0

LARGEST_LOG_FREEDOM = log(1000.0)
"""Limit of the logarithm of the degrees of freedom.

Close to a Gaussian they would grow without end. The difference of gamma functions in
the density then cancels, and is rounded to 1e-4 in float32 at this limit.
"""


class GaussianHead(Head):
    """Columns of mean ``f_j`` and a learned variance.

    Parameters
    ----------
    n_columns : int
        Number of columns.
    """

    def __init__(self, n_columns: int) -> None:
        super().__init__(n_columns)
        self.raw_variance = nn.Parameter(torch.zeros(n_columns))

    def variance(self) -> Tensor:
        """Return the noise variances."""
        return VARIANCE_FLOOR + self.raw_variance.exp()

    def log_prob(self, values: Tensor, natural: Tensor) -> Tensor:
        """Return log p(x | f) in nats of every column."""
        variance = self.variance()
        squares = (values - natural).square()
        constant = -0.5 * (2 * pi * variance).log()
        return torch.addcmul(constant, squares, -0.5 / variance)

    def total_log_prob(self, values: Tensor, natural: Tensor) -> Tensor:
        """Return log p(x | f) in nats, summed over columns: one product, not many."""
        variance = self.variance()
        squares = (values - natural).square()
        constant = variance.log().sum() + len(variance) * log(2 * pi)
        return -0.5 * (squares @ variance.reciprocal() + constant)

    def score(self, values: Tensor, natural: Tensor) -> Tensor:
        """Return ``∂ log p(x | f) / ∂f``."""
        return (values - natural) / self.variance()

    def curvature(self, values: Tensor, natural: Tensor) -> Tensor:
        """Return the precisions of the noise."""
        return self.variance().reciprocal()

    def expected_information(self) -> Tensor:
        """Return ``E s²`` of the score s of every column, for values drawn given f."""
        return self.variance().reciprocal()

    def statistics(self, natural: Tensor) -> Tensor:
        """Return the means."""
        return natural

    def sample(self, natural: Tensor, generator: torch.Generator) -> Tensor:
        """Draw one value a column."""
        noise = torch.empty_like(natural).normal_(generator=generator)
        return natural + self.variance().sqrt() * noise

    @torch.no_grad()
    def start_at(self, noise: Tensor, values: Tensor, shares: Tensor) -> None:
        """Set the noise variances."""
        excess = (noise - VARIANCE_FLOOR).clamp(min=1e-4)
        self.raw_variance.copy_(excess.log())


class StudentTHead(Head):
    """Columns of median ``f_j``, with learned scale and degrees of freedom.

    A value far out costs its logarithm, not its square: columns that rarely leave a
    narrow range, but then far, do not set the noise of all rows.

    Parameters
    ----------
    n_columns : int
        Number of columns.
    """

    def __init__(self, n_columns: int) -> None:
        super().__init__(n_columns)
        self.raw_variance = nn.Parameter(torch.zeros(n_columns))
        excess = torch.full((n_columns,), STARTING_FREEDOM - LEAST_FREEDOM)
        self.log_freedom = nn.Parameter(excess.log())

    def squared_scale(self) -> Tensor:
        """Return the squares of the scales."""
        return VARIANCE_FLOOR + self.raw_variance.exp()

    def freedom(self) -> Tensor:
        """Return the degrees of freedom, more than 1, so that there is a mean."""
        return LEAST_FREEDOM + self.log_freedom.clamp(max=LARGEST_LOG_FREEDOM).exp()

    def log_prob(self, values: Tensor, natural: Tensor) -> Tensor:
        """Return log p(x | f) in nats of every column."""
        heights, weights, logarithms = self._terms(values, natural)
        return torch.addcmul(heights, weights, logarithms, value=-1)

    def total_log_prob(self, values: Tensor, natural: Tensor) -> Tensor:
        """Return log p(x | f) in nats, summed over columns: one product, not many."""
        heights, weights, logarithms = self._terms(values, natural)
        return heights.sum() - logarithms @ weights

    def _terms(self, values: Tensor, natural: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the largest log-densities, then what falls off them, and how fast."""
        scale, freedom = self.squared_scale(), self.freedom()
        spread = freedom * scale
        heights = (
            torch.lgamma(0.5 * (freedom + 1))
            - torch.lgamma(0.5 * freedom)
            - 0.5 * (pi * spread).log()
        )
        squares = (values - natural).square()
        return heights, 0.5 * (freedom + 1), (squares / spread).log1p()

    def score(self, values: Tensor, natural: Tensor) -> Tensor:
        """Return ``∂ log p(x | f) / ∂f``."""
        scale, freedom = self.squared_scale(), self.freedom()
        residuals = values - natural
        return (freedom + 1) * residuals / (freedom * scale + residuals.square())

    def curvature(self, values: Tensor, natural: Tensor) -> Tensor:
        """Return positive substitutes, small far out, with the right mean.

        They are the weights of a Student t in Gaussians (Lange, Little & Taylor, JASA
        1989), whose mean is 1/σ², times what makes it that of `expected_information`.
        """
        scale, freedom = self.squared_scale(), self.freedom()
        weights = (freedom + 1) / (freedom * scale + (values - natural).square())
        return (freedom + 1) / (freedom + 3) * weights

    def expected_information(self) -> Tensor:
        """Return ``E s²`` of the score s of every column, for values drawn given f.

        ``(ν + 1) / ((ν + 3) σ²)`` (Lange, Little & Taylor, JASA 1989, Appendix B).
        """
        freedom = self.freedom()
        return (freedom + 1) / ((freedom + 3) * self.squared_scale())

    def statistics(self, natural: Tensor) -> Tensor:
        """Return the means, which are the medians."""
        return natural

    def sample(self, natural: Tensor, generator: torch.Generator) -> Tensor:
        """Draw one value a column, by the polar method of Bailey (1994)."""
        first, second = torch.empty_like(natural), torch.empty_like(natural)
        radius = 1 - first.uniform_(generator=generator)  # in (0, 1]
        angle = 2 * pi * second.uniform_(generator=generator)
        freedom = self.freedom()
        size = (freedom * torch.expm1(-2 / freedom * radius.log())).sqrt()
        return natural + self.squared_scale().sqrt() * size * angle.cos()

    @torch.no_grad()
    def start_at(self, noise: Tensor, values: Tensor, shares: Tensor) -> None:
        """Set the scales that give the columns their noise variances."""
        scale = noise * (STARTING_FREEDOM - 2) / STARTING_FREEDOM
        self.raw_variance.copy_((scale - VARIANCE_FLOOR).clamp(min=1e-4).log())
        self.log_freedom.fill_(log(STARTING_FREEDOM - LEAST_FREEDOM))
