"""What gaps and codes cost a detector: jobs of ``tables.py`` that read labels."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from _datasets import labelled_table, split_labelled
from _mixed_tables import discrete_table, one_hot
from sklearn.impute import SimpleImputer
from sklearn.metrics import roc_auc_score

from sklearn_ilvae import ILVAEOutlierDetector

Table = np.ndarray | pd.DataFrame


def auroc(
    table: Table,
    y: np.ndarray,
    parts: tuple[np.ndarray, np.ndarray],
    seed: int,
    fitted: Table | None = None,
    **parameters: object,
) -> float:
    """Fit a detector to one part of a table and rank the other, in percent.

    It is fitted to that part of `fitted`, where this is another form of the table.
    """
    first = rows_of(table if fitted is None else fitted, parts[0])
    detector = ILVAEOutlierDetector(random_state=seed, device="cpu", **parameters)
    scores = detector.fit(first).score_samples(rows_of(table, parts[1]))
    return 100 * float(roc_auc_score(y[parts[1]], -scores))


def rows_of(table: Table, part: np.ndarray) -> Table:
    return table.iloc[part] if isinstance(table, pd.DataFrame) else table[part]


def with_gaps(
    name: str,
    protocol: str,
    share: float,
    seed: int,
    folder: Path,
    n_rows: int,
    methods: Sequence[str],
    **parameters: object,
) -> dict[str, float]:
    """Return AUROC of rows with values removed at random, in training and in test.

    ``filled``, by the method ``"mean"``, is the same detector on rows whose gaps hold
    the means of the training rows. ``learned complete``, by ``"complete"``, is one
    fitted to training rows without gaps: what it loses is lost in the rows to rank.
    """
    random = np.random.RandomState(seed)
    X, y = labelled_table(name, folder, n_rows, random)
    parts = split_labelled(y, protocol, random)
    X = X[:, np.ptp(X[parts[0]], axis=0) > 0]
    missing = np.where(np.random.default_rng(seed).random(X.shape) < share, np.nan, X)
    job = (y, parts, seed)
    found = {"auroc": auroc(missing, *job, **parameters)}
    if share > 0 and "complete" in methods:
        found["learned complete"] = auroc(missing, *job, fitted=X, **parameters)
    if share > 0 and "mean" in methods:
        imputer = SimpleImputer(keep_empty_features=True).fit(missing[parts[0]])
        found["filled"] = auroc(imputer.transform(missing), *job, **parameters)
    return found


def with_codes(
    name: str,
    protocol: str,
    seed: int,
    folder: Path,
    n_rows: int,
    **parameters: object,
) -> dict[str, float]:
    """Return AUROC of a discrete table as kinds, as one-hot codes and as numbers."""
    random = np.random.RandomState(seed)
    X, y = labelled_table(name, folder, n_rows, random)
    parts = split_labelled(y, protocol, random)
    X = X[:, np.ptp(X, axis=0) > 0]
    frame = discrete_table(X)
    coded, _ = one_hot(frame)
    ignore = parameters | {"handle_unknown": "missing"}
    gaussian = parameters | {"likelihood": "gaussian"}
    return {
        "kinds": auroc(frame, y, parts, seed, **ignore),
        "one-hot Gaussian": auroc(coded, y, parts, seed, **gaussian),
        "numbers": auroc(X, y, parts, seed, **gaussian),
    }
