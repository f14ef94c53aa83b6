"""Columns with finitely many levels: Bernoulli, categorical, ordered."""

from math import sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..observed import level_frequencies, observed_mean
from .heads import Head

LEAST_GAP = 1e-3
"""Least distance of neighbouring thresholds: a level never gets probability zero."""


class BernoulliHead(Head):
    """Columns of logit ``f_j + b_j`` with a learned offset; positive stands for 1.

    Parameters
    ----------
    n_columns : int
        Number of columns.
    """

    def __init__(self, n_columns: int) -> None:
        super().__init__(n_columns)
        self.logit_offset = nn.Parameter(torch.zeros(n_columns))

    def log_prob(self, values: Tensor, natural: Tensor) -> Tensor:
        """Return log p(x | f) in nats of every column."""
        logits = natural + self.logit_offset
        return (values > 0).to(logits) * logits - functional.softplus(logits)

    def score(self, values: Tensor, natural: Tensor) -> Tensor:
        """Return ``∂ log p(x | f) / ∂f``."""
        logits = natural + self.logit_offset
        return (values > 0).to(logits) - torch.sigmoid(logits)

    def curvature(self, values: Tensor, natural: Tensor) -> Tensor:
        """Return the variances."""
        return bernoulli_variance(natural + self.logit_offset)

    def statistics(self, natural: Tensor) -> Tensor:
        """Return the probabilities of ones."""
        return torch.sigmoid(natural + self.logit_offset)

    def sample(self, natural: Tensor, generator: torch.Generator) -> Tensor:
        """Draw zeros and ones."""
        return self.statistics(natural).bernoulli(generator=generator)

    @torch.no_grad()
    def start_at(self, noise: Tensor, values: Tensor, shares: Tensor) -> None:
        """Set the offsets to the frequencies of ones."""
        ones = (values > 0).to(values).masked_fill(values.isnan(), torch.nan)
        frequency = observed_mean(ones, shares)
        self.logit_offset.copy_(torch.logit(frequency, eps=1e-4))


def zero_sum_logits(coordinates: Tensor) -> Tensor:
    """Map K − 1 coordinates to K logits that sum to zero, keeping distances.

    A softmax over K free logits does not change when all of them move together: a
    decoder could keep codes apart in that direction without a trace in the data. The
    logits that sum to zero have no such direction, and in orthonormal coordinates of
    them a distance between parameters is a distance between logits.

    Parameters
    ----------
    coordinates : Tensor of shape (…, K − 1)
        Coordinates in an orthonormal basis.

    Returns
    -------
    Tensor of shape (…, K)
    """
    root = sqrt(coordinates.shape[-1] + 1)
    total = coordinates.sum(-1, keepdim=True)
    return torch.cat([coordinates - total / (root + root**2), -total / root], dim=-1)


def zero_sum_basis(n_levels: int) -> Tensor:
    """Return the orthonormal basis (n_levels, n_levels − 1) of `zero_sum_logits`."""
    return zero_sum_logits(torch.eye(n_levels - 1, dtype=torch.float64)).T


class LevelsHead(Head):
    """Columns whose statistics are the probabilities of their levels."""

    def decide(self, statistics: Tensor) -> Tensor:
        """Return the first most probable level of every column."""
        return self._of_levels(statistics).argmax(-1).to(statistics)

    def sample(self, natural: Tensor, generator: torch.Generator) -> Tensor:
        """Draw levels."""
        cumulative = self._of_levels(self.statistics(natural)).cumsum(-1)
        uniform = cumulative.new_empty(cumulative.shape[:-1])
        # Scaled by the last sum, which rounding keeps from being 1.
        point = uniform.uniform_(generator=generator) * cumulative[..., -1]
        drawn = (point[..., None] >= cumulative).sum(-1)
        return drawn.clamp(max=self.n_statistics - 1).to(cumulative)

    def _of_levels(self, statistics: Tensor) -> Tensor:
        """Return the statistics (…, n_columns, n_levels)."""
        return statistics.unflatten(-1, (self.n_columns, self.n_statistics))


