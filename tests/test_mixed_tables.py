"""Tables of columns of all kinds go in as they are and come back in the same form."""

import pickle

import narwhals
import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mixed import LIBRARIES, by_library, people, rows_of, same_form, short, tables
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_ilvae import (
    ILVAEOutlierDetector,
    ILVAETransformer,
    SteinScoreEstimator,
)
from sklearn_ilvae.inspection import FeatureContributionsDisplay

EXPECTED = {
    "height": "student_t",
    "visits": "student_t",
    "smoker": "bernoulli",
    "city": "categorical",
    "grade": "ordinal",
    "kind": "categorical",
    "joined": "student_t",
    "wait": "student_t",
}


@pytest.fixture(scope="module")
def frame():
    return people()


@pytest.fixture(scope="module")
def model(frame):
    return short(max_iter=5).fit(frame)


# Kinds


@by_library
def test_kinds_follow_from_dtypes(frame, convert):
    table = convert(frame)
    expected = dict(EXPECTED)
    if isinstance(table, pl.DataFrame):  # whose categories have no order of their own
        expected["grade"] = "categorical"
    assert short().fit(table).likelihood_ == list(expected.values())


def test_kinds_can_be_chosen_by_name_and_by_position(frame):
    model = short(likelihood={"visits": "negative_binomial", 7: "student_t"}).fit(frame)
    assert model.likelihood_[1] == "negative_binomial"
    assert model.likelihood_[7] == "student_t"
    named = short(categorical_features=["visits"]).fit(frame)
    numbered = short(categorical_features=[1]).fit(frame)
    mask = short(categorical_features=np.arange(8) == 1).fit(frame)
    assert named.likelihood_ == numbered.likelihood_ == mask.likelihood_
    assert named.likelihood_[1] == "categorical"
    assert same_form(named.sample(4, random_state=0), frame)


def test_tables_of_long_text_stay_readable(capsys):
    texts = [f"It rained.\nAll day {'and night ' * 40}in {place}." for place in "abc"]
    frame = pd.DataFrame({"x" * 500: texts * 10, "n": np.arange(30.0)})
    detector = ILVAEOutlierDetector(max_iter=1, random_state=0).fit(frame)
    summary = repr(detector.column_summary_).splitlines()
    detector.explain(frame.iloc[0])
    explained = capsys.readouterr().out.splitlines()
    assert (len(summary), len(explained)) == (3, 6)
    assert max(map(len, summary + explained)) < 260
    assert "It rained. All day" in summary[1]
    assert any("It rained. All day and night" in line for line in explained)


def test_a_record_batch_is_a_table():
    table = LIBRARIES["pyarrow"](people(gaps=0.1))
    batch = table.to_batches()[0]
    model, other = short(max_iter=2).fit(table), short(max_iter=2).fit(batch)
    assert_array_equal(other.feature_names_in_, table.column_names)
    assert_array_equal(other.score_samples(batch), model.score_samples(table))
    assert other.impute(batch).equals(model.impute(table))
    assert same_form(other.sample(2, random_state=0), table)


@by_library
def test_a_frame_of_narwhals_is_the_one_it_wraps(convert):
    table = convert(people(gaps=0.1))
    wrapped = narwhals.from_native(table)
    model, other = short(max_iter=2).fit(table), short(max_iter=2).fit(wrapped)
    assert_array_equal(other.score_samples(wrapped), model.score_samples(table))
    assert other.impute(wrapped).equals(model.impute(table))
    detector = ILVAEOutlierDetector(max_iter=1, random_state=0).fit(wrapped)
    terms, expected = detector.feature_contributions(wrapped, return_expected=True)
    assert terms.equals(detector.feature_contributions(table))
    few = wrapped.head(3)
    display = FeatureContributionsDisplay.from_estimator(detector, few)
    rows = list(few.to_native().index) if hasattr(table, "index") else None
    assert display.row_names == rows
    assert same_form(expected, table)


@pytest.mark.parametrize("make", [ILVAEOutlierDetector, SteinScoreEstimator])
def test_a_record_batch_of_numbers_has_names(make):
    table = LIBRARIES["pyarrow"](people()[["height", "visits"]])
    batch = table.to_batches()[0]
    model, other = (make(random_state=0).fit(each) for each in (table, batch))
    assert_array_equal(other.feature_names_in_, table.column_names)
    assert_array_equal(other.score_samples(batch), model.score_samples(table))
    with pytest.raises(ValueError, match="feature names should match"):
        other.score_samples(batch.rename_columns(["width", "visits"]))


