"""What all displays share: colours that the colour-blind can tell apart, and axes."""

from collections.abc import Sequence
from typing import Any

import numpy as np

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


def group_colours(n_groups: int) -> Sequence[str]:
    """Return colours for groups; at most ten can be told apart."""
    return FEW_COLOURS if n_groups <= len(FEW_COLOURS) else MANY_COLOURS


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
    if given.size == shape[0] * shape[1]:
        return given.reshape(shape)
    if given.size != 1:
        raise ValueError(
            f"{caller} draws {shape[0]} x {shape[1]} panels, got {given.size} axes; "
            "pass as many, one to divide, or None"
        )
    place = given.item()
    place.set_axis_off()
    return place.get_subplotspec().subgridspec(*shape).subplots(squeeze=False)


def is_discrete(y: np.ndarray) -> bool:
    """Return whether targets name groups: not floats, or few whole numbers."""
    values = np.unique(y)
    if len(values) > len(MANY_COLOURS):
        return False
    return y.dtype.kind != "f" or bool((values == np.round(values)).all())


def groups_of(y: np.ndarray | None, n_rows: int) -> list[tuple[str, np.ndarray]]:
    """Return label and rows of every group; without targets one without a label."""
    if y is None:
        return [("", np.ones(n_rows, dtype=bool))]
    return [(str(value), y == value) for value in np.unique(y)]
