"""What a fitted table looks like: names, dtypes, kinds and levels of its columns."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from .frames import RawColumn

NUMBER_GROUPS = ("number", "boolean")
"""Groups of columns that hold one number a value."""


@dataclass(frozen=True)
class Column:
    """A fitted column.

    Parameters
    ----------
    name : str or int
        Name in the table, or its number in an array.
    dtype : str
        Its dtype, as its library prints it.
    group : str
        What it holds, see `RawColumn`.
    levels : ndarray or None
        Levels of a categorical or ordered column, in the order of their codes.
    ordered, zone, level_dtype
        See `RawColumn`.
    """

    name: Any
    dtype: str
    group: str
    levels: np.ndarray | None = None
    ordered: bool = False
    zone: str | None = None
    level_dtype: str | None = None

    @property
    def holds_numbers(self) -> bool:
        """Whether the values, or the levels that its dtype declares, are numbers."""
        if self.group != "text" or self.levels is None:
            return self.group in NUMBER_GROUPS
        return self.levels.dtype.kind in "biuf"


@dataclass(frozen=True)
class TableSchema:
    """The columns of the table that an estimator was fitted to.

    Parameters
    ----------
    library : {"array", "pandas", "polars", "pyarrow"}
        Where the table comes from.
    columns : tuple of Column
        In the order of the table.
    headings : tuple, default=(None,)
        What the names of the columns are names of, one for each of their levels, in
        pandas.
    """

    library: str
    columns: tuple[Column, ...]
    headings: tuple[Any, ...] = (None,)

    @property
    def names(self) -> list[Any] | None:
        """Names of the columns; None for an array, which has none."""
        if self.library == "array":
            return None
        return [column.name for column in self.columns]

    @property
    def n_levels(self) -> tuple[int, ...]:
        """Number of levels of every column; 1 for columns of numbers."""
        return tuple(
            1 if column.levels is None else len(column.levels)
            for column in self.columns
        )

    @property
    def numbers_only(self) -> bool:
        """Whether scikit-learn can read the table as one array of numbers."""
        return all(column.group in NUMBER_GROUPS for column in self.columns)

    def to_state(self) -> dict[str, Any]:
        """Return plain values and arrays by name."""
        return {
            "library": self.library,
            "columns": [asdict(column) for column in self.columns],
            "headings": self.headings,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Rebuild what `to_state` returned."""
        columns = tuple(Column(**column) for column in state["columns"])
        return cls(state["library"], columns, state["headings"])


def as_array(levels: Sequence[Any]) -> np.ndarray:
    """Return levels as an array that holds exactly them."""
    # Mixed types are cast to one, trailing NULs of text are lost, tuples are rows.
    if not any(isinstance(level, tuple) for level in levels):
        array = np.array(levels)
        if array.tolist() == list(levels):
            return array
    array = np.empty(len(levels), dtype=object)
    array[:] = levels
    return array


def in_order(levels: Sequence[Any]) -> list[Any]:
    """Sort levels that no dtype orders; by their type first, where they mix."""
    try:
        return sorted(levels)
    except TypeError:
        return sorted(levels, key=lambda level: (type(level).__name__, str(level)))


def encode_levels(
    raw: RawColumn, levels: np.ndarray, handle_unknown: str
) -> np.ndarray:
    """Return positions in fitted levels, NaN where missing.

    Parameters
    ----------
    raw : RawColumn
        A column with or without levels of its own.
    levels : ndarray
        Fitted levels.
    handle_unknown : {"error", "missing"}
        What to do with a level that was not fitted.

    Returns
    -------
    ndarray of shape (n_rows,), float64

    Raises
    ------
    ValueError
        That names an unknown level.
    """
    known = {level: code for code, level in enumerate(levels.tolist())}
    present = np.flatnonzero(~np.isnan(raw.values))
    values = raw.values[present]
    if raw.levels:
        found, positions = list(raw.levels), values.astype(np.intp)
    else:
        unique, positions = np.unique(values, return_inverse=True)
        found = unique.tolist()
    lookup = np.array([known.get(level, np.nan) for level in found])
    codes = np.full(len(raw.values), np.nan)
    codes[present] = lookup[positions]
    if handle_unknown == "error":
        unknown = np.flatnonzero(np.isnan(codes[present]))
        if len(unknown):
            row, level = int(present[unknown[0]]), found[positions[unknown[0]]]
            raise ValueError(unknown_level(raw, level, row, levels))
    return codes


def user_level(group: str, level: Any) -> Any:
    """Return a level of a column as its users know it: numbers are read in float64."""
    if group == "boolean" and level in (0, 1):
        return bool(level)
    if group in NUMBER_GROUPS and isinstance(level, float) and level.is_integer():
        return int(level)
    return level


def unknown_level(raw: RawColumn, level: Any, row: int, levels: np.ndarray) -> str:
    """Say which level was not fitted, which were, and what to do."""
    level = user_level(raw.group, level)
    shown = ", ".join(repr(user_level(raw.group, each)) for each in levels[:8].tolist())
    more = f", … ({len(levels)} in all)" if len(levels) > 8 else ""
    return (
        f"Column {raw.name!r} holds {level!r} in row {row}, which was not seen in fit. "
        f"Known are {shown}{more}. Map it to one of them, or set "
        "handle_unknown='missing' to treat it as missing."
    )


def explain_other_order(fitted: Sequence[Any], names: Sequence[Any]) -> str | None:
    """Return which fitted column is in the place of another, None if none is.

    Scikit-learn compares names of text, and takes columns of other names as they come.
    Where a known name stands in another place, that would be silently wrong.
    """
    known = set(fitted)
    # Scikit-learn refuses more columns or fewer.
    for given, expected in zip(names, fitted, strict=False):
        if given != expected and given in known:
            return (
                f"Column {given!r} of X is in the place of column {expected!r} of fit. "
                "Give X the columns in the order of fit, for example by X[names]."
            )
    return None


def explain_other_groups(
    schema: TableSchema, columns: Sequence[RawColumn]
) -> str | None:
    """Return the difference between fitted and given columns, None if there is none.

    Missing values alone fit any column, numbers may change their dtype and stand for
    categories that are numbers, and dates may change their time zone; but dates with a
    zone do not compare with dates without.
    """
    lines = []
    for fitted, given in zip(schema.columns, columns, strict=True):
        groups = {fitted.group, given.group}
        same = len(groups) == 1 and (fitted.zone is None) == (given.zone is None)
        nothing = "empty" in groups or np.isnan(given.values).all()
        if nothing or same or (given.group in NUMBER_GROUPS and fitted.holds_numbers):
            continue
        lines.append(
            f"- {fitted.name!r}: {fitted.group} ({fitted.dtype}) in fit, "
            f"{given.group} ({given.dtype}) now"
        )
    if not lines:
        return None
    return "\n".join(
        [
            "The columns of X differ from those in fit:",
            *lines,
            "Convert them to the dtypes of the fit, or fit again.",
        ]
    )
