"""Neighbours in the score of a detector: distances, the sample they are found in."""

import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from autoencoders import short_detector
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from mixed import people
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.neighbors import NearestNeighbors

from sklearn_ilvae._detection.scoring import column_floors, slower_below
from sklearn_ilvae._outlier import SAMPLE_ROWS
from sklearn_ilvae.vae import comparable_points, neighbour_terms
from sklearn_ilvae.vae.completion import LinearCompletion
from sklearn_ilvae.vae.neighbours import (
    BANDWIDTH,
    LEVELS_BANDWIDTH,
    SAME,
    _places_of_smallest,
)


def normal(seed, *shape):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def squared_distances(points, sample):
    return (points[:, None] - sample).square().sum(2)


# Distances


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 60), st.integers(1, 5), st.integers(1, 8))
def test_terms_sum_to_the_mean_squared_distance_of_the_nearest(
    seed, n_sample, n_numbers, n_neighbors
):
    points, sample = normal(seed, 7, n_numbers), normal(seed + 1, n_sample, n_numbers)
    distances = squared_distances(points, sample)
    assume((distances > SAME).all())
    nearest = distances.sort(1).values[:, :n_neighbors]
    terms = neighbour_terms(points, sample, n_neighbors)
    assert_allclose(terms.sum(1), nearest.mean(1), rtol=1e-12)
    assert (terms >= 0).all()


@pytest.mark.parametrize("n_neighbors", [1, 2, 5])
def test_a_point_of_the_sample_is_not_its_own_neighbour(n_neighbors):
    sample = normal(0, 30, 3)
    terms = neighbour_terms(sample, sample, n_neighbors)
    for place in range(30):
        others = sample[torch.arange(30) != place]
        expected = neighbour_terms(sample[[place]], others, n_neighbors)
        assert_allclose(terms[[place]], expected, rtol=1e-12)


def test_a_single_point_has_no_neighbour_but_itself():
    sample = normal(0, 1, 3)
    assert_array_equal(neighbour_terms(sample, sample, 2), torch.zeros(1, 3))
    assert_allclose(neighbour_terms(sample + 1, sample, 2), torch.ones(1, 3))


def test_more_neighbours_than_there_are_points_are_all_points():
    points, sample = normal(0, 4, 3), normal(1, 5, 3)
    every = neighbour_terms(points, sample, 5)
    assert_array_equal(neighbour_terms(points, sample, 2**70), every)


def test_terms_do_not_hang_on_rounding_where_many_points_are_as_near():
    # Corners of a cube: each has several nearest ones, in other columns.
    corners = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 6).double() / 3
    together = neighbour_terms(corners, corners, 2)
    alone = [neighbour_terms(corner[None], corners, 2)[0] for corner in corners]
    assert_array_equal(together, torch.stack(alone))


@settings(deadline=None)
@given(
    st.integers(1, 40).flatmap(
        lambda n_values: st.lists(
            st.lists(
                st.floats(-1e12, 1e12) | st.integers(-2, 2).map(float),
                min_size=n_values,
                max_size=n_values,
            ),
            min_size=1,
            max_size=5,
        )
    ),
    st.data(),
)
def test_the_smallest_of_every_row_are_found_in_their_order(rows, data):
    values = torch.tensor(rows, dtype=torch.float64)
    count = data.draw(st.integers(1, values.shape[1]))
    places = _places_of_smallest(values.clone(), count)
    assert all(len(set(each)) == count for each in places.tolist())
    # But for the bits that hold the place.
    expected = values.sort(1).values[:, :count]
    assert_allclose(values.gather(1, places), expected, rtol=1e-11, atol=1e-300)


def test_single_precision_finds_the_same_neighbours():
    points, sample = normal(0, 20, 4), normal(1, 50, 4)
    expected = neighbour_terms(points, sample, 3)
    found = neighbour_terms(points.float(), sample.float(), 3)
    assert found.dtype == torch.float32
    assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("apart", [1e-7, 9e-5, 2e-3, 4e-3])
def test_near_twins_lie_as_far_from_the_others(apart):
    sample = torch.tensor([[0, 0], [apart, 0], [5, 5], [7, 1]]).double()
    distances = neighbour_terms(sample, sample, 2).sum(1)
    assert_allclose(distances[0], distances[1], rtol=1e-2)


