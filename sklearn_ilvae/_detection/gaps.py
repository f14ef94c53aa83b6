"""How missing values change the terms of a score, so that scores remain comparable.

A missing value contributes the mean term of its column. That alone would favour rows
with gaps: a code that has fewer values to fit fits the remaining ones better, so the
other terms rise. Two corrections are subtracted from the term of the code. The first is
the mean rise that each missing value causes alone; the second is the additional rise
where several values are missing together.
"""

from collections.abc import Callable
from math import ceil
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

REFERENCE_ROWS = 300
REFERENCE_NUMBERS = 1 << 23
"""Limits on the rows that gains are measured on, and on the numbers in their copies."""

COPIES_AT_ONCE = 4096

MISSING_SHARES = (0.25, 0.5, 0.75, 1.0)
"""Shares of missing values at which their common gain is measured."""


class GapTerms(NamedTuple):
    """What rows with gaps need to be compared with complete ones, all in nats.

    Parameters
    ----------
    means : Tensor of shape (n_features,)
        Mean term of every column.
    gains : Tensor of shape (n_features,)
        What `gap_gains` returns.
    common : Tensor of shape (n_features + 1,)
        What `common_gains` returns.
    counts : Tensor of shape (n_features + 1,)
        Rows with a value in every column, and all rows: those measured on.
    """

    means: Tensor
    gains: Tensor
    common: Tensor
    counts: Tensor

    def after(self, before: "GapTerms") -> "GapTerms":
        """Return what the last rows of a stream tell: `REFERENCE_ROWS`, or a batch.

        A small batch tells little, and nothing of a column in which it has no value:
        then the terms of earlier rows count as well, in proportion to the rows.

        Parameters
        ----------
        before : GapTerms
            Those of earlier rows.

        Returns
        -------
        GapTerms
        """
        room = (REFERENCE_ROWS - self.counts).clamp(min=0)
        counts = self.counts + before.counts.minimum(room)
        shares = self.counts / counts.clamp(min=1)
        return GapTerms(
            before.means.lerp(self.means, shares[:-1]),
            before.gains.lerp(self.gains, shares[:-1]),
            before.common.lerp(self.common, shares[-1]),
            counts,
        )

    def filled(self, contributions: Tensor, missing: Tensor) -> Tensor:
        """Return the expected terms of rows if no value were missing.

        Parameters
        ----------
        contributions : Tensor of shape (n_rows, n_features + 1)
            Terms of rows, 0 for missing values and that of the code last.
        missing : Tensor of shape (n_rows, n_features), bool
            Which values are missing.

        Returns
        -------
        Tensor of shape (n_rows, n_features + 1)
        """
        columns = torch.where(missing, self.means, contributions[:, :-1])
        gained = missing.to(self.gains) @ self.gains + self.common[missing.sum(1)]
        return torch.cat([columns, (contributions[:, -1] - gained)[:, None]], dim=1)


def measure_gaps(
    contributions: Callable[[Tensor], Tensor],
    rows: Tensor,
    terms: Tensor,
    weights: Tensor,
    seed: int,
) -> GapTerms:
    """Measure the effect of missing values on rows from which values are taken away.

    Parameters
    ----------
    contributions, rows, weights
        As in `gap_gains`.
    terms : Tensor of shape (n_rows, n_features + 1)
        The contributions of the rows.
    seed : int
        Seed of the rows and of what is taken away.

    Returns
    -------
    GapTerms
    """
    gains = gap_gains(contributions, rows, weights, seed)
    means = column_means(terms[:, :-1], rows.isnan(), weights)
    common = common_gains(contributions, rows, weights, gains, means, seed)
    used = rows[weights > 0]
    counts = functional.pad((~used.isnan()).sum(0), (0, 1), value=len(used))
    return GapTerms(means, gains, common, counts.to(means))


