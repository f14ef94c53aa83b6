"""`LatentMapDisplay`: the codes of rows, and the prior that they should follow."""

from collections.abc import Iterable, Sequence
from typing import Any, Self

import numpy as np
from scipy.stats import norm
from sklearn.utils import check_array

from .. import metrics
from .._columns import to_numpy
from .._pipelines import autoencoder
from .._text import counted
from ._style import (
    BLUE,
    COLOUR_MAP,
    GREY,
    MARKERS,
    as_written,
    grid_of_axes,
)
from ._targets import MISSING, group_colours, groups_of, scale_of

MOST_UNITS = 4
"""Units drawn by default where there are more."""

MASSES = (0.5, 0.9, 0.99)
RESOLUTION = 120

Mixture = tuple[np.ndarray, np.ndarray, np.ndarray]


class LatentMapDisplay:
    """Codes of rows, coloured, with contours of the prior.

    Two units make a map. More make a map for each pair, and on the diagonal the
    distribution of each unit. Contours hold 50, 90 and 99% of the prior's mass: codes
    that lie outside, or wide empty places inside, mean that rows drawn from the model
    will differ from the table.

    Parameters
    ----------
    codes : array-like of shape (n_samples, n_components)
        Codes.
    y : array-like of shape (n_samples,), default=None
        Colours the codes: groups where there are at most ten values, and else, for
        numbers, a scale. Rows whose label is missing are a group of their own.
    prior : tuple of ndarray, default=None
        The prior as a mixture of diagonal Gaussians: weights of shape
        (n_mixture_components,), means and variances of shape
        (n_mixture_components, n_components). None draws no contours.
    units : sequence of int, default=None
        The units to draw; None draws all.

    Attributes
    ----------
    ax_ : ndarray of matplotlib Axes
        The panels: of shape (1, 1) for one or two units, and else
        (n_units, n_units), those above the diagonal empty.
    figure_ : matplotlib Figure
        The figure that holds them.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_wine
    >>> from sklearn_ilvae import ILVAETransformer
    >>> from sklearn_ilvae.inspection import LatentMapDisplay
    >>> X, y = load_wine(return_X_y=True)
    >>> model = ILVAETransformer(n_components=2, max_iter=5, random_state=0).fit(X)
    >>> display = LatentMapDisplay.from_estimator(model, X, y)
    >>> display.ax_.shape
    (1, 1)
    >>> plt.close("all")
    """

    def __init__(
        self,
        *,
        codes: Any,
        y: Any = None,
        prior: Mixture | None = None,
        units: Sequence[int] | None = None,
    ) -> None:
        self.codes = codes
        self.y = y
        self.prior = prior
        self.units = units

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any = None,
        *,
        units: Sequence[int] | None = None,
        ax: Any = None,
    ) -> Self:
        """Encode rows with a fitted estimator, and draw.

        Parameters
        ----------
        estimator : ILVAETransformer or ILVAEOutlierDetector
            A fitted estimator, or a pipeline that ends in one.
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,), default=None
            Colours the codes.
        units : sequence of int, default=None
            The units to draw. None draws all, or of more than four the four that say
            most.
        ax : matplotlib Axes or array-like of Axes, default=None
            Where to draw; None makes a new figure, one Axes is divided.

        Returns
        -------
        LatentMapDisplay
        """
        estimator, X = autoencoder(estimator, X)
        if units is None and estimator.n_components_ > MOST_UNITS:
            said = metrics.kl_per_unit(estimator, X)
            units = np.sort(np.argsort(said)[::-1][:MOST_UNITS]).tolist()
        codes = to_numpy(estimator.transform(X))
        prior = _mixture(estimator.module_.prior, codes.shape[1])
        return cls(codes=codes, y=y, prior=prior, units=units).plot(ax=ax)

    @classmethod
    def from_predictions(
        cls,
        codes: Any,
        y: Any = None,
        *,
        prior: Mixture | None = None,
        units: Sequence[int] | None = None,
        ax: Any = None,
    ) -> Self:
        """Draw given codes.

        Parameters
        ----------
        codes, y, prior, units
            As in the class.
        ax : matplotlib Axes or array-like of Axes, default=None
            Where to draw; None makes a new figure, one Axes is divided.

        Returns
        -------
        LatentMapDisplay
        """
        return cls(codes=codes, y=y, prior=prior, units=units).plot(ax=ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw the maps.

        Parameters
        ----------
        ax : matplotlib Axes or array-like of Axes, default=None
            Where to draw; None makes a new figure, one Axes is divided.

        Returns
        -------
        LatentMapDisplay
            The display itself.

        Raises
        ------
        ValueError
            For a unit that the codes do not have, for targets of another length, and
            for more than ten groups that are not numbers.
        """
        codes = check_array(self.codes, dtype=np.float64)
        self._scale = scale_of(self.y, len(codes))
        if self._scale is None:
            self._groups = groups_of(self.y, len(codes))
        else:
            missing = np.isnan(self._scale)
            self._groups = [(MISSING, missing)] if missing.any() else []
        every = range(codes.shape[1])
        units = np.atleast_1d(every if self.units is None else self.units).tolist()
        # Truth values would pass for the units 0 and 1.
        if not units or not all(type(unit) is int and unit in every for unit in units):
            raise ValueError(
                f"units={units} must name units by their numbers, from 0 to "
                f"{codes.shape[1] - 1}"
            )
        side = 1 if len(units) <= 2 else len(units)
        inches = (6.0, 5.0) if side == 1 else (2.4, 2.2)
        self.ax_ = grid_of_axes(ax, (side, side), inches, type(self).__name__)
        self.figure_ = self.ax_[0, 0].figure
        if len(units) == 2:
            self._draw_map(self.ax_[0, 0], codes, units[0], units[1])
        else:
            self._draw_pairs(codes, units)
        self._explain_colours(len(codes), n_units=len(units))
        return self

    def _draw_pairs(self, codes: np.ndarray, units: list[int]) -> None:
        for row, vertical in enumerate(units):
            for column, horizontal in enumerate(units):
                panel = self.ax_[row, column]
                if column > row:
                    panel.set_axis_off()
                elif column == row:
                    self._draw_marginal(panel, codes[:, vertical], vertical)
                else:
                    self._draw_map(panel, codes, horizontal, vertical)
                panel.label_outer()
                if column == row:
                    panel.set(ylabel="", yticks=[])
        self.ax_[0, 0].set_ylabel("density")

    def _draw_map(
        self, panel: Any, codes: np.ndarray, horizontal: int, vertical: int
    ) -> None:
        pair = codes[:, [horizontal, vertical]]
        style: dict[str, Any] = {"s": 12, "linewidths": 0, "alpha": 0.8}
        for (_, chosen), colour, marker in self._styled_groups():
            panel.scatter(*pair[chosen].T, color=colour, marker=marker, **style)
        if self._scale is not None:
            known = ~np.isnan(self._scale)
            self._points = panel.scatter(
                *pair[known].T, c=self._scale[known], cmap=COLOUR_MAP, **style
            )
        if self.prior is not None:
            self._draw_prior(panel, pair, horizontal, vertical)
        panel.set(
            xlabel=f"code of unit {horizontal}", ylabel=f"code of unit {vertical}"
        )

    def _draw_prior(
        self, panel: Any, pair: np.ndarray, horizontal: int, vertical: int
    ) -> None:
        assert self.prior is not None
        weights, means, variances = self.prior
        low = np.minimum(pair.min(0) - 0.2, -3.5)
        high = np.maximum(pair.max(0) + 0.2, 3.5)
        x, y = (np.linspace(a, b, RESOLUTION) for a, b in zip(low, high, strict=True))
        along = norm.pdf(
            x[:, None], means[:, horizontal], variances[:, horizontal] ** 0.5
        )
        across = norm.pdf(y[:, None], means[:, vertical], variances[:, vertical] ** 0.5)
        density = (across * weights) @ along.T
        panel.contour(
            x,
            y,
            density,
            levels=mass_levels(density, MASSES),
            colors="black",
            linewidths=0.8,
            linestyles="dashed",
        )

    def _draw_marginal(self, panel: Any, codes: np.ndarray, unit: int) -> None:
        panel.hist(codes, bins="auto", density=True, color=BLUE, alpha=0.5)
        if self.prior is not None:
            weights, means, variances = self.prior
            low, high = min(codes.min(), -3.5), max(codes.max(), 3.5)
            grid = np.linspace(low, high, RESOLUTION)
            density = norm.pdf(grid[:, None], means[:, unit], variances[:, unit] ** 0.5)
            panel.plot(grid, density @ weights, "k--", linewidth=1)
        panel.set(xlabel=f"code of unit {unit}", ylabel="density")

    def _styled_groups(self) -> Iterable[tuple[tuple[str, np.ndarray], str, str]]:
        return zip(self._groups, group_colours(self._groups), MARKERS, strict=False)

    def _explain_colours(self, n_rows: int, n_units: int) -> None:
        from matplotlib.lines import Line2D

        handles = []
        if self.y is not None and n_units > 1:
            handles += [
                Line2D([], [], ls="none", marker=marker, label=label, color=colour)
                for (label, _), colour, marker in self._styled_groups()
            ]
        if self.prior is not None:
            label = "prior: 50, 90, 99%" if n_units > 1 else "prior"
            handles.append(Line2D([], [], color="k", linestyle="--", label=label))
        self.ax_[0, 0].set_title(f"Codes of {counted(n_rows, 'row')}")
        corner = self.ax_[0, -1]
        if handles:
            place = "upper right" if n_units > 2 else "best"
            legend = corner.legend(handles=handles, loc=place, edgecolor=GREY)
            as_written(legend.get_texts())
            # It is wider than a panel of a grid, which must not make way for it.
            legend.set_in_layout(n_units <= 2)
        if self._scale is not None and n_units > 1:
            self.figure_.colorbar(self._points, ax=self.ax_, label="y")


def mass_levels(density: np.ndarray, masses: Sequence[float]) -> np.ndarray:
    """Return the densities above which lie the given shares of the mass.

    Parameters
    ----------
    density : ndarray
        Densities on a regular grid.
    masses : sequence of float
        Shares between 0 and 1.

    Returns
    -------
    ndarray
        In increasing order, without repetitions, as contours need them.
    """
    sorted_densities = np.sort(density, axis=None)[::-1]
    mass = np.cumsum(sorted_densities)
    places = np.searchsorted(mass / mass[-1], masses)
    return np.unique(sorted_densities[places])


def _mixture(prior: Any, n_components: int) -> Mixture:
    """Return a prior as a mixture of Gaussians; the standard normal is one of one."""
    if not hasattr(prior, "components"):
        return np.ones(1), np.zeros((1, n_components)), np.ones((1, n_components))
    log_weights, means, variances = (
        each.detach().double().numpy() for each in prior.components()
    )
    return np.exp(log_weights), means, variances
