"""What `fit_score` promises: laws of the estimate and of its choices."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import points

from sklearn_ilvae.stein import AveragedScore, Settings, fit_score
from sklearn_ilvae.stein.rows import read_rows
from sklearn_ilvae.stein.state import model_from_arrays, model_to, model_to_arrays

METHODS = ["tikhonov", "stein", "spectral_cutoff", "nu", "landweber"]
seeds = st.integers(0, 2**16)
few = settings(max_examples=6, deadline=None)


def two_clusters(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a sample of ``½N(−2, I) + ½N(2, I)`` and its score."""
    x = points(n, 2, seed)
    generator = torch.Generator().manual_seed(seed)
    side = torch.randint(0, 2, (n, 1), generator=generator) * 4.0 - 2.0
    x = x + side
    return x, 2.0 * torch.tanh(2.0 * x.sum(1, keepdim=True)) - x


def error(found: torch.Tensor, truth: torch.Tensor) -> float:
    return float((found - truth).square().sum() / truth.square().sum())


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


@pytest.mark.parametrize("form", ["diagonal", "curl_free"])
def test_divergence_is_the_trace_of_the_jacobian_in_the_units_of_the_data(form):
    x, _ = two_clusters(150, 0)
    x = x * torch.tensor([10.0, 0.1]).double()
    fixed = Settings(kernel="rbf", form=form, regularization=1e-3, bandwidth="auto")
    model, _ = fit_score(x, fixed)
    for row in x[:3]:
        jacobian = torch.autograd.functional.jacobian(
            lambda u: model.score(u[None])[0], row
        )
        found = model.divergence(row[None])[0]
        torch.testing.assert_close(found, jacobian.trace(), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("n_averaged", [1, 3])
def test_score_is_the_gradient_of_the_log_density(n_averaged):
    x, _ = two_clusters(300, 0)
    settings = Settings(form="curl_free", base="gaussian", n_averaged=n_averaged)
    model, report = fit_score(x, settings)
    assert report.n_averaged == n_averaged
    inner = x[:20].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model.log_density(inner).sum(), inner)
    torch.testing.assert_close(gradient, model.score(x[:20]))


@pytest.fixture(scope="module")
def averaged():
    x, _ = two_clusters(300, 0)
    model, report = fit_score(x, Settings(base="gaussian"))
    assert isinstance(model, AveragedScore)
    assert len(model.members) == report.n_averaged > 1
    return x, model, report


def test_an_average_is_that_of_scores_and_divergences(averaged):
    x, model, _ = averaged
    score, divergence = model.evaluate(x)
    parts = [member.evaluate(x) for member in model.members]
    torch.testing.assert_close(score, sum(part[0] for part in parts) / len(parts))
    torch.testing.assert_close(divergence, sum(part[1] for part in parts) / len(parts))
    torch.testing.assert_close(model.score(x), score, rtol=1e-12, atol=1e-12)


def test_only_settings_of_one_form_are_averaged_the_reported_one_first(averaged):
    x, model, report = averaged
    kinds = {type(member.form) for member in model.members}
    assert len(kinds) == 1
    kernels = [member.form.kernel for member in model.members]
    assert len({(type(kernel), kernel.bandwidth) for kernel in kernels}) > 1
    alone, described = fit_score(x, Settings(base="gaussian", n_averaged=1))
    assert torch.equal(alone.score(x), model.members[0].score(x))
    assert replace(described, n_averaged=0, bandwidth=None) == replace(
        report, n_averaged=0, bandwidth=None
    )


def test_an_average_saved_as_arrays_comes_back_the_same(averaged):
    x, model, _ = averaged
    again = model_from_arrays(model_to_arrays(model))
    assert torch.equal(again.score(x), model.score(x))
    assert torch.equal(model_to(model, torch.device("cpu")).score(x), model.score(x))


def test_filters_are_compared_unless_the_strength_is_given():
    x, _ = two_clusters(300, 0)
    _, free = fit_score(x, Settings(base="gaussian"))
    assert free.method in ("tikhonov", "spectral_cutoff")
    _, given = fit_score(x, Settings(regularization=1e-3))
    assert given.method == "tikhonov"


@pytest.fixture(scope="module", params=["diagonal", "curl_free"])
def outgrown(request):
    """A score whose kernel part grows past its sample, and rows where it does."""
    x = points(60, 3, 0)
    x[:, 1] = 4.0 * x[:, 0].square() + 0.3 * x[:, 1]
    x = x * torch.tensor([10.0, 0.1, 1.0]).double()
    wild = Settings(
        kernel="inverse_multiquadric",
        form=request.param,
        bandwidth=torch.tensor([60.0, 20.0, 8.0]),
        regularization=1e-9,
    )
    model, _ = fit_score(x, wild)
    rows = x.mean(0) + 1.6 * (x - x.mean(0))
    full = replace(model, longest=math.inf)
    beyond = length_of_kernel_part(full, rows) > model.longest
    assert beyond.sum() > 5
    return x, model, full, rows[beyond]


