"""Measures of what codes say, against closed forms and on trained models."""

from math import log

import numpy as np
import pytest
import torch
from autoencoders import CERTIFIED, correlated_rows, mixed_table, started_model, trained
from samples import normal
from scipy import special, stats
from sklearn.datasets import load_wine

from sklearn_ilvae import ILVAETransformer, metrics
from sklearn_ilvae.vae import diagnostics, importance_log_weights, shared_noise
from sklearn_ilvae.vae.priors import MixturePrior, StandardNormalPrior

TABLES = {"wine": load_wine().data, "mixed": mixed_table()}


class LinearGaussian:
    """``x = Az + noise`` with the exact posterior in closed form."""

    def __init__(self, n_features, n_components, n_rows=60):
        self.rows = correlated_rows(n_rows, n_features, 2, seed=0)
        self.model = started_model(self.rows, "mlp", n_components)
        with torch.no_grad():
            self.loadings = self.model.decoder.linear
            scaled = self.loadings.T / self.model.likelihood.heads[0].variance()
            self.information = scaled @ self.loadings
            eye = torch.eye(n_components, dtype=torch.float64)
            self.covariance = torch.linalg.inv(self.information + eye)
            self.means = self.rows @ (self.covariance @ scaled).T

    def fisher(self):
        """``∇ log p(x|z)`` at ``z = μ + ε`` is ``μ − Gε`` with ``G = AᵀΨ⁻¹A``."""
        spread = self.information @ self.covariance @ self.information
        return self.means.square().sum(1) + spread.trace()


class TestKLPerUnit:
    def test_closed_form(self):
        exact = LinearGaussian(5, 5)
        with torch.no_grad():
            posterior = exact.model.encoder(exact.rows)
        variance = exact.covariance.diagonal()
        expected = 0.5 * (exact.means.square() + variance - variance.log() - 1)
        divergence = diagnostics.kl_per_unit(*posterior, exact.model.prior)
        torch.testing.assert_close(divergence, expected)

    def test_mixture_of_one_gaussian_is_the_standard_normal(self):
        mean, log_variance = normal(7, 3), normal(7, 3, seed=1)
        closed = diagnostics.kl_per_unit(mean, log_variance, StandardNormalPrior(3))
        prior = MixturePrior(3, 1).double()
        quadrature = diagnostics.kl_per_unit(mean, log_variance, prior)
        torch.testing.assert_close(quadrature, closed)

    def test_quadrature_converges_to_the_integral(self):
        prior = MixturePrior(1, 3).double()
        with torch.no_grad():
            prior.raw_means.copy_(torch.tensor([[-1.0], [0.5], [2.0]]))
        mean, log_variance = torch.tensor([[[0.75]], [[-0.5]]], dtype=torch.float64)
        grid = torch.linspace(-10, 11, 20001, dtype=torch.float64)[:, None]
        log_q = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
        log_q = log_q.log_prob(grid)
        with torch.no_grad():
            integrand = log_q.exp() * (log_q - prior.marginal_log_prob(grid))
        exact = float(torch.trapezoid(integrand, grid, dim=0))
        errors = [
            abs(float(diagnostics.kl_per_unit(mean, log_variance, prior, n)) - exact)
            for n in (4, 8, 16, 128)
        ]
        assert errors[0] > errors[1] > errors[2] > errors[3]
        assert errors[3] < 1e-9

    @pytest.mark.parametrize(
        ("distance", "product", "error"),
        [(4, 1, 1e-12), (10, 1, 1e-12), (4, 2, 3e-8), (10, 2, 3e-8), (10, 5, 5e-4)],
    )
    def test_default_quadrature_is_as_exact_as_it_says(self, distance, product, error):
        prior = MixturePrior(1, 3).double()
        with torch.no_grad():
            prior.raw_means.copy_(distance * torch.tensor([[-1.0], [0.0], [1.0]]))
            _, means, variances = prior.components()
            width = product / distance * variances[0].sqrt()
            mean = torch.linspace(-1.2, 1.2, 401, dtype=torch.float64)[:, None]
            log_variance = (2 * width.log()).expand_as(mean)
            few, many = (
                diagnostics.kl_per_unit(means[2] * mean, log_variance, prior, n_nodes)
                for n_nodes in (diagnostics.QUADRATURE_NODES, 512)
            )
        assert (few - many).abs().max() < error

    def test_default_quadrature_is_enough_for_trained_models(self):
        module, rows = metrics.collapse._prepared(
            trained("anchored"), TABLES["wine"], ""
        )
        posterior = diagnostics.posterior(module, rows)
        few = diagnostics.kl_per_unit(*posterior, module.prior)
        many = diagnostics.kl_per_unit(*posterior, module.prior, n_nodes=256)
        torch.testing.assert_close(few, many, rtol=0, atol=1e-9)

    def test_quadrature_integrates_polynomials(self):
        nodes, weights = diagnostics.gauss_hermite(10)
        for power in range(20):
            moment = float(weights @ nodes**power)
            assert moment == pytest.approx(stats.norm.moment(power), abs=1e-5, rel=1e-9)

    def test_collapsed_unit(self):
        mean, log_variance = normal(50, 2), torch.full((50, 2), -2.0).double()
        mean[:, 1] = log_variance[:, 1] = 0
        for prior in (StandardNormalPrior(2), MixturePrior(2, 1).double()):
            smallest = diagnostics.kl_per_unit(mean, log_variance, prior).mean(0)
            assert smallest[0] > 0.5
            assert smallest[1] == pytest.approx(0, abs=1e-12)

    def test_estimator(self):
        estimator, X = trained("anchored", "standard_normal"), TABLES["wine"]
        mean, std = estimator.transform(X, return_std=True)
        expected = (0.5 * (mean**2 + std**2 - 1) - np.log(std)).mean(0)
        divergence = metrics.kl_per_unit(estimator, X)
        np.testing.assert_allclose(divergence, expected)


