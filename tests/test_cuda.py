"""What a GPU computes is what the processor does; skipped where there is none."""

import pickle

import numpy as np
import pytest
import sklearn
import torch
from autoencoders import correlated_rows, started_model
from mixed import people
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_ilvae import ILVAEOutlierDetector, ILVAETransformer, SteinScoreEstimator
from sklearn_ilvae._training import net
from sklearn_ilvae.stein import (
    RBF,
    DensityScore,
    Settings,
    entropy_surrogate,
    fisher_divergence_cross_fitted,
    fit_score,
    kernel_stein_discrepancy,
    stein_score,
)
from sklearn_ilvae.vae import DECODERS, evidence_lower_bound

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="there is no CUDA device"
)

# Training


def on_gpu(**parameters):
    return ILVAETransformer(
        **{
            "n_components": 2,
            "hidden_layer_sizes": 16,
            "batch_size": 64,
            "max_iter": 20,
            "random_state": 0,
            "device": "cuda",
        }
        | parameters
    )


def bound_and_gradients(model, rows, noise):
    bound = evidence_lower_bound(model, rows, noise)
    gradients = torch.autograd.grad(bound.mean(), list(model.parameters()))
    return [each.detach().cpu() for each in (bound, *gradients)]


@pytest.mark.parametrize("n_mixture_components", [0, 4])
@pytest.mark.parametrize("decoder", DECODERS)
def test_the_bound_and_its_gradients_are_those_of_the_processor(
    decoder, n_mixture_components
):
    rows = correlated_rows(50, n_features=5, n_factors=2, seed=0)
    model = started_model(
        rows, decoder, n_components=2, n_mixture_components=n_mixture_components
    )
    noise = torch.randn(50, 2, dtype=rows.dtype, generator=torch.Generator())
    expected = bound_and_gradients(model, rows, noise)
    found = bound_and_gradients(model.cuda(), rows.cuda(), noise.cuda())
    for ours, theirs in zip(found, expected, strict=True):
        assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)


def test_every_kind_of_column_trains():
    rows = people(300)
    kinds = {"visits": "negative_binomial", "height": "student_t"}
    parameters = {"likelihood": kinds, "power_transform": True}
    losses = on_gpu(early_stopping=False, **parameters).fit(rows).loss_curve_
    assert losses[-1] < losses[0]


class Unrecorded:
    """Stands for `Recorder` where every call shall launch its own kernels."""

    def __init__(self, generator):
        pass

    def call(self, function, *inputs):
        return function(*inputs)


def losses_of(rows, **parameters):
    model = on_gpu(max_iter=10, **parameters).fit(rows)
    return np.concatenate([model.loss_curve_, model.validation_scores_])


@pytest.mark.parametrize(
    "parameters",
    [
        *({"decoder": decoder} for decoder in DECODERS),
        {"prior": "standard_normal"},
        {"n_components": 1},
        {"hidden_layer_sizes": (16, 8), "activation": "softplus", "kl_weight": 0.5},
    ],
    ids=str,
)
def test_recorded_steps_are_those_of_single_kernels(parameters, table, monkeypatch):
    recorded = losses_of(table, **parameters)
    monkeypatch.setattr(net, "Recorder", Unrecorded)
    assert_allclose(losses_of(table, **parameters), recorded, rtol=1e-5)


@pytest.mark.parametrize("gaps", [0.0, 0.1])
def test_recorded_steps_of_every_kind_of_column(gaps, monkeypatch):
    rows = people(300, gaps=gaps)
    kinds = {"visits": "negative_binomial", "height": "student_t"}
    recorded = losses_of(rows, likelihood=kinds)
    monkeypatch.setattr(net, "Recorder", Unrecorded)
    assert_allclose(losses_of(rows, likelihood=kinds), recorded, rtol=1e-5)


