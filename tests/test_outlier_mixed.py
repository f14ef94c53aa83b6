"""The detector takes tables as they are: categories, dates and gaps, with reasons."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from autoencoders import short_detector
from mixed import LIBRARIES, people
from numpy.testing import assert_allclose


@pytest.fixture(scope="module")
def detector():
    return short_detector(max_iter=40).fit(people(300))


@pytest.mark.parametrize("gaps", [0.0, 0.2])
@pytest.mark.parametrize("convert", LIBRARIES.values(), ids=LIBRARIES)
def test_contributions_add_up_to_the_score(convert, gaps):
    table = convert(people(gaps=gaps))
    detector = short_detector().fit(table)
    scores = detector.score_samples(table)
    terms = np.asarray(detector.feature_contributions(table))
    assert np.isfinite(scores).all()
    assert_allclose(terms.sum(1), scores, rtol=1e-9)
    assert set(detector.predict(table)) == {-1, 1}
    assert len(detector.support_) == len(table)


def test_the_summary_shows_every_column(detector):
    summary = detector.column_summary_
    assert [each["column"] for each in summary] == list(people(1).columns)
    assert repr(summary) == repr(detector.transformer_.column_summary_)


def test_a_category_that_does_not_fit_its_row_is_the_reason(detector, capsys):
    frame = people(300)
    tall = frame["height"].idxmax()
    frame.loc[tall, "grade"] = "low"
    terms = detector.feature_contributions(frame.loc[[tall]])
    surprise = terms - detector.typical_contributions_
    assert surprise.iloc[0].drop("latent").idxmin() == "grade"
    detector.explain(frame.loc[[tall]])
    assert "low" in capsys.readouterr().out.split("grade")[1].split("\n")[0]
    detector.explain(frame.loc[tall])  # a row without dtypes of its own


def test_expected_rows_come_in_the_form_of_the_table(detector):
    frame = people(300)
    _, expected = detector.feature_contributions(frame, return_expected=True)
    assert expected.dtypes.equals(frame.dtypes)
    assert (expected["grade"] == frame["grade"]).mean() > 0.6


def test_a_missing_value_is_no_surprise(detector):
    frame = people(300)
    terms = detector.feature_contributions(frame.assign(city=None))
    city = frame.columns.get_loc("city")
    assert_allclose(terms["city"], detector.typical_contributions_[city])


def test_an_unknown_level_is_an_error_or_a_missing_value():
    frame = people()
    other = frame.assign(city="Paris")
    with pytest.raises(ValueError, match="Column 'city' holds 'Paris'"):
        short_detector().fit(frame).score_samples(other)
    detector = short_detector(handle_unknown="missing").fit(frame)
    missing = detector.score_samples(frame.assign(city=None))
    assert_allclose(detector.score_samples(other), missing)


def test_columns_of_numbers_can_be_counts_or_categories():
    frame = people()
    chosen = {"likelihood": {"visits": "poisson"}, "categorical_features": ["smoker"]}
    kinds = short_detector(**chosen).fit(frame).transformer_.likelihood_
    assert kinds[1:3] == ["poisson", "categorical"]
    detector = short_detector(**chosen).partial_fit(frame).partial_fit(frame[:60])
    assert np.isfinite(detector.score_samples(frame)).all()


@pytest.mark.parametrize("as_table", [np.asarray, pd.DataFrame, pl.DataFrame])
def test_expected_categories_that_are_numbers_are_these_numbers(as_table, table):
    levels = np.array([10.0, 20.0, 50.0])
    codes = np.digitize(table[:, 0], np.quantile(table[:, 0], [0.3, 0.6]))
    X = as_table(np.column_stack([table, levels[codes]]))
    detector = short_detector(categorical_features=[5]).fit(X)
    _, expected = detector.feature_contributions(X, return_expected=True)
    assert set(np.asarray(expected)[:, 5]) <= set(levels)


def test_gaps_in_numbers_alone_need_no_imputation(table):
    rng = np.random.default_rng(0)
    missing = np.where(rng.random(table.shape) < 0.2, np.nan, table)
    detector = short_detector().fit(missing)
    assert np.isfinite(detector.score_samples(missing)).all()
    frame = pd.DataFrame(missing, columns=list("abcde"))
    assert_allclose(
        short_detector().fit(frame).score_samples(frame),
        detector.score_samples(missing),
    )
