"""Randomness of a fit: drawn from scikit-learn's source, with no global side effect."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from threading import RLock

import numpy as np
import torch
from sklearn.utils import check_random_state
from torch import Tensor

_GLOBAL_GENERATOR = RLock()


def draw_seed(random_state: int | np.random.RandomState | None) -> int:
    """Draw a seed for torch from scikit-learn's source of randomness."""
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))


def draw_held_out(n_rows: int, fraction: float, seed: int, least_kept: int) -> Tensor:
    """Draw the rows to hold out of a fit.

    Parameters
    ----------
    n_rows : int
        Number of rows.
    fraction : float
        Share of rows to hold out, rounded up; 0 for none.
    seed : int
        Source of the draw.
    least_kept : int
        How many rows stay at least.

    Returns
    -------
    Tensor of shape (n_rows,), bool
    """
    order = torch.randperm(n_rows, generator=torch.Generator().manual_seed(seed))
    held_out = torch.zeros(n_rows, dtype=torch.bool)
    held_out[order[: max(0, min(ceil(fraction * n_rows), n_rows - least_kept))]] = True
    return held_out


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's global CPU generator in the block, and restore it afterwards.

    Torch initialises modules from the global generator, and draws other numbers in
    another default precision: in the block it is single. Threads that fit at the same
    time take turns, or they would draw each other's weights.
    """
    with _GLOBAL_GENERATOR, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        precision = torch.get_default_dtype()
        try:
            torch.set_default_dtype(torch.float32)
            yield
        finally:
            torch.set_default_dtype(precision)
