"""Rows in memory and batches of them.

skorch's default loader collates row by row, which costs several times the arithmetic
of a network for tables; here a batch is one indexing operation.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import Dataset


@dataclass(frozen=True)
class WeightedRows(Dataset[Tensor]):
    """Standardised rows with weights of mean one, on the training device.

    Parameters
    ----------
    rows : Tensor of shape (n_rows, n_features)
        The rows.
    weights : Tensor of shape (n_rows,)
        Their weights.
    """

    rows: Tensor
    weights: Tensor

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.rows)


class InMemoryBatches:
    """Batches of rows and weights; reshuffled at every pass while training.

    Parameters
    ----------
    dataset : WeightedRows
        The rows.
    batch_size : int
        Rows in a batch.
    generator : torch.Generator, default=None
        Source of the order; None keeps the order of the rows.
    """

    def __init__(
        self,
        dataset: WeightedRows,
        batch_size: int,
        generator: torch.Generator | None = None,
    ) -> None:
        self.dataset = dataset
        self.batch_size = batch_size
        self.generator = generator

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches of rows and weights."""
        rows, weights = self.dataset.rows, self.dataset.weights
        if self.generator is not None:
            order = torch.randperm(
                len(rows), generator=self.generator, device=rows.device
            )
            rows, weights = rows[order], weights[order]
        yield from zip(
            rows.split(self.batch_size), weights.split(self.batch_size), strict=True
        )
