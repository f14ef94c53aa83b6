"""Conformal p-values are valid, and selections keep their false-discovery rate."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import kstest

from sklearn_ilvae import ILVAEOutlierDetector
from sklearn_ilvae._detection.conformal import (
    ConformalMixin,
    benjamini_hochberg,
    conformal_p_values,
)


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=30),
    st.floats(0.01, 0.99),
)
def test_p_values_are_valid_for_exchangeable_scores_with_ties(scores, level):
    # Exactly: over all choices of the new row among the n + 1, not by simulation.
    scores = np.array([*scores, 3.0])
    p_values = [
        conformal_p_values(np.sort(np.delete(scores, i)), scores[i : i + 1])[0]
        for i in range(len(scores))
    ]
    assert np.mean(np.array(p_values) <= level) <= level


@pytest.mark.parametrize("score", [2.0, 2 - 1e-12, 2 + 1e-12])
def test_a_calibration_row_of_the_same_score_but_for_rounding_counts(score):
    assert conformal_p_values(np.array([1.0, 2.0, 3.0]), np.array([score])) == 0.75


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), max_size=20), st.floats(0.01, 0.99))
def test_the_selection_is_the_largest_that_meets_its_own_bound(p_values, level):
    p_values = np.array(p_values)
    chosen = benjamini_hochberg(p_values, level)
    sizes = [
        k
        for k in range(1, len(p_values) + 1)
        if np.sort(p_values)[k - 1] <= level * k / len(p_values)
    ]
    assert chosen.sum() >= max(sizes, default=0)
    if chosen.any():
        assert p_values[chosen].max() <= level * chosen.sum() / len(p_values) + 1e-12
        assert p_values[chosen].max() <= p_values[~chosen].min(initial=np.inf)


@pytest.fixture(scope="module")
def normal():
    """Return rows of three factors, many enough to calibrate on."""
    rng = np.random.default_rng(0)
    factors = rng.standard_normal((6000, 3)) @ rng.standard_normal((3, 6))
    return factors + 0.3 * rng.standard_normal((6000, 6))


@pytest.fixture(scope="module")
def detector(normal):
    """Return a fit with a calibration part, shared: tests must not change it."""
    model = ILVAEOutlierDetector(
        3, calibration_fraction=0.5, max_iter=3, device="cpu", random_state=0
    )
    return model.fit(normal[:2000])


def test_p_values_of_new_normal_rows_are_uniform(detector, normal):
    p_values = detector.p_values(normal[2000:])
    assert kstest(p_values, "uniform").statistic < 0.06


class OwnScores(ConformalMixin):
    """Rows of one column, which is their score."""

    def _checked(self, X, method):
        return torch.from_numpy(X)

    def _scores(self, table):
        return table[:, 0]


def test_outliers_are_selected_at_the_rate_asked_for_on_average_over_calibrations():
    """That is the rate times the share of normal rows, at most.

    Once the 10 outliers among 50 rows are selected, so are p-values up to .04, which 2
    of 50 normal rows have: no count may be off by one.
    """
    rng = np.random.default_rng(0)
    false, found = [], []
    for _ in range(400):
        calibrated = OwnScores().calibrate(rng.normal(size=(49, 1)))
        rows = rng.normal(size=(50, 1))
        rows[:10] -= 6
        selected = calibrated.select(rows, false_discovery_rate=0.2)
        false.append(selected[10:].sum() / max(1, selected.sum()))
        found.append(selected[:10].mean())
    assert np.mean(false) < 0.2 * 0.8 + 3 * np.std(false) / np.sqrt(400)
    assert np.mean(found) > 0.95


def test_calibration_rows_are_kept_out_of_training(detector, normal):
    assert len(detector.calibration_scores_) == 1000
    assert len(detector.training_scores_) == 1000
    assert detector.support_.sum() == 750
    assert_allclose(
        np.sort(detector.score_samples(normal[:2000])),
        np.sort([*detector.calibration_scores_, *detector.training_scores_]),
    )


def test_two_rows_are_trained_on_at_least(normal):
    model = ILVAEOutlierDetector(
        2, calibration_fraction=0.99, max_iter=1, random_state=0
    ).fit(normal[:9])
    assert len(model.training_scores_) == 2
    assert len(model.calibration_scores_) == 7


def test_nothing_that_is_fitted_depends_on_rows_of_the_calibration():
    rows = np.random.default_rng(0).integers(0, 2, (80, 3)).astype(float)
    rows[:, 0] += np.linspace(0, 1, 80)
    settings = {"calibration_fraction": 0.3, "max_iter": 2, "random_state": 0}
    settings["device"] = "cpu"  # where a row scores the same in any batch, to the bit
    first = ILVAEOutlierDetector(1, **settings).fit(rows)
    held_out = int(
        np.argmin(np.isin(first.score_samples(rows), first.training_scores_))
    )
    other = rows.copy()
    other[held_out] = [50, 2, np.nan]
    second = ILVAEOutlierDetector(1, **settings).fit(other)
    assert_array_equal(second.training_scores_, first.training_scores_)
    assert_array_equal(second.support_, first.support_)


def test_a_row_has_the_same_p_value_alone_and_in_any_batch():
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 3, (6, 5))[rng.integers(0, 6, 400)]
    detector = ILVAEOutlierDetector(
        2, calibration_fraction=0.3, max_iter=3, random_state=0
    ).fit(rows)
    together = detector.p_values(rows)
    assert_array_equal(
        [detector.p_values(row[None])[0] for row in rows[:50]], together[:50]
    )


def test_equality_counts_in_a_selection_whatever_the_rounding():
    assert benjamini_hochberg(np.array([0.1, 1, 1]), 0.3).tolist() == [
        True,
        False,
        False,
    ]


def test_calibrate_takes_other_rows(normal):
    model = ILVAEOutlierDetector(3, max_iter=1, random_state=0).fit(normal[:500])
    with pytest.raises(ValueError, match="p_values needs calibration rows"):
        model.p_values(normal[:5])
    model.calibrate(normal[500:600])
    assert model.p_values(normal[600:]).min() >= 1 / 101
    model.partial_fit(normal[:500])
    with pytest.raises(ValueError, match="p_values needs calibration rows"):
        model.select(normal[:5])


@pytest.mark.parametrize("rate", [0, 1, -0.1, 2, np.nan])
def test_a_false_discovery_rate_lies_between_zero_and_one(detector, normal, rate):
    with pytest.raises(ValueError, match="false_discovery_rate == "):
        detector.select(normal[:5], false_discovery_rate=rate)
