"""Concentration steps: robust, equivariant, and weights that act as repetition."""

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_ilvae._detection.threshold import threshold_below, tukey_fence
from sklearn_ilvae._detection.trust import trusted_weights, values_of_the_same_rank
from sklearn_ilvae.vae import closest_weights, robust_distances

seeds = st.integers(0, 2**32 - 1)


def normal_rows(seed, n_rows, n_features):
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(n_features, n_features, generator=generator).double()
    return torch.randn(n_rows, n_features, generator=generator).double() @ mixing


def ones(rows):
    return torch.ones(len(rows), dtype=torch.float64)


@settings(max_examples=20, deadline=None)
@given(seeds, st.integers(1, 6), st.floats(0.01, 0.4), st.sampled_from([-30, 30]))
def test_a_far_clump_is_farther_than_every_other_row(seed, n_features, share, away):
    rows = normal_rows(seed, 200, n_features)
    n_far = int(share * 200)
    rows[:n_far] = away * rows.std(0) + 0.01 * rows[:n_far]
    distances = robust_distances(rows, ones(rows))
    assert distances[:n_far].amin() > distances[n_far:].amax() if n_far else True


@settings(max_examples=20, deadline=None)
@given(seeds, st.floats(-1e3, 1e3), st.integers(-20, 20))
def test_units_and_origin_of_the_columns_do_not_matter(seed, shift, exponent):
    rows = normal_rows(seed, 60, 3)
    scale = torch.tensor([2.0**exponent, 1.0, 2.0**-exponent], dtype=torch.float64)
    moved = (rows + shift) * scale
    assert_allclose(
        robust_distances(moved, ones(rows)),
        robust_distances(rows, ones(rows)),
        rtol=1e-6,
    )


@settings(max_examples=20, deadline=None)
@given(seeds, st.sampled_from([3, 80]))
def test_a_weight_of_two_is_two_rows(seed, n_features):
    rows = normal_rows(seed, 60, n_features)
    counts = torch.tensor(np.random.default_rng(seed).integers(1, 4, 60))
    repeated = rows.repeat_interleave(counts, 0)
    assert_allclose(
        robust_distances(rows, counts.double()).repeat_interleave(counts),
        robust_distances(repeated, ones(repeated)),
        rtol=1e-8,
    )


@settings(max_examples=20, deadline=None)
@given(seeds, st.integers(1, 3), st.booleans())
def test_distances_in_a_wide_table_are_those_among_its_columns_that_vary(
    seed, n_features, discrete
):
    rows = normal_rows(seed, 40, n_features)
    wide = torch.cat([rows, torch.zeros(40, 50)], dim=1)
    kinds = torch.full((wide.shape[1],), discrete)
    assert_allclose(
        robust_distances(wide, ones(rows), kinds),
        robust_distances(rows, ones(rows), kinds[:n_features]),
        rtol=1e-8,
        atol=1e-10,
    )


@pytest.mark.parametrize("shape", [(2, 1), (3, 5), (20, 50), (60, 1)])
@pytest.mark.parametrize("value", [0.0, 1.0, 1e9])
def test_few_rows_and_constant_columns_give_finite_distances(shape, value):
    rows = normal_rows(0, *shape)
    rows[:, 0] = value
    assert robust_distances(rows, ones(rows)).isfinite().all()


@settings(deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=20), st.floats(0.01, 1), seeds)
def test_the_closest_rows_make_up_their_share_exactly(weights, share, seed):
    weights = torch.tensor(weights, dtype=torch.float64)
    distances = torch.tensor(np.random.default_rng(seed).random(len(weights)))
    kept = closest_weights(distances, weights, share)
    assert float(kept.sum()) == pytest.approx(share * float(weights.sum()))
    assert ((kept >= 0) & (kept <= weights)).all()
    inside, outside = kept > 0, kept == 0
    if inside.any() and outside.any():
        assert distances[inside].max() <= distances[outside].min()


def test_rows_beyond_the_support_count_a_tenth_or_not_at_all():
    rows = normal_rows(0, 100, 3)
    weights, trusted = trusted_weights(rows, ones(rows), "auto")
    assert trusted.sum() == 75
    assert_allclose(weights, np.where(trusted, 1.0, 0.1))
    weights, trusted = trusted_weights(rows, ones(rows), 0.6)
    assert_allclose(weights, np.where(trusted, 1.0, 0.0))
    assert trusted.sum() == 60


