"""Samples shared by several test files, and how far a score is from the truth."""

import numpy as np
import torch


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    """Return standard normal numbers in float64."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def points(n: int, d: int, seed: int) -> torch.Tensor:
    """Return rows of a standard normal in float64."""
    return normal(n, d, seed=seed)


def with_gaps(rows: np.ndarray, share: float, seed: int = 0) -> np.ndarray:
    """Return rows without a share of their values, at random."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random(rows.shape) < share, np.nan, rows)


def error(found: torch.Tensor, truth: torch.Tensor) -> float:
    """Return the squared error relative to the square of the truth."""
    return float((found - truth).square().sum() / truth.square().sum())


def two_clusters(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a sample of ``½N(−2, I) + ½N(2, I)`` and its score."""
    x = points(n, 2, seed)
    generator = torch.Generator().manual_seed(seed)
    side = torch.randint(0, 2, (n, 1), generator=generator) * 4.0 - 2.0
    x = x + side
    return x, 2.0 * torch.tanh(2.0 * x.sum(1, keepdim=True)) - x
