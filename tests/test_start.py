"""The linear model at which training starts, against closed forms."""

import pytest
import torch
from autoencoders import CERTIFIED, correlated_rows, started_model
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_ilvae._training import setup
from sklearn_ilvae.vae import (
    DECODERS,
    Design,
    choose_inverse_lipschitz,
    choose_n_components,
    diagnostics,
    linear_model,
    principal_axes,
)
from sklearn_ilvae.vae.maps import StronglyMonotoneMap
from sklearn_ilvae.vae.networks import jacobian_at_zero
from sklearn_ilvae.vae.observed import observed_mean


def linear_posterior(model):
    """Loadings, and the encoder that they imply."""
    n_components = model.architecture.n_components
    zero = torch.zeros(n_components, dtype=torch.float64)
    loadings = jacobian_at_zero(model.decoder, zero)
    scaled = loadings.T / model.likelihood.heads[0].variance()
    precision = scaled @ loadings + torch.eye(n_components, dtype=torch.float64)
    return loadings, torch.linalg.solve(precision, scaled), -precision.diagonal().log()


def covariance_of(axes):
    return axes.directions * axes.variances @ axes.directions.T


def log_likelihood_of_linear_model(rows, others):
    """Mean log-likelihood of other rows by the linear model of some."""
    n_rows, n_features = rows.shape
    axes = principal_axes(rows, torch.ones(n_rows))
    shares = torch.full((n_rows,), 1 / n_rows)
    units = Design(("gaussian",) * n_features).fit(rows, shares)
    linear = linear_model(axes, choose_n_components(axes.variances, n_rows), units)
    loadings = linear.directions * linear.slopes
    covariance = loadings @ loadings.T + linear.noise.diag()
    normal = torch.distributions.MultivariateNormal(0 * covariance[0], covariance)
    return float(normal.log_prob(others).mean())


