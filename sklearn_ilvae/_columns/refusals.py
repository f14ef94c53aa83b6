"""What is no table, or none of numbers, and what to pass instead."""

from collections.abc import Iterator, Mapping
from typing import Any

import narwhals as nw
import numpy as np
import torch
from scipy.sparse import issparse

from .frames import explain_repeated_names, library_of, names_in

ENCODE_TEXT = "Encode it, for example with sklearn.preprocessing.OneHotEncoder"


FRAMES = {
    "pandas": ("pandas.DataFrame", "pandas.DataFrame"),
    "polars": ("polars.DataFrame", "polars.DataFrame"),
    "pyarrow": ("pyarrow.table", "pyarrow.Table.from_pylist"),
}
"""What makes a data frame of a dict of columns, and of a list of rows, by library."""


def explain_no_table(
    X: Any, name: str = "X", library_of_fit: str = "pandas"
) -> str | None:
    """Say why what a user passed is no table, or none yet; None for a table.

    Arrays of dates are none: their unit would be lost without a word.

    Parameters
    ----------
    X : object
        What a user passed.
    name : str, default="X"
        What the user knows it by.
    library_of_fit : str, default="pandas"
        The library of a data frame to make of it.

    Returns
    -------
    str or None
        The reason and the next step.
    """
    if isinstance(X, np.ndarray):
        return _explain_array(X, name)
    library, kind = library_of(X), type(X).__name__
    if library is not None:
        return explain_repeated_names(names_in(X))
    if isinstance(nw.from_native(X, pass_through=True), nw.LazyFrame):
        return f"{name} is a {kind} without values yet. Pass {name}.collect()."
    if nw.dependencies.is_into_series(X):
        return (
            f"Expected a table of two dimensions, got a {kind}. Pass a data frame, for "
            f"example {name}.to_frame() for one column, or frame[:1] for the first row."
        )
    of_columns, of_rows = FRAMES.get(library_of_fit, FRAMES["pandas"])
    # A sparse matrix may be a mapping: scikit-learn's own check refuses it.
    if isinstance(X, Mapping) and not issparse(X):
        columns = any(np.ndim(each) for each in X.values())
        frame = f"{of_columns}({name})" if columns else f"{of_rows}([{name}])"
        return f"Expected a table, got a {kind}. Pass {frame}."
    if isinstance(X, list) and X and isinstance(X[0], Mapping):
        return f"Expected a table, got a {kind} of dicts. Pass {of_rows}({name})."
    if isinstance(X, Iterator):
        # Some are of pyarrow.
        rows = f"{name}.read_all()" if hasattr(X, "read_all") else f"list({name})"
        return f"Expected a table, got a {kind}. Pass {rows}."
    if torch.is_tensor(X) and X.layout != torch.strided:
        return (
            f"{name} is a sparse tensor, and a dense one is required. Pass "
            f"{name}.to_dense()."
        )
    return None


def _explain_array(X: np.ndarray, name: str) -> str | None:
    if X.dtype.names or X.dtype.kind in "mM":
        return (
            f"An array of dtype {X.dtype} is no table of numbers. Pass "
            f"pandas.DataFrame({name}), whose columns have dtypes and names of their "
            "own."
        )
    return None


def explain_other_kinds(X: Any) -> str | None:
    """Say why the values of a data frame cannot be numbers.

    Parameters
    ----------
    X : DataFrame or array-like
        What a user passed.

    Returns
    -------
    str or None
        The first such column, its dtype and the next step; None for no reason.
    """
    library = library_of(X)
    if library is None:
        return None
    kinds = nw.from_native(X, eager_only=True).schema.values()
    for name, kind in zip(names_in(X), kinds, strict=True):
        if isinstance(kind, nw.String | nw.Categorical | nw.Enum):
            step = ENCODE_TEXT
        elif isinstance(kind, nw.Date | nw.Datetime | nw.Duration | nw.Time):
            step = "Convert it to numbers, for example of days since the first"
        else:
            continue
        return (
            f"Column {name!r} holds {type(kind).__name__}, but only numbers are "
            f"allowed. {step}, or drop the column."
        )
    return None
