"""Tables of categories and numbers, made by rules from tables of numbers.

australian
    Statlog's Australian credit approval, with the kinds that its description in the
    UCI repository gives: four truth values, four categories, six numbers.
discrete tables
    Where at least half of the columns hold at most 10 different values, such columns
    are discrete: two values become truth values, whole numbers ordered levels, other
    numbers categories (ADBench stores names as numbers that are not whole).
all other tables
    Every second column is cut at its quantiles into text of 2, 3, 4 or 5 levels in
    turn.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from _datasets import SCIKIT_LEARN, load_table
from sklearn.datasets import load_diabetes, load_iris

AUSTRALIAN = "australian"
TRUTH_VALUES, CATEGORIES = (0, 7, 8, 10), (3, 4, 5, 11)

OWN = SCIKIT_LEARN | {"iris": load_iris, "diabetes": load_diabetes}
"""Tables of scikit-learn."""

MOST_LEVELS = 10


def numbers(name: str, folder: Path | None, n_rows: int, seed: int) -> np.ndarray:
    """Return at most `n_rows` rows of a table, drawn at random.

    Columns that are constant in them are dropped.
    """
    table = OWN[name]().data if name in OWN else load_table(name, folder)
    rows = np.random.default_rng(seed).permutation(len(table))[:n_rows]
    table = table[np.sort(rows)]
    return table[:, np.ptp(table, axis=0) > 0]


def mixed_table(
    name: str, folder: Path | None, australian: Path | None, n_rows: int, seed: int
) -> pd.DataFrame:
    """Return a table with the kinds that the rules above give.

    Parameters
    ----------
    name : str
        ``"australian"``, a table of scikit-learn or one of ADBench.
    folder : Path or None
        The folder of ADBench's tables.
    australian : Path or None
        The file of the australian table.
    n_rows, seed : int
        Most rows, and the seed that draws them.
    """
    if name == AUSTRALIAN:
        return australian_table(australian)
    table = numbers(name, folder, n_rows, seed)
    return discrete_table(table) if is_discrete(table) else cut_table(table)


def australian_table(path: Path | None) -> pd.DataFrame:
    """Return the 14 columns of Statlog's table, in their kinds."""
    if path is None:
        raise SystemExit(
            "--australian must name australian.dat from archive.ics.uci.edu/dataset/143"
        )
    frame = pd.DataFrame(np.loadtxt(path)[:, :14]).add_prefix("a")
    for column in TRUTH_VALUES:
        frame[f"a{column}"] = frame[f"a{column}"] == frame[f"a{column}"].max()
    for column in CATEGORIES:
        frame[f"a{column}"] = frame[f"a{column}"].astype(int).astype("category")
    return frame


def is_discrete(table: np.ndarray) -> bool:
    """Return whether at least half of the columns hold few values."""
    few = [len(np.unique(column)) <= MOST_LEVELS for column in table.T]
    return float(np.mean(few)) >= 0.5


def discrete_table(table: np.ndarray) -> pd.DataFrame:
    """Take columns of few values as truth values, ordered levels or categories."""
    frame = pd.DataFrame(table).add_prefix("x")
    for column in frame:
        values = np.unique(frame[column])
        if len(values) > MOST_LEVELS:
            continue
        if len(values) <= 2:
            frame[column] = frame[column] == values[-1]
        else:
            whole = bool((values == np.rint(values)).all())
            kind = pd.CategoricalDtype(values, ordered=whole)
            frame[column] = frame[column].astype(kind)
    return frame


def cut_table(table: np.ndarray) -> pd.DataFrame:
    """Cut every second column at its quantiles into text."""
    frame = pd.DataFrame(table).add_prefix("x")
    for number, column in enumerate(frame.columns[::2]):
        levels = 2 + number % 4
        cut = pd.qcut(frame[column].rank(method="first"), levels, labels=False)
        frame[column] = [f"level {each}" for each in cut]
    return frame


def is_number(column: pd.Series) -> bool:
    """Return whether a column holds numbers, which are no codes of levels."""
    return column.dtype.kind == "f"


def one_hot(frame: pd.DataFrame) -> tuple[np.ndarray, list[slice]]:
    """Return the table with a code for every level, and where those of a column lie."""
    parts, blocks, width = [], [], 0
    for name in frame:
        if is_number(frame[name]):
            part = frame[[name]].to_numpy()
        else:
            part = pd.get_dummies(frame[name]).to_numpy(float)
            blocks.append(slice(width, width + part.shape[1]))
        parts.append(part)
        width += part.shape[1]
    return np.hstack(parts), blocks