class TestStart:
    @settings(max_examples=60, deadline=None)
    @given(
        st.sampled_from(DECODERS),
        st.integers(2, 60),
        st.integers(1, 12),
        st.integers(1, 4),
        st.integers(0, 2**32 - 1),
        st.data(),
    )
    def test_no_unit_is_dead(self, family, n_rows, n_features, factors, seed, data):
        rows = correlated_rows(n_rows, n_features, factors, seed, noise=0.05)
        n_components = data.draw(st.integers(1, n_features))
        model = started_model(rows, family, n_components)
        with torch.no_grad():
            mean, log_variance = model.encoder(rows)
            divergence = diagnostics.kl_per_unit(mean, log_variance, model.prior)
        assert divergence.mean(0).min() > 0.01

    def test_every_column_has_a_ridge_along_it(self):
        rows = correlated_rows(200, 6, 3, seed=0)
        decoder = started_model(rows, "anchored", 3, hidden_layer_sizes=(32,)).decoder
        columns = decoder.directions.weight.detach()
        ridges = decoder.along.maps[-1].weight.detach()
        along = torch.nn.functional.cosine_similarity(columns[:, None], ridges, dim=-1)
        torch.testing.assert_close(along.amax(1), torch.ones_like(along[:, 0]))

    @pytest.mark.parametrize("family", ["anchored_warped", "gradient_network"])
    def test_warps_have_a_ridge_along_every_parameter(self, family):
        rows = correlated_rows(200, 6, 3, seed=0)
        decoder = started_model(rows, family, 3, hidden_layer_sizes=(32,)).decoder
        ridges = decoder.warp.maps[0].weight.detach()
        along = ridges.abs().amax(1) / ridges.norm(dim=1)
        pointed = ridges[along > 1 - 1e-6].abs().argmax(1)
        assert set(pointed.tolist()) == set(range(6))

    @pytest.mark.parametrize("family", DECODERS)
    @pytest.mark.parametrize("n_components", [3, 6])
    def test_families_start_near_the_same_linear_map(self, n_components, family):
        rows = correlated_rows(500, 6, 3, seed=0)
        settings = {"hidden_layer_sizes": (4096,), "inverse_lipschitz": 0.0}
        model, linear = (
            started_model(rows, each, n_components, **settings)
            for each in (family, "mlp")
        )
        expected = linear.decoder.linear.detach()
        with torch.no_grad():
            loadings, _, _ = linear_posterior(model)
            centre = model.decoder(torch.zeros(1, n_components, dtype=torch.float64))
        # Random ridges are orthogonal on average only.
        assert (loadings - expected).norm() < 0.1 * expected.norm()
        assert centre.abs().max() < 1e-10

    @pytest.mark.parametrize("family", DECODERS)
    def test_encoder_starts_at_the_posterior_of_the_linear_model(self, family):
        rows = correlated_rows(100, 5, 2, seed=1)
        model = started_model(rows, family, 2)
        with torch.no_grad():
            _, linear, expected = linear_posterior(model)
            mean, log_variance = model.encoder(rows)
        torch.testing.assert_close(mean, rows @ linear.T)
        torch.testing.assert_close(log_variance, expected.expand_as(log_variance))

    @pytest.mark.parametrize("family", CERTIFIED)
    def test_narrow_rectified_layers_start_finite(self, family):
        rows = correlated_rows(50, 4, 2, seed=0)
        for width in (1, 2):
            model = started_model(
                rows, family, 2, activation="relu", hidden_layer_sizes=(width,)
            )
            assert all(each.isfinite().all() for each in model.parameters())

    def test_linear_model_matches_the_variance_of_every_axis(self):
        rows = correlated_rows(2000, 6, 2, seed=2)
        axes = principal_axes(rows, torch.ones(len(rows)))
        model = started_model(rows, "mlp", 2)
        with torch.no_grad():
            loadings = model.decoder.linear
            covariance = (
                loadings @ loadings.T + model.likelihood.heads[0].variance().diag()
            )
        along = axes.directions[:, :2]
        modelled = (along.T @ covariance @ along).diagonal()
        torch.testing.assert_close(modelled, axes.variances[:2])

    def test_so_does_that_of_coordinates_beside_counts(self):
        rows = correlated_rows(2000, 6, 2, seed=2)
        rows[:, 4:] = (2 + rows[:, 4:]).exp().round()
        kinds = ("gaussian",) * 4 + ("poisson",) * 2
        model = started_model(rows, "mlp", 2, likelihood=kinds)
        encoder, directions = model.encoder, model.decoder.linear.detach()
        axes = principal_axes(encoder.design.coordinates(rows), torch.ones(2000))
        loadings, scaled = encoder.completion.loadings, encoder.completion.scaled
        noise = (loadings / scaled)[:, 0]
        along = axes.directions[:, :2]
        modelled = along.T @ (loadings @ loadings.T + noise.diag()) @ along
        torch.testing.assert_close(
            modelled.diagonal(), axes.variances[:2], rtol=1e-4, atol=0
        )
        assert (directions.amax(0) == directions.abs().amax(0)).all()  # their signs

    @pytest.mark.parametrize("family", CERTIFIED)
    @pytest.mark.parametrize("constant", [0.1, 5.0])
    def test_every_slope_starts_free_to_move(self, family, constant):
        """Slopes are squares: one of zero would get no gradient."""
        rows = correlated_rows(100, 5, 2, seed=1)
        decoder = started_model(rows, family, 5, inverse_lipschitz=constant).decoder
        maps = [m for m in decoder.modules() if isinstance(m, StronglyMonotoneMap)]
        assert min(each.root_slope.square().min() for each in maps) > 1e-4

    def test_linear_model_has_a_share_of_the_most_likely_noise(self):
        rows = correlated_rows(500, 6, 2, seed=2, noise=1.0)
        axes = principal_axes(rows, torch.ones(len(rows)))
        most_likely = axes.variances[2:].mean()  # Tipping & Bishop (1999), Eq. 8
        model = started_model(rows, "mlp", 2)
        noise = model.likelihood.heads[0].variance().detach()
        torch.testing.assert_close(noise.mean(), (1 - 2 / 6) * most_likely)

    def test_in_a_large_table_with_counts_all_kinds_of_rows_that_take_turns_are_seen(
        self, monkeypatch
    ):
        rows = correlated_rows(400, 8, 8, seed=0)
        rows[::2] = rows[::2, :1]
        rows[:, 0] = rows[:, 0] > 0
        parameters = {
            "decoder": "mlp",
            "n_components": "auto",
            "inverse_lipschitz": "auto",
            "hidden_layer_sizes": 8,
            "activation": "elu",
            "n_mixture_components": 0,
            "seed": 0,
        }
        kinds = ("poisson",) + ("gaussian",) * 7
        monkeypatch.setattr(setup, "AXES_NUMBERS", 200 * 8)  # half of the rows
        model = setup.start_model(rows, torch.ones(400), kinds, **parameters)
        complete = principal_axes(rows, torch.ones(400))
        expected = choose_n_components(complete.variances, 400)
        assert abs(model.architecture.n_components - expected) <= 1


