"""Displays draw what they are given, with titles, units and legends."""

import narwhals
import numpy as np
import pandas as pd
import pytest
from mixed import LIBRARIES, people, rows_of
from sklearn.ensemble import IsolationForest
from sklearn.model_selection import GridSearchCV

from sklearn_ilvae import (
    ILVAEOutlierDetector,
    ILVAETransformer,
    SteinScoreEstimator,
    metrics,
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
from sklearn_ilvae.inspection.latent_map import mass_levels

plt = pytest.importorskip("matplotlib.pyplot")


pytestmark = pytest.mark.usefixtures("small_figures")


@pytest.fixture(scope="module")
def plane():
    return np.random.default_rng(0).normal(size=(120, 2))


@pytest.fixture(scope="module")
def field(plane):
    return SteinScoreEstimator("rbf", bandwidth=1.0, regularization=0.1).fit(plane)


@pytest.fixture(scope="module")
def search(table):
    model = ILVAETransformer(n_components=2, max_iter=2, random_state=0)
    grid = {"inverse_lipschitz": [0.0, 1.0, "auto"], "kl_weight": [0.5, 1.0]}
    return GridSearchCV(model, grid, cv=2).fit(table)


def legend_texts(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def check_readable(display):
    """Draw for good, and require titles and labels on every visible panel."""
    display.figure_.canvas.draw()
    panels = [ax for ax in np.ravel(display.ax_) if ax.axison]
    assert panels
    assert any(ax.get_title() for ax in panels)
    for ax in panels:
        assert ax.get_xlabel() or ax.get_ylabel() or len(panels) > 2
        assert ax.figure is display.figure_


def drawings(table, fitted, mixed, plane, field, search):
    """Yield every way to make a display."""
    people, of_people = mixed
    groups = np.arange(len(table)) % 3
    scores = plane[:, 0]
    forest = IsolationForest(n_estimators=5, random_state=0).fit(table)
    yield lambda ax: TrainingCurveDisplay.from_estimator(fitted, ax=ax)
    yield lambda ax: TrainingCurveDisplay.from_predictions([3.0], ax=ax)
    yield lambda ax: LatentUsageDisplay.from_estimator(fitted, table[:50], ax=ax)
    yield lambda ax: LatentUsageDisplay.from_predictions([0.0, 1.0], ax=ax)
    yield lambda ax: ParameterPathDisplay.from_estimator(search, ax=ax)
    yield lambda ax: ParameterPathDisplay.from_predictions(
        [0.0, 0.01, 0.1, 1.0], {"KL": [1, 2, 3, 4], "score": [4, 3, 2, 1]}, ax=ax
    )
    yield lambda ax: LatentMapDisplay.from_estimator(fitted, table, groups, ax=ax)
    yield lambda ax: LatentMapDisplay.from_estimator(fitted, table, units=[1], ax=ax)
    yield lambda ax: LatentMapDisplay.from_predictions(table, table[:, 0], ax=ax)
    yield lambda ax: ScoreHistogramDisplay.from_estimator(forest, table, ax=ax)
    yield lambda ax: ScoreHistogramDisplay.from_predictions(
        scores, np.where(scores < -1, -1, 1), threshold=-1.0, ax=ax
    )
    yield lambda ax: FeatureContributionsDisplay.from_predictions(table[:3], ax=ax)
    yield lambda ax: ScoreFieldDisplay.from_estimator(field, plane, ax=ax)
    yield lambda ax: ColumnSummaryDisplay.from_estimator(
        of_people, people, n_samples=50, max_features=3, ax=ax
    )
    yield lambda ax: MissingnessDisplay.from_estimator(of_people, people, ax=ax)
    yield lambda ax: MissingnessDisplay.from_predictions([[False, False]], ax=ax)


@pytest.mark.parametrize("given", [False, True], ids=["new figure", "given axes"])
def test_every_display_draws(table, fitted, mixed, plane, field, search, given):
    for draw in drawings(table, fitted, mixed, plane, field, search):
        ax = plt.subplots(layout="constrained")[1] if given else None
        display = draw(ax)
        check_readable(display)
        if given:
            assert display.figure_ is ax.figure
            assert display.plot(ax=plt.subplots()[1]).figure_ is not ax.figure
        plt.close("all")


def test_training_curve_shows_bounds_and_the_best_epoch(fitted):
    display = TrainingCurveDisplay.from_estimator(fitted)
    training, validation = (line.get_ydata() for line in display.lines_)
    np.testing.assert_allclose(training, [-loss for loss in fitted.loss_curve_])
    np.testing.assert_allclose(validation, fitted.validation_scores_)
    best = np.argmax(fitted.validation_scores_) + 1
    assert f"best epoch: {best}" in legend_texts(display.ax_)


def test_validation_keeps_its_epochs_where_others_go_without(table):
    model = ILVAETransformer(n_components=2, max_iter=3, random_state=0)
    model.partial_fit(table).set_params(warm_start=True).fit(table).partial_fit(table)
    display = TrainingCurveDisplay.from_estimator(model)
    epochs, validation = display.lines_[1].get_data()
    assert epochs[~np.isnan(validation)].tolist() == [2, 3, 4]
    best = np.nanargmax(model.validation_scores_) + 1
    assert f"best epoch: {best}" in legend_texts(display.ax_)
    assert f"bound {np.nanmax(model.validation_scores_):.2f}" in model._fit_summary()


def test_shares_of_units_sum_to_the_fisher_divergence(fitted, table):
    shares = metrics.fisher_divergence_per_unit(fitted, table[:50])
    total = metrics.relative_fisher_divergence(fitted, table[:50]).mean()
    assert shares.sum() == pytest.approx(total)


def test_latent_usage_draws_the_guarantee_below_the_mean(fitted, table):
    display = LatentUsageDisplay.from_estimator(fitted, table[:50])
    mean, bound = (line.get_ydata()[0] for line in display.ax_[1].lines[1:3])
    assert 0 < bound <= mean
    assert mean == pytest.approx(np.mean(display.fisher))


def test_latent_usage_marks_collapsed_units():
    display = LatentUsageDisplay.from_predictions([1.0, 0.001], [3.0, 0.0], 0.0)
    assert display.ax_[0].get_title() == "1 of 2 units are alive"
    assert display.ax_[0].lines[0].get_xdata() == [1]
    assert "L = 0: nothing is guaranteed" in legend_texts(display.ax_[1])


def test_the_path_is_that_of_the_search(search):
    display = ParameterPathDisplay.from_estimator(search)
    assert display.values == [0.0, 1.0, "auto"]
    means, _ = display.paths["score"]["kl_weight=0.5"]
    rows = [
        search.cv_results_["params"].index({"inverse_lipschitz": L, "kl_weight": 0.5})
        for L in display.values
    ]
    np.testing.assert_array_equal(means, search.cv_results_["mean_test_score"][rows])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"parameter": "decoder"}, "was not searched; choose from"),
        ({"measures": ["r2"]}, "'r2' is not in cv_results"),
    ],
)
def test_a_path_that_was_not_searched_is_refused(search, arguments, message):
    with pytest.raises(ValueError, match=message):
        ParameterPathDisplay.from_cv_results(search.cv_results_, **arguments)