class CategoricalHead(LevelsHead):
    """Columns of K unordered levels, with the zero-sum logits of ``f + b``.

    Parameters
    ----------
    n_columns, n_levels : int
        Number of columns, and of levels in each: K.
    """

    def __init__(self, n_columns: int, n_levels: int) -> None:
        super().__init__(n_columns, n_levels - 1, n_levels)
        self.logit_offset = nn.Parameter(torch.zeros(n_columns, n_levels - 1))

    def _logits(self, natural: Tensor) -> Tensor:
        blocks = natural.unflatten(-1, (self.n_columns, self.width))
        return zero_sum_logits(blocks + self.logit_offset)

    def log_prob(self, values: Tensor, natural: Tensor) -> Tensor:
        """Return log p(x | f) in nats of every column."""
        log_probabilities = self._logits(natural).log_softmax(-1)
        return gather_levels(log_probabilities, values)

    def score(self, values: Tensor, natural: Tensor) -> Tensor:
        """Return ``∂ log p(x | f) / ∂f``."""
        probabilities = self._logits(natural).softmax(-1)
        chosen = functional.one_hot(values.long(), self.n_statistics)
        basis = zero_sum_basis(self.n_statistics).to(natural)
        return ((chosen.to(natural) - probabilities) @ basis).flatten(-2)

    def scaled_slopes(self, values: Tensor, natural: Tensor, slopes: Tensor) -> Tensor:
        """Return the slopes of the logits, centred and scaled by their probabilities.

        So that their products are those of the covariance of the levels,
        ``diag(p) − ppᵀ``.
        """
        probabilities = self._logits(natural).softmax(-1)
        logits = zero_sum_logits(slopes.unflatten(-1, (self.n_columns, self.width)))
        centred = logits - (probabilities * logits).sum(-1, keepdim=True)
        return (centred * probabilities.sqrt()).flatten(-2)

    def statistics(self, natural: Tensor) -> Tensor:
        """Return the probabilities of all levels."""
        return self._logits(natural).softmax(-1).flatten(-2)

    @torch.no_grad()
    def start_at(self, noise: Tensor, values: Tensor, shares: Tensor) -> None:
        """Set the offsets to the frequencies of the levels."""
        frequencies = level_frequencies(values, shares, self.n_statistics)
        offsets = frequencies.log() @ zero_sum_basis(self.n_statistics).to(frequencies)
        self.logit_offset.copy_(offsets)


class OrdinalHead(LevelsHead):
    """Columns of K ordered levels: ``P(x ≤ k) = σ(c_k − f)``, with learned thresholds.

    The cumulative logit model of McCullagh (1980).

    Parameters
    ----------
    n_columns, n_levels : int
        Number of columns, and of levels in each: K ≥ 2.
    """

    def __init__(self, n_columns: int, n_levels: int) -> None:
        super().__init__(n_columns, 1, n_levels)
        self.threshold = nn.Parameter(torch.zeros(n_columns, 1))
        self.log_gap = nn.Parameter(torch.zeros(n_columns, n_levels - 2))

    def thresholds(self) -> Tensor:
        """Return the thresholds, in increasing order: (n_columns, n_levels − 1)."""
        gaps = LEAST_GAP + self.log_gap.exp()
        return torch.cat([self.threshold, self.threshold + gaps.cumsum(-1)], dim=-1)

    def _log_probabilities(self, natural: Tensor) -> Tensor:
        thresholds = self.thresholds()
        shifted = thresholds - natural[..., None]
        # σ(b) − σ(a) = σ(b) σ(−a) (1 − exp(a − b)), which does not cancel.
        below = functional.pad(functional.logsigmoid(shifted), (0, 1))
        above = functional.pad(functional.logsigmoid(-shifted), (1, 0))
        between = torch.log(-torch.expm1(-thresholds.diff(dim=-1)))
        return below + above + functional.pad(between, (1, 1))

    def log_prob(self, values: Tensor, natural: Tensor) -> Tensor:
        """Return log p(x | f) in nats of every column."""
        return gather_levels(self._log_probabilities(natural), values)

    def score(self, values: Tensor, natural: Tensor) -> Tensor:
        """Return ``∂ log p(x | f) / ∂f``."""
        shifted = self.thresholds() - natural[..., None]
        scores = functional.pad(torch.sigmoid(shifted), (1, 0)) - functional.pad(
            torch.sigmoid(-shifted), (0, 1)
        )
        return gather_levels(scores, values)

    def curvature(self, values: Tensor, natural: Tensor) -> Tensor:
        """Return the negative curvature, which is that of the two thresholds beside."""
        variances = bernoulli_variance(self.thresholds() - natural[..., None])
        beside = functional.pad(variances, (1, 0)) + functional.pad(variances, (0, 1))
        return gather_levels(beside, values)

    def statistics(self, natural: Tensor) -> Tensor:
        """Return the probabilities of all levels."""
        return self._log_probabilities(natural).exp().flatten(-2)

    @torch.no_grad()
    def start_at(self, noise: Tensor, values: Tensor, shares: Tensor) -> None:
        """Set the thresholds to the frequencies of the levels."""
        frequencies = level_frequencies(values, shares, self.n_statistics)
        thresholds = torch.logit(frequencies.cumsum(-1)[:, :-1])
        self.threshold.copy_(thresholds[:, :1])
        gaps = thresholds.diff(dim=-1) - LEAST_GAP
        self.log_gap.copy_(gaps.clamp(min=LEAST_GAP).log())


def bernoulli_variance(logits: Tensor) -> Tensor:
    """Return ``p (1 − p)`` of the probabilities with these logits."""
    return torch.sigmoid(logits) * torch.sigmoid(-logits)


def gather_levels(table: Tensor, values: Tensor) -> Tensor:
    """Return the entry of each value's level: (…, n_levels) and (…) to (…)."""
    shape = torch.broadcast_shapes(table.shape[:-1], values.shape)
    index = values.long().expand(shape)[..., None]
    return table.expand(*shape, table.shape[-1]).gather(-1, index)[..., 0]
