"""Displays of tables: their columns, what is missing in them, and reasons for rows."""

import re

import numpy as np
import pandas as pd
import polars as pl
import pytest
from mixed import LIBRARIES, by_library, people, rows_of, short
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ilvae import ILVAEOutlierDetector
from sklearn_ilvae.inspection import (
    ColumnSummaryDisplay,
    FeatureContributionsDisplay,
    LatentMapDisplay,
    MissingnessDisplay,
    ScoreFieldDisplay,
    ScoreHistogramDisplay,
)
from sklearn_ilvae.inspection.column_summary import bin_edges, difference

pytest.importorskip("matplotlib")
pytestmark = pytest.mark.usefixtures("small_figures")


def test_columns_are_shown_as_users_know_them(mixed):
    X, model = mixed
    display = ColumnSummaryDisplay.from_estimator(model, X, n_samples=50)
    titles = [panel.get_title().split("\n") for panel in display.ax_]
    assert [title[0] for title in titles] == list(X)
    gaps = X["visits"].isna().mean()
    assert titles[1][1] == f"poisson, {gaps:.0%} missing"
    labels = [tick.get_text() for tick in display.ax_[4].get_xticklabels()]
    assert labels == ["low", "mid", "high"]
    heights = [bar.get_height() for bar in display.ax_[4].patches[:3]]
    shares = X["grade"].value_counts(normalize=True, sort=False)
    np.testing.assert_allclose(heights, 100 * shares)
    display.figure_.canvas.draw()
    dates = [tick.get_text() for tick in display.ax_[6].get_xticklabels()]
    assert all(re.fullmatch(r"20(18|19|20)-\d\d", date) for date in dates)


def test_levels_that_are_numbers_are_written_as_the_table_has_them():
    frame = pd.DataFrame({"rooms": np.arange(40) % 3, "lift": np.arange(40) % 2 == 0})
    model = short(categorical_features=["rooms", "lift"]).fit(frame)
    display = ColumnSummaryDisplay.from_estimator(model, frame)
    written = [
        {label.get_text() for label in panel.get_xticklabels()} for panel in display.ax_
    ]
    assert written == [{"0", "1", "2"}, {"False", "True"}]


def test_levels_that_fit_was_told_to_order_are_drawn_in_order():
    frame = pd.DataFrame({"stars": np.minimum(np.arange(40) % 7, 3), "x": np.ones(40)})
    model = short(likelihood={"stars": "ordinal"}, n_components=1).fit(frame)
    display = ColumnSummaryDisplay.from_estimator(model, frame)
    labels = [label.get_text() for label in display.ax_[0].get_xticklabels()]
    assert labels == ["0", "1", "2", "3"]


@pytest.mark.parametrize("library", LIBRARIES)
def test_dates_are_drawn_as_clocks_show_them(library):
    night = pd.date_range("2020-01-14 23:00", periods=9, tz="America/New_York")
    X = LIBRARIES[library](pd.DataFrame({"when": night, "x": np.arange(9.0)}))
    display = ColumnSummaryDisplay.from_estimator(short().fit(X), X, n_samples=5)
    np.testing.assert_array_equal(display.observed["when"], night.tz_localize(None))


def test_of_many_columns_those_that_differ_most_are_shown():
    rng = np.random.default_rng(0)
    columns = {name: rng.standard_normal(500) for name in "abc"}
    drawn = {"a": columns["a"], "b": columns["b"] + 3, "c": columns["c"] + 1}
    display = ColumnSummaryDisplay.from_predictions(columns, drawn, max_features=2)
    assert [panel.get_title() for panel in display.ax_] == ["b", "c"]
    assert display.figure_.get_suptitle() == "The 2 of 3 columns that differ most"


def test_rare_levels_share_a_bar():
    text = np.repeat([f"level {number:02}" for number in range(30)], range(1, 31))
    display = ColumnSummaryDisplay.from_predictions({"x": text}, {"x": text})
    labels = [tick.get_text() for tick in display.ax_[0].get_xticklabels()]
    assert labels[0] == "level 29"
    assert labels[-1] == "20 others"
    heights = [bar.get_height() for bar in display.ax_[0].patches[: len(labels)]]
    assert sum(heights) == pytest.approx(100)


def test_the_difference_of_columns_is_a_share_of_the_rows():
    assert difference(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 3.0])) == 0
    assert difference(np.array([0.0, 1.0]), np.array([0.0, 9.0])) == 0.5
    assert difference(np.arange(4.0), np.arange(4.0, 8.0)) == 1
    assert difference(np.array(["a", "b"]), np.array(["c", "d"])) == 1
    assert difference(np.array(["a", "b"]), np.array(["b"])) == 0.5


