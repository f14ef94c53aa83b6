"""Results do not depend on what the code around asks torch for."""

import pickle
from copy import deepcopy

import numpy as np
import pytest
import torch
from autoencoders import short, short_detector
from mixed import people
from numpy.testing import assert_array_equal
from sklearn.base import clone

from sklearn_ilvae import SteinScoreEstimator, metrics, stein

SURROUNDINGS = {
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    # Its tensors hold no values: what is made there cannot be used.
    "another default device": lambda: torch.device("meta"),
}


def of_an_autoencoder(table):
    model = short().fit(table.astype(np.float32))
    codes = model.transform(table.astype(np.float32))
    return (
        codes,
        model.inverse_transform(codes),
        model.score_samples(table),
        model.sample(3, random_state=0),
        pickle.loads(pickle.dumps(model)).transform(table),
    )


def of_a_mixed_table(_):
    frame = people(gaps=0.1)
    model = short().fit(frame).partial_fit(frame)
    return model.impute(frame, 2, random_state=0)


def of_a_detector(table):
    detector = short_detector(calibration_fraction=0.2).fit(table)
    return (
        detector.feature_contributions(table),
        detector.p_values(table),
        detector.select(table),
        detector.set_threshold(contamination=0.1).predict(table),
    )


def of_a_score_estimator(table):
    model = SteinScoreEstimator(random_state=0).fit(table[:, :2])
    loaded = pickle.loads(pickle.dumps(model))
    return loaded.score_gradient(table[:, :2]), loaded.score_samples(table[:, :2])


def of_scores_in_plain_torch(table):
    rows = torch.from_numpy(table[:30, :2].copy())
    flat = torch.cat([rows, rows.sum(1, keepdim=True)], dim=1)
    published = stein.Settings(method="stein", base=None)
    curl_free = stein.Settings(kernel="rbf", form="curl_free", bandwidth=1.0)
    source = torch.Generator().manual_seed(0)
    return (
        stein.fit_score(flat, published)[0].score(flat),
        stein.fit_score(rows, curl_free)[0].score(rows),
        stein.stein_score(rows),
        stein.fisher_divergence_cross_fitted(
            rows,
            lambda others: stein.fit_score(others, published)[0],
            stein.DensityScore(torch.neg),
            generator=source,
        ),
    )


def of_metrics(table):
    model = short().fit(table)
    few = table[:40, :2]
    return (
        metrics.kl_per_unit(model, table),
        metrics.active_units(model, table),
        metrics.mutual_information(model, table),
        metrics.relative_fisher_divergence(model, table[:9], n_draws=4),
        metrics.fisher_divergence_per_unit(model, table[:9], n_draws=4),
        metrics.fisher_divergence_lower_bound(model, table[:9], n_draws=4),
        metrics.average_fisher_lower_bound(model),
        metrics.fisher_divergence_from_density(few, torch.neg),
        metrics.kernel_stein_discrepancy(few, torch.neg),
    )


@pytest.mark.parametrize("surroundings", SURROUNDINGS.values(), ids=SURROUNDINGS)
@pytest.mark.parametrize(
    "results",
    [
        of_an_autoencoder,
        of_a_mixed_table,
        of_a_detector,
        of_a_score_estimator,
        of_scores_in_plain_torch,
        of_metrics,
    ],
)
def test_results_are_the_same_in_other_surroundings(table, results, surroundings):
    expected = results(table)
    with surroundings():
        found = results(table)
    for values, same in zip(found, expected, strict=True):
        assert_array_equal(values, same)


def gradient_of_a_decoder(model):
    codes = torch.zeros(2, 2, requires_grad=True)
    model.module_.decoder(codes).sum().backward()
    return codes.grad


def gradient_of_a_score(model):
    rows = torch.zeros(2, 5, dtype=torch.float64, requires_grad=True)
    model.model_.score(rows).sum().backward()
    return rows.grad


@pytest.mark.parametrize(
    ("make", "gradient"),
    [
        (short, gradient_of_a_decoder),
        (
            lambda: SteinScoreEstimator(bandwidth=9.0, regularization=0.1),
            gradient_of_a_score,
        ),
        (lambda: SteinScoreEstimator(method="stein"), gradient_of_a_score),
    ],
    ids=["autoencoder", "regression", "published"],
)
@pytest.mark.parametrize(
    "again",
    [
        lambda model, table: clone(model).fit(table),
        lambda model, _: pickle.loads(pickle.dumps(model)),
        lambda model, _: deepcopy(model),
    ],
    ids=["fit", "pickle", "deepcopy"],
)
def test_torch_differentiates_what_was_made_in_inference_mode(
    table, make, gradient, again
):
    model = make().set_params(random_state=0).fit(table[:40])
    with torch.inference_mode():
        other = again(model, table[:40])
    assert_array_equal(gradient(other), gradient(model))