@pytest.mark.parametrize("n_twins", [2, 3, 4, 30])
@pytest.mark.parametrize("n_neighbors", [1, 2, 5])
def test_any_number_of_near_twins_is_passed_over(n_twins, n_neighbors):
    others = 5 + normal(0, 40, 2)
    twins = 1e-4 * torch.rand(n_twins, 2, dtype=torch.float64)
    sample = torch.cat([twins, others])
    expected = neighbour_terms(twins, others, n_neighbors)
    assert_allclose(neighbour_terms(twins, sample, n_neighbors), expected, rtol=1e-9)
    # The same beside points with gaps.
    points, observed = sample[: n_twins + 1], torch.ones(n_twins + 1, 2) > 0
    observed[-1, 0] = False
    found = neighbour_terms(points, sample, n_neighbors, observed)[:-1]
    assert_allclose(found, expected, rtol=1e-9)
    alone = torch.zeros(1, 2, dtype=torch.float64)
    assert_array_equal(neighbour_terms(twins, twins, n_neighbors), alone * twins)


def test_a_point_of_the_sample_is_known_again_by_what_is_observed():
    sample = normal(0, 30, 4)
    observed = torch.ones(30, 4, dtype=torch.bool)
    observed[:, 2] = False
    filled = torch.where(observed, sample, 0.3)
    terms = neighbour_terms(filled, sample, 1, observed)
    assert (terms[:, 2] == 0).all()
    distances = squared_distances(filled, sample)
    distances.fill_diagonal_(torch.inf)
    nearest = distances.argmin(1)
    # Where the point itself is among the two nearest it is passed over.
    expected = (filled - sample[nearest]).square() * observed
    assert_allclose(terms, expected, rtol=1e-12)


def test_a_point_with_gaps_that_equals_all_of_the_nearest_lies_as_near():
    sample = torch.tensor([[0.0, 1.0]] * 3 + [[9.0, 1.0]] * 3)
    observed = torch.tensor([[True, False], [True, True]])
    terms = neighbour_terms(sample[:2], sample, 1, observed)
    assert terms.tolist() == [[0, 0], [81, 0]]


def test_columns_of_many_kinds_are_compared_in_nats():
    frame = pd.DataFrame(
        {
            "number": np.arange(40.0),
            "flag": np.arange(40) % 2 == 0,
            "shade": pd.Categorical(list("aaab") * 5 + list("cccc") * 5),
            "visits": np.r_[0, 50, np.arange(38) % 3],
        }
    )
    whole = {"support_fraction": 1.0, "early_stopping": False}
    detector = short_detector(likelihood={"visits": "poisson"}, **whole).fit(frame)
    inner = detector.transformer_
    module = inner._inference_module(torch.float64)
    cases = pd.concat([frame.iloc[[0]]] * 5, ignore_index=True)
    cases.loc[1, "number"] = 3.0
    cases.loc[2, "flag"] = False
    cases.loc[3, "shade"] = "b"
    cases.loc[4, "visits"] = 50
    rows = inner._scaling().transform(detector._checked(cases, "predict"))
    with torch.no_grad():
        coordinates, _ = module.encoder.completed(rows)
        points, columns = comparable_points(module.encoder.design, coordinates)
    squares = (points - points[0]).square()
    nats = torch.zeros(5, 4, dtype=torch.float64).index_add_(1, columns, squares)
    kernel = 2 * BANDWIDTH**2
    spread = inner.scale_[0]
    assert_allclose(nats[1], [3**2 / spread**2 / kernel, 0, 0, 0], atol=1e-12)
    p = inner.mean_[1]
    assert_allclose(nats[2], [0, 1 / (p * (1 - p)) / kernel, 0, 0], rtol=1e-6)
    chi_squared = 1 / 0.375 + 1 / 0.125  # levels a and b, whose shares are smoothed
    kernel_of_levels = 2 * LEVELS_BANDWIDTH**2
    assert_allclose(nats[3], [0, 0, chi_squared / kernel_of_levels, 0], rtol=0.05)
    # A count of 50 beside 0, 1 and 2: far, but no more than a number would be.
    assert 3**2 / kernel < nats[4, 3] < 10**2 / kernel


# The detector


@pytest.fixture(scope="module")
def with_and_without(table):
    """Return two detectors of one model, of which the first looks for three."""
    return [
        short_detector(support_fraction=1.0, n_neighbors=k).fit(table[:200])
        for k in (3, 0)
    ]


