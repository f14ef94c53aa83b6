"""Likelihoods of counts are exact, whatever the count, the rate and the size."""

import mpmath
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sklearn_ilvae.vae.likelihoods import COUNTS, MixedLikelihood


def exact_poisson(value, log_rate):
    """Log-probability, and its slope in log m, from sixty digits."""
    with mpmath.workdps(60):
        v, m = mpmath.mpf(value), mpmath.exp(log_rate)
        return float(v * log_rate - m - mpmath.loggamma(v + 1)), float(v - m)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@given(
    value=st.integers(0, 600) | st.integers(0, 10**8),
    log_ratio=st.floats(-20, 10) | st.floats(-1e-3, 1e-3),
)
@example(value=0, log_ratio=-18.0)
@example(value=10**5, log_ratio=0.0)
@example(value=10**7, log_ratio=0.0)
@settings(max_examples=200, deadline=None)
def test_the_poisson_is_exact_whatever_the_count(dtype, value, log_ratio):
    likelihood = MixedLikelihood(["poisson"]).to(dtype)
    row = torch.tensor([[value]], dtype=dtype)
    natural = (row.clamp(min=1).log() + log_ratio).clamp(max=39).requires_grad_()
    found = likelihood.log_prob(row, natural)
    found.backward()
    expected, slope = exact_poisson(row.item(), natural.item())
    # What a rounding of the logarithm of the rate alone costs, and some more.
    rounding = torch.finfo(dtype).eps * (1 + abs(natural.item()))
    lost = rounding * abs(slope)
    assert found.item() == pytest.approx(expected, rel=10 * rounding, abs=3 * lost)
    lost = 2 * torch.finfo(dtype).eps * row.item() * (1 + abs(natural.item()))
    assert natural.grad.item() == pytest.approx(slope, rel=2 * rounding, abs=lost)


def exact_negative_binomial(value, log_rate, log_size):
    """Log-probability, and its slopes in log m and log r, from sixty digits."""
    with mpmath.workdps(60):
        v, m, r = mpmath.mpf(value), mpmath.exp(log_rate), mpmath.exp(log_size)
        log_prob = mpmath.loggamma(v + r) - mpmath.loggamma(r) - mpmath.loggamma(v + 1)
        log_prob += v * mpmath.log(m / (m + r)) + r * mpmath.log(r / (m + r))
        by_rate = (v - m) * r / (m + r)
        by_size = mpmath.psi(0, v + r) - mpmath.psi(0, r) + mpmath.log(r / (m + r))
        return float(log_prob), float(by_rate), float(r * by_size - by_rate)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@given(
    log_size=st.floats(-6, 60),
    value=st.integers(0, 100) | st.integers(0, 10**12),
    log_ratio=st.floats(-20, 10) | st.floats(-1e-3, 1e-3),
)
@example(log_size=2.875, value=1, log_ratio=0.0)
@example(log_size=2.0, value=3, log_ratio=-200.0)
@settings(max_examples=200, deadline=None)
def test_the_negative_binomial_is_exact_whatever_size_and_count(
    dtype, log_size, value, log_ratio
):
    likelihood = MixedLikelihood(["negative_binomial"]).to(dtype)
    (head,) = likelihood.heads
    torch.nn.init.constant_(head.log_size, log_size)
    row = torch.tensor([[value]], dtype=dtype)
    natural = (row.clamp(min=1).log() + log_ratio).clamp(max=39).requires_grad_()
    found = likelihood.log_prob(row, natural)
    found.backward()
    expected, by_rate, by_size = exact_negative_binomial(
        row.item(), natural.item(), head.log_size.item()
    )
    # What a rounding of the logarithm of the rate alone costs, and some more.
    rounding = torch.finfo(dtype).eps * (1 + abs(natural.item()))
    lost = rounding * (1 + abs(by_rate))
    assert found.item() == pytest.approx(expected, rel=20 * rounding, abs=20 * lost)
    share = torch.sigmoid(head.log_size.double() - natural.double()).item()
    lost = rounding * (1 + row.item() * share)
    assert natural.grad.item() == pytest.approx(by_rate, rel=2 * rounding, abs=2 * lost)
    lost = rounding * (1 + abs(by_rate))
    found_slope = head.log_size.grad.item()
    assert found_slope == pytest.approx(by_size, rel=300 * rounding, abs=300 * lost)


