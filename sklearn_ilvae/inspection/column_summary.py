"""`ColumnSummaryDisplay`: columns of a table, next to those that a model draws."""

from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from typing import Any, Self

import numpy as np
from sklearn.utils import check_scalar

from .._columns import fitted_names, read_known_table
from .._columns.readable import readable_level
from .._columns.reading import LARGEST_WHOLE
from .._pipelines import autoencoder
from ..vae.likelihoods import EMPTY
from ._style import BLUE, RED, as_written, grid_of_axes, label_of, margin_of
from ._tables import as_users_know, columns_of, numbers, of_one_kind

MOST_BARS = 10
"""Values of a column that get a bar each; the rarer levels of a category share one."""

MOST_BINS = 30

TAIL = 0.005
"""Share of the values at either end that are counted in the outermost bin."""

PANELS_IN_A_ROW = 3


class ColumnSummaryDisplay:
    """Distribution of every column, in a table and in rows drawn from a model.

    Where the two differ, the likelihood of the column does not suit it: counts taken
    for Gaussian, a limit that values cannot pass, two humps where the model has one.
    Equal columns do not prove a good model: it may still combine them wrongly.

    Parameters
    ----------
    observed, drawn : mapping of str to array-like of shape (n_values,), or DataFrame
        Values of every column by its name: numbers, ``datetime64`` or text; durations
        count in days. Missing values are left out.
    notes : mapping of str to str, default=None
        What to write behind the name of a column.
    levels : mapping of str to sequence of str, default=None
        Levels of columns of text in the order of their bars; others are ordered by
        frequency.
    max_features : int, default=12
        Most columns shown: those where `observed` and `drawn` differ most, by the
        largest difference of their cumulative shares, or for text by half the sum of
        the differences of shares.

    Attributes
    ----------
    ax_ : ndarray of matplotlib Axes, shape (n_panels,)
        The panels, one for each column shown.
    figure_ : matplotlib Figure
        The figure that holds them.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_wine
    >>> from sklearn_ilvae import ILVAETransformer
    >>> from sklearn_ilvae.inspection import ColumnSummaryDisplay
    >>> X = load_wine(as_frame=True).data[["alcohol", "proline"]]
    >>> model = ILVAETransformer(n_components=2, max_iter=5, random_state=0).fit(X)
    >>> display = ColumnSummaryDisplay.from_estimator(model, X)
    >>> [panel.get_title().split() for panel in display.ax_]
    [['alcohol', 'student_t'], ['proline', 'student_t']]
    >>> plt.close("all")
    """

    def __init__(
        self,
        *,
        observed: Mapping[str, Any],
        drawn: Mapping[str, Any],
        notes: Mapping[str, str] | None = None,
        levels: Mapping[str, Sequence[str]] | None = None,
        max_features: int = 12,
    ) -> None:
        self.observed = observed
        self.drawn = drawn
        self.notes = notes
        self.levels = levels
        self.max_features = max_features

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        n_samples: int = 2000,
        random_state: int | np.random.RandomState | None = 0,
        max_features: int = 12,
        ax: Any = None,
    ) -> Self:
        """Draw rows from a fitted estimator, and compare them with a table.

        Parameters
        ----------
        estimator : ILVAETransformer or ILVAEOutlierDetector
            A fitted estimator, or a pipeline that ends in one.
        X : DataFrame or array-like of shape (n_samples, n_features)
            Rows.
        n_samples : int, default=2000
            Rows to draw from the model.
        random_state : int, RandomState instance or None, default=0
            Source of the draws.
        max_features : int, default=12
            As in the class.
        ax : matplotlib Axes or array-like of Axes, default=None
            Where to draw; None makes a new figure, one Axes is divided.

        Returns
        -------
        ColumnSummaryDisplay
        """
        model, X = autoencoder(estimator, X)
        schema = model._table_schema()
        # A sample is an array of NumPy, whatever the namespace of the fit.
        sample = model.sample(n_samples, random_state=random_state)
        read = (
            model._checked(X, "from_estimator"),
            read_known_table(model, sample, schema),
        )
        tables = [table.cpu().double().numpy() for table in read]
        found: list[dict[str, np.ndarray]] = [{}, {}]
        notes, levels = {}, {}
        names = map(str, fitted_names(model))
        for number, (name, column, family) in enumerate(
            zip(names, schema.columns, model.likelihood_, strict=True)
        ):
            if family == EMPTY:
                continue
            for values, table in zip(found, tables, strict=True):
                here = table[:, number]
                present = here[~np.isnan(here)]
                values[name] = as_users_know(schema.library, column, present)
            gaps = np.isnan(tables[0][:, number]).mean()
            unit = " (days)" if column.group == "duration" else ""
            notes[name] = family + unit + (f", {gaps:.0%} missing" if gaps else "")
            if column.ordered or family == "ordinal":
                levels[name] = [readable_level(column, each) for each in column.levels]
        return cls.from_predictions(
            *found, notes=notes, levels=levels, max_features=max_features, ax=ax
        )

    @classmethod
    def from_predictions(
        cls,
        observed: Mapping[str, Any],
        drawn: Mapping[str, Any],
        *,
        notes: Mapping[str, str] | None = None,
        levels: Mapping[str, Sequence[str]] | None = None,
        max_features: int = 12,
        ax: Any = None,
    ) -> Self:
        """Compare given columns.

        Parameters
        ----------
        observed, drawn, notes, levels, max_features
            As in the class.
        ax : matplotlib Axes or array-like of Axes, default=None
            Where to draw; None makes a new figure, one Axes is divided.

        Returns
        -------
        ColumnSummaryDisplay
        """
        display = cls(
            observed=observed,
            drawn=drawn,
            notes=notes,
            levels=levels,
            max_features=max_features,
        )
        return display.plot(ax=ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw a panel for each column.

        Parameters
        ----------
        ax : matplotlib Axes or array-like of Axes, default=None
            Where to draw; None makes a new figure, one Axes is divided.

        Returns
        -------
        ColumnSummaryDisplay
            The display itself.

        Raises
        ------
        ValueError
            For a column that was not drawn, or whose values cannot be drawn or
            compared.
        """
        check_scalar(self.max_features, "max_features", Integral, min_val=1)
        observed = columns_of(self.observed, "observed")
        drawn = columns_of(self.drawn, "drawn")
        unknown = [name for name in observed if name not in drawn]
        if unknown or not observed:
            raise ValueError(
                f"observed has the columns {list(observed)}, drawn has "
                f"{list(drawn)}; pass at least one column, and each in both"
            )
        pairs = {
            name: of_one_kind(name, values, drawn[name])
            for name, values in observed.items()
        }
        names = self._shown(pairs)
        n_across = min(PANELS_IN_A_ROW, len(names))
        n_down = -(-len(names) // n_across)
        size = (2.7, 2.3) if len(names) > 1 else (5.0, 3.6)
        grid = grid_of_axes(ax, (n_down, n_across), size, type(self).__name__)
        for empty in grid.flat[len(names) :]:
            empty.set_axis_off()
        self.ax_ = grid.flat[: len(names)]
        self.figure_ = self.ax_[0].figure
        for name, panel in zip(names, self.ax_, strict=True):
            self._draw(panel, name, *pairs[name])
            note = (self.notes or {}).get(name)
            title = label_of(name) + (f"\n{note}" if note else "")
            as_written([panel.set_title(title, fontsize="medium")])
            panel.set_ylim(0, 1.25 * panel.get_ylim()[1])
            panel.set_ylabel("% of rows")
        if ax is None and len(names) < len(pairs):
            self.figure_.suptitle(
                f"The {len(names)} of {len(pairs)} columns that "
                + ("differs most" if len(names) == 1 else "differ most")
            )
        self.ax_[0].legend(fontsize="small", loc="upper right", ncols=2, frameon=False)
        return self

    def _shown(self, pairs: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> list[str]:
        """Return the columns that differ most, in the order of the table."""
        if len(pairs) <= self.max_features:
            return list(pairs)
        differences = {name: difference(*pair) for name, pair in pairs.items()}
        most = sorted(differences, key=lambda name: -differences[name])
        return [name for name in pairs if name in most[: self.max_features]]

    def _draw(
        self, panel: Any, name: str, observed: np.ndarray, drawn: np.ndarray
    ) -> None:
        bars = self._bars(name, observed, drawn)
        if bars is not None:
            labels, shares, others = bars
            places = np.arange(len(labels))
            panel.bar(places, 100 * shares, color=BLUE, label="table")
            # Steps as wide as the bars would hide their gaps.
            panel.bar(
                places,
                100 * others,
                fill=False,
                edgecolor=RED,
                linewidth=1.5,
                width=0.6,
                label="drawn",
            )
            crowded = sum(map(len, labels)) > 24
            panel.set_xticks(places, labels, rotation=40 * crowded, fontsize="small")
            as_written(panel.get_xticklabels())
            if crowded:
                for label in panel.get_xticklabels():
                    label.set(ha="right", rotation_mode="anchor")
            return
        is_date = observed.dtype.kind == "M"
        observed, drawn = numbers(observed), numbers(drawn)
        edges = bin_edges(observed, drawn)
        for values, style in [
            (observed, {"color": BLUE, "fill": True, "label": "table"}),
            (drawn, {"color": RED, "linewidth": 1.5, "label": "drawn"}),
        ]:
            inside = np.clip(values, edges[0], edges[-1])
            counts = np.histogram(inside, edges)[0]
            panel.stairs(100 * counts / max(1, len(values)), edges, **style)
        panel.locator_params(axis="x", nbins=3 if is_date else 4)
        if is_date:
            panel.xaxis.set_major_formatter(_date_label(edges[-1] - edges[0]))

    def _bars(
        self, name: str, observed: np.ndarray, drawn: np.ndarray
    ) -> tuple[list[str], np.ndarray, np.ndarray] | None:
        """Return labels and shares of a column of few values, None for others."""
        values, shares, others = _shares(observed, drawn)
        text = observed.dtype.kind in "UO"
        if not text and (observed.dtype.kind == "M" or len(values) > MOST_BARS):
            return None
        order = np.arange(len(values))
        if text:
            fitted = list((self.levels or {}).get(name, ()))
            rank = [fitted.index(v) if v in fitted else len(fitted) for v in values]
            order = np.lexsort((-shares - others, rank))
        # A rest of one level may as well have its name.
        n_shown = len(order) if len(order) == MOST_BARS + 1 else MOST_BARS
        shown, rest = order[:n_shown], order[n_shown:]
        labels = [label_of(v) if text else f"{v:g}" for v in values[shown]]
        if len(rest):
            labels.append(f"{len(rest)} others")
        shares, others = (
            np.append(each[shown], each[rest].sum()) if len(rest) else each[shown]
            for each in (shares, others)
        )
        return labels, shares, others


def difference(observed: np.ndarray, drawn: np.ndarray) -> float:
    """Return by how much two samples of a column differ, between 0 and 1.

    Parameters
    ----------
    observed, drawn : ndarray of shape (n_values,)
        Numbers, dates or text.

    Returns
    -------
    float
        For numbers and dates the largest difference of the cumulative shares
        (Kolmogorov and Smirnov's statistic), for text half the sum of the differences
        of the shares (total variation).
    """
    _, shares, others = _shares(observed, drawn)
    gap = shares - others
    if observed.dtype.kind in "UO":
        return float(np.abs(gap).sum() / 2)
    return float(np.abs(gap.cumsum()).max(initial=0.0))


def _shares(
    observed: np.ndarray, drawn: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return all values in order, and the share that each has in both samples."""
    joined = np.concatenate([observed, drawn])
    values, places = np.unique(joined, return_inverse=True)
    shares, others = (
        np.bincount(part, minlength=len(values)) / max(1, len(part))
        for part in np.split(places, [len(observed)])
    )
    return values, shares, others


def bin_edges(observed: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Return bins for both: where the table has its values, or whole numbers."""
    inner = [TAIL, 1 - TAIL]
    values = observed if len(observed) else drawn
    low, high = np.quantile(values, inner)
    if margin_of(low, high, 0.0) > 0:
        # One row, or a constant, says not how far to draw.
        values = np.concatenate([observed, drawn])
        low, high = np.quantile(values, inner)
    whole = all((each == np.round(each)).all() for each in (observed, drawn))
    if whole and max(abs(low), abs(high)) < LARGEST_WHOLE / 4:  # halves are numbers too
        step = max(1, int(np.ceil((high - low) / MOST_BINS)))
        return np.arange(np.floor(low) - step, np.ceil(high) + 2 * step, step) - 0.5
    margin = margin_of(low, high, 0.1)
    inside = values[(values >= low) & (values <= high)]
    # NumPy refuses bins as narrow as the rounding of large numbers, not of differences.
    n_bins = len(np.histogram_bin_edges(inside - low, "auto")) - 1
    n_bins = min(max(n_bins, MOST_BARS), MOST_BINS)
    return np.linspace(low - margin, high + margin, n_bins + 1)


def _date_label(span: float) -> Callable[[float, Any], str]:
    """Return how to write days since 1970, as exactly as an axis of the span needs."""
    unit = "Y" if span > 2500 else "M" if span > 90 else "D" if span > 4 else "m"

    def label(day: float, _: Any) -> str:
        return str(np.datetime64(round(day * 86400), "s").astype(f"datetime64[{unit}]"))

    return label