def test_whole_numbers_get_bins_of_their_own():
    counts = np.repeat(np.arange(13.0), 3)
    edges = bin_edges(counts, counts)
    assert (np.diff(edges) == 1).all()
    assert (edges % 1 == 0.5).all()


def test_values_past_the_outermost_bins_are_counted_in_them():
    values = np.append(np.linspace(0, 1, 999), 50.0)
    panel = ColumnSummaryDisplay.from_predictions({"a": values}, {"a": values}).ax_[0]
    for steps in panel.patches:
        assert steps.get_data().edges[-1] < 2
        assert steps.get_data().values.sum() == pytest.approx(100)


def test_columns_that_were_not_drawn_are_refused():
    with pytest.raises(ValueError, match="at least one column, and each in both"):
        ColumnSummaryDisplay.from_predictions({"a": [1.0]}, {"b": [1.0]})


def test_gaps_are_counted_by_column_and_by_pattern():
    gone = np.array([[1, 0, 0], [1, 0, 1], [0, 0, 0], [1, 0, 1], [0, 0, 0]], dtype=bool)
    display = MissingnessDisplay.from_predictions(gone, ["a", "b", "c"])
    assert display.ax_[0].get_title() == (
        "2 of 3 columns have gaps; 2 of 5 rows have none"
    )
    assert [bar.get_height() for bar in display.ax_[0].patches] == [60, 40]
    assert [tick.get_text() for tick in display.ax_[1].get_xticklabels()] == ["a", "c"]
    lines = [tick.get_text() for tick in display.ax_[1].get_yticklabels()]
    assert lines == ["2 rows, complete", "2 rows", "1 row"]
    dots = display.ax_[1].collections[1].get_offsets().tolist()
    assert dots == [[0, 1], [1, 1], [0, 2]]
    assert display.ax_[1].yaxis_inverted()


def test_one_row_and_one_column_are_counted_in_the_singular():
    draw = MissingnessDisplay.from_predictions
    assert draw([[True]]).ax_[0].get_title() == (
        "1 of 1 column has gaps; 0 of 1 row has none"
    )
    display = draw(np.eye(3, dtype=bool), max_features=2, max_patterns=2)
    assert "(1 column with fewer gaps left out)" in display.ax_[0].get_title()
    assert "1 row has another pattern" in display.ax_[1].get_xlabel()
    columns = {name: [1.0, 2.0] for name in "ab"}
    one = ColumnSummaryDisplay.from_predictions(columns, columns, max_features=1)
    assert one.figure_.get_suptitle() == "The 1 of 2 columns that differs most"


@by_library
def test_gaps_given_as_a_frame_keep_the_names_of_its_columns(convert):
    gone = convert(pd.DataFrame({"pulse": [True, False], "weight": [True, True]}))
    display = MissingnessDisplay.from_predictions(gone)
    ticks = [tick.get_text() for tick in display.ax_[1].get_xticklabels()]
    assert ticks == ["pulse", "weight"]


@pytest.mark.parametrize("value", [np.nan, 2.5, "u"])
def test_a_table_of_values_is_refused_in_place_of_its_gaps(value):
    table = pd.DataFrame({"a": [1, 0], "b": [0, value]})
    with pytest.raises(ValueError, match=f"holds {value} in row 1 of column 1; .*isna"):
        MissingnessDisplay.from_predictions(table)


def test_what_is_left_out_of_the_picture_of_gaps_is_counted():
    gone = np.triu(np.ones((6, 6), dtype=bool))
    display = MissingnessDisplay.from_predictions(gone, max_features=3, max_patterns=1)
    assert "3 columns with fewer gaps left out" in display.ax_[0].get_title()
    assert "2 rows have one of 2 other patterns" in display.ax_[1].get_xlabel()


def test_a_category_that_fit_never_saw_can_be_a_gap(mixed):
    X, _ = mixed
    model = short(handle_unknown="missing").fit(X)
    new = X.assign(city=["Riga"] * len(X))
    assert MissingnessDisplay.from_estimator(model, new).missing[:, 3].all()


def test_names_of_gaps_that_do_not_match_are_refused():
    with pytest.raises(ValueError, match="2 columns but feature_names has 1"):
        MissingnessDisplay.from_predictions([[True, False]], ["a"])


