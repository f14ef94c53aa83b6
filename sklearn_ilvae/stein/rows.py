"""Rows of a sample: read in chunks, duplicates merged, in coordinates of unit scale.

The source is never copied whole, so that it may be a memory-mapped file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

# 16 MiB of float64.
_CHUNK_ELEMENTS = 2**21
# Columns whose deviations differ by less may share a unit.
_COMMENSURABLE = 100.0
N_FOLDS = 5
# From here on two thirds of the rows choose as four fifths do: the best strength falls
# more slowly than 1/n, so that it moves by less than half a step of the grid.
_ROWS_FOR_FEWER_FOLDS, _FEWER_FOLDS = 1000, 3
_MOST_ROWS_IN_FOLDS = 25_000
_HELD_OUT_ROWS = 10_000
# Squares of smaller numbers vanish.
_SMALLEST_SHARE = 1e-140
# Columns that differ by so many units in the last place are constant.
_ROUNDINGS = 4
# Beside a deviation so many times that of most rows, all of those look equal.
_WILD = 100.0
_MAD_OF_A_GAUSSIAN = 0.6745
# Any point among the rows serves as their center.
_CENTRAL_ROWS = 1000


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
    """

    source: Tensor
    index: Tensor | None
    weights: Tensor
    rank: Tensor
    center: Tensor
    inverse_scale: Tensor
    device: torch.device
    axes: Tensor | None = None

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
            for part in _slices(len(self), width):
                yield part, self.read(part)
            return
        # They go to another device once, not with every chunk.
        places = self._in_source(positions)
        for part in _slices(len(positions), width):
            yield positions[part], self.place(self.source[places[part]])

    def lowest_ranks(self, count: int) -> Tensor:
        """Return the sorted positions of `count` distinct rows drawn at random."""
        return torch.nonzero(self.rank < count).squeeze(1)

    def take(self, positions: Tensor) -> Rows:
        """Return the distinct rows at sorted `positions` as a sample of their own."""
        weights = self.weights[positions]
        return replace(
            self,
            index=self._in_source(positions),
            weights=weights / weights.sum(),
            rank=torch.argsort(torch.argsort(self.rank[positions])),
        )

    def ratio_to_common_scale(self) -> Tensor | None:
        """Return the ratio of one scale for all coordinates to that of each.

        None where the scales are too different to share a unit.
        """
        scale = self.scale
        if len(scale) == 0 or float(scale.max() / scale.min()) >= _COMMENSURABLE:
            return None
        return scale.log().mean().exp() / scale

    def on_common_scale(self, ratio: Tensor) -> Rows:
        """Return the same rows stretched by the `ratio_to_common_scale`."""
        scale = self.scale * ratio
        if self.axes is None:
            return replace(self, inverse_scale=scale)
        directions = self.inverse_scale[:, None] * self.axes / self.scale
        common = scale.mean().expand_as(self.inverse_scale)
        return replace(self.rescaled(common), axes=directions)

    def rescaled(self, inverse_scale: Tensor) -> Rows:
        """Return the same rows, non-constant columns with another `inverse_scale`."""
        constant = self.inverse_scale == 0
        return replace(self, inverse_scale=inverse_scale.masked_fill(constant, 0.0))

    def placed_like(self, other: Rows) -> Rows:
        """Return the same rows in the coordinates of others."""
        return replace(self, inverse_scale=other.inverse_scale, axes=other.axes)


@dataclass(frozen=True)
class Split:
    """Parts of the rows, the first of which are held out one after the other.

    Attributes
    ----------
    labels : Tensor of shape (n_distinct,)
        The part of each row.
    n_parts, n_held_out : int
        The parts ``0 … n_held_out − 1`` are held out from a fit to all other parts.
    validated : Tensor of shape (n_validated,)
        Sorted positions of the rows on which losses are compared.
    n_kept : int
        The smallest number of rows that a fit to the other parts sees.
    """

    labels: Tensor
    n_parts: int
    n_held_out: int
    validated: Tensor
    n_kept: int

    @property
    def in_folds(self) -> bool:
        """Whether every row is held out once."""
        return self.n_parts == self.n_held_out

    def positions(self, part: int) -> Tensor:
        """Return the sorted positions of the rows of a part."""
        return torch.nonzero(self.labels == part).squeeze(1)

    def others(self, part: int) -> Tensor:
        """Return the sorted positions of the rows of all other parts."""
        return torch.nonzero(self.labels != part).squeeze(1)


