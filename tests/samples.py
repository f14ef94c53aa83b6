"""Samples shared by the tests of scores."""

import torch


def points(n: int, d: int, seed: int) -> torch.Tensor:
    """Return rows of a standard normal in float64."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=generator, dtype=torch.float64)


def two_clusters(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a sample of ``½N(−2, I) + ½N(2, I)`` and its score."""
    x = points(n, 2, seed)
    generator = torch.Generator().manual_seed(seed)
    side = torch.randint(0, 2, (n, 1), generator=generator) * 4.0 - 2.0
    x = x + side
    return x, 2.0 * torch.tanh(2.0 * x.sum(1, keepdim=True)) - x
