"""A random sample of all rows that a stream has brought."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Reservoir:
    """A weighted random sample of rows without replacement, drawn in one pass.

    Each row gets the logarithm of its weight and Gumbel noise for a key; those with
    the largest keys stay (Efraimidis & Spirakis, Information Processing Letters 97,
    2006, on a logarithmic scale). Of equal rows one stays.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, n_features), float64
        The sample.
    keys : ndarray of shape (n_rows,)
        The key of each.
    n_seen : int
        Rows of positive weight that were seen.
    """

    rows: NDArray[Any]
    keys: NDArray[Any]
    n_seen: int

    @classmethod
    def empty(cls, n_features: int) -> Self:
        """Return a sample of no row."""
        return cls(np.empty((0, n_features)), np.empty(0), 0)

    def joined(
        self, rows: NDArray[Any], weights: NDArray[Any], size: int, seed: int
    ) -> Self:
        """Return the sample after more rows.

        Parameters
        ----------
        rows : ndarray of shape (n_rows, n_features)
            What is new.
        weights : ndarray of shape (n_rows,)
            Non-negative weights, of which only the ratios matter: the rows of positive
            weight have a mean weight of 1. Rows of weight 0 have no effect.
        size : int
            Most rows to keep.
        seed : int
            Seed of the draw.
        """
        seen = np.flatnonzero(weights > 0)
        # Another stream for each batch: one seed serves all calls of partial_fit.
        noise = np.random.default_rng((seed, self.n_seen)).gumbel(size=len(seen))
        new_keys = noise + np.log(weights[seen] / weights[seen].mean())
        order = np.argsort(-new_keys, kind="stable")
        count = size
        while True:
            some = order[:count]
            joined = np.concatenate([self.rows, rows[seen[some]]], dtype=np.float64)
            keys = np.concatenate([self.keys, new_keys[some]])
            kept = _best_of_equal(joined, keys)[:size]
            # Rows of the sample must not fill the places of new ones with larger keys.
            if count >= len(order) or (
                len(kept) == size and np.all(keys[kept] >= new_keys[order[count]])
            ):
                return type(self)(joined[kept], keys[kept], self.n_seen + len(seen))
            count *= 4


def _best_of_equal(rows: NDArray[Any], keys: NDArray[Any]) -> NDArray[np.int64]:
    """Return where distinct rows are, each with its largest key, from the largest."""
    by_key = np.argsort(-keys, kind="stable")
    canonical = rows[by_key] + 0.0  # no negative zeros
    canonical[np.isnan(canonical)] = np.nan
    width = canonical.itemsize * canonical.shape[1]
    as_bytes = canonical.view(np.dtype((np.void, width))).ravel()
    _, first = np.unique(as_bytes, return_index=True)
    return by_key[np.sort(first)]
