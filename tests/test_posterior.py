"""The Gaussian that codes are drawn from, against posteriors that are known."""

from math import log

import pytest
import torch
from autoencoders import CERTIFIED, correlated_rows, randomise, started_model
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import normal

from sklearn_ilvae.vae import (
    drawn_rows,
    expected_rows,
    importance_log_weights,
    importance_weighted_bound,
    shared_noise,
)
from sklearn_ilvae.vae.posterior import fit_posterior, log_joint
from sklearn_ilvae.vae.priors import MixturePrior, StandardNormalPrior


def linear_model(seed=0):
    """A linear Gaussian model of two correlated units, whose encoder is wrong."""
    rows = correlated_rows(40, 5, 2, seed)
    model = started_model(rows, "mlp", 2)
    with torch.no_grad():
        model.decoder.linear.copy_(normal(5, 2, seed=seed))
        model.encoder.log_variance.add_(normal(2, seed=seed + 1))
    return model, rows


def likelihood_by_quadrature(model, rows, widest, n_codes):
    """Return the log-likelihood of rows by a sum over codes of a single unit."""
    codes = torch.linspace(-widest, widest, n_codes).double()[:, None, None]
    joint = model.likelihood.log_prob(rows, model.decoder(codes))
    total = (joint + model.prior.log_prob(codes)).logsumexp(0)
    return total + log(2 * widest / (n_codes - 1))


def exact_posterior(model, row):
    """Return mean and covariance of the code of a row, by its observed columns."""
    seen = ~row.isnan()
    loadings = model.decoder.linear[seen]
    scaled = loadings.T / model.likelihood.heads[0].variance()[seen]
    covariance = torch.linalg.inv(scaled @ loadings + torch.eye(2).double())
    origin = model.decoder(torch.zeros(1, 2).double())[0, seen]
    return covariance @ scaled @ (row[seen] - origin), covariance


@pytest.mark.parametrize("gaps", [False, True])
@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_the_posterior_of_a_linear_gaussian_model_is_found_exactly(gaps, seed):
    model, rows = linear_model(seed)
    if gaps:
        rows = rows.masked_fill(normal(*rows.shape, seed=seed) > 0.5, torch.nan)
    with torch.no_grad():
        fitted = fit_posterior(model, rows, gaps)
        expected = [exact_posterior(model, row) for row in rows]
    means, covariances = map(torch.stack, zip(*expected, strict=True))
    # The start is linear up to the last bits of its networks.
    close = {"rtol": 1e-5, "atol": 1e-5}
    torch.testing.assert_close(fitted.mean, means, **close)
    covariance = fitted.factor @ fitted.factor.mT
    torch.testing.assert_close(covariance, covariances, **close)
    volume = 0.5 * torch.logdet(covariances)
    torch.testing.assert_close(fitted.log_volume, volume, **close)


@pytest.mark.parametrize("gaps", [False, True])
def test_few_draws_give_the_likelihood_where_the_encoder_is_wrong(gaps):
    model, rows = linear_model()
    if gaps:
        rows[::2, ::2] = torch.nan
    with torch.no_grad():
        covariance = model.decoder.linear @ model.decoder.linear.T
        covariance += model.likelihood.heads[0].variance().diag()
        centre = model.decoder(torch.zeros(1, 2).double())[0]
        bound = importance_weighted_bound(model, rows, shared_noise(64, 2, 0))
    for row, found in zip(rows, bound, strict=True):
        seen = ~row.isnan()
        exact = torch.distributions.MultivariateNormal(
            centre[seen], covariance[seen][:, seen]
        )
        assert abs(found - exact.log_prob(row[seen])) < 0.02


