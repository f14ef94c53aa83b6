"""`MissingnessDisplay`: where a table has gaps, and which values are gone together."""

from collections.abc import Sequence
from numbers import Integral
from typing import Any, Self

import numpy as np
from sklearn.utils import check_array, check_scalar

from .._columns import fitted_names, names_in, numbered_names
from .._pipelines import autoencoder
from .._text import counted, share_of
from ._style import BLUE, GREY, as_written, grid_of_axes, label_of


class MissingnessDisplay:
    """Share of missing values in every column, and what is missing together.

    Bars above say how much of a column is missing; columns without gaps are left out.
    Below, each line is a pattern: the columns that are missing together (dots) in the
    rows that it counts. Columns that go missing in one pattern share a cause: a form
    that was not filled in, a device that was off.

    Parameters
    ----------
    missing : array-like of shape (n_samples, n_features), bool
        True where a value is missing.
    feature_names : sequence of str of length n_features, default=None
        Names of the columns; None calls them ``x0``, ``x1``…
    max_features : int, default=30
        Most columns shown: those with most gaps.
    max_patterns : int, default=8
        Most patterns shown: the most frequent.

    Attributes
    ----------
    ax_ : ndarray of matplotlib Axes, shape (2,)
        The panels.
    figure_ : matplotlib Figure
        The figure that holds them.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn_ilvae.inspection import MissingnessDisplay
    >>> display = MissingnessDisplay.from_predictions(
    ...     [[True, True], [False, False], [False, True]], ["pulse", "weight"]
    ... )
    >>> display.ax_[0].get_title()
    '2 of 2 columns have gaps; 1 of 3 rows has none'
    >>> plt.close("all")
    """

    def __init__(
        self,
        *,
        missing: Any,
        feature_names: Sequence[str] | None = None,
        max_features: int = 30,
        max_patterns: int = 8,
    ) -> None:
        self.missing = missing
        self.feature_names = feature_names
        self.max_features = max_features
        self.max_patterns = max_patterns

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        max_features: int = 30,
        max_patterns: int = 8,
        ax: Any = None,
    ) -> Self:
        """Read a table as a fitted estimator does, and draw its gaps.

        Parameters
        ----------
        estimator : ILVAETransformer or ILVAEOutlierDetector
            A fitted estimator, or a pipeline that ends in one. With
            ``handle_unknown="missing"`` categories that it does not know are gaps.
        X : DataFrame or array-like of shape (n_samples, n_features)
            Rows.
        max_features, max_patterns
            As in the class.
        ax : matplotlib Axes or array-like of 2 Axes, default=None
            Where to draw; None makes a new figure, one Axes is divided.

        Returns
        -------
        MissingnessDisplay
        """
        estimator, X = autoencoder(estimator, X)
        missing = estimator._checked(X, "from_estimator").isnan().cpu().numpy()
        return cls.from_predictions(
            missing,
            [str(name) for name in fitted_names(estimator)],
            max_features=max_features,
            max_patterns=max_patterns,
            ax=ax,
        )

    @classmethod
    def from_predictions(
        cls,
        missing: Any,
        feature_names: Sequence[str] | None = None,
        *,
        max_features: int = 30,
        max_patterns: int = 8,
        ax: Any = None,
    ) -> Self:
        """Draw given gaps, such as ``frame.isna()``.

        Parameters
        ----------
        missing, feature_names, max_features, max_patterns
            As in the class. The names of a data frame's columns are taken from it.
        ax : matplotlib Axes or array-like of 2 Axes, default=None
            Where to draw; None makes a new figure, one Axes is divided.

        Returns
        -------
        MissingnessDisplay
        """
        if feature_names is None:
            feature_names = names_in(missing) or None
        display = cls(
            missing=missing,
            feature_names=feature_names,
            max_features=max_features,
            max_patterns=max_patterns,
        )
        return display.plot(ax=ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw both panels.

        Parameters
        ----------
        ax : matplotlib Axes or array-like of 2 Axes, default=None
            Where to draw; None makes a new figure, one Axes is divided.

        Returns
        -------
        MissingnessDisplay
            The display itself.

        Raises
        ------
        ValueError
            For names that do not match the columns, and for a table of values.
        """
        check_scalar(self.max_features, "max_features", Integral, min_val=1)
        check_scalar(self.max_patterns, "max_patterns", Integral, min_val=1)
        missing = self._gaps()
        names = self._names(missing.shape[1])
        n_gaps = missing.sum(0)
        most = np.argsort(-n_gaps, kind="stable")[: self.max_features]
        shown = np.sort(most[n_gaps[most] > 0])
        patterns, counts = np.unique(missing[:, shown], axis=0, return_counts=True)
        frequent = np.argsort(-counts, kind="stable")[: self.max_patterns]
        width = max(6.4, 1.6 + 0.3 * len(shown))
        panels = grid_of_axes(ax, (2, 1), (width, 2.4), type(self).__name__)
        self.ax_ = panels[:, 0]
        self.figure_ = self.ax_[0].figure
        self._draw_shares(self.ax_[0], missing, shown)
        self._draw_patterns(self.ax_[1], patterns[frequent], counts, frequent)
        for panel in self.ax_:
            panel.set_xlim(-0.6, max(len(shown), 1) - 0.4)
        self.ax_[0].set_xticks(np.arange(len(shown)), [])
        labels = [label_of(names[column]) for column in shown]
        long = sum(map(len, labels)) > 60
        self.ax_[1].set_xticks(np.arange(len(shown)), labels, rotation=90 * long)
        as_written(self.ax_[1].get_xticklabels())
        return self

    def _gaps(self) -> np.ndarray:
        """Return what is missing, after refusing a table of values in its place."""
        given = check_array(self.missing, dtype=None, ensure_all_finite=False)
        values = ~np.isin(given, [False, True])
        if values.any():
            row, column = np.argwhere(values)[0]
            raise ValueError(
                f"missing holds {given[row, column]!s} in row {row} of column "
                f"{column}; it must be True where a value is missing and False "
                "elsewhere, for example frame.isna()"
            )
        return given.astype(bool)

    def _names(self, n_columns: int) -> list[str]:
        if self.feature_names is None:
            return numbered_names(n_columns)
        if len(self.feature_names) != n_columns:
            raise ValueError(
                f"missing has {counted(n_columns, 'column')} but feature_names has "
                f"{len(self.feature_names)}; pass one for each column"
            )
        return [str(name) for name in self.feature_names]

    def _draw_shares(self, panel: Any, missing: np.ndarray, shown: np.ndarray) -> None:
        panel.bar(np.arange(len(shown)), 100 * missing[:, shown].mean(0), color=BLUE)
        n_rows, n_columns = missing.shape
        with_gaps = int(missing.any(0).sum())
        complete = int((~missing.any(1)).sum())
        left_out = counted(with_gaps - len(shown), "column")
        note = (
            f"\n({left_out} with fewer gaps left out)" if with_gaps > len(shown) else ""
        )
        panel.set(
            title=f"{share_of(with_gaps, n_columns, 'column', 'has', 'have')} gaps; "
            f"{share_of(complete, n_rows, 'row', 'has', 'have')} none{note}",
            ylabel="missing\n(% of rows)",
        )

    def _draw_patterns(
        self,
        panel: Any,
        patterns: np.ndarray,
        counts: np.ndarray,
        frequent: np.ndarray,
    ) -> None:
        lines, columns = np.nonzero(np.ones_like(patterns))
        panel.scatter(columns, lines, s=14, color=GREY, alpha=0.3, linewidths=0)
        lines, columns = np.nonzero(patterns)
        panel.scatter(columns, lines, s=60, color=BLUE, linewidths=0)
        rows = [
            counted(f"{counts[place]:,}", "row")
            + ("" if pattern.any() else ", complete")
            for place, pattern in zip(frequent, patterns, strict=True)
        ]
        panel.set_yticks(np.arange(len(rows)), rows)
        panel.set_ylim(len(rows) - 0.4, -0.6)
        rest = len(counts) - len(frequent)
        more = ""
        if rest:
            n_rest = counts.sum() - counts[frequent].sum()
            have = "has" if n_rest == 1 else "have"
            others = "another pattern" if rest == 1 else f"one of {rest} other patterns"
            more = f"; {counted(f'{n_rest:,}', 'row')} {have} {others}"
        panel.set_xlabel(f"dots: missing together{more}")
