"""What gaps and codes cost a detector: jobs of ``tables.py`` that read labels."""

from pathlib import Path

import numpy as np
import pandas as pd
from _datasets import labelled_table, split_labelled
from _mixed_tables import discrete_table, one_hot
from sklearn.impute import SimpleImputer
from sklearn.metrics import roc_auc_score

from sklearn_ilvae import ILVAEOutlierDetector


def auroc(
    table: np.ndarray | pd.DataFrame,
    y: np.ndarray,
    parts: tuple[np.ndarray, np.ndarray],
    seed: int,
    **parameters: object,
) -> float:
    """Fit a detector to one part of a table and rank the other, in percent."""
    first, second = (
        table.iloc[part] if isinstance(table, pd.DataFrame) else table[part]
        for part in parts
    )
    detector = ILVAEOutlierDetector(random_state=seed, device="cpu", **parameters)
    detector.fit(first)
    return 100 * float(roc_auc_score(y[parts[1]], -detector.score_samples(second)))


def with_gaps(
    name: str,
    protocol: str,
    share: float,
    seed: int,
    folder: Path,
    n_rows: int,
    fill: bool,
) -> dict[str, float]:
    """Return AUROC of rows with values removed at random, in training and in test.

    ``filled`` is the same detector on rows whose gaps hold the means of the training
    rows, where `fill` asks for it.
    """
    random = np.random.RandomState(seed)
    X, y = labelled_table(name, folder, n_rows, random)
    parts = split_labelled(y, protocol, random)
    X = X[:, np.ptp(X[parts[0]], axis=0) > 0]
    missing = np.where(np.random.default_rng(seed).random(X.shape) < share, np.nan, X)
    found = {"auroc": auroc(missing, y, parts, seed)}
    if share > 0 and fill:
        imputer = SimpleImputer(keep_empty_features=True).fit(missing[parts[0]])
        found["filled"] = auroc(imputer.transform(missing), y, parts, seed)
    return found


def with_codes(
    name: str, protocol: str, seed: int, folder: Path, n_rows: int
) -> dict[str, float]:
    """Return AUROC of a discrete table as kinds, as one-hot codes and as numbers."""
    random = np.random.RandomState(seed)
    X, y = labelled_table(name, folder, n_rows, random)
    parts = split_labelled(y, protocol, random)
    X = X[:, np.ptp(X, axis=0) > 0]
    frame = discrete_table(X)
    coded, _ = one_hot(frame)
    ignore = {"handle_unknown": "missing"}
    return {
        "kinds": auroc(frame, y, parts, seed, **ignore),
        "one-hot Gaussian": auroc(coded, y, parts, seed, likelihood="gaussian"),
        "numbers": auroc(X, y, parts, seed, likelihood="gaussian"),
    }
