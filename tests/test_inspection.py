"""Displays draw what they are given, with titles, units and legends."""

import numpy as np
import pandas as pd
import pytest
from displays import legend_texts
from sklearn.ensemble import IsolationForest
from sklearn.model_selection import GridSearchCV

from sklearn_ilvae import ILVAETransformer, metrics
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
def search(table):
    model = ILVAETransformer(n_components=2, max_iter=2, random_state=0)
    grid = {"inverse_lipschitz": [0.0, 1.0, "auto"], "kl_weight": [0.5, 1.0]}
    return GridSearchCV(model, grid, cv=2).fit(table)


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


def test_shares_of_units_sum_to_the_fisher_divergence(fitted, table):
    shares = metrics.fisher_divergence_per_unit(fitted, table[:50])
    total = metrics.relative_fisher_divergence(fitted, table[:50]).mean()
    assert shares.sum() == pytest.approx(total)


def test_latent_usage_draws_the_guarantee_below_the_mean(fitted, table):
    display = LatentUsageDisplay.from_estimator(fitted, table[:50])
    mean, bound = (line.get_ydata()[0] for line in display.ax_[1].lines[1:3])
    assert 0 < bound <= mean
    assert mean == pytest.approx(np.mean(display.fisher))


@pytest.mark.parametrize("seed", range(3))
def test_latent_usage_bounds_what_it_drew_from_any_source(fitted, table, seed):
    def drawn(source):
        found = LatentUsageDisplay.from_estimator(
            fitted, table[:20], n_draws=2, random_state=source
        )
        plt.close(found.figure_)
        # Of few draws, only the same ones are sure to be above.
        assert 0 < found.fisher_bound <= found.fisher.sum()
        return found

    source = np.random.RandomState(seed)
    displays = drawn(seed), drawn(source)
    measured = metrics.fisher_divergence_per_unit(fitted, table[:20], 2, seed)
    bound = metrics.fisher_divergence_lower_bound(fitted, table[:20], 2, seed).mean()
    for display in displays:
        np.testing.assert_array_equal(display.fisher, measured)
        assert display.fisher_bound == bound
    # An instance gives other draws the next time.
    assert not np.array_equal(drawn(source).fisher, measured)
    assert not np.array_equal(drawn(None).fisher, drawn(None).fisher)


def test_a_column_summary_draws_from_any_source(fitted, table):
    def drawn(source):
        display = ColumnSummaryDisplay.from_estimator(
            fitted, table, n_samples=20, max_features=1, random_state=source
        )
        plt.close(display.figure_)
        return display.drawn["x0"]

    source = np.random.RandomState(3)
    np.testing.assert_array_equal(drawn(source), drawn(3))
    assert not np.array_equal(drawn(source), drawn(3))
    assert not np.array_equal(drawn(None), drawn(None))


@pytest.mark.parametrize(
    "display",
    [LatentUsageDisplay, ColumnSummaryDisplay],
    ids=lambda each: each.__name__,
)
def test_a_source_of_no_draws_is_refused(fitted, table, display):
    with pytest.raises(ValueError, match="'often' cannot be used to seed"):
        display.from_estimator(fitted, table, random_state="often")


@pytest.mark.parametrize(
    ("divergences", "message"),
    [
        ([[]], "kl must be one finite number for each latent unit"),
        ([[[1.0, 2.0]]], "kl must be one finite number for each latent unit"),
        ([[1.0, np.nan]], "kl must be one finite number for each latent unit"),
        ([[1.0], [np.inf]], "fisher must be one finite number for each latent unit"),
        ([[1.0, 2.0], [1.0]], "fisher has 1 value and kl has 2; pass both of"),
        ([[1.0], [2.0], np.nan], "fisher_bound=nan must be finite; pass None"),
        ([[1.0], [2.0], -1.0], "fisher_bound == -1.0, must be >= 0"),
    ],
)
def test_divergences_that_are_not_one_a_unit_are_refused(divergences, message):
    with pytest.raises(ValueError, match=message):
        LatentUsageDisplay.from_predictions(*divergences)
    assert not plt.get_fignums()


def test_latent_usage_marks_collapsed_units():
    display = LatentUsageDisplay.from_predictions([1.0, 0.001], [3.0, 0.0], 0.0)
    assert display.ax_[0].get_title() == "1 of 2 units is alive"
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


@pytest.mark.parametrize("values", [[True, False], [np.array([8]), np.array([8, 4])]])
def test_truth_values_and_arrays_have_places_of_their_own(values):
    results = {
        "param_setting": values,
        "params": [{"setting": value} for value in values],
        "mean_test_score": np.array([1.0, 2.0]),
        "std_test_score": np.zeros(2),
    }
    (panel,) = ParameterPathDisplay.from_cv_results(results).ax_
    labels = [label.get_text() for label in panel.get_xticklabels()]
    assert labels in (["False", "True"], ["[8, 4]", "[8]"])
    assert list(panel.lines[0].get_ydata()) == [2, 1]


@pytest.mark.parametrize(
    ("measures", "message"),
    [({}, "no measure to draw"), ({"KL": [1.0]}, "'KL' has 1 value, and the parame")],
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
    with pytest.raises(ValueError, match="one label a row, 60 in all"):
        draw(text[:50])


@pytest.mark.parametrize("units", [[0, 7], 7, "0", [True, False], [0.0, 1.0], [[0]]])
def test_units_that_do_not_exist_are_refused(fitted, table, units):
    with pytest.raises(ValueError, match="must name units"):
        LatentMapDisplay.from_estimator(fitted, table, units=units)


@pytest.mark.parametrize("curves", [[3.0], [[[3.0, 2.0]]], [[3.0], [[1.0]]]])
def test_curves_that_are_not_one_number_an_epoch_are_refused(curves):
    with pytest.raises(ValueError, match="must be one number an epoch, got an array"):
        TrainingCurveDisplay.from_predictions(*curves)
    assert not plt.get_fignums()


def test_epochs_without_any_validation_score_draw_training_alone():
    display = TrainingCurveDisplay.from_predictions([3.0, 2.0], [np.nan, np.nan])
    assert legend_texts(display.ax_) == ["training rows"]
    with pytest.raises(ValueError, match="has 3 epochs, and loss_curve has 2"):
        TrainingCurveDisplay.from_predictions([3.0, 2.0], [1.0, 2.0, 3.0])


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


def test_axes_of_the_wrong_number_are_refused(fitted, table):
    axes = plt.subplots(1, 3)[1]
    with pytest.raises(ValueError, match="draws 2 x 1 panels, got 3 axes"):
        LatentUsageDisplay.from_estimator(fitted, table[:20], ax=axes)
    with pytest.raises(ValueError, match="TrainingCurveDisplay draws in one Axes, got"):
        TrainingCurveDisplay.from_estimator(fitted, ax=axes)


def test_axes_without_a_place_in_a_grid_cannot_be_divided():
    place = plt.figure().add_axes((0, 0, 1, 1))
    with pytest.raises(ValueError, match="divides an Axes that has a place in a gr"):
        MissingnessDisplay.from_predictions([[True]], ax=place)


@pytest.mark.parametrize("ax", ["here", [None, None], "figure"])
def test_what_is_no_axes_is_refused(ax):
    ax = plt.figure() if ax == "figure" else ax
    with pytest.raises(ValueError, match=r"draws in Axes, got (str|NoneType|Figure);"):
        MissingnessDisplay.from_predictions([[True]], ax=ax)
