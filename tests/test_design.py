"""What an encoder sees of discrete columns, against scores of their likelihoods."""

from math import log

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_ilvae.vae import Design
from sklearn_ilvae.vae.design import LARGEST_UNIT
from sklearn_ilvae.vae.likelihoods import COUNTS, MixedLikelihood
from sklearn_ilvae.vae.observed import level_frequencies, observed_mean

some = settings(max_examples=20, deadline=None)


def repeated(counts):
    """Return a column of levels 0, 1, … that occur so often, and shares of rows."""
    levels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    return levels.double()[:, None], torch.full(
        (len(levels),), 1 / len(levels)
    ).double()


def scores_in_units(family, rows, shares, n_levels=()):
    """Return coordinates of rows, and the scores at the start in their units."""
    design = Design([family], n_levels).double()
    units = design.fit(rows, shares)
    likelihood = MixedLikelihood([family], n_levels).double()
    likelihood.start_at(torch.ones(design.n_parameters).double(), rows, shares)
    origin = rows.new_zeros(len(rows), design.n_parameters)
    scores = likelihood.score(rows, origin)
    return design.coordinates(rows), units.to_natural(scores.T).T


@some
@given(
    st.sampled_from(["categorical", "ordinal"]),
    st.lists(st.integers(1, 50), min_size=2, max_size=6),
)
def test_levels_have_the_scores_of_their_column_for_coordinates(family, counts):
    found, expected = scores_in_units(family, *repeated(counts), [len(counts)])
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@some
@given(st.integers(10, 90))
def test_a_standardised_binary_column_is_its_score(percent):
    values, shares = repeated([100 - percent, percent])
    rows = (values - values.mean()) / values.std(correction=0)
    found, expected = scores_in_units("bernoulli", rows, shares)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("family", COUNTS)
@pytest.mark.parametrize("counts", [[3, 4, 2, 0, 1], [9, 0, 0, 0, 1]])
def test_counts_have_standardised_logarithms_for_coordinates(family, counts):
    rows, shares = repeated(counts)
    design = Design([family]).double()
    units = design.fit(rows, shares)
    found = design.coordinates(rows)
    logarithms = rows.log1p()
    expected = logarithms - logarithms.mean()
    torch.testing.assert_close(found * units.diagonal, expected)
    assert found.square().mean().item() == pytest.approx(1.0)


@pytest.mark.parametrize("family", COUNTS)
@pytest.mark.parametrize("count", [0, 2, 3, 1_000_000])
def test_a_constant_column_of_counts_has_the_unit_of_logarithms(family, count):
    """However its mean is rounded: else one more would be infinitely far."""
    rows, shares = torch.full((60, 1), float(count)).double(), torch.full((60,), 1 / 60)
    design = Design([family]).double()
    assert design.fit(rows, shares.double()).diagonal.item() == 1
    found = design.coordinates(torch.stack([rows[0], 2 * rows[0] + 1]))
    torch.testing.assert_close(found, torch.tensor([[0.0], [log(2)]]).double())


@some
@given(st.lists(st.integers(1, 50), min_size=2, max_size=6), st.integers(0, 1000))
def test_coordinates_and_natural_parameters_are_told_from_each_other(counts, seed):
    levels, shares = repeated(counts)
    rows = torch.cat([levels, levels.flip(0), levels], 1)
    design = Design(
        ["categorical", "poisson", "ordinal"], [len(counts), 1, len(counts)]
    )
    units = design.double().fit(rows, shares)
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(design.n_parameters, 4, generator=generator).double()
    torch.testing.assert_close(units.from_natural(units.to_natural(vectors)), vectors)
    natural = units.to_natural(torch.eye(design.n_parameters).double())
    torch.testing.assert_close(natural, natural.T)


def test_the_noise_of_levels_is_given_by_their_likelihood():
    kinds = ["gaussian", "student_t", *COUNTS, "bernoulli", "ordinal", "categorical"]
    rows = torch.tensor([0.0, 1, 2])[:, None].expand(-1, 7)
    units = Design(kinds, [1] * 5 + [3, 3]).fit(rows, torch.full((3,), 1 / 3))
    assert units.discrete.tolist() == [False] * 4 + [True] * 4


def test_units_of_rare_levels_have_a_limit():
    """Of frequencies below 4%; they would be estimated from few rows."""
    rows = torch.zeros(1000, 3)
    rows[0] = 1
    design = Design(["bernoulli", "ordinal", "categorical"], [1, 2, 2])
    units = design.fit(rows, torch.full((1000,), 1 / 1000))
    ((place, matrix),) = units.blocks
    assert units.diagonal[:place].tolist() == [LARGEST_UNIT] * 2
    assert matrix.item() == pytest.approx(LARGEST_UNIT)


@pytest.mark.parametrize("kinds", [["poisson"], ["gaussian", "poisson"]])
def test_units_are_trivial_where_all_parameters_are_numbers(kinds):
    rows, shares = repeated([30, 20, 10])
    assert not Design(kinds).fit(rows.expand(-1, len(kinds)), shares).trivial
    assert Design(["gaussian"]).fit(rows, shares).trivial


@some
@given(st.lists(st.integers(1, 50), min_size=2, max_size=6), st.floats(1e-3, 1e3))
def test_each_level_has_half_a_row_more_whatever_the_size_of_weights(counts, size):
    levels, shares = repeated(counts)
    expected = torch.tensor(counts).double() + 0.5
    found = level_frequencies(levels, size * shares, len(counts))
    torch.testing.assert_close(found[0], expected / expected.sum())
    mean = observed_mean(levels, size * shares)
    torch.testing.assert_close(mean, levels.mean(0))


@some
@given(st.lists(st.integers(1, 50), min_size=1, max_size=9), st.integers(1, 3000))
def test_levels_that_no_row_holds_share_what_those_of_single_rows_have(counts, unseen):
    levels, shares = repeated(counts)
    found = level_frequencies(levels, shares, len(counts) + unseen)[0]
    assert float(found.sum()) == pytest.approx(1)
    in_rows = found * (sum(counts) + len(counts) / 2) / found[: len(counts)].sum()
    expected = torch.tensor(counts).double() + 0.5
    torch.testing.assert_close(in_rows[: len(counts)], expected)
    total = min(unseen / 2, max(1, counts.count(1)))
    assert float(in_rows[len(counts) :].sum()) == pytest.approx(total)
