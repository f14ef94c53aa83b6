"""Values of a table as text, as its users know them."""

import narwhals as nw
import numpy as np

from .building import build_frame, user_values
from .schema import Column, TableSchema

DATE_UNITS = {"D": 10.0, "m": 10 / 1440, "s": 10 / 86_400, "us": 0.0}
"""Units to print dates in, and from which spread of a column on, in days."""


def readable_value(library: str, column: Column, value: float, spread: float) -> str:
    """Return a value as text: levels by name, dates as the clocks of their zone show.

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
        return str(column.levels[int(value)])
    if column.group == "date":
        unit = next(unit for unit, least in DATE_UNITS.items() if spread >= least)
        stamp = _local_stamp(library, column, value).astype(f"M8[{unit}]")
        return str(stamp).replace("T", " ")
    unit = " days" if column.group == "duration" else ""
    return f"{value:.4g}{unit}"


def _local_stamp(library: str, column: Column, days: float) -> np.datetime64:
    values = np.array([days])
    if column.zone is None:
        return np.datetime64(int(user_values(column, values)[0][0]), "us")
    table = build_frame(TableSchema(library, (column,)), values[:, None])
    zoned = next(nw.from_native(table, eager_only=True).iter_columns())
    local = zoned.dt.replace_time_zone(None)
    return np.datetime64(int(local.dt.timestamp("us")[0]), "us")
