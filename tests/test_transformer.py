"""What ILVAETransformer computes: codes, decoded rows, scores and samples."""

import numpy as np
import pytest
import sklearn
import torch
from autoencoders import short, short_detector
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.utils._array_api import move_estimator_to

from sklearn_ilvae import ILVAETransformer
from sklearn_ilvae._columns import find_scaling
from sklearn_ilvae._tables import LAYER_CHUNK
from sklearn_ilvae.vae.likelihoods import VARIANCE_FLOOR

# Codes


def test_codes_are_the_posterior_means_of_the_fitted_network(fitted, table):
    scaled = (table - fitted.mean_) / fitted.scale_
    within = np.abs(scaled).max(axis=1) < 3  # where the scale is linear
    with torch.no_grad():
        mean, log_variance = fitted.module_.encoder(
            torch.tensor(scaled[within]).float()
        )
    codes, deviations = fitted.transform(table[within], return_std=True)
    assert_allclose(codes, mean, rtol=0, atol=1e-5)
    assert_allclose(deviations, (0.5 * log_variance).exp(), rtol=1e-5)
    assert_array_equal(codes, fitted.transform(table[within]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_codes_and_decoded_rows_keep_the_dtype(fitted, table, dtype):
    codes = fitted.transform(table.astype(dtype))
    assert codes.dtype == fitted.inverse_transform(codes).dtype == dtype


@pytest.mark.parametrize("dtype", [np.float16, np.int64, bool])
def test_other_dtypes_become_double(table, dtype):
    rows = (table > table.mean(0)).astype(dtype)
    assert short(max_iter=1).fit_transform(rows).dtype == np.float64


def test_codes_decode_to_rows_near_the_originals(fitted, table):
    decoded = fitted.inverse_transform(fitted.transform(table))
    explained = 1 - ((decoded - table).var(0) / table.var(0))
    assert (explained > 0.7).all()


def test_certified_constant_is_at_least_the_one_asked_for(table):
    for constant in (0, 0.1, 0.7):
        model = short(inverse_lipschitz=constant).fit(table)
        assert model.inverse_lipschitz_ >= constant
    assert short(decoder="mlp").fit(table).inverse_lipschitz_ == 0


def test_automatic_constant_is_in_natural_parameters():
    counts = np.random.default_rng(0).poisson(10, size=(200, 1))
    settings = {"n_components": 1, "early_stopping": False, "max_iter": 1}
    model = short(likelihood="poisson", **settings).fit(counts)
    asked = model.module_.architecture.inverse_lipschitz
    # A coordinate of variance 1 has the least noise, and the unit of its log-rate.
    slope = np.sqrt(1 - 2 * VARIANCE_FLOOR) * np.log1p(counts).std()
    assert asked == pytest.approx(0.3 * slope, rel=1e-5)


@pytest.mark.parametrize(
    "decoder", ["anchored", "anchored_warped", "gradient_network", "brenier", "mlp"]
)
@pytest.mark.parametrize("prior", ["mixture", "standard_normal"])
def test_every_decoder_and_prior_fits_scores_and_samples(table, decoder, prior):
    model = short(decoder=decoder, prior=prior, hidden_layer_sizes=(8, 8)).fit(table)
    assert np.isfinite(model.score_samples(table)).all()
    assert model.sample(3, random_state=0).shape == (3, 5)
    assert model.inverse_transform(model.transform(table)).shape == table.shape


@pytest.mark.parametrize(
    "hidden_layer_sizes", [8, (8,), [8], np.array([8]), np.int64(8)], ids=repr
)
def test_widths_are_a_number_or_any_sequence(table, hidden_layer_sizes):
    model = short(hidden_layer_sizes=hidden_layer_sizes).fit(table)
    assert_array_equal(
        model.transform(table), short(hidden_layer_sizes=8).fit_transform(table)
    )


# Scores


def normal_log_density(rows, mean, covariance):
    residuals = rows - mean
    squares = (residuals @ np.linalg.inv(covariance) * residuals).sum(1)
    return -0.5 * (squares + np.linalg.slogdet(2 * np.pi * covariance)[1])


def test_scores_of_a_linear_model_are_its_gaussian_log_density(table):
    """Without any training the model is a factor analysis, whose density is known."""
    model = short(
        decoder="mlp",
        likelihood="gaussian",
        prior="standard_normal",
        max_iter=1,
        learning_rate_init=1e-12,
        n_importance_samples=2000,
    ).fit(table)
    loadings = model.module_.decoder.linear.detach().double().numpy()
    noise = model.module_.likelihood.heads[0].variance().detach().double().numpy()
    covariance = (loadings @ loadings.T + np.diag(noise)) * np.outer(
        model.scale_, model.scale_
    )
    linear = np.abs((table - model.mean_) / model.scale_).max(1) < 3
    exact = normal_log_density(table[linear], model.mean_, covariance)
    scores = model.score_samples(table[linear])
    assert_allclose(scores, exact, rtol=0, atol=0.1)
    assert abs(scores.mean() - exact.mean()) < 0.01


def log_density_by_integration(model, rows):
    """Integrate p(z) p(x | z) over a grid of one-dimensional codes."""
    codes = torch.linspace(-8, 8, 4001, dtype=torch.float64)[:, None]
    network = model._inference_module(torch.float64)
    scaling = model._scaling()
    rows = torch.tensor(rows)
    scaled = scaling.transform(rows)
    with torch.no_grad():
        log_joint = network.prior.log_prob(codes)[
            :, None
        ] + network.likelihood.log_prob(scaled, network.decoder(codes)[:, None])
        step = float(codes[1, 0] - codes[0, 0])
        return log_joint.logsumexp(0) + np.log(step) + scaling.log_slope(rows, scaled)


def test_scores_of_a_trained_model_match_numerical_integration(table):
    model = short(n_components=1, max_iter=40, n_importance_samples=2000).fit(table)
    exact = log_density_by_integration(model, table).numpy()
    assert_allclose(model.score_samples(table), exact, rtol=0, atol=0.05)


def test_more_importance_samples_bring_the_score_to_the_exact_value(table):
    model = short(n_components=1, max_iter=40).fit(table)
    exact = float(log_density_by_integration(model, table).mean())
    error = [
        abs(model.set_params(n_importance_samples=draws).score(table) - exact)
        for draws in (1, 30, 1000)
    ]
    assert error[0] > 10 * error[2]
    assert error[1] > error[2]
    assert error[2] < 1e-3


def test_exponentiated_scores_integrate_to_one_over_a_one_column_table():
    rng = np.random.default_rng(0)
    column = np.concatenate([rng.normal(-20, 2, 150), rng.normal(30, 5, 150)])
    model = short(
        n_components=1, max_iter=40, hidden_layer_sizes=8, n_importance_samples=1000
    ).fit(column[:, None])
    tail = model.scale_ * np.geomspace(3, 1e6, 2000)  # tails are heavy by design
    grid = np.concatenate([-tail[::-1], model.scale_ * np.linspace(-3, 3, 1001), tail])
    grid = np.unique(grid + model.mean_)
    density = np.exp(model.score_samples(grid[:, None]))
    assert_allclose(np.trapezoid(density, grid), 1, atol=0.005)


def test_exponentiated_scores_add_up_to_one_over_all_rows_of_binary_columns():
    rng = np.random.default_rng(0)
    rows = (rng.random((200, 1)) < [0.2, 0.5, 0.7]) ^ (rng.random((200, 3)) < 0.1)
    model = short(n_components=1, max_iter=20, n_importance_samples=1000).fit(rows)
    assert model.likelihood_ == ["bernoulli"] * 3
    everything = np.array(np.meshgrid([0, 1], [0, 1], [0, 1])).reshape(3, 8).T
    assert_allclose(np.exp(model.score_samples(everything)).sum(), 1, atol=0.01)


@settings(max_examples=5, deadline=None)
@given(st.lists(st.integers(-20, 20), min_size=5, max_size=5))
def test_rescaling_columns_shifts_scores_by_the_log_of_the_factors(table, exponents):
    # Powers of two, so that no rounding makes the two fits differ.
    factors = 2.0 ** np.array(exponents)
    original, rescaled = short().fit(table), short().fit(table * factors)
    expected = original.score_samples(table) - np.log(factors).sum()
    assert_allclose(rescaled.score_samples(table * factors), expected, rtol=1e-10)
    assert_array_equal(rescaled.transform(table * factors), original.transform(table))


def test_score_is_the_mean_of_score_samples_as_a_python_float(fitted, table):
    assert isinstance(fitted.score(table), float)
    assert_allclose(fitted.score(table), fitted.score_samples(table).mean())


def test_a_row_scores_the_same_alone_and_in_any_batch(fitted, table):
    together = fitted.score_samples(table)
    alone = [fitted.score_samples(row[None]).item() for row in table[:20]]
    assert_allclose(alone, together[:20], rtol=1e-12)
    assert_allclose(fitted.score_samples(table[::-3]), together[::-3], rtol=1e-12)


def test_training_finds_a_curve_that_the_linear_start_misses():
    rng = np.random.default_rng(0)
    position = rng.standard_normal(300)
    curve = np.column_stack([position, position**2, np.sin(2 * position)])
    rows = curve + 0.1 * rng.standard_normal(curve.shape)
    start = short(n_components=1, max_iter=1, learning_rate_init=1e-12).fit(rows)
    trained = short(
        n_components=1,
        max_iter=120,
        batch_size=32,
        learning_rate_init=1e-2,
        n_iter_no_change=120,
    ).fit(rows)
    assert trained.score(rows) > start.score(rows) + 1


# Scaling


@st.composite
def tables(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows = rng.standard_t(2, size=(draw(st.integers(2, 30)), draw(st.integers(1, 4))))
    scale = 10.0 ** draw(st.integers(-12, 12))
    return rows * scale + draw(st.sampled_from([0, 1, -10])) * scale


@settings(max_examples=100, deadline=None)
@given(tables())
def test_scaling_is_undone_exactly(rows):
    rows = torch.tensor(rows)
    scaling = find_scaling(rows, torch.ones(len(rows)), "gaussian")
    restored = scaling.inverse_transform(scaling.transform(rows))
    assert_allclose(restored, rows, rtol=1e-10, atol=1e-12 * float(rows.abs().max()))


@settings(max_examples=100, deadline=None)
@given(tables())
def test_log_slope_is_the_log_derivative_of_the_scaling(rows):
    rows = torch.tensor(rows).requires_grad_()
    scaling = find_scaling(rows.detach(), torch.ones(len(rows)), "gaussian")
    scaled = scaling.transform(rows)
    (slopes,) = torch.autograd.grad(scaled.sum(), rows)
    found = scaling.log_slope(rows.detach(), scaled.detach())
    assert_allclose(found, slopes.log().sum(1), rtol=1e-9)


# Samples


def test_samples_have_the_mean_and_spread_of_the_table(table):
    model = ILVAETransformer(n_components=2, random_state=0).fit(table)
    drawn = model.sample(4000, random_state=0)
    assert_allclose((drawn.mean(0) - table.mean(0)) / table.std(0), 0, atol=0.15)
    assert_allclose(drawn.std(0) / table.std(0), 1, atol=0.15)


def test_samples_of_heavy_tails_stay_within_the_range_of_the_fit():
    rows = np.random.default_rng(0).standard_t(1.2, size=(200, 2))
    model = short(max_iter=20).fit(rows)
    (head,) = model.module_.likelihood.heads
    torch.nn.init.zeros_(head.raw_variance)
    torch.nn.init.constant_(head.log_freedom, -5.0)
    drawn = model.sample(4000, random_state=0)
    assert_array_equal(drawn.max(0), rows.max(0))
    assert_array_equal(drawn.min(0), rows.min(0))


def test_samples_of_binary_columns_are_zeros_and_ones_as_often_as_in_the_table(table):
    rows = np.column_stack(
        [table[:, 0], table[:, 1:3] > np.quantile(table[:, 1:3], 0.7, axis=0)]
    )
    model = short(max_iter=50).fit(rows)
    assert model.likelihood_ == ["student_t", "bernoulli", "bernoulli"]
    drawn = model.sample(4000, random_state=0)
    assert set(np.unique(drawn[:, 1:])) == {0, 1}
    assert_allclose(drawn[:, 1:].mean(0), rows[:, 1:].mean(0), atol=0.06)
    decoded = model.inverse_transform(model.transform(rows))[:, 1:]
    assert ((decoded > 0) & (decoded < 1)).all()


def test_samples_repeat_with_their_random_state(fitted):
    first, second = fitted.sample(5, random_state=1), fitted.sample(5, random_state=1)
    assert_array_equal(first, second)
    assert not np.array_equal(first, fitted.sample(5, random_state=2))


def test_one_row_may_be_asked_for_by_a_truth_value(fitted):
    """As scikit-learn takes True for 1 in every parameter that is a whole number."""
    one = fitted.sample(1, random_state=0)
    np.testing.assert_array_equal(fitted.sample(True, random_state=0), one)


def test_a_large_sample_is_decoded_in_parts(table):
    model = short(max_iter=1, hidden_layer_sizes=(1024,)).fit(table)
    sizes = []
    model.module_.decoder.register_forward_pre_hook(
        lambda decoder, codes: sizes.append(len(codes[0]))
    )
    drawn = model.sample(5000, random_state=0)
    assert drawn.shape == (5000, 5)
    assert len(np.unique(drawn, axis=0)) == 5000
    assert max(sizes) * 1024 <= LAYER_CHUNK


# Input of other libraries


def test_read_only_rows_stay_as_they_are(table):
    before = table.copy()
    model = short().fit(table)
    model.score_samples(table)
    assert_array_equal(table, before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_torch_tensors_are_answered_with_torch_tensors(table, dtype):
    rows = torch.tensor(table, dtype=dtype)
    with sklearn.config_context(array_api_dispatch=True):
        model = short().fit(rows)
        codes = model.transform(rows)
        decoded = model.inverse_transform(codes)
        scores = model.score_samples(rows)
    assert codes.dtype == decoded.dtype == dtype
    assert scores.dtype == torch.float64
    reference = short().fit(rows.numpy())
    assert_allclose(codes, reference.transform(rows.numpy()), rtol=1e-6)
    assert_allclose(scores, reference.score_samples(rows.numpy()), rtol=1e-12)


@pytest.mark.parametrize("step", ["fit", "partial_fit"])
def test_training_goes_on_with_arrays_of_the_same_kind_alone(table, step):
    rows = torch.tensor(table)
    with sklearn.config_context(array_api_dispatch=True):
        for first, other in ((table, rows), (rows, table)):
            model = short(warm_start=True).fit(first)
            before = vars(model).copy()
            with pytest.raises(ValueError, match=f"{step}.* must use the same names"):
                getattr(model, step)(other)
            assert vars(model) == before
            assert type(getattr(model, step)(first).scale_) is type(model.mean_)


@pytest.mark.parametrize("make", [short, short_detector])
def test_an_estimator_moved_to_another_kind_of_array_trains_on_as_before(table, make):
    with sklearn.config_context(array_api_dispatch=True):
        model = make().fit(torch.tensor(table))
        moved = move_estimator_to(model, np, "cpu").partial_fit(table)
        stayed = model.partial_fit(torch.tensor(table))
        scores = stayed.score_samples(torch.tensor(table))
    assert_array_equal(moved.score_samples(table), scores)


def test_categories_of_a_tensor_come_back_in_a_tensor(table):
    rows = torch.tensor(np.column_stack([table, np.arange(len(table)) % 3 * 2.0]))
    gaps = rows.clone()
    gaps[0, -1] = torch.nan
    with sklearn.config_context(array_api_dispatch=True):
        model = short(categorical_features=[5]).fit(rows)
        filled = model.impute(gaps)
        decoded = model.inverse_transform(model.transform(rows))
    for values in (filled, decoded):
        assert values.dtype == rows.dtype
        assert set(values[:, -1].tolist()) <= {0.0, 2.0, 4.0}
    assert torch.equal(filled[1:], rows[1:])


def test_infinity_in_a_tensor_of_any_float_is_named(table):
    rows = torch.tensor(table).bfloat16()
    rows[5, 2] = torch.inf
    with (
        sklearn.config_context(array_api_dispatch=True),
        pytest.raises(ValueError, match="Column 2 holds inf in row 5"),
    ):
        short().fit(rows)
