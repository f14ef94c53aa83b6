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

    def typical_error(self, truth: Array, estimate: Array) -> float:
        """Return the normalised error without the hundredth of the rows that is worst.

        One row far outside the sample can make up nearly all of the error.
        """
        worst = np.argsort(np.square(estimate - truth).sum(1))[-(len(truth) // 100) :]
        kept = np.delete(np.square(estimate - truth).sum(1), worst)
        return float(kept.sum() / np.square(truth).sum())

    def error(self, truth: Array, estimate: Array) -> float:
        """Return the normalised error ``Σ‖ŝ − s‖² / Σ‖s‖²``."""
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


def gumbel(d: int = 4) -> Task:
    """Return independent skewed variables, rotated and stretched."""
    rng = np.random.default_rng(11)
    root = np.linalg.qr(rng.normal(size=(d, d)))[0] * np.geomspace(0.5, 4.0, d)
    inverse = np.linalg.inv(root)

    def score(X: Array) -> Array:
        return (np.exp(-(X @ inverse.T)) - 1.0) @ inverse

    return Task(f"Gumbel d={d}", lambda n, r: r.gumbel(size=(n, d)) @ root.T, score)


def wave() -> Task:
    """Return a double well along the first axis, a sine along the second."""
    place = np.linspace(-5.0, 5.0, 20_001)
    cumulative = np.cumsum(np.exp(-np.square(np.square(place) - 4.0) / 8.0))
    cumulative /= cumulative[-1]

    def sample(n: int, rng: np.random.Generator) -> Array:
        x = np.interp(rng.uniform(size=n), cumulative, place)
        return np.stack([x, np.sin(2.0 * x) + 0.5 * rng.normal(size=n)], 1)

    def score(X: Array) -> Array:
        x, y = X.T
        pull = -(y - np.sin(2.0 * x)) / 0.25
        well = -(x**2 - 4.0) * x / 2.0
        return np.stack([well - 2.0 * np.cos(2.0 * x) * pull, pull], 1)

    return Task("wave", sample, score)


def shell(d: int = 3, radius: float = 3.0, deviation: float = 0.3) -> Task:
    """Return a sphere blurred along its radius."""

    def sample(n: int, rng: np.random.Generator) -> Array:
        direction = rng.normal(size=(n, d))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        return direction * (radius + deviation * rng.normal(size=(n, 1)))

    def score(X: Array) -> Array:
        r = np.linalg.norm(X, axis=1, keepdims=True)
        return (-(r - radius) / deviation**2 - (d - 1) / r) * X / r

    return Task(f"shell d={d}", sample, score)


def gaussians(name: str, means: Array, roots: Array, shares: Array) -> Task:
    """Return a mixture of Gaussians ``N(mean, root rootᵀ)``."""
    precisions = np.linalg.inv(roots @ roots.transpose(0, 2, 1))
    constants = np.log(shares) + 0.5 * np.linalg.slogdet(precisions)[1]

    def sample(n: int, rng: np.random.Generator) -> Array:
        chosen = rng.choice(len(means), size=n, p=shares)
        noise = rng.normal(size=(n, means.shape[1], 1))
        return means[chosen] + (roots[chosen] @ noise)[..., 0]

    def score(X: Array) -> Array:
        difference = means[:, None] - X
        pull = difference @ precisions
        logits = constants[:, None] - 0.5 * (pull * difference).sum(2)
        return (softmax(logits, axis=0)[..., None] * pull).sum(0)

    return Task(name, sample, score)


def unequal_clusters(d: int = 6, count: int = 5) -> Task:
    rng = np.random.default_rng(12)
    means = 2.0 * rng.normal(size=(count, d))
    rotations = np.linalg.qr(rng.normal(size=(count, d, d)))[0]
    roots = rotations * np.geomspace(0.4, 1.5, d)
    shares = rng.dirichlet(np.full(count, 5.0))
    return gaussians(f"unequal clusters d={d}", means, roots, shares)


def contaminated(d: int = 4) -> Task:
    """Return a Gaussian, a tenth of its rows with five times the deviation."""
    root = np.diag(np.geomspace(0.3, 3.0, d))
    roots, shares = np.stack([root, 5.0 * root]), np.array([0.9, 0.1])
    return gaussians(f"contaminated d={d}", np.zeros((2, d)), roots, shares)


def held_out_tasks() -> list[Task]:
    """Return distributions on which no choice of the package was ever tried."""
    return [gumbel(), wave(), shell(), unequal_clusters(), contaminated()]


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
