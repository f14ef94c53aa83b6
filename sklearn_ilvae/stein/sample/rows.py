"""Rows of a sample in coordinates of unit scale, read in chunks.

The source is never copied whole, so that it may be a memory-mapped file.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

CHUNK_ELEMENTS = 2**21
"""Numbers of a chunk: 16 MiB of float64."""

FEWEST_ROWS_OF_A_CHUNK = 256
"""Rows of a chunk, however many columns go with them."""

COMMENSURABLE = 100.0
"""Columns whose deviations differ by a smaller factor may share a unit."""


@dataclass(frozen=True)
class Rows:
    """Distinct rows of a sample with their weights.

    Attributes
    ----------
    source : Tensor of shape (n, d)
        The sample, in any floating type, on any device.
    index : Tensor of shape (n_distinct,) or None
        Where each distinct row first occurs, on the device of the source; None when all
        rows are distinct. All other tensors are on the `device`.
    weights : Tensor of shape (n_distinct,)
        Share of the sample that equals each row; they sum to 1.
    rank : Tensor of shape (n_distinct,)
        A random permutation, from which folds, subsets and landmarks are drawn.
    center, inverse_scale : Tensor of shape (d,)
        The coordinates are ``u = D (x − center)``, with D the inverse scales on a
        diagonal; constant columns have an inverse scale of 0.
    device : torch.device
        Where chunks are sent and computed with.
    axes : Tensor of shape (d, r) or None
        Where the rows lie in a plane, their coordinates are ``Wᵀ u`` instead. The
        columns of ``D W`` are orthogonal, and span the plane in the units of X.
    own_scale : Tensor of shape (d,) or None
        The inverse scales by the deviations of the columns, which those by a given
        bandwidth took the place of; None where none did.
    """

    source: Tensor
    index: Tensor | None
    weights: Tensor
    rank: Tensor
    center: Tensor
    inverse_scale: Tensor
    device: torch.device
    axes: Tensor | None = None
    own_scale: Tensor | None = None

    def __len__(self) -> int:
        return len(self.weights)

    @property
    def n_features(self) -> int:
        """Number of columns."""
        return int(self.source.shape[1])

    @property
    def dimension(self) -> int:
        """Number of coordinates."""
        return len(self.center) if self.axes is None else int(self.axes.shape[1])

    @property
    def few(self) -> bool:
        """Whether there are no more rows than coordinates."""
        return len(self) <= self.dimension

    @property
    def scale(self) -> Tensor:
        """How far a step of length 1 along each coordinate, in X, moves it, (r,)."""
        if self.axes is None:
            return self.inverse_scale
        steps = self.inverse_scale[:, None] * self.axes
        # Squares of small scales would vanish.
        largest = steps.abs().amax(0)
        return largest * torch.linalg.vector_norm(steps / largest, dim=0)

    def place(self, block: Tensor) -> Tensor:
        """Return the coordinates of points, in the dtype of the center."""
        block = block.to(self.center)
        U = (block - self.center) * self.inverse_scale
        return U if self.axes is None else U @ self.axes

    def read(self, which: slice | Tensor) -> Tensor:
        """Return the coordinates of the distinct rows `which`."""
        if isinstance(which, Tensor):
            which = self._in_source(which)
        elif self.index is not None:
            which = self.index[which]
        return self.place(self.source[which])

    def _in_source(self, positions: Tensor) -> Tensor:
        """Return where distinct rows are in the source, on the device of that."""
        positions = positions.to(self.source.device)
        return positions if self.index is None else self.index[positions]

    def chunks(
        self, width: int, positions: Tensor | None = None
    ) -> Iterator[tuple[slice | Tensor, Tensor]]:
        """Yield ``(positions, rows)`` so that arrays of `width` columns stay small."""
        width = max(width, self.n_features)
        if positions is None:
            for part in slices(len(self), width):
                yield part, self.read(part)
            return
        # They go to another device once, not with every chunk.
        places = self._in_source(positions)
        for part in slices(len(positions), width):
            yield positions[part], self.place(self.source[places[part]])

    def lowest_ranks(self, count: int) -> Tensor:
        """Return the sorted positions of `count` distinct rows drawn at random."""
        return torch.nonzero(self.rank < count).squeeze(1)

    def take(self, positions: Tensor) -> Self:
        """Return the distinct rows at sorted `positions` as a sample of their own."""
        weights = self.weights[positions]
        return replace(
            self,
            index=self._in_source(positions),
            weights=weights / weights.sum(),
            rank=torch.argsort(torch.argsort(self.rank[positions])),
        )

    @property
    def commensurable(self) -> bool:
        """Whether own scales are close enough to share a unit."""
        scale = self.scale * self.ratio_to_own_scale()
        return len(scale) > 0 and float(scale.max() / scale.min()) < COMMENSURABLE

    @property
    def along_columns(self) -> bool:
        """Whether each coordinate is that of one column."""
        return self.axes is None or int((self.axes != 0).sum()) == self.dimension

    def ratio_to_own_scale(self) -> Tensor:
        """Return the ratio of the scale by its deviation to that of each coordinate.

        1 for the axes of a plane that are no columns, which have none of their own.
        """
        if self.own_scale is None or not self.along_columns:
            return torch.ones_like(self.scale)
        ratio = self.own_scale / self.inverse_scale
        return ratio if self.axes is None else ratio.nan_to_num() @ self.axes

    def ratio_to_common_scale(self) -> Tensor:
        """Return the ratio of one scale for all coordinates to that of each."""
        scale = self.scale
        return scale.log().mean().exp() / scale

    def on_common_scale(self, ratio: Tensor) -> Self:
        """Return the same rows stretched by the `ratio_to_common_scale`."""
        scale = self.scale * ratio
        if self.axes is None:
            return replace(self, inverse_scale=scale)
        directions = self.inverse_scale[:, None] * self.axes / self.scale
        common = scale.mean().expand_as(self.inverse_scale)
        return replace(self.rescaled(common), axes=directions)

    def rescaled(self, inverse_scale: Tensor) -> Self:
        """Return the same rows, non-constant columns with another `inverse_scale`."""
        constant = self.inverse_scale == 0
        return replace(self, inverse_scale=inverse_scale.masked_fill(constant, 0.0))

    def placed_like(self, other: Self) -> Self:
        """Return the same rows in the coordinates of others."""
        return replace(self, inverse_scale=other.inverse_scale, axes=other.axes)


def slices(length: int, width: int) -> Iterator[slice]:
    """Yield slices of a length, so that arrays of `width` columns stay small."""
    step = max(FEWEST_ROWS_OF_A_CHUNK, CHUNK_ELEMENTS // max(width, 1))
    for start in range(0, length, step):
        yield slice(start, min(start + step, length))