@pytest.mark.parametrize("steps", [[], [StandardScaler()]])
def test_explained_rows_are_called_as_the_index_of_their_frame_does(table, steps):
    frame = pd.DataFrame(table[:40], index=[f"tank {i}" for i in range(40)])
    detector = ILVAEOutlierDetector(2, max_iter=2, random_state=0)
    pipeline = make_pipeline(*steps, detector).fit(frame)
    draw = FeatureContributionsDisplay.from_estimator
    titles = [each.get_title() for each in draw(pipeline, frame.iloc[[7, 3]]).ax_]
    assert titles == ["Row tank 7", "Row tank 3"]
    named = draw(pipeline, frame.iloc[[7]], row_names=["of Monday"])
    assert named.ax_[0].get_title() == "Row of Monday"


@pytest.mark.parametrize("library", LIBRARIES)
def test_given_contributions_keep_the_names_of_their_frame(library):
    given = pd.DataFrame([[1.0, 3.0]], columns=["age", "latent"], index=["tank 7"])
    display = FeatureContributionsDisplay.from_predictions(LIBRARIES[library](given))
    labels = [label.get_text() for label in display.ax_[0].get_yticklabels()]
    assert labels == ["latent", "age"]
    row = "tank 7" if library == "pandas" else 0
    assert display.ax_[0].get_title() == f"Row {row}"


def test_two_frames_are_compared_column_by_column():
    frame = pd.DataFrame({"size": [1.0, 2.0, 4.0], "city": ["Oslo", "Rome", "Oslo"]})
    display = ColumnSummaryDisplay.from_predictions(frame, frame[::-1])
    assert [panel.get_title() for panel in display.ax_] == ["size", "city"]


@pytest.mark.parametrize("library", LIBRARIES)
def test_frames_of_any_library_are_compared_without_their_gaps(library):
    frame = people(60, gaps=0.2)
    X = LIBRARIES[library](frame)
    display = ColumnSummaryDisplay.from_predictions(X, rows_of(X, [*range(30)]))
    panels = dict(zip(frame, display.ax_, strict=True))
    for name in ("smoker", "city", "kind"):
        shares = frame[name].dropna().astype(str).value_counts(normalize=True)
        heights = [bar.get_height() for bar in panels[name].patches[: len(shares)]]
        assert sorted(heights) == pytest.approx(sorted(100 * shares))


def test_given_columns_are_compared_without_their_gaps():
    gaps = {"size": [1.0, np.nan, 2.0], "city": ["Oslo", None, "Rome"]}
    whole = {"size": [1.0, 2.0], "city": ["Oslo", "Rome"]}
    display = ColumnSummaryDisplay.from_predictions(gaps, whole)
    heights = [[bar.get_height() for bar in panel.patches] for panel in display.ax_]
    assert heights == [[50.0] * 4] * 2


@pytest.mark.parametrize(
    "values",
    [
        np.array([1, 2], dtype="m8[D]"),
        np.array([1.0, 2.0], dtype=np.float32),
        np.array(["1", "2"], dtype=np.dtypes.StringDType()),
    ],
)
def test_durations_and_shorter_or_longer_dtypes_are_drawn(values):
    display = ColumnSummaryDisplay.from_predictions({"a": values}, {"a": values})
    ticks = [tick.get_text() for tick in display.ax_[0].get_xticklabels()]
    assert ticks == ["1", "2"]


@pytest.mark.parametrize("constant", [0.1, 1e9 + 0.1, 1e20])
def test_a_column_that_is_constant_up_to_rounding_has_bins(constant):
    steps = np.repeat(np.arange(15), [95] + 14 * [1])
    rounded = constant + np.spacing(constant) * steps
    edges = bin_edges(rounded, rounded)
    assert (np.diff(edges) > 0).all()
    assert edges[0] < rounded.min() <= rounded.max() < edges[-1]


@pytest.mark.parametrize("rows", [[], [170.0], [170.0] * 50])
def test_a_table_of_one_value_or_none_is_drawn_as_far_as_the_model_reaches(rows):
    drawn = np.random.default_rng(0).normal(160.0, 10.0, 1000)
    edges = bin_edges(np.array(rows), drawn)
    assert edges[0] < np.quantile(drawn, 0.01) < np.quantile(drawn, 0.99) < edges[-1]
    assert edges[[0, -1]] - 160 == pytest.approx([-30, 30], abs=10)


@pytest.mark.parametrize(
    ("values", "label"),
    [(["x", "y"], "x"), (np.array(["2020-01-01", "2024-01-01"], "M8[D]"), "202")],
)
@pytest.mark.parametrize("swapped", [False, True])
def test_gaps_alone_are_drawn_beside_values_of_any_kind(values, label, swapped):
    pair = [{"a": [None, None]}, {"a": values}]
    display = ColumnSummaryDisplay.from_predictions(*pair[:: -1 if swapped else 1])
    display.figure_.canvas.draw()
    ticks = [tick.get_text() for tick in display.ax_[0].get_xticklabels()]
    assert any(tick.startswith(label) for tick in ticks)


