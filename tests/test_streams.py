"""Streams of batches, down to the single row that often ends one."""

import numpy as np
import pytest
from mixed import LIBRARIES, people, rows_of
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_ilvae import ILVAEOutlierDetector, ILVAETransformer

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
