"""What all measures of codes share: rows one by one, estimators, draws and chunks."""

from functools import partial

import numpy as np
import pytest
import torch
from autoencoders import trained
from sklearn.datasets import load_wine
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ilvae import ILVAEOutlierDetector, ILVAETransformer, metrics
from sklearn_ilvae.vae import DECODERS, LinearCompletion
from sklearn_ilvae.vae.diagnostics import chunks

WINE = load_wine().data

PER_ROW = [metrics.relative_fisher_divergence, metrics.fisher_divergence_lower_bound]
ON_TABLES = [*PER_ROW, metrics.kl_per_unit, metrics.active_units]


@pytest.mark.parametrize("measure", PER_ROW)
def test_a_row_measures_the_same_alone_and_in_a_batch(measure):
    estimator, X = trained("anchored"), WINE
    together = measure(estimator, X[:10])
    alone = [measure(estimator, X[[row]])[0] for row in range(10)]
    np.testing.assert_allclose(together, alone, rtol=1e-10)


def test_shares_of_units_add_up_to_the_mean_divergence_of_rows():
    estimator, X = trained("anchored"), WINE[:10]
    shares = metrics.fisher_divergence_per_unit(estimator, X)
    assert shares.shape == (3,)
    expected = metrics.relative_fisher_divergence(estimator, X).mean()
    np.testing.assert_allclose(shares.sum(), expected, rtol=1e-10)


@pytest.mark.parametrize("measure", [*PER_ROW, metrics.fisher_divergence_per_unit])
@pytest.mark.parametrize("kind", [ILVAETransformer, ILVAEOutlierDetector])
def test_a_value_without_probability_has_no_posterior(measure, kind):
    frame = load_wine(as_frame=True).data[["alcohol", "ash"]]
    frame = frame.assign(strong=frame["alcohol"] > 13).astype(float)
    estimator = kind(1, max_iter=1, random_state=0).fit(frame)
    assert np.isfinite(measure(estimator, frame)).all()
    frame.loc[3, "strong"] = 0.5
    with pytest.raises(ValueError, match=r"'strong' has a Bernoulli .* holds 0\.5"):
        measure(estimator, frame)
    frame.loc[3, "strong"] = np.nan
    assert np.isfinite(measure(estimator, frame)).all()


def test_a_measure_leaves_the_network_in_single_precision():
    estimator = trained("anchored")
    metrics.kl_per_unit(estimator, WINE[:5])
    assert {p.dtype for p in estimator.module_.parameters()} == {torch.float32}


CHUNKED = [
    *ON_TABLES,
    metrics.mutual_information,
    partial(metrics.fisher_divergence_per_unit, n_draws=1),
    partial(metrics.fisher_divergence_lower_bound, n_draws=1),
]


@pytest.fixture(scope="module")
def incomplete():
    """Return a fit of more units than its layers are wide, and wine with gaps."""
    X = WINE.copy()
    X[np.random.default_rng(0).random(X.shape) < 0.2] = np.nan
    model = ILVAETransformer(8, hidden_layer_sizes=4, max_iter=2, random_state=0)
    return model.fit(X), X[:30]


@pytest.mark.parametrize("chunk", [1, 640, 10**4])
@pytest.mark.parametrize("measure", CHUNKED)
def test_chunks_do_not_matter(measure, incomplete, chunk, monkeypatch):
    whole = measure(*incomplete)
    monkeypatch.setattr(chunks, "CHUNK", chunk)
    np.testing.assert_allclose(measure(*incomplete), whole, rtol=1e-10)


@pytest.mark.parametrize("measure", CHUNKED)
def test_a_long_table_is_not_encoded_at_once(measure, incomplete, monkeypatch):
    """To encode a row with gaps takes a matrix of the squared number of units."""
    numbers, completed = [], LinearCompletion.forward

    def counted(self, coordinates):
        numbers.append(len(coordinates) * self.loadings.shape[1] ** 2)
        return completed(self, coordinates)

    monkeypatch.setattr(LinearCompletion, "forward", counted)
    monkeypatch.setattr(chunks, "CHUNK", 640)
    measure(*incomplete)
    assert 0 < max(numbers) <= 640


