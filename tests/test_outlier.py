"""ILVAEOutlierDetector: scores, thresholds, trust, streams, copies and errors."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
from autoencoders import short, short_detector
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV

from sklearn_ilvae import ILVAEOutlierDetector, ILVAETransformer


@pytest.fixture(scope="module")
def detector(table):
    """Return a short fit, shared by all tests: they must not change it."""
    return short_detector(contamination=0.1).fit(table)


def contaminated(seed, share, n_rows=400):
    """Rows of two factors in five columns; a share lies far off, close together."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((n_rows, 2)) @ rng.standard_normal((2, 5))
    rows += 0.2 * rng.standard_normal(rows.shape)
    outlier = np.arange(n_rows) < round(share * n_rows)
    rows[outlier] = 8 * rng.standard_normal(5) + 0.2 * rng.standard_normal(
        (outlier.sum(), 5)
    )
    return rows, outlier


# Scores


def test_a_row_scores_the_same_alone_and_in_any_batch(detector, table):
    whole = detector.score_samples(table)
    alone = [detector.score_samples(table[i : i + 1])[0] for i in range(20)]
    assert_allclose(alone, whole[:20], rtol=1e-12)
    assert_allclose(detector.score_samples(table[::-1]), whole[::-1], rtol=1e-12)


def test_scores_of_the_training_rows_are_those_of_fit(detector, table):
    assert_array_equal(
        np.sort(detector.score_samples(table)), detector.training_scores_
    )


def test_scores_are_in_double_precision_for_single_precision_tables(table):
    assert (
        short_detector().fit(table.astype(np.float32)).score_samples(table).dtype
        == "float64"
    )


def test_decisions_are_scores_above_the_threshold(detector, table):
    decision = detector.decision_function(table)
    assert_array_equal(decision, detector.score_samples(table) - detector.offset_)
    assert_array_equal(detector.predict(table), np.where(decision < 0, -1, 1))
    assert_array_equal(clone(detector).fit_predict(table), detector.predict(table))


def test_a_score_does_not_depend_on_the_units_of_the_columns(table):
    plain = short_detector().fit(table)
    scaled = short_detector().fit(table * 1024.0)
    assert_allclose(
        scaled.score_samples(table * 1024.0), plain.score_samples(table), rtol=1e-4
    )


def test_a_row_far_from_all_others_has_the_lowest_score(detector, table):
    far = table.mean(0) + 20 * table.std(0)
    assert detector.score_samples([far])[0] < detector.training_scores_[0]


# Thresholds


@pytest.mark.parametrize("contamination", [0.01, 0.1, 0.25, 0.5])
def test_contamination_is_the_share_of_training_rows_called_outliers(
    table, contamination
):
    model = short_detector(contamination=contamination).fit(table)
    assert (model.predict(table) == -1).sum() == round(contamination * len(table))


def test_contamination_is_a_share_of_the_weight(table):
    weights = np.random.default_rng(0).integers(1, 20, len(table))
    model = short_detector(contamination=0.1).fit(table, sample_weight=weights)
    scores = model.score_samples(table)
    below = scores < model.offset_
    nearest = scores == scores[~below].min()
    assert weights[below].sum() <= 0.1 * weights.sum() < weights[below | nearest].sum()


def test_a_threshold_set_after_fit_is_that_of_a_new_fit(table):
    refitted = short_detector(contamination=0.2).fit(table)
    moved = (
        short_detector(contamination=0.05).fit(table).set_threshold(contamination=0.2)
    )
    assert moved.offset_ == refitted.offset_
    assert moved.set_threshold(offset=-3).offset_ == -3.0
    automatic = short_detector().fit(table).offset_
    assert moved.set_threshold(contamination="auto").offset_ == automatic


def test_the_automatic_threshold_is_the_fence_of_a_box_plot(table):
    model = short_detector().fit(table)
    lower, upper = np.quantile(
        model.training_scores_, [0.25, 0.75], method="inverted_cdf"
    )
    assert model.offset_ == pytest.approx(lower - 1.5 * (upper - lower))


# Trust


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.24))
def test_a_clump_of_outliers_is_not_trusted(seed, share):
    rows, outlier = contaminated(seed, share)
    model = short_detector(max_iter=1).fit(rows)
    assert not model.support_[outlier].any()
    assert model.support_.sum() == 300
    scores = model.score_samples(rows)
    assert scores[outlier].max() < np.quantile(scores[~outlier], 0.05)


def test_a_number_drops_the_rows_that_are_not_trusted(table):
    model = short_detector(support_fraction=0.8, likelihood="gaussian").fit(table)
    assert model.support_.sum() == 240
    alone = clone(model.transformer_).fit(table[model.support_])
    assert alone.loss_curve_ == model.transformer_.loss_curve_
    assert_array_equal(alone.transform(table), model.transformer_.transform(table))