@pytest.mark.parametrize("family", COUNTS)
@given(st.floats(-6, 60), st.integers(0, 10**12), st.sampled_from([0, 1e-3, 1]))
@settings(deadline=None)
def test_no_count_has_a_probability_above_one(family, log_size, value, log_ratio):
    likelihood = MixedLikelihood([family])
    for dtype in (torch.float32, torch.float64):
        likelihood = likelihood.to(dtype)
        if family == "negative_binomial":
            torch.nn.init.constant_(likelihood.heads[0].log_size, log_size)
        row = torch.tensor([[value]], dtype=dtype)
        natural = row.clamp(min=1).log() + log_ratio
        rounding = 50 * torch.finfo(dtype).eps
        assert likelihood.log_prob(row, natural).item() <= rounding


def test_a_negative_binomial_of_huge_size_is_poisson_in_float32():
    counts = torch.arange(11.0)[:, None]
    natural = torch.full((11, 1), 2.2)
    poisson = MixedLikelihood(["poisson"]).log_prob(counts, natural)
    likelihood = MixedLikelihood(["negative_binomial"])
    for log_size in (17.0, 20.0, 24.0, 1000.0):
        torch.nn.init.constant_(likelihood.heads[0].log_size, log_size)
        found = likelihood.log_prob(counts, natural)
        torch.testing.assert_close(found, poisson, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", COUNTS)
@given(st.floats(-5, 100), st.integers(0, 10**6))
@settings(deadline=None)
def test_scores_of_counts_are_gradients_above_the_largest_rate_too(
    family, log_rate, value
):
    likelihood = MixedLikelihood([family]).double()
    row = torch.tensor([[float(value)]], dtype=torch.float64)
    natural = torch.tensor([[log_rate]], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(likelihood.log_prob(row, natural), natural)
    torch.testing.assert_close(likelihood.score(row, natural), gradient)


@pytest.mark.parametrize("family", COUNTS)
@pytest.mark.parametrize("count", [0.1, 1.0, 1e14, 2.0**53])
def test_a_column_starts_at_its_mean_however_large(family, count):
    likelihood = MixedLikelihood([family]).double()
    rows = torch.tensor([[0.0], [2 * count]], dtype=torch.float64)
    halves = torch.full((2,), 0.5, dtype=torch.float64)
    likelihood.start_at(halves[:1], rows, halves)
    mean = likelihood.mean(torch.zeros_like(rows[:1]))
    torch.testing.assert_close(mean, rows[1:] / 2)


def test_counts_far_above_lie_twenty_standard_deviations_above_their_rates():
    """Of the rates 1 and 1/4, in columns of any family; of one at least."""
    likelihood = MixedLikelihood(["poisson", "negative_binomial"])
    rows = torch.tensor(
        [[21, 29], [22, 29], [21, 30], [torch.nan, 30], [22, torch.nan]]
    )
    found = likelihood.have_counts_far_above(rows, torch.zeros(5, 2))
    assert found.tolist() == [False, True, True, True, True]
    small = torch.full((2, 2), 0.25).log()  # whose deviations count as 1
    found = likelihood.have_counts_far_above(torch.tensor([[20, 0], [21, 0]]), small)
    assert found.tolist() == [False, True]


def test_a_negative_binomial_of_no_size_has_all_mass_at_zero():
    likelihood = MixedLikelihood(["negative_binomial"])
    torch.nn.init.constant_(likelihood.heads[0].log_size, -1000.0)
    found = likelihood.log_prob(torch.tensor([[0.0], [5.0]]), torch.ones(2, 1))
    found.sum().backward()
    assert found[0].item() == pytest.approx(0)
    assert -100 < found[1].item() < -30
    assert likelihood.heads[0].log_size.grad.isfinite()


@pytest.mark.parametrize(
    ("counts", "size"), [([0, 6], 9 / 6), ([2, 2], 1e3), ([0] * 99 + [99], 0.1)]
)
def test_a_negative_binomial_starts_at_the_variance_of_its_column(counts, size):
    """By the size, mean² / (variance − mean), from 0.1 to 1000."""
    likelihood = MixedLikelihood(["negative_binomial"]).double()
    rows = torch.tensor(counts).double()[:, None]
    shares = torch.full((len(rows),), 1 / len(rows)).double()
    likelihood.start_at(torch.ones(1), rows, shares)
    assert likelihood.heads[0].log_size.exp().item() == pytest.approx(size)
