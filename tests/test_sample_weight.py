"""Weights act as repetition: exactly where no randomness differs, else in the mean."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch
from autoencoders import short, short_detector
from hypothesis import given, settings
from hypothesis import strategies as st
from mixed import LIBRARIES, people, rows_of, same_form
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.base import clone

from sklearn_ilvae import ILVAEOutlierDetector, ILVAETransformer
from sklearn_ilvae._columns import find_scaling, rows_of_weight
from sklearn_ilvae._columns.levels import group_levels
from sklearn_ilvae._random import draw_held_out, draw_seed
from sklearn_ilvae._training.setup import split_validation, start_model
from sklearn_ilvae.vae import Design
from sklearn_ilvae.vae.likelihoods import COUNTS, LEVELS, MixedLikelihood


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_weight_of_zero_removes_a_row_exactly(table, method):
    weights = np.random.default_rng(0).integers(0, 3, len(table))
    # Such a row may hold anything finite.
    odd = np.where(weights[:, None] == 0, 1e9, table)
    kept = weights > 0
    weighted = getattr(short(), method)(odd, sample_weight=weights)
    removed = getattr(short(), method)(table[kept], sample_weight=weights[kept])
    assert weighted.loss_curve_ == removed.loss_curve_
    assert_array_equal(weighted.transform(table), removed.transform(table))


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("alone", [True, False])
def test_a_level_in_rows_of_no_weight_alone_is_none(library, alone):
    frame, weights = people(60), np.arange(60) > 1
    absent = frame["city"].astype(object).where(weights, "Riga")
    frame["city"] = absent.where(~weights) if alone else absent
    X = LIBRARIES[library](frame)
    weighted = short().fit(X, sample_weight=weights)
    kept = rows_of(X, np.flatnonzero(weights))
    removed = short().fit(kept)
    assert repr(weighted.column_summary_) == repr(removed.column_summary_)
    assert_array_equal(weighted.score_samples(kept), removed.score_samples(kept))
    assert same_form(weighted.sample(2, random_state=0), removed.sample(2))


@pytest.mark.parametrize("make", [short, short_detector])
def test_an_unknown_level_in_rows_of_no_weight_is_none_where_training_goes_on(make):
    X, weights = people(30)[["height", "city"]], np.arange(30) > 1
    model = make(n_components=1).partial_fit(X)
    X["city"] = X["city"].where(weights, "Riga")
    removed = copy.deepcopy(model).partial_fit(X[weights])
    weighted = model.partial_fit(X, sample_weight=weights)
    kept = X[weights]
    assert_array_equal(weighted.score_samples(kept), removed.score_samples(kept))
    with pytest.raises(ValueError, match="'Riga' in row 0"):
        model.partial_fit(X, sample_weight=1 - 0.5 * weights)


@pytest.mark.parametrize("early_stopping", [True, False])
def test_equal_weights_are_no_weights(table, early_stopping):
    plain = short(early_stopping=early_stopping).fit(table)
    for weights in (np.full(len(table), 4), 4):
        equal = short(early_stopping=early_stopping).fit(table, sample_weight=weights)
        assert_array_equal(equal.transform(table), plain.transform(table))


@settings(max_examples=5, deadline=None)
@given(st.integers(-1000, 1000), st.integers(0, 2**32 - 1))
def test_only_the_ratios_of_weights_matter(table, exponent, seed):
    # A power of two, so that no rounding makes the two fits differ.
    weights = np.random.default_rng(seed).integers(1, 5, len(table))
    model = short().fit(table, sample_weight=weights)
    scaled = short().fit(table, sample_weight=weights * 2.0**exponent)
    assert_array_equal(scaled.transform(table), model.transform(table))


@pytest.mark.parametrize("weight", [1e-60, 1e60])
def test_rows_to_validate_on_may_weigh_as_little_or_as_much_as_they_like(weight):
    """The mean bound on a part of the rows depends on the ratios within it alone."""
    rows = torch.arange(20.0)[:, None]
    validated = torch.arange(20) % 10 == 0
    weights = torch.arange(1.0, 21, dtype=torch.float64)
    plain = split_validation(rows, weights, validated)
    weights[validated] *= weight
    for part, other in zip(
        split_validation(rows, weights, validated), plain, strict=True
    ):
        assert_array_equal(part.rows, other.rows)
        assert_allclose(part.weights, other.weights, rtol=1e-6)
        assert part.weights.dtype == rows.dtype


def test_validation_scores_are_numbers_whatever_the_held_out_rows_weigh(table):
    seed = draw_seed(0)
    weights = np.ones(len(table))
    weights[draw_held_out(len(table), 0.1, seed, least_kept=1)] = 1e-60
    model = short(random_state=0).fit(table, sample_weight=weights)
    assert np.isfinite(model.validation_scores_).all()


def begin(rows, weights, scaling=None):
    """Return what training starts from: scaling and network."""
    rows, weights = torch.tensor(rows), torch.tensor(weights, dtype=torch.float64)
    scaling = scaling or find_scaling(rows, weights, "auto")
    module = start_model(
        scaling.transform(rows),
        weights,
        scaling.likelihood,
        decoder="anchored_warped",
        n_components=2,
        inverse_lipschitz="auto",
        hidden_layer_sizes=8,
        activation="elu",
        n_mixture_components=4,
        seed=0,
    )
    return {
        "mean": scaling.mean,
        "scale": scaling.scale,
        **module.state_dict(),
    }


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_scaling_and_start_of_weighted_rows_are_those_of_repeated_rows(table, seed):
    rows = np.column_stack([table, table[:, 0] > 0])[:50]
    weights = np.random.default_rng(seed).integers(1, 5, len(rows))
    weighted = begin(rows, weights)
    repeated = begin(rows.repeat(weights, axis=0), np.ones(weights.sum()))
    for name, value in weighted.items():
        assert_allclose(value, repeated[name], rtol=1e-4, atol=1e-5, err_msg=name)


def test_the_summary_of_weighted_rows_is_that_of_repeated_rows():
    frame, weights = people(60, gaps=0.2), np.arange(60) % 3
    weighted = short(max_iter=1).fit(frame, sample_weight=weights)
    repeated = short(max_iter=1).fit(frame.loc[frame.index.repeat(weights)])
    assert repr(weighted.column_summary_) == repr(repeated.column_summary_)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_discrete_columns_of_weighted_rows_start_as_those_of_repeated_rows(seed):
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, 3, (40, 5)).astype(float)
    rows[rng.random(rows.shape) < 0.1] = np.nan
    # As many rows either way: every level counts as half a row more.
    weights = rng.multinomial(40, np.full(40, 1 / 40))
    columns = ("bernoulli", *COUNTS, *LEVELS), (1, 1, 1, 3, 3)

    def start(rows, weights):
        rows, shares = torch.tensor(rows), torch.tensor(weights / weights.sum())
        design, likelihood = Design(*columns), MixedLikelihood(*columns).double()
        units = design.double().fit(rows, shares)
        likelihood.start_at(torch.ones(design.n_parameters), rows, shares)
        matrices = {str(place): matrix for place, matrix in units.blocks}
        states = design.state_dict() | likelihood.state_dict()
        return states | matrices | {"units": units.diagonal}

    weighted, repeated = (
        start(rows, weights),
        start(rows.repeat(weights, 0), np.ones(40)),
    )
    for name, value in weighted.items():
        assert_allclose(value, repeated[name], atol=1e-12, err_msg=name)


def test_rare_levels_of_weighted_rows_are_those_of_repeated_rows():
    rng = np.random.default_rng(0)
    codes = np.minimum(rng.geometric(0.3, 40) - 1, 8).astype(float)
    # As many rows either way: every level counts as half a row more.
    weights = rng.multinomial(40, np.full(40, 1 / 40))
    weighted, repeated = (
        group_levels(
            torch.tensor(values), torch.tensor(counts, dtype=torch.float64), 9, 4
        )
        for values, counts in ((codes, weights), (codes.repeat(weights), np.ones(40)))
    )
    assert_array_equal(weighted.group, repeated.group)
    assert_allclose(weighted.log_share, repeated.log_share, rtol=1e-12)


def test_weights_that_are_positive_stay_so():
    weights = np.array([1e300, 1.0, 1e-300, 0.0])
    rows, found = rows_of_weight(torch.eye(4), np.eye(4), weights)
    assert_array_equal(rows, np.eye(4)[:3])
    assert (found > 0).all()


def test_rows_held_out_for_validation_leave_no_trace_in_the_start(table):
    # Their weight is 0; of their values only gaps count.
    weights = np.ones(len(table))
    weights[::10] = 0
    others = np.where(weights[:, None] > 0, table, 7 * table[::-1] - 3)
    scaling = find_scaling(torch.tensor(table), torch.ones(len(table)), "auto")
    start, other = (begin(rows, weights, scaling=scaling) for rows in (table, others))
    for name, value in start.items():
        assert_array_equal(value, other[name], err_msg=name)


def clusters():
    """Return rows in two clusters, and weights that shift mass to the second."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((60, 1)) + 0.3 * rng.standard_normal((60, 3))
    rows[40:] += [4, -4, 4]
    return rows, np.repeat([1, 2], [40, 20])