def test_full_trust_is_the_transformer_itself(table):
    model = short_detector(support_fraction=1.0, likelihood="gaussian").fit(table)
    assert model.support_.all()
    alone = short(likelihood="gaussian", n_mixture_components=4)
    alone.set_params(random_state=model.transformer_.random_state).fit(table)
    assert alone.loss_curve_ == model.transformer_.loss_curve_
    assert_array_equal(alone.transform(table), model.transformer_.transform(table))


def test_a_weight_of_zero_removes_a_row(table):
    weights = np.random.default_rng(0).integers(0, 3, len(table))
    kept = weights > 0
    weighted = short_detector().fit(table, sample_weight=weights)
    removed = short_detector().fit(table[kept], sample_weight=weights[kept])
    assert_array_equal(weighted.score_samples(table), removed.score_samples(table))
    assert weighted.offset_ == removed.offset_
    assert_array_equal(weighted.support_[kept], removed.support_)
    assert not weighted.support_[~kept].any()


def test_a_binary_column_that_is_constant_among_trusted_rows_stays_binary():
    rows, outlier = contaminated(0, 0.1)
    rows = np.column_stack([rows, outlier])
    model = short_detector(support_fraction=0.75).fit(rows)
    assert model.transformer_.likelihood_[-1] == "bernoulli"
    assert np.isfinite(model.score_samples(rows)).all()


@pytest.mark.parametrize("value", [0, 1])
def test_the_value_that_all_trusted_rows_hold_is_the_expected_one(value):
    rows, outlier = contaminated(0, 0.1)
    rows = np.column_stack([rows, np.where(outlier, 1 - value, value)])
    model = short_detector(support_fraction=0.75).fit(rows)
    terms, expected = model.feature_contributions(rows, return_expected=True)
    assert_allclose(expected[~outlier, -1], value, atol=0.01)
    binary = terms[:, -2]
    assert binary[outlier].max() < binary[~outlier].min()


def test_a_value_that_a_binary_column_never_held_is_scored_not_refused(table):
    rows = np.column_stack([table, table[:, 0] > 0])
    model = short_detector().fit(rows)
    odd = rows[:5].copy()
    odd[:, -1] = [0, 1, 2, -1, 0.5]
    tell = 5 * np.sign(np.corrcoef(table.T)[0]) * table.std(0)
    odd[3:, :-1] = table.mean(0) + np.array([tell, -tell])
    terms, expected = model.feature_contributions(odd, return_expected=True)
    assert (terms[:2, -2] > terms[2:, -2].max()).any()
    rarer = np.minimum(expected[2:, -1], 1 - expected[2:, -1])
    assert (rarer < 1 / 302).any()
    assert_allclose(terms[2:, -2], np.log(np.minimum(rarer, 1 / 302)))
    assert_allclose(terms.sum(1), model.score_samples(odd), rtol=1e-12)


# Streams, copies and searches


def test_partial_fit_trains_on_and_moves_the_threshold(table):
    model = short_detector(contamination=0.1)
    for batch in np.array_split(table, 3):
        model.partial_fit(batch)
    assert model.n_iter_ == 3
    assert (model.predict(batch) == -1).sum() == 10


def test_partial_fit_takes_up_changed_parameters(table):
    model = short_detector().partial_fit(table)
    before = model.transformer_.transform(table)
    model.set_params(learning_rate_init=1e-12).partial_fit(table)
    assert_allclose(model.transformer_.transform(table), before, atol=1e-6)
    with pytest.raises(ValueError, match="fitted network has n_components=2"):
        model.set_params(n_components=1).partial_fit(table)


@pytest.mark.parametrize("n_rows", [2, 3, 60])
@pytest.mark.parametrize("n_features", [1, 5, 150])
def test_tables_of_any_shape_give_finite_scores(n_rows, n_features):
    rows = np.random.default_rng(0).standard_normal((n_rows, n_features))
    model = short_detector(n_components=1, max_iter=2).fit(rows)
    assert np.isfinite(model.score_samples(rows)).all()
    assert np.isfinite(model.feature_contributions(rows)).all()


@pytest.mark.parametrize("rows", [np.zeros((30, 3)), np.eye(3)[np.arange(30) % 3]])
def test_tables_without_spread_give_finite_scores(rows):
    assert np.isfinite(short_detector(max_iter=2).fit(rows).score_samples(rows)).all()


def test_a_random_state_makes_fits_bitwise_equal(detector, table):
    again = clone(detector).fit(table)
    assert_array_equal(again.score_samples(table), detector.score_samples(table))
    other = clone(detector).set_params(random_state=1).fit(table)
    assert (other.score_samples(table) != detector.score_samples(table)).any()