def test_a_value_lowers_a_score_by_its_squared_distance_to_neighbours(
    table, with_and_without
):
    training, new = table[:200], table[200:]
    pooled, alone = (each.feature_contributions(new) for each in with_and_without)
    spread = training.std(0)
    index = NearestNeighbors(n_neighbors=3).fit(training / spread)
    _, places = index.kneighbors(new / spread)
    away = (((new[:, None] - training[places]) / spread) ** 2).mean(1)
    distances = away / (2 * BANDWIDTH**2)
    # Within three standard deviations the scale of a column is linear.
    inside = (np.abs(new - training.mean(0)) < 3 * spread).all(1)
    floors = torch.from_numpy(with_and_without[0]._floors)
    values = slower_below(floors, torch.from_numpy(alone[:, :-1]), 200).numpy()
    expected = values - distances
    assert_allclose(pooled[inside, :-1], expected[inside], rtol=1e-6, atol=1e-9)


def test_beside_neighbours_the_code_counts_less_the_more_of_the_distance_it_is(
    table, with_and_without
):
    pooled, alone = (each.feature_contributions(table) for each in with_and_without)
    n_components = with_and_without[0].transformer_.n_components_
    assert n_components == 2
    assert_allclose(pooled[:, -1], alone[:, -1] * (1 - 2 / 6), rtol=1e-9)
    frame = people(120)
    mixed = short_detector(n_components=2, support_fraction=1.0).fit(frame)
    twin = short_detector(n_components=2, support_fraction=1.0, n_neighbors=0)
    latent = twin.fit(frame).feature_contributions(frame)["latent"]
    n_numbers = mixed._sample_points.shape[1]
    assert n_numbers > frame.shape[1]
    found = mixed.feature_contributions(frame)["latent"]
    complete = frame.notna().all(axis=1)
    assert_allclose(
        found[complete], latent[complete] * (1 - 2 / (n_numbers + 1)), rtol=1e-9
    )


def test_a_value_far_out_counts_by_a_logarithm(table, with_and_without):
    pooled, alone = with_and_without
    largest = alone.feature_contributions(table[:200])[:, :-1].max(0)
    assert_allclose(pooled._floors, largest - np.log(202), rtol=1e-9)
    far = np.repeat(table[:1], 3, axis=0)
    far[:, 2] = [1e3, 1e4, 1e5]
    unbounded = alone.feature_contributions(far)[:, 2]
    assert (unbounded < pooled._floors[2] - 10).all()
    scores = pooled.score_samples(far)
    assert scores[2] < scores[1] < scores[0] < pooled.training_scores_.min()


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=20), st.integers(1, 10**6))
def test_terms_below_a_floor_keep_their_order_and_fall_as_documented(depths, n_seen):
    below = torch.tensor(sorted(depths), dtype=torch.float64)[:, None]
    unit, largest = np.log(n_seen + 2), 1.5
    floors = torch.tensor([largest - unit], dtype=torch.float64)
    found = largest - slower_below(floors, largest - below, n_seen)[:, 0].numpy()
    depth = below[:, 0].numpy()
    beyond = unit * (1 + np.log(np.maximum(depth, unit) / unit))
    assert_allclose(found, np.where(depth > unit, beyond, depth), rtol=1e-8, atol=1e-8)
    assert (np.diff(found) >= -1e-9).all()


def test_a_column_without_values_has_no_floor():
    terms = torch.tensor([[-1.0, 0.0], [-4.0, 0.0]])
    missing = torch.tensor([[False, True], [False, True]])
    floors = column_floors(terms, missing, n_seen=2)
    assert_allclose(floors, [-1 - np.log(4), -np.inf])
    assert column_floors(terms[:0], missing[:0], n_seen=0).tolist() == [-np.inf] * 2


def test_without_neighbours_no_row_is_kept(table):
    assert short_detector(n_neighbors=0).fit(table)._sample.rows.shape == (0, 5)
    assert len(short_detector().fit(table)._sample.rows) == len(table)


def test_a_large_table_leaves_a_sample():
    rows = np.random.default_rng(0).standard_normal((SAMPLE_ROWS + 500, 3))
    sample = short_detector(max_iter=1).fit(rows)._sample
    assert sample.rows.shape == (SAMPLE_ROWS, 3)
    assert sample.n_seen == len(rows)
    assert set(map(tuple, sample.rows)) < set(map(tuple, rows))