@pytest.mark.parametrize(("n_rows", "n_trusted"), [(10, 10), (50, 50), (60, 50)])
def test_at_least_five_rows_a_column_are_trusted(n_rows, n_trusted):
    rows = normal_rows(0, n_rows, 10)
    assert trusted_weights(rows, ones(rows), "auto")[1].sum() == n_trusted
    assert trusted_weights(rows, ones(rows), 0.5)[1].sum() == n_rows / 2


def test_levels_need_no_more_rows():
    rows, discrete = normal_rows(0, 60, 10), torch.arange(10) > 0
    assert trusted_weights(rows, ones(rows), "auto", discrete)[1].sum() == 45


def test_constant_columns_need_no_more_rows():
    rows = torch.cat([normal_rows(0, 60, 3), torch.full((60, 9), 5.0).double()], dim=1)
    assert trusted_weights(rows, ones(rows), "auto")[1].sum() == 45


@pytest.mark.parametrize("kind", ["amounts", "flags"])
def test_columns_that_are_mostly_zero_hide_no_outliers_of_others(kind):
    rng = np.random.default_rng(0)
    normal = rng.normal(size=(400, 2)) @ rng.normal(size=(2, 5))
    normal += 0.3 * rng.normal(size=(400, 5))
    far = np.arange(400) < 20
    normal[far] = 2 * rng.normal(size=(20, 5))
    rare = rng.random((400, 4)) < 0.15
    sizes = np.exp(rng.normal(size=rare.shape)) if kind == "amounts" else 1
    rows = torch.tensor(np.column_stack([normal, rare * sizes]))
    trusted = trusted_weights(rows, ones(rows), "auto")[1].numpy()
    assert trusted[far].mean() < 0.1
    assert trusted[~far & rare.any(1)].mean() > 0.6


@pytest.mark.parametrize("size", [1.1, 1e-300, 1e300])
def test_equal_weights_trust_the_same_rows_whatever_their_size(size):
    rows = normal_rows(0, 120, 3)
    weights, trusted = trusted_weights(rows, ones(rows), "auto")
    scaled, found = trusted_weights(rows, size * ones(rows), "auto")
    assert torch.equal(found, trusted)
    assert_allclose(scaled / size, weights, rtol=1e-12)


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([0.1, 0.3, 0.7]), st.integers(10, 200), seeds)
def test_only_the_ratios_of_weights_decide_which_rows_are_trusted(size, n_rows, seed):
    rows = normal_rows(seed, n_rows, 3)
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randint(1, 4, (n_rows,), generator=generator).double()
    distances = robust_distances(rows, weights)
    assert_allclose(robust_distances(rows, size * weights), distances, rtol=1e-9)
    _, trusted = trusted_weights(rows, weights, "auto")
    _, found = trusted_weights(rows, size * weights, "auto")
    assert torch.equal(found, trusted)


@pytest.mark.parametrize("percent", range(50, 100))
def test_rounding_trusts_no_row_more(percent):
    """A share of 0.55 times 100 rows is a little more than 55 in floating point."""
    rows = normal_rows(0, 100, 3)
    weights, trusted = trusted_weights(rows, ones(rows), percent / 100)
    assert trusted.sum() == percent
    assert_allclose(weights, np.where(trusted, 1.0, 0.0))


@given(st.sampled_from([0.1, 0.3, 0.7]), st.integers(1, 300), seeds)
def test_only_the_ratios_of_weights_decide_where_the_fence_is(size, n_rows, seed):
    rng = np.random.default_rng(seed)
    scores = torch.tensor(np.sort(rng.normal(size=n_rows)))
    weights = torch.tensor(rng.integers(1, 4, n_rows), dtype=torch.float64)
    fence = tukey_fence(scores, weights)
    assert tukey_fence(scores, size * weights) == fence
    repeated = scores.repeat_interleave(weights.long())
    assert tukey_fence(repeated, ones(repeated)) == fence


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(1, 50), seeds)
def test_a_threshold_has_its_share_of_rows_below(n_rows, percent, seed):
    scores = torch.tensor(np.sort(np.random.default_rng(seed).normal(size=n_rows)))
    threshold = threshold_below(scores, ones(scores), percent / 100)
    assert int((scores < threshold).sum()) == n_rows * percent // 100


