"""Vector fields that are gradients of functions."""

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
from ..sample.rows import slices
from .radial import Kernel, kernel_matrix, squared_distances
from .solvers import FilteredFields


@dataclass(frozen=True)
class CurlFreeForm:
    """``f(u) = ∇ Σⱼ βⱼ k(u, zⱼ)``: the gradient of a function, one number a landmark.

    Attributes
    ----------
    kernel : Kernel
    landmarks : Tensor of shape (m, d)
    """

    kernel: Kernel
    landmarks: Tensor

    def linear_width(self) -> int:
        """Return 1."""
        return 1

    def field_width(self) -> int:
        """Return ``d``."""
        return int(self.landmarks.shape[1])

    def trace(self) -> float:
        """Return ``d``."""
        return float(self.landmarks.shape[1])

    def penalty(self) -> Tensor:
        """Return ``−2 φ'(0) k(zᵢ, zⱼ)``: a field of unit norm is nowhere longer than 1.

        With this factor a strength means the same in any units, and for both forms.
        """
        slope = self.kernel.first_derivative(self.landmarks.new_ones(()))
        values = kernel_matrix(self.kernel, self.landmarks, self.landmarks)
        return -2.0 * slope * values

    def accumulate(
        self,
        U: Tensor,
        weights: Tensor,
        base_scores: Tensor,
        basis: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return ``Σ w ∇kᵢ·∇kⱼ`` and ``Σ w (∇k·s₀ + Δk)``, with ``∇k = 2φ'·(u − z)``.

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
        linear : Tensor of shape (v, m, 1)
        """
        squared = squared_distances(U, self.landmarks)
        _, first, second = self.kernel.derivatives(squared)
        laplacian = 4.0 * (second.mul_(squared).T @ weights)
        slopes = first.mul_(2.0)
        laplacian += self.trace() * (slopes.T @ weights)
        linear = self._linear(U, weights, base_scores, slopes) + laplacian

        slopes.mul_(weights.sqrt()[:, None])
        if basis is None:
            return self._gram(squared, slopes), linear[..., None]
        return self._gram_of_fields(U, slopes, basis), linear[..., None]

    def _gram(self, squared: Tensor, slopes: Tensor) -> Tensor:
        """Return ``Σ w ∇kᵢ·∇kⱼ`` of ``‖u − z‖²``, which is overwritten, and ``√w 2φ'``.

        It needs no array of gradients, because
        ``2 (u − zᵢ)·(u − zⱼ) = ‖u − zᵢ‖² + ‖u − zⱼ‖² − ‖zᵢ − zⱼ‖²``.
        """
        plain = gram_matrix(slopes)
        mixed = squared.mul_(slopes).T @ slopes
        gram = mixed + mixed.T
        gram -= plain.mul_(squared_distances(self.landmarks, self.landmarks))
        return gram.mul_(0.5)

    def _gram_of_fields(self, U: Tensor, slopes: Tensor, basis: Tensor) -> Tensor:
        """Return the Gram matrix of the fields ``Σⱼ Bⱼ ∇kⱼ`` of a basis.

        Nearly all cancels in such a sum, so that its ``u − z`` have to be exact: one
        coordinate after the other.
        """
        used = basis.any(1)  # landmarks that are no pivots are in no field
        slopes, landmarks, basis = slopes[:, used], self.landmarks[used], basis[used]
        gram = basis.new_zeros(basis.shape[1], basis.shape[1])
        for u, z in zip(U.T, landmarks.T, strict=True):
            gram += gram_matrix(((u[:, None] - z) * slopes) @ basis)
        return gram

    def _linear(
        self, U: Tensor, weights: Tensor, base_scores: Tensor, slopes: Tensor
    ) -> Tensor:
        """Return ``Σ w ∇k·s₀`` of shape (v, m)."""
        inner = inner_products(base_scores, U)[..., None]
        if len(self.landmarks) < U.shape[1]:
            slopes = slopes * weights[:, None]
            return (slopes * (inner - base_scores @ self.landmarks.T)).sum(1)
        targets = torch.cat([base_scores, inner], -1) * weights[:, None]
        along = moments_of_each(slopes, targets)
        return along[..., -1] - inner_products(along[..., :-1], self.landmarks)

    def field(self, U: Tensor, coefficients: Tensor) -> Tensor:
        """Return ``f``.

        Parameters
        ----------
        U : Tensor of shape (n, d)
        coefficients : Tensor of shape (l, m, 1)

        Returns
        -------
        field : Tensor of shape (l, n, d)
        """
        values = kernel_matrix(self.kernel, U, self.landmarks)
        slopes = self.kernel.first_derivative(values).mul_(2.0)
        return self._gradient(U, slopes, coefficients)

    def _gradient(self, U: Tensor, slopes: Tensor, coefficients: Tensor) -> Tensor:
        joint = torch.cat([coefficients * self.landmarks, coefficients], -1)
        along = times_each(slopes, joint)
        return (U * along[..., -1:]).sub_(along[..., :-1])

    def evaluate(
        self, U: Tensor, coefficients: Tensor, metric: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return ``f`` and ``∇·f = Σⱼ βⱼ tr(M ∇²k(u, zⱼ))``, with ``M = diag(metric)``.

        Parameters
        ----------
        U : Tensor of shape (n, d)
        coefficients : Tensor of shape (l, m, 1)
        metric : Tensor of shape (d,)
            Weight of each coordinate in the divergence.

        Returns
        -------
        field : Tensor of shape (l, n, d)
        divergence : Tensor of shape (l, n)
        """
        root = metric.sqrt()
        slopes, laplacian = self._slopes_and_laplacian(
            U, U * root, self.landmarks * root, metric.sum()
        )
        field = self._gradient(U, slopes, coefficients)
        return field, times_each(laplacian, coefficients)[..., 0]

    def _slopes_and_laplacian(
        self, U: Tensor, stretched: Tensor, landmarks: Tensor, trace: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return ``2φ'`` and ``tr(M ∇²k)`` of shape (n, m).

        Parameters
        ----------
        U : Tensor of shape (n, d)
        stretched, landmarks : Tensor of shape (n, r) and (m, r)
            ``M^½ u`` and ``M^½ z`` in any orthonormal coordinates.
        trace : Tensor of shape ()
            That of ``M``.
        """
        squared = squared_distances(U, self.landmarks)
        _, first, second = self.kernel.derivatives(squared)
        slopes = 2.0 * first
        laplacian = 4.0 * second * squared_distances(stretched, landmarks)
        return slopes, laplacian + trace * slopes

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
        coefficients = fields.coefficients()
        total = weights.new_zeros(coefficients.shape[:2])
        # The fields of all filters at once are many times as large as the rows.
        for part in slices(len(U), total.numel() * U.shape[1]):
            changes = self._changes_of_each(
                U[part], base_scores[:, part], metric, coefficients.flatten(0, 1)
            )
            total += changes.unflatten(0, total.shape) @ weights[part]
        return total

    def _changes_of_each(
        self, U: Tensor, base_scores: Tensor, metric: Tensor, coefficients: Tensor
    ) -> Tensor:
        """Return the changes (v · l, n) of the loss of each point."""
        if len(U) + len(self.landmarks) < U.shape[1]:
            return self._changes_of_few(U, base_scores, metric, coefficients)
        values, divergences = self.evaluate(U, coefficients, metric)
        values = values.unflatten(0, (len(base_scores), -1))
        changes = (0.5 * values).add_(base_scores[:, None]).mul_(values) @ metric
        return changes.flatten(0, 1) + divergences

    def _changes_of_few(
        self, U: Tensor, base_scores: Tensor, metric: Tensor, coefficients: Tensor
    ) -> Tensor:
        """Return the changes (v · l, n) of the loss of fewer points than coordinates.

        Fields lie in the span of the points and landmarks, so that their lengths are
        those of its coordinates, in which few numbers make a field.
        """
        points = torch.cat([U, self.landmarks]) * metric.sqrt()
        places = torch.linalg.qr(points.T, mode="r").R.T
        here, there = places[: len(U)], places[len(U) :]
        slopes, laplacian = self._slopes_and_laplacian(U, here, there, metric.sum())
        fields = outward_sums(slopes * coefficients.mT, here, there)
        weighted = base_scores * metric
        inner = inner_products(weighted, U)[..., None] - weighted @ self.landmarks.T
        mine = coefficients.unflatten(0, (len(base_scores), -1))[..., 0]
        along = mine @ (slopes * inner).mT
        divergences = times_each(laplacian, coefficients)[..., 0]
        return 0.5 * inner_products(fields, fields) + along.flatten(0, 1) + divergences

    def pull_back(self, U: Tensor, coefficients: Tensor, vectors: Tensor) -> Tensor:
        """Return ``(∇f)ᵀ v = Σⱼ βⱼ ∇²k(u, zⱼ) v`` for a vector at each row.

        Parameters
        ----------
        U, vectors : Tensor of shape (n, d)
        coefficients : Tensor of shape (m, 1)

        Returns
        -------
        product : Tensor of shape (n, d)
        """
        squared = squared_distances(U, self.landmarks)
        _, first, second = self.kernel.derivatives(squared)
        inner = (U * vectors).sum(1, keepdim=True) - vectors @ self.landmarks.T
        shares = 4.0 * second * inner * coefficients[:, 0]
        straight = 2.0 * first @ coefficients
        return outward_sums(shares, U, self.landmarks) + straight * vectors

    def potential(self, U: Tensor, coefficients: Tensor) -> Tensor:
        """Return ``Σⱼ βⱼ k(u, zⱼ)``, of shape (n,), whose gradient is ``f``."""
        return kernel_matrix(self.kernel, U, self.landmarks) @ coefficients[..., 0]