def test_rows_that_count_little_in_training_are_sampled_like_others(table, monkeypatch):
    monkeypatch.setattr("sklearn_ilvae._outlier.SAMPLE_ROWS", 100)
    detector = short_detector(max_iter=1).fit(table)
    sampled = (table[:, None] == detector._sample.rows).all(2).any(1)
    assert sampled.sum() == 100
    assert (sampled & ~detector.support_).sum() > 15


def test_rows_that_are_dropped_are_nobodys_neighbours(table):
    detector = short_detector(support_fraction=0.8).fit(table)
    kept = np.unique(table[detector.support_], axis=0)
    assert_array_equal(np.unique(detector._sample.rows, axis=0), kept)


def test_rows_in_another_precision_are_known_again():
    rows = np.random.default_rng(0).normal([0, 300, 20_000], size=(150, 3))
    detector = short_detector().fit(rows)
    scores = detector.score_samples(rows)
    single = detector.score_samples(rows.astype(np.float32))
    assert np.abs(single - scores).max() < 0.05


def test_rows_of_the_calibration_are_nobodys_neighbours(table):
    detector = short_detector(calibration_fraction=0.4).fit(table)
    assert len(detector._sample.rows) == 180
    assert len(detector.calibration_scores_) == 120


def test_repeated_rows_are_no_neighbours_of_each_other(table):
    detector = short_detector(support_fraction=1.0).fit(table)
    before = detector._sample
    detector._sample = before.joined(table, np.ones(len(table)), SAMPLE_ROWS, 0)
    assert detector._sample.n_seen == 2 * len(table)
    detector._sample_points, _ = detector._points_and_floors(detector._sample)
    # Twice the rows would tell more of the tails, too.
    detector._sample = replace(detector._sample, n_seen=len(table))
    assert_allclose(
        detector.score_samples(table),
        short_detector(support_fraction=1.0).fit(table).score_samples(table),
        rtol=1e-12,
    )


def test_reasons_of_levels_are_the_same_alone_and_in_any_batch():
    frame = people(120)
    detector = short_detector().fit(frame)
    together = detector.feature_contributions(frame)
    alone = pd.concat(
        [detector.feature_contributions(frame.iloc[[row]]) for row in range(20)]
    )
    assert_allclose(alone, together[:20], rtol=1e-9, atol=1e-9)


def test_gaps_in_the_sample_are_filled(table):
    holes = np.where(np.random.default_rng(0).random(table.shape) < 0.3, np.nan, table)
    detector = short_detector().fit(holes)
    assert np.isnan(detector._sample.rows).any()
    assert np.isfinite(detector.score_samples(table)).all()


def test_a_row_with_gaps_is_completed_once(table, monkeypatch):
    holes = np.where(np.random.default_rng(0).random(table.shape) < 0.3, np.nan, table)
    detector = short_detector().fit(holes)
    expected = detector.score_samples(holes)
    completed = []
    forward = LinearCompletion.forward

    def counted(completion, coordinates):
        completed.append(len(coordinates))
        return forward(completion, coordinates)

    monkeypatch.setattr(LinearCompletion, "forward", counted)
    assert_array_equal(detector.score_samples(holes), expected)
    assert completed == [len(holes)]


def test_a_copy_finds_the_same_neighbours():
    frame = people(120, gaps=0.2)
    detector = short_detector().fit(frame)
    twin = pickle.loads(pickle.dumps(detector))
    assert_array_equal(twin.score_samples(frame), detector.score_samples(frame))
    twin.partial_fit(frame[:60])
    again = pickle.loads(pickle.dumps(detector)).partial_fit(frame[:60])
    assert_array_equal(twin.score_samples(frame), again.score_samples(frame))


def test_neighbours_tell_a_row_between_two_kinds_of_rows():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((200, 2)) * 0.3 + np.repeat([[-2.0], [2.0]], 100, axis=0)
    rows = np.column_stack([rows, rng.standard_normal(200)])
    share = {}
    for k in (0, 2):
        detector = short_detector(n_neighbors=k).fit(rows)
        between = detector.score_samples([[0.0, 0.0, 0.0]])
        share[k] = (detector.score_samples(rows) < between).mean()
    assert share[2] < share[0]


@pytest.mark.parametrize("n_neighbors", [-1, 1.5, None])
def test_a_number_of_neighbours_is_a_count(table, n_neighbors):
    with pytest.raises(ValueError, match=r"'n_neighbors' parameter .* must be an int"):
        short_detector(n_neighbors=n_neighbors).fit(table)
