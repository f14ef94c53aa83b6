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
            Non-negative weights. Rows of weight 0 are as good as absent.
        size : int
            Most rows to keep.
        seed : int
            Seed of the draw.
        """
        seen = np.flatnonzero(weights > 0)
        # Another stream for each batch: one seed serves all calls of partial_fit.
        noise = np.random.default_rng((seed, self.n_seen)).gumbel(size=len(seen))
        keys = np.concatenate([self.keys, noise + np.log(weights[seen])])
        kept: dict[bytes, int] = {}
        for place in np.argsort(-keys, kind="stable"):
            if len(kept) == size:
                break
            kept.setdefault(self._row(place, rows, seen).tobytes(), place)
        places = np.array(list(kept.values()), dtype=int)
        chosen = [self._row(place, rows, seen) for place in places]
        joined = np.array(chosen).reshape(-1, rows.shape[1])
        order = np.lexsort(joined.T[::-1])
        return type(self)(joined[order], keys[places][order], self.n_seen + len(seen))

    def _row(
        self, place: int, new: NDArray[Any], seen: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Return a row of the sample or, from its end on, one of those seen now."""
        old = place < len(self.rows)
        row = self.rows[place] if old else new[seen[place - len(self.rows)]]
        return row.astype(np.float64)
