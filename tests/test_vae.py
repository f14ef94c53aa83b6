"""Priors, bounds and networks, against closed forms."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from autoencoders import correlated_rows, randomise, started_model
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import normal
from scipy import stats
from torch import distributions

from sklearn_ilvae.vae import (
    DECODERS,
    Architecture,
    VariationalAutoencoder,
    evidence_lower_bound,
    importance_weighted_bound,
    make_decoder,
    shared_noise,
)
from sklearn_ilvae.vae.networks import ACTIVATIONS, converted
from sklearn_ilvae.vae.priors import MixturePrior, StandardNormalPrior


def random_mixture(n_components=3, n_mixture_components=5):
    return randomise(MixturePrior(n_components, n_mixture_components).double(), 1.0, 0)


class TestPrior:
    @given(st.integers(1, 4), st.integers(1, 9), st.sampled_from([0.1, 1.0, 4.0]))
    @settings(deadline=None)
    def test_mixture_has_mean_zero_and_unit_variance(
        self, n_components, n_mixture_components, size
    ):
        prior = MixturePrior(n_components, n_mixture_components).double()
        log_weights, means, variances = randomise(prior, size, 0).components()
        weights = log_weights.exp()
        zero = torch.zeros(n_components, dtype=torch.float64)
        torch.testing.assert_close(weights @ means, zero)
        torch.testing.assert_close(weights @ (variances + means**2), zero + 1)

    def test_mixture_log_prob_is_that_of_torch_distributions(self):
        prior = random_mixture()
        log_weights, means, variances = prior.components()
        clusters = distributions.Normal(means, variances.sqrt())
        expected = distributions.MixtureSameFamily(
            distributions.Categorical(logits=log_weights),
            distributions.Independent(clusters, 1),
        )
        codes = normal(6, 50, 3)
        torch.testing.assert_close(prior.log_prob(codes), expected.log_prob(codes))

    @pytest.mark.parametrize("prior", [StandardNormalPrior(2), random_mixture(2)])
    def test_marginals_integrate_the_joint_density(self, prior):
        grid = torch.linspace(-12, 12, 4001, dtype=torch.float64)
        here = normal(5)
        points = torch.stack(torch.broadcast_tensors(here[:, None], grid), dim=-1)
        integral = torch.trapezoid(prior.log_prob(points).exp(), grid)
        marginal = prior.marginal_log_prob(points[:, 0])[:, 0].exp()
        torch.testing.assert_close(integral, marginal)

    @pytest.mark.parametrize("prior", [StandardNormalPrior(3), random_mixture()])
    def test_samples_follow_the_density(self, prior):
        with torch.no_grad():
            codes = prior.sample(20_000, torch.Generator().manual_seed(0)).double()
            grid = torch.linspace(-9, 9, 4001, dtype=torch.float64)
            density = prior.marginal_log_prob(grid[:, None].expand(-1, 3)).exp()
        distribution = torch.cumulative_trapezoid(density, grid, dim=0)
        for unit in range(3):
            values = np.interp(codes[:, unit], grid[1:], distribution[:, unit])
            assert stats.kstest(values, "uniform").pvalue > 1e-3
        # One number that depends on all units together: the entropy.
        with torch.no_grad():
            again = prior.sample(20_000, torch.Generator().manual_seed(1)).double()
            first, second = prior.log_prob(codes), prior.log_prob(again)
        error = (first.var() / len(first) + second.var() / len(second)).sqrt()
        assert (first.mean() - second.mean()).abs() < 4 * error

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("make", [StandardNormalPrior, random_mixture])
    def test_codes_are_drawn_in_the_dtype_of_the_module(self, make, dtype):
        codes = make(2).to(dtype).sample(3, torch.Generator())
        assert codes.dtype == dtype

    def test_normal_divergence_is_that_of_torch_distributions(self):
        mean, log_variance = normal(20, 3), normal(20, 3, seed=1)
        expected = distributions.kl_divergence(
            distributions.Normal(mean, (0.5 * log_variance).exp()),
            distributions.Normal(torch.zeros(3, dtype=torch.float64), 1.0),
        )
        divergence = StandardNormalPrior(3).kl_divergence(mean, log_variance)
        torch.testing.assert_close(divergence, expected)


def linear_model(n_components):
    """A linear-Gaussian model and the exact log-likelihood of its rows."""
    rows = correlated_rows(200, 5, 2, seed=0)
    model = started_model(rows, "mlp", n_components)
    with torch.no_grad():
        loadings = model.decoder.linear
        covariance = loadings @ loadings.T + model.likelihood.heads[0].variance().diag()
    exact = stats.multivariate_normal(np.zeros(5), covariance.numpy()).logpdf(rows)
    return model, rows, torch.from_numpy(exact)


class TestBounds:
    def test_importance_weighted_bound_reaches_the_likelihood(self):
        model, rows, exact = linear_model(2)
        with torch.no_grad():
            bound = importance_weighted_bound(model, rows, shared_noise(4096, 2, 0))
        torch.testing.assert_close(bound, exact, rtol=0, atol=0.01)

    def test_evidence_lower_bound_is_exact_in_expectation(self):
        # With as many units as columns the noise is the same in all columns, so that
        # the exact posterior has independent units, as the encoder's has.
        model, rows, exact = linear_model(5)
        noise = shared_noise(8192, 5, 0)[:, None]
        with torch.no_grad():
            bound = evidence_lower_bound(model, rows, noise)
        assert (bound - exact).mean().abs() < 0.01

    @pytest.mark.parametrize("n_mixture_components", [0, 4])
    def test_bounds_are_ordered(self, n_mixture_components):
        rows = correlated_rows(30, 5, 2, seed=1)
        model = started_model(
            rows, "anchored", 2, n_mixture_components=n_mixture_components
        )
        torch.nn.init.constant_(model.encoder.log_variance, -1.0)
        noise = normal(1000, 2)
        with torch.no_grad():
            bounds = [evidence_lower_bound(model, rows, noise[:, None]).mean()]
            for n_draws in (5, 50, 500):
                groups = [
                    importance_weighted_bound(model, rows, each).mean()
                    for each in noise.split(n_draws)
                ]
                bounds.append(torch.stack(groups).mean())
        assert bounds == sorted(bounds)
        assert bounds[-1] > bounds[0] + 0.5

    def test_divergence_enters_with_its_weight(self):
        rows = correlated_rows(50, 5, 2, seed=2)
        model = started_model(rows, "anchored", 2)
        noise = normal(50, 2)
        with torch.no_grad():
            none, one, four = (
                evidence_lower_bound(model, rows, noise, weight) for weight in (0, 1, 4)
            )
            mean, log_variance = model.encoder(rows)
            divergence = model.prior.kl_divergence(mean, log_variance).sum(-1)
        torch.testing.assert_close(none - one, divergence)
        torch.testing.assert_close(none - four, 4 * divergence)

    def test_closed_form_divergence_equals_its_estimate(self):
        """A mixture of one Gaussian is the standard normal, estimated from draws."""
        rows = correlated_rows(50, 5, 2, seed=3)
        closed = started_model(rows, "anchored", 2)
        drawn = started_model(rows, "anchored", 2, n_mixture_components=1)
        drawn.load_state_dict(closed.state_dict(), strict=False)
        noise = shared_noise(8192, 2, 0)[:, None]
        with torch.no_grad():
            bounds = [
                evidence_lower_bound(each, rows, noise) for each in (closed, drawn)
            ]
        torch.testing.assert_close(*bounds, rtol=0, atol=0.01)


class TestSharedNoise:
    def test_is_standard_normal_in_every_unit(self):
        noise = shared_noise(4096, 8, seed=0).numpy()
        for unit in noise.T:
            assert stats.kstest(unit, "norm").statistic < 1e-3
        np.testing.assert_allclose(np.cov(noise.T), np.eye(8), atol=0.01)

    @pytest.mark.parametrize("n_draws", [1, 100, 5000])
    def test_repeats_no_draw(self, n_draws):
        noise = shared_noise(n_draws, 2, seed=1)
        assert noise.isfinite().all()
        assert len(noise.unique(dim=0)) == n_draws

    def test_depends_on_the_seed_alone(self):
        before = torch.random.get_rng_state()
        noise = shared_noise(10, 2, seed=3)
        assert torch.equal(noise, shared_noise(10, 2, seed=3))
        assert not torch.equal(noise, shared_noise(10, 2, seed=4))
        assert torch.equal(before, torch.random.get_rng_state())


@given(
    st.sampled_from(sorted(ACTIVATIONS)),
    st.sampled_from([torch.float32, torch.float64]),
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20),
)
def test_activations_rise_and_do_not_depend_on_autograd(
    name: str, dtype: torch.dtype, points: list[float]
) -> None:
    inputs = torch.tensor(points, dtype=dtype).sort().values
    rounding = 2 * torch.finfo(dtype).eps
    training = ACTIVATIONS[name](inputs)
    with torch.no_grad():
        values = ACTIVATIONS[name](inputs)
    torch.testing.assert_close(values, training, rtol=rounding, atol=rounding)
    assert (values.diff() >= -rounding * values[1:].abs().clamp(min=1)).all()


def test_no_row_moves_a_log_variance_by_more_than_ten():
    rows = correlated_rows(40, 5, 2, seed=0)
    encoder = randomise(started_model(rows, "mlp", 2), 1.0, 0).encoder
    with torch.no_grad():
        moved = encoder(1e6 * rows)[1] - encoder.log_variance
    torch.testing.assert_close(moved.abs(), torch.full_like(moved, 10.0))


@pytest.mark.parametrize("family", DECODERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_converted_network_computes_as_a_deep_copy_does(family, dtype):
    rows = correlated_rows(40, 5, 2, seed=0)
    rows[:, 4] = torch.arange(40) % 3
    kinds = ("gaussian",) * 4 + ("ordinal",)
    levels = (1,) * 4 + (3,)
    model = started_model(rows, family, 2, likelihood=kinds, n_levels=levels)
    before = deepcopy(model.state_dict())
    twin = converted(model, torch.device("cpu"), dtype)
    expected = deepcopy(model).to(dtype)
    for name, tensor in expected.state_dict().items():
        assert torch.equal(twin.state_dict()[name], tensor)
        assert twin.state_dict()[name].dtype == tensor.dtype
    rows = rows.to(dtype)
    for found, codes in zip(twin.encoder(rows), expected.encoder(rows), strict=True):
        assert torch.equal(found, codes)
        assert torch.equal(twin.decoder(found), expected.decoder(codes))
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])
        assert tensor.dtype == before[name].dtype


@pytest.mark.parametrize("family", DECODERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("default", [torch.float32, torch.float64])
def test_a_network_has_the_dtype_of_its_directions(family, dtype, default):
    rows, noise = torch.ones(2, 3, dtype=dtype), torch.zeros(1, 2, dtype=dtype)
    directions = torch.eye(3, dtype=dtype)[:, :2]
    shape = Architecture(family, 2, ("student_t",) * 3, (4,), "elu", 0.1, 2)
    before = torch.get_default_dtype()
    torch.set_default_dtype(default)
    try:
        model = VariationalAutoencoder(shape, directions)
        decoder = make_decoder(family, directions, (4,), "elu", 0.1)
        assert evidence_lower_bound(model, rows, noise).dtype == dtype
        assert importance_weighted_bound(model, rows, noise).dtype == dtype
        assert decoder(noise).dtype == dtype
    finally:
        torch.set_default_dtype(before)


@pytest.mark.parametrize("family", DECODERS)
def test_torch_exports_every_decoder(family):
    decoder = started_model(correlated_rows(40, 5, 2, seed=0), family, 2).decoder
    size = {0: torch.export.Dim("n_rows")}
    codes = torch.zeros(3, 2, dtype=torch.float64)
    exported = torch.export.export(decoder, (codes,), dynamic_shapes=(size,)).module()
    more = correlated_rows(5, 2, 1, seed=1)
    torch.testing.assert_close(exported(more), decoder(more))
