"""Histograms of scores, reasons for them and fields of gradients are drawn as given."""

import narwhals
import numpy as np
import pandas as pd
import pytest
from displays import legend_texts
from mixed import LIBRARIES, people, rows_of
from numpy.testing import assert_allclose

from sklearn_ilvae import ILVAEOutlierDetector, SteinScoreEstimator
from sklearn_ilvae.inspection import (
    FeatureContributionsDisplay,
    ScoreFieldDisplay,
    ScoreHistogramDisplay,
)

pytest.importorskip("matplotlib")
pytestmark = pytest.mark.usefixtures("small_figures")


def test_a_histogram_has_no_scale():
    scores = np.arange(60.0)
    with pytest.raises(ValueError, match=r"y has 60 groups.*numpy\.digitize"):
        ScoreHistogramDisplay.from_predictions(scores, scores / 7)


def test_outliers_keep_their_name_beside_missing_labels():
    display = ScoreHistogramDisplay.from_predictions(np.arange(3.0), [-1, None, 1])
    assert legend_texts(display.ax_) == ["inliers", "outliers", "missing"]


def test_groups_whose_names_begin_with_an_underscore_are_explained():
    display = ScoreHistogramDisplay.from_predictions([1.0, 2.0], ["_a", "b"])
    assert legend_texts(display.ax_) == ["_a", "b"]


def test_one_row_is_counted_in_the_singular():
    scores = np.append(np.random.default_rng(0).normal(size=300), -1e6)
    display = ScoreHistogramDisplay.from_predictions(scores)
    assert "leftmost bin: 1 row scores less" in display.ax_.get_xlabel()
    display = ScoreHistogramDisplay.from_predictions([1.0], threshold=0.0)
    assert "threshold 0: 0 of 1 row below (0.0%)" in legend_texts(display.ax_)


def test_scores_far_below_share_the_leftmost_bin():
    scores = np.append(np.random.default_rng(0).normal(size=300), [-1e6, -1e5])
    display = ScoreHistogramDisplay.from_predictions(scores, threshold=-2.0)
    assert display.ax_.get_xlim()[0] > -100
    assert "leftmost bin: 2 rows" in display.ax_.get_xlabel()
    below = (scores < -2.0).sum()
    assert any(
        f"{below} of 302 rows below" in text for text in legend_texts(display.ax_)
    )


def test_a_row_on_the_threshold_is_not_below_it():
    display = ScoreHistogramDisplay.from_predictions([0.0, 1.0, 2.0], threshold=1.0)
    assert "threshold 1: 1 of 3 rows below (33.3%)" in legend_texts(display.ax_)


@pytest.mark.parametrize("threshold", [-50.0, 0.0, 50.0])
def test_the_coloured_region_lies_below_the_threshold(threshold):
    scores = np.random.default_rng(0).normal(size=100)
    display = ScoreHistogramDisplay.from_predictions(scores, threshold=threshold)
    region = display.ax_.patches[-1]
    assert region.get_x() < region.get_x() + region.get_width() == threshold


def test_a_constant_score_is_drawn():
    display = ScoreHistogramDisplay.from_predictions(np.zeros(10), threshold=0.0)
    display.figure_.canvas.draw()


def test_scores_that_differ_by_rounding_alone_are_drawn():
    scores = 1e9 + np.spacing(1e9) * np.arange(5)
    display = ScoreHistogramDisplay.from_predictions(scores)
    assert sum(bar.get_height() for bar in display.ax_.patches) == 5


@pytest.mark.parametrize("threshold", [np.nan, -np.inf])
def test_a_threshold_that_is_not_finite_is_refused(threshold):
    with pytest.raises(ValueError, match=r"threshold=.* must be finite; pass None"):
        ScoreHistogramDisplay.from_predictions([1.0, 2.0], threshold=threshold)


@pytest.mark.parametrize("threshold", ["auto", np.array([0.5])])
def test_a_threshold_that_is_no_number_is_named(threshold):
    with pytest.raises(TypeError, match="threshold must be an instance of float"):
        ScoreHistogramDisplay.from_predictions([1.0, 2.0], threshold=threshold)


@pytest.mark.parametrize("count", [1, 7, 15])
def test_counts_of_few_rows_are_written_without_powers_of_ten(count):
    display = ScoreHistogramDisplay.from_predictions([0.0] * count + [1.0])
    display.figure_.canvas.draw()
    low, high = display.ax_.get_ylim()
    labels = display.ax_.yaxis.get_ticklabels(which="both")
    seen = [
        label.get_text() for label in labels if low <= label.get_position()[1] <= high
    ]
    assert "1" in seen
    assert all(float(text) >= 1 for text in seen if text)


def test_scores_are_one_a_row():
    with pytest.raises(ValueError, match=r"one number a row, got .* shape \(2, 1\)"):
        ScoreHistogramDisplay.from_predictions([[1.0], [2.0]])


def test_more_rows_than_panels_fit_in_a_picture_are_refused():
    with pytest.raises(ValueError, match="have 101 rows, and at most 100 can be drawn"):
        FeatureContributionsDisplay.from_predictions(np.ones((101, 2)))


