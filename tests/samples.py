"""Samples shared by the tests of scores."""

import torch


def points(n: int, d: int, seed: int) -> torch.Tensor:
    """Return rows of a standard normal in float64."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=generator, dtype=torch.float64)