def split_rows(rows: Rows) -> Split:
    """Split into folds; a large sample into a part held out and the rest.

    With many rows one part gives a loss as precise as that of folds, for one pass and
    one decomposition instead of five.
    """
    n = len(rows)
    if n > _MOST_ROWS_IN_FOLDS:
        return hold_out(rows, _HELD_OUT_ROWS)
    count = N_FOLDS if n < _ROWS_FOR_FEWER_FOLDS else _FEWER_FOLDS
    count = count if n >= 2 * N_FOLDS else 0
    labels = rows.rank % max(count, 1)
    validated = rows.lowest_ranks(n)
    kept = n - -(-n // (count or N_FOLDS))
    return Split(labels, max(count, 1), count, validated, kept)


def hold_out(rows: Rows, count: int) -> Split:
    """Hold out the `count` rows of highest rank."""
    kept = len(rows) - count
    labels = (rows.rank < kept).to(torch.int64)
    validated = torch.nonzero(labels == 0).squeeze(1)
    return Split(labels, 2, 1, validated, kept)


def _slices(length: int, width: int) -> Iterator[slice]:
    step = max(256, _CHUNK_ELEMENTS // max(width, 1))
    for start in range(0, length, step):
        yield slice(start, min(start + step, length))


def read_rows(
    X: Tensor,
    weights: Tensor | None = None,
    *,
    generator: torch.Generator,
    device: torch.device,
) -> Rows:
    """Find the distinct rows of a sample, its location and its scale.

    Parameters
    ----------
    X : Tensor of shape (n, d)
        Finite values.
    weights : Tensor of shape (n,), default=None
        How often each row counts; rows of weight 0 take no part. By default once.
    generator : torch.Generator
        Source of the random permutation, on the CPU.
    device : torch.device
        Where to compute.

    Returns
    -------
    rows : Rows
        Centred at a median, each column divided by its standard deviation; where that
        is a hundred times what the median deviation tells, by what that tells. Columns
        that differ only by rounding count as constant.
    """
    if X.ndim != 2 or X.numel() == 0:
        raise ValueError(
            f"X has shape {tuple(X.shape)}; pass at least one row and one column"
        )
    index, shares = _distinct(X, _checked_weights(X, weights, device))
    rank = torch.randperm(len(shares), generator=generator).to(device)
    nothing = torch.zeros(X.shape[1], dtype=torch.float64, device=device)
    rows = Rows(X, index, shares, rank, nothing, nothing + 1.0, device)

    low, high = nothing + torch.inf, nothing - torch.inf
    for _, block in rows.chunks(1):
        low = torch.minimum(low, block.amin(0))
        high = torch.maximum(high, block.amax(0))
    bad = ~torch.isfinite(low + high)
    if bad.any():
        column = int(torch.nonzero(bad)[0])
        raise ValueError(
            f"column {column} of X contains NaN or infinity; drop or impute those rows"
        )
    # A mean would lie far from most rows where one is far from all others, and the
    # differences of those would be lost to rounding.
    some = rows.read(rows.lowest_ranks(_CENTRAL_ROWS))
    middle = some.median(0).values
    # Halves, and moments on [−2, 2], keep columns near the largest float finite.
    half_range = high / 2 - low / 2
    unit = (1.0 / half_range).masked_fill(high == low, 0.0)
    too_fine = ~torch.isfinite(unit.square())
    if too_fine.any():
        column = int(torch.nonzero(too_fine)[0])
        raise ValueError(
            f"column {column} of X varies by only {float(2 * half_range[column]):.3g}, "
            "so its score would overflow; multiply that column by a large constant"
        )
    rows = replace(rows, center=middle, inverse_scale=unit)
    mean = nothing
    for part, block in rows.chunks(1):
        mean = mean + rows.weights[part] @ block
    variance = nothing
    for part, block in rows.chunks(1):
        variance = variance + rows.weights[part] @ (block - mean).square()
    rounding = _ROUNDINGS * torch.finfo(torch.float64).eps * middle.abs()
    unit = unit.masked_fill(variance.sqrt() * half_range <= rounding, 0.0)
    deviation = variance.sqrt().masked_fill(unit == 0, 1.0)
    typical = ((some - middle) * unit).abs().median(0).values / deviation
    hidden = (typical > 0) & (typical < _SMALLEST_SHARE)
    if hidden.any():
        column = int(torch.nonzero(hidden)[0])
        raise ValueError(
            f"column {column} of X reaches from {float(low[column]):.3g} to "
            f"{float(high[column]):.3g}, beside which most of its values are equal in "
            "double precision; remove the rows far away, or transform the column"
        )
    wild = (typical > 0) & (_WILD * typical < _MAD_OF_A_GAUSSIAN)
    deviation = torch.where(wild, deviation * typical / _MAD_OF_A_GAUSSIAN, deviation)
    return replace(rows, inverse_scale=unit / deviation)


def _checked_weights(X: Tensor, weights: Tensor | None, device: torch.device) -> Tensor:
    if weights is None:
        return torch.ones(len(X), dtype=torch.float64, device=device)
    if weights.shape != (len(X),):
        raise ValueError(
            f"weights has shape {tuple(weights.shape)}; pass one number for each of "
            f"the {len(X)} rows of X"
        )
    weights = weights.to(device, torch.float64)
    for bad, what in [
        (~torch.isfinite(weights), "not finite"),
        (weights < 0, "negative"),
    ]:
        if bad.any():
            row = int(torch.nonzero(bad)[0])
            raise ValueError(
                f"weights[{row}]={float(weights[row])!r} is {what}; pass finite "
                "numbers, 0 to leave a row out"
            )
    if not (weights > 0).any():
        raise ValueError("weights are all 0; pass a positive one for at least one row")
    # By a power of two, which rounds nothing, so that no sum overflows.
    size = torch.frexp(weights.max()).exponent.clamp(min=-1000)
    shares = weights * 2.0 ** -size.double()
    # Sums lose what is at their rounding.
    return shares.masked_fill(shares < torch.finfo(shares.dtype).eps, 0.0)


def row_keys(X: Tensor, device: torch.device) -> Tensor:
    """Return a number for each row, the same for equal rows alone.

    Parameters
    ----------
    X : Tensor of shape (n, d)
    device : torch.device
        Where to compute.

    Returns
    -------
    keys : Tensor of shape (n,), int64
    """
    n, d = X.shape
    limit, generator = 2**62, torch.Generator().manual_seed(0)
    odd = torch.randint(-limit, limit, (d + 1,), generator=generator).to(device) * 2 + 1
    keys = torch.empty(n, dtype=torch.int64, device=device)
    for part in _slices(n, d):
        # Adding 0.0 turns −0.0 into 0.0; both factors of the mixing are odd, so that
        # different numbers stay different.
        bits = (X[part].to(device, torch.float64) + 0.0).contiguous().view(torch.int64)
        bits = (bits ^ (bits >> 32)) * odd[-1]
        keys[part] = ((bits ^ (bits >> 29)) * odd[:-1]).sum(1)
    return keys


def _distinct(X: Tensor, weights: Tensor) -> tuple[Tensor | None, Tensor]:
    """Return where each distinct row first occurs, and its share of the sample.

    Equal rows leak from one fold to another, which would drive the regularisation to 0.
    """
    n, keys = len(X), row_keys(X, weights.device)
    present = torch.nonzero(weights > 0).squeeze(1)
    distinct, inverse = torch.unique(keys[present], return_inverse=True)
    if len(distinct) == n:
        return None, weights / weights.sum()
    first = torch.full_like(distinct, n)
    first.scatter_reduce_(0, inverse, present, "amin")
    first, order = torch.sort(first)
    totals = weights.new_zeros(len(distinct)).index_add_(0, inverse, weights[present])
    return first.to(X.device), totals[order] / weights.sum()
