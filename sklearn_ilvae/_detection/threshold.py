"""Where a detector draws the line, and how to move it without a new fit."""

from typing import Any, Self

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from .._checks import check_number
from .._columns import to_tensor
from ..vae.concentration import first_to_reach


def rounding_of(scores: Any) -> Any:
    """Return by how much rounding may change a score of the same row, at most."""
    return 1e-9 * (1 + np.abs(scores))


def threshold_below(scores: Tensor, weights: Tensor, share: float) -> float:
    """Return the threshold below which a share of rows lies, at most.

    Parameters
    ----------
    scores : Tensor of shape (n_rows,), float64
        Scores in increasing order.
    weights : Tensor of shape (n_rows,)
        Their positive weights.
    share : float
        Share of the weight, in (0, 0.5].

    Returns
    -------
    float
        Just under the score of the first row that no longer fits in the share: the
        same row scored in another batch may differ by rounding.
    """
    cumulative = weights.cumsum(0) / weights.sum()
    rounding = torch.finfo(scores.dtype).eps * len(scores)
    first = int((cumulative <= share + rounding).sum())
    score = float(scores[first])
    return score - float(rounding_of(score))


def tukey_fence(scores: Tensor, weights: Tensor) -> float:
    """Return the lower fence of a box plot (Tukey, 1977).

    Parameters
    ----------
    scores : Tensor of shape (n_rows,), float64
        Scores in increasing order.
    weights : Tensor of shape (n_rows,)
        Their positive weights.

    Returns
    -------
    float
        1.5 interquartile ranges below the lower quartile, less what rounding may add:
        the range is 0 where scores are equal, or where there is one row.
    """
    shares = weights.cumsum(0) / weights.sum()
    lower, upper = (float(scores[first_to_reach(shares, q)]) for q in (0.25, 0.75))
    return lower - 1.5 * (upper - lower) - float(rounding_of(lower))


class ThresholdMixin:
    """A threshold for a detector that keeps the scores of its training rows."""

    contamination: float | str
    offset_: float
    training_scores_: Any
    _training_weights: Any

    def set_threshold(
        self, *, contamination: float | str | None = None, offset: float | None = None
    ) -> Self:
        """Move the threshold of `predict`, without a new fit.

        Parameters
        ----------
        contamination : "auto" or float in (0, 0.5], default=None
            Share of the training rows to call outliers; ``"auto"`` as in the class.
        offset : float, default=None
            The threshold itself, in the unit of `score_samples`.

        Returns
        -------
        self
            With a new `offset_`.

        Raises
        ------
        TypeError, ValueError
            Unless exactly one of the two is given, in its range.
        """
        check_is_fitted(self)
        if (contamination is None) == (offset is None):
            raise ValueError(
                f"set_threshold takes either contamination or offset, got "
                f"contamination={contamination!r} and offset={offset!r}. Pass one, for "
                "example contamination=0.05."
            )
        if offset is not None:
            self.offset_ = check_number(offset, "offset")
            return self
        scores = to_tensor(self.training_scores_).cpu()
        weights = to_tensor(self._training_weights).cpu()
        if isinstance(contamination, str):
            if contamination != "auto":
                raise ValueError(
                    f"contamination={contamination!r} must be 'auto' or a number above "
                    "0 and at most 0.5."
                )
            self.offset_ = tukey_fence(scores, weights)
            return self
        share = check_number(
            contamination,
            "contamination",
            min_val=0,
            max_val=0.5,
            include_boundaries="right",
        )
        self.offset_ = threshold_below(scores, weights, share)
        return self
