"""Values of a table as text, as its users know them."""

from typing import Any

import narwhals as nw
import numpy as np

from .building import DAYS_ALONE, build_frame, user_values
from .schema import Column, TableSchema
from .summary import shortened

DATE_UNITS = {"D": 10.0, "m": 10 / 1440, "s": 10 / 86_400, "us": 0.0}
"""Units to print dates in, and from which spread of a column on, in days."""


def readable_number(value: float, digits: int = 4) -> str:
    """Return a number with that many digits, and all before the point.

    People write exponents for very large and very small numbers alone.

    Examples
    --------
    >>> readable_number(54321.9), readable_number(0.12345), readable_number(1e20)
    ('54322', '0.1235', '1e+20')
    """
    if 10 ** (digits - 1) <= abs(value) < 1e12:
        return f"{value:.0f}"
    return f"{value:.{digits}g}"


def readable_level(column: Column, level: Any) -> str:
    """Return a level as text: one that is a number was read in float64."""
    if column.group == "boolean":
        return str(bool(level))
    if column.group == "number" and float(level).is_integer():
        return f"{level:.0f}"
    return str(level)


def readable_value(library: str, column: Column, value: float, spread: float) -> str:
    """Return a value as text: levels by name, dates as the clocks of their zone show.

    What is expected of a column of truth values is a probability.

    Parameters
    ----------
    library : str
        Where the table comes from, see `TableSchema`.
    column : Column
        The column of the value.
    value : float
        Number or position of a level, NaN where missing.
    spread : float
        Standard deviation of the column: dates are printed to a tenth of it or finer.

    Returns
    -------
    str
    """
    if np.isnan(value):
        return "missing"
    if column.levels is not None:
        return shortened(readable_level(column, column.levels[int(value)]))
    if column.group == "date":
        if DAYS_ALONE.match(column.dtype):
            spread = np.inf
        unit = next(unit for unit, least in DATE_UNITS.items() if spread >= least)
        stamp = local_stamps(library, column, np.array([value]))[0]
        return str(stamp.astype(f"M8[{unit}]")).replace("T", " ")
    if column.group == "boolean" and value in (0, 1):
        return str(bool(value))
    unit = " days" if column.group == "duration" else ""
    return f"{readable_number(value)}{unit}"


def local_stamps(library: str, column: Column, days: np.ndarray) -> np.ndarray:
    """Return dates as the clocks of their zone show them.

    Parameters
    ----------
    library : str
        Where the table comes from, see `TableSchema`.
    column : Column
        A column of dates.
    days : ndarray of shape (n_values,), float64
        Days since 1970 in UTC, none of them missing.

    Returns
    -------
    ndarray of shape (n_values,), datetime64[us]
    """
    if column.zone is None:
        return user_values(column, days)[0].view("M8[us]")
    table = build_frame(TableSchema(library, (column,)), days[:, None])
    zoned = next(nw.from_native(table, eager_only=True).iter_columns())
    local = zoned.dt.replace_time_zone(None)
    return local.dt.timestamp("us").to_numpy().view("M8[us]")
