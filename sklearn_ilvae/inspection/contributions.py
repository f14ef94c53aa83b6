"""`FeatureContributionsDisplay`: which columns made the scores of chosen rows."""

from collections.abc import Sequence
from numbers import Integral
from typing import Any, Self

import narwhals as nw
import numpy as np
from sklearn.utils import check_array, check_scalar
from sklearn.utils.validation import check_is_fitted

from .._columns import (
    as_frame,
    fitted_names,
    library_of,
    names_in,
    numbered_names,
    to_numpy,
)
from .._columns.readable import readable_number
from .._columns.summary import shortened
from .._pipelines import check_gives, last_step
from .._text import counted
from ._style import BLUE, RED, as_written, grid_of_axes, label_of

MOST_ROWS = 100
"""Panels beside each other that fit the largest picture that matplotlib saves."""

LATENT_NAME = "latent code"


class FeatureContributionsDisplay:
    """Contribution of every column to the scores of chosen rows.

    A panel for each row, with the largest contributions by absolute value at the top
    and the sum of the rest at the bottom.

    Parameters
    ----------
    contributions : array-like of shape (n_rows, n_features) or (n_rows, n_features + 1)
        Contributions. A column more than there are names belongs to the latent code.
    feature_names : sequence of str of length n_features, default=None
        Names of the columns; None calls them ``x0``, ``x1``…
    values : array-like of shape (n_rows, n_features), default=None
        Values of the rows, written behind the names.
    row_names : sequence of length n_rows, default=None
        What to call the rows; None numbers them.
    max_features : int, default=8
        Most contributions shown one by one.
    label : str, default="contribution to the score"
        What the contributions are, and their unit.

    Attributes
    ----------
    ax_ : ndarray of matplotlib Axes, shape (n_rows,)
        The panels.
    figure_ : matplotlib Figure
        The figure that holds them.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn_ilvae.inspection import FeatureContributionsDisplay
    >>> display = FeatureContributionsDisplay.from_predictions(
    ...     [[0.2, 5.0, -0.4]], ["age", "pulse", "weight"]
    ... )
    >>> [label.get_text() for label in display.ax_[0].get_yticklabels()]
    ['pulse', 'weight', 'age']
    >>> plt.close("all")
    """

    def __init__(
        self,
        *,
        contributions: Any,
        feature_names: Sequence[str] | None = None,
        values: Any = None,
        row_names: Sequence[Any] | None = None,
        max_features: int = 8,
        label: str = "contribution to the score",
    ) -> None:
        self.contributions = contributions
        self.feature_names = feature_names
        self.values = values
        self.row_names = row_names
        self.max_features = max_features
        self.label = label

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        row_names: Sequence[Any] | None = None,
        max_features: int = 8,
        ax: Any = None,
    ) -> Self:
        """Explain rows with a fitted estimator, and draw.

        Parameters
        ----------
        estimator : object
            A fitted estimator with ``feature_contributions(X)``, or a pipeline that
            ends in one. Of one with ``typical_contributions_`` too, as
            `ILVAEOutlierDetector`, the surprise is drawn: by how much each column
            lowers the score below the typical one.
        X : array-like of shape (n_rows, n_features)
            The rows to explain: the few that a person will look at.
        row_names : sequence of length n_rows, default=None
            What to call the rows; None takes the index of a pandas frame, and numbers
            the rows of other tables.
        max_features : int, default=8
            As in the class.
        ax : matplotlib Axes or array-like of Axes, default=None
            Where to draw; None makes a new figure, one Axes is divided.

        Returns
        -------
        FeatureContributionsDisplay
        """
        if row_names is None:
            row_names = _row_names(X)
        estimator, X = last_step(estimator, X)
        check_is_fitted(estimator)
        check_gives(
            estimator,
            "feature_contributions",
            "does not explain rows",
            "ILVAEOutlierDetector",
        )
        contributions = to_numpy(estimator.feature_contributions(X))
        label = "contribution to the score"
        if hasattr(estimator, "typical_contributions_"):
            contributions = to_numpy(estimator.typical_contributions_) - contributions
            label = "surprise (nats below the typical row)"
        return cls.from_predictions(
            contributions,
            fitted_names(estimator),
            values=_values(estimator, X),
            row_names=row_names,
            max_features=max_features,
            label=label,
            ax=ax,
        )

    @classmethod
    def from_predictions(
        cls,
        contributions: Any,
        feature_names: Sequence[str] | None = None,
        *,
        values: Any = None,
        row_names: Sequence[Any] | None = None,
        max_features: int = 8,
        label: str = "contribution to the score",
        ax: Any = None,
    ) -> Self:
        """Draw given contributions.

        Parameters
        ----------
        contributions, feature_names, values, row_names, max_features, label
            As in the class. The names of a data frame's columns are taken from it, and
            the index of a pandas frame.
        ax : matplotlib Axes or array-like of Axes, default=None
            Where to draw; None makes a new figure, one Axes is divided.

        Returns
        -------
        FeatureContributionsDisplay
        """
        if feature_names is None:
            feature_names = names_in(contributions) or None
        if row_names is None:
            row_names = _row_names(contributions)
        display = cls(
            contributions=contributions,
            feature_names=feature_names,
            values=values,
            row_names=row_names,
            max_features=max_features,
            label=label,
        )
        return display.plot(ax=ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw a panel for each row.

        Parameters
        ----------
        ax : matplotlib Axes or array-like of Axes, default=None
            Where to draw; None makes a new figure, one Axes is divided.

        Returns
        -------
        FeatureContributionsDisplay
            The display itself.

        Raises
        ------
        ValueError
            For names or values that do not match the columns or the rows, and for
            more than a hundred rows.
        """
        check_scalar(self.max_features, "max_features", Integral, min_val=1)
        table = check_array(self.contributions, dtype=np.float64)
        n_rows, n_columns = table.shape
        if n_rows > MOST_ROWS:
            raise ValueError(
                f"contributions have {n_rows} rows, and at most {MOST_ROWS} can be "
                "drawn, a panel each. Pass the few to look at, for example those of "
                "the lowest scores."
            )
        names = self._names(n_columns)
        values = None if self.values is None else _rows_of(self.values)
        shapes = [(n_rows, n_columns), (n_rows, n_columns - 1)]
        if values is not None and values.shape not in shapes:
            raise ValueError(
                f"contributions have shape {table.shape} but values have "
                f"{values.shape}; pass a value for each contribution, that of the "
                "latent code excepted"
            )
        rows = list(range(n_rows) if self.row_names is None else self.row_names)
        if len(rows) != n_rows:
            raise ValueError(
                f"contributions have {counted(n_rows, 'row')} but row_names has "
                f"{len(rows)}; pass one for each row"
            )
        n_bars = min(n_columns, self.max_features + 1)
        labels = [_labels(names, values, row) for row in range(n_rows)]
        longest = max(len(label) for row in labels for label in row)
        size = (max(4.6, 2.5 + 0.09 * longest), 1.1 + 0.27 * n_bars)
        grid = grid_of_axes(ax, (1, n_rows), size, type(self).__name__)
        self.ax_ = grid[0]
        self.figure_ = self.ax_[0].figure
        for row, (panel, name) in enumerate(zip(self.ax_, rows, strict=True)):
            chosen, sizes = self._largest(table[row], labels[row])
            colours = [RED if each > 0 else BLUE for each in sizes]
            panel.barh(np.arange(len(sizes)), sizes, color=colours)
            panel.set_yticks(np.arange(len(sizes)), chosen)
            panel.invert_yaxis()
            panel.axvline(0, color="black", linewidth=0.8)
            title = panel.set_title(f"Row {shortened(str(name))}")
            label = panel.set_xlabel(self.label)
            as_written([title, label, *panel.get_yticklabels()])
        return self

    def _names(self, n_columns: int) -> list[str]:
        if self.feature_names is None:
            return numbered_names(n_columns)
        names = [str(name) for name in self.feature_names]
        if len(names) == n_columns - 1:
            return [*names, LATENT_NAME]
        if len(names) != n_columns:
            raise ValueError(
                f"contributions have {counted(n_columns, 'column')} but "
                f"feature_names has {len(names)}; pass one for each column, or one "
                "less when the last column belongs to the latent code"
            )
        return names

    def _largest(
        self, contributions: np.ndarray, labels: list[str]
    ) -> tuple[list[str], list[float]]:
        order = np.argsort(-np.abs(contributions), kind="stable")
        n_rest = len(order) - self.max_features
        # A rest of one column may as well have its name.
        kept = order if n_rest <= 1 else order[: self.max_features]
        chosen = [labels[place] for place in kept]
        sizes = [float(contributions[place]) for place in kept]
        if n_rest > 1:
            chosen.append(f"{n_rest} other columns")
            sizes.append(float(contributions[order[self.max_features :]].sum()))
        return chosen, sizes


def _labels(names: list[str], table: np.ndarray | None, row: int) -> list[str]:
    """Return the names of columns, each with the value of a row where there is one."""
    values = [] if table is None else list(table[row])
    number = float | np.floating
    texts = [readable_number(float(v)) if isinstance(v, number) else v for v in values]
    labels = [
        f"{label_of(name)} = {label_of(text)}"
        for name, text in zip(names, texts, strict=False)
    ]
    return labels + [label_of(name) for name in names[len(values) :]]


def _rows_of(table: Any) -> np.ndarray:
    """Return a table as an array, of objects where its columns differ in dtype."""
    if library_of(table) is None:
        return to_numpy(table)
    rows = nw.from_native(as_frame(table), eager_only=True).rows()
    return np.array(rows, dtype=object)


def _row_names(table: Any) -> list[Any] | None:
    table = as_frame(table)
    return list(table.index) if library_of(table) == "pandas" else None


def _values(estimator: Any, X: Any) -> Any:
    """Return the values of rows; as text where the estimator knows levels and dates."""
    if not hasattr(estimator, "_cells"):
        return X
    table = estimator._checked(X, "from_estimator")
    return [estimator._cells(row) for row in table]
