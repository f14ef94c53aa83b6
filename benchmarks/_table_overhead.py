"""What kinds and gaps of columns cost a table that has neither."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from sklearn.datasets import make_low_rank_matrix
from sklearn.utils.validation import validate_data
from torch import Tensor

from sklearn_ilvae import ILVAETransformer, _transformer
from sklearn_ilvae._columns.schema import Column, TableSchema
from sklearn_ilvae._tables import TrainingTable
from sklearn_ilvae.vae.encoders import EncoderInputs, GaussianEncoder
from sklearn_ilvae.vae.likelihoods import MixedLikelihood


def read_numbers(
    estimator: Any, X: np.ndarray, sample_weight: None, fitted: None, min_samples: int
) -> TrainingTable:
    """Read an array as scikit-learn does, and nothing else."""
    rows = torch.from_numpy(validate_data(estimator, X))
    kinds = ["student_t"] * X.shape[1]
    columns = tuple(Column(j, "float64", "number") for j in range(X.shape[1]))
    schema = TableSchema("array", columns)
    weights = torch.ones(len(X), dtype=torch.float64)
    return TrainingTable(rows, weights, schema, kinds, X)


def rows_as_they_are(encoder: GaussianEncoder, rows: Tensor) -> EncoderInputs:
    """Take rows for inputs: no coordinates of levels, no look for gaps."""
    return EncoderInputs(rows, None)


def one_head(
    likelihood: MixedLikelihood,
    rows: Tensor,
    parameters: Tensor,
    gaps: bool | None = None,
) -> Tensor:
    """Call the one head of numbers: no picking of columns, no look for gaps."""
    return likelihood.heads[0].total_log_prob(rows, parameters)


@contextmanager
def numbers_alone() -> Iterator[None]:
    """Put what numbers alone need in the place of what serves all tables."""
    with ExitStack() as stack:
        for owner, name, plain in (
            (_transformer, "read_training_table", read_numbers),
            (GaussianEncoder, "inputs", rows_as_they_are),
            (MixedLikelihood, "log_prob", one_head),
        ):
            stack.enter_context(patch.object(owner, name, plain))
        yield


def overhead(repetitions: int, n_columns: int, n_rows: int) -> dict[str, Any]:
    """Return CPU seconds of fits with and without that machinery, in turns.

    Both train the same network on the same rows with the same noise, and end at the
    same losses.
    """
    torch.set_num_threads(1)
    X = make_low_rank_matrix(n_rows, n_columns, effective_rank=5, random_state=0)

    def fit() -> tuple[float, list[float]]:
        model = ILVAETransformer(max_iter=2, random_state=0, device="cpu")
        start = time.process_time()
        model.fit(X)
        return time.process_time() - start, model.loss_curve_

    fit()
    seconds: dict[bool, list[float]] = {False: [], True: []}
    losses = set()
    for number in range(repetitions):
        for plain in (False, True) if number % 2 else (True, False):
            with numbers_alone() if plain else nullcontext():
                taken, curve = fit()
            seconds[plain].append(taken)
            losses.add(tuple(curve))
    assert len(losses) == 1, "the two do not train the same network"
    present, bare = np.array(seconds[False]), np.array(seconds[True])
    ratios = present / bare
    return {
        "present s": np.median(present),
        "numbers alone s": np.median(bare),
        "ratio": np.median(ratios),
        "quarter": np.quantile(ratios, 0.25),
        "three quarters": np.quantile(ratios, 0.75),
        "ratio of the least": present.min() / bare.min(),
    }
