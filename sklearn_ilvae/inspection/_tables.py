"""Tables of users as columns to draw."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from .._columns import as_frame, is_missing, library_of
from .._columns.frames import MICROSECONDS_A_DAY, read_columns
from .._columns.readable import local_stamps, readable_level
from .._columns.reading import fitted_column
from .._columns.refusals import explain_no_table
from .._columns.schema import as_array

LARGEST = 1e307
"""Size of the largest numbers that matplotlib has an axis for."""


def columns_of(table: Any, argument: str) -> dict[Any, np.ndarray]:
    """Return the values of every column by its name, without gaps.

    Parameters
    ----------
    table : mapping of names to array-like of shape (n_values,), or DataFrame
    argument : str
        What errors call it.

    Returns
    -------
    dict
        Numbers, ``datetime64`` or text; durations as numbers of days.
    """
    named = isinstance(table, Mapping)
    reason = None if named else explain_no_table(table, argument)
    if reason is not None:
        raise ValueError(f"{argument}: {reason}")
    found = {}
    library = library_of(table)
    if library is not None:
        for raw in read_columns(as_frame(table), library):
            column = fitted_column(raw, as_array(raw.levels) if raw.levels else None)
            present = raw.values[~np.isnan(raw.values)]
            found[raw.name] = as_users_know(library, column, present)
        return found
    if not isinstance(table, Mapping):
        raise ValueError(
            f"{argument} must be a mapping of names to columns or a data frame, got "
            f"{type(table).__name__}; pass for example pandas.DataFrame({argument})"
        )
    for name, values in table.items():
        given = np.asarray(values)
        if given.ndim != 1:
            raise ValueError(
                f"Column {name!r} of {argument} has shape {given.shape}; pass one "
                "value a row"
            )
        present = without_gaps(given)[0]
        duration = present.dtype.kind == "m"
        found[name] = present / np.timedelta64(1, "D") if duration else present
    return found


def of_one_kind(
    name: Any, observed: np.ndarray, drawn: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return two samples of a column, one without values in the dtype of the other.

    Raises
    ------
    ValueError
        For samples that cannot be drawn, or not be compared.
    """
    kinds = []
    for values, argument in ((observed, "observed"), (drawn, "drawn")):
        text, date = values.dtype.kind in "UO", values.dtype.kind == "M"
        if values.dtype.kind not in "biufMUO":
            raise ValueError(
                f"Column {name!r} of {argument} holds values of dtype {values.dtype}; "
                "pass numbers, dates or text."
            )
        if len(values):
            kinds.append("text" if text else "dates" if date else "numbers")
        beyond = np.abs(numbers(values)) > LARGEST if values.dtype.kind == "f" else []
        if np.any(beyond):
            raise ValueError(
                f"Column {name!r} of {argument} holds {values[beyond][0]}; numbers up "
                f"to {LARGEST} can be drawn. Drop such rows, or rescale the column, "
                "for example by taking logarithms."
            )
    if len(set(kinds)) > 1:
        raise ValueError(
            f"Column {name!r} holds {kinds[0]} in observed, but {kinds[1]} in drawn. "
            "Convert one of them."
        )
    # Of gaps alone nobody knows the dtype.
    if not len(observed):
        observed = drawn[:0]
    return observed, drawn if len(drawn) else observed[:0]


def as_users_know(library: str, column: Any, values: np.ndarray) -> np.ndarray:
    """Return values as text for levels and as dates for days since 1970."""
    if column.levels is not None:
        names = np.array([readable_level(column, level) for level in column.levels])
        return names[values.astype(np.intp)]
    if column.group == "date":
        return local_stamps(library, column, values)
    return values


def numbers(values: np.ndarray) -> np.ndarray:
    """Return dates as days since 1970, which is what matplotlib counts."""
    if values.dtype.kind != "M":
        return values.astype(float)
    return values.astype("datetime64[us]").astype(np.int64) / MICROSECONDS_A_DAY


def without_gaps(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the values that are there, and which are missing.

    Parameters
    ----------
    values : ndarray of shape (n_values,)
        Numbers, dates, text, or objects.

    Returns
    -------
    found : ndarray
        Objects in the dtype that NumPy finds without the gaps: numbers again, or text
        for all.
    missing : ndarray of shape (n_values,), bool
    """
    if values.dtype.kind in "OT":  # NumPy's text of any length is a dtype of its own
        missing = np.array([is_missing(v) or v != v for v in values], dtype=bool)
        return np.array(values[~missing].tolist()), missing
    missing = values != values  # as NumPy's gaps are, of numbers and of dates
    return values[~missing], missing
