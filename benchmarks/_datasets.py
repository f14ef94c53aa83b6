"""Tables for the benchmarks: scikit-learn's own and those of ADBench."""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

SOURCE = (
    "ADBench's tables are the .npz files in adbench/datasets/Classical of "
    "https://github.com/Minqi824/ADBench (for example 2_annthyroid.npz); their labels "
    "are never read"
)

PROTOCOLS = ("one-class", "unsupervised")
"""What a detector trains on: normal rows alone, or the rows that it scores."""

SCIKIT_LEARN = {
    "digits": load_digits,
    "breast_cancer": load_breast_cancer,
    "wine": load_wine,
}

WIDE = 300
"""Columns of a table beyond which fits to it take long."""

SAME_COLUMNS = {"19_landsat": "30_satellite"}
"""Tables of ADBench that differ from another in labels and in the scale of columns."""


def adbench_names(folder: Path) -> list[str]:
    """Return the names of the tables in a folder, in ADBench's order.

    Parameters
    ----------
    folder : Path
        Holds files such as ``2_annthyroid.npz``, whose name is ``2_annthyroid``.
    """
    names = [path.stem for path in folder.glob("*_*.npz")]
    if not names:
        raise SystemExit(f"There is no table in {folder}. {SOURCE}.")
    return sorted(names, key=lambda name: int(name.split("_")[0]))


def unlabelled_tables(folder: Path | None) -> list[str]:
    """Return the names of all tables that differ from each other without labels.

    Parameters
    ----------
    folder : Path or None
        As for `adbench_names`; None for scikit-learn's own tables alone.
    """
    names = adbench_names(folder) if folder else []
    distinct = [name for name in names if SAME_COLUMNS.get(name) not in names]
    return [*SCIKIT_LEARN, *distinct]


def narrow_tables(folder: Path | None) -> list[str]:
    """Return those of `unlabelled_tables` that have at most `WIDE` columns."""
    names = unlabelled_tables(folder)
    return [name for name in names if load_table(name, folder).shape[1] <= WIDE]


def adbench_file(name: str, folder: Path | None) -> Path:
    """Return the file of a table; without one, end with where to find it."""
    if folder is None:
        raise SystemExit(f"--data must name the folder of {name}.npz. {SOURCE}.")
    path = folder / f"{name}.npz"
    if not path.exists():
        raise SystemExit(f"There is no table {name} in {folder}. {SOURCE}.")
    return path


def load_table(name: str, folder: Path | None) -> np.ndarray:
    """Return a table in float64.

    Parameters
    ----------
    name : str
        A key of `SCIKIT_LEARN` or a name from `adbench_names`.
    folder : Path or None
        The folder of ADBench's tables.
    """
    if name in SCIKIT_LEARN:
        return SCIKIT_LEARN[name]().data
    with np.load(adbench_file(name, folder), allow_pickle=False) as file:
        return file["X"].astype(np.float64)


def split_rows(
    table: np.ndarray, n_rows: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw rows and hold out 30% of them.

    Columns that are constant in the training part are dropped: densities of a column
    without spread compare nothing.

    Parameters
    ----------
    table : ndarray of shape (n_samples, n_features)
        A table.
    n_rows : int
        Most rows to draw.
    seed : int
        Seed of the draw.

    Returns
    -------
    training, test : ndarray
    """
    rows = np.random.default_rng(seed).permutation(len(table))[:n_rows]
    training, test = train_test_split(table[rows], test_size=0.3, random_state=seed)
    varying = np.ptp(training, axis=0) > 0
    return training[:, varying], test[:, varying]


def split_table(
    table: np.ndarray, n_rows: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return what `split_rows` does, standardised by the training part."""
    training, test = split_rows(table, n_rows, seed)
    scaler = StandardScaler().fit(training)
    return scaler.transform(training), scaler.transform(test)


def labelled_table(
    name: str, folder: Path, n_rows: int, random: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of an ADBench table and their labels, to measure detectors.

    Parameters
    ----------
    name : str
        A name from `adbench_names`.
    folder : Path
        The folder of ADBench's tables.
    n_rows : int
        Most rows: of more, a stratified subsample, with 30 anomalies at least where
        there are that many.
    random : RandomState
        Source of the subsample.

    Returns
    -------
    X : ndarray of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,)
        1 for anomalies.
    """
    with np.load(adbench_file(name, folder), allow_pickle=False) as file:
        X, y = file["X"].astype(np.float64), file["y"].astype(int).ravel()
    if len(X) <= n_rows:
        return X, y
    anomalies, normal = np.flatnonzero(y == 1), np.flatnonzero(y == 0)
    wanted = max(30, round(n_rows * len(anomalies) / len(X)))
    n_anomalies = min(len(anomalies), wanted)
    chosen = np.concatenate(
        [
            random.permutation(anomalies)[:n_anomalies],
            random.permutation(normal)[: n_rows - n_anomalies],
        ]
    )
    chosen = random.permutation(chosen)
    return X[chosen], y[chosen]


def split_labelled(
    y: np.ndarray, protocol: str, random: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions of training rows and of rows to score.

    Parameters
    ----------
    y : ndarray of shape (n_samples,)
        1 for anomalies.
    protocol : {"one-class", "unsupervised"}
        Half of the normal rows to train on, and the others to score; or all rows for
        both, and then the two positions are one object.
    random : RandomState
        Source of the half.

    Returns
    -------
    training, scored : ndarray of int
    """
    if protocol == "unsupervised":
        everything = np.arange(len(y))
        return everything, everything
    normal = random.permutation(np.flatnonzero(y == 0))
    training, others = np.split(normal, [len(normal) // 2])
    return training, np.concatenate([others, np.flatnonzero(y == 1)])
