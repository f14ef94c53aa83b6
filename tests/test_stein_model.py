"""Fitted scores: their values, divergences, log-densities, averages and state."""

import math
import subprocess
import sys
from dataclasses import is_dataclass, replace

import numpy as np
import pytest
import torch
from samples import points, two_clusters

from sklearn_ilvae.stein import AveragedScore, Settings, fit_score
from sklearn_ilvae.stein.bases.elliptical import GaussianScore
from sklearn_ilvae.stein.bases.fitted import BASES
from sklearn_ilvae.stein.bases.mixture import MixtureScore
from sklearn_ilvae.stein.state import model_from_arrays, model_to, model_to_arrays

METHODS = ["tikhonov", "stein", "spectral_cutoff", "nu", "landweber"]


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
    assert torch.equal(model.divergence(x), divergence)


def test_an_average_has_the_landmarks_of_the_member_that_has_most():
    x = points(30, 2, 0)
    counts = (3, 8, 5)
    fits = [
        fit_score(x, Settings("rbf", "diagonal", 1.0, 0.1, n_landmarks=count))[0]
        for count in counts
    ]
    assert [fit.n_landmarks for fit in fits] == list(counts)
    assert AveragedScore(tuple(fits)).n_landmarks == 8


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


def test_a_model_shares_no_memory_with_its_arrays():
    x = points(30, 2, 0)
    model, _ = fit_score(x, Settings("rbf", "diagonal", 1.0, 0.1))
    expected, saved = model.score(x), model_to_arrays(model)
    again = model_from_arrays(saved)
    for array in saved.values():
        if isinstance(array, np.ndarray):
            array.fill(0.0)
    assert torch.equal(model.score(x), expected)
    assert torch.equal(again.score(x), expected)


def tensors_of(record) -> list[torch.Tensor]:
    """Return all tensors of a dataclass, of those in it and of tuples of them."""
    if isinstance(record, torch.Tensor):
        return [record]
    if is_dataclass(record):
        record = tuple(vars(record).values())
    parts = record if isinstance(record, tuple) else ()
    return [tensor for part in parts for tensor in tensors_of(part)]


@pytest.mark.parametrize("method", ["tikhonov", "stein"])
def test_all_of_a_model_moves_to_another_device(method):
    """Here to that of tensors without values, which any machine has."""
    x = points(30, 2, 0)
    model, _ = fit_score(x, Settings("rbf", "diagonal", 1.0, 0.1, method=method))
    found = tensors_of(model_to(AveragedScore((model, model)), torch.device("meta")))
    assert len(found) == 2 * len(tensors_of(model)) > 10
    assert all(each.is_meta for each in found)
    assert not any(each.is_meta for each in tensors_of(model))


def test_a_published_model_of_repeated_rows_comes_back_the_same():
    x = torch.cat([points(30, 2, 0), points(10, 2, 0)])
    model, _ = fit_score(x, Settings("rbf", "diagonal", 1.0, 0.1, method="stein"))
    again = model_from_arrays(model_to_arrays(model))
    assert torch.equal(again.score(x), model.score(x))
    assert all(each.is_contiguous() for each in tensors_of(again))


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


def test_beyond_the_farthest_row_the_bound_falls_off_by_the_square_of_distance(
    outgrown,
):
    x, model, full, _ = outgrown
    longest = length_of_kernel_part(full, x).max()
    distances = ((x - model.center) * model.inverse_scale).norm(dim=1)
    shortened = torch.zeros(len(x), dtype=torch.bool)
    for times in (1.5, 2.0, 4.0):
        wide = model.center + times * (x - model.center)
        beyond = (times * distances / distances.max()).clamp(min=1.0)
        bound = longest / beyond.square()
        lengths = length_of_kernel_part(full, wide)
        torch.testing.assert_close(
            length_of_kernel_part(model, wide), torch.minimum(lengths, bound)
        )
        shortened |= (lengths > 1.1 * bound) & (beyond > 1.1)
    assert shortened.any()


def test_far_from_a_sample_of_heavy_tails_the_kernel_part_vanishes_beside_its_base():
    """An inverse multiquadric falls off no faster than the score of a Student t."""
    x = points(200, 2, 0)
    x[:, 1] += x[:, 0].square()
    x /= torch.linspace(0.05, 1, 200).double().sqrt()[:, None]
    tails = Settings("inverse_multiquadric", "diagonal", 1.0, 1e-3, base="student_t")
    model, _ = fit_score(x, tails)
    far = x.mean(0) + 1e6 * torch.nn.functional.normalize(points(100, 2, 1))
    alone = replace(model, form=None, coefficients=None).score(far).norm(dim=1)
    assert (length_of_kernel_part(model, far) < 1e-2 * alone).all()
    endless = replace(model, reach=math.inf)
    assert (length_of_kernel_part(endless, far) > 0.1 * alone).any()


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


def test_a_model_saved_as_arrays_is_shortened_as_before(outgrown):
    _, model, _, beyond = outgrown
    again = model_from_arrays(model_to_arrays(model))
    assert torch.equal(again.score(beyond), model.score(beyond))


