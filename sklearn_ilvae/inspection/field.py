"""`ScoreFieldDisplay`: the gradient of a log-density as arrows in the plane."""

from numbers import Integral
from typing import Any, Self

import numpy as np
from sklearn.utils import check_array, check_scalar
from sklearn.utils.validation import check_is_fitted

from .._columns import as_frame, names_in
from .._pipelines import check_gives, last_step
from .._text import counted
from ._style import COLOUR_MAP, GREY, RED, as_written, label_of, single_axes

LONGEST = 0.75
"""Share of arrows drawn in proportion; longer ones are cut, and keep their colour."""


class ScoreFieldDisplay:
    """Gradients of a log-density at points of the plane, as arrows.

    Arrows point to where the density rises. Their colour is the size of the gradient;
    so is their length, but the quarter with the largest gradients are drawn no longer
    than the others, or those far from the sample would hide the rest.

    Parameters
    ----------
    points : array-like of shape (n_points, 2)
        Where the arrows begin.
    gradients : array-like of shape (n_points, 2)
        Gradients there, in reciprocal units of the points.
    sample : array-like of shape (n_samples, 2), default=None
        Rows to draw beneath.
    feature_names : sequence of 2 str, default=None
        Names of the axes; None calls them ``x0`` and ``x1``.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes of the picture.
    figure_ : matplotlib Figure
        The figure that holds them.
    quiver_ : matplotlib Quiver
        The arrows.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from sklearn_ilvae import SteinScoreEstimator
    >>> from sklearn_ilvae.inspection import ScoreFieldDisplay
    >>> X = np.random.default_rng(0).normal(size=(200, 2))
    >>> estimator = SteinScoreEstimator(random_state=0).fit(X)
    >>> display = ScoreFieldDisplay.from_estimator(estimator, X)
    >>> display.quiver_.N
    400
    >>> plt.close("all")
    """

    def __init__(
        self,
        *,
        points: Any,
        gradients: Any,
        sample: Any = None,
        feature_names: Any = None,
    ) -> None:
        self.points = points
        self.gradients = gradients
        self.sample = sample
        self.feature_names = feature_names

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, *, grid_resolution: int = 20, ax: Any = None
    ) -> Self:
        """Evaluate a fitted estimator on a grid, and draw.

        Parameters
        ----------
        estimator : SteinScoreEstimator
            Fitted to two columns; any estimator with ``score_gradient(X)``, or a
            pipeline that ends in one, whose scaled columns are drawn then.
        X : array-like of shape (n_samples, 2)
            Rows to draw beneath; the grid covers them.
        grid_resolution : int, default=20
            Arrows along each axis.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        ScoreFieldDisplay

        Raises
        ------
        ValueError
            For an estimator fitted to another number of columns, or rows of another
            number, names or order of columns.
        """
        estimator, X = last_step(estimator, X)
        check_is_fitted(estimator)
        check_gives(
            estimator, "score_gradient", "has no gradients", "SteinScoreEstimator"
        )
        if estimator.n_features_in_ != 2:
            raise ValueError(
                "A field of arrows needs an estimator of 2 columns, this one has "
                f"{estimator.n_features_in_}. Fit one to the two columns to look at."
            )
        check_scalar(grid_resolution, "grid_resolution", Integral, min_val=1)
        sample = check_array(X, dtype=np.float64)
        if sample.shape[1] != 2:
            raise ValueError(
                f"X has {counted(sample.shape[1], 'column')}, and the estimator was "
                "fitted to 2. Pass rows of these two."
            )
        low, high = sample.min(0), sample.max(0)
        margin = 0.05 * (high - low)
        axes = np.linspace(low - margin, high + margin, grid_resolution).T
        points = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)
        names = getattr(estimator, "feature_names_in_", None)
        grid = points
        X = as_frame(X)
        given = names_in(X)
        if names is not None and given:
            # Rows with the names of the table, in its own library: the estimator
            # refuses those that fit has not seen.
            make = getattr(type(X), "from_pydict", type(X))  # the first is pyarrow's
            grid = make(dict(zip(given, points.T, strict=True)))
        gradients = np.asarray(estimator.score_gradient(grid))
        return cls.from_predictions(
            points, gradients, sample=sample, feature_names=names, ax=ax
        )

    @classmethod
    def from_predictions(
        cls,
        points: Any,
        gradients: Any,
        *,
        sample: Any = None,
        feature_names: Any = None,
        ax: Any = None,
    ) -> Self:
        """Draw given gradients.

        Parameters
        ----------
        points, gradients, sample, feature_names
            As in the class.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        ScoreFieldDisplay
        """
        display = cls(
            points=points,
            gradients=gradients,
            sample=sample,
            feature_names=feature_names,
        )
        return display.plot(ax=ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw the arrows.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        ScoreFieldDisplay
            The display itself.

        Raises
        ------
        ValueError
            For points, gradients or a sample that do not have two columns, and for
            other than two names.
        """
        points = check_array(self.points, dtype=np.float64)
        gradients = check_array(self.gradients, dtype=np.float64)
        if points.shape[1] != 2 or points.shape != gradients.shape:
            raise ValueError(
                "points and gradients must both have shape (n_points, 2), got "
                f"{points.shape} and {gradients.shape}"
            )
        names = ("x0", "x1") if self.feature_names is None else self.feature_names
        if len(names) != 2:
            raise ValueError(
                f"feature_names={list(names)} must be the names of the 2 axes"
            )
        sample = None if self.sample is None else check_array(self.sample)
        if sample is not None and sample.shape[1] != 2:
            raise ValueError(
                f"sample has {counted(sample.shape[1], 'column')}, and points have 2. "
                "Pass the columns of the points."
            )
        ax = single_axes(ax, type(self).__name__)
        if sample is not None:
            ax.scatter(
                *sample.T,
                s=10,
                color=RED,
                linewidths=0,
                alpha=0.6,
                label="sample",
            )
            ax.legend(edgecolor=GREY)
        sizes = np.linalg.norm(gradients, axis=1)
        cut = float(np.quantile(sizes, LONGEST)) or 1.0
        shown = gradients / np.maximum(sizes / cut, 1.0)[:, None]
        self.quiver_ = ax.quiver(
            *points.T,
            *shown.T,
            sizes,
            cmap=COLOUR_MAP,
            angles="xy",
            # The longest arrow spans the distance between neighbours on a grid.
            scale_units="width",
            scale=cut * len(points) ** 0.5,
            width=0.004,
        )
        self.quiver_.set_clim(0.0, float(np.quantile(sizes, 0.95)))
        ax.figure.colorbar(
            self.quiver_,
            ax=ax,
            extend="max",
            label="size of the gradient (reciprocal units of the axes)",
        )
        ax.set_title("Gradient of the log-density")
        labels = [label_of(name) for name in names]
        as_written([ax.set_xlabel(labels[0]), ax.set_ylabel(labels[1])])
        self.ax_, self.figure_ = ax, ax.figure
        return self
