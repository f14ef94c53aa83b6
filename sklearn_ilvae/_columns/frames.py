"""Columns of a pandas, polars or pyarrow table as numbers and codes of levels."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import narwhals as nw
import numpy as np

IS_FRAME_OF = {
    "pandas": nw.dependencies.is_pandas_dataframe,
    "polars": nw.dependencies.is_polars_dataframe,
    "pyarrow": nw.dependencies.is_pyarrow_table,
}
"""Libraries whose data frames we read, and what tells them, importing none."""

DATES = ("date", "duration")
"""Groups of columns that hold a number of days."""

MICROSECONDS_A_DAY = 86_400e6

MAKE_DENSE = "Make it dense: X[name].sparse.to_dense()"

LONG_DOUBLE = ("float96", "float128")
"""Names of NumPy's longdouble where it is longer than float64."""

LONG_INTEGERS = (nw.Int128, nw.UInt128)
"""Integers that NumPy has not."""


@dataclass(frozen=True)
class RawColumn:
    """A column as it came.

    Parameters
    ----------
    name : str or int
        Name in the table.
    dtype : str
        Its dtype, as its library prints it.
    group : {"number", "boolean", "date", "duration", "text", "empty"}
        What it holds.
    values : ndarray of shape (n_rows,), float64
        Numbers (dates in days since 1970, durations in days) or positions in
        `levels`; NaN where missing.
    levels : tuple, default=()
        Levels of text, in the order of the column's dtype where it declares them.
    declared : bool, default=False
        Whether the dtype declares the levels.
    ordered : bool, default=False
        Whether the dtype orders the levels.
    zone : str or None, default=None
        Time zone.
    level_dtype : str or None, default=None
        Dtype of the declared levels, in pandas.
    """

    name: Any
    dtype: str
    group: str
    values: np.ndarray
    levels: tuple[Any, ...] = ()
    declared: bool = False
    ordered: bool = False
    zone: str | None = None
    level_dtype: str | None = None


def as_frame(X: Any) -> Any:
    """Return a data frame of its own library; anything else as it is.

    Neither narwhals nor scikit-learn takes a record batch of pyarrow for a table, and
    a frame of narwhals wraps one of another library.
    """
    X = nw.to_native(X, pass_through=True)
    pyarrow = nw.dependencies.get_pyarrow()
    if pyarrow is not None and isinstance(X, pyarrow.RecordBatch):
        return pyarrow.Table.from_batches([X])
    return X


def without_long_integers(X: Any) -> Any:
    """Return a frame with float64 for integers of 128 bits; anything else as it is.

    Polars makes no array of a table of integers that has some which NumPy has not.
    """
    if library_of(X) != "polars":
        return X
    frame = nw.from_native(X, eager_only=True)
    long = [name for name, kind in frame.schema.items() if kind in LONG_INTEGERS]
    return frame.with_columns(nw.col(*long).cast(nw.Float64)).to_native() if long else X


def library_of(X: Any) -> str | None:
    """Return the library of a data frame, None for anything else."""
    X = as_frame(X)
    return next((name for name, is_frame in IS_FRAME_OF.items() if is_frame(X)), None)


def number_columns(X: Any, library: str) -> list[RawColumn] | None:
    """Return the columns without their values, if all hold numbers or truth values.

    Raises
    ------
    ValueError
        For two columns of one name.
    """
    names = names_in(X)
    twice = explain_repeated_names(names)
    if twice is not None:
        raise ValueError(twice)
    kinds = list(nw.from_native(X, eager_only=True).schema.values())
    if not all(kind.is_numeric() or kind == nw.Boolean for kind in kinds):
        return None
    if library == "pandas" and nw.Decimal in kinds:  # whose gaps NumPy cannot read
        return None
    printed = X.schema.types if library == "pyarrow" else X.dtypes
    nothing = np.empty(0)
    return [
        RawColumn(name, str(dtype), _number_group(kind), nothing)
        for name, kind, dtype in zip(names, kinds, printed, strict=True)
    ]


def names_in(X: Any) -> list[Any]:
    """Return the names of the columns, which need not be text; an array has none."""
    X = as_frame(X)
    library = library_of(X)
    if library is None:
        return []
    return list(X.column_names if library == "pyarrow" else X.columns)


def explain_repeated_names(names: Sequence[Any]) -> str | None:
    """Name the first name that two columns share, None where there is none."""
    if len(set(names)) == len(names):
        return None
    twice = next(name for name in names if names.count(name) > 1)
    return (
        f"X has more than one column named {twice!r}. Give every column a name of its "
        "own."
    )