def test_values_that_are_no_numbers_have_places_of_their_own():
    sizes = [[4, 4], 8, [4, 4], None]
    results = {
        "param_hidden_layer_sizes": sizes,
        "params": [{"hidden_layer_sizes": each} for each in sizes],
        "mean_test_score": [1.0, 2.0, 1.0, 3.0],
        "std_test_score": [0.0, 0.0, 0.0, 0.0],
    }
    display = ParameterPathDisplay.from_cv_results(results)
    assert display.values == [8, None, [4, 4]]
    means, _ = display.paths["score"][""]
    assert means[display.values.index([4, 4])] == 1.0
    ticks = [tick.get_text() for tick in display.ax_[0].get_xticklabels()]
    assert ticks == [str(value) for value in display.values]


def test_settings_without_the_parameter_have_no_place():
    results = {
        "param_kl_weight": np.ma.masked_array([0.5, 1.0, 0.0], [False, False, True]),
        "param_decoder": np.ma.masked_array(["", "", "mlp"], [True, True, False]),
        "params": [{"kl_weight": 0.5}, {"kl_weight": 1.0}, {"decoder": "mlp"}],
        "mean_test_score": [1.0, 2.0, 3.0],
        "std_test_score": [0.0, 0.0, 0.0],
    }
    display = ParameterPathDisplay.from_cv_results(results, parameter="kl_weight")
    assert display.values == [0.5, 1.0]
    assert display.paths["score"].keys() == {""}


