"""Kernels and forms: closed-form derivatives against automatic differentiation."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import points

from sklearn_ilvae.stein.bases.elliptical import GaussianScore
from sklearn_ilvae.stein.bases.fitted import hyvarinen_loss
from sklearn_ilvae.stein.kernels.curl_free import CurlFreeForm
from sklearn_ilvae.stein.kernels.forms import FORMS
from sklearn_ilvae.stein.kernels.radial import (
    KERNELS,
    kernel_gradient,
    kernel_matrix,
    make_kernel,
    median_distance,
    squared_distances,
)
from sklearn_ilvae.stein.kernels.solvers import FilteredFields
from sklearn_ilvae.stein.sample.rows import CHUNK_ELEMENTS

names = st.sampled_from(sorted(KERNELS))
forms = st.sampled_from(sorted(FORMS))
bandwidths = st.floats(0.3, 5.0)
dimensions = st.integers(1, 4)
seeds = st.integers(0, 2**16)
quick = settings(max_examples=25, deadline=None)


def jacobian(function, x: torch.Tensor) -> torch.Tensor:
    return torch.autograd.functional.jacobian(function, x)


@quick
@given(names, bandwidths, dimensions, seeds)
def test_first_and_second_derivatives_match_automatic_differentiation(
    name, bandwidth, d, seed
):
    kernel = make_kernel(name, bandwidth)
    x, y = points(1, d, seed), points(1, d, seed + 1)

    def value(u):
        return kernel_matrix(kernel, u[None], y)[0, 0]

    gradient = jacobian(value, x[0])
    torch.testing.assert_close(kernel_gradient(kernel, x, y)[0, 0], gradient)
    difference = x[0] - y[0]
    _, first, second = kernel.derivatives(difference.square().sum())
    hessian = 4.0 * second * torch.outer(difference, difference)
    hessian += 2.0 * first * torch.eye(d, dtype=torch.float64)
    expected = torch.autograd.functional.hessian(value, x[0])
    torch.testing.assert_close(hessian, expected)


@quick
@given(names, bandwidths, dimensions, seeds)
def test_kernels_are_symmetric_positive_and_one_at_zero(name, bandwidth, d, seed):
    kernel = make_kernel(name, bandwidth)
    x = points(12, d, seed)
    matrix = kernel_matrix(kernel, x, x)
    torch.testing.assert_close(matrix, matrix.T)
    torch.testing.assert_close(matrix.diagonal(), torch.ones(12, dtype=torch.float64))
    assert torch.linalg.eigvalsh(matrix)[0] > -1e-12


def test_far_points_give_no_denormal_numbers():
    kernel = make_kernel("rbf", 1.0)
    value = kernel.value(torch.linspace(0.0, 1600.0, 1000).double())
    tiny = torch.finfo(torch.float64).tiny
    assert ((value == 0) | (value.square() >= tiny)).all()


def test_a_row_far_from_all_others_does_not_move_a_gaussian_kernel():
    """However small a kernel is there, the square of the distance can be larger."""
    near = CurlFreeForm(make_kernel("rbf", 1.0), points(5, 2, 0))
    far = torch.full((1, 2), 1e100, dtype=torch.float64)
    one, scores = torch.ones(1).double(), torch.zeros(1, 1, 2).double()
    gram, linear = near.accumulate(far, one, scores)
    assert not gram.any()
    assert not linear.any()


def test_distances_are_those_of_the_definition():
    x, y = points(5, 3, 0), points(4, 3, 1)
    expected = (x[:, None] - y[None]).square().sum(-1)
    torch.testing.assert_close(squared_distances(x, y), expected)


@pytest.mark.parametrize("n", [2, 3, 128, 129, 300])
def test_the_median_distance_is_that_of_all_pairs_of_all_sets(n):
    x = torch.stack([points(n, 3, 0), 5.0 * points(n, 3, 1)])
    expected = torch.cat([torch.pdist(each) for each in x]).median()
    assert median_distance(x) == pytest.approx(float(expected), rel=1e-12)


@pytest.mark.parametrize("bandwidth", [0.0, -1.0, float("nan"), float("inf")])
def test_bandwidth_must_be_positive(bandwidth):
    with pytest.raises(ValueError, match=r"bandwidth=.*; choose a positive number"):
        make_kernel("rbf", bandwidth)


def test_unknown_kernel_names_the_known_ones():
    with pytest.raises(ValueError, match="inverse_multiquadric"):
        make_kernel("sigmoid", 1.0)


def build(form: str, name: str, bandwidth: float, d: int, seed: int):
    kernel = make_kernel(name, bandwidth)
    return FORMS[form](kernel, points(6, d, seed))


@quick
@given(forms, names, bandwidths, dimensions, seeds)
def test_divergence_of_a_form_is_the_weighted_trace_of_its_jacobian(
    form, name, bandwidth, d, seed
):
    space = build(form, name, bandwidth, d, seed)
    coefficients = points(6, space.linear_width(), seed + 1)[None]
    metric = points(1, d, seed + 2)[0].abs() + 0.1
    x = points(3, d, seed + 3)
    _, divergence = space.evaluate(x, coefficients, metric)
    for row, found in zip(x, divergence[0], strict=True):

        def field(u):
            return space.evaluate(u[None], coefficients, metric)[0][0, 0]

        expected = (jacobian(field, row).diagonal() * metric).sum()
        torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9)


@quick
@given(names, bandwidths, dimensions, seeds)
def test_curl_free_field_is_the_gradient_of_its_potential(name, bandwidth, d, seed):
    space = build("curl_free", name, bandwidth, d, seed)
    coefficients = points(6, 1, seed + 1)
    x = points(4, d, seed + 2).requires_grad_()
    (gradient,) = torch.autograd.grad(space.potential(x, coefficients).sum(), x)
    metric = torch.ones(d, dtype=torch.float64)
    field, _ = space.evaluate(x.detach(), coefficients[None], metric)
    torch.testing.assert_close(field[0], gradient)


@quick
@given(forms, names, bandwidths, dimensions, seeds)
def test_changes_are_those_of_the_hyvarinen_loss(form, name, bandwidth, d, seed):
    space = build(form, name, bandwidth, d, seed)
    x, weights = points(20, d, seed + 2), points(20, 1, seed + 3)[:, 0].abs()
    metric = points(1, d, seed + 4)[0].square()
    bases = [
        GaussianScore(points(1, d, seed + i)[0], torch.eye(d, dtype=torch.float64))
        for i in (5, 6)
    ]
    basis, gains = points(6, 4, seed + 7), points(3, 4, seed + 8)
    moments = points(8, space.linear_width(), seed + 9).unflatten(0, (2, 4))
    scores = torch.stack([base.score(x) for base in bases])
    fields = FilteredFields(basis, moments, gains)
    found = space.changes(x, weights, scores, metric, fields)
    for base, own, changes in zip(bases, moments, found, strict=True):
        coefficients = -basis @ (gains[..., None] * own)
        parts = space.evaluate(x, coefficients, metric)
        losses = hyvarinen_loss(*parts, x, base, metric)
        alone = hyvarinen_loss(0.0, 0.0, x, base, metric)
        torch.testing.assert_close(changes, (losses - alone) @ weights)


def test_fields_of_many_filters_are_evaluated_on_few_rows_at_once(monkeypatch):
    """All at once are as large as the rows times the filters."""
    d, shapes = 50, []
    evaluate = CurlFreeForm.evaluate

    def noted(*arguments):
        field, divergence = evaluate(*arguments)
        shapes.append(field.shape)
        return field, divergence

    monkeypatch.setattr(CurlFreeForm, "evaluate", noted)
    space = CurlFreeForm(make_kernel("rbf", 5.0), points(8, d, 0))
    x = points(1100, d, 1)
    ones, metric = torch.ones(len(x)).double(), torch.ones(d).double()
    fields = FilteredFields(points(8, 4, 2), points(4, 1, 3)[None], points(90, 4, 4))
    changes = space.changes(x, ones, -x[None], metric, fields)
    assert max(shape.numel() for shape in shapes) <= CHUNK_ELEMENTS
    assert sum(shape[1] for shape in shapes) == len(x)
    values, divergences = evaluate(space, x, fields.coefficients()[0], metric)
    expected = (values * (0.5 * values - x)).sum((1, 2)) + divergences.sum(1)
    torch.testing.assert_close(changes, expected[None])


@quick
@given(forms, names, bandwidths, dimensions, seeds)
def test_gram_matrix_and_linear_term_are_the_quadratic_hyvarinen_loss(
    form, name, bandwidth, d, seed
):
    space = build(form, name, bandwidth, d, seed)
    coefficients = points(6, space.linear_width(), seed + 1)
    x = points(20, d, seed + 2)
    weights = torch.rand(20, generator=torch.Generator().manual_seed(seed)).double()
    weights /= weights.sum()
    precision = torch.eye(d, dtype=torch.float64) * 0.7
    base = GaussianScore(points(1, d, seed + 3)[0], precision)
    gram, linear = space.accumulate(x, weights, base.score(x)[None])
    quadratic = 0.5 * (coefficients.T @ gram @ coefficients).trace()
    quadratic = quadratic + (linear[0] * coefficients).sum()
    both = torch.stack([coefficients, torch.zeros_like(coefficients)])
    metric = torch.ones(d, dtype=torch.float64)
    fields, divergences = space.evaluate(x, both, metric)
    losses = hyvarinen_loss(fields, divergences, x, base, metric) @ weights
    torch.testing.assert_close(quadratic, losses[0] - losses[1], rtol=1e-8, atol=1e-10)


@quick
@given(forms, names, seeds)
def test_norm_bounds_the_field_everywhere(form, name, seed):
    space = build(form, name, 1.0, 2, seed)
    coefficients = points(6, space.linear_width(), seed + 1)
    norm = (coefficients.T @ space.penalty() @ coefficients).trace().sqrt()
    metric = torch.ones(2, dtype=torch.float64)
    x = 3.0 * points(200, 2, seed + 2)
    field, _ = space.evaluate(x, coefficients[None], metric)
    assert field[0].norm(dim=1).max() <= norm * (1 + 1e-9)


@pytest.mark.parametrize("form", sorted(FORMS))
@pytest.mark.parametrize("name", sorted(KERNELS))
def test_steins_identity_holds_on_a_gaussian(form, name):
    """``E[s·f + ∇·f] = 0`` for the true score s, to five standard errors."""
    space = build(form, name, 1.3, 2, seed=0)
    coefficients = points(6, space.linear_width(), 1)[None]
    x = points(40_000, 2, 2)
    field, divergence = space.evaluate(x, coefficients, torch.ones(2).double())
    terms = (-x * field[0]).sum(1) + divergence[0]
    assert terms.mean().abs() < 5 * terms.std() / len(terms) ** 0.5