class TestActiveUnits:
    def test_threshold_on_the_variance_of_means(self):
        mean = torch.tensor([[0.0, 0.05, 1.0], [0.0, -0.05, 3.0]])
        assert diagnostics.active_units(mean).tolist() == [False, False, True]
        assert diagnostics.active_units(mean, 0.002).tolist() == [False, True, True]
        assert diagnostics.active_units(mean, 2.0).tolist() == [False] * 3
        two = torch.tensor([[0.0], [1.0]])  # of variance 1/4 over the two
        assert diagnostics.active_units(two, 0.24)
        assert not diagnostics.active_units(two, 0.26)

    def test_estimator(self):
        estimator, X = trained("anchored"), TABLES["wine"]
        variances = estimator.transform(X).var(0)
        threshold = float(np.sort(variances)[:2].mean())
        active = metrics.active_units(estimator, X, threshold)
        assert active.dtype == bool
        np.testing.assert_array_equal(active, variances > threshold)

    @pytest.mark.parametrize("threshold", [-0.01, np.nan, "low", None])
    def test_a_threshold_is_a_variance(self, threshold):
        with pytest.raises((TypeError, ValueError), match=r"^threshold "):
            metrics.active_units(trained("anchored"), TABLES["wine"], threshold)


def information_of_a_unit(estimator, X):
    """Return the mutual information of rows and a single unit, by quadrature."""
    mean, std = estimator.transform(X, return_std=True)
    grid = np.linspace(-6, 6, 20001)[:, None]
    density = stats.norm.pdf(grid, mean.T, std.T)
    integrand = special.rel_entr(density, density.mean(1, keepdims=True))
    return np.trapezoid(integrand, grid, axis=0).mean()


