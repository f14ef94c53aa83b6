"""Rows in memory and batches of them.

skorch's default loader collates row by row, which costs several times the arithmetic
of a network for tables; here a batch is one indexing operation.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil

import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..vae import EncoderInputs
from ..vae.encoders import GaussianEncoder
from ..vae.observed import any_missing

LARGEST_INPUTS = 2**27
"""Most numbers that rows are turned into before training: half a gibibyte."""

CHUNK = 8192
"""Rows turned into inputs at once."""


@dataclass(frozen=True)
class WeightedRows(Dataset[Tensor]):
    """Standardised rows with weights of mean one, on the training device.

    Parameters
    ----------
    rows : Tensor of shape (n_rows, n_features)
        The rows.
    weights : Tensor of shape (n_rows,)
        Their weights.
    inputs : EncoderInputs, default=None
        What the encoder reads of them, where that is known.
    """

    rows: Tensor
    weights: Tensor
    inputs: EncoderInputs | None = None

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.rows)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Rows and weights, then values and increase of the inputs."""
        if self.inputs is None:
            return self.rows, self.weights
        if self.inputs.increase is None:
            return self.rows, self.weights, self.inputs.values
        return self.rows, self.weights, self.inputs.values, self.inputs.increase

    @torch.no_grad()
    def with_inputs(self, encoder: GaussianEncoder) -> "WeightedRows":
        """Return the same rows with what an encoder reads, unless that is too large."""
        rows, design = self.rows, encoder.design
        gaps = any_missing(rows)
        if design.plain and not gaps and design.width == rows.shape[1]:
            return replace(self, inputs=EncoderInputs(rows, None))
        if len(rows) * design.width > LARGEST_INPUTS:
            return self
        values, increase = [], []
        for chunk in rows.split(CHUNK):
            inputs = encoder.inputs(chunk)
            values.append(inputs.values)
            if gaps:
                nothing = chunk.new_zeros(len(chunk), len(encoder.log_variance))
                increase.append(nothing if inputs.increase is None else inputs.increase)
        whole = EncoderInputs(
            torch.cat(values), torch.cat(increase) if increase else None
        )
        return replace(self, inputs=whole)


def count_batches(n_rows: int, batch_size: int) -> int:
    """Return how few batches of at most a size hold all rows."""
    return ceil(n_rows / batch_size)


class InMemoryBatches:
    """Batches of rows and weights; reshuffled at every pass while training.

    As few as hold all rows, and equal to within one row: a small last batch would move
    the network as far as any other, with the noise of few rows.

    Parameters
    ----------
    dataset : WeightedRows
        The rows.
    batch_size : int
        Most rows in a batch.
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

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        """Yield the tensors of batches."""
        tensors = self.dataset.tensors
        if self.generator is not None:
            rows = self.dataset.rows
            order = torch.randperm(
                len(rows), generator=self.generator, device=rows.device
            )
            # Of numbers without gaps the encoder reads the rows themselves.
            shuffled = {each: each[order] for each in set(tensors)}
            tensors = tuple(shuffled[each] for each in tensors)
        n_batches = count_batches(len(self.dataset), self.batch_size)
        parts = (each.tensor_split(n_batches) for each in tensors)
        yield from zip(*parts, strict=True)
