"""`ParameterPathDisplay`: measures against a parameter, from a search."""

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .._pipelines import check_gives
from .._text import counted
from ._style import ABOVE, FEW_COLOURS, GREY, MARKERS, grid_of_axes

WIDE_RANGE = 50.0
"""Ratio of the largest to the least positive value that asks for logarithms."""


class ParameterPathDisplay:
    """The path of any measure against one parameter, by default L.

    A panel for each measure, and in it a line for each combination of the other
    parameters of the search.

    Parameters
    ----------
    values : array-like of shape (n_values,)
        Values of the parameter. Where any is no number, such as ``"auto"``, each gets
        a place of its own.
    paths : mapping of str to mapping of str to tuple
        For every measure and every label of a line the means and the standard
        deviations over folds, each of shape (n_values,); nan where a combination was
        not tried. The standard deviations may be None.
    parameter : str, default="inverse_lipschitz"
        Name of the parameter.

    Attributes
    ----------
    ax_ : ndarray of matplotlib Axes, shape (n_measures,)
        The panels.
    figure_ : matplotlib Figure
        The figure that holds them.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sklearn_ilvae import ILVAETransformer
    >>> from sklearn_ilvae.inspection import ParameterPathDisplay
    >>> model = ILVAETransformer(n_components=2, max_iter=3, random_state=0)
    >>> search = GridSearchCV(model, {"inverse_lipschitz": [0.0, 0.5, 1.0]}, cv=2)
    >>> search = search.fit(load_wine().data)
    >>> display = ParameterPathDisplay.from_cv_results(search.cv_results_)
    >>> display.ax_[0].get_ylabel()
    'score'
    >>> plt.close("all")
    """

    def __init__(
        self,
        *,
        values: Any,
        paths: Mapping[str, Mapping[str, tuple[Any, Any]]],
        parameter: str = "inverse_lipschitz",
    ) -> None:
        self.values = values
        self.paths = paths
        self.parameter = parameter

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        parameter: str | None = None,
        measures: Sequence[str] | None = None,
        ax: Any = None,
    ) -> Self:
        """Draw the results of a fitted search.

        Parameters
        ----------
        estimator : object
            A fitted search with ``cv_results_``, as `GridSearchCV`.
        parameter, measures, ax
            As in `from_cv_results`.

        Returns
        -------
        ParameterPathDisplay
        """
        check_is_fitted(estimator)
        check_gives(estimator, "cv_results_", "is no search", "GridSearchCV")
        return cls.from_cv_results(
            estimator.cv_results_, parameter=parameter, measures=measures, ax=ax
        )

    @classmethod
    def from_cv_results(
        cls,
        cv_results: Mapping[str, Any],
        *,
        parameter: str | None = None,
        measures: Sequence[str] | None = None,
        ax: Any = None,
    ) -> Self:
        """Draw the ``cv_results_`` of a search.

        Parameters
        ----------
        cv_results : mapping
            ``cv_results_`` of a fitted search.
        parameter : str, default=None
            The parameter along the axis. None takes the one whose name ends in
            ``inverse_lipschitz``, or the only one that was searched.
        measures : sequence of str, default=None
            Names of the scorers to draw; None draws all. A search with one scorer
            calls it ``"score"``.
        ax : matplotlib Axes or array-like of Axes, default=None
            Where to draw; None makes a new figure, one Axes is divided.

        Returns
        -------
        ParameterPathDisplay

        Raises
        ------
        ValueError
            For a parameter or a measure that the search does not have.
        """
        searched = [key[6:] for key in cv_results if key.startswith("param_")]
        parameter = _choose_parameter(parameter, searched)
        known = [key[10:] for key in cv_results if key.startswith("mean_test_")]
        for measure in measures or ():
            if measure not in known:
                raise ValueError(
                    f"measure {measure!r} is not in cv_results; choose from {known}"
                )
        # A search of several grids need not set the parameter in all of them.
        tried = [
            (row, settings)
            for row, settings in enumerate(cv_results["params"])
            if parameter in settings
        ]
        raw = [_comparable(settings[parameter]) for _, settings in tried]
        distinct = [value for row, value in enumerate(raw) if raw.index(value) == row]
        values = sorted(distinct, key=_order)
        labels = [
            ", ".join(
                f"{name.split('__')[-1]}={settings[name]}"
                for name in searched
                if name != parameter and name in settings
            )
            for _, settings in tried
        ]
        places = [values.index(value) for value in raw]
        paths: dict[str, dict[str, tuple[Any, Any]]] = {}
        for measure in measures or known:
            lines: dict[str, tuple[Any, Any]] = {}
            for (row, _), label, place in zip(tried, labels, places, strict=True):
                empty = (np.full(len(values), np.nan), np.full(len(values), np.nan))
                mean, deviation = lines.setdefault(label, empty)
                mean[place] = cv_results[f"mean_test_{measure}"][row]
                deviation[place] = cv_results[f"std_test_{measure}"][row]
            paths[measure] = lines
        return cls(values=values, paths=paths, parameter=parameter).plot(ax=ax)

    @classmethod
    def from_predictions(
        cls,
        values: Any,
        measures: Mapping[str, Any],
        *,
        parameter: str = "inverse_lipschitz",
        ax: Any = None,
    ) -> Self:
        """Draw measures that one has computed.

        Parameters
        ----------
        values : array-like of shape (n_values,)
            Values of the parameter.
        measures : mapping of str to array-like of shape (n_values,)
            The measure at every value, by its name.
        parameter : str, default="inverse_lipschitz"
            Name of the parameter.
        ax : matplotlib Axes or array-like of Axes, default=None
            Where to draw; None makes a new figure, one Axes is divided.

        Returns
        -------
        ParameterPathDisplay
        """
        paths = {name: {"": (path, None)} for name, path in measures.items()}
        return cls(values=values, paths=paths, parameter=parameter).plot(ax=ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw a panel for each measure.

        Parameters
        ----------
        ax : matplotlib Axes or array-like of Axes, default=None
            Where to draw; None makes a new figure, one Axes is divided.

        Returns
        -------
        ParameterPathDisplay
            The display itself.

        Raises
        ------
        ValueError
            Without a measure, and for one that has not a value for each of the
            parameter.
        """
        values = list(self.values)
        if not self.paths:
            raise ValueError("There is no measure to draw; pass at least one")
        for measure, lines in self.paths.items():
            for mean, _ in lines.values():
                if len(mean) != len(values):
                    raise ValueError(
                        f"measure {measure!r} has {counted(len(mean), 'value')}, and "
                        f"the parameter has {len(values)}; pass one for each"
                    )
        shape = (1, len(self.paths))
        self.ax_ = grid_of_axes(ax, shape, (4.8, 3.8), type(self).__name__)[0]
        self.figure_ = self.ax_[0].figure
        numeric = all(_is_number(value) for value in values)
        places = np.asarray(values if numeric else range(len(values)), dtype=float)
        short = self.parameter.split("__")[-1]
        name = "L" if short == "inverse_lipschitz" else short
        for panel, (measure, lines) in zip(self.ax_, self.paths.items(), strict=True):
            for number, (label, (mean, deviation)) in enumerate(lines.items()):
                _draw_line(panel, number, label, places, mean, deviation)
            if numeric:
                _set_scale(panel, places)
            else:
                panel.set_xticks(places, [str(value) for value in values])
            title = measure.replace("_", " ")
            unit = " (standard deviations per unit of code)" if name == "L" else ""
            panel.set(
                title=f"{title} against {name}",
                xlabel=f"{short}{unit}",
                ylabel=title,
            )
            _explain_lines(panel)
        return self


def _choose_parameter(parameter: str | None, searched: list[str]) -> str:
    if parameter is None:
        constants = [name for name in searched if name.endswith("inverse_lipschitz")]
        choice = constants if constants else searched
        if len(choice) == 1:
            return choice[0]
        raise ValueError(f"parameter must say which of {searched} to draw along")
    if parameter not in searched:
        raise ValueError(
            f"parameter {parameter!r} was not searched; choose from {searched}"
        )
    return parameter


def _comparable(value: Any) -> Any:
    """Return arrays as lists, which are equal or not as a whole."""
    return value.tolist() if hasattr(value, "tolist") else value


def _is_number(value: Any) -> bool:
    """Whether a value has a place on an axis, which a truth value has not."""
    return isinstance(value, Real) and not isinstance(value, bool)


def _order(value: Any) -> tuple[bool, Any]:
    """Sort numbers by size, and others behind them by their text."""
    number = _is_number(value)
    return not number, value if number else str(value)


def _draw_line(
    panel: Any, number: int, label: str, places: Any, mean: Any, deviation: Any
) -> None:
    colour = FEW_COLOURS[number % len(FEW_COLOURS)]
    mean = np.asarray(mean, dtype=float)
    style = {"color": colour, "marker": MARKERS[number % len(MARKERS)]}
    panel.plot(
        places,
        mean,
        label=label or ("mean" if deviation is not None else None),
        **style,
    )
    if deviation is None:
        return
    spread = "± a standard deviation over folds" if number == 0 else None
    low, high = mean - deviation, mean + deviation
    panel.fill_between(
        places, low, high, color=colour, alpha=0.15, linewidth=0, label=spread
    )


def _explain_lines(panel: Any) -> None:
    """Put two entries above the panel, where no band can lie; more go inside."""
    handles, _ = panel.get_legend_handles_labels()
    if len(handles) > 2:
        panel.legend(edgecolor=GREY)
    elif handles:
        panel.legend(ncols=2, **ABOVE)
        panel.set_title(panel.get_title(), pad=22)


def _set_scale(panel: Any, places: np.ndarray) -> None:
    positive = places[places > 0]
    if len(positive) < 3 or positive.max() / positive.min() < WIDE_RANGE:
        return
    if (places > 0).all():
        panel.set_xscale("log")
    else:
        panel.set_xscale("symlog", linthresh=positive.min())