def gap_gains(
    contributions: Callable[[Tensor], Tensor], rows: Tensor, weights: Tensor, seed: int
) -> Tensor:
    """Return by how much the other terms of a row rise when a value is missing.

    In very wide tables it is measured for some columns, and others get their mean.

    Parameters
    ----------
    contributions : callable
        Returns the terms of rows, 0 for missing values and that of the code last.
    rows : Tensor of shape (n_rows, n_features)
        Rows in the units of the table.
    weights : Tensor of shape (n_rows,)
        Non-negative weights, not all 0.
    seed : int
        Seed of the rows that it is measured on.

    Returns
    -------
    Tensor of shape (n_features,)
        In nats: for each column the mean over some rows that have a value there.
    """
    n_features = rows.shape[1]
    generator = torch.Generator().manual_seed(seed)
    rows, weights = _reference(rows, weights, generator)
    complete = contributions(rows)
    before = complete.sum(1, keepdim=True) - complete[:, :-1]
    after = before.clone()
    step = ceil(n_features**2 / REFERENCE_NUMBERS)
    measured = torch.arange(0, n_features, step, device=rows.device)
    for columns in measured.split(max(1, COPIES_AT_ONCE // len(rows))):
        copies = rows.repeat(len(columns), 1, 1)
        places = torch.arange(len(columns), device=rows.device)
        copies[places, :, columns] = torch.nan
        terms = contributions(copies.flatten(0, 1))
        after[:, columns] = terms.sum(1).view(len(columns), -1).T
    gains = column_means(after - before, rows.isnan(), weights)
    if len(measured) < n_features:
        found = measured[~rows[:, measured].isnan().all(0)]
        mean = gains[found].sum() / max(1, len(found))
        gains = mean.repeat(n_features).index_copy(0, found, gains[found])
    return gains


def common_gains(
    contributions: Callable[[Tensor], Tensor],
    rows: Tensor,
    weights: Tensor,
    gains: Tensor,
    means: Tensor,
    seed: int,
) -> Tensor:
    """Return by how much more a row rises when several values are missing at once.

    It is measured on the rows with the fewest gaps of their own: random values are
    removed, and the mean score is compared with the one before. Between the numbers of
    missing values at which it is measured, it is interpolated linearly.

    Parameters
    ----------
    contributions, rows, weights
        As in `gap_gains`.
    gains : Tensor of shape (n_features,)
        What `gap_gains` returns.
    means : Tensor of shape (n_features,)
        Mean term of every column.
    seed : int
        Seed of the rows, those of `gap_gains`, and of what is taken away.

    Returns
    -------
    Tensor of shape (n_features + 1,)
        In nats, by the number of missing values; 0 for none and for one.
    """
    n_features = rows.shape[1]
    generator = torch.Generator().manual_seed(seed)
    rows, weights = _reference(rows, weights, generator)
    counts = rows.isnan().sum(1)
    few = int(counts.double().quantile(0.25, interpolation="lower"))
    rows, weights = rows[counts <= few], weights[counts <= few]
    order = torch.rand(rows.shape, generator=generator, dtype=rows.dtype).to(rows)
    order[rows.isnan()] = -1  # what is missing already comes first
    place = order.argsort(1).argsort(1)

    def mean_score(table: Tensor) -> float:
        missing = table.isnan().to(gains)
        scores = contributions(table).sum(1) + missing @ (means - gains)
        return float(weights @ scores / weights.sum())

    sizes, found = [max(1, few)], [0.0]  # and 0 for fewer
    complete = mean_score(rows)
    for size in (ceil(share * n_features) for share in MISSING_SHARES):
        if size > sizes[-1]:
            sizes.append(size)
            gone = rows.masked_fill(place < size, torch.nan)
            found.append(mean_score(gone) - complete)
    return torch.tensor(np.interp(range(n_features + 1), sizes, found)).to(gains)


def column_means(terms: Tensor, missing: Tensor, weights: Tensor) -> Tensor:
    """Return the mean term of every column over the rows that have a value.

    Parameters
    ----------
    terms : Tensor of shape (n_rows, n_features)
    missing : Tensor of shape (n_rows, n_features), bool
        Which values are missing.
    weights : Tensor of shape (n_rows,)
        Non-negative weights, not all 0.

    Returns
    -------
    Tensor of shape (n_features,)
        0 for a column without values.
    """
    share = weights[:, None] * ~missing
    total = share.sum(0).clamp(min=torch.finfo(terms.dtype).tiny)
    return (share * terms).sum(0) / total


def _reference(
    rows: Tensor, weights: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return a limited number of the rows of positive weight, drawn at random.

    Evenly spaced ones would be all of a kind where kinds of rows take turns.
    """
    most = max(1, min(REFERENCE_ROWS, REFERENCE_NUMBERS // rows.shape[1] ** 2))
    used = (weights > 0).nonzero()[:, 0]
    if len(used) > most:
        drawn = torch.randperm(len(used), generator=generator)[:most]
        used = used[drawn.to(used.device)]
    return rows[used], weights[used]
