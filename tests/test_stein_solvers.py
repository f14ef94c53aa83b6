"""Regularisation filters, and the published estimator against dense evaluations."""

import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import points
from torch.utils._python_dispatch import TorchDispatchMode

from sklearn_ilvae.stein import Settings, fit_score
from sklearn_ilvae.stein.kernels.published import fit_published
from sklearn_ilvae.stein.kernels.radial import (
    KERNELS,
    kernel_gradient,
    kernel_matrix,
    make_kernel,
)
from sklearn_ilvae.stein.kernels.solvers import (
    decompose,
    filter_gains,
    solve,
    whiten,
    whitened_gram,
)

quick = settings(max_examples=20, deadline=None)
seeds = st.integers(0, 2**16)
names = st.sampled_from(sorted(KERNELS))


def dense_in_sample(kernel, x: torch.Tensor, ridge: float) -> torch.Tensor:
    """Evaluate equation 9 of Li & Turner term by term."""
    n = len(x)
    gradients = torch.stack(
        [
            sum(
                -kernel_gradient(kernel, x[i : i + 1], x[k : k + 1])[0, 0]
                for k in range(n)
            )
            for i in range(n)
        ]
    )
    matrix = kernel_matrix(kernel, x, x) + ridge * torch.eye(n, dtype=torch.float64)
    return -torch.linalg.inv(matrix) @ gradients


@quick
@given(names, st.floats(0.05, 2.0), st.integers(1, 3), seeds)
def test_published_estimator_is_equation_9_in_sample(name, ridge, d, seed):
    kernel, x = make_kernel(name, 1.2), points(12, d, seed)
    model = fit_published(kernel, x, ridge)
    expected = dense_in_sample(kernel, x, ridge)
    torch.testing.assert_close(model.in_sample, expected, rtol=1e-10, atol=1e-10)


@quick
@given(names, st.floats(0.05, 2.0), st.integers(1, 3), seeds)
def test_published_estimator_out_of_sample_is_equation_9_with_the_query_added(
    name, ridge, d, seed
):
    """Equation 18 is the last row of equation 9 for the sample and the query."""
    kernel, x, y = make_kernel(name, 1.2), points(10, d, seed), points(3, d, seed + 1)
    model = fit_published(kernel, x, ridge)
    score, _ = model.evaluate(y, torch.ones(d).double())
    expected = torch.stack(
        [dense_in_sample(kernel, torch.cat([x, q[None]]), ridge)[-1] for q in y]
    )
    torch.testing.assert_close(score, expected, rtol=1e-10, atol=1e-10)


@quick
@given(names, st.integers(1, 3), seeds)
def test_published_divergence_matches_automatic_differentiation(name, d, seed):
    kernel, x, y = make_kernel(name, 1.2), points(10, d, seed), points(3, d, seed + 1)
    model = fit_published(kernel, x, 0.3)
    metric = points(1, d, seed + 2)[0].abs()
    _, divergence = model.evaluate(y, metric)
    for row, found in zip(y, divergence, strict=True):

        def score(u):
            return model.evaluate(u[None], metric)[0][0]

        jacobian = torch.autograd.functional.jacobian(score, row)
        expected = (jacobian.diagonal() * metric).sum()
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)


class SolvedNumbers(TorchDispatchMode):
    """Counts the numbers that triangular systems are solved for."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Run an operation, and add the size of what it solved for."""
        result = func(*args, **(kwargs or {}))
        if "solve" in func.name():
            self.count += result.numel()
        return result


def test_a_published_score_without_its_divergence_solves_for_one_number_a_pair():
    """The divergence solves for the derivatives along each coordinate too."""
    x, y = points(40, 5, 0), points(7, 5, 1)
    given = Settings("rbf", method="stein", bandwidth=2.0, regularization=0.3)
    model, _ = fit_score(x, given)
    with SolvedNumbers() as solved:
        score = model.score(y)
    assert solved.count == len(x) * len(y)
    assert torch.equal(score, model.evaluate(y)[0])


def test_published_estimator_does_not_move_with_the_origin():
    x, y = points(40, 2, 0), points(5, 2, 1)
    fixed = Settings(
        kernel="rbf", bandwidth="median", regularization=0.1, method="stein", base=None
    )
    model, _ = fit_score(x, fixed)
    moved, _ = fit_score(x + 1e3, fixed)
    torch.testing.assert_close(
        moved.score(y + 1e3), model.score(y), rtol=1e-7, atol=1e-9
    )


