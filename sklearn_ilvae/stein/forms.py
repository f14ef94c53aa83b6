"""The two forms of the kernel part of a score: diagonal and curl-free.

Both write it as ``f(u) = Σⱼ ψⱼ(u) aⱼ`` over landmarks ``zⱼ``, and for both the
Hyvärinen loss ``E[½‖s₀ + f‖² + ∇·(s₀ + f)]`` is quadratic, ``½ tr(aᵀ G a) + tr(bᵀ a)``
up to a constant, with the Gram matrix ``G`` and linear term ``b`` of `accumulate`. The
squared norm of ``f`` in its reproducing kernel Hilbert space is ``tr(aᵀ K a)`` (Zhou,
Shi & Zhu 2020).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from .kernels import Kernel, inner_products, kernel_matrix, squared_distances

# Products of smaller blocks take as long as they save.
_FEW_COLUMNS = 192


class Form(Protocol):
    """A space of vector fields spanned by landmarks."""

    @property
    def kernel(self) -> Kernel:
        """Return the kernel."""

    @property
    def landmarks(self) -> Tensor:
        """Return the points ``zⱼ``."""

    def linear_width(self) -> int:
        """Return ``q``, how many numbers each landmark carries."""

    def trace(self) -> float:
        """Return an upper bound of the spectrum of the Gram matrix in this penalty."""

    def penalty(self) -> Tensor:
        """Return the matrix ``K`` of the squared norm, of shape (m, m).

        A field of unit norm is nowhere longer than 1.
        """

    def field_width(self) -> int:
        """Return how many numbers a field of one landmark has at a row."""

    def accumulate(
        self,
        U: Tensor,
        weights: Tensor,
        base_scores: Tensor,
        basis: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return the Gram matrix (m, m) and linear terms (v, m, q) of some rows.

        With a `basis` (m, r) the Gram matrix is that of its fields, (r, r).
        """

    def field(self, U: Tensor, coefficients: Tensor) -> Tensor:
        """Return fields (l, n, d) of coefficients (l, m, q)."""

    def evaluate(
        self, U: Tensor, coefficients: Tensor, metric: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return fields (l, n, d) and divergences (l, n) of coefficients (l, m, q)."""

    def changes(
        self,
        U: Tensor,
        weights: Tensor,
        base_scores: Tensor,
        metric: Tensor,
        basis: Tensor,
        moments: Tensor,
        gains: Tensor,
    ) -> Tensor:
        """Return by how much fields change the loss of base scores, of shape (v, l).

        In a `basis` (m, r) their coordinates are `moments` (v, r, q) times minus the
        `gains` (l, r).
        """

    def pull_back(self, U: Tensor, coefficients: Tensor, vectors: Tensor) -> Tensor:
        """Return ``(∇f)ᵀ v`` (n, d) of one field at a vector ``v`` for each row."""


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
        moments = _moments(slopes, places[None])[0]
        gradient = 2.0 * (moments[:, :-1] - moments[:, -1:] * self.landmarks)
        linear = _moments(values, base_scores * weights[:, None]) + gradient
        fields = values if basis is None else values @ basis
        return _gram(fields.mul_(weights.sqrt()[:, None])), linear

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
        return _columns(values, coefficients)

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
        field = _columns(values, coefficients)
        weighted = coefficients * metric
        inner = inner_products(weighted, self.landmarks)[..., None]
        along = _columns(slopes, torch.cat([weighted, inner], -1))
        divergence = 2.0 * (inner_products(along[..., :-1], U) - along[..., -1])
        return field, divergence

    def changes(
        self,
        U: Tensor,
        weights: Tensor,
        base_scores: Tensor,
        metric: Tensor,
        basis: Tensor,
        moments: Tensor,
        gains: Tensor,
    ) -> Tensor:
        """Return ``Σ w (½‖f‖² + f·s₀ + ∇·f)`` of several fields for each base score.

        Parameters
        ----------
        U : Tensor of shape (n, d)
        weights : Tensor of shape (n,)
        base_scores : Tensor of shape (v, n, d)
        metric : Tensor of shape (d,)
            Weight of each coordinate in the loss.
        basis : Tensor of shape (m, r)
        moments : Tensor of shape (v, r, q)
        gains : Tensor of shape (l, r)
            The fields have coordinates ``−g m`` in the basis.

        Returns
        -------
        changes : Tensor of shape (v, l)
        """
        gram, linear = self.accumulate(U, weights, base_scores, basis)
        weighted = moments * metric
        # The gains are shared by all components of a field.
        quadratic = gram * (weighted @ moments.mT)
        slopes = inner_products(basis.T @ linear, weighted)[:, None]
        return inner_products(0.5 * gains @ quadratic - slopes, gains)

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
        return _outwards(slopes * (vectors @ coefficients.T), U, self.landmarks)


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
        return self._curvature() * kernel_matrix(
            self.kernel, self.landmarks, self.landmarks
        )

    def _curvature(self) -> Tensor:
        return -2.0 * self.kernel.first_derivative(self.landmarks.new_ones(()))

    def accumulate(
        self,
        U: Tensor,
        weights: Tensor,
        base_scores: Tensor,
        basis: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return ``Σ w ∇kᵢ·∇kⱼ`` and ``Σ w (∇k·s₀ + Δk)``.

        With ``∇k = 2φ'·(u − z)`` the Gram matrix needs no array of gradients, because
        ``2 (u − zᵢ)·(u − zⱼ) = ‖u − zᵢ‖² + ‖u − zⱼ‖² − ‖zᵢ − zⱼ‖²``.

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
        laplacian = (second.mul_(squared).mul_(4.0)).T @ weights
        slopes = first.mul_(2.0)
        laplacian += self.trace() * (slopes.T @ weights)
        inner = inner_products(base_scores, U)[..., None]
        targets = torch.cat([base_scores, inner], -1) * weights[:, None]
        along = _moments(slopes, targets)
        outwards = inner_products(along[..., :-1], self.landmarks)
        linear = along[..., -1] - outwards + laplacian

        slopes.mul_(weights.sqrt()[:, None])
        if basis is not None:
            moved = torch.cat(
                [basis[:, None], self.landmarks[..., None] * basis[:, None]], 1
            )
            parts = (slopes @ moved.flatten(1)).unflatten(1, moved.shape[1:])
            fields = U[..., None] * parts[:, :1] - parts[:, 1:]
            return _gram(fields.flatten(0, 1)), linear[..., None]
        plain = _gram(slopes)
        mixed = squared.mul_(slopes).T @ slopes
        gram = mixed + mixed.T
        gram -= plain.mul_(squared_distances(self.landmarks, self.landmarks))
        return gram.mul_(0.5), linear[..., None]

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
        along = _columns(slopes, joint)
        return U * along[..., -1:] - along[..., :-1]

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
        squared = squared_distances(U, self.landmarks)
        _, first, second = self.kernel.derivatives(squared)
        slopes = 2.0 * first
        field = self._gradient(U, slopes, coefficients)
        root = metric.sqrt()
        stretched = squared_distances(U * root, self.landmarks * root)
        laplacian = 4.0 * second * stretched + metric.sum() * slopes
        return field, _columns(laplacian, coefficients)[..., 0]

    def changes(
        self,
        U: Tensor,
        weights: Tensor,
        base_scores: Tensor,
        metric: Tensor,
        basis: Tensor,
        moments: Tensor,
        gains: Tensor,
    ) -> Tensor:
        """Return ``Σ w (½‖f‖² + f·s₀ + ∇·f)`` of several fields for each base score.

        Parameters
        ----------
        U : Tensor of shape (n, d)
        weights : Tensor of shape (n,)
        base_scores : Tensor of shape (v, n, d)
        metric : Tensor of shape (d,)
            Weight of each coordinate in the loss.
        basis : Tensor of shape (m, r)
        moments : Tensor of shape (v, r, q)
        gains : Tensor of shape (l, r)
            The fields have coordinates ``−g m`` in the basis.

        Returns
        -------
        changes : Tensor of shape (v, l)
        """
        coefficients = -basis @ (gains[..., None] * moments[:, None])
        fields, divergences = self.evaluate(U, coefficients.flatten(0, 1), metric)
        size = coefficients.shape[:2]
        fields, divergences = fields.unflatten(0, size), divergences.unflatten(0, size)
        changes = (fields * (0.5 * fields + base_scores[:, None])) @ metric
        return (changes + divergences) @ weights

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
        return _outwards(shares, U, self.landmarks) + straight * vectors

    def potential(self, U: Tensor, coefficients: Tensor) -> Tensor:
        """Return ``Σⱼ βⱼ k(u, zⱼ)``, of shape (n,), whose gradient is ``f``."""
        return kernel_matrix(self.kernel, U, self.landmarks) @ coefficients[..., 0]


FORMS: dict[str, type[DiagonalForm] | type[CurlFreeForm]] = {
    "diagonal": DiagonalForm,
    "curl_free": CurlFreeForm,
}


def _outwards(shares: Tensor, U: Tensor, landmarks: Tensor) -> Tensor:
    """Return ``Σⱼ shareⱼ (u − zⱼ)`` for each row."""
    return shares.sum(1, keepdim=True) * U - shares @ landmarks


def _columns(matrix: Tensor, stack: Tensor) -> Tensor:
    """Return ``matrix @ stack[l]`` for every ``l`` by one product."""
    count, m, q = stack.shape
    product = matrix @ stack.permute(1, 0, 2).reshape(m, count * q)
    return product.reshape(len(matrix), count, q).permute(1, 0, 2)


def _moments(matrix: Tensor, stack: Tensor) -> Tensor:
    """Return ``matrixᵀ @ stack[v]`` for every ``v`` by one product."""
    count, n, q = stack.shape
    product = stack.mT.reshape(count * q, n) @ matrix
    return product.reshape(count, q, -1).mT


def _gram(A: Tensor) -> Tensor:
    """Return ``AᵀA``, computing one triangle of blocks only."""
    m = A.shape[1]
    if m < _FEW_COLUMNS:
        return A.T @ A
    gram = A.new_empty(m, m)
    step = -(-m // 4)
    for start in range(0, m, step):
        block = A[:, start : start + step].T @ A[:, start:]
        gram[start : start + step, start:] = block
        gram[start:, start : start + step] = block.T
    return gram
