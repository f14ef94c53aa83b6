"""A random sample of all rows that a stream has brought."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Reservoir:
    """A weighted random sample of rows without replacement, drawn in one pass.

    Each row gets the key ``log(u) / w`` for a uniform u and its weight w; those with
    the largest keys stay (Efraimidis & Spirakis, Information Processing Letters 97,
    2006). Of equal rows one stays.

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
            Non-negative weights. Rows of weight 0 are as good as absent.
        size : int
            Most rows to keep.
        seed : int
            Seed of the draw.
        """
        seen = np.flatnonzero(weights > 0)
        # Another stream for each batch: one seed serves all calls of partial_fit.
        uniform = np.random.default_rng((seed, self.n_seen)).random(len(seen))
        keys = np.concatenate([self.keys, np.log1p(-uniform) / weights[seen]])
        first = np.argsort(-keys, kind="stable")[:size]
        old, new = first[first < len(self.rows)], first[first >= len(self.rows)]
        chosen = rows[seen[new - len(self.rows)]]
        joined = np.concatenate([self.rows[old], chosen], dtype=np.float64)
        distinct, places = np.unique(joined, axis=0, return_index=True)
        keys = np.concatenate([keys[old], keys[new]])[places]
        return type(self)(distinct, keys, self.n_seen + len(seen))