@pytest.mark.parametrize(
    ("measures", "message"),
    [({}, "no measure to draw"), ({"KL": [1.0]}, "'KL' has 1 values, and the parame")],
)
def test_a_path_without_a_value_at_every_place_is_refused(measures, message):
    with pytest.raises(ValueError, match=message):
        ParameterPathDisplay.from_predictions([0.0, 1.0], measures)


def test_an_ambiguous_parameter_is_asked_for():
    results = {"param_a": [1], "param_b": [2], "params": [{"a": 1, "b": 2}]}
    with pytest.raises(ValueError, match="parameter must say which of"):
        ParameterPathDisplay.from_cv_results(results)


def test_contours_hold_the_mass_they_claim():
    axis = np.linspace(-6, 6, 400)
    density = np.exp(-0.5 * (axis[:, None] ** 2 + axis**2))
    for share, level in zip([0.9, 0.5], mass_levels(density, (0.5, 0.9)), strict=True):
        assert density[density >= level].sum() / density.sum() == pytest.approx(
            share, abs=0.01
        )


def test_the_latent_map_takes_the_units_that_say_most(table):
    model = ILVAETransformer(n_components=5, max_iter=2, random_state=0).fit(table)
    display = LatentMapDisplay.from_estimator(model, table)
    weakest = np.argmin(metrics.kl_per_unit(model, table))
    assert display.units == sorted(set(range(5)) - {weakest})
    assert display.ax_.shape == (4, 4)


@pytest.mark.parametrize(
    ("y", "labels"),
    [
        (["b", None, "a", "b"], ["a", "b", "missing"]),
        (np.array([1.0, np.nan, 0.0, 1.0]), ["0.0", "1.0", "missing"]),
        (pd.Series([10, pd.NA, 9, 10], dtype=object), ["9", "10", "missing"]),
        (pd.Series(["b", pd.NA, 7, "b"], dtype=object), ["7", "b", "missing"]),
        (pd.to_datetime(["2020-01-02", None, "2020-01-01", "2020-01-02"]), None),
        ([None] * 4, ["missing"]),
    ],
)
def test_missing_labels_are_a_group_of_their_own(y, labels):
    codes = np.random.default_rng(0).normal(size=(4, 2))
    drawn = LatentMapDisplay.from_predictions(codes, y)
    found = legend_texts(drawn.ax_[0, 0])
    assert found[-1] == "missing"
    assert labels in (found, None)
    assert sum(len(each.get_offsets()) for each in drawn.ax_[0, 0].collections) == 4
    histogram = ScoreHistogramDisplay.from_predictions(codes[:, 0], y)
    assert legend_texts(histogram.ax_) == found


def test_outliers_keep_their_name_beside_missing_labels():
    display = ScoreHistogramDisplay.from_predictions(np.arange(3.0), [-1, None, 1])
    assert legend_texts(display.ax_) == ["inliers", "outliers", "missing"]


def test_codes_without_a_number_are_drawn_beside_the_scale():
    codes = np.random.default_rng(0).normal(size=(30, 2))
    y = np.where(np.arange(30) < 5, np.nan, codes[:, 0])
    display = LatentMapDisplay.from_predictions(codes, y)
    sizes = [len(each.get_offsets()) for each in display.ax_[0, 0].collections]
    assert sizes == [5, 25]
    assert legend_texts(display.ax_[0, 0]) == ["missing"]
    assert len(display.figure_.axes) == 2  # with the scale