@settings(max_examples=20, deadline=None)
@given(
    st.sampled_from(CERTIFIED),
    st.sampled_from([0, 4]),
    st.integers(0, 2**32 - 1),
    st.floats(0.1, 2),
)
def test_weights_are_those_of_the_density_that_codes_are_drawn_from(
    family, clusters, seed, size
):
    rows = correlated_rows(20, 4, 2, seed=0)
    model = started_model(rows, family, 2, n_mixture_components=clusters)
    randomise(model, size, seed)
    noise = normal(30, 2)
    rows[:5, 1] = torch.nan
    with torch.no_grad():
        codes, log_weights = importance_log_weights(model, rows, noise)
        drawn = fit_posterior(model, rows, gaps=True).broadened()
        density = torch.distributions.MultivariateNormal(
            drawn.mean, scale_tril=torch.linalg.cholesky(drawn.factor @ drawn.factor.mT)
        )
        prior, fitted = model.prior.log_prob(codes), density.log_prob(codes)
        joint = model.likelihood.log_prob(rows, model.decoder(codes)) + prior
        expected = joint - fitted
        # The power heuristic, of 24 and 6 draws.
        fitted, prior = log(24 / 30) + fitted[:, :5], log(6 / 30) + prior[:, :5]
        own = torch.cat([fitted[:24], prior[24:]])
        both = torch.logaddexp(2 * fitted, 2 * prior)
        expected[:, :5] = joint[:, :5] + own - both
    torch.testing.assert_close(log_weights, expected, rtol=1e-6, atol=1e-6)


def clustered_model(distance=8.0):
    """A model of a unit whose prior is two clusters, far apart."""
    rows = correlated_rows(40, 3, 1, seed=0)
    model = started_model(rows, "anchored", 1, n_mixture_components=2)
    with torch.no_grad():
        model.prior.raw_means.copy_(torch.tensor([[-distance / 2], [distance / 2]]))
    return model, rows


def test_a_row_without_values_has_the_log_likelihood_zero():
    model, rows = clustered_model()
    noise = shared_noise(100, 1, 0)
    with torch.no_grad():
        bound = importance_weighted_bound(model, rows[:1] * torch.nan, noise)
    assert abs(bound) < 0.1


@pytest.mark.parametrize("n_draws", [640, 1000])
@pytest.mark.parametrize("distance", [6.0, 8.0])
def test_many_draws_give_the_log_likelihood_of_a_row_without_values(distance, n_draws):
    model, rows = clustered_model(distance)
    noise = shared_noise(n_draws, 1, 0)
    with torch.no_grad():
        bound = importance_weighted_bound(model, rows[:1] * torch.nan, noise)
    assert abs(bound) < 0.01


def test_a_row_without_values_is_expected_at_the_mean_of_all_clusters():
    model, _ = clustered_model()
    empty, noise = torch.full((500, 3), torch.nan).double(), shared_noise(100, 1, 0)
    with torch.no_grad():
        codes = model.prior.sample(4000, torch.Generator().manual_seed(0))
        drawn = model.likelihood.sample(model.decoder(codes), torch.Generator())
        expected = expected_rows(model, empty, noise)
        filled = drawn_rows(model, empty, noise, torch.Generator().manual_seed(0))
    torch.testing.assert_close(expected[0], drawn.mean(0), rtol=0, atol=0.15)
    torch.testing.assert_close(filled.std(0), drawn.std(0), rtol=0.2, atol=0)


@pytest.mark.parametrize("n_draws", [5, 6, 8, 9])
def test_a_single_draw_from_the_prior_has_its_variance(n_draws):
    """Over many seeds of the noise."""
    model, rows = clustered_model(distance=2.0)
    empty = rows[:1] * torch.nan
    noises = [shared_noise(n_draws, 1, seed) for seed in range(400)]
    with torch.no_grad():
        drawn = [importance_log_weights(model, empty, each)[0][-1] for each in noises]
    assert float(torch.cat(drawn).var()) == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("n_draws", [1, 2, 5])
def test_any_number_of_draws_is_enough_for_a_bound(n_draws):
    model, rows = clustered_model()
    rows[::2, 1:] = torch.nan
    with torch.no_grad():
        bound = importance_weighted_bound(model, rows, shared_noise(n_draws, 1, 0))
    assert bound.isfinite().all()


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 3), st.integers(1, 5), st.integers(0, 1000))
def test_draws_from_the_prior_have_its_density(n_units, n_clusters, seed):
    prior = randomise(MixturePrior(n_units, n_clusters).double(), 0.5, seed)
    noise = shared_noise(4096, n_units + 1, seed)
    with torch.no_grad():
        codes = prior.draw(noise[:, 1:], torch.special.ndtr(noise[:, 0]))
    zeros = torch.zeros(n_units, dtype=torch.float64)
    torch.testing.assert_close(codes.mean(0), zeros, rtol=0, atol=0.02)
    torch.testing.assert_close(codes.var(0), zeros + 1, rtol=0.05, atol=0)