@pytest.mark.parametrize("gaps", [0.0, 0.1])
def test_a_random_state_makes_fits_equal(gaps):
    rows = people(300, gaps=gaps)
    first, second = on_gpu().fit(rows), on_gpu().fit(rows)
    assert first.loss_curve_ == second.loss_curve_
    assert_array_equal(first.transform(rows), second.transform(rows))


def test_training_goes_on_where_it_ended(table):
    model = on_gpu(warm_start=True, early_stopping=False).fit(table)
    losses = model.fit(table).loss_curve_
    assert losses[model.max_iter] < losses[0]
    assert model.n_iter_ == 2 * model.max_iter
    assert on_gpu().partial_fit(table).partial_fit(table).n_iter_ == 2


def test_the_certificate_holds_after_training(table):
    model = on_gpu(inverse_lipschitz=0.7).fit(table)
    assert model.inverse_lipschitz_ >= 0.7


# Inference


@pytest.fixture(scope="module")
def mixed_model():
    rows = people(300, gaps=0.1)
    return rows, on_gpu(max_iter=5).fit(rows)


@pytest.mark.parametrize("method", ["transform", "score_samples"])
def test_the_processor_agrees(mixed_model, method):
    rows, model = mixed_model
    twin = pickle.loads(pickle.dumps(model)).set_params(device="cpu")
    assert_allclose(
        getattr(twin, method)(rows), getattr(model, method)(rows), rtol=1e-4, atol=1e-4
    )


def test_decoding_and_imputing_agree(mixed_model):
    rows, model = mixed_model
    twin = pickle.loads(pickle.dumps(model)).set_params(device="cpu")
    codes = model.transform(rows)
    numbers = ["height"]
    assert_allclose(
        twin.inverse_transform(codes)[numbers],
        model.inverse_transform(codes)[numbers],
        rtol=1e-4,
    )
    assert_allclose(twin.impute(rows)[numbers], model.impute(rows)[numbers], rtol=1e-4)


def test_a_table_on_the_gpu_may_hold_levels_and_counts():
    rng = np.random.default_rng(0)
    levels, counts = rng.integers(0, 6, 300), rng.poisson(3, 300)
    columns = [rng.normal(size=300), levels, counts, levels > 2]
    rows = torch.from_numpy(np.column_stack(columns).astype(float)).cuda()
    gaps = rows.clone()
    gaps[::3, 1] = torch.nan
    kinds = {"likelihood": ["auto", "auto", "poisson", "auto"]}
    with sklearn.config_context(array_api_dispatch=True):
        # Three levels share one, and a draw tells which of them it is.
        model = on_gpu(max_iter=2, categorical_features=[1], max_categories=4, **kinds)
        filled = [model.fit(rows).impute(gaps), *model.impute(gaps, 2, random_state=0)]
    for table in filled:
        assert table.device == rows.device
        assert torch.equal(table[1::3], rows[1::3])
        assert set(table[:, 1].tolist()) <= set(range(6))


@pytest.mark.parametrize("gaps", [0.0, 0.1])
def test_a_detector_scores_alike(gaps):
    rows = people(300, gaps=gaps)
    detector = ILVAEOutlierDetector(max_iter=5, device="cuda", random_state=0)
    found = detector.fit(rows).score_samples(rows)
    twin = pickle.loads(pickle.dumps(detector)).set_params(device="cpu")
    twin.transformer_.set_params(device="cpu")
    assert_allclose(twin.score_samples(rows), found, rtol=1e-6, atol=1e-6)
    assert_allclose(detector.feature_contributions(rows).sum(axis=1), found, rtol=1e-6)


# Scores


def ring(n):
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 2 * np.pi, n)
    rows = np.column_stack([np.cos(angle), np.sin(angle)])
    return rows + 0.2 * rng.standard_normal(rows.shape)


def fitted_twins(rows, sample_weight=None, **parameters):
    return [
        SteinScoreEstimator(random_state=0, device=device, **parameters).fit(
            rows, sample_weight=sample_weight
        )
        for device in ("cpu", "cuda")
    ]


