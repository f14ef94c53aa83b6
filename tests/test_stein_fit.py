"""What `fit_score` promises: laws of the estimate and of its choices."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import error, points, two_clusters

from sklearn_ilvae.stein import Settings, fit_score
from sklearn_ilvae.stein.sample.reading import read_rows

METHODS = ["tikhonov", "stein", "spectral_cutoff", "nu", "landweber"]
seeds = st.integers(0, 2**16)
few = settings(max_examples=6, deadline=None)


def distinct(x: torch.Tensor):
    return read_rows(
        x, generator=torch.Generator().manual_seed(0), device=torch.device("cpu")
    )


@pytest.mark.parametrize("condition", [1.0, 1e3, 1e6])
@pytest.mark.parametrize("d", [2, 10])
def test_gaussian_is_recovered_to_the_sampling_error_of_its_covariance(condition, d):
    """The error stays below that of the score with the sample covariance."""
    n = 2000
    rotation = torch.linalg.qr(points(d, d, 0))[0]
    root = rotation * torch.logspace(0, 0.5 * math.log10(condition), d).double()
    x, fresh = points(n, d, 1) @ root.T, points(n, d, 2) @ root.T
    truth = -fresh @ torch.linalg.inv(root @ root.T)
    covariance = torch.cov(x.T)
    plain = -(fresh - x.mean(0)) @ torch.linalg.inv(covariance)
    model, _ = fit_score(x)
    assert error(model.score(fresh), truth) <= 1.05 * error(plain, truth)
    assert error(model.score(fresh), truth) < 3 * (d + 1) / n


def test_a_kernel_part_is_rarely_kept_for_a_gaussian():
    """The best of many settings beats the base by √log n standard errors at times."""
    kept = 0
    for seed in range(12):
        model, report = fit_score(points(300, 2, seed), Settings(kernel="rbf"))
        assert (model.form is None) == (report.kernel is None)
        assert report.loss <= report.base_loss
        kept += report.kernel is not None
    assert kept <= 1


@pytest.mark.parametrize("base", ["gaussian", "auto"])
def test_mixture_is_estimated_far_better_than_by_its_gaussian(base):
    x, _ = two_clusters(1000, 0)
    fresh, truth = two_clusters(1000, 1)
    model, report = fit_score(x, Settings(base=base))
    assert report.loss <= report.base_loss
    assert report.base == "mixture" or report.kernel is not None
    gaussian, _ = fit_score(x, Settings(base="gaussian", kernel="rbf", n_landmarks=1))
    plain = error(gaussian.score(fresh), truth)
    assert error(model.score(fresh), truth) < 0.25 * plain


def test_heavy_tails_are_estimated_without_the_gaussian():
    """The score of a Student t falls to zero where that of a Gaussian grows."""
    spread = points(1500, 5, 0).square().mean(1, keepdim=True)
    x = points(1500, 5, 1) / spread.sqrt()
    model, report = fit_score(x)
    assert report.base == "student_t"
    truth = -10.0 * x / (5.0 + x.square().sum(1, keepdim=True))
    assert error(model.score(x), truth) < 0.05


@pytest.mark.parametrize("method", METHODS)
def test_every_method_chooses_its_regularisation(method):
    x, _ = two_clusters(400, 0)
    fresh, truth = two_clusters(1000, 1)
    chosen = Settings(
        kernel="rbf",
        form="diagonal",
        bandwidth="median",
        method=method,
        base="gaussian",
    )
    model, report = fit_score(x, chosen)
    assert report.regularization > 0
    assert error(model.score(fresh), truth) < 0.4


@pytest.mark.parametrize("form", ["diagonal", "curl_free"])
@pytest.mark.parametrize("kernel", ["rbf", "inverse_multiquadric"])
def test_fixed_settings_are_used_as_given(form, kernel):
    x, _ = two_clusters(200, 0)
    fixed = Settings(
        kernel=kernel,
        form=form,
        bandwidth=torch.tensor([1.5, 2.5]),
        regularization=1e-3,
        n_landmarks=50,
    )
    model, report = fit_score(x, fixed)
    assert (report.kernel, report.form, report.regularization) == (kernel, form, 1e-3)
    torch.testing.assert_close(report.bandwidth, torch.tensor([1.5, 2.5]).double())
    assert model.n_landmarks == 50


@pytest.mark.parametrize("n", [3, 9, 10])
def test_kernels_are_centred_at_each_of_a_handful_of_rows(n):
    """What is drawn at random then changes nothing."""
    x, queries = points(n, 2, 0), points(20, 2, 1)
    fixed = Settings(
        kernel="rbf",
        form="diagonal",
        bandwidth=1.0,
        regularization=0.1,
        base=None,
        n_landmarks="all",
    )
    first, second = (fit_score(x, fixed, seed=seed)[0] for seed in (0, 1))
    assert first.n_landmarks == n
    torch.testing.assert_close(first.score(queries), second.score(queries))


@pytest.mark.parametrize("kernel", ["rbf", "inverse_multiquadric"])
def test_a_kernel_narrower_than_all_distances_takes_from_the_base_at_each_row(kernel):
    """There ``f = −s₀ w/(w + λ)`` for the weight ``w`` of a row."""
    x, strength = points(80, 3, 0), 1e-2

    def score(regularization):
        narrow = Settings(kernel, "diagonal", 1e-6, regularization, base="gaussian")
        return fit_score(x, narrow)[0].score(x)

    base = score(1e30)
    expected = base * strength / (1 / 80 + strength)
    torch.testing.assert_close(score(strength), expected, rtol=0, atol=2e-3)


@pytest.mark.parametrize("form", ["diagonal", "curl_free"])
def test_choices_given_back_as_settings_give_the_same_estimate(form):
    x, _ = two_clusters(300, 0)
    x = torch.cat([x * torch.tensor([100.0, 1.0]).double(), torch.ones(300, 1)], 1)
    model, report = fit_score(x, Settings(form=form, base="gaussian", n_averaged=1))
    given = Settings(
        kernel=report.kernel,
        form=report.form,
        bandwidth=report.bandwidth,
        regularization=report.regularization,
        base=report.base,
        method=report.method,
    )
    again, _ = fit_score(x, given)
    torch.testing.assert_close(again.score(x), model.score(x), rtol=1e-5, atol=1e-7)


@few
@given(seeds, st.floats(-1e4, 1e4), st.floats(1e-3, 1e3))
def test_estimate_moves_and_scales_with_the_data(seed, shift, scale):
    """``ŝ`` of ``a x + b`` is ``ŝ(x)/a``, everything chosen anew."""
    x, _ = two_clusters(120, seed)
    a, b = scale, torch.tensor([shift, -3.0]).double()
    choice = Settings(kernel="inverse_multiquadric", form="curl_free")
    model, _ = fit_score(x, choice)
    moved, _ = fit_score(x * a + b, choice)
    found = moved.score(x * a + b) * a
    torch.testing.assert_close(found, model.score(x), rtol=1e-4, atol=1e-4)


def test_filters_are_compared_on_few_rows_unless_the_strength_is_given(monkeypatch):
    monkeypatch.setattr("sklearn_ilvae.stein.selection.options.MANY_ROWS", 2400)
    generator = torch.Generator().manual_seed(0)
    draw = {"generator": generator, "dtype": torch.float64}
    angles = 2 * torch.pi * torch.rand(2400, **draw)
    radii = 1 + 0.1 * torch.randn(2400, **draw)
    ring = radii[:, None] * torch.stack([angles.cos(), angles.sin()], 1)
    choices = {
        "few rows": fit_score(ring[:600]),
        "a strength": fit_score(ring[:600], Settings(regularization=1e-3)),
        "many rows": fit_score(ring),
    }
    assert {given: report.method for given, (_, report) in choices.items()} == {
        "few rows": "spectral_cutoff",
        "a strength": "tikhonov",
        "many rows": "tikhonov",
    }


def test_duplicated_rows_change_nothing():
    """Equal rows share a fold, a landmark and their weight."""
    x, _ = two_clusters(150, 0)
    model, report = fit_score(x)
    twice, again = fit_score(x.repeat(3, 1))
    assert report.regularization == pytest.approx(again.regularization)
    torch.testing.assert_close(twice.score(x), model.score(x), rtol=1e-5, atol=1e-5)


def test_distinct_rows_are_found_with_their_weights():
    x = torch.tensor([[1.0, 0.0], [2.0, 5.0], [1.0, -0.0], [2.0, 6.0], [1.0, 0.0]])
    rows = distinct(x)
    assert rows.index.tolist() == [0, 1, 3]
    assert rows.weights.tolist() == pytest.approx([0.6, 0.2, 0.2])


def test_rows_taken_from_a_sample_are_one():
    rows = distinct(points(40, 2, 0))
    assert float(rows.take(rows.lowest_ranks(15)).weights.sum()) == pytest.approx(1.0)


@few
@given(seeds, st.integers(1, 5))
def test_integer_tables_have_the_distinct_rows_that_numpy_finds(seed, d):
    table = np.random.default_rng(seed).integers(0, 4, size=(300, d)).astype(float)
    expected, counts = np.unique(table, axis=0, return_counts=True)
    rows = distinct(torch.from_numpy(table))
    assert len(rows) == len(expected)
    torch.testing.assert_close(
        rows.weights.sort().values, torch.from_numpy(np.sort(counts) / 300)
    )


def test_constant_columns_have_score_zero_and_change_nothing():
    x, _ = two_clusters(300, 0)
    constant = torch.full((300, 1), 7.0).double()
    model, _ = fit_score(x)
    wide, _ = fit_score(torch.cat([constant, x], 1))
    found = wide.score(torch.cat([constant + 1.0, x], 1))
    assert (found[:, 0] == 0).all()
    torch.testing.assert_close(found[:, 1:], model.score(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("base", ["auto", "gaussian", "student_t", "mixture"])
def test_columns_constant_up_to_rounding_are_constant(base):
    """0.1 + 0.2 is not 0.3."""
    x, _ = two_clusters(300, 0)
    column = torch.tensor([[0.3], [0.1 + 0.2]], dtype=torch.float64).repeat(150, 1)
    assert column.unique().numel() == 2
    exact, _ = fit_score(x, Settings(base=base))
    model, _ = fit_score(torch.cat([column, x], 1), Settings(base=base))
    found = model.score(torch.cat([column, x], 1))
    assert (found[:, 0] == 0).all()
    torch.testing.assert_close(found[:, 1:], exact.score(x), rtol=1e-5, atol=1e-5)
    both, _ = fit_score(torch.cat([column, 0.3 + column], 1), Settings(base=base))
    assert (both.score(points(5, 2, 0)) == 0).all()


def test_equal_columns_share_the_score_of_one():
    """Moving both at once changes the log-density as moving the one did."""
    x = points(500, 2, 0)
    model, _ = fit_score(x)
    tied, _ = fit_score(torch.cat([x, x[:, :1]], 1))
    found = tied.score(torch.cat([x, x[:, :1]], 1))
    torch.testing.assert_close(found[:, 0], found[:, 2])
    torch.testing.assert_close(
        found[:, 0] + found[:, 2], model.score(x)[:, 0], rtol=0.1, atol=0.1
    )


def test_a_rare_value_does_not_spoil_the_scores_of_other_columns():
    """Along its column there is no density, and the loss falls without bound."""
    x, _ = two_clusters(300, 0)
    fresh, truth = two_clusters(1000, 1)
    generator = torch.Generator().manual_seed(2)
    rare = (torch.randint(0, 30, (1300, 1), generator=generator) == 29).double()
    model, _ = fit_score(torch.cat([x, rare[:300]], 1))
    found = model.score(torch.cat([fresh, rare[300:]], 1))
    assert error(found[:, :2], truth) < 0.15


@pytest.mark.parametrize("n", [1, 20])
def test_identical_rows_have_score_zero(n):
    model, _ = fit_score(torch.ones(n, 3))
    assert (model.score(points(4, 3, 0)) == 0).all()


@pytest.mark.parametrize("n", [2, 3, 5, 9, 12])
@pytest.mark.parametrize("d", [1, 4, 20])
def test_few_rows_give_finite_scores(n, d):
    x = points(n, d, 0)
    model, _ = fit_score(x)
    score, divergence = model.evaluate(torch.cat([x, 100 * points(3, d, 1)]))
    assert torch.isfinite(score).all()
    assert torch.isfinite(divergence).all()


@pytest.mark.parametrize("scale", [1e-140, 1e-30, 1e30, 1e150, 1e300])
def test_huge_and_tiny_scales_give_finite_scores(scale):
    x, _ = two_clusters(200, 0)
    x[:, 0] *= scale
    model, _ = fit_score(x)
    assert torch.isfinite(model.score(x)).all()


@pytest.mark.parametrize("bandwidth", ["auto", "median"])
@pytest.mark.parametrize("outlier", [1e2, 1e6, 1e10, 1e13])
def test_one_row_far_away_leaves_the_score_of_the_others(bandwidth, outlier):
    x = points(300, 2, 0)
    x[0] = outlier
    model, _ = fit_score(x, Settings(bandwidth=bandwidth))
    assert error(model.score(x)[1:], -x[1:]) < 0.3
    assert torch.isfinite(model.score(x)).all()


def test_whole_numbers_of_any_type_are_a_sample():
    x = torch.from_numpy(np.random.default_rng(0).poisson(4.0, size=(300, 2)))
    model, _ = fit_score(x)
    floating, _ = fit_score(x.double())
    assert torch.equal(model.score(x), floating.score(x.double()))
    assert torch.isfinite(model.score(x)).all()


@pytest.mark.parametrize("form", ["diagonal", "curl_free"])
@pytest.mark.parametrize("unit", [1e-100, 1.0, 1e100])
def test_a_median_bandwidth_is_that_of_distances_in_the_units_of_the_data(unit, form):
    """One length for all columns, whatever their spread; constant ones do not count."""
    x = points(80, 3, 0) * torch.tensor([1.0, 5.0, 0.0]).double()
    given = Settings("rbf", form, "median", regularization=0.1)
    _, report = fit_score(unit * (x + 7.0), given)
    expected = unit * torch.pdist(x).median().expand(2)
    torch.testing.assert_close(report.bandwidth[:2], expected, rtol=1e-9, atol=0.0)


def test_most_rows_equal_leaves_a_positive_median():
    x = torch.zeros(500, 2, dtype=torch.float64)
    x[:40] = points(40, 2, 0)
    chosen = Settings(bandwidth="median", regularization=1e-3)
    model, report = fit_score(x, chosen)
    assert (report.bandwidth > 0).all()
    assert torch.isfinite(model.score(x)).all()


@pytest.mark.parametrize("regularization", ["auto", 1e-3])
def test_one_landmark_is_enough(regularization):
    x, _ = two_clusters(100, 0)
    chosen = Settings(n_landmarks=1, regularization=regularization, kernel="rbf")
    assert torch.isfinite(fit_score(x, chosen)[0].score(x)).all()


def test_same_seed_same_estimate_and_no_global_randomness():
    x, _ = two_clusters(2500, 0)
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first, _ = fit_score(x, Settings(kernel="rbf"), seed=3)
    assert torch.equal(before, torch.random.get_rng_state())
    second, _ = fit_score(x, Settings(kernel="rbf"), seed=3)
    assert torch.equal(first.score(x), second.score(x))


def test_read_in_chunks_equals_read_at_once(monkeypatch):
    x, _ = two_clusters(900, 0)
    fixed = Settings(kernel="rbf", form="curl_free", regularization=1e-3)
    whole, _ = fit_score(x, fixed)
    monkeypatch.setattr("sklearn_ilvae.stein.sample.rows.CHUNK_ELEMENTS", 1)
    monkeypatch.setattr("sklearn_ilvae.stein.model.NUMBERS_AT_ONCE", 1)
    pieces, _ = fit_score(x, fixed)
    torch.testing.assert_close(pieces.score(x), whole.score(x), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("offset", "spread"), [(1e9, 0.02), (1e6, 3e-6)])
def test_a_small_spread_far_from_zero_is_no_rounding(offset, spread):
    x = points(1000, 2, 0) * torch.tensor([spread, 1.0]) + torch.tensor([offset, 0.0])
    choice = Settings("rbf", "diagonal", "median", regularization=0.1)
    model, _ = fit_score(x, choice)
    assert float(model.score(x)[:, 0].std()) == pytest.approx(1 / spread, rel=0.1)


def test_wild_values_in_one_column_leave_the_scores_of_others():
    x = points(300, 3, 0)
    fresh = points(500, 3, 1)
    x[0, 0] = 1e4
    model, _ = fit_score(x)
    error = (model.score(fresh) + fresh)[:, 1:].square().mean()
    assert float(error) < 0.25