def test_one_likelihood_for_all_speaks_of_the_columns_of_numbers(frame):
    kinds = short(likelihood="gaussian").fit(frame).likelihood_
    assert kinds[2:5] == ["gaussian", "categorical", "ordinal"]


def test_columns_of_an_array_can_be_categories():
    rng = np.random.default_rng(0)
    rows = np.column_stack([rng.standard_normal(60), rng.choice([2, 5, 9], 60)])
    model = short(categorical_features=[1]).fit(rows)
    assert model.likelihood_ == ["student_t", "categorical"]
    decoded = model.inverse_transform(model.transform(rows))
    assert set(decoded[:, 1]) <= {2, 5, 9}
    words = np.array(["x", "y", "z"])[rng.integers(0, 3, 60)]
    objects = np.column_stack([rows[:, 0].astype(object), words])
    for table in (objects, objects.tolist(), tuple(objects.tolist())):
        model = short(categorical_features=[1]).fit(table)
        assert model.likelihood_ == ["student_t", "categorical"]
        assert set(model.sample(20, random_state=0)[:, 1]) <= {"x", "y", "z"}


def test_the_summary_shows_every_column(frame):
    model = short(likelihood={"visits": "poisson"}).fit(people(gaps=0.2))
    summary = model.column_summary_
    assert [each["column"] for each in summary] == list(frame.columns)
    assert summary[1]["likelihood"] == "poisson"
    assert summary[3]["values"] == "3 levels: Bonn, Oslo, Rome"
    assert summary[6]["values"].endswith("days")
    assert float(summary[0]["missing"].rstrip("%")) > 5
    lines = repr(summary).splitlines()
    assert len(lines) == len(frame.columns) + 1
    assert summary._repr_html_().count("<tr>") == len(lines)


LEVELS_IN_ORDER = {
    "pandas text": (pd.Series(["mid", "low", "high"] * 4), "high, low, mid"),
    "pandas categories": (
        pd.Series(pd.Categorical(["mid", "low"] * 6, ["mid", "low", "high"])),
        "mid, low, high",
    ),
    "numbers": (pd.Series([10, 9, 100] * 4), "9, 10, 100"),
    "polars text": (pl.Series(["mid", "low", "high"] * 4), "high, low, mid"),
    "polars Enum": (
        pl.Series(["mid", "low"] * 6, dtype=pl.Enum(["mid", "low", "high"])),
        "mid, low, high",
    ),
}


@pytest.mark.parametrize(
    ("column", "order"), LEVELS_IN_ORDER.values(), ids=LEVELS_IN_ORDER
)
def test_ordinal_levels_are_in_the_order_of_their_dtype(column, order):
    frames = pd if isinstance(column, pd.Series) else pl
    table = frames.DataFrame({"c": column, "x": np.arange(12.0)})
    model = short(likelihood={"c": "ordinal"}, max_iter=1).fit(table)
    assert model.column_summary_[0]["values"] == f"3 levels: {order}"


def test_the_summary_counts_one_level_in_the_singular(frame):
    summary = short(max_iter=1).fit(frame.assign(city="Rome")).column_summary_
    assert summary[3]["values"] == "1 level: Rome"


def test_the_summary_counts_one_day_in_the_singular():
    spans = pd.to_timedelta([0, 2] * 10, "D")
    frame = pd.DataFrame({"wait": spans, "due": pd.Timestamp("2020-01-01") + spans})
    waits, dates = short(n_components=1, max_iter=1).fit(frame).column_summary_
    assert waits["values"] == "1 ± 1 day"
    assert dates["values"] == "2020-01-02 00:00 ± 1 day"


# Round trips


@by_library
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(frame=tables(), seed=st.integers(0, 2**32 - 1))
def test_any_table_is_fitted_encoded_decoded_and_sampled_in_its_form(
    convert, frame, seed
):
    table = convert(frame)
    model = short(n_components=1, max_iter=1).fit(table)
    codes, deviations = model.transform(table, return_std=True)
    scores = model.score_samples(table)
    assert np.isfinite(codes).all()
    assert (deviations > 0).all()
    assert np.isfinite(scores).all()
    for other in (
        model.inverse_transform(codes),
        model.sample(3, random_state=0),
        model.impute(table),
        *model.impute(table, n_imputations=2, random_state=0),
    ):
        assert same_form(other, table)
    rng = np.random.default_rng(seed)
    order = rng.integers(0, len(frame), len(frame) + 3)
    again = rows_of(table, order)
    assert_allclose(model.transform(again), codes[order], rtol=1e-9, atol=1e-12)
    assert_allclose(model.score_samples(again), scores[order], rtol=1e-9, atol=1e-9)
    holes = convert(frame.mask(rng.random(frame.shape) < 0.5))
    assert np.isfinite(model.transform(holes)).all()
    assert np.isfinite(model.score_samples(holes)).all()
    with pytest.raises(ValueError, match="must be in the same order"):
        model.transform(convert(frame[frame.columns[::-1]]))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tables(), st.floats(0.05, 2), st.integers(0, 2**32 - 1))