def test_fits_to_weighted_and_to_repeated_rows_agree_in_the_mean():
    """Compare the mean scores of fits over ten seeds.

    Full batches and equal numbers of steps leave nothing but noise to differ. A row
    of weight two meets one draw of noise a step where its two copies meet two, so
    that gradients have another variance and fits agree to first order only. The
    tolerance is a quarter of what the weights change: over four standard errors of the
    difference, and half of what is missing when the loss ignores the weights.
    """
    rows, weights = clusters()

    def mean_scores(table, sample_weight=None):
        scores = [
            ILVAETransformer(
                n_components=1,
                hidden_layer_sizes=4,
                early_stopping=False,
                max_iter=50,
                batch_size=1000,
                random_state=seed,
            )
            .fit(table, sample_weight=sample_weight)
            .score_samples(rows)[[0, -1]]
            for seed in range(10)
        ]
        return np.mean(scores, axis=0)

    repeated = mean_scores(rows.repeat(weights, axis=0))
    effect = np.abs(mean_scores(rows) - repeated)
    difference = np.abs(mean_scores(rows, weights) - repeated)
    assert (effect > 0.3).all()
    assert (difference < effect / 4).all()


def test_a_heavier_row_scores_higher(table):
    weights = np.ones(len(table))
    weights[:10] = 50
    plain = short(max_iter=20).fit(table).score_samples(table)
    weighted = short(max_iter=20).fit(table, sample_weight=weights)
    gain = weighted.score_samples(table) - plain
    assert gain[:10].mean() > gain[10:].mean() + 0.1


in_any_form = pytest.mark.parametrize(
    "convert",
    [list, pd.Series, lambda weights: pd.Series(weights, dtype=object), torch.tensor],
    ids=["list", "series", "objects", "tensor"],
)


@in_any_form
@pytest.mark.parametrize("estimator", [ILVAETransformer, ILVAEOutlierDetector])
def test_weights_may_come_in_any_form_of_numbers(table, estimator, convert):
    weights = np.arange(len(table)) % 3
    model = estimator(2, max_iter=1, random_state=0)
    scores = clone(model).fit(table, sample_weight=weights).score_samples(table)
    model.fit(table, sample_weight=convert(weights))
    assert_array_equal(model.score_samples(table), scores)


@in_any_form
def test_weights_beside_a_tensor_may_come_in_any_form_of_numbers(table, convert):
    rows, weights = torch.tensor(table), np.arange(len(table)) % 3
    codes = short().fit(table, sample_weight=weights).transform(table)
    with config_context(array_api_dispatch=True):
        model = short().fit(rows, sample_weight=convert(weights))
        assert_array_equal(model.transform(rows), codes)