def _number_group(kind: Any) -> str:
    return "boolean" if kind == nw.Boolean else "number"


def read_columns(X: Any, library: str) -> Iterator[RawColumn]:
    """Read the columns of a data frame.

    Raises
    ------
    ValueError
        For a dtype without a kind (lists, times of day…), or a column that mixes
        numbers and text.
    """
    names = names_in(X)
    series = nw.from_native(X, eager_only=True).iter_columns()
    for name, each in zip(names, series, strict=True):
        yield read_column(name, each, library)


def read_column(name: Any, series: nw.Series[Any], library: str) -> RawColumn:
    """Read one column."""
    native = series.to_native()
    printed = native.type if library == "pyarrow" else native.dtype
    if isinstance(printed, np.dtype) and not printed.isnative:
        # The byte order of another machine, as in FITS files: the values are the same.
        printed = printed.newbyteorder("=")
        native = native.astype(printed)
        series = nw.from_native(native, series_only=True)
    dtype = str(printed)
    if dtype == "string" and getattr(printed, "storage", None) == "python":
        dtype = "string[python]"  # pandas prints both storages alike
    zone = getattr(series.dtype, "time_zone", None)
    known = _known_dtype(dtype)
    if known is not None:
        if library == "pandas":
            native = native.astype(known)
        else:
            native = native.cast(known.removesuffix("[pyarrow]"))
        series = nw.from_native(native, series_only=True)
    elif library == "pandas" and hasattr(native.dtype, "tz"):
        # Narwhals tells zones by the look of their names: not America/New_York.
        zone = _zone_with_a_name(name, native.dtype)
        series = nw.from_native(native.dt.tz_convert(None), series_only=True)
    kind = series.dtype
    if kind.is_numeric() or kind == nw.Boolean:
        return RawColumn(name, dtype, _number_group(kind), _floats(series))
    if isinstance(kind, nw.Date | nw.Datetime):
        stamps = series.cast(nw.Datetime("us")) if kind == nw.Date else series
        days = _floats(stamps.dt.timestamp("us")) / MICROSECONDS_A_DAY
        return RawColumn(name, dtype, "date", days, zone=zone)
    if isinstance(kind, nw.Duration):
        days = _floats(series.dt.total_microseconds()) / MICROSECONDS_A_DAY
        return RawColumn(name, dtype, "duration", days)
    if isinstance(kind, nw.String | nw.Categorical | nw.Enum):
        return _read_text(name, dtype, series, library)
    if isinstance(kind, nw.Object):
        return read_objects(name, dtype, native.to_numpy())
    # Nested dtypes cannot be told from what their library prints of them.
    if series.null_count() == len(series) and not kind.is_nested():
        return RawColumn(name, dtype, "empty", np.full(len(series), np.nan))
    raise ValueError(_explain_no_kind(name, dtype))


def _explain_no_kind(name: Any, dtype: str) -> str:
    step = (
        MAKE_DENSE
        if dtype.startswith("Sparse")
        else "Convert it to numbers, text or dates, or drop it"
    )
    return (
        f"Column {name!r} has dtype {dtype}, which stands for no kind of column. "
        f"{step}."
    )


def _known_dtype(dtype: str) -> str | None:
    """Return a dtype that narwhals knows, for one of the same meaning."""
    if dtype.startswith("date64[ms]"):
        return "timestamp[ms][pyarrow]"
    if re.match(r"decimal(32|64|256)\(", dtype):
        return "double[pyarrow]"
    if dtype in LONG_DOUBLE:
        return "float64"
    # Pandas reads none of pyarrow's that counts more than 2**53 of its units.
    if found := re.match(r"duration\[(\w+)\]\[pyarrow\]", dtype):
        return f"timedelta64[{found[1]}]"
    return None


def _zone_with_a_name(name: Any, dtype: Any) -> str:
    """Return the zone of a pandas dtype, by the name that gives it back."""
    try:
        dtype.construct_from_string(str(dtype))
    except TypeError as error:
        raise ValueError(
            f"Column {name!r} has dtype {dtype}, whose time zone has no name. Convert "
            "it to one that has, for example X[name].dt.tz_convert('UTC')."
        ) from error
    return str(dtype.tz)


def _floats(series: nw.Series[Any]) -> np.ndarray:
    # Pyarrow refuses to round those beyond 2**53.
    if series.dtype.is_integer() and series.dtype not in LONG_INTEGERS:
        values = series.fill_null(0).to_numpy().astype(np.float64)
        return np.where(series.is_null().to_numpy(), np.nan, values)
    return np.asarray(series.cast(nw.Float64).to_numpy(), dtype=np.float64)


