"""Scores of rows with gaps compare with those of complete rows."""

from functools import partial

import numpy as np
import pytest
import torch
from autoencoders import correlated_rows, started_model
from hypothesis import given, settings
from hypothesis import strategies as st
from mixed import people
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_ilvae import ILVAEOutlierDetector
from sklearn_ilvae._columns import ColumnScaling
from sklearn_ilvae._detection.gaps import (
    REFERENCE_NUMBERS,
    REFERENCE_ROWS,
    GapTerms,
    common_gains,
    gap_gains,
    measure_gaps,
)
from sklearn_ilvae._detection.scoring import RowScorer


def trusting(**parameters):
    """Return a detector that trusts all rows, and so describes all of them."""
    short = {"n_components": 2, "max_iter": 30, "random_state": 0}
    return ILVAEOutlierDetector(support_fraction=1.0, **short | parameters)


def random_rows(n_rows, n_features):
    generator = torch.Generator().manual_seed(n_features)
    return torch.randn(n_rows, n_features, generator=generator, dtype=torch.float64)


def made_up_terms(rows, common=0.0):
    """Return terms in which the code gains half a value for each that is missing.

    And for all but the first of them what they gain in common.
    """
    n_missing = rows.isnan().double().sum(1, keepdim=True)
    gain = 0.5 * n_missing + common * (n_missing - 1).clamp(min=0)
    return torch.cat([rows.nan_to_num(0), gain], dim=1)


def equal_weights(rows):
    return torch.ones(len(rows), dtype=torch.float64)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000))
def test_the_term_of_the_code_is_that_of_the_row_completed_by_the_model(seed):
    """Gaps widen the posterior, which alone must not lower the density at its mean."""
    rows = correlated_rows(50, 4, 2, seed)
    model = started_model(rows, "mlp", 2)
    nothing, kinds = torch.zeros(4, dtype=torch.float64), ("gaussian",) * 4
    scaling = ColumnScaling(nothing, nothing + 1, kinds)
    scorer = RowScorer(model, scaling, 50, rows[:0], nothing, n_neighbors=0)
    rows = rows.masked_fill(random_rows(50, 4) > 0.5, torch.nan)
    with torch.no_grad():
        completed, _ = model.encoder.completed(scaling.transform(rows))
        found, expected = (
            scorer.contributions(each)[:, -1]
            for each in (rows, scaling.inverse_transform(completed))
        )
    # The start is linear up to the last bits of its networks.
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def test_without_one_value_the_rows_of_the_fit_score_the_same_on_average(table):
    detector = trusting().fit(table)
    complete = detector.score_samples(table)
    for column in range(5):
        without = table.copy()
        without[:, column] = np.nan
        scores = detector.score_samples(without)
        assert scores.mean() == pytest.approx(complete.mean(), rel=1e-9)
        assert np.abs(scores - complete).max() > 0.1


def test_without_one_value_a_mixed_table_scores_the_same_on_average():
    frame = people(200)
    detector = trusting().fit(frame)
    expected = detector.score_samples(frame).mean()
    for column in frame.columns:
        scores = detector.score_samples(frame.assign(**{column: None}))
        assert scores.mean() == pytest.approx(expected, rel=1e-9)


def test_new_rows_score_the_same_on_average_whatever_is_missing(table):
    rng = np.random.default_rng(0)
    rows = table[1::2]
    detector = trusting(max_iter=60).fit(table[::2])
    complete = detector.score_samples(rows)
    for share in (0.1, 0.3, 0.5):
        holes = [
            np.where(rng.random(rows.shape) < share, np.nan, rows) for _ in range(10)
        ]
        found = np.mean([detector.score_samples(each) for each in holes])
        assert abs(found - complete.mean()) < 0.1 * complete.std()


def test_rows_of_which_little_is_left_score_the_same_on_average(table):
    rng = np.random.default_rng(0)
    detector = trusting(max_iter=60).fit(table)
    complete = detector.score_samples(table)
    for share in (0.4, 0.6, 0.8, 1.0):
        left = np.where(rng.random(table.shape) < share, np.nan, table)
        found = detector.score_samples(left).mean()
        assert abs(found - complete.mean()) < 0.1 * complete.std()


def with_column(table, value):
    return np.column_stack([table, np.full(len(table), value)])


def test_a_value_in_a_column_that_fit_saw_nothing_of_does_not_count(table):
    detector = trusting().fit(with_column(table, np.nan))
    rows = np.where(np.tri(4, 5, -1, dtype=bool), np.nan, table[:4])
    scores = detector.score_samples(with_column(rows, np.nan))
    assert_array_equal(detector.score_samples(with_column(rows, 7.0)), scores)


def test_a_column_that_the_first_batch_lacks_does_not_count_in_later_ones(table):
    first = with_column(table, np.nan)
    rows = np.where(np.tri(4, 6, -1, dtype=bool), np.nan, first[:4])
    scores = [
        trusting()
        .partial_fit(first)
        .partial_fit(with_column(table, value))
        .score_samples(rows)
        for value in (np.nan, 7.0)
    ]
    assert_array_equal(*scores)


def test_gains_are_those_of_the_rows_that_have_a_value():
    rows = random_rows(40, 3)
    rows[::2, 0] = torch.nan
    rows[:, 2] = torch.nan
    gains = gap_gains(made_up_terms, rows, equal_weights(rows), 0)
    assert_allclose(gains, [0.5, 0.5, 0.0])


def test_rows_of_weight_zero_do_not_count():
    rows, weights = random_rows(40, 3), torch.arange(40.0, dtype=torch.float64) % 2
    rows[weights == 0] = torch.inf
    assert_allclose(gap_gains(made_up_terms, rows, weights, 0), 0.5)


