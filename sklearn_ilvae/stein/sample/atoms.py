"""Columns in which many rows share a value, along which there is no score.

The distribution has no density there, and the Hyvärinen loss no minimum: the narrower a
field pulls to such a value, the lower it is.
"""

from dataclasses import replace

from torch import Tensor

from .rows import Rows

MOST_ROWS_READ = 1000
"""Rows drawn to find the values that many share."""

LARGEST_SHARE = 0.1
"""Share of the distinct rows above which it takes more than rounding to be equal."""


def where_scores_exist(rows: Rows) -> Tensor:
    """Return 1 for each coordinate along which there is a score, 0 for others.

    All are 1 where there is none along any: a choice needs some loss to go by.

    Parameters
    ----------
    rows : Rows

    Returns
    -------
    exists : Tensor of shape (r,)
    """
    seen = replace(rows, axes=None).read(rows.lowest_ranks(MOST_ROWS_READ))
    ordered = seen.sort(0).values
    # Equal values lie next to each other: so many of them, and one more, are too many.
    most = max(1, int(LARGEST_SHARE * len(ordered)))
    shared = (ordered[most:] == ordered[:-most]).any(0)
    smooth = ~shared & (rows.inverse_scale > 0)
    exists = smooth if rows.axes is None else (rows.axes[smooth] != 0).any(0)
    return (exists | ~exists.any()).to(rows.center)