def _read_text(
    name: Any, dtype: str, series: nw.Series[Any], library: str
) -> RawColumn:
    native = series.to_native()
    declared = ordered = False
    level_dtype = None
    if library == "pandas":
        if hasattr(native, "cat"):
            declared, ordered = True, bool(native.cat.ordered)
            codes = native.cat.codes.to_numpy()
            levels = native.cat.categories.tolist()
            level_dtype = str(native.cat.categories.dtype)
        else:
            if dtype == "object":
                return read_objects(name, dtype, native.to_numpy())
            if dtype.startswith("dictionary<"):  # no name that pandas understands
                raise ValueError(
                    f"Column {name!r} has dtype {dtype}. Convert it to "
                    "astype('category')."
                )
            codes, uniques = native.factorize()
            levels = uniques.tolist()
    elif library == "polars":
        if isinstance(series.dtype, nw.Enum):
            declared, levels = True, native.dtype.categories.to_list()
        else:
            series = series.cast(nw.String)
            levels = series.drop_nulls().unique().sort().to_list()
            series = series.cast(nw.Enum(levels))
        codes = series.to_native().to_physical().cast(int).fill_null(-1).to_numpy()
    else:
        array = native.combine_chunks()
        encoded = array if hasattr(array, "dictionary") else array.dictionary_encode()
        # Without an order a dictionary lists values as they appeared.
        declared = ordered = bool(encoded.type.ordered)
        codes = encoded.indices.cast("float64").to_numpy(zero_copy_only=False)
        entries = encoded.dictionary.to_pylist()
        try:
            levels = [each for each in dict.fromkeys(entries) if not is_missing(each)]
        except TypeError as error:  # lists and structs, which have no hash
            raise ValueError(_explain_no_kind(name, dtype)) from error
        if len(levels) < len(entries):  # it lists one twice, or a missing value
            place = {level: code for code, level in enumerate(levels)}
            places = np.array([place.get(each, np.nan) for each in entries])
            found = places[np.nan_to_num(codes).astype(np.intp)]
            codes = np.where(np.isnan(codes), np.nan, found)
    values = _positions(codes)
    # A dictionary without an order may list values that no row holds.
    holds_levels = bool(levels) and (declared or not np.isnan(values).all())
    return RawColumn(
        name,
        dtype,
        "text" if holds_levels else "empty",
        values,
        tuple(levels),
        declared,
        ordered,
        level_dtype=level_dtype,
    )


def _positions(codes: np.ndarray) -> np.ndarray:
    values = codes.astype(np.float64)
    values[values < 0] = np.nan
    return values


def read_objects(name: Any, dtype: str, objects: np.ndarray) -> RawColumn:
    """Read a column of Python objects: numbers, truth values or text, with gaps."""
    missing = np.array([is_missing(value) for value in objects], dtype=bool)
    present = objects[~missing]
    values = np.full(len(objects), np.nan)
    if not len(present):
        return RawColumn(name, dtype, "empty", values)
    kinds = {_object_kind(value) for value in present}
    if kinds == {"number"} or kinds == {"boolean"}:
        try:
            values[~missing] = present.astype(np.float64)
        except OverflowError as error:
            raise ValueError(
                f"Column {name!r} holds an integer beyond the largest float64. Rescale "
                "it, for example by taking logarithms, or drop it."
            ) from error
        return RawColumn(name, dtype, kinds.pop(), values)
    if kinds != {"text"}:
        foreign = next(v for v in present if _object_kind(v) != "number")
        row = next(i for i, value in enumerate(objects) if value is foreign)
        raise ValueError(
            f"Column {name!r} holds {foreign!r} in row {row}; a column of objects must "
            "hold numbers, truth values or text alone. Convert it to one type: for "
            "example to numbers with pandas.to_numeric, to dates with "
            "pandas.to_datetime, or to text with astype(str)."
        )
    numbers: dict[Any, int] = {}
    codes = [numbers.setdefault(value, len(numbers)) for value in present]
    values[~missing] = codes
    return RawColumn(name, dtype, "text", values, tuple(numbers))


def is_missing(value: Any) -> bool:
    """Return whether an object stands for a missing value."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float | np.floating) and bool(np.isnan(value))


def _object_kind(value: Any) -> str:
    if isinstance(value, str):
        return "text"
    if isinstance(value, bool | np.bool_):
        return "boolean"
    if isinstance(value, int | float | np.integer | np.floating):
        return "number"
    return type(value).__name__
