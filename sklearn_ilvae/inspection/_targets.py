"""Targets of users as colours of rows: groups of them, or a scale."""

from typing import Any

import numpy as np

from ._style import FEW_COLOURS, GREY, MANY_COLOURS, label_of
from ._tables import without_gaps

MISSING = "missing"


def groups_of(y: Any, n_rows: int) -> list[tuple[str, np.ndarray]]:
    """Return label and rows of every group; without targets one without a label.

    Rows whose label is missing are a group of their own, the last.

    Parameters
    ----------
    y : array-like of shape (n_rows,) or None
        Labels: text, numbers, dates or anything else that can be sorted.
    n_rows : int
        Number of rows.

    Returns
    -------
    list of (str, ndarray of shape (n_rows,), bool)

    Raises
    ------
    ValueError
        For more groups than can be told apart, and for `y` of another length.
    """
    if y is None:
        return [("", np.ones(n_rows, dtype=bool))]
    labels, missing = _labels(y, n_rows)
    values = np.unique(labels[~missing])
    groups = [(label_of(value), (labels == value) & ~missing) for value in values]
    if missing.any():
        groups.append((MISSING, missing))
    if len(groups) > len(MANY_COLOURS):
        raise ValueError(
            f"y has {len(groups)} groups, and at most {len(MANY_COLOURS)} can be told "
            "apart. Merge the rarer groups, or divide numbers into intervals, for "
            "example with numpy.digitize."
        )
    return groups


def group_colours(groups: list[tuple[str, np.ndarray]]) -> list[str]:
    """Return a colour for each group, grey for the missing."""
    colours = FEW_COLOURS if len(groups) <= len(FEW_COLOURS) else MANY_COLOURS
    return [
        GREY if label == MISSING else colour
        for (label, _), colour in zip(groups, colours, strict=False)
    ]


def scale_of(y: Any, n_rows: int) -> np.ndarray | None:
    """Return targets for a scale of colours, NaN where missing; None for groups.

    Numbers are drawn on a scale where they are more than can be told apart as groups,
    or few that are not whole.

    Parameters
    ----------
    y : array-like of shape (n_rows,) or None
        Labels, as in `groups_of`.
    n_rows : int
        Number of rows.

    Returns
    -------
    ndarray of shape (n_rows,), float64, or None
    """
    if y is None:
        return None
    labels, missing = _labels(y, n_rows)
    if labels.dtype.kind not in "iuf":
        return None
    values = np.unique(labels[~missing])
    few = len(values) + missing.any() <= len(MANY_COLOURS)
    if few and (values == np.round(values)).all():
        return None
    return np.where(missing, np.nan, labels)


def _labels(y: Any, n_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return labels of one dtype that can be sorted, and which of them are missing."""
    given = np.asarray(y)
    if given.shape != (n_rows,):
        raise ValueError(
            f"y must have one label a row, {n_rows} in all, got an array of shape "
            f"{given.shape}"
        )
    found, missing = without_gaps(given)
    labels = given
    if given.dtype == object and len(found):
        labels = np.full(n_rows, found[0], dtype=found.dtype)
        labels[~missing] = found
    return labels, missing
