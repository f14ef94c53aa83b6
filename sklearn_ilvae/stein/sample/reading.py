"""A sample as `Rows`: duplicates merged, each column centred and scaled."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from .rows import Rows, slices

SMALLEST_SHARE = 1e-140
"""Smallest deviation of most rows, relative to that of all.

Squares of smaller numbers vanish.
"""

ROUNDINGS = 4
"""Columns that differ by at most so many units in the last place are constant."""

WILD = 100.0
"""Beside a deviation so many times that of most rows, all of those look equal."""

MAD_OF_A_GAUSSIAN = 0.6745
"""Median absolute deviation of a Gaussian, in standard deviations."""

CENTRAL_ROWS = 1000
"""Rows drawn to find the centre and the deviation of most."""


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
    check_tensor(X)
    if X.ndim != 2 or X.numel() == 0:
        raise ValueError(
            f"X has shape {tuple(X.shape)}; pass at least one row and one column"
        )
    if X.is_complex():
        raise ValueError(f"X has dtype {X.dtype}; pass real numbers")
    index, shares = _distinct(X, _checked_weights(X, weights, device))
    source = generator.device
    rank = torch.randperm(len(shares), generator=generator, device=source).to(device)
    zeros = torch.zeros(X.shape[1], dtype=torch.float64, device=device)
    rows = Rows(X, index, shares, rank, zeros, zeros + 1.0, device)

    low, high = _range_of(rows)
    # Any point among the rows serves as their centre. A mean would lie far from most
    # where one is far from all others, and the differences of those would be lost to
    # rounding.
    middle = rows.read(rows.lowest_ranks(CENTRAL_ROWS)).median(0).values
    # Halves, and moments on [−2, 2], keep columns near the largest float finite.
    half_range = high / 2 - low / 2
    unit = (1.0 / half_range).masked_fill(high == low, 0.0)
    _check_fineness(unit, half_range)
    rows = replace(rows, center=middle, inverse_scale=unit)

    deviation = _deviation_of(rows)
    rounding = ROUNDINGS * torch.finfo(torch.float64).eps * middle.abs()
    unit = unit.masked_fill(deviation * half_range <= rounding, 0.0)
    rows = replace(rows, inverse_scale=unit)
    deviation = deviation.masked_fill(unit == 0, 1.0)

    central = rows.read(rows.lowest_ranks(CENTRAL_ROWS))
    typical = central.abs().median(0).values / deviation
    _check_typical(typical, low, high)
    wild = (typical > 0) & (WILD * typical < MAD_OF_A_GAUSSIAN)
    deviation = torch.where(wild, deviation * typical / MAD_OF_A_GAUSSIAN, deviation)
    return replace(rows, inverse_scale=unit / deviation)


def check_tensor(X: Any) -> None:
    """Refuse what is no tensor."""
    if not isinstance(X, Tensor):
        raise TypeError(
            f"X is of type {type(X).__name__}; pass a torch tensor, for example "
            "torch.as_tensor(X)"
        )


def _range_of(rows: Rows) -> tuple[Tensor, Tensor]:
    """Return the smallest and the largest value of each column, all finite."""
    low = torch.full_like(rows.center, torch.inf)
    high = torch.full_like(rows.center, -torch.inf)
    for _, block in rows.chunks(1):
        low = torch.minimum(low, block.amin(0))
        high = torch.maximum(high, block.amax(0))
    bad = ~torch.isfinite(low + high)
    if bad.any():
        raise ValueError(
            f"column {_first(bad)} of X contains NaN or infinity; drop or impute those "
            "rows"
        )
    return low, high


def _deviation_of(rows: Rows) -> Tensor:
    """Return the standard deviation of each coordinate."""
    mean = torch.zeros_like(rows.center)
    for part, block in rows.chunks(1):
        mean = mean + rows.weights[part] @ block
    variance = torch.zeros_like(mean)
    for part, block in rows.chunks(1):
        variance = variance + rows.weights[part] @ (block - mean).square()
    return variance.sqrt()


def _check_fineness(unit: Tensor, half_range: Tensor) -> None:
    """Refuse columns whose scores, squared, would overflow."""
    too_fine = ~torch.isfinite(unit.square())
    if too_fine.any():
        column = _first(too_fine)
        raise ValueError(
            f"column {column} of X varies by only {float(2 * half_range[column]):.3g}, "
            "so its score would overflow; multiply that column by a large constant"
        )


def _check_typical(typical: Tensor, low: Tensor, high: Tensor) -> None:
    """Refuse columns in which most rows deviate by nearly nothing beside some."""
    hidden = (typical > 0) & (typical < SMALLEST_SHARE)
    if hidden.any():
        column = _first(hidden)
        raise ValueError(
            f"column {column} of X reaches from {float(low[column]):.3g} to "
            f"{float(high[column]):.3g}, beside which most of its values are equal in "
            "double precision; remove the rows far away, or transform the column"
        )


def _first(marked: Tensor) -> int:
    return int(torch.nonzero(marked)[0])


def _checked_weights(X: Tensor, weights: Tensor | None, device: torch.device) -> Tensor:
    if weights is None:
        return torch.ones(len(X), dtype=torch.float64, device=device)
    if weights.shape != (len(X),):
        raise ValueError(
            f"weights has shape {tuple(weights.shape)}; pass as many numbers as X has "
            f"rows, {len(X)}"
        )
    weights = weights.to(device, torch.float64)
    for bad, what in [
        (~torch.isfinite(weights), "not finite"),
        (weights < 0, "negative"),
    ]:
        if bad.any():
            row = _first(bad)
            raise ValueError(
                f"weights[{row}]={float(weights[row])!r} is {what}; pass finite "
                "numbers, 0 to leave a row out"
            )
    if not (weights > 0).any():
        raise ValueError("weights are all 0; pass a positive one for at least one row")
    # By a power of two, which rounds nothing, so that no sum overflows: at most by the
    # largest one.
    size = torch.frexp(weights.max()).exponent.clamp(min=-1023)
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
    odd = torch.randint(-limit, limit, (d + 1,), generator=generator, device="cpu")
    odd = odd.to(device) * 2 + 1
    keys = torch.empty(n, dtype=torch.int64, device=device)
    for part in slices(n, d):
        # Adding 0.0 turns −0.0 into 0.0; both factors of the mixing are odd, so that
        # different numbers stay different.
        bits = (X[part].to(device, torch.float64) + 0.0).contiguous().view(torch.int64)
        bits = (bits ^ (bits >> 32)) * odd[-1]
        keys[part] = ((bits ^ (bits >> 29)) * odd[:-1]).sum(1)
    return keys


def numbered(keys: Tensor) -> tuple[Tensor, Tensor]:
    """Return distinct keys numbered in the order of their first occurrence.

    Parameters
    ----------
    keys : Tensor of shape (n,), int64

    Returns
    -------
    first : Tensor of shape (n_distinct,), int64
        Where each first occurs.
    number : Tensor of shape (n,), int64
        Which of them each key is.
    """
    places = torch.arange(len(keys), device=keys.device)
    distinct, which = torch.unique(keys, return_inverse=True)
    if len(distinct) == len(keys):
        return places, places
    first = torch.full_like(distinct, len(keys))
    first.scatter_reduce_(0, which, places, "amin")
    first, order = torch.sort(first)
    return first, torch.argsort(order)[which]


def _distinct(X: Tensor, weights: Tensor) -> tuple[Tensor | None, Tensor]:
    """Return where each distinct row first occurs, and its share of the sample.

    Equal rows leak from one fold to another, which would drive the regularisation to 0.
    """
    n, keys = len(X), row_keys(X, weights.device)
    present = torch.nonzero(weights > 0).squeeze(1)
    first, number = numbered(keys[present])
    if len(first) == n:
        return None, weights / weights.sum()
    totals = weights.new_zeros(len(first)).index_add_(0, number, weights[present])
    return present[first].to(X.device), totals / weights.sum()