@pytest.mark.parametrize("measure", [*PER_ROW, metrics.mutual_information])
def test_there_is_at_least_one_draw(measure):
    with pytest.raises(ValueError, match="n_draws == 0, must be >= 1"):
        measure(trained("anchored"), WINE, n_draws=0)
    for bad in (1.5, True):
        with pytest.raises(TypeError, match="n_draws must be an instance of int"):
            measure(trained("anchored"), WINE, n_draws=bad)


DRAWING = [*PER_ROW, metrics.fisher_divergence_per_unit, metrics.mutual_information]


@pytest.mark.parametrize("measure", DRAWING)
@pytest.mark.parametrize("without", [torch.no_grad, torch.inference_mode])
def test_a_measure_does_not_depend_on_the_gradients_of_its_surroundings(
    measure, without
):
    estimator, X = trained("anchored"), WINE[:20]
    expected = measure(estimator, X)
    with without():
        found = measure(estimator, X)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("measure", DRAWING)
def test_draws_come_from_any_source_that_scikit_learn_takes(measure):
    estimator, X = trained("anchored"), WINE[:20]

    def measured(source):
        return measure(estimator, X, random_state=source)

    first, source = measured(3), np.random.RandomState(3)
    np.testing.assert_array_equal(measured(np.int64(3)), first)
    np.testing.assert_array_equal(measured(source), first)
    # An instance gives other draws the next time.
    assert not np.array_equal(measured(source), first)
    assert not np.array_equal(measured(None), measured(None))
    with pytest.raises(ValueError, match="'often' cannot be used to seed"):
        measured("often")


@pytest.mark.parametrize("measure", [*ON_TABLES, metrics.mutual_information])
def test_table_and_estimator_are_checked(measure):
    with pytest.raises(NotFittedError):
        measure(ILVAETransformer(), WINE)
    with pytest.raises(ValueError, match="features"):
        measure(trained("anchored"), WINE[:, :4])


@pytest.mark.parametrize("measure", [*ON_TABLES, metrics.mutual_information])
def test_a_detector_is_measured_as_its_autoencoder(measure):
    X = WINE[:30]
    detector = ILVAEOutlierDetector(2, max_iter=2, random_state=0).fit(X)
    inner = detector.transformer_
    np.testing.assert_array_equal(measure(detector, X), measure(inner, X))
    bound = metrics.average_fisher_lower_bound(inner)
    assert metrics.average_fisher_lower_bound(detector) == bound


@pytest.mark.parametrize("measure", [*ON_TABLES, metrics.mutual_information])
def test_an_estimator_without_an_autoencoder_is_refused(measure):
    X = WINE
    with pytest.raises(TypeError, match="is a StandardScaler, which has no autoenc"):
        measure(make_pipeline(StandardScaler()).fit(X), X)
    with pytest.raises(TypeError, match="ILVAETransformer or ILVAEOutlierDetector"):
        metrics.average_fisher_lower_bound(StandardScaler())


@pytest.mark.parametrize("measure", [*ON_TABLES, metrics.mutual_information])
def test_a_pipeline_is_measured_as_its_last_step(measure):
    X = WINE[:30]
    scaler = StandardScaler().fit(X)
    inner = trained("anchored")
    pipeline = make_pipeline(scaler, make_pipeline(inner))
    np.testing.assert_array_equal(
        measure(pipeline, X), measure(inner, scaler.transform(X))
    )
    assert metrics.average_fisher_lower_bound(
        pipeline
    ) == metrics.average_fisher_lower_bound(inner)


@pytest.mark.parametrize("measure", ON_TABLES)
def test_same_result_from_float32_and_on_any_decoder(measure):
    X = WINE[:20]
    for family in DECODERS:
        result = measure(trained(family), X)
        assert isinstance(result, np.ndarray)
        single = measure(trained(family), X.astype(np.float32))
        np.testing.assert_allclose(single, result, rtol=1e-3)