def test_the_score_is_differentiable_where_the_kernel_part_vanishes():
    x, _ = two_clusters(100, 0)
    narrow = Settings(kernel="rbf", bandwidth=0.3, regularization=1e-3)
    model, _ = fit_score(x, narrow)
    far = torch.full((1, 2), 1e3).double().requires_grad_()
    (gradient,) = torch.autograd.grad(model.score(far).sum(), far)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("kernel", ["rbf", "inverse_multiquadric"])
@pytest.mark.parametrize(
    ("method", "form"),
    [("tikhonov", "diagonal"), ("tikhonov", "curl_free"), ("stein", "diagonal")],
)
@pytest.mark.parametrize("distance", [1e150, 1e200, 1e300])
def test_far_away_the_divergence_is_that_of_the_base(kernel, method, form, distance):
    """Also where the squares of distances overflow."""
    x, _ = two_clusters(100, 0)
    given = Settings(kernel, form, bandwidth=1.0, regularization=1e-2, method=method)
    model, _ = fit_score(x, given)
    alone = replace(model, form=None, coefficients=None, published=None)
    far = distance * torch.tensor([[1.0, -1.0]]).double()
    torch.testing.assert_close(model.divergence(far), alone.divergence(far))


def test_far_away_columns_that_depend_on_each_other_overflow_to_no_nan():
    """There ``(u − μ)ᵀ P (u − μ)`` is a sum of infinities of both signs."""
    precision = torch.tensor([[2.0, -1.9], [-1.9, 2.0]]).double()
    score = GaussianScore(torch.zeros(2).double(), precision)
    far = 1e200 * torch.tensor([[1.0, 0.9], [1.0, -1.0]]).double()
    assert torch.equal(score.log_density(far), torch.full_like(far[:, 0], -torch.inf))


def test_far_away_a_component_that_vanishes_adds_nothing():
    """The square of its distance from the score overflows there."""
    precisions = torch.tensor([1.0, 9.0]).double()[:, None, None] * torch.eye(2)
    zeros = torch.zeros(2, 2).double()
    both = MixtureScore(zeros[0], zeros, precisions)
    far = torch.tensor([[1e150], [1e200]], dtype=torch.float64).expand(2, 2)
    assert both.divergence(far, torch.ones(2).double()).tolist() == [-2.0, -2.0]


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


@pytest.mark.parametrize("shape", [(2,), (5, 1), (5, 3), (1, 5, 2)])
def test_points_have_the_columns_of_the_sample(shape):
    model, _ = fit_score(points(50, 2, 0))
    with pytest.raises(
        ValueError, match=r"X has shape .*; pass points of shape \(n, 2"
    ):
        model.score(torch.zeros(shape))


def test_no_points_have_no_scores():
    model, _ = fit_score(points(50, 2, 0))
    score, divergence = model.evaluate(torch.zeros(0, 2))
    assert score.shape == (0, 2)
    assert divergence.shape == model.log_density(torch.zeros(0, 2)).shape == (0,)


@pytest.mark.skipif(sys.platform != "linux", reason="counts memory in KiB")
def test_scores_of_many_points_take_little_more_memory_than_the_points():
    code = """
import resource, torch
from sklearn_ilvae.stein import Settings, fit_score
generator = torch.Generator().manual_seed(0)
X = torch.randn(300, 3, generator=generator, dtype=torch.float64)
model, _ = fit_score(X, Settings("rbf", "curl_free", 1.0, 0.01))
points = X.repeat(2000, 1)
model.evaluate(points[:10_000])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
model.evaluate(points)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print((after - before) * 1024 / points.nbytes)
"""
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    # The values themselves are four thirds of the points.
    assert float(found.stdout) < 5.0


def test_a_diagonal_form_has_no_log_density():
    x, _ = two_clusters(300, 0)
    model, _ = fit_score(x, Settings(form="diagonal", regularization=1e-2))
    with pytest.raises(ValueError, match="form='curl_free'"):
        model.log_density(x)


def test_the_published_estimator_has_all_rows_as_centres_and_no_log_density():
    x = points(30, 2, 0)
    model, _ = fit_score(x, Settings("rbf", "diagonal", 1.0, 0.1, method="stein"))
    assert model.n_landmarks == 30
    with pytest.raises(ValueError, match="method='tikhonov' and form='curl_free'"):
        model.log_density(x)


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


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("form", ["diagonal", "curl_free"])
def test_numbers_of_a_model_lie_in_memory_as_in_arrays(base, form):
    """Products round by their order, so that any other would not come back the same."""
    x = points(200, 3, 0) / points(200, 3, 1).square().mean(1, keepdim=True).sqrt()
    model, report = fit_score(x, Settings("rbf", form, 1.0, 1e-2, base=base))
    assert report.base == base
    parts = [model.coefficients, *vars(model.base).values()]
    assert all(part.is_contiguous() for part in parts if isinstance(part, torch.Tensor))
