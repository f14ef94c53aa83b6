"""What missing values change in the terms of a score, so that scores compare.

A missing value contributes what its column does on average. And a code that has fewer
values to fit fits the others better: on average rows with gaps would score better than
complete ones, and the more so the more is missing. The term of the code pays for that.
"""

from collections.abc import Callable

import torch
from torch import Tensor

REFERENCE_ROWS = 300
REFERENCE_NUMBERS = 1 << 23
"""Most rows, and most numbers in all of their copies, from which gains are found."""

COPIES_AT_ONCE = 4096


def gap_gains(
    contributions: Callable[[Tensor], Tensor], rows: Tensor, weights: Tensor
) -> Tensor:
    """Return by how much the other terms of a row rise when a value is missing.

    Parameters
    ----------
    contributions : callable
        Returns the terms of rows, 0 for missing values and that of the code last.
    rows : Tensor of shape (n_rows, n_features)
        Rows in the units of the table.
    weights : Tensor of shape (n_rows,)
        Non-negative weights, not all 0.

    Returns
    -------
    Tensor of shape (n_features,)
        In nats: for each column the mean over some rows that have a value there.
    """
    n_features = rows.shape[1]
    most = max(1, min(REFERENCE_ROWS, REFERENCE_NUMBERS // n_features**2))
    used = (weights > 0).nonzero()[:, 0]
    used = used[:: -(-len(used) // most)]
    rows, weights = rows[used], weights[used]
    complete = contributions(rows)
    before = complete.sum(1, keepdim=True) - complete[:, :-1]
    after = torch.empty_like(before)
    for columns in torch.arange(n_features).split(max(1, COPIES_AT_ONCE // len(rows))):
        copies = rows.repeat(len(columns), 1, 1)
        copies[torch.arange(len(columns)), :, columns] = torch.nan
        terms = contributions(copies.flatten(0, 1))
        after[:, columns] = terms.sum(1).view(len(columns), -1).T
    return _means(after - before, rows.isnan(), weights)


def mean_contributions(
    contributions: Tensor, missing: Tensor, gains: Tensor, weights: Tensor
) -> Tensor:
    """Return the mean of every term: of a column over the rows that have a value.

    Parameters
    ----------
    contributions : Tensor of shape (n_rows, n_features + 1)
        Terms of rows, 0 for missing values and that of the code last.
    missing : Tensor of shape (n_rows, n_features), bool
        Which values are missing.
    gains : Tensor of shape (n_features,)
        See `gap_gains`.
    weights : Tensor of shape (n_rows,)
        Non-negative weights, not all 0.

    Returns
    -------
    Tensor of shape (n_features + 1,)
    """
    columns = _means(contributions[:, :-1], missing, weights)
    latent = contributions[:, -1] - missing.to(gains) @ gains
    return torch.cat([columns, (weights @ latent / weights.sum())[None]])


def filled_contributions(
    contributions: Tensor, missing: Tensor, gains: Tensor, means: Tensor
) -> Tensor:
    """Return terms as they would be on average, were no value missing.

    The parameters are those of `mean_contributions`, and what it returns.

    Returns
    -------
    Tensor of shape (n_rows, n_features + 1)
    """
    columns = torch.where(missing, means[:-1], contributions[:, :-1])
    latent = contributions[:, -1:] - missing.to(gains) @ gains[:, None]
    return torch.cat([columns, latent], dim=1)


def _means(terms: Tensor, missing: Tensor, weights: Tensor) -> Tensor:
    share = weights[:, None] * ~missing
    total = share.sum(0).clamp(min=torch.finfo(terms.dtype).tiny)
    return (share * terms).sum(0) / total