def length_of_kernel_part(model, x: torch.Tensor) -> torch.Tensor:
    scale = model.inverse_scale
    alone = replace(model, form=None, coefficients=None)
    return ((model.score(x) - alone.score(x)) / scale).norm(dim=1)


def test_the_kernel_part_is_nowhere_longer_than_at_the_rows_of_the_sample(outgrown):
    x, model, full, _ = outgrown
    longest = length_of_kernel_part(full, x).max()
    wide = x.mean(0) + 5.0 * x.std(0) * points(2000, 3, 1)
    assert length_of_kernel_part(full, wide).max() > 2 * longest
    assert length_of_kernel_part(model, wide).max() <= longest * (1 + 1e-8)


def test_at_the_rows_of_the_sample_and_within_nothing_is_shortened(outgrown):
    x, model, full, _ = outgrown
    for found, expected in zip(model.evaluate(x), full.evaluate(x), strict=True):
        assert torch.equal(found, expected)


def test_the_score_is_the_same_with_and_without_its_divergence(outgrown):
    x, model, _, wide = outgrown
    wide = torch.cat([x, wide])
    torch.testing.assert_close(
        model.score(wide), model.evaluate(wide)[0], rtol=1e-12, atol=1e-12
    )


def test_the_score_is_differentiable_where_the_kernel_part_vanishes():
    x, _ = two_clusters(100, 0)
    narrow = Settings(kernel="rbf", bandwidth=0.3, regularization=1e-3)
    model, _ = fit_score(x, narrow)
    far = torch.full((1, 2), 1e3).double().requires_grad_()
    (gradient,) = torch.autograd.grad(model.score(far).sum(), far)
    assert gradient.isfinite().all()


def test_a_shortened_kernel_part_keeps_its_direction(outgrown):
    _, model, full, beyond = outgrown
    alone = replace(model, form=None, coefficients=None)
    short, long = (m.score(beyond) - alone.score(beyond) for m in (model, full))
    cosine = torch.nn.functional.cosine_similarity(short, long)
    torch.testing.assert_close(cosine, torch.ones_like(cosine))


def test_the_divergence_is_exact_where_the_kernel_part_is_shortened(outgrown):
    _, model, _, beyond = outgrown
    for row, found in zip(beyond[:5], model.divergence(beyond), strict=False):
        jacobian = torch.autograd.functional.jacobian(
            lambda u: model.score(u[None])[0], row
        )
        torch.testing.assert_close(found, jacobian.trace(), rtol=1e-6, atol=1e-6)


def test_a_diagonal_form_has_no_log_density():
    x, _ = two_clusters(300, 0)
    model, _ = fit_score(x, Settings(form="diagonal", regularization=1e-2))
    with pytest.raises(ValueError, match="form='curl_free'"):
        model.log_density(x)


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


def test_a_column_too_fine_for_its_score_is_named():
    x, _ = two_clusters(50, 0)
    x[:, 1] *= 1e-300
    with pytest.raises(ValueError, match="column 1 of X"):
        fit_score(x)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_column_with_values_that_are_not_finite_is_named(bad):
    x, _ = two_clusters(50, 0)
    x[7, 1] = bad
    with pytest.raises(ValueError, match="column 1 of X contains NaN or infinity"):
        fit_score(x)


@pytest.mark.parametrize("shape", [(0, 2), (5, 0), (5,)])
def test_a_sample_needs_rows_and_columns(shape):
    with pytest.raises(ValueError, match="at least one row and one column"):
        fit_score(torch.zeros(shape))


def test_whole_numbers_of_any_type_are_a_sample():
    x = torch.from_numpy(np.random.default_rng(0).poisson(4.0, size=(300, 2)))
    model, _ = fit_score(x)
    floating, _ = fit_score(x.double())
    assert torch.equal(model.score(x), floating.score(x.double()))
    assert torch.isfinite(model.score(x)).all()


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


def test_choosing_without_a_base_needs_ten_distinct_rows():
    with pytest.raises(ValueError, match="9 distinct rows"):
        fit_score(points(9, 2, 0), Settings(base=None))


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
    monkeypatch.setattr("sklearn_ilvae.stein.rows._CHUNK_ELEMENTS", 1)
    monkeypatch.setattr("sklearn_ilvae.stein.model._CHUNK_ELEMENTS", 1)
    pieces, _ = fit_score(x, fixed)
    torch.testing.assert_close(pieces.score(x), whole.score(x), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("form", ["diagonal", "curl_free"])
def test_a_model_saved_as_arrays_comes_back_the_same(method, form):
    x, _ = two_clusters(100, 0)
    stein = method == "stein"
    fixed = Settings(
        kernel="rbf",
        form="diagonal" if stein else form,
        bandwidth="median",
        regularization=1e-2,
        method=method,
        base=None if stein else "gaussian",
    )
    model, _ = fit_score(x, fixed)
    saved = model_to_arrays(model)
    assert all(isinstance(v, np.ndarray | float | str) for v in saved.values())
    assert torch.equal(model_from_arrays(saved).score(x), model.score(x))
