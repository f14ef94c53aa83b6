"""What is known of columns with gaps: missing values are NaN."""

import torch
from torch import Tensor


def any_missing(rows: Tensor) -> bool:
    """Whether a row may hold NaN: by a sum, which is faster than a mask.

    A sum of infinite values may be NaN without one; then a mask tells them apart.
    """
    return bool(rows.sum().isnan())


def observed_mean(values: Tensor, shares: Tensor) -> Tensor:
    """Return the weighted mean over the observed rows, 0 where there are none."""
    missing = values.isnan()
    if not missing.any():
        return shares @ values / shares.sum()
    total = shares @ (~missing).to(values)
    least = torch.finfo(total.dtype).tiny
    return shares @ values.masked_fill(missing, 0) / total.clamp(min=least)


def level_frequencies(values: Tensor, shares: Tensor, n_levels: int) -> Tensor:
    """Return the shares of levels 0, 1, … in every column, all positive.

    Half a row is added to every level, so that one not seen has a finite logarithm. All
    that no row holds together get no more rows than there are levels that a single row
    holds, or one (Good, Biometrika 1953): a dtype may declare thousands of them.

    Parameters
    ----------
    values : Tensor of shape (n_rows, n_columns)
        Levels, NaN where missing.
    shares : Tensor of shape (n_rows,)
        Weights of the rows.
    n_levels : int
        Number of levels.

    Returns
    -------
    Tensor of shape (n_columns, n_levels), float64
    """
    weights = shares.double() * (len(values) / shares.sum())
    found = values.new_full((values.shape[1], n_levels), 0.5, dtype=torch.float64)
    for column, counts in zip(values.T, found, strict=True):
        seen = ~column.isnan() & (weights > 0)
        levels = column[seen].long()
        counts.index_add_(0, levels, weights[seen])
        n_rows = levels.bincount(minlength=n_levels)
        unseen, once = n_rows == 0, int((n_rows == 1).sum())
        counts[unseen] = min(0.5, max(1, once) / max(1, int(unseen.sum())))
    return found / found.sum(1, keepdim=True)
