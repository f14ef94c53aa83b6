"""Plain implementations of the formulas of other score estimators.

kscore (github.com/miskcoo/kscore, of Zhou, Shi & Zhu 2020) needs TensorFlow 1; these
are the same formulas with the same parametrisation, in torch and double precision.
Their curl-free products never form kscore's arrays of n·n·d numbers: they are faster.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from sklearn_ilvae.stein.kernels import (
    Kernel,
    kernel_matrix,
    make_kernel,
    squared_distances,
)
from sklearn_ilvae.stein.published import fit_published

STRENGTHS = tuple(10.0 ** (-k) for k in range(1, 8))
FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
PEERS = ("Stein", "SSGE", "KEF", "nu")
README_STRENGTH = {"Stein": 1e-3, "KEF": 1e-4, "nu": 1e-5}
SSGE_KEEP = 0.9

Fitted = tuple[float, Tensor]


def median(X: Tensor) -> float:
    """Return kscore's bandwidth: the median of all distances, zeros included."""
    return float(squared_distances(X, X).sqrt().flatten().median())


def third_derivative(kernel: Kernel, squared: Tensor) -> Tensor:
    """Return ``φ'''``."""
    value, _, second = kernel.derivatives(squared)
    h = kernel.bandwidth
    if type(kernel).__name__ == "RBF":
        return second * (-0.5 / h**2)
    return second * (-2.5 / h**2) * value**2


class CurlFree:
    """Products with ``−∇∇ᵀk`` of shape (n d, m d), never formed."""

    def __init__(self, kernel: Kernel, X: Tensor, Y: Tensor) -> None:
        self.X, self.Y, d = X, Y, X.shape[1]
        squared = squared_distances(X, Y)
        _, first, second = kernel.derivatives(squared)
        self.first, self.second = -2.0 * first, -4.0 * second
        third = third_derivative(kernel, squared)
        self.rate = 8.0 * third * squared + 4.0 * (d + 2) * second

    def apply(self, V: Tensor) -> Tensor:
        """Return the product with a vector of shape (m, d)."""
        inner = self.X @ V.T - (self.Y * V).sum(1)
        scaled = self.second * inner
        along = scaled.sum(1, keepdim=True) * self.X - scaled @ self.Y
        return along + self.first @ V

    def embedding(self) -> Tensor:
        """Return ``ζ``, the mean over the sample of the kernel's divergence."""
        total = self.rate.sum(1, keepdim=True) * self.X - self.rate @ self.Y
        return total / len(self.Y)


def curl_free_tikhonov(
    kernel: Kernel, X: Tensor, queries: Tensor, strengths: tuple[float, ...]
) -> Iterator[Fitted]:
    """Kernel exponential family by conjugate gradients as in kscore (theorem 3.1)."""
    n = len(X)
    operator, outside = CurlFree(kernel, X, X), CurlFree(kernel, queries, X)
    target, query_part = operator.embedding(), outside.embedding()
    for strength in strengths:
        right = target / strength
        solution = torch.zeros_like(right)
        residual, direction = right.clone(), right.clone()
        squared = residual.square().sum()
        limit = 1e-4 * squared.sqrt()
        for _ in range(40):
            product = operator.apply(direction) + n * strength * direction
            step = squared / (direction * product).sum()
            solution += step * direction
            residual -= step * product
            after = residual.square().sum()
            if after.sqrt() < limit:
                break
            direction = residual + after / squared * direction
            squared = after
        yield strength, outside.apply(solution) - query_part / strength


def curl_free_nu(
    kernel: Kernel, X: Tensor, queries: Tensor, strengths: tuple[float, ...]
) -> Iterator[Fitted]:
    """Run the ν-method with ν = 1 (example C.4); one run passes every strength."""
    n, nu = len(X), 1.0
    operator, outside = CurlFree(kernel, X, X), CurlFree(kernel, queries, X)
    target, query_part = operator.embedding() * n, outside.embedding()
    last = {int(s**-0.5) + 1: s for s in strengths}
    a, before_a = -(4 * nu + 2) / (4 * nu + 1), 0.0
    c, before_c = torch.zeros_like(X), torch.zeros_like(X)
    for t in range(2, max(last) + 1):
        ahead, double = t + 2 * nu - 1, 2 * t + 4 * nu - 1
        u = (t - 1) * (2 * t - 3) * (2 * t + 2 * nu - 1)
        u /= ahead * double * (2 * t + 2 * nu - 3)
        w = 4 * (2 * t + 2 * nu - 1) * (t + nu - 1) / (ahead * double)
        slope = (a * target / n + operator.apply(c)) / n
        c, before_c = (1 + u) * c - w * slope - u * before_c, c
        a, before_a = (1 + u) * a - u * before_a - w, a
        if t in last:
            yield last[t], outside.apply(c) + a * query_part


def diagonal_embedding(kernel: Kernel, X: Tensor, Y: Tensor) -> Tensor:
    """Return ``Σⱼ ∇_{yʲ} k(x, yʲ)``."""
    slopes = 2.0 * kernel.first_derivative(kernel_matrix(kernel, X, Y))
    return slopes @ Y - slopes.sum(1, keepdim=True) * X


def ssge(
    kernel: Kernel, X: Tensor, queries: Tensor, strengths: tuple[float, ...] | None
) -> Iterator[Fitted]:
    """Spectral Stein gradient estimator (theorem 3.2), by strength or by share kept."""
    n = len(X)
    values, vectors = torch.linalg.eigh(kernel_matrix(kernel, X, X) / n)
    target = vectors.T @ diagonal_embedding(kernel, X, X) / n**2
    outside = kernel_matrix(kernel, queries, X) @ vectors
    for strength in strengths or (SSGE_KEEP,):
        kept = int((values > strength).sum()) if strengths else int(n * SSGE_KEEP)
        top = slice(n - max(kept, 1), n)
        gain = target[top] / values[top, None].square()
        yield strength, -outside[:, top] @ gain


def stein(
    kernel: Kernel, X: Tensor, queries: Tensor, strengths: tuple[float, ...]
) -> Iterator[Fitted]:
    """Run the estimator of Li & Turner with kscore's ``η = n² λ``."""
    for strength in strengths:
        model = fit_published(kernel, X, strength * len(X) ** 2)
        matrix = kernel_matrix(kernel, X, queries)
        solved = torch.cholesky_solve(matrix, model.root)
        c = 1.0 + model.regularization - (matrix * solved).sum(0)
        slopes = 2.0 * kernel.first_derivative(matrix) * (solved + 1.0)
        along = slopes.sum(0)[:, None] * queries - slopes.T @ X
        yield strength, -(matrix.T @ model.in_sample - along) / c[:, None]


def predictions(
    peer: str,
    X: Tensor,
    queries: Tensor,
    *,
    kernel: str = "inverse_multiquadric",
    factor: float = 1.0,
    strengths: tuple[float, ...] | None = None,
) -> Iterator[Fitted]:
    """Yield the strength and the scores at the queries of a peer.

    Without `strengths` it runs as its README does.
    """
    function = make_kernel(kernel, factor * median(X))
    if peer == "SSGE":
        return ssge(function, X, queries, strengths)
    grid = strengths or (README_STRENGTH[peer],)
    run = {"Stein": stein, "KEF": curl_free_tikhonov, "nu": curl_free_nu}[peer]
    return run(function, X, queries, grid)
