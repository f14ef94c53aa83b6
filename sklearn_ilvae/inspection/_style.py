"""What all displays share: colours that the colour-blind can tell apart, and axes."""

from collections.abc import Iterable
from numbers import Real
from typing import Any

import numpy as np
from sklearn.utils import check_scalar

from .._columns.summary import shortened
from .._sklearn import check_matplotlib_support

BLUE, RED, GREEN, YELLOW, GREY = "#4477aa", "#ee6677", "#228833", "#ccbb44", "#777777"

# Paul Tol's "bright" and "muted" sets, personal.sron.nl/~pault
FEW_COLOURS = (BLUE, RED, GREEN, YELLOW, "#66ccee", "#aa3377")
MANY_COLOURS = (
    "#332288",
    "#cc6677",
    "#117733",
    "#ddcc77",
    "#88ccee",
    "#882255",
    "#44aa99",
    "#999933",
    "#aa4499",
    "#777777",
)
MARKERS = "os^Dv*PX<>"
COLOUR_MAP = "cividis"

ABOVE: dict[str, Any] = {
    "loc": "lower center",
    "bbox_to_anchor": (0.5, 1.0),
    "frameon": False,
    "fontsize": "small",
}
"""A legend above its panel, where nothing that is drawn can lie."""

FEW_DECADES = 20.0
"""Ratio of values below which the powers of ten are too few to read a scale by."""

LABEL_CHARACTERS = 30
"""Characters of a name that leave room for a picture beside it."""

LEAST_SPREAD = 1000
"""Units in the last place that values must spread over for bins to tell them apart."""


def single_axes(ax: Any, caller: str) -> Any:
    """Return the axes to draw in: those given, or those of a new figure.

    Parameters
    ----------
    ax : matplotlib Axes or None
    caller : str
        Who asks, for the error when matplotlib is missing.

    Returns
    -------
    matplotlib Axes
    """
    check_matplotlib_support(f"{caller}.plot")
    if ax is not None:
        if not _is_axes(ax):
            raise ValueError(
                f"{caller} draws in one Axes, got {type(ax).__name__}; pass one, or "
                "None for a new figure"
            )
        return ax
    from matplotlib import pyplot as plt

    return plt.subplots(layout="constrained")[1]


def grid_of_axes(
    ax: Any, shape: tuple[int, int], size: tuple[float, float], caller: str
) -> np.ndarray:
    """Return a grid of axes: those given, inside the one given, or of a new figure.

    Parameters
    ----------
    ax : matplotlib Axes, array-like of Axes or None
        One Axes makes room for the grid within its place.
    shape : tuple of int
        Rows and columns.
    size : tuple of float
        Inches of a panel, for a new figure.
    caller : str
        Who asks, for the errors.

    Returns
    -------
    ndarray of Axes, of the shape
    """
    check_matplotlib_support(f"{caller}.plot")
    if ax is None:
        from matplotlib import pyplot as plt

        inches = (shape[1] * size[0], shape[0] * size[1])
        return plt.subplots(
            *shape, figsize=inches, layout="constrained", squeeze=False
        )[1]
    given = np.asarray(ax, dtype=object)
    foreign = [each for each in given.flat if not _is_axes(each)]
    if foreign:
        raise ValueError(
            f"{caller} draws in Axes, got {type(foreign[0]).__name__}; pass one to "
            "divide, one for each panel, or None for a new figure"
        )
    if given.size == shape[0] * shape[1]:
        return given.reshape(shape)
    if given.size != 1:
        raise ValueError(
            f"{caller} draws {shape[0]} x {shape[1]} panels, got {given.size} axes; "
            "pass as many, one to divide, or None"
        )
    place = given.item()
    spec = place.get_subplotspec()
    if spec is None:
        raise ValueError(
            f"{caller} divides an Axes that has a place in a grid, got {place!r}; pass "
            "one of matplotlib.pyplot.subplots, or None"
        )
    place.set_axis_off()
    return spec.subgridspec(*shape).subplots(squeeze=False)


def _is_axes(value: Any) -> bool:
    return hasattr(value, "get_subplotspec")


def write_log_scale(axis: Any, ratio: float) -> None:
    """Write the numbers of a logarithmic axis as they are, and enough of them.

    Parameters
    ----------
    axis : matplotlib Axis
    ratio : float
        That of the largest value drawn to the least.
    """
    axis.set_major_formatter("{x:g}")
    if ratio < FEW_DECADES:
        from matplotlib.ticker import LogLocator

        axis.set_minor_locator(LogLocator(subs=(2.0, 5.0)))
        axis.set_minor_formatter("{x:g}")


def check_drawn_number(value: Any, name: str, **limits: Any) -> None:
    """Raise where what a line is drawn at is neither None nor a finite number.

    Parameters
    ----------
    value : object
        What a user passed.
    name : str
        What errors call it.
    **limits : dict
        Those of `sklearn.utils.check_scalar`.
    """
    if value is None:
        return
    check_scalar(value, name, Real, **limits)
    if not np.isfinite(value):
        raise ValueError(f"{name}={value} must be finite; pass None to draw none")


def label_of(name: Any) -> str:
    """Return a name on one line that leaves room for the picture."""
    return shortened(str(name), LABEL_CHARACTERS)


def as_written(texts: Iterable[Any]) -> None:
    """Draw texts of the user's, such as names of columns, as they are.

    Matplotlib would read what stands between two dollars as mathematics.

    Parameters
    ----------
    texts : iterable of matplotlib Text
    """
    for text in texts:
        text.set_parse_math(False)


def margin_of(low: float, high: float, share: float) -> float:
    """Return by how much bins reach beyond the values, at either end.

    Parameters
    ----------
    low, high : float
        The least and the largest value.
    share : float
        Share of their difference; of values that differ by rounding alone it is as
        much as gives the bins a width.

    Returns
    -------
    float
    """
    least = LEAST_SPREAD * float(np.spacing(max(abs(low), abs(high))))
    return share * (high - low) if high - low >= least else max(0.5, least)