@pytest.mark.parametrize(
    ("observed", "drawn", "message"),
    [
        ({"a": [1.0, np.inf]}, {"a": [1.0]}, "'a' of observed holds inf; .*rescale"),
        ({"a": [1.0]}, {"a": [-1.6e308]}, "'a' of drawn holds -1.6e.308; numbers up"),
        ({"a": ["1"]}, {"a": [1.0]}, "'a' holds text in observed, but numbers"),
        (
            pl.LazyFrame({"a": [1]}),
            {"a": [1]},
            r"observed: observed is a LazyFrame .* Pass observed\.collect",
        ),
        (
            {"a": [b"x"]},
            {"a": [b"x"]},
            r"'a' of observed holds values of dtype .S1; pass",
        ),
        ({"a": [[1.0, 2.0]]}, {"a": [1.0]}, r"'a' of observed has shape \(1, 2\)"),
        ([[1.0]], [[1.0]], r"observed must be .* got list; .*pandas\.DataFrame"),
        (
            pd.DataFrame([[1, 2]], columns=["a", "a"]),
            {"a": [1]},
            "observed: X has more than one column named 'a'",
        ),
    ],
)
def test_columns_that_cannot_be_compared_are_refused(observed, drawn, message):
    with pytest.raises(ValueError, match=message):
        ColumnSummaryDisplay.from_predictions(observed, drawn)


@pytest.mark.parametrize(
    "values", [[[1.0, 2.0]], [[1.0]] * 2, [[1.0, 2.0, 3.0, 4.0]] * 2, [1.0, 2.0]]
)
def test_values_of_other_rows_or_columns_are_refused(values):
    contributions = [[1.0, 2.0, 3.0], [3.0, 4.0, 5.0]]
    with pytest.raises(ValueError, match=r"shape \(2, 3\) but values have"):
        FeatureContributionsDisplay.from_predictions(contributions, values=values)


@pytest.mark.parametrize("library", LIBRARIES)
def test_values_of_a_frame_of_any_library_are_written(library):
    day = pd.Timestamp("2020-01-14")
    frame = pd.DataFrame({"n": [3], "size": [0.5], "city": ["Oslo"], "day": [day]})
    display = FeatureContributionsDisplay.from_predictions(
        [[4.0, 3.0, 2.0, 1.0]], list(frame), values=LIBRARIES[library](frame)
    )
    labels = [label.get_text() for label in display.ax_[0].get_yticklabels()]
    assert labels == ["n = 3", "size = 0.5", "city = Oslo", f"day = {day}"]


def test_values_in_single_precision_are_written_as_others():
    display = FeatureContributionsDisplay.from_predictions(
        [[1.0]], values=np.array([[0.1]], dtype=np.float32)
    )
    assert display.ax_[0].get_yticklabels()[0].get_text() == "x0 = 0.1"


PRICES = "$10 to $20, " + 20 * "far too long to fit "
NAMED = {
    "columns": lambda X: ColumnSummaryDisplay.from_predictions(X, X).ax_[0].title,
    "levels": lambda X: (
        ColumnSummaryDisplay.from_predictions({"a": [PRICES]}, {"a": ["b"]})
        .ax_[0]
        .get_xticklabels()[0]
    ),
    "gaps": lambda X: (
        MissingnessDisplay.from_predictions(X.isna()).ax_[1].get_xticklabels()[0]
    ),
    "reasons": lambda X: (
        FeatureContributionsDisplay.from_predictions(X[:1].fillna(0))
        .ax_[0]
        .get_yticklabels()[0]
    ),
    "groups": lambda X: (
        ScoreHistogramDisplay.from_predictions([1.0, 2.0], X.columns[[0, 0]])
        .ax_.get_legend()
        .get_texts()[0]
    ),
    "codes": lambda X: (
        LatentMapDisplay.from_predictions(np.eye(2), X.columns[[0, 0]])
        .ax_[0, 0]
        .get_legend()
        .get_texts()[0]
    ),
    "axes": lambda X: (
        ScoreFieldDisplay.from_predictions(
            np.eye(2), np.eye(2), feature_names=X.columns[[0, 0]]
        ).ax_.xaxis.label
    ),
}


@pytest.mark.parametrize("draw", NAMED.values(), ids=NAMED)
def test_names_are_neither_mathematics_nor_wider_than_the_picture(draw):
    text = draw(pd.DataFrame({PRICES: [0.5, np.nan, 1.5]}))
    assert text.get_text().startswith("$10 to $20, far too long to f…")
    assert not text.get_parse_math()
    text.figure.canvas.draw()
