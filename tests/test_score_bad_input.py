"""A gradient of a density takes numbers alone; what it refuses is named."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from mixed import LIBRARIES

from sklearn_ilvae import SteinScoreEstimator


@pytest.fixture(scope="module")
def frame(table):
    return pd.DataFrame(table[:, :2], columns=["a", "b"])


NO_NUMBERS = {
    "text": (lambda n: ["red", "blue"] * (n // 2), "Encode it"),
    "categories": (lambda n: pd.Categorical(["red", "blue"] * (n // 2)), "Encode it"),
    "levels": (lambda n: pd.Categorical(["a", "b"] * (n // 2), ["a", "b"], True), "En"),
    "dates": (lambda n: pd.date_range("2024-01-01", periods=n), "Convert it"),
    "durations": (lambda n: pd.to_timedelta(np.arange(n), unit="h"), "Convert it"),
}


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(("make", "step"), NO_NUMBERS.values(), ids=NO_NUMBERS)
def test_a_score_of_other_columns_is_refused_by_name(frame, make, step, library):
    rows = frame[: len(frame) // 2 * 2]
    table = LIBRARIES[library](rows.assign(shade=make(len(rows))))
    message = f"Column 'shade' holds .* only numbers are allowed. {step}"
    with pytest.raises(ValueError, match=message):
        SteinScoreEstimator().fit(table)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_score_of_missing_values_is_refused_by_name(frame, library):
    rows = frame.assign(b=frame["b"].where(frame.index != 3))
    with pytest.raises(ValueError, match=r"Column 'b' holds nan in row 3\. Impute"):
        SteinScoreEstimator().fit(LIBRARIES[library](rows))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda f: f.rename(columns={"b": "a"}), "more than one column named 'a'"),
        (lambda f: dict(f), "Expected a table, got a dict"),
        (lambda f: f.replace(f["b"][3], np.inf), "holds inf in row 3. Replace"),
        (lambda f: f.astype("Sparse[float]"), "'a' has dtype Sparse.* Make it dense"),
        (lambda f: pl.DataFrame(f).with_columns(t=pl.time(12)), "'t' holds Time"),
        (lambda f: pl.DataFrame(f).with_columns(t=pl.lit([1, 2])), "'t' holds .*Conv"),
    ],
    ids=["two columns of one name", "dict", "infinity", "sparse", "times", "lists"],
)
def test_a_score_of_no_numbers_says_what_to_do(frame, make, message):
    with pytest.raises(ValueError, match=message):
        SteinScoreEstimator().fit(make(frame))


def test_columns_that_are_numbered_may_not_change_their_order(frame):
    table = frame.set_axis([3, 1], axis=1)
    estimator = SteinScoreEstimator(base="gaussian", random_state=0).fit(table)
    estimator = pickle.loads(pickle.dumps(estimator))
    for measure in (estimator.score_gradient, estimator.score_samples, estimator.score):
        with pytest.raises(ValueError, match="Column 1 of X is in the place of col"):
            measure(table[[1, 3]])
    renumbered = table.set_axis([7, 8], axis=1)  # as rows that scikit-learn takes
    gradient = estimator.score_gradient(table)
    for same in (table, renumbered, table.to_numpy()):
        np.testing.assert_array_equal(estimator.score_gradient(same), gradient)