def test_codes_of_any_table_stay_as_far_apart_as_certified(frame, constant, seed):
    model = short(n_components=1, max_iter=2, inverse_lipschitz=constant).fit(frame)
    assert model.inverse_lipschitz_ >= constant * (1 - 1e-6)
    rng = torch.Generator().manual_seed(seed)
    pairs = 3 * torch.randn(2, 50, 1, generator=rng, dtype=torch.float64)
    decoder = model.module_.double().decoder
    with torch.no_grad():
        first, second = decoder(pairs)
    distances = (first - second).norm(dim=1)
    assert (distances >= constant * (pairs[0] - pairs[1]).norm(dim=1) - 1e-6).all()


@pytest.mark.parametrize("dtype", ["float32", "Int64", "boolean", "str", "category"])
def test_a_column_without_any_value_keeps_its_dtype(frame, dtype):
    table = frame.assign(nothing=pd.Series([None] * len(frame), dtype=dtype))
    model = short().fit(table)
    assert model.likelihood_[-1] == "none"
    for other in (model.sample(3, random_state=0), model.impute(table)):
        assert same_form(other, table)


@by_library
@pytest.mark.parametrize("column", ["city", "joined", "height"])
def test_what_fit_saw_nothing_of_stays_missing(frame, convert, column):
    nothing = pd.Series([None] * len(frame), dtype=object)
    empty = convert(frame.assign(city=nothing))
    model = short(max_iter=1).fit(empty)
    filled = model.impute(convert(frame.assign(city=frame[column])))
    assert same_form(filled, empty)
    assert pd.isna(np.asarray(filled["city"], dtype=object)).all()


def test_a_column_without_any_value_can_be_called_a_category(frame):
    frame = frame.assign(postcode=np.nan)
    model = short(max_iter=1, categorical_features=["postcode"]).fit(frame)
    assert model.likelihood_[-1] == "none"
    assert same_form(model.sample(2, random_state=0), frame)


@by_library
def test_a_category_without_any_value_keeps_its_levels(frame, convert):
    nothing = pd.Series(pd.Categorical([None] * len(frame), ["a", "b"]))
    table = convert(frame.assign(nothing=nothing))
    model = short().fit(table)
    assert model.likelihood_[-1] == "none"
    assert same_form(model.sample(3, random_state=0), table)


def test_the_three_libraries_give_the_same_codes_and_scores(frame):
    plain = frame.astype({"grade": "str", "kind": "str"})
    models = [short().fit(convert(plain)) for convert in LIBRARIES.values()]
    for model, convert in zip(models, LIBRARIES.values(), strict=True):
        table = convert(plain)
        assert_array_equal(model.transform(table), models[0].transform(plain))
        assert_array_equal(model.score_samples(table), models[0].score_samples(plain))


def test_decoded_rows_are_like_the_originals(frame):
    model = ILVAETransformer(n_components=3, max_iter=60, random_state=0).fit(frame)
    decoded = model.inverse_transform(model.transform(frame))
    assert (decoded["grade"] == frame["grade"]).mean() > 0.6
    assert (decoded["joined"] - frame["joined"]).abs().mean() < pd.Timedelta(days=30)
    drawn = model.sample(2000, random_state=0)
    for column in ("smoker", "city", "grade"):
        found = drawn[column].value_counts(normalize=True)
        expected = frame[column].value_counts(normalize=True)
        assert_allclose(found, expected.reindex(found.index), atol=0.12)


def test_a_copy_computes_the_same_and_holds_plain_values(frame, model):
    twin = pickle.loads(pickle.dumps(model))
    assert_array_equal(twin.score_samples(frame), model.score_samples(frame))
    assert twin.sample(5, random_state=0).equals(model.sample(5, random_state=0))
    assert repr(twin.column_summary_) == repr(model.column_summary_)


def test_rows_of_pandas_keep_their_index(frame, model):
    rows = frame.iloc[10:20]
    assert model.impute(rows).index.equals(rows.index)


def test_codes_may_come_as_a_data_frame(frame):
    model = short().set_output(transform="pandas").fit(frame)
    codes = model.transform(frame)
    decoded = model.inverse_transform(codes)
    assert decoded.index.equals(codes.index)
    assert same_form(decoded, frame)


