"""A few values far out do not decide the spread of a column."""

import numpy as np
import pandas as pd
import pytest
import torch
from autoencoders import short
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_ilvae import ILVAETransformer
from sklearn_ilvae._columns import find_scaling


def scaled(column, weights=None):
    """Centre and spread of a column."""
    table = torch.as_tensor(column, dtype=torch.float64)[:, None]
    weights = torch.ones(len(table)) if weights is None else torch.as_tensor(weights)
    scaling = find_scaling(table, weights, "auto")
    return float(scaling.mean[0]), float(scaling.scale[0])


def with_far_values(n_far, size=1e9):
    rng = np.random.default_rng(0)
    column = 50 + 2 * rng.standard_normal(1000)
    column[rng.permutation(1000)[:n_far]] = size
    return column


@pytest.mark.parametrize("n_far", [1, 10, 80])
def test_values_far_out_hide_no_core(n_far):
    centre, spread = scaled(with_far_values(n_far))
    assert abs(centre - 50) < 0.4
    assert 1.8 < spread < 2 / np.sqrt(1 - 9 * n_far / 1000) + 0.2


@pytest.mark.parametrize(
    "column",
    [
        np.random.default_rng(0).normal(size=500),
        np.random.default_rng(0).exponential(size=500),
        np.random.default_rng(0).standard_t(3, size=500),
        np.random.default_rng(0).lognormal(size=500),
        np.where(np.arange(500) % 4, 0.0, np.arange(500)),
        np.where(np.arange(500) % 100, 0.0, 1e9),
        with_far_values(130),
    ],
    ids=["normal", "exponential", "t", "lognormal", "spike", "constant", "cluster"],
)
def test_other_columns_have_mean_and_standard_deviation(column):
    assert_allclose(scaled(column), [column.mean(), column.std()], rtol=1e-12)


@given(
    ratio=st.floats(1e-6, 0.2),
    n_far=st.integers(0, 7),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_spread_is_that_of_values_clipped_to_three_of_it(ratio, n_far, seed):
    rng = np.random.default_rng(seed)
    column = ratio * rng.standard_normal(60)
    column[:n_far] += rng.choice([-1, 1], n_far)
    centre, spread = scaled(column)
    if spread < 0.1 * column.std():
        assert centre == np.sort(column)[29]
        clipped = np.clip(column - centre, -3 * spread, 3 * spread)
        assert_allclose(np.mean(clipped**2), spread**2)
    else:
        assert_allclose(spread, column.std())
        # A smaller solution would be hidden: its mean square falls with the spread.
        least = 0.1 * spread
        sizes = np.clip(np.abs(column - np.sort(column)[29]), 0, 3 * least)
        assert np.mean(sizes**2) >= least**2 * (1 - 1e-9)


def test_weights_count_as_repetitions_and_missing_values_do_not_count():
    column = with_far_values(20)
    weights = np.random.default_rng(1).integers(0, 4, len(column))
    repeated = scaled(np.repeat(column, weights))
    assert repeated[1] < 3
    assert_allclose(scaled(column, weights), repeated, rtol=1e-12)
    gaps = np.concatenate([column, np.full(300, np.nan)])
    assert_array_equal(scaled(gaps), scaled(column))


@pytest.mark.parametrize("unit", [2.0**-900, 2.0**900])
def test_a_core_is_found_in_any_unit(unit):
    column = with_far_values(5)
    assert_array_equal(scaled(unit * column), np.multiply(unit, scaled(column)))


def test_one_value_far_out_costs_the_other_rows_no_likelihood():
    rng = np.random.default_rng(0)
    table, others = rng.standard_normal((2, 200, 2))
    table[0] = 1e9
    model = ILVAETransformer(max_iter=100, random_state=0).fit(table)
    truth = -np.log(2 * np.pi) - np.square(others).sum(1).mean() / 2
    assert model.score(others) > truth - 0.3


def test_a_date_that_stands_for_none_leaves_the_days_apart():
    days = np.random.default_rng(0).normal(0, 100, 400)
    day = pd.Timestamp("2020-01-01")
    dates = pd.Series(day + pd.to_timedelta(days.round(), unit="D"))
    dates[:4] = pd.Timestamp("9999-12-31")
    model = short(n_components=1).fit(pd.DataFrame({"date": dates}))
    assert 80 < model.scale_[0] < 120