def test_a_pickle_computes_exactly_the_same(detector, table):
    twin = pickle.loads(pickle.dumps(detector))
    assert_array_equal(twin.score_samples(table), detector.score_samples(table))
    assert_array_equal(twin.predict(table), detector.predict(table))
    assert twin.set_threshold(contamination=0.3).offset_ > detector.offset_


def test_every_option_of_the_transformer_can_be_searched(table):
    own = ILVAEOutlierDetector().get_params().keys()
    inner = ILVAETransformer().get_params().keys()
    assert inner - own == {"warm_start", "n_importance_samples"}
    defaults = ILVAETransformer().get_params()
    shared = {name: ILVAEOutlierDetector().get_params()[name] for name in inner & own}
    # Neighbours do what more Gaussians would, and ranks hardly change in late passes.
    assert shared == {name: defaults[name] for name in shared} | {
        "n_mixture_components": 4,
        "max_iter": 500,
    }
    search = GridSearchCV(
        short_detector(max_iter=2),
        {"inverse_lipschitz": [0.1, 0.5], "decoder": ["anchored", "brenier"]},
        scoring=lambda model, X: model.score_samples(X).mean(),
        cv=2,
    ).fit(table)
    assert search.best_estimator_.transformer_.decoder == search.best_params_["decoder"]


# Errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "either contamination or offset"),
        ({"contamination": 0.1, "offset": -1.0}, "either contamination or offset"),
        ({"contamination": 0.6}, "contamination == 0.6, must be <= 0.5"),
        ({"contamination": 0}, "contamination == 0, must be > 0"),
        ({"offset": "low"}, "offset must be an instance of"),
        ({"offset": np.nan}, "offset == nan"),
        ({"offset": -(10**400)}, "offset must lie within the numbers of float64"),
        ({"contamination": np.nan}, "contamination == nan"),
        ({"contamination": "few"}, "'few' must be 'auto' or a number"),
        ({"contamination": np.array([0.1, 0.2])}, "contamination must be an instance"),
    ],
)
def test_a_bad_threshold_changes_nothing(detector, arguments, message):
    before = detector.offset_
    with pytest.raises((ValueError, TypeError), match=message):
        detector.set_threshold(**arguments)
    assert detector.offset_ == before


@pytest.mark.parametrize(
    "parameters",
    [
        {"contamination": 0.6},
        {"contamination": "few"},
        {"support_fraction": 0},
        {"support_fraction": 1.2},
        {"calibration_fraction": 1.0},
        {"decoder": "linear"},
    ],
    ids=str,
)
def test_a_bad_parameter_is_named(table, parameters):
    with pytest.raises(ValueError, match=f"'{next(iter(parameters))}' parameter"):
        short_detector(**parameters).fit(table)


def test_a_failed_fit_leaves_the_detector_as_it_was(table):
    model = short_detector().fit(table)
    before = model.score_samples(table)
    spoilt = table.copy()
    spoilt[5, 2] = np.inf
    for method in (model.fit, model.partial_fit):
        with pytest.raises(ValueError, match="Column 2 holds inf in row 5"):
            method(spoilt)
    with pytest.raises(ValueError, match="n_components=9 must not exceed"):
        model.set_params(n_components=9).fit(table)
    assert_array_equal(model.score_samples(table), before)


def test_a_shallow_copy_trains_on_and_leaves_the_original_alone(table):
    model = short_detector().partial_fit(table)
    before = model.score_samples(table)
    twin = copy.copy(model).partial_fit(table)
    assert twin.n_iter_ == 2
    assert_array_equal(model.score_samples(table), before)


def test_ctrl_c_after_the_training_leaves_the_detector_as_it_was(monkeypatch, table):
    model = short_detector().partial_fit(table)
    before = model.score_samples(table)

    def interrupted(self, **arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(ILVAEOutlierDetector, "set_threshold", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.partial_fit(table)
    assert model.n_iter_ == 1
    assert_array_equal(model.score_samples(table), before)


def test_an_unfitted_detector_says_so(table):
    for method in (
        "score_samples",
        "decision_function",
        "predict",
        "feature_contributions",
        "p_values",
        "calibrate",
        "select",
        "explain",
    ):
        with pytest.raises(NotFittedError, match="not fitted yet"):
            getattr(short_detector(), method)(table)
    with pytest.raises(NotFittedError, match="not fitted yet"):
        short_detector().set_threshold(offset=0)
    with pytest.raises(NotFittedError, match="not fitted yet"):
        _ = short_detector().column_summary_


def test_columns_of_another_table_are_named(table):
    frame = pd.DataFrame(table, columns=list("abcde"))
    model = short_detector().fit(frame)
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame.rename(columns={"a": "z"}))