class TestMutualInformation:
    def test_gaussian_closed_form(self):
        """``z = m + ε`` with normal m is a Gaussian channel in every unit."""
        mean = shared_noise(2048, 2, seed=0) * torch.tensor([1.0, 0.5])
        log_variance = torch.tensor([0.0, -1.0]).double().expand(2048, 2)
        ratio = mean.var(0) / log_variance[0].exp()
        noise = shared_noise(4 * 2048, 2, seed=1).view(4, 2048, 2)
        information = diagnostics.mutual_information(mean, log_variance, noise)
        expected = float(0.5 * ratio.log1p().sum())
        assert float(information) == pytest.approx(expected, abs=0.03)

    def test_saturates_at_the_logarithm_of_the_number_of_rows(self):
        mean, log_variance = normal(60, 2), torch.full((60, 2), -15.0).double()
        information = diagnostics.mutual_information(
            mean, log_variance, normal(3, 60, 2)
        )
        assert float(information) == pytest.approx(log(60), abs=1e-9)

    @pytest.mark.parametrize("seed", range(4))
    def test_rounding_does_not_exceed_the_logarithm_of_the_number_of_rows(self, seed):
        mean = 1e4 * normal(6, 2, seed=seed)  # far out, as of rows unlike the others
        log_variance = torch.full((6, 2), -8.0).double()
        information = diagnostics.mutual_information(
            mean, log_variance, normal(3, 6, 2)
        )
        assert log(6) - 1e-4 < float(information) <= log(6)

    def test_nothing_is_said_by_equal_posteriors(self):
        mean, log_variance = torch.ones(60, 2).double(), torch.zeros(60, 2).double()
        information = diagnostics.mutual_information(
            mean, log_variance, normal(3, 60, 2)
        )
        assert float(information) == pytest.approx(0, abs=1e-12)

    def test_estimator(self):
        estimator, X = trained("anchored"), TABLES["wine"]
        information = metrics.mutual_information(estimator, X)
        assert isinstance(information, float)
        assert 0 < information <= log(len(X))
        assert information == metrics.mutual_information(estimator, X)
        again = metrics.mutual_information(estimator, X, random_state=1)
        assert again != information
        assert again == pytest.approx(information, rel=0.1)

    @pytest.mark.parametrize("n_rows", [4, 8, 16])
    def test_many_draws_a_row_give_the_integral(self, n_rows):
        X = TABLES["wine"]
        estimator = ILVAETransformer(1, max_iter=2, random_state=0).fit(X)
        exact = information_of_a_unit(estimator, X[:n_rows])
        information = metrics.mutual_information(estimator, X[:n_rows], n_draws=4096)
        assert information == pytest.approx(exact, rel=2e-3)

    @pytest.mark.parametrize("seed", range(5))
    def test_rows_of_kinds_that_take_turns_give_the_integral(self, seed):
        X = TABLES["wine"]
        estimator = ILVAETransformer(1, max_iter=2, random_state=0).fit(X)
        kinds = X[[0, 60, 150, 62]]
        exact = information_of_a_unit(estimator, kinds)
        many = np.tile(kinds, (128, 1))
        information = metrics.mutual_information(
            estimator, many, n_draws=2, random_state=seed
        )
        assert information == pytest.approx(exact, abs=0.03)


