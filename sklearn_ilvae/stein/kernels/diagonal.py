"""Vector fields whose components have weights of their own."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..products import (
    gram_matrix,
    inner_products,
    moments_of_each,
    outward_sums,
    times_each,
)
from .radial import Kernel, kernel_matrix
from .solvers import FilteredFields


@dataclass(frozen=True)
class DiagonalForm:
    """``f(u) = Σⱼ k(u, zⱼ) aⱼ`` with a vector ``aⱼ`` for each landmark.

    Attributes
    ----------
    kernel : Kernel
    landmarks : Tensor of shape (m, d)
    """

    kernel: Kernel
    landmarks: Tensor

    def linear_width(self) -> int:
        """Return ``d``."""
        return int(self.landmarks.shape[1])

    def field_width(self) -> int:
        """Return 1: all coordinates share it."""
        return 1

    def trace(self) -> float:
        """Return ``k(u, u) = 1``."""
        return 1.0

    def penalty(self) -> Tensor:
        """Return ``k(zᵢ, zⱼ)``."""
        return kernel_matrix(self.kernel, self.landmarks, self.landmarks)

    def accumulate(
        self,
        U: Tensor,
        weights: Tensor,
        base_scores: Tensor,
        basis: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return ``Σ w k kᵀ`` and ``Σ w (k s₀ᵀ + ∇k)``.

        Parameters
        ----------
        U : Tensor of shape (n, d)
        weights : Tensor of shape (n,)
        base_scores : Tensor of shape (v, n, d)
            Several base scores at once.
        basis : Tensor of shape (m, r), default=None

        Returns
        -------
        gram : Tensor of shape (m, m) or (r, r)
        linear : Tensor of shape (v, m, d)
        """
        values = kernel_matrix(self.kernel, U, self.landmarks)
        slopes = self.kernel.first_derivative(values)
        places = torch.cat([U * weights[:, None], weights[:, None]], 1)
        moments = moments_of_each(slopes, places[None])[0]
        gradient = 2.0 * (moments[:, :-1] - moments[:, -1:] * self.landmarks)
        linear = moments_of_each(values, base_scores * weights[:, None]) + gradient
        fields = values if basis is None else values @ basis
        return gram_matrix(fields.mul_(weights.sqrt()[:, None])), linear

    def field(self, U: Tensor, coefficients: Tensor) -> Tensor:
        """Return ``f``.

        Parameters
        ----------
        U : Tensor of shape (n, d)
        coefficients : Tensor of shape (l, m, d)

        Returns
        -------
        field : Tensor of shape (l, n, d)
        """
        values = kernel_matrix(self.kernel, U, self.landmarks)
        return times_each(values, coefficients)

    def evaluate(
        self, U: Tensor, coefficients: Tensor, metric: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return ``f`` and ``∇·f = Σⱼ (M aⱼ)·∇k(u, zⱼ)``, with ``M = diag(metric)``.

        Parameters
        ----------
        U : Tensor of shape (n, d)
        coefficients : Tensor of shape (l, m, d)
        metric : Tensor of shape (d,)
            Weight of each coordinate in the divergence.

        Returns
        -------
        field : Tensor of shape (l, n, d)
        divergence : Tensor of shape (l, n)
        """
        values = kernel_matrix(self.kernel, U, self.landmarks)
        slopes = self.kernel.first_derivative(values)
        field = times_each(values, coefficients)
        weighted = coefficients * metric
        inner = inner_products(weighted, self.landmarks)[..., None]
        along = times_each(slopes, torch.cat([weighted, inner], -1))
        divergence = 2.0 * (inner_products(along[..., :-1], U) - along[..., -1])
        return field, divergence

    def changes(
        self,
        U: Tensor,
        weights: Tensor,
        base_scores: Tensor,
        metric: Tensor,
        fields: FilteredFields,
    ) -> Tensor:
        """Return ``Σ w (½‖f‖² + f·s₀ + ∇·f)`` of several fields for each base score.

        Parameters
        ----------
        U : Tensor of shape (n, d)
        weights : Tensor of shape (n,)
        base_scores : Tensor of shape (v, n, d)
        metric : Tensor of shape (d,)
            Weight of each coordinate in the loss.
        fields : FilteredFields
            Of a linear term for each base score.

        Returns
        -------
        changes : Tensor of shape (v, l)
        """
        gram, linear = self.accumulate(U, weights, base_scores, fields.basis)
        weighted = fields.moments * metric
        # The gains are shared by all components of a field.
        quadratic = gram * (weighted @ fields.moments.mT)
        slopes = inner_products(fields.basis.T @ linear, weighted)[:, None]
        return inner_products(0.5 * fields.gains @ quadratic - slopes, fields.gains)

    def pull_back(self, U: Tensor, coefficients: Tensor, vectors: Tensor) -> Tensor:
        """Return ``(∇f)ᵀ v = Σⱼ (aⱼ·v) ∇k(u, zⱼ)`` for a vector at each row.

        Parameters
        ----------
        U, vectors : Tensor of shape (n, d)
        coefficients : Tensor of shape (m, d)

        Returns
        -------
        product : Tensor of shape (n, d)
        """
        values = kernel_matrix(self.kernel, U, self.landmarks)
        slopes = 2.0 * self.kernel.first_derivative(values)
        return outward_sums(slopes * (vectors @ coefficients.T), U, self.landmarks)