class TestPrincipalAxes:
    def test_match_the_covariance(self):
        rows = correlated_rows(100, 5, 3, seed=0) + 7
        axes = principal_axes(rows, torch.ones(100))
        rebuilt = axes.directions * axes.variances @ axes.directions.T
        expected = torch.cov(rows.T, correction=0)
        torch.testing.assert_close(rebuilt, expected)
        assert (axes.variances.diff() <= 0).all()
        largest = axes.directions.abs().argmax(0)
        assert (axes.directions[largest, range(5)] > 0).all()

    @pytest.mark.parametrize("n_axes", [1, 12, 13, 30])
    def test_a_wide_table_has_the_same_axes_as_its_columns_that_vary(self, n_axes):
        narrow = correlated_rows(12, 5, 3, seed=0)
        wide = torch.cat([narrow, torch.ones(12, 25)], dim=1)
        weights = 1.0 + torch.arange(12) % 2
        axes = principal_axes(wide, weights, n_axes)
        assert len(axes.variances) == axes.directions.shape[1] >= n_axes
        expected = principal_axes(narrow, weights)
        torch.testing.assert_close(axes.variances[:5], expected.variances)
        torch.testing.assert_close(axes.directions[:5, :5], expected.directions)
        assert abs(axes.variances[5:]).max() < 1e-12
        assert abs(axes.directions[5:, :5]).max() < 1e-6

    def test_columns_of_a_wide_table_keep_their_variances_beside_gaps(self):
        rows = correlated_rows(20, 40, 3, seed=0)
        rows[torch.arange(20) % 3 == 1, 1::2] = torch.nan
        weights = 1.0 + torch.arange(20) % 2
        axes = principal_axes(rows, weights)
        there = weights[:, None] * ~rows.isnan()
        mean = (there * rows.nan_to_num()).sum(0) / there.sum(0)
        squares = there * (rows.nan_to_num() - mean).square()
        modelled = axes.directions.square() @ axes.variances
        torch.testing.assert_close(modelled, squares.sum(0) / there.sum(0))

    @pytest.mark.parametrize("shape", [(60, 20, 3), (100, 10, 2), (200, 20, 3)])
    def test_beside_gaps_describe_new_rows_almost_as_well_as_without(self, shape):
        n_rows, n_features, n_factors = shape
        every = correlated_rows(n_rows + 500, n_features, n_factors, seed=0)
        rows, others = every[:n_rows], every[n_rows:]
        generator = torch.Generator().manual_seed(0)
        missing = torch.rand(rows.shape, generator=generator) < 0.4
        complete, found = (
            log_likelihood_of_linear_model(each, others)
            for each in (rows, rows.masked_fill(missing, torch.nan))
        )
        assert found > complete - 2

    def test_beside_gaps_are_those_of_all_kinds_of_rows_that_take_turns(
        self, monkeypatch
    ):
        rows = correlated_rows(400, 4, 2, seed=0)
        rows[::2] = 0
        expected = principal_axes(rows, torch.ones(400)).variances.sum()
        rows[::5, 0] = torch.nan
        half_of_the_rows = 200 * 4
        monkeypatch.setattr("sklearn_ilvae.vae.axes.EM_NUMBERS", half_of_the_rows)
        found = principal_axes(rows, torch.ones(400)).variances.sum()
        torch.testing.assert_close(found, expected, rtol=0.2, atol=0)

    def test_gaps_may_depend_on_other_columns(self):
        """The mean of what is observed is then that of some kinds of rows alone."""
        rows = correlated_rows(500, 6, 2, seed=0)
        complete = covariance_of(principal_axes(rows, torch.ones(500)))
        rows[rows[:, 0] > 0.3, 1:3] = torch.nan
        found = covariance_of(principal_axes(rows, torch.ones(500)))
        assert (found - complete).norm() < 0.1 * complete.norm()

    def test_a_column_may_have_values_in_rows_without_weight_alone(self):
        rows, weights = correlated_rows(50, 4, 2, seed=0), torch.ones(50)
        weights[:5] = 0
        rows[5:, 0] = torch.nan
        assert principal_axes(rows, weights).directions.isfinite().all()
        assert observed_mean(rows, weights.double())[0] == 0

    def test_variances_are_not_negative(self):
        rows = correlated_rows(50, 1, 1, seed=0) * torch.arange(1.0, 7)
        assert principal_axes(rows, torch.ones(50)).variances.min() >= 0

    def test_do_not_depend_on_gaps_in_rows_without_weight(self):
        rows = correlated_rows(50, 4, 2, seed=0)
        weights = (torch.arange(50) % 5 != 0).double()
        rows[weights == 0, :2] = torch.nan
        found = principal_axes(rows, weights)
        expected = principal_axes(rows[weights > 0], torch.ones(40))
        torch.testing.assert_close(found.variances, expected.variances)
        torch.testing.assert_close(found.directions, expected.directions)

    @pytest.mark.parametrize("n_features", [4, 60])
    @pytest.mark.parametrize("gaps", [False, True])
    def test_weights_repeat_rows(self, n_features, gaps):
        rows = correlated_rows(50, n_features, 2, seed=1)
        if gaps:
            rows[::3, 0] = rows[1::4, 1] = torch.nan
        counts = torch.arange(50) % 3
        repeated = rows.repeat_interleave(counts, dim=0)
        weighted, plain = (
            covariance_of(axes)
            for axes in (
                principal_axes(rows, counts.double()),
                principal_axes(repeated, torch.ones(len(repeated))),
            )
        )
        torch.testing.assert_close(weighted, plain)


class TestChoices:
    def test_n_components_explain_99_percent(self):
        variances = torch.tensor([60.0, 30.0, 8.9, 1.0, 0.1])
        assert choose_n_components(variances, 1000) == 4
        without_last = torch.tensor([60.0, 30.0, 9.5, 0.5])
        assert choose_n_components(without_last, 1000) == 3
        assert choose_n_components(torch.tensor([1.0]), 1000) == 1

    def test_n_components_are_32_at_most(self):
        assert choose_n_components(torch.ones(100), 10_000) == 32
        assert choose_n_components(torch.ones(20), 10_000) == 20

    def test_every_component_has_twenty_rows(self):
        assert choose_n_components(torch.ones(100), 199) == 9
        assert choose_n_components(torch.ones(100), 3) == 1

    def test_constant_table_takes_one_component(self):
        assert choose_n_components(torch.zeros(5), 1000) == 1

    def test_constant_follows_the_last_axis(self):
        variances = torch.tensor([4.0, 1.0, 0.25])
        assert choose_inverse_lipschitz(variances, 1) == pytest.approx(0.6)
        assert choose_inverse_lipschitz(variances, 3) == pytest.approx(0.15)
        assert choose_inverse_lipschitz(torch.zeros(2), 1) == 0.0