class TestFisherDivergence:
    @pytest.mark.parametrize("n_components", [2, 5])
    def test_linear_gaussian_closed_form(self, n_components):
        # 2 units: the encoder is not the exact posterior, and the weights count.
        exact = LinearGaussian(5, n_components)
        noise = shared_noise(8192, n_components, seed=0)
        divergence = diagnostics.relative_fisher_divergence(
            exact.model, exact.rows, noise
        )
        torch.testing.assert_close(divergence, exact.fisher(), rtol=0.02, atol=0)

    def test_average_over_rows_of_the_model(self):
        """For a linear decoder it is ``tr AᵀΨ⁻¹A``; the bound is below."""
        exact = LinearGaussian(5, 2)
        model, generator = exact.model, torch.Generator().manual_seed(0)
        with torch.no_grad():
            codes = model.prior.sample(4000, generator).double()
            rows = model.likelihood.sample(model.decoder(codes), generator)
        noise = shared_noise(128, 2, seed=0)
        mean = diagnostics.relative_fisher_divergence(model, rows, noise).mean()
        assert float(mean) == pytest.approx(float(exact.information.trace()), rel=0.05)

    @pytest.mark.parametrize("prior", ["mixture", "standard_normal"])
    @pytest.mark.parametrize("family", CERTIFIED)
    def test_average_bound_holds_for_rows_of_the_model(self, family, prior):
        estimator = trained(family, prior)
        drawn = estimator.sample(300, random_state=0)
        divergence = metrics.relative_fisher_divergence(estimator, drawn, n_draws=30)
        bound = metrics.average_fisher_lower_bound(estimator)
        assert isinstance(bound, float)
        assert divergence.mean() > bound > 0

    @pytest.mark.parametrize("table", TABLES)
    @pytest.mark.parametrize("prior", ["mixture", "standard_normal"])
    @pytest.mark.parametrize("family", CERTIFIED)
    def test_bound_holds_in_every_row(self, family, prior, table):
        estimator, X = trained(family, prior, table), TABLES[table]
        divergence = metrics.relative_fisher_divergence(estimator, X, n_draws=20)
        bound = metrics.fisher_divergence_lower_bound(estimator, X, n_draws=20)
        assert (divergence >= bound).all()
        assert (bound > 0).all()

    def test_bound_is_an_equality_for_a_scaled_rotation(self):
        rows = correlated_rows(50, 4, 2, seed=0)
        model = started_model(rows, "anchored", 4, inverse_lipschitz=0.5)
        for parameter in model.decoder.along.parameters():
            torch.nn.init.zeros_(parameter)
        noise = shared_noise(20, 4, seed=0)
        assert model.decoder.inverse_lipschitz() == pytest.approx(0.5)
        torch.testing.assert_close(
            diagnostics.fisher_divergence_lower_bound(model, rows, noise),
            diagnostics.relative_fisher_divergence(model, rows, noise),
        )

    @pytest.mark.parametrize("family", CERTIFIED)
    def test_bound_projects_on_the_range_of_the_jacobian(self, family):
        rows, noise = correlated_rows(10, 6, 2, seed=0), shared_noise(20, 2, seed=0)
        model = started_model(rows, family, 2)
        with torch.no_grad():
            codes, log_weights = importance_log_weights(model, rows, noise)
            scores = model.likelihood.score(rows, model.decoder(codes))
            jacobian = torch.func.vmap(torch.func.jacrev(model.decoder))
            jacobians = jacobian(codes.flatten(0, 1)).unflatten(0, codes.shape[:2])
            projected = jacobians @ torch.linalg.pinv(jacobians) @ scores[..., None]
        expected = (log_weights.softmax(0) * projected.square().sum((-2, -1))).sum(0)
        torch.testing.assert_close(
            diagnostics.fisher_divergence_lower_bound(model, rows, noise),
            model.decoder.inverse_lipschitz() ** 2 * expected,
        )

    def test_bound_is_false_without_the_projector(self):
        """A residual across the range of J is large, and J transposed maps it to 0."""
        rows = correlated_rows(200, 6, 2, seed=0)
        model = started_model(rows, "anchored", 2, inverse_lipschitz=0.3)
        across = principal_complement(model) @ normal(4, 50)
        noise = shared_noise(50, 2, seed=0)
        divergence = diagnostics.relative_fisher_divergence(model, 5 * across.T, noise)
        bound = diagnostics.fisher_divergence_lower_bound(model, 5 * across.T, noise)
        with torch.no_grad():
            codes, log_weights = importance_log_weights(model, 5 * across.T, noise)
            scores = model.likelihood.score(5 * across.T, model.decoder(codes))
        expected = (log_weights.softmax(0) * scores.square().sum(-1)).sum(0)
        unprojected = model.decoder.inverse_lipschitz() ** 2 * expected
        assert (unprojected > divergence).all()
        assert (bound <= divergence).all()

    def test_mlp_guarantees_nothing(self):
        estimator, X = trained("mlp"), TABLES["wine"]
        assert not metrics.fisher_divergence_lower_bound(estimator, X).any()
        assert metrics.average_fisher_lower_bound(estimator) == 0

    def test_average_bound_needs_gaussian_columns(self):
        with pytest.raises(ValueError, match="columns of likelihood bernoulli"):
            metrics.average_fisher_lower_bound(trained("anchored", table="mixed"))

    def test_a_column_without_values_does_not_change_the_average_bound(self):
        rows = correlated_rows(60, 4, 2, seed=0)
        empty = torch.full((60, 1), torch.nan, dtype=torch.float64)
        kinds = ("gaussian",) * 4
        with_gap = started_model(
            torch.cat([rows, empty], dim=1), "anchored", 2, likelihood=(*kinds, "none")
        )
        alone = started_model(rows, "anchored", 2)
        expected = diagnostics.average_fisher_lower_bound(alone)
        found = diagnostics.average_fisher_lower_bound(with_gap)
        assert found == pytest.approx(expected)


def principal_complement(model):
    """Orthonormal directions across the range of the decoder."""
    directions = model.decoder.directions().detach()
    return torch.linalg.qr(directions, mode="complete").Q[:, directions.shape[1] :]
