"""Streams of batches, down to the single row that ends one, and what they leave."""

import numpy as np
import pytest
from mixed import LIBRARIES, people, rows_of
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_ilvae import ILVAEOutlierDetector, ILVAETransformer
from sklearn_ilvae._detection.reservoir import Reservoir

SMALL = {"n_components": 2, "hidden_layer_sizes": 8, "random_state": 0}

by_estimator = pytest.mark.parametrize(
    "make", [ILVAETransformer, ILVAEOutlierDetector], ids=lambda each: each.__name__
)


# What a stream may begin and end with


@by_estimator
def test_a_stream_begins_with_two_rows_or_more(table, make):
    model = make(**SMALL)
    with pytest.raises(ValueError, match=r"1 sample.* minimum of 2 is required"):
        model.partial_fit(table[:1])
    weights = np.eye(len(table))[3]
    with pytest.raises(ValueError, match="positive for at least 2 rows, got 1"):
        model.partial_fit(table, sample_weight=weights)
    assert vars(model) == vars(make(**SMALL))


@by_estimator
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_stream_may_end_with_one_row_of_any_table(make, library):
    X = LIBRARIES[library](people(70, gaps=0.2))
    model = make(likelihood={"visits": "poisson"}, **SMALL)
    model.partial_fit(rows_of(X, np.arange(60)))
    for row in (60, 61):
        model.partial_fit(rows_of(X, [row]))
    assert model.n_iter_ == 3
    assert np.isfinite(model.score_samples(X)).all()


@by_estimator
def test_rows_of_weight_zero_beside_a_single_row_do_not_count(table, make):
    alone = make(**SMALL).partial_fit(table[:60]).partial_fit(table[80:81])
    weights = 3.0 * (np.arange(60, 100) == 80)
    beside = make(**SMALL).partial_fit(table[:60])
    beside.partial_fit(table[60:100], sample_weight=weights)
    assert_array_equal(beside.score_samples(table), alone.score_samples(table))


@by_estimator
def test_a_batch_without_a_row_is_refused(table, make):
    model = make(**SMALL).partial_fit(table[:60])
    with pytest.raises(ValueError, match="0 sample"):
        model.partial_fit(table[:0])
    with pytest.raises(ValueError, match="at least one non-zero"):
        model.partial_fit(table[:5], sample_weight=np.zeros(5))


def test_a_fit_of_one_row_is_refused_even_where_it_continues(table):
    model = ILVAETransformer(warm_start=True, max_iter=2, **SMALL).fit(table)
    with pytest.raises(ValueError, match="minimum of 2 is required"):
        model.fit(table[:1])


# What a detector makes of a single row


@pytest.mark.parametrize("support_fraction", ["auto", 0.5, 1.0])
@pytest.mark.parametrize("columns", [["city", "grade"], ["height", "city"]], ids=str)
def test_a_single_row_is_trusted_and_typical(support_fraction, columns):
    X = people(gaps=0.2)[columns]
    detector = ILVAEOutlierDetector(support_fraction=support_fraction, **SMALL)
    detector.partial_fit(X[:60])
    for row in (60, 61, 62):
        last = X[row : row + 1]
        detector.partial_fit(last)
        assert_array_equal(detector.support_, [True])
        assert_allclose(detector.training_scores_, detector.score_samples(last))
        contributions = detector.feature_contributions(last).to_numpy()[0]
        assert_allclose(detector.typical_contributions_, contributions)


@pytest.mark.parametrize("contamination", ["auto", 0.1, 0.5])
def test_a_single_row_lies_on_the_threshold_and_is_no_outlier(contamination):
    X = people(gaps=0.2)[["height", "city"]]
    detector = ILVAEOutlierDetector(contamination=contamination, **SMALL)
    detector.partial_fit(X[:60])
    for row in range(60, 66):
        detector.partial_fit(X[row : row + 1])
        assert_allclose(detector.offset_, detector.training_scores_[0])
        # Scored among others it differs by rounding.
        assert detector.predict(X)[row] == 1


def test_the_threshold_after_a_single_row_is_that_row_until_it_is_moved(table):
    detector = ILVAEOutlierDetector(**SMALL).partial_fit(table[:60])
    detector.partial_fit(table[60:61])
    detector.set_threshold(contamination=0.5)
    assert_allclose(detector.offset_, detector.training_scores_[0])
    detector.set_threshold(offset=np.quantile(detector.score_samples(table), 0.1))
    assert (detector.predict(table) == -1).mean() == pytest.approx(0.1, abs=0.01)


def test_a_single_row_without_any_value_leaves_finite_scores(table):
    detector = ILVAEOutlierDetector(**SMALL).partial_fit(table)
    detector.partial_fit(np.full((1, 5), np.nan))
    with_gaps = np.where(table > np.median(table, axis=0), table, np.nan)
    for rows in (table, with_gaps, np.full((1, 5), np.nan)):
        assert np.isfinite(detector.score_samples(rows)).all()
        assert np.isfinite(detector.feature_contributions(rows)).all()
    assert np.isfinite(detector.typical_contributions_).all()