@pytest.mark.parametrize("tenths", range(1, 6))
def test_rounding_of_weights_does_not_move_a_threshold(tenths):
    """Three weights of a tenth add up to a little more than three tenths."""
    scores = torch.arange(10.0, dtype=torch.float64)
    found = threshold_below(scores, 0.1 * ones(scores), tenths / 10)
    assert found == threshold_below(scores, ones(scores), tenths / 10)
    assert int((scores < found).sum()) == tenths


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 100), st.integers(1, 50), seeds)
def test_a_threshold_below_weighted_rows_is_that_below_repeated_rows(
    n_rows, percent, seed
):
    rng = np.random.default_rng(seed)
    scores = torch.tensor(np.sort(rng.normal(size=n_rows)))
    weights = torch.tensor(rng.integers(1, 4, n_rows))
    repeated = scores.repeat_interleave(weights)
    expected = threshold_below(repeated, ones(repeated), percent / 100)
    assert threshold_below(scores, weights.double(), percent / 100) == expected


@pytest.mark.parametrize(
    "line", [tukey_fence, partial(threshold_below, share=0.5)], ids=["fence", "share"]
)
@given(st.floats(-1e6, 1e6), st.integers(1, 10))
def test_no_row_of_equal_scores_lies_below_the_line(line, score, n_rows):
    scores = torch.full((n_rows,), score, dtype=torch.float64)
    threshold = line(scores, ones(scores))
    rounded = score - 1e-12 * abs(score)  # the same row scored in another batch
    assert threshold < rounded
    assert threshold == pytest.approx(score, rel=1e-8, abs=1e-8)


def test_a_level_that_the_core_lacks_counts_by_its_spread_in_all_rows():
    """Of core, all zeros, the covariance is 0; the noise of a level is its spread."""
    rows = torch.tensor([[0.0]] * 7 + [[1.0], [1.0], [2.0]]).double()
    found = robust_distances(rows, ones(rows), torch.tensor([True]))
    assert_allclose(found, rows[:, 0].square() / rows.square().mean())


@pytest.mark.parametrize("value", [-5.0, 5.0])
def test_a_column_constant_in_the_core_but_for_rounding_counts_by_its_spread(value):
    rows = torch.full((100, 1), 0.1, dtype=torch.float64)
    rows[:10] += value
    found = robust_distances(rows, ones(rows))
    assert_allclose(found[:10], 10 / 0.01)  # a tenth of all rows, the least noise
    assert_allclose(found[10:], 0, atol=1e-12)


def test_a_rare_level_alone_does_not_make_a_row_far():
    rng = torch.Generator().manual_seed(0)
    rows = torch.randn(400, 3, generator=rng, dtype=torch.float64)
    rare = torch.rand(400, generator=rng) < 0.1
    rows[:, 2] = torch.where(rare, 3.0, -1 / 3)  # a level in standard units
    far = torch.zeros(400, dtype=torch.bool)
    far[:20] = True
    rows[far, :2] += 5
    discrete = torch.tensor([False, False, True])
    distances = robust_distances(rows, ones(rows), discrete)
    assert distances[far].min() > distances[~far].quantile(0.95)
    assert (distances[rare & ~far] < distances[~far].quantile(0.9)).any()
    as_numbers = robust_distances(rows, ones(rows))
    assert as_numbers[rare & ~far].min() > as_numbers[far & ~rare].max()


def test_a_draw_becomes_the_value_of_its_rank():
    references = torch.tensor([0.3, 0.1, 0.2]).double()
    values, weights = torch.tensor([7.0, 9.0, 8.0]).double(), torch.ones(3).double()
    drawn = torch.tensor([-1.0, 0.15, 0.25, 5.0]).double()
    found = values_of_the_same_rank(drawn, references, values, weights)
    assert found.tolist() == [7, 8, 9, 9]


@given(st.integers(0, 1000))
def test_ranks_of_weighted_rows_are_those_of_repeated_rows(seed):
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randint(1, 4, (20,), generator=generator)
    references, values, drawn = torch.randn(3, 20, generator=generator).double()
    found = values_of_the_same_rank(drawn, references, values, weights.double())
    repeated = [each.repeat_interleave(weights) for each in (references, values)]
    ones = torch.ones(len(repeated[0])).double()
    assert_array_equal(found, values_of_the_same_rank(drawn, *repeated, ones))