@pytest.mark.parametrize("family", CERTIFIED)
def test_the_fit_is_closer_to_the_posterior_than_the_encoder(family):
    """By the spread of the weights of draws, which are equal for the posterior."""
    rows = correlated_rows(100, 6, 3, seed=0)
    model = started_model(rows, family, 3, n_mixture_components=4)
    randomise(model.encoder, 0.2, 0)
    noise = normal(200, 3)
    with torch.no_grad():
        _, fitted = importance_log_weights(model, rows, noise)
        mean, log_variance = model.encoder(rows)
        encoder = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
        codes = mean + encoder.stddev * noise[:, None]
        joint = model.likelihood.log_prob(rows, model.decoder(codes))
        joint = joint + model.prior.log_prob(codes)
        encoded = joint - encoder.log_prob(codes).sum(-1)
    assert fitted.std(0).max() < 0.5 < encoded.std(0).min()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("family", ["anchored", "mlp"])
def test_rows_far_outside_keep_a_proper_gaussian(family, dtype):
    counts = torch.poisson(torch.full((60, 1), 3.0), torch.Generator().manual_seed(0))
    rows = torch.cat([correlated_rows(60, 5, 2, seed=0), counts], dim=1)
    likelihood = ("gaussian",) * 5 + ("poisson",)
    model = started_model(rows, family, 2, likelihood=likelihood).to(dtype)
    far = rows.to(dtype)
    far[:20, :5] *= 1e3
    far[20:40, 5] = 1e9
    far[40:, :5] *= 1e30
    with torch.no_grad():
        fitted = fit_posterior(model, far, gaps=False)
    for tensor in (fitted.mean, fitted.factor, fitted.log_volume):
        assert tensor.isfinite().all()
    assert (fitted.factor.det() != 0).all()


@pytest.mark.parametrize("kind", ["poisson", "negative_binomial"])
@pytest.mark.parametrize("family", ["anchored", "mlp"])
@pytest.mark.parametrize("count", [500.0, 3e3, 3e4])
def test_few_draws_give_the_likelihood_of_counts_far_above_all_others(
    kind, family, count
):
    rows = correlated_rows(20, 3, 1, seed=0)
    rate = (1 + 0.5 * rows[:, :1]).exp()
    counts = torch.poisson(rate, torch.Generator().manual_seed(0))
    rows = torch.cat([rows, counts], dim=1)
    likelihood = ("gaussian",) * 3 + (kind,)
    model = started_model(rows, family, 1, likelihood=likelihood)
    rows[:, 3] = count
    with torch.no_grad():
        exact = likelihood_by_quadrature(model, rows, 50, 100_001)
        bound = importance_weighted_bound(model, rows, shared_noise(100, 1, 0))
    torch.testing.assert_close(bound, exact, rtol=0.02, atol=0)


@pytest.mark.parametrize("kind", ["poisson", "negative_binomial"])
def test_the_fit_follows_a_decoder_that_bends_to_counts_far_above(kind):
    rows = torch.cat([correlated_rows(10, 3, 1, seed=0), torch.ones(10, 1)], dim=1)
    model = started_model(rows, "anchored", 1, likelihood=("gaussian",) * 3 + (kind,))
    with torch.no_grad():
        for parameter in model.decoder.parameters():
            parameter += 0.3 * normal(*parameter.shape)
    rows[:, 3] = torch.logspace(2, 5, 10).round()
    rows[:, :3] = torch.nan
    with torch.no_grad():
        exact = likelihood_by_quadrature(model, rows, 200, 100_001)
        bound = importance_weighted_bound(model, rows, shared_noise(100, 1, 0))
    torch.testing.assert_close(bound, exact, rtol=0, atol=0.1)