# Levels


def test_scores_of_a_categorical_table_add_up_to_one():
    rng = np.random.default_rng(0)
    first = rng.integers(0, 3, 200)
    second = (first + (rng.random(200) < 0.2)) % 3
    frame = pd.DataFrame({"a": first, "b": second}).astype("category")
    model = short(n_importance_samples=1000, max_iter=10).fit(frame)
    grid = np.array(np.meshgrid([0, 1, 2], [0, 1, 2])).reshape(2, 9).T
    every = pd.DataFrame(grid, columns=["a", "b"]).astype("category")
    assert_allclose(np.exp(model.score_samples(every)).sum(), 1, atol=0.01)


def test_rare_levels_share_one_of_the_network_and_keep_their_frequencies():
    rng = np.random.default_rng(0)
    codes = np.minimum(rng.geometric(0.1, 3000) - 1, 59)
    frame = pd.DataFrame({"c": pd.Categorical.from_codes(codes, range(60))})
    model = short(max_categories=6, max_iter=10, n_components=1).fit(frame)
    assert model.module_.architecture.n_levels == (6,)
    every = pd.DataFrame({"c": pd.Categorical(range(60))})
    probabilities = np.exp(model.score_samples(every))
    assert_allclose(probabilities.sum(), 1, atol=0.01)
    assert_allclose(probabilities, np.bincount(codes, minlength=60) / 3000, atol=0.03)
    drawn = model.sample(3000, random_state=0)["c"].astype(int)
    assert drawn.nunique() > 30
    assert abs(drawn.mean() - codes.mean()) < 1.5


def test_levels_that_only_a_dtype_declares_are_not_drawn_as_another():
    codes = np.arange(300) % 10
    levels = [f"level {number:03}" for number in range(500)]
    frame = pd.DataFrame({"c": pd.Categorical.from_codes(codes, levels)})
    model = short(max_categories=5, max_iter=5, n_components=1).fit(frame)
    last = frame["c"].to_numpy()[9]
    probability = np.exp(model.score_samples(frame[9:10]))[0]
    gaps = frame.assign(c=pd.Categorical([None] * 300, levels))
    drawn = model.sample(3000, random_state=0), *model.impute(gaps, 10, 0)
    for those in drawn[:1], drawn[1:]:
        share = np.mean([(table["c"] == last).mean() for table in those])
        assert abs(share - probability) < 0.02


def test_rare_levels_are_no_best_guess_because_there_are_many():
    rng = np.random.default_rng(0)
    rare = np.char.add("rare", rng.integers(0, 200, 900).astype(str))
    frame = pd.DataFrame({"place": np.where(rng.random(900) < 0.3, "usual", rare)})
    frame["size"] = rng.standard_normal(900)
    gaps = frame.assign(place=pd.Series([None] * 900, dtype=frame["place"].dtype))
    model = short(max_categories=5).fit(frame)
    best = frame["place"][model.score_samples(frame.assign(size=0.0)).argmax()]
    assert best == "usual"
    detector = ILVAEOutlierDetector(2, max_categories=5, max_iter=5, random_state=0)
    _, expected = detector.fit(frame).feature_contributions(gaps, return_expected=True)
    decoded = model.inverse_transform(model.transform(gaps))
    for guess in (model.impute(gaps), decoded, expected):
        assert set(guess["place"]) == {best}


def test_fifty_thousand_levels_take_no_more_than_fifty():
    levels = np.array([f"level {number}" for number in range(50_000)], dtype=object)
    frame = pd.DataFrame({"id": levels, "x": np.arange(50_000.0)})
    model = short(max_iter=1).fit(frame)
    assert model.module_.likelihood.n_parameters == 50
    assert np.isfinite(model.score_samples(frame[:10])).all()
    assert set(model.sample(5, random_state=0)["id"]) <= set(levels)


def test_a_category_of_one_level_and_one_of_one_row_are_fitted(frame):
    rare = frame.assign(
        one="same", rare=["odd", *["even"] * (len(frame) - 1)], nothing=None
    )
    model = short().fit(rare)
    assert model.likelihood_[-1] == "none"
    assert np.isfinite(model.score_samples(rare)).all()
    drawn = model.sample(5, random_state=0)
    assert set(drawn["one"]) == {"same"}
    assert drawn["nothing"].isna().all()


def test_a_table_without_anything_to_learn_says_so():
    frame = pd.DataFrame({"one": ["same"] * 5, "nothing": [None] * 5})
    with pytest.raises(ValueError, match="Every column of X is missing altogether"):
        short(n_components="auto").fit(frame)
