"""Weights are repetitions: a row of weight 2 counts as one that occurs twice."""

import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from samples import points, two_clusters

from sklearn_ilvae.stein import Settings, fit_score

few = settings(max_examples=5, deadline=None)
seeds = st.integers(0, 2**16)
FIXED = Settings("rbf", "curl_free", bandwidth="median", regularization=1e-3)
PUBLISHED = Settings("rbf", bandwidth="median", regularization=0.1, method="stein")


def whole_weights(n: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 4, (n,), generator=generator).double()


@pytest.mark.parametrize("chosen", [Settings(), FIXED, PUBLISHED])
@few
@given(seeds)
def test_whole_weights_are_repeated_rows(chosen, seed):
    x, weights = points(60, 2, seed), whole_weights(60, seed)
    weighted, report = fit_score(x, chosen, weights=weights)
    repeated, again = fit_score(x.repeat_interleave(weights.int(), 0), chosen)
    assert report.regularization == again.regularization
    assert torch.equal(weighted.score(x), repeated.score(x))
    assert torch.equal(weighted.divergence(x), repeated.divergence(x))


def test_the_published_estimator_counts_equal_rows_once_each():
    """Its formula, on all rows, knows nothing of weights."""
    x, weights = points(20, 2, 0), whole_weights(20, 1)
    rows = x.repeat_interleave(weights.int(), 0)
    fixed = Settings("rbf", bandwidth=1.0, regularization=0.1, method="stein")
    model, _ = fit_score(x, fixed, weights=weights)
    difference = rows[:, None] - rows
    kernel = torch.exp(-0.5 * difference.square().sum(-1))
    slopes = (difference * kernel[..., None]).sum(1)
    ridge = kernel + 0.1 * torch.eye(len(rows), dtype=rows.dtype)
    expected = -torch.linalg.solve(ridge, slopes)
    found = model.published.in_sample.repeat_interleave(weights[weights > 0].int(), 0)
    torch.testing.assert_close(found, expected)


@few
@given(seeds, st.integers(-1074, 1000))
@example(0, -1074)
def test_only_the_ratios_of_weights_matter(seed, exponent):
    x, weights = points(60, 2, seed), whole_weights(60, seed)
    model, _ = fit_score(x, FIXED, weights=weights)
    scaled, _ = fit_score(x, FIXED, weights=weights * 2.0**exponent)
    assert torch.equal(scaled.score(x), model.score(x))


def test_a_weight_lost_to_rounding_is_none():
    x, weights = points(20, 2, 0), whole_weights(20, 0)
    model, _ = fit_score(x, FIXED, weights=weights)
    far = torch.cat([x, torch.full((1, 2), 50.0)])
    more, _ = fit_score(far, FIXED, weights=torch.cat([weights, torch.tensor([1e-17])]))
    assert torch.equal(more.score(x), model.score(x))


def test_equal_weights_are_no_weights():
    x, _ = two_clusters(200, 0)
    plain, _ = fit_score(x)
    equal, _ = fit_score(x, weights=torch.full((200,), 7.0))
    torch.testing.assert_close(equal.score(x), plain.score(x))


def test_importance_weights_turn_the_sample_into_another():
    """Of a normal of deviation 2 into the standard normal, whose score is ``−x``."""
    x = 2.0 * points(4000, 2, 0)
    model, _ = fit_score(x, weights=torch.exp(-0.375 * x.square().sum(1)))
    fresh = points(1000, 2, 1)
    error = (model.score(fresh) + fresh).square().sum() / fresh.square().sum()
    assert float(error) < 0.02


@pytest.mark.parametrize("spread", [5.0, 30.0, 200.0])
@pytest.mark.parametrize("seed", range(5))
def test_weights_that_lean_to_a_few_rows_give_finite_scores(spread, seed):
    x = points(40, 2, seed)
    logs = (spread * points(40, 1, seed + 100)[:, 0]).clamp(-600, 600)
    model, _ = fit_score(x, weights=logs.exp())
    assert torch.isfinite(model.score(x)).all()


@pytest.mark.parametrize("d", [1, 2, 4])
def test_nearly_all_rows_equal_give_finite_scores(d):
    """A Student t of few degrees of freedom would shrink to them."""
    x = torch.cat([points(40, d, 0), torch.zeros(1, d)])
    weights = torch.ones(41)
    weights[40] = 50_000
    model, _ = fit_score(x, weights=weights)
    assert torch.isfinite(model.score(x)).all()


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (
            torch.ones(9),
            r"weights has shape \(9,\); .* as many numbers as X has rows, 10",
        ),
        (torch.ones(10, 1), r"weights has shape \(10, 1\)"),
        (torch.zeros(10), "weights are all 0"),
        (torch.arange(10.0) - 1.0, r"weights\[0\]=-1.0 is negative"),
        (torch.arange(10.0).masked_fill_(torch.arange(10) == 3, math.nan), r"\[3\]"),
        (torch.full((10,), math.inf), r"weights\[0\]=inf is not finite"),
    ],
)
def test_weights_that_mean_nothing_are_refused_by_name(weights, message):
    with pytest.raises(ValueError, match=message):
        fit_score(points(10, 2, 0), weights=weights)