@pytest.mark.parametrize("far", [10.0, -20.0])
def test_few_draws_give_the_likelihood_of_a_value_that_the_code_gives_up(far):
    """The encoder would have the code explain it at the expense of five others."""
    rows = normal(200, 1) + 0.2 * normal(200, 6, seed=1)
    model = started_model(rows, "anchored", 1, likelihood=("student_t",) * 6)
    outlying = rows[:20].clone()
    outlying[:, 0] += far
    with torch.no_grad():
        model.likelihood.heads[0].log_freedom.fill_(-1)  # heavy tails
        exact = likelihood_by_quadrature(model, outlying, 30, 6001)
        noise = shared_noise(100, 1, 0)
        bound = importance_weighted_bound(model, outlying, noise)
        incomplete = outlying[:1].clone()
        incomplete[0, 1] = torch.nan
        beside = torch.cat([outlying, incomplete])
        same = importance_weighted_bound(model, beside, noise)[:-1]
    torch.testing.assert_close(bound, exact, rtol=0, atol=0.1)
    torch.testing.assert_close(same, bound)


@pytest.mark.parametrize("size", [2.0, 4.0])
def test_the_fit_is_never_farther_down_than_the_encoder(size):
    rows = correlated_rows(100, 4, 2, seed=0)
    model = randomise(started_model(rows, "anchored", 2), size, 0)
    with torch.no_grad():
        codes = torch.stack(
            [model.encoder(rows)[0], fit_posterior(model, rows, False).mean]
        )
        heights = log_joint(model, rows, codes, model.decoder(codes), False)
    assert (heights[1] >= heights[0]).all()


def test_what_codes_are_drawn_from_is_a_constant_for_gradients():
    rows = correlated_rows(20, 4, 2, seed=0)
    model = started_model(rows, "anchored", 2, n_mixture_components=3)
    rows[::2, 0] = torch.nan  # so that some are drawn from the prior
    codes, log_weights = importance_log_weights(model, rows, normal(10, 2))
    joint = log_joint(model, rows, codes.detach(), model.decoder(codes.detach()), True)
    learned = [
        each
        for part in (model.decoder, model.likelihood, model.prior)
        for each in part.parameters()
    ]
    found, expected = (
        torch.autograd.grad(each.sum(), learned) for each in (log_weights, joint)
    )
    torch.testing.assert_close(found, expected)


def test_gradients_reach_all_but_the_encoder():
    rows = correlated_rows(20, 4, 2, seed=0)
    model = started_model(rows, "anchored", 2, n_mixture_components=3)
    importance_weighted_bound(model, rows, normal(10, 2)).sum().backward()
    for part in (model.decoder, model.likelihood, model.prior):
        assert any(p.grad is not None and p.grad.any() for p in part.parameters())
    assert all(p.grad is None for p in model.encoder.parameters())


def test_any_number_below_one_chooses_a_gaussian_of_the_prior():
    """Whatever the rounded weights sum to."""
    for seed in range(100):
        prior = randomise(MixturePrior(2, 16), 1.0, seed)
        uniform = torch.tensor([0.0, 1 - 2**-24])
        assert prior.draw(torch.zeros(2, 2), uniform).isfinite().all()


@given(st.integers(1, 4), st.integers(1, 6), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_the_precision_of_the_prior_bounds_its_curvature(n_units, n_clusters, seed):
    prior = randomise(MixturePrior(n_units, n_clusters).double(), 1.0, seed)
    codes = normal(10, n_units, seed=seed)
    hessian = torch.func.jacrev(torch.func.jacrev(prior.log_prob))
    curvature = -torch.func.vmap(hessian)(codes)
    excess = torch.diag_embed(prior.precision(codes)) - curvature
    assert torch.linalg.eigvalsh(excess).min() > -1e-9
    if n_clusters == 1:
        torch.testing.assert_close(excess, torch.zeros_like(excess))


def test_the_precision_of_the_standard_normal_is_one():
    assert (StandardNormalPrior(3).precision(normal(5, 3)) == 1).all()
