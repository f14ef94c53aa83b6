"""Conformal p-values of scores, and selections that control false discoveries."""

from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._checks import check_number
from .._columns import from_tensor, to_tensor
from .threshold import rounding_of


def conformal_p_values(
    calibration: NDArray[np.float64], scores: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the share of calibration rows that are at least as abnormal as a row.

    Parameters
    ----------
    calibration : ndarray of shape (n_calibration,)
        Sorted scores of rows that were not used in training; larger is more normal.
    scores : ndarray of shape (n_samples,)
        Scores of new rows.

    Returns
    -------
    ndarray of shape (n_samples,)
        ``(1 + #{calibration <= score}) / (n_calibration + 1)``: Bates, Candès, Lei,
        Romano & Sesia, Annals of Statistics 2023, Eq. 4. Ties, up to the rounding of
        scores, count for the row, which keeps the p-value valid.

    Examples
    --------
    >>> import numpy as np
    >>> conformal_p_values(np.array([1.0, 2.0, 3.0]), np.array([0.5, 2.5]))
    array([0.25, 0.75])
    """
    ties = scores + rounding_of(scores)
    lower = np.searchsorted(calibration, ties, side="right")
    return (1 + lower) / (1 + len(calibration))


def benjamini_hochberg(
    p_values: NDArray[np.float64], level: float
) -> NDArray[np.bool_]:
    """Return which hypotheses to reject at a false-discovery rate.

    Parameters
    ----------
    p_values : ndarray of shape (n_samples,)
        One a hypothesis.
    level : float
        The rate, between 0 and 1.

    Returns
    -------
    ndarray of shape (n_samples,)
        True for the k smallest, with the largest k whose k-th smallest p-value is at
        most ``k level / n_samples``: Benjamini & Hochberg, JRSS B 1995, Eq. 1.

    Examples
    --------
    >>> import numpy as np
    >>> benjamini_hochberg(np.array([0.01, 0.9, 0.03, 0.5]), 0.1)
    array([ True, False,  True, False])
    """
    ordered = np.sort(p_values)
    steps = level * np.arange(1, len(ordered) + 1) / len(ordered)
    # Equality counts, and both sides are rounded.
    below = np.flatnonzero(ordered <= steps * (1 + 1e-12))
    if not len(below):
        return np.zeros(len(p_values), dtype=bool)
    return p_values <= ordered[below[-1]]


class ConformalMixin:
    """Calibrated decisions for a detector that has scores."""

    calibration_fraction: float
    calibration_scores_: Any

    def _checked(self, X: Any, method: str) -> Tensor:
        raise NotImplementedError

    def _scores(self, table: Tensor) -> Tensor:
        raise NotImplementedError

    def calibrate(self, X: Any) -> Self:
        """Take rows that were not used in training as the reference of `p_values`.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            Normal rows. Outliers of low scores among them make p-values too large.

        Returns
        -------
        self
            With `calibration_scores_`.

        Raises
        ------
        TypeError, ValueError
            As `score_samples`.
        """
        scores = self._scores(self._checked(X, "calibrate"))
        self.calibration_scores_ = from_tensor(scores.sort().values, X)
        return self

    def p_values(self, X: Any) -> Any:
        """Return split-conformal p-values of the hypothesis that a row is normal.

        If a row is normal and exchangeable with the calibration rows, its p-value is at
        most t with probability at most t, whatever the distribution and however bad
        the model; that is over the draw of calibration rows and row together [1]_.
        It says nothing about rows of another distribution, such as those of another
        year. Calibration rows of any positive weight count alike: the promise is for
        rows as the table has them, not as `sample_weight` counts them. The smallest
        possible value is ``1 / (n_calibration_rows + 1)``.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            New rows, not those of the training.

        Returns
        -------
        ndarray of shape (n_samples,), float64

        Raises
        ------
        TypeError, ValueError
            As `score_samples`, and without a calibration.

        References
        ----------
        .. [1] Bates, Candès, Lei, Romano & Sesia (2023). "Testing for outliers with
           conformal p-values." Annals of Statistics 51.
        """
        table = self._checked(X, "p_values")
        if not hasattr(self, "calibration_scores_"):
            raise ValueError(
                "p_values needs calibration rows, which were not used in training. "
                f"With calibration_fraction={self.calibration_fraction} the last fit "
                "kept none out; partial_fit never does. Refit with for example "
                "calibration_fraction=0.2, or call calibrate with other normal rows."
            )
        calibration = to_tensor(self.calibration_scores_).cpu().numpy()
        found = conformal_p_values(calibration, self._scores(table).cpu().numpy())
        return from_tensor(torch.from_numpy(found), X)

    def select(self, X: Any, false_discovery_rate: float = 0.1) -> Any:
        """Select outliers so that few of those selected are normal, on average.

        Benjamini & Hochberg's procedure on the conformal p-values. If the normal rows
        of X are independent of each other and exchangeable with the calibration
        rows, the expected share of normal rows among the selected is at most the
        rate (Bates et al., 2023, Theorem 2). It is a mean over calibrations: one
        selection may do worse. With few calibration rows nothing can be selected.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            New rows, not those of the training.
        false_discovery_rate : float in (0, 1), default=0.1
            The rate.

        Returns
        -------
        ndarray of shape (n_samples,), bool
            True for the selected rows.

        Raises
        ------
        TypeError, ValueError
            As `p_values`, and for a rate that is no number between 0 and 1.
        """
        check_number(
            false_discovery_rate,
            "false_discovery_rate",
            min_val=0,
            max_val=1,
            include_boundaries="neither",
        )
        p_values = to_tensor(self.p_values(X)).cpu().numpy()
        chosen = benjamini_hochberg(p_values, false_discovery_rate)
        return from_tensor(torch.from_numpy(chosen), X)
