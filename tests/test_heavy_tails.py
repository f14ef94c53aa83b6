"""Numbers of a detector are Student t where their tails are heavy."""

import numpy as np
import pandas as pd
import pytest
import torch
from autoencoders import short_detector
from hypothesis import given
from hypothesis import strategies as st

from sklearn_ilvae._columns import BY_TAILS, find_scaling


def spikes(one_in, n_rows=80):
    """A column of mean 0 and kurtosis `one_in`: that share of the rows is ±1."""
    n_spikes = n_rows // one_in
    column = np.zeros(n_rows)
    column[:n_spikes] = np.resize([-1.0, 1.0], n_spikes)
    return column


def families(table, weights=None):
    table = torch.as_tensor(table, dtype=torch.float64)
    weights = torch.ones(len(table)) if weights is None else torch.tensor(weights)
    return find_scaling(table, weights, "auto", family_of_numbers=BY_TAILS).likelihood


@given(
    unit=st.floats(1e-30, 1e30),
    centre=st.floats(-1e3, 1e3),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_kurtosis_above_nine_is_heavy_in_any_unit(unit, centre, seed):
    table = np.column_stack([spikes(8), spikes(10)])
    table = unit * (centre + np.random.default_rng(seed).permutation(table))
    assert families(table) == ("gaussian", "student_t")


def test_weights_count_as_repetitions_and_missing_values_do_not_count():
    values, counts = [-1.0, 0.0, 1.0], [4, 72, 4]
    assert families(np.array(values)[:, None], counts) == ("student_t",)
    assert families(np.array(values)[:, None], [5, 70, 5]) == ("gaussian",)
    gaps = np.full(80, np.nan)
    assert families(np.concatenate([gaps, spikes(8)])[:, None]) == ("gaussian",)
    assert families(np.concatenate([gaps, spikes(10)])[:, None]) == ("student_t",)


@pytest.mark.parametrize(
    ("column", "family"),
    [
        (np.random.default_rng(0).normal(size=500), "gaussian"),
        (np.random.default_rng(0).uniform(size=500), "gaussian"),
        (np.random.default_rng(0).standard_t(2, size=500), "student_t"),
        (np.random.default_rng(0).lognormal(0, 2, size=500), "student_t"),
        (np.full(500, 3.0), "gaussian"),
        (np.full(500, np.nan), "none"),
        (np.arange(500) == 7, "bernoulli"),
    ],
    ids=["normal", "uniform", "t", "lognormal", "constant", "empty", "zeros and ones"],
)
def test_common_distributions(column, family):
    assert families(np.asarray(column, dtype=float)[:, None]) == (family,)


def test_a_detector_takes_heavy_columns_as_student_t_unless_told_otherwise():
    day = np.timedelta64(1, "D")
    frame = pd.DataFrame({"light": spikes(8), "heavy": spikes(10)})
    frame["typed"] = np.datetime64("2020-01-01") + 1000 * spikes(10).astype(int) * day
    found = short_detector().fit(frame).transformer_
    assert list(found.likelihood_) == ["gaussian", "student_t", "student_t"]
    asked = {"heavy": "gaussian", "typed": "gaussian", "light": "student_t"}
    told = short_detector(likelihood=asked).fit(frame).transformer_
    assert list(told.likelihood_) == ["student_t", "gaussian", "gaussian"]


def test_a_stream_keeps_the_families_of_its_first_batch():
    light, heavy = spikes(8)[:, None], spikes(10)[:, None]
    for first, second, family in [
        (light, heavy, "gaussian"),
        (heavy, light, "student_t"),
    ]:
        detector = short_detector(n_components=1).partial_fit(first)
        detector.partial_fit(second)
        assert list(detector.transformer_.likelihood_) == [family]