def assert_close(found, expected, tolerance=1e-4):
    size = float(np.abs(np.asarray(expected)).max())
    assert_allclose(found, expected, rtol=tolerance, atol=tolerance * size)


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"base": "mixture", "bandwidth": 1.0, "regularization": 0.01},
        {"base": "student_t", "form": "diagonal", "kernel": "rbf"},
        {"method": "stein", "kernel": "rbf"},
        {"method": "nu", "base": "gaussian", "kernel": "rbf", "form": "curl_free"},
    ],
    ids=str,
)
def test_an_estimated_score_is_that_of_the_processor(parameters):
    rows = ring(400)
    first, second = fitted_twins(rows, **parameters)
    moved = pickle.loads(pickle.dumps(second)).set_params(device="cpu")
    for name in ("score_gradient", "divergence"):
        expected = getattr(first, name)(rows)
        for each in (second, moved):
            assert_close(getattr(each, name)(rows), expected)


@pytest.mark.parametrize(
    "parameters",
    [{"bandwidth": "median", "form": "curl_free"}, {"method": "stein"}],
    ids=str,
)
def test_repeated_and_weighted_rows_of_a_plane_count_as_on_the_processor(parameters):
    rows = ring(200)
    rows = np.column_stack([rows, rows.sum(axis=1), np.ones(200)])
    rows = rows[np.arange(300) % 200]
    weights = 0.5 + np.arange(300) % 3
    first, second = fitted_twins(rows, weights, kernel="rbf", **parameters)
    assert_close(second.score_gradient(rows), first.score_gradient(rows))
    expected = first.score(rows, sample_weight=weights)
    assert second.score(rows, sample_weight=weights) == pytest.approx(expected)


@pytest.mark.parametrize("repeated", [False, True])
def test_the_choices_of_a_large_sample_are_those_of_the_processor(repeated):
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((30_000, 2))
    rows[:, 1] += rows[:, 0] ** 2
    if repeated:
        rows = rows[np.arange(30_000) % 28_000]
    first, second = fitted_twins(rows, n_landmarks=100)
    assert first.form_ == second.form_
    rows = rows[:500]
    assert_close(second.score_gradient(rows), first.score_gradient(rows), 1e-3)


SETTINGS = Settings("rbf", "curl_free", bandwidth=1.0, regularization=0.01)


@pytest.mark.parametrize(
    ("kept", "computed"), [("cpu", "cuda"), ("cuda", "cpu"), ("cuda", "cuda")]
)
def test_rows_may_be_kept_on_another_device(kept, computed):
    rows = torch.from_numpy(ring(200))[torch.arange(300) % 200]
    expected = fit_score(rows, SETTINGS)[0].score(rows)
    there = rows.to(kept)
    found = fit_score(there, SETTINGS, device=computed)[0].score(there)
    assert_close(found.cpu(), expected)


@pytest.mark.parametrize("computed", ["cpu", "cuda"])
def test_a_divergence_is_that_of_the_processor(computed):
    def divergence(rows, device):
        return fisher_divergence_cross_fitted(
            rows,
            lambda rest: fit_score(rest, SETTINGS, device=device)[0],
            DensityScore(lambda x: -x),
            generator=torch.Generator().manual_seed(0),
        )

    rows = torch.from_numpy(ring(200))
    expected = divergence(rows, "cpu")
    assert float(divergence(rows.cuda(), computed)) == pytest.approx(float(expected))


def test_differentiable_estimates_are_those_of_the_processor():
    rows = torch.from_numpy(ring(200))
    found, expected = [], []
    for results, place in ((expected, rows), (found, rows.cuda())):
        sample = place.clone().requires_grad_()
        entropy_surrogate(sample).backward()
        discrepancy = kernel_stein_discrepancy(place, -place, RBF(1.0))
        results += [stein_score(place), sample.grad, discrepancy]
    for ours, theirs in zip(found, expected, strict=True):
        assert_close(ours.cpu(), theirs)