@pytest.mark.parametrize("n_kinds", [2, 4])
def test_gains_are_those_of_all_kinds_of_rows_that_take_turns(n_kinds):
    """Each kind gains as much as its number, in the second column, when one is gone."""
    kinds = torch.arange(2400, dtype=torch.float64) % n_kinds
    rows = torch.stack([torch.zeros_like(kinds), kinds], dim=1)

    def terms_of(batch):
        gain = batch[:, 0].isnan() * batch[:, 1].nan_to_num(0)
        return torch.stack([torch.zeros_like(gain)] * 2 + [gain], dim=1)

    gains = gap_gains(terms_of, rows, equal_weights(rows), 0)
    assert_allclose(gains[0], kinds.mean(), atol=0.2)


@pytest.mark.parametrize("shape", [(5000, 2), (50, 700), (3, 9000)])
@pytest.mark.parametrize("gap", [0.0, torch.nan])
def test_large_tables_are_not_read_whole(shape, gap):
    rows = torch.zeros(shape, dtype=torch.float64)
    rows[:, 1::2] = gap  # whose gains are 0, or in very wide tables those of others
    sizes = []

    def terms_of(batch):
        sizes.append(len(batch))
        return made_up_terms(batch)

    gains = gap_gains(terms_of, rows, equal_weights(rows), 0)
    assert_allclose(gains[::2], 0.5)
    assert_allclose(gains[1::2], 0.5 if gap == 0 or shape[1] == 9000 else 0)
    assert max(sizes) < 5000
    assert sum(sizes) <= REFERENCE_ROWS * (1 + shape[1])
    assert sum(sizes[1:]) * shape[1] <= REFERENCE_NUMBERS


@pytest.mark.parametrize("n_features", [1, 2, 3, 8, 13])
@pytest.mark.parametrize("share_with_gaps", [0.0, 0.5, 1.0])
def test_what_missing_values_gain_in_common_is_measured(n_features, share_with_gaps):
    # Terms of zero, so that rows score by what they gain alone.
    rows = torch.zeros(200, n_features, dtype=torch.float64)
    rows[: int(200 * share_with_gaps), 0] = torch.nan
    terms_of = partial(made_up_terms, common=0.3)
    means = torch.zeros(n_features, dtype=torch.float64)
    gains = means + 0.5
    found = common_gains(terms_of, rows, equal_weights(rows), gains, means, 0)
    assert_allclose(found, [0] + [0.3 * k for k in range(n_features)], atol=1e-9)


def test_common_gains_are_means_by_weight():
    slopes, weights = random_rows(40, 1)[:, 0], random_rows(40, 2)[:, 0].square()

    def terms_of(rows):
        missing = rows.isnan().double()
        return torch.cat([0 * missing, (slopes * missing.sum(1))[:, None]], dim=1)

    zeros = torch.zeros(5, dtype=torch.float64)
    found = common_gains(terms_of, random_rows(40, 5), weights, zeros, zeros, 0)
    mean = float(weights @ slopes / weights.sum())
    assert_allclose(found, [0, 0, *(mean * k for k in range(2, 6))])


def test_common_gains_are_the_same_for_the_same_seed():
    rows = random_rows(50, 6)
    gains = means = torch.zeros(6, dtype=torch.float64)
    found = [
        common_gains(made_up_terms, rows, equal_weights(rows), gains, means, seed)
        for seed in (0, 0, 1)
    ]
    assert_allclose(found[0], found[1], rtol=0)
    assert float((found[0] - found[2]).abs().max()) > 1e-3


def test_filled_terms_of_the_mean_rows_are_the_means():
    rows, weights = random_rows(60, 4), random_rows(60, 1)[:, 0].square()
    rows[random_rows(60, 4) > 0.5] = torch.nan
    terms, missing = made_up_terms(rows), rows.isnan()
    gaps = measure_gaps(made_up_terms, rows, terms, weights, seed=0)
    gaps = gaps._replace(common=torch.zeros(5, dtype=torch.float64))
    filled = gaps.filled(terms, missing)
    average = weights @ filled / weights.sum()
    assert_allclose(average[:-1], gaps.means, rtol=1e-9, atol=1e-12)
    assert_allclose(average[-1], 0, atol=1e-12)
    assert_allclose(filled[:, :-1][~missing], terms[:, :-1][~missing])


def constant_terms(value, n_rows):
    """Return terms of one value, of rows that have none in the second column."""
    columns = torch.full((2,), float(value), dtype=torch.float64)
    counts = torch.tensor([n_rows, 0, n_rows], dtype=torch.float64)
    return GapTerms(columns, columns, value * equal_weights(counts), counts)


def test_a_large_batch_is_what_a_stream_tells_of_gaps():
    terms = constant_terms(0.1, 300).after(constant_terms(0.7, 1000))
    assert terms.means.tolist() == terms.gains.tolist() == [0.1, 0.7]
    assert terms.common.tolist() == [0.1] * 3
    assert terms.counts.tolist() == [300, 0, 300]


def test_small_batches_count_in_proportion_to_the_last_rows():
    terms = constant_terms(1, 2).after(constant_terms(4, 1))
    assert_allclose(terms.means, [2, 4])
    assert terms.counts.tolist() == [3, 0, 3]
    terms = constant_terms(1, 60).after(constant_terms(0, 1000))
    assert_allclose(terms.gains, [0.2, 0])
    assert_allclose(terms.common, 0.2)
    assert terms.counts.tolist() == [300, 0, 300]
