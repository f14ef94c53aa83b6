"""Tables of columns of all kinds, for several test files."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import strategies as st

from sklearn_ilvae import ILVAETransformer

LIBRARIES = {
    "pandas": lambda frame: frame,
    "polars": pl.from_pandas,
    "pyarrow": lambda frame: pa.Table.from_pandas(frame, preserve_index=False),
}

by_library = pytest.mark.parametrize("convert", LIBRARIES.values(), ids=LIBRARIES)


N_ROWS = 24
CODES = np.arange(N_ROWS) % 5
BASE = np.arange(N_ROWS) % 3 * 0.5
"""Small columns: codes, to be read as anything, and numbers to stand beside them."""


def column(table):
    """The column c of a table of any library, as a list."""
    values = table["c"]
    return values.to_list() if hasattr(values, "to_list") else values.to_pylist()


def short(**parameters):
    return ILVAETransformer(
        **{"n_components": 2, "max_iter": 2, "hidden_layer_sizes": 8, "random_state": 0}
        | parameters
    )


def people(n_rows=120, seed=0, gaps=0.0):
    """A table of one factor, with a column of every kind."""
    rng = np.random.default_rng(seed)
    factor = rng.standard_normal(n_rows)
    third = np.clip((factor + 0.5 * rng.standard_normal(n_rows) + 1.5), 0, 2.9)
    frame = pd.DataFrame(
        {
            "height": 170 + 10 * factor + 3 * rng.standard_normal(n_rows),
            "visits": rng.poisson(np.exp(1 + 0.5 * factor)),
            "smoker": factor + rng.standard_normal(n_rows) > 0,
            "city": np.array(["Oslo", "Rome", "Bonn"])[third.astype(int)],
            "grade": pd.Categorical.from_codes(
                np.clip(factor + 1.5, 0, 2.9).astype(int),
                ["low", "mid", "high"],
                ordered=True,
            ),
            "kind": pd.Categorical(rng.choice(["a", "b"], n_rows), list("bac")),
            "joined": pd.Timestamp("2020-01-01")
            + pd.to_timedelta(np.round(100 * factor), unit="D"),
            "wait": pd.to_timedelta(rng.integers(0, 100, n_rows), unit="h"),
        }
    )
    if gaps:
        frame = frame.astype({"visits": "Int64", "smoker": "boolean"})
        for column in frame:
            frame.loc[rng.random(n_rows) < gaps, column] = None
    return frame


def same_form(table, original):
    """Whether two tables agree in library, names, order, dtypes and levels."""
    if type(table) is not type(original):
        return False
    if isinstance(table, pd.DataFrame):
        return table.dtypes.equals(original.dtypes)
    if isinstance(table, pa.Table):
        return table.schema.equals(original.schema)
    return table.schema == original.schema


@st.composite
def columns(draw, n_rows):
    """One column of some dtype, perhaps constant, rare or all missing."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    levels = draw(
        st.lists(st.text("abé \0", max_size=3), min_size=1, max_size=4, unique=True)
    )
    codes = rng.integers(0, len(levels), n_rows)
    makers = {
        "float64": lambda: pd.Series(rng.standard_normal(n_rows) * 1e3),
        "float32": lambda: pd.Series(rng.standard_normal(n_rows).astype(np.float32)),
        "constant": lambda: pd.Series(np.full(n_rows, 7.0)),
        "int8": lambda: pd.Series(rng.integers(-128, 128, n_rows)).astype("int8"),
        "objects": lambda: pd.Series(np.array(levels, dtype=object)[codes]),
        "Int64": lambda: pd.Series(rng.integers(-5, 5, n_rows)).astype("Int64"),
        "boolean": lambda: pd.Series(rng.random(n_rows) < 0.2).astype("boolean"),
        "str": lambda: pd.Series(np.array(levels, dtype=object)[codes]).astype("str"),
        "category": lambda: pd.Series(pd.Categorical.from_codes(codes, levels)),
        "ordered": lambda: pd.Series(
            pd.Categorical.from_codes(codes, levels, ordered=True)
        ),
        "date": lambda: pd.Series(
            pd.Timestamp("2024-02-29") + pd.to_timedelta(codes * 7, unit="h")
        ),
        "zoned": lambda: pd.Series(
            pd.Timestamp("2024-02-29", tz="Asia/Tokyo")
            + pd.to_timedelta(rng.integers(0, 99, n_rows), unit="D")
        ),
        "seconds": lambda: pd.Series(
            pd.Timestamp("1969-12-31") + pd.to_timedelta(codes, unit="s")
        ).astype("datetime64[s]"),
        "duration": lambda: pd.Series(pd.to_timedelta(codes, unit="min")),
    }
    column = makers[draw(st.sampled_from(sorted(makers)))]()
    gaps = draw(st.sampled_from([0.0, 0.0, 0.3, 1.0]))
    return column.mask(rng.random(n_rows) < gaps)


@st.composite
def tables(draw):
    """A table of one to six columns, with at least one to learn."""
    n_rows = draw(st.integers(2, 25))
    found = draw(st.lists(columns(n_rows), min_size=1, max_size=5))
    found.append(pd.Series(np.arange(n_rows) % 3 * 0.5))
    return pd.DataFrame({f"c{number}": each for number, each in enumerate(found)})


def rows_of(table, index):
    """Some rows of a table of any library."""
    if isinstance(table, pd.DataFrame):
        return table.iloc[index]
    return table.take(index) if isinstance(table, pa.Table) else table[index]
