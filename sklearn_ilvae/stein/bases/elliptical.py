"""The score of a Gaussian, and what that of a Student t shares with it."""

from dataclasses import dataclass, field, replace
from typing import Self

import torch
from torch import Tensor

from ..products import inner_products


@dataclass(frozen=True)
class Elliptical:
    """A center ``μ`` and a precision ``P`` in coordinates of unit scale.

    Attributes
    ----------
    mean : Tensor of shape (d,)
    precision : Tensor of shape (d, d) or (d,)
        The ``P``; or, where a sample has no more rows than columns, the diagonal ``D``
        of ``P = D − FᵀF``.
    factor : Tensor of shape (k, d) or None
        The ``F``.
    """

    mean: Tensor
    precision: Tensor
    factor: Tensor | None = field(default=None, kw_only=True)

    def pull(self, U: Tensor) -> Tensor:
        """Return ``P (u − μ)`` of shape (n, d)."""
        difference = U - self.mean
        if self.factor is None:
            return difference @ self.precision
        along = difference @ self.factor.T
        return (difference * self.precision).addmm_(along, self.factor, alpha=-1.0)

    def pull_and_distance(self, U: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``P (u − μ)`` and ``(u − μ)ᵀ P (u − μ)`` of shape (n,)."""
        pull = self.pull(U)
        distance = inner_products(pull, U - self.mean)
        # Far away squares overflow, to inf − inf in the worst case.
        return pull, distance.nan_to_num(nan=torch.inf, posinf=torch.inf)

    def trace(self, metric: Tensor) -> Tensor:
        """Return ``tr(M P)`` with ``M = diag(metric)``."""
        if self.factor is None:
            return metric @ self.precision.diagonal()
        return metric @ (self.precision - self.factor.square().sum(0))

    def without_pull(self) -> Self:
        """Return the same with a precision of 0."""
        factor = None if self.factor is None else self.factor[:0]
        return replace(self, precision=torch.zeros_like(self.precision), factor=factor)

    def stretched(self, ratio: Tensor) -> Self:
        """Return the same score in coordinates ``u' = ratio · u``."""
        mean = self.mean * ratio
        if self.factor is None:
            precision = self.precision / torch.outer(ratio, ratio)
            return replace(self, mean=mean, precision=precision)
        precision = self.precision / ratio.square()
        return replace(self, mean=mean, precision=precision, factor=self.factor / ratio)


@dataclass(frozen=True)
class GaussianScore(Elliptical):
    """The score of a Gaussian in coordinates of unit scale."""

    def score(self, U: Tensor) -> Tensor:
        """Return ``−P (u − μ)`` of shape (n, d)."""
        return self.pull(U).neg_()

    def divergence(self, U: Tensor, metric: Tensor) -> Tensor:
        """Return ``−tr(M P)`` with ``M = diag(metric)`` for each row, of shape (n,)."""
        return -self.trace(metric).expand(len(U))

    def log_density(self, U: Tensor) -> Tensor:
        """Return ``−½ (u − μ)ᵀ P (u − μ)`` of shape (n,)."""
        return -0.5 * self.pull_and_distance(U)[1]
