"""Tables with linearly dependent columns: scores along the plane of their rows.

With rows ``x = y Q`` and orthonormal rows of Q the score along the plane is ``s_y Q``,
of which a Gaussian of covariance Σ has ``−Σ⁺ (x − μ)``.
"""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import error, points, two_clusters

from sklearn_ilvae.stein import Settings, fit_score
from sklearn_ilvae.stein.state import model_from_arrays, model_to_arrays

few = settings(max_examples=4, deadline=None)
seeds = st.integers(0, 2**16)
SUMS = torch.tensor([[1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 1, 1]]).double()
# Dependent columns in different units, so that the frame of one scale is compared.
UNITS = torch.tensor([[1, 0, 5, 1], [0, 4, 5, -1]]).double()
FIXED = {"kernel": "rbf", "bandwidth": 0.5, "regularization": 1e-3}
# So strong a ridge leaves the base alone.
ALONE = Settings("rbf", "diagonal", "median", regularization=1e12)


def clusters(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return two clusters in a plane of four columns, and their score along it."""
    y, score = two_clusters(n, seed)
    return y @ UNITS, score @ torch.linalg.pinv(UNITS).T


def gaussian_score(x: torch.Tensor) -> torch.Tensor:
    """Return the score of the Gaussian of the moments of a sample."""
    centered = x - x.mean(0)
    return -centered @ torch.linalg.pinv(centered.T @ centered / len(x))


def jacobian(function, row: torch.Tensor) -> torch.Tensor:
    return torch.autograd.functional.jacobian(lambda u: function(u[None])[0], row)


@pytest.mark.parametrize("n", [9, 2000])
def test_the_score_of_a_line_is_its_slope_along_the_line(n):
    z = points(n, 1, 0)
    x = torch.cat([z, 2.0 * z], 1)
    model, report = fit_score(x)
    assert report.kernel is None
    along, _ = fit_score(5**0.5 * z)
    line = torch.tensor([[1.0, 2.0]]).double() / 5**0.5
    rows = torch.cat([x, torch.tensor([[20.0, 40.0]]).double()])
    score, divergence = model.evaluate(rows)
    expected, slope = along.evaluate(rows @ line.T)
    torch.testing.assert_close(score, expected @ line, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(divergence, slope, rtol=1e-6, atol=1e-6)


@few
@given(seeds, st.sampled_from([200, 300]))
def test_a_gaussian_with_a_column_of_sums_has_minus_the_pseudo_inverse(seed, n):
    x = points(n, 3, seed) @ SUMS
    model, _ = fit_score(x, ALONE)
    assert error(model.score(x), gaussian_score(x)) < 0.02


def test_a_gaussian_with_a_column_of_sums_needs_no_kernel():
    kept = [fit_score(points(200, 3, s) @ SUMS)[1].kernel is not None for s in range(6)]
    assert sum(kept) <= 1


@pytest.mark.parametrize("base", ["gaussian", "student_t", "mixture"])
@pytest.mark.parametrize("form", ["diagonal", "curl_free"])
@pytest.mark.parametrize("bandwidth", ["auto", "median", 8.0])
def test_the_score_lies_in_the_plane_and_has_its_divergence(base, form, bandwidth):
    x, _ = clusters(200, 0)
    fixed = Settings("rbf", form, bandwidth=bandwidth, regularization=1e-3, base=base)
    model, _ = fit_score(x, fixed)
    rows = torch.cat([x[:2], points(2, 4, 1)])
    score, divergence = model.evaluate(rows)
    onto = torch.linalg.pinv(UNITS) @ UNITS
    torch.testing.assert_close(score @ onto, score, rtol=1e-9, atol=1e-9)
    for row, found in zip(rows, divergence, strict=True):
        trace = jacobian(model.score, row).trace()
        torch.testing.assert_close(trace, found, rtol=1e-7, atol=1e-9)
    if form == "curl_free":
        for row, found in zip(rows, score, strict=True):
            gradient = jacobian(model.log_density, row)
            torch.testing.assert_close(gradient, found, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("base", ["gaussian", "auto"])
def test_clusters_in_a_plane_are_estimated_far_better_than_by_their_gaussian(base):
    x, _ = clusters(1000, 0)
    fresh, truth = clusters(1000, 1)
    chosen, plain = (
        error(fit_score(x, s)[0].score(fresh), truth)
        for s in (Settings(base=base), ALONE)
    )
    assert chosen < 0.2 * plain


@few
@given(seeds)
def test_an_estimate_turns_with_the_plane(seed):
    """In one unit for all columns no direction of the plane is special."""
    y, _ = two_clusters(100, seed)
    turn = torch.linalg.qr(points(4, 2, seed + 1)).Q.T
    flat, _ = fit_score(y, Settings(base=None, **FIXED))
    model, _ = fit_score(y @ turn, Settings(base=None, **FIXED))
    expected = flat.score(y) @ turn
    torch.testing.assert_close(model.score(y @ turn), expected, rtol=1e-5, atol=1e-6)


def test_the_published_estimator_is_that_of_the_plane():
    y, _ = two_clusters(100, 0)
    turn = torch.linalg.qr(points(4, 2, 1)).Q.T
    published = Settings(base=None, method="stein", **FIXED)
    flat, model = (fit_score(rows, published)[0] for rows in (y, y @ turn))
    expected = flat.score(y) @ turn
    torch.testing.assert_close(model.score(y @ turn), expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("ratio", [1.0, 1e4, 1e8, 1e100])
def test_columns_of_other_units_do_not_blur_a_plane(ratio):
    """Dummies that sum to one, between a large and a small column of their own."""
    labels = torch.randint(0, 3, (600,), generator=torch.Generator().manual_seed(0))
    dummies = torch.nn.functional.one_hot(labels, 3).double()
    units = torch.tensor([ratio, 1, 1, 1, 1 / ratio], dtype=torch.float64)
    plain = torch.cat([points(600, 1, 1), dummies, points(600, 1, 2)], 1)
    alone = replace(ALONE, bandwidth=units)
    found = fit_score(plain * units, alone)[0].score(plain * units) * units
    for columns in ([0], [1, 2, 3], [4]):
        truth = gaussian_score(plain)[:, columns]
        assert error(found[:, columns], truth) < 0.02


def test_settings_given_back_give_the_same_estimate_on_a_plane():
    x, _ = clusters(300, 0)
    model, report = fit_score(x, Settings(base="gaussian", n_averaged=1))
    given = Settings(
        report.kernel,
        report.form,
        report.bandwidth,
        report.regularization,
        report.base,
        report.method,
    )
    again, _ = fit_score(x, given)
    assert error(again.score(x), model.score(x)) < 1e-4


def test_a_score_along_a_plane_saved_as_arrays_comes_back_the_same():
    x, _ = clusters(100, 0)
    model, _ = fit_score(x, Settings(**FIXED))
    again = model_from_arrays(model_to_arrays(model))
    assert torch.equal(again.score(x), model.score(x))


@pytest.mark.parametrize("outlier", [1e3, 1e6, 1e8, 1e10])
def test_a_plane_is_found_beside_a_row_far_away(outlier):
    y = points(300, 3, 0)
    y[0] = outlier
    model, _ = fit_score(y @ SUMS)
    truth = gaussian_score(y[1:] @ SUMS)
    assert error(model.score(y[1:] @ SUMS), truth) < 0.5
    across = torch.tensor([[1, 1, 1, -1]]).double()
    assert (model.score(y @ SUMS) @ across.T).abs().max() < 1e-4
