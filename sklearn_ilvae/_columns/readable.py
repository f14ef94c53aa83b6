"""Values of a table as text, as its users know them."""

from collections.abc import Sequence
from typing import Any

import narwhals as nw
import numpy as np
from torch import Tensor

from .._text import counted
from ..vae.likelihoods import COUNTS, EMPTY
from .building import DAYS_ALONE, build_frame, user_values
from .scaling import ColumnScaling
from .schema import Column, TableSchema, user_level
from .summary import ColumnSummary, shortened

DATE_UNITS = {"D": 10.0, "m": 10 / 1440, "s": 10 / 86_400, "us": 0.0}
"""Units to print dates in, and from which spread of a column on, in days."""

FAR_OUT = 100
"""Standard deviations from the centre beyond which values are printed less finely."""

LEVEL_CHARACTERS = 20
"""Characters of each level that a summary of columns shows."""


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


def digits_of(value: float, spread: float) -> int:
    """Return how many digits tell a value from others of its column, at least four.

    Parameters
    ----------
    value : float
        The value.
    spread : float
        Standard deviation of the column, whose tenth the digits show.

    Returns
    -------
    int
        At most the digits of a float64.

    Examples
    --------
    >>> digits_of(47.3769, 0.001), digits_of(47.3769, 10.0)
    (6, 4)
    """
    if not (value and 0 < spread < np.inf):
        return 4
    places = np.floor(np.log10(abs(value))) - np.floor(np.log10(spread)) + 2
    return int(np.clip(places, 4, 16))


def readable_level(column: Column, level: Any) -> str:
    """Return a level as text, blank text in quotes: it would look like nothing."""
    text = str(user_level(column.group, level))
    return text if text.strip() else repr(text)


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
        Standard deviation of the column: values are printed to a tenth of it or finer.

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
    number = readable_number(value, digits_of(value, spread))
    return counted(number, "day") if column.group == "duration" else number


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


def readable_cells(
    schema: TableSchema, scaling: ColumnScaling, row: Tensor
) -> list[str]:
    """Return the values of a row as text, see `readable_value`."""
    # Far out, where the scale is logarithmic, a tenth of the spread is rounding.
    far = (row - scaling.mean.to(row)).abs() / FAR_OUT
    spread = far.nan_to_num(0).maximum(scaling.unit.to(row))
    values = zip(schema.columns, row.tolist(), spread.tolist(), strict=True)
    return [readable_value(schema.library, *each) for each in values]


def summary_of_columns(
    schema: TableSchema, scaling: ColumnScaling, missing: Sequence[float]
) -> ColumnSummary:
    """Say what became of every column.

    Parameters
    ----------
    schema : TableSchema
        The fitted columns.
    scaling : ColumnScaling
        Their families, centres and spreads.
    missing : sequence of float
        Share of missing values in each.

    Returns
    -------
    ColumnSummary
    """
    fitted = zip(
        schema.columns,
        scaling.likelihood,
        scaling.mean.tolist(),
        scaling.scale.tolist(),
        missing,
        scaling.lambdas.tolist(),
        strict=True,
    )
    return ColumnSummary(
        [
            {
                "column": str(column.name),
                "dtype": column.dtype,
                "likelihood": family,
                "values": _values(schema.library, column, family, mean, scale)
                + (f", λ = {power:.2g}" if power != 1 else ""),
                "missing": f"{100 * share:.3g}%",
            }
            for column, family, mean, scale, share, power in fitted
        ]
    )


def _values(
    library: str, column: Column, family: str, mean: float, scale: float
) -> str:
    if family == EMPTY:
        return "all missing"
    if column.levels is not None:
        first = column.levels[:3].tolist()
        texts = (readable_level(column, level) for level in first)
        shown = ", ".join(shortened(text, LEVEL_CHARACTERS) for text in texts)
        more = ", …" if len(column.levels) > 3 else ""
        return f"{counted(len(column.levels), 'level')}: {shown}{more}"
    if family == "bernoulli":
        return f"{100 * mean:.3g}% ones"
    if family in COUNTS:
        return "counts"
    if column.group == "date":
        centre = readable_value(library, column, mean, scale or np.inf)
        return f"{centre} ± {counted(readable_number(scale, 3), 'day')}"
    centre = readable_number(mean, digits_of(mean, scale))
    spread = readable_number(scale, 3)
    days = column.group == "duration"
    return f"{centre} ± {counted(spread, 'day') if days else spread}"