@pytest.mark.parametrize(
    "draw",
    [
        lambda y: LatentMapDisplay.from_predictions(np.eye(60)[:, :2], y),
        lambda y: ScoreHistogramDisplay.from_predictions(np.arange(60.0), y),
    ],
)
def test_more_groups_than_can_be_told_apart_are_refused(draw):
    text = [str(number % 20) for number in range(60)]
    with pytest.raises(ValueError, match=r"y has 20 groups, and at most 10.*Merge"):
        draw(text)
    with pytest.raises(ValueError, match="one label for each of the 60 rows"):
        draw(text[:50])


def test_a_histogram_has_no_scale():
    scores = np.arange(60.0)
    with pytest.raises(ValueError, match=r"y has 60 groups.*numpy\.digitize"):
        ScoreHistogramDisplay.from_predictions(scores, scores / 7)


@pytest.mark.parametrize("units", [[0, 7], 7, "0"])
def test_units_that_do_not_exist_are_refused(fitted, table, units):
    with pytest.raises(ValueError, match="must name units"):
        LatentMapDisplay.from_estimator(fitted, table, units=units)


def test_scores_far_below_share_the_leftmost_bin():
    scores = np.append(np.random.default_rng(0).normal(size=300), [-1e6, -1e5])
    display = ScoreHistogramDisplay.from_predictions(scores, threshold=-2.0)
    assert display.ax_.get_xlim()[0] > -100
    assert "leftmost bin: 2 rows" in display.ax_.get_xlabel()
    below = (scores < -2.0).sum()
    assert any(
        f"{below} of 302 rows below" in text for text in legend_texts(display.ax_)
    )


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


def test_groups_whose_names_begin_with_an_underscore_are_explained():
    display = ScoreHistogramDisplay.from_predictions([1.0, 2.0], ["_a", "b"])
    assert legend_texts(display.ax_) == ["_a", "b"]


def test_epochs_without_any_validation_score_draw_training_alone():
    display = TrainingCurveDisplay.from_predictions([3.0, 2.0], [np.nan, np.nan])
    assert legend_texts(display.ax_) == ["training rows"]
    with pytest.raises(ValueError, match="has 3 epochs, and loss_curve has 2"):
        TrainingCurveDisplay.from_predictions([3.0, 2.0], [1.0, 2.0, 3.0])


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


@pytest.mark.parametrize(
    "draw",
    [
        lambda n: FeatureContributionsDisplay.from_predictions([[1.0]], max_features=n),
        lambda n: MissingnessDisplay.from_predictions([[True]], max_features=n),
        lambda n: ColumnSummaryDisplay.from_predictions(
            {"a": [1.0]}, {"a": [1.0]}, max_features=n
        ),
    ],
)
def test_there_is_at_least_one_column_to_draw(draw):
    with pytest.raises(ValueError, match="max_features == 0, must be >= 1"):
        draw(0)


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
    with pytest.raises(ValueError, match="3 columns but there are 1 feature names"):
        FeatureContributionsDisplay.from_predictions([[1.0, 2.0, 3.0]], ["a"])
    with pytest.raises(ValueError, match="2 rows but there are 1 row names"):
        FeatureContributionsDisplay.from_predictions([[1.0], [2.0]], row_names=["a"])


def test_the_field_points_up_the_density(field, plane):
    display = ScoreFieldDisplay.from_estimator(field, plane, grid_resolution=5)
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


def test_axes_of_the_wrong_number_are_refused(fitted, table):
    axes = plt.subplots(1, 3)[1]
    with pytest.raises(ValueError, match="draws 2 x 1 panels, got 3 axes"):
        LatentUsageDisplay.from_estimator(fitted, table[:20], ax=axes)
    with pytest.raises(ValueError, match="TrainingCurveDisplay draws in one Axes, got"):
        TrainingCurveDisplay.from_estimator(fitted, ax=axes)


def test_axes_without_a_place_in_a_grid_cannot_be_divided():
    place = plt.figure().add_axes((0, 0, 1, 1))
    for ax in (place, place.figure):
        with pytest.raises(
            ValueError, match="divides an Axes that has a place in a gr"
        ):
            MissingnessDisplay.from_predictions([[True]], ax=ax)
