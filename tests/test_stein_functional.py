"""Differentiable scores and the gradient of an entropy."""

import math

import numpy as np
import pytest
import torch
from samples import normal as noise

from sklearn_ilvae.stein import entropy_surrogate, stein_score
from sklearn_ilvae.stein.kernels.published import fit_published
from sklearn_ilvae.stein.kernels.radial import KERNELS, make_kernel


@pytest.mark.parametrize("kernel", sorted(KERNELS))
def test_score_at_the_samples_is_the_published_estimator(kernel):
    x = noise(30, 3)
    found = stein_score(x, kernel=kernel, bandwidth=1.5, regularization=0.2)
    expected = fit_published(make_kernel(kernel, 1.5), x, 0.2).in_sample
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kernel", sorted(KERNELS))
def test_score_can_be_differentiated(kernel):
    x = noise(6, 2).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda u: stein_score(u, kernel=kernel, bandwidth=1.1), x
    )


def test_leading_dimensions_are_independent_sets():
    x = noise(2, 3, 20, 2)
    together = stein_score(x, bandwidth=1.0)
    alone = stein_score(x[1, 2], bandwidth=1.0)
    torch.testing.assert_close(together[1, 2], alone)


def test_dtype_of_the_samples_is_kept():
    assert stein_score(noise(10, 2).float()).dtype == torch.float32


@pytest.mark.parametrize(
    ("samples", "given", "message"),
    [
        (noise(5), {}, r"X has shape \(5,\) .* shape \(..., n, d\)"),
        (noise(5, 0), {}, "at least one column"),
        (noise(5, 2).long(), {}, "dtype torch.int64; pass samples in single or double"),
        (noise(5, 2).half(), {}, "dtype torch.float16; pass samples in single or"),
        (noise(1, 2), {}, "at least 2"),
        (noise(5, 2) / 0, {}, "X holds NaN or infinity; .* smaller learning rate"),
        (
            noise(5, 2),
            {"bandwidth": "auto"},
            "bandwidth='auto' is not allowed; .* 'median'",
        ),
        (noise(5, 2), {"bandwidth": 0.0}, "bandwidth=0.0 is not allowed"),
        (
            noise(5, 2),
            {"bandwidth": torch.ones(2)},
            "bandwidth=tensor.* is not allowed",
        ),
        (noise(5, 2).float(), {"bandwidth": 1e200}, "1e\\+200 .* to 3.4e\\+38"),
        (noise(5, 2).float(), {"bandwidth": 1e-30}, "larger bandwidth than 1e-30"),
        (1e-39 * noise(5, 2).float(), {}, "overflows torch.float32; multiply them"),
    ],
)
def test_samples_and_bandwidths_that_mean_nothing_are_explained(
    samples, given, message
):
    with pytest.raises(ValueError, match=message):
        stein_score(samples, **given)


@pytest.mark.parametrize("kind", [np.float32, np.float64, torch.tensor])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_numbers_of_any_library_are_numbers(kind, dtype):
    """The warning of an overflow would be an error here."""
    x = noise(10, 2).to(dtype)
    found = stein_score(x, bandwidth=kind(0.75), regularization=kind(0.25))
    expected = stein_score(x, bandwidth=0.75, regularization=0.25)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_an_array_is_refused_with_the_way_to_a_tensor():
    with pytest.raises(TypeError, match=r"type ndarray; .* torch\.as_tensor\(X\)"):
        stein_score(noise(5, 2).numpy())


def test_score_moves_with_the_samples():
    x = noise(50, 2)
    torch.testing.assert_close(
        stein_score(x + 1e7), stein_score(x), rtol=1e-6, atol=1e-6
    )


def test_gradient_of_a_gaussians_entropy_with_respect_to_its_parameters():
    """For ``x = μ + L ε`` the entropy is ``log det L``: gradients 0 and ``L⁻ᵀ``."""
    mean = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    root = torch.tensor([[1.5, 0.0], [0.7, 0.5]], dtype=torch.float64)
    root.requires_grad_()
    x = mean + noise(1000, 2) @ root.T
    entropy_surrogate(x, regularization=0.01).backward()
    expected = torch.linalg.inv(root.detach()).T
    assert mean.grad.abs().max() < 0.02
    assert (root.grad - expected).norm() < 0.1 * expected.norm()


def test_surrogate_treats_the_score_as_constant():
    x = noise(20, 2).requires_grad_()
    (gradient,) = torch.autograd.grad(entropy_surrogate(x), x)
    torch.testing.assert_close(gradient, -stein_score(x.detach()) / 20)


def test_following_the_entropy_gradient_fits_a_sampler_to_its_target():
    """Maximising ``E[log p] + H`` turns a wide shifted Gaussian into N(0, I)."""
    shift = torch.full((2,), 3.0, dtype=torch.float64, requires_grad=True)
    scale = torch.full((2,), 2.0, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([shift, scale], lr=0.1)
    for step in range(150):
        x = shift + scale * noise(200, 2, seed=step)
        loss = 0.5 * x.square().sum(1).mean()
        loss = loss - entropy_surrogate(x, regularization=0.01)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert shift.detach().abs().max() < 0.2
    assert (scale.detach().abs() - 1).abs().max() < 0.2


@pytest.mark.parametrize("ridge", [0, -1.0, math.nan, math.inf, True, None, "a", [0.1]])
def test_ridge_is_a_positive_number(ridge):
    with pytest.raises(
        ValueError, match=r"regularization=.*; choose a positive number"
    ):
        stein_score(noise(5, 2), regularization=ridge)


def test_a_ridge_lost_to_rounding_is_refused():
    x = noise(100, 2).float()
    with pytest.raises(
        ValueError, match=r"regularization=1e-09 is too small .* double"
    ):
        stein_score(x, regularization=1e-9)
    assert stein_score(x.double(), regularization=1e-9).isfinite().all()


@pytest.mark.parametrize("kernel", sorted(KERNELS))
@pytest.mark.parametrize("unit", [2.0**-100, 2.0**-60, 2.0**60, 2.0**100])
def test_score_scales_with_the_units_of_the_samples(kernel, unit):
    """In single precision the squares of these units vanish or overflow."""
    x = noise(20, 2).float()
    expected = stein_score(x, kernel=kernel) / unit
    torch.testing.assert_close(stein_score(unit * x, kernel=kernel), expected)


def test_equal_samples_need_a_bandwidth():
    with pytest.raises(ValueError, match="pass a number as bandwidth"):
        stein_score(torch.zeros(5, 2))
