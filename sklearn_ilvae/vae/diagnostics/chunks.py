"""Functions of many rows in chunks, whose arrays are small."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..autoencoder import VariationalAutoencoder
from ..posterior import codes_at_once

CHUNK = 1 << 22
"""Numbers held at once in the largest array."""


def numbers_per_row(
    model: VariationalAutoencoder, n_draws: int = 1, numbers_per_draw: int = 0
) -> int:
    """Return the numbers that the largest array holds for a row."""
    shape = model.architecture
    widths = (model.encoder.design.width, *shape.hidden_layer_sizes)
    layers = codes_at_once(n_draws, shape.n_components) * max(widths)
    # To encode a row with gaps takes a matrix, whatever the number of draws.
    return max(layers, n_draws * numbers_per_draw, shape.n_components**2)


@torch.no_grad()
def in_chunks(
    function: Callable[..., Tensor], row_size: int, *arrays: Tensor
) -> Tensor:
    """Return what a function gives for rows, called on few of them at a time.

    Parameters
    ----------
    function : callable
        ``(*arrays) -> Tensor``, each of as many rows.
    row_size : int
        Numbers that its largest array holds for a row.
    *arrays : Tensor
        Arrays of as many rows.

    Returns
    -------
    Tensor
    """
    size = max(1, CHUNK // row_size)
    chunks = zip(*(each.split(size) for each in arrays), strict=True)
    return torch.cat([function(*chunk) for chunk in chunks])
