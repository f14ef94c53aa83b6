"""Randomness of a fit: drawn from scikit-learn's source, with no global side effect."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock

import numpy as np
import torch
from sklearn.utils import check_random_state

_GLOBAL_GENERATOR = RLock()


def draw_seed(random_state: int | np.random.RandomState | None) -> int:
    """Draw a seed for torch from scikit-learn's source of randomness."""
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's global CPU generator in the block, and restore it afterwards.

    Torch initialises modules from the global generator. Threads that fit at the same
    time take turns, or they would draw each other's weights.
    """
    with _GLOBAL_GENERATOR, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
