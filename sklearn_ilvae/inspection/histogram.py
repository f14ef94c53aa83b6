"""`ScoreHistogramDisplay`: scores of rows, and the threshold of an alarm."""

from typing import Any, Self

import numpy as np
from sklearn.utils import check_array

from .._columns import to_numpy
from .._pipelines import check_gives, last_step
from .._text import counted
from ._style import (
    GREY,
    RED,
    as_written,
    check_drawn_number,
    margin_of,
    single_axes,
    write_log_scale,
)
from ._targets import MISSING, group_colours, groups_of

LEAST_SHOWN = 0.6
"""Rows at the bottom of the picture, at least: below one the scale has no meaning."""

FAR = 6.0
"""Interquartile ranges below the first quartile past which scores share one bin."""


class ScoreHistogramDisplay:
    """Histogram of the scores of rows, where lower is more abnormal.

    A few rows may score lower than all others by orders of magnitude. They are counted
    in the leftmost bin, and the axis says how many they are.

    Parameters
    ----------
    scores : array-like of shape (n_samples,)
        Scores; lower is more abnormal.
    y : array-like of shape (n_samples,), default=None
        Groups of rows, at most ten, such as 1 for inliers and −1 for outliers. Rows
        whose label is missing are a group of their own.
    threshold : float, default=None
        Rows that score less are flagged.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes of the picture.
    figure_ : matplotlib Figure
        The figure that holds them.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from sklearn_ilvae.inspection import ScoreHistogramDisplay
    >>> scores = np.random.default_rng(0).normal(size=200)
    >>> display = ScoreHistogramDisplay.from_predictions(scores, threshold=-1.5)
    >>> display.ax_.get_ylabel()
    'rows'
    >>> plt.close("all")
    """

    def __init__(
        self, *, scores: Any, y: Any = None, threshold: float | None = None
    ) -> None:
        self.scores = scores
        self.y = y
        self.threshold = threshold

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, y: Any = None, *, ax: Any = None
    ) -> Self:
        """Score rows with a fitted estimator, and draw.

        Parameters
        ----------
        estimator : object
            A fitted estimator with ``score_samples``, or a pipeline that ends in one.
            Its ``offset_``, where it has one as scikit-learn's outlier detectors do, is
            the threshold.
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,), default=None
            Groups of rows.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        ScoreHistogramDisplay
        """
        estimator, X = last_step(estimator, X)
        check_gives(
            estimator, "score_samples", "does not score rows", "ILVAEOutlierDetector"
        )
        # That of a support vector machine is an array of one number.
        offset = np.asarray(getattr(estimator, "offset_", None)).item()
        # Detectors may flag no row at all, with a threshold of minus infinity.
        threshold = None if offset is None or np.isinf(offset) else float(offset)
        scores = to_numpy(estimator.score_samples(X))
        return cls.from_predictions(scores, y, threshold=threshold, ax=ax)

    @classmethod
    def from_predictions(
        cls,
        scores: Any,
        y: Any = None,
        *,
        threshold: float | None = None,
        ax: Any = None,
    ) -> Self:
        """Draw given scores.

        Parameters
        ----------
        scores, y, threshold
            As in the class.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        ScoreHistogramDisplay
        """
        return cls(scores=scores, y=y, threshold=threshold).plot(ax=ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw the histogram.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        ScoreHistogramDisplay
            The display itself.

        Raises
        ------
        TypeError, ValueError
            For scores that are not one a row, for more than ten groups, for targets of
            another length, and for a threshold that is no finite number.
        """
        scores = check_array(self.scores, ensure_2d=False, dtype=np.float64)
        if scores.ndim != 1:
            raise ValueError(
                f"scores must be one number a row, got an array of shape "
                f"{scores.shape}; pass what score_samples returns"
            )
        check_drawn_number(self.threshold, "threshold")
        low = self._lowest_shown(scores)
        shown = np.maximum(scores, low)
        margin = margin_of(shown.min(), shown.max(), 0.0)
        bins = np.linspace(shown.min() - margin, shown.max() + margin, 41)
        groups = groups_of(self.y, len(scores))
        colours = group_colours(groups)
        if [label for label, _ in groups if label != MISSING] == ["-1", "1"]:
            groups[:2] = [("inliers", groups[1][1]), ("outliers", groups[0][1])]
        ax = single_axes(ax, type(self).__name__)
        counts, _, bars = ax.hist(
            [shown[chosen] for _, chosen in groups],
            bins=bins,
            stacked=True,
            color=colours,
        )
        handles = [bars] if len(groups) == 1 else list(bars)
        labels = [label or "rows" for label, _ in groups]
        beyond = int((scores < low).sum())
        if self.threshold is not None:
            flagged = int((scores < self.threshold).sum())
            left = min(bins[0], self._left_of_threshold(scores))
            ax.axvspan(left, self.threshold, color=RED, alpha=0.12, linewidth=0)
            line = ax.axvline(self.threshold, color="black", linestyle="--")
            handles.insert(0, line)
            labels.insert(
                0,
                f"threshold {self.threshold:.4g}: {flagged} of "
                f"{counted(len(scores), 'row')} below ({flagged / len(scores):.1%})",
            )
        less = "scores less" if beyond == 1 else "score less"
        note = f"\nleftmost bin: {counted(beyond, 'row')} {less}" if beyond else ""
        ax.set(
            title="Scores of rows",
            xlabel=f"score (lower is more abnormal){note}",
            ylabel="rows",
            yscale="log",
        )
        write_log_scale(ax.yaxis, float(np.max(counts)))
        # Beside bars of one row matplotlib reaches down to a tenth of a row.
        ax.set_ylim(bottom=max(ax.get_ylim()[0], LEAST_SHOWN))
        # Of the labels that bars have matplotlib drops those that begin with "_".
        as_written(ax.legend(handles, labels, edgecolor=GREY).get_texts())
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _lowest_shown(self, scores: np.ndarray) -> float:
        first, third = np.quantile(scores, [0.25, 0.75])
        low = first - FAR * (third - first)
        if self.threshold is not None:
            low = min(low, self._left_of_threshold(scores))
        return float(max(low, scores.min()))

    def _left_of_threshold(self, scores: np.ndarray) -> float:
        """Return an edge that gives the region below the threshold a width."""
        assert self.threshold is not None
        return float(self.threshold - 0.1 * abs(scores.max() - self.threshold))