def test_contributions_sum_up_with_the_rest():
    given = np.array([[1.0, -5.0, 0.5, 0.25, 3.0]])
    display = FeatureContributionsDisplay.from_predictions(
        given, list("abcd"), values=[[1.0, 2.0, 3.0, 4.0]], max_features=3
    )
    panel = display.ax_[0]
    labels = [label.get_text() for label in panel.get_yticklabels()]
    assert labels == ["b = 2", "latent code", "a = 1", "2 other columns"]
    assert sum(bar.get_width() for bar in panel.patches) == pytest.approx(given.sum())


def test_reasons_of_a_detector_are_drawn_as_surprise(table):
    detector = ILVAEOutlierDetector(2, max_iter=2, random_state=0).fit(table)
    display = FeatureContributionsDisplay.from_estimator(detector, table[:1])
    drawn = sum(bar.get_width() for bar in display.ax_[0].patches)
    typical = detector.typical_contributions_.sum()
    assert drawn == pytest.approx(typical - detector.score_samples(table[:1])[0])
    draw = ScoreHistogramDisplay.from_estimator
    assert draw(detector, table).threshold == detector.offset_
    assert draw(detector.set_threshold(offset=-np.inf), table).threshold is None


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_values_of_mixed_rows_are_written_as_their_users_know_them(library):
    frame = people(60, gaps=0.1)
    frame.loc[0, "smoker"] = None
    X = LIBRARIES[library](frame)
    detector = ILVAEOutlierDetector(2, max_iter=2, random_state=0).fit(X)
    display = FeatureContributionsDisplay.from_estimator(detector, rows_of(X, [0]))
    labels = {label.get_text() for label in display.ax_[0].get_yticklabels()}
    assert {"grade = mid", "joined = 2020-01-14", "smoker = missing"} <= labels


def test_names_that_do_not_match_are_refused():
    with pytest.raises(ValueError, match="3 columns but feature_names has 1"):
        FeatureContributionsDisplay.from_predictions([[1.0, 2.0, 3.0]], ["a"])
    with pytest.raises(ValueError, match="2 rows but row_names has 1"):
        FeatureContributionsDisplay.from_predictions([[1.0], [2.0]], row_names=["a"])


def test_the_field_points_up_the_density(field, plane):
    display = ScoreFieldDisplay.from_estimator(field, plane, grid_resolution=5)
    sizes = np.linalg.norm(display.gradients, axis=1)
    assert_allclose(display.quiver_.get_array(), sizes)
    shown = np.hypot(display.quiver_.U, display.quiver_.V)
    assert_allclose(shown, np.minimum(sizes, np.quantile(sizes, 0.75)))
    towards_centre = -(display.points * display.gradients).sum(1)
    assert (towards_centre[np.linalg.norm(display.points, axis=1) > 1] > 0).all()


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_the_field_knows_the_names_of_columns(plane, library):
    frame = LIBRARIES[library](pd.DataFrame(plane, columns=["length", "width"]))
    estimator = SteinScoreEstimator("rbf", bandwidth=1.0, regularization=0.1).fit(frame)
    for rows in (frame, narwhals.from_native(frame)):
        display = ScoreFieldDisplay.from_estimator(estimator, rows, grid_resolution=3)
        assert display.ax_.get_xlabel() == "length"
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        ScoreFieldDisplay.from_estimator(estimator, plane, grid_resolution=3)
    turned = LIBRARIES[library](pd.DataFrame(plane, columns=["width", "length"]))
    with pytest.raises(ValueError, match="must be in the same order"):
        ScoreFieldDisplay.from_estimator(estimator, turned, grid_resolution=3)


def test_a_field_without_gradients_is_drawn(plane):
    display = ScoreFieldDisplay.from_predictions(plane, np.zeros_like(plane))
    display.figure_.canvas.draw()


def test_a_field_in_three_dimensions_is_refused(plane):
    wide = np.column_stack([plane, plane[:, 0] * plane[:, 1]])
    estimator = SteinScoreEstimator("rbf", bandwidth=1.0, regularization=0.1).fit(wide)
    with pytest.raises(ValueError, match="needs an estimator of 2 columns"):
        ScoreFieldDisplay.from_estimator(estimator, wide)
    with pytest.raises(ValueError, match="X has 3 columns, and the estimator was fit"):
        ScoreFieldDisplay.from_estimator(estimator.fit(plane), wide)


@pytest.mark.parametrize("resolution", [0, -1, 2.5])
def test_a_grid_without_arrows_is_refused(field, plane, resolution):
    with pytest.raises((ValueError, TypeError), match="grid_resolution"):
        ScoreFieldDisplay.from_estimator(field, plane, grid_resolution=resolution)


def test_what_is_drawn_with_a_field_has_its_columns():
    points = np.eye(2)
    draw = ScoreFieldDisplay.from_predictions
    with pytest.raises(ValueError, match="sample has 3 columns, and points have 2"):
        draw(points, points, sample=np.eye(3))
    with pytest.raises(ValueError, match=r"feature_names=\['a'\] must be the names of"):
        draw(points, points, feature_names=["a"])