@pytest.mark.parametrize(("bandwidth", "eta"), [(0.5, 0.2), (3.0, 1e-4), (3.0, 1e-6)])
def test_tikhonov_in_sample_is_the_published_estimator_with_ridge_over_n(
    bandwidth, eta
):
    x = points(90, 3, 0)
    shared = {"kernel": "rbf", "form": "diagonal", "bandwidth": bandwidth, "base": None}
    ridge = Settings(regularization=eta / 90, n_landmarks="all", **shared)
    stein = Settings(regularization=eta, method="stein", **shared)
    published = fit_score(x, stein)[0].published
    in_sample = published.in_sample / bandwidth
    torch.testing.assert_close(
        fit_score(x, ridge)[0].score(x), in_sample, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("form", ["diagonal", "curl_free"])
@pytest.mark.parametrize("method", ["tikhonov", "spectral_cutoff", "landweber"])
def test_the_less_regularised_the_closer_to_the_sample_down_to_no_strength(
    method, form
):
    """The loss of the sample falls, and in the limit is the same for all filters."""
    x = points(40, 3, 0)  # few, so that the limit is not one of rounding

    def loss(method, strength):
        given = Settings(
            "rbf", form, bandwidth=1.0, regularization=strength, method=method
        )
        gradient, divergence = fit_score(x, given)[0].evaluate(x)
        return float((0.5 * gradient.square().sum(1) + divergence).mean())

    losses = [loss(method, strength) for strength in (1e-1, 3e-2, 1e-2, 1e-300)]
    assert losses[0] > losses[1] > losses[2] > losses[3]
    assert losses[3] == pytest.approx(loss("tikhonov", 1e-300), rel=1e-9)


def test_spectral_cutoff_is_the_spectral_stein_gradient_estimator():
    """Shi, Sun & Zhu (2018): Nyström eigenfunctions, equations 7, 11 and 12."""
    n, kept = 50, 8
    x, y = points(n, 2, 0), points(6, 2, 1)
    kernel = make_kernel("rbf", 1.0)
    values, vectors = torch.linalg.eigh(kernel_matrix(kernel, x, x))
    values, vectors = values[-kept:], vectors[:, -kept:]
    root = n**0.5
    slopes = kernel_gradient(kernel, x, x)
    gradients = root * torch.einsum("imd,mj->ijd", slopes, vectors) / values[:, None]
    beta = -gradients.mean(0)
    expected = (root * kernel_matrix(kernel, y, x) @ vectors / values) @ beta
    cut = float(values[0]) / n * 0.999
    ssge = Settings(
        kernel="rbf",
        form="diagonal",
        bandwidth=1.0,
        regularization=cut,
        base=None,
        method="spectral_cutoff",
        n_landmarks="all",
    )
    torch.testing.assert_close(
        fit_score(x, ssge)[0].score(y), expected, rtol=1e-6, atol=1e-6
    )


def test_decomposition_diagonalises_both_matrices():
    x = points(30, 2, 0)
    penalty = kernel_matrix(make_kernel("rbf", 0.5), x, x)
    gram = penalty @ penalty / 30
    basis = whiten(penalty).basis
    spectrum = decompose(whitened_gram(gram, basis), basis)
    identity = torch.eye(basis.shape[1], dtype=torch.float64)
    found = spectrum.basis.T @ penalty @ spectrum.basis
    torch.testing.assert_close(found, identity, rtol=0, atol=1e-7)


def test_a_whitened_gram_matrix_is_symmetric_to_the_last_digit():
    x = points(30, 30, 0)
    found = whitened_gram(x @ x.T, points(30, 20, 1))
    assert torch.equal(found, found.T)


@pytest.mark.parametrize(
    ("bandwidth", "n_null"), [(0.1, 0), (50.0, 1)], ids=["full rank", "null directions"]
)
def test_whitening_leaves_out_only_null_directions(bandwidth, n_null):
    x = points(40, 2, 0)
    penalty = kernel_matrix(make_kernel("rbf", bandwidth), x, x)
    basis = whiten(penalty).basis
    identity = torch.eye(basis.shape[1], dtype=torch.float64)
    found = basis.T @ penalty @ basis
    torch.testing.assert_close(found, identity, rtol=0, atol=1e-2 if n_null else 1e-9)
    assert (basis.shape[1] < len(x)) == bool(n_null)


def test_leading_pivots_are_those_of_a_rougher_factor():
    x = points(60, 2, 0)
    penalty = kernel_matrix(make_kernel("rbf", 4.0), x, x)
    fine, rough = whiten(penalty, 1e-16), whiten(penalty, 1e-13)
    found = fine.leading(1e-13)
    assert len(fine.pivots) > len(rough.pivots)
    assert torch.equal(found.pivots, rough.pivots)
    assert torch.equal(found.root, rough.root)


def test_the_largest_pivots_come_first_where_some_are_small():
    whitening = whiten(torch.tensor([1.0, 1e-12, 1.0]).double().diag())
    assert whitening.pivots.tolist() == [0, 2, 1]
    assert whitening.leading(1e-11).pivots.tolist() == [0, 2]


def test_pivots_in_no_order_are_all_leading():
    x = 10.0 * points(6, 2, 0)
    x[1] = x[0] + 1e-3
    penalty = kernel_matrix(make_kernel("rbf", 1.0), x, x)
    whitening = whiten(penalty)
    assert torch.equal(whitening.pivots, torch.arange(6))
    assert len(whitening.leading(1e-2).pivots) == 6


@pytest.mark.parametrize("strength", [1e-1, 1e-4, 1e-12])
@pytest.mark.parametrize("bandwidth", [0.1, 0.5, 1.0])
def test_ridge_is_the_tikhonov_filter_of_the_decomposition(bandwidth, strength):
    x = points(40, 2, 0)
    kernel = make_kernel("inverse_multiquadric", bandwidth)
    penalty = kernel_matrix(kernel, x, x)
    u = kernel_matrix(kernel, points(200, 2, 1), x)
    gram, linear = u.T @ u / 200, u.T @ points(200, 3, 2) / 200
    whitening = whiten(penalty)
    basis = whitening.basis
    spectrum = decompose(whitened_gram(gram, basis), basis)
    gains = 1.0 / (spectrum.eigenvalues[None] + strength)
    expected = u @ spectrum.filtered(linear[None], gains).coefficients()[0, 0]
    found = u @ solve("tikhonov", gram, whitening, linear, strength, 1.0)
    error = (found - expected).norm() / expected.norm()
    assert error < 1e-8


@pytest.mark.parametrize("bound", [2.0, 50.0])
@pytest.mark.parametrize("method", ["spectral_cutoff", "nu", "landweber"])
def test_a_solution_is_the_filter_of_the_decomposition(method, bound):
    x, strength = points(20, 2, 0), 1e-2
    u = kernel_matrix(make_kernel("rbf", 0.3), points(90, 2, 1), x)
    gram, linear = u.T @ u / 90, u.T @ points(90, 3, 2) / 90
    whitening = whiten(kernel_matrix(make_kernel("rbf", 0.3), x, x))
    spectrum = decompose(whitened_gram(gram, whitening.basis), whitening.basis)
    one = linear.new_tensor([strength])
    gains = filter_gains(method, spectrum.eigenvalues, one, bound)
    expected = spectrum.filtered(linear[None], gains).coefficients()[0, 0]
    found = solve(method, gram, whitening, linear, strength, bound)
    torch.testing.assert_close(found, expected)


def test_a_ridge_below_the_rounding_of_the_gram_matrix_is_not_solved():
    x = points(40, 2, 0)
    whitening = whiten(kernel_matrix(make_kernel("rbf", 0.1), x, x))
    u = points(5, 40, 1)
    rounded = u.T @ u - 1e-12 * torch.eye(40, dtype=torch.float64)
    inner = whitening.basis.T @ rounded @ whitening.basis
    assert torch.linalg.eigvalsh(inner)[0] < -1e-15
    linear = u.T @ points(5, 2, 2)
    assert solve("tikhonov", rounded, whitening, linear, 1e-15, 1.0) is None
    assert solve("spectral_cutoff", rounded, whitening, linear, 1e-15, 1.0) is None
    assert solve("tikhonov", rounded, whitening, linear, 1e-3, 1.0) is not None


eigenvalues = torch.tensor([0.0, 1e-6, 1e-3, 0.1, 1.0], dtype=torch.float64)


@pytest.mark.parametrize("method", ["tikhonov", "spectral_cutoff", "nu", "landweber"])
def test_filters_approach_the_inverse_as_regularisation_vanishes(method):
    strength = torch.tensor([1e-6]).double()
    gains = filter_gains(method, eigenvalues, strength, 1.0)[0]
    large = eigenvalues >= 1e-2
    torch.testing.assert_close(
        gains[large] * eigenvalues[large], torch.ones(2).double(), rtol=1e-3, atol=0
    )
    assert torch.isfinite(gains).all()


@pytest.mark.parametrize("method", ["nu", "landweber"])
def test_iterative_filters_equal_their_iterations(method):
    """Iterate on numbers, ``f ← f − ω(σf − 1) + μ(f − f₋)``, for seven steps."""
    steps = 7
    gain, before = torch.zeros(5).double(), torch.zeros(5).double()
    for t in range(1, steps + 1):
        omega, mu = 1.0, 0.0
        if method == "nu":
            omega = 4 * (2 * t + 1) * t / ((t + 1) * (2 * t + 3))
            mu = (t - 1) * (2 * t - 3) * (2 * t + 1)
            mu /= (t + 1) * (2 * t + 3) * (2 * t - 1)
        after = gain - omega * (eigenvalues * gain - 1) + mu * (gain - before)
        before, gain = gain, after
    power = 2 if method == "nu" else 1
    strength = torch.tensor([1 / steps**power * 1.0001]).double()
    found = filter_gains(method, eigenvalues, strength, 1.0)[0]
    torch.testing.assert_close(found, gain)


@pytest.mark.parametrize("method", ["nu", "landweber"])
def test_an_eigenvalue_rounded_beyond_the_bound_is_filtered_as_the_bound(method):
    rounded = torch.tensor([2.0, 2.0 * (1.0 + 1e-12)], dtype=torch.float64)
    gains = filter_gains(method, rounded, torch.tensor([1e-2]).double(), 2.0)[0]
    assert gains[0] == gains[1]


def test_a_cut_off_keeps_what_is_no_smaller_than_the_strength():
    strengths = torch.tensor([0.1, 1e-3], dtype=torch.float64)
    gains = filter_gains("spectral_cutoff", eigenvalues, strengths, 1.0)
    expected = torch.tensor([[0.0, 0, 0, 10, 1], [0, 0, 1e3, 10, 1]]).double()
    torch.testing.assert_close(gains, expected)


def test_a_filter_keeps_what_was_asked_for_in_the_order_asked_for():
    strengths = torch.tensor([1e-2, 1.0, 1e-2, 1e-6]).double()
    together = filter_gains("nu", eigenvalues, strengths, 1.0)
    alone = [filter_gains("nu", eigenvalues, s[None], 1.0)[0] for s in strengths]
    torch.testing.assert_close(together, torch.stack(alone), rtol=0, atol=0)


class LiveTensors(TorchDispatchMode):
    """Counts the results of operations that are alive, and the most at a time."""

    def __init__(self):
        super().__init__()
        self.references, self.most = {}, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            key = object()
            self.references[key] = weakref.ref(
                result, lambda _: self.references.pop(key)
            )
        self.most = max(self.most, len(self.references))
        return result


def test_the_iterates_between_are_not_kept():
    strengths = torch.tensor([1e-6, 1e-4]).double()
    with LiveTensors() as live:
        filter_gains("nu", eigenvalues, strengths, 1.0)
    assert live.most < 20


def test_unknown_method_names_the_known_ones():
    with pytest.raises(ValueError, match="spectral_cutoff"):
        filter_gains("lasso", eigenvalues, torch.ones(1).double(), 1.0)


@pytest.mark.parametrize(("apart", "ridge"), [(0.0, 1e-300), (100.0, 1e-17)])
def test_a_ridge_lost_to_rounding_is_explained(apart, ridge):
    """Of equal rows in their matrix, of others in what a score is divided by."""
    x = apart * torch.arange(10.0).double().view(5, 2)
    with pytest.raises(ValueError, match="choose a larger one"):
        fit_published(make_kernel("rbf", 1.0), x, ridge)
