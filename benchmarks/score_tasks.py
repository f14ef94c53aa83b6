"""Distributions whose score is known, for the benchmarks of score estimation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

Array = np.ndarray


@dataclass(frozen=True)
class Task:
    """A distribution that can be sampled and whose score is known.

    Attributes
    ----------
    name : str
    sample : callable
        ``(n, rng) -> X`` of shape (n, d).
    score : callable
        ``X -> s`` of shape (n, p): the score along `directions`.
    directions : ndarray of shape (d, p) or None
        Directions in which the distribution has a density; None for all.
    """

    name: str
    sample: Callable[[int, np.random.Generator], Array]
    score: Callable[[Array], Array]
    directions: Array | None = None

    def error(self, X: Array, estimate: Array) -> float:
        """Return the normalised error ``Σ‖ŝ − s‖² / Σ‖s‖²``."""
        truth = self.score(X)
        if self.directions is not None:
            estimate = estimate @ self.directions
        # Each direction counts alike, whatever its unit.
        share = np.square(estimate - truth).sum(0) / np.square(truth).sum(0)
        if self.name.endswith("badly scaled"):
            return float(share.mean())
        return float(np.square(estimate - truth).sum() / np.square(truth).sum())


def gaussian(d: int, *, condition: float = 1.0, scales: bool = False) -> Task:
    rng = np.random.default_rng(d)
    rotation = np.linalg.qr(rng.normal(size=(d, d)))[0]
    root = rotation * np.sqrt(np.geomspace(1.0, condition, d))
    if scales:
        root = np.diag(np.geomspace(1e-3, 1e3, d)) @ root
    precision = np.linalg.inv(root @ root.T)
    name = f"Gaussian d={d}" + (" badly scaled" if scales else "")
    return Task(
        name, lambda n, r: r.normal(size=(n, d)) @ root.T, lambda X: -X @ precision
    )


def mixture(name: str, means: Array, deviation: float = 1.0) -> Task:
    def sample(n: int, rng: np.random.Generator) -> Array:
        chosen = rng.integers(len(means), size=n)
        return means[chosen] + deviation * rng.normal(size=(n, means.shape[1]))

    def score(X: Array) -> Array:
        parts = []
        for start in range(0, len(X), 256):
            block = X[start : start + 256]
            square = np.square(block[:, None] - means).sum(2)
            weights = softmax(-0.5 * square / deviation**2, axis=1)
            parts.append((weights @ means - block) / deviation**2)
        return np.concatenate(parts)

    return Task(name, sample, score)


def four_clusters(d: int) -> Task:
    means = np.random.default_rng(1).normal(size=(4, d)) * 3.0
    return mixture(f"mixture d={d}", means)


def grid(d: int = 32, spacing: float = 1.0) -> Task:
    """Return the grid of kscore's examples: `d` random vertices of a hypercube."""
    means = spacing * np.random.default_rng(2).integers(0, 2, size=(d, d))
    return mixture(f"grid d={d}", means.astype(float))


def spiral() -> Task:
    """Return the spiral of kscore's examples, its density by a fine quadrature."""
    angle = 3.0 + 12.0 * (np.arange(3000) + 0.5) / 3000
    curve = np.stack([-2 + 2 * angle * np.cos(angle), 2 * angle * np.sin(angle)], 1)
    deviation = float(np.exp(-1.0))
    quadrature = mixture("spiral", curve, deviation)

    def sample(n: int, rng: np.random.Generator) -> Array:
        a = rng.uniform(3.0, 15.0, size=n)
        center = np.stack([-2 + 2 * a * np.cos(a), 2 * a * np.sin(a)], 1)
        return center + deviation * rng.normal(size=(n, 2))

    return Task("spiral", sample, quadrature.score)


def banana(bend: float = 0.03, variance: float = 100.0) -> Task:
    """Return the banana of Li & Turner (2018)."""

    def sample(n: int, rng: np.random.Generator) -> Array:
        x = rng.normal(size=n) * np.sqrt(variance)
        return np.stack([x, rng.normal(size=n) + bend * (x**2 - variance)], 1)

    def score(X: Array) -> Array:
        x, y = X.T
        rest = y - bend * (x**2 - variance)
        return np.stack([-x / variance + 2 * bend * x * rest, -rest], 1)

    return Task("banana", sample, score)


def student(d: int = 5, freedom: float = 5.0) -> Task:
    def sample(n: int, rng: np.random.Generator) -> Array:
        spread = np.sqrt(rng.chisquare(freedom, size=(n, 1)) / freedom)
        return rng.normal(size=(n, d)) / spread

    def score(X: Array) -> Array:
        square = np.square(X).sum(1, keepdims=True)
        return -(freedom + d) * X / (freedom + square)

    return Task(f"Student t d={d}", sample, score)


def table() -> Task:
    """Return two clustered columns, one of them twice, one discrete, one constant."""
    inner = four_clusters(2)

    def sample(n: int, rng: np.random.Generator) -> Array:
        X = inner.sample(n, rng)
        discrete = rng.poisson(2.0, size=n)
        return np.column_stack([X, X[:, 0], discrete, np.full(n, 3.0)])

    directions = np.zeros((5, 2))
    directions[[0, 2], 0] = directions[1, 1] = 1.0
    return Task("table", sample, lambda X: inner.score(X[:, :2]), directions)


def accuracy_tasks() -> list[Task]:
    return [
        gaussian(2),
        gaussian(10),
        gaussian(50),
        gaussian(10, condition=100.0, scales=True),
        four_clusters(2),
        four_clusters(10),
        banana(),
        spiral(),
        grid(),
        student(),
        table(),
    ]
