"""Displays take estimators, pipelines and detectors, and refuse others by name."""

import numpy as np
import pytest
import sklearn
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

from sklearn_ilvae import (
    ILVAEOutlierDetector,
    ILVAETransformer,
    SteinScoreEstimator,
)
from sklearn_ilvae.inspection import (
    ColumnSummaryDisplay,
    FeatureContributionsDisplay,
    LatentMapDisplay,
    LatentUsageDisplay,
    MissingnessDisplay,
    ParameterPathDisplay,
    ScoreFieldDisplay,
    ScoreHistogramDisplay,
    TrainingCurveDisplay,
)

pytest.importorskip("matplotlib")

pytestmark = pytest.mark.usefixtures("small_figures")


@pytest.fixture(scope="module")
def detector(table):
    return ILVAEOutlierDetector(2, max_iter=2, random_state=0).fit(table)


class Explainer(BaseEstimator):
    """Anything that explains rows."""

    def fit(self, X):
        self.n_features_in_ = X.shape[1]
        return self

    def feature_contributions(self, X):
        return 2 * X


AUTOENCODERS = {
    "training": lambda model, X: TrainingCurveDisplay.from_estimator(model).loss_curve,
    "usage": lambda model, X: LatentUsageDisplay.from_estimator(model, X, n_draws=2).kl,
    "map": lambda model, X: LatentMapDisplay.from_estimator(model, X).codes,
    "columns": lambda model, X: ColumnSummaryDisplay.from_estimator(
        model, X, n_samples=20, max_features=1
    ).observed["x0"],
    "gaps": lambda model, X: MissingnessDisplay.from_estimator(model, X).missing,
}
by_autoencoder = pytest.mark.parametrize(
    "draw", AUTOENCODERS.values(), ids=AUTOENCODERS.keys()
)


@pytest.mark.parametrize("estimator", [IsolationForest(), OneClassSVM()])
def test_the_threshold_is_that_of_any_detector(table, estimator):
    detector = clone(estimator).fit(table)
    display = ScoreHistogramDisplay.from_estimator(detector, table)
    assert display.threshold == np.ravel(detector.offset_)


@pytest.mark.parametrize(
    "draw",
    [
        *AUTOENCODERS.values(),
        lambda model, X: ScoreHistogramDisplay.from_estimator(model, X).scores,
    ],
)
def test_a_pipeline_is_drawn_as_its_last_step(table, draw):
    model = ILVAETransformer(n_components=2, max_iter=2, random_state=0)
    scaler = StandardScaler().fit(table[:250])
    pipeline = make_pipeline(clone(scaler), clone(model)).fit(table[:250])
    model.fit(scaler.transform(table[:250]))
    np.testing.assert_array_equal(
        draw(pipeline, table[:40]), draw(model, scaler.transform(table[:40]))
    )
    alone = make_pipeline(make_pipeline(model))
    np.testing.assert_array_equal(draw(alone, table[:40]), draw(model, table[:40]))


@by_autoencoder
def test_a_detector_is_drawn_as_its_autoencoder(table, detector, draw):
    found = draw(make_pipeline(detector), table[:40])
    np.testing.assert_array_equal(found, draw(detector.transformer_, table[:40]))


def test_a_detector_is_drawn_with_the_parameters_that_it_has_now():
    rows = [["a", 0.1], ["b", 0.7], ["a", 0.3], ["b", 0.4]]
    detector = ILVAEOutlierDetector(categorical_features=[0], max_iter=2).fit(rows)
    new = [["c", 0.5]]
    with pytest.raises(ValueError, match="set handle_unknown='missing'"):
        MissingnessDisplay.from_estimator(detector, new)
    detector.set_params(handle_unknown="missing")
    display = MissingnessDisplay.from_estimator(detector, new)
    assert display.missing.tolist() == [[True, False]]


@by_autoencoder
@pytest.mark.parametrize("foreign", [StandardScaler(), IsolationForest(), None])
def test_an_estimator_without_an_autoencoder_is_refused(table, draw, foreign):
    with pytest.raises(TypeError, match="has no autoencoder; pass a fitted ILVAETrans"):
        draw(foreign, table)


@by_autoencoder
@pytest.mark.parametrize("unfitted", [ILVAETransformer(), ILVAEOutlierDetector()])
def test_an_estimator_without_a_fit_is_refused(table, draw, unfitted):
    with pytest.raises(NotFittedError):
        draw(unfitted, table)


def test_pipelines_of_detectors_and_scores_are_drawn(table):
    plane = np.random.default_rng(0).normal(size=(120, 2))
    detector = make_pipeline(
        StandardScaler(), ILVAEOutlierDetector(2, max_iter=2, random_state=0)
    ).fit(table)
    histogram = ScoreHistogramDisplay.from_estimator(detector, table)
    assert histogram.threshold == detector[-1].offset_
    reasons = FeatureContributionsDisplay.from_estimator(detector, table[:1])
    assert reasons.contributions.shape == (1, 6)
    estimator = SteinScoreEstimator("rbf", bandwidth=1.0, regularization=0.1)
    scores = make_pipeline(StandardScaler(), estimator).fit(100 * plane)
    field = ScoreFieldDisplay.from_estimator(scores, 100 * plane, grid_resolution=3)
    assert np.abs(field.points).max() < 10


@pytest.mark.parametrize(
    "draw",
    [
        *AUTOENCODERS.values(),
        lambda model, X: ScoreHistogramDisplay.from_estimator(model, X).scores,
        lambda model, X: (
            FeatureContributionsDisplay.from_estimator(model, X[:2]).contributions
        ),
    ],
)
def test_tensors_are_drawn_as_arrays_are(table, detector, draw):
    rows = torch.tensor(table)
    with sklearn.config_context(array_api_dispatch=True):
        found = draw(clone(detector).fit(rows), rows[:40])
    np.testing.assert_allclose(found, draw(detector, table[:40]), rtol=1e-9)


def test_contributions_come_from_any_estimator_that_explains():
    rows = np.array([[1.0, 2.0]])
    detector = Explainer().fit(rows)
    display = FeatureContributionsDisplay.from_estimator(
        detector, rows, row_names=["bad"]
    )
    assert display.ax_[0].get_yticklabels()[0].get_text() == "x1 = 2"
    assert display.ax_[0].get_title() == "Row bad"


@pytest.mark.parametrize(
    ("draw", "lack"),
    [
        (FeatureContributionsDisplay.from_estimator, "does not explain rows; pass one"),
        (ScoreHistogramDisplay.from_estimator, "does not score rows; pass one with"),
        (ScoreFieldDisplay.from_estimator, "has no gradients; pass one with score_gr"),
        (
            lambda each, X: ParameterPathDisplay.from_estimator(each),
            "is no search; pas",
        ),
    ],
)
def test_an_estimator_without_what_is_drawn_is_refused(table, draw, lack):
    with pytest.raises(TypeError, match=f"is a StandardScaler, which {lack}"):
        draw(StandardScaler().fit(table), table)