def test_a_gap_counts_as_before_where_the_last_batch_holds_no_value(table):
    detector = ILVAEOutlierDetector(n_neighbors=0, **SMALL).partial_fit(table)
    typical = detector.typical_contributions_[2]
    assert abs(typical) > 0.1
    without = np.where(np.arange(5) == 2, np.nan, table)
    detector.partial_fit(without)
    assert_allclose(detector.typical_contributions_[2], typical)
    assert_allclose(detector.feature_contributions(without)[:, 2], typical)


@pytest.mark.parametrize("n_neighbors", [0, 2])
def test_a_single_odd_row_does_not_decide_what_a_gap_counts(table, n_neighbors):
    detector = ILVAEOutlierDetector(n_neighbors=n_neighbors, **SMALL)
    detector.partial_fit(table)
    without = np.where(np.arange(5) == 2, np.nan, table)
    odd = np.where(np.arange(5) == 2, 1e4, table[:1])
    for row in (table[1:2], odd):
        detector.partial_fit(row)
        difference = detector.score_samples(without) - detector.score_samples(table)
        assert abs(difference.mean()) < detector.score_samples(table).std()


# The sample of rows that a stream leaves


def test_a_reservoir_keeps_all_rows_while_there_is_room():
    rows = np.arange(12.0).reshape(6, 2)
    sample = Reservoir.empty(2).joined(rows, np.ones(6), 6, seed=0)
    assert_array_equal(np.sort(sample.rows, axis=0), rows)
    assert sample.n_seen == 6


def test_of_equal_rows_a_reservoir_keeps_one():
    rows = np.array([-0.0, 0, 1, np.nan, -np.nan, 1e-300] * 500)[:, None]
    sample = Reservoir.empty(1).joined(rows, np.ones(3000), 20, seed=0)
    assert_array_equal(np.sort(sample.rows[:, 0]), [0, 1e-300, 1, np.nan])
    again = sample.joined(rows, np.ones(3000), 20, seed=0)
    assert_array_equal(np.sort(again.rows[:, 0]), [0, 1e-300, 1, np.nan])
    assert again.n_seen == 6000


def test_rare_rows_are_found_among_many_that_are_equal():
    rows = np.zeros((5000, 1))
    rows[[7, 4000], 0] = 1, 2
    sample = Reservoir.empty(1).joined(rows, np.ones(5000), 3, seed=0)
    assert_array_equal(np.sort(sample.rows[:, 0]), [0, 1, 2])


def test_rows_of_weight_zero_are_as_good_as_absent():
    rows, weights = np.arange(10.0)[:, None], np.arange(10) % 2
    sample = Reservoir.empty(1).joined(rows, weights, 20, seed=0)
    assert_array_equal(np.sort(sample.rows[:, 0]), [1, 3, 5, 7, 9])
    assert sample.n_seen == 5


def test_rows_of_all_batches_have_the_same_chance():
    kept = np.zeros(60)
    for seed in range(400):
        sample = Reservoir.empty(1)
        for batch in np.split(np.arange(60.0)[:, None], [10, 40]):
            sample = sample.joined(batch, np.ones(len(batch)), 15, seed)
        assert len(sample.rows) == 15
        kept[sample.rows[:, 0].astype(int)] += 1
    # Binomial, 400 draws of probability a quarter: a deviation of 8.7.
    assert np.abs(kept - 100).max() < 4 * 8.7
    assert abs(kept[:10].mean() - 100) < 4 * 8.7 / np.sqrt(10)


def test_new_rows_among_many_that_are_equal_take_the_place_of_old_ones():
    old, new = np.arange(1000.0)[:, None], np.zeros((10_000, 1))
    new[5000:5250, 0] = 1000 + np.arange(250)
    kept = []
    for seed in range(20):
        sample = Reservoir.empty(1).joined(old, np.ones(1000), 100, seed)
        sample = sample.joined(new, np.ones(10_000), 100, seed)
        kept.append(np.sum(sample.rows >= 1000))
    # A fifth of all that differ, with a deviation of 4 each time.
    assert abs(np.mean(kept) - 20) < 4 * 4 / np.sqrt(20)


def test_only_the_ratios_of_weights_within_a_batch_matter():
    rows, weights = np.arange(60.0)[:, None], 1.0 + np.arange(60) % 3
    sample = Reservoir.empty(1).joined(rows, weights, 15, seed=0)
    for size in (1e-3, 1.9, 1e3):
        found = [
            sample.joined(rows + 60, factor * weights, 15, seed=0).rows
            for factor in (1, size)
        ]
        assert_array_equal(*found)


def test_the_first_row_is_drawn_in_proportion_to_the_weights():
    rows, weights = np.arange(4.0)[:, None], np.array([1, 2, 3, 4])
    drawn = [
        int(Reservoir.empty(1).joined(rows, weights, 1, seed).rows[0, 0])
        for seed in range(2000)
    ]
    assert_allclose(np.bincount(drawn) / 2000, weights / 10, atol=0.04)


def test_a_stream_leaves_rows_of_all_batches(table):
    detector = ILVAEOutlierDetector(**SMALL)
    detector.partial_fit(table[:100]).partial_fit(table[100:])
    found = np.unique(detector._sample.rows, axis=0)
    assert_array_equal(found, np.unique(table, axis=0))
