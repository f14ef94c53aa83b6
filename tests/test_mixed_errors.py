"""Tables of other columns and bad choices are errors that say what to do."""

import re
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from mixed import by_library, people, rows_of, short
from numpy.testing import assert_allclose, assert_array_equal


@pytest.fixture(scope="module")
def frame():
    return people()


@pytest.fixture(scope="module")
def model(frame):
    return short(max_iter=5).fit(frame)


# Levels and columns that fit did not see


@by_library
def test_an_unknown_level_is_an_error_or_a_missing_value(frame, convert):
    model = short().fit(convert(frame))
    other = frame.assign(city=["Paris", *frame["city"][1:]])
    message = "Column 'city' holds 'Paris' in row 0, .*Known are 'Bonn', 'Oslo', 'Rome'"
    with pytest.raises(ValueError, match=message):
        model.transform(convert(other))
    model.set_params(handle_unknown="missing")
    missing = frame.assign(city=[None, *frame["city"][1:]])
    assert_array_equal(
        model.score_samples(convert(other)), model.score_samples(convert(missing))
    )


@by_library
@pytest.mark.parametrize("other", ["visits", "city"])
@pytest.mark.parametrize(
    "dicts",
    [
        lambda f: f.iloc[0].to_dict(),
        lambda f: f.to_dict("list"),
        lambda f: f.to_dict("records"),
    ],
    ids=["row", "columns", "rows"],
)
def test_dicts_are_refused_with_the_call_that_makes_a_table_of_them(
    frame, convert, other, dicts
):
    """Of the library of the fit: the user may have no other."""
    table = convert(frame[["height", other]])
    model = short(max_iter=1, n_components=1).fit(table)
    X = dicts(frame[["height", other]])
    with pytest.raises(ValueError, match=r"Expected a table, got .* Pass ") as caught:
        model.transform(X)
    call = str(caught.value).split(" Pass ")[1].removesuffix(".")
    names = {each.__name__: each for each in (pd, pl, pa)} | {"X": X}
    made = eval(call, names)
    assert type(made) is type(table)
    assert_array_equal(model.transform(made), model.transform(table)[: len(made)])


OTHER_COLUMNS = {
    "another order": (lambda f: f[f.columns[::-1]], "must be in the same order"),
    "a new name": (
        lambda f: f.rename(columns={"city": "town"}),
        "unseen at fit time:\\n- town\\n.*yet now missing:\\n- city",
    ),
    "one fewer": (lambda f: f.drop(columns="city"), "yet now missing:\\n- city"),
    "one more": (lambda f: f.assign(age=1), "unseen at fit time:\\n- age"),
}


@by_library
def test_an_unknown_level_that_is_a_number_is_named_as_the_table_has_it(frame, convert):
    table = frame[["height"]].assign(code=1_234_567 + np.arange(len(frame)) % 2)
    table["member"] = True
    model = short(max_iter=1, n_components=1, categorical_features=["code", "member"])
    model.fit(convert(table))
    message = r"holds 7 in row 0, .*Known are 1234567, 1234568\. Map"
    with pytest.raises(ValueError, match=message):
        model.transform(convert(table.assign(code=7)))
    message = r"holds False in row 0, .*Known are True\. Map"
    with pytest.raises(ValueError, match=message):
        model.transform(convert(table.assign(member=False)))


@pytest.mark.parametrize(("n_levels", "more"), [(8, ""), (9, r", … \(9 in all\)")])
def test_of_many_known_levels_the_first_eight_are_named(n_levels, more):
    letters = list("ihgfedcba")[-n_levels:]
    frame = pd.DataFrame({"c": letters, "x": np.arange(n_levels) % 3 * 0.5})
    model = short(max_iter=1, n_components=1).fit(frame)
    known = "Known are 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'"
    with pytest.raises(ValueError, match=rf"{known}{more}\. Map"):
        model.transform(frame.assign(c="z"))


@by_library
@pytest.mark.parametrize(
    ("change", "message"), OTHER_COLUMNS.values(), ids=OTHER_COLUMNS
)
def test_other_columns_give_the_error_of_scikit_learn(frame, change, message, convert):
    model = short(max_iter=1).fit(convert(frame))
    with pytest.raises(ValueError, match="feature names should match") as error:
        model.transform(convert(change(frame)))
    assert re.search(message, str(error.value), re.DOTALL)


@pytest.mark.parametrize("columns", [["visits", "smoker"], ["visits", "city"]])
def test_columns_that_are_numbered_may_not_change_their_order(frame, columns):
    table = frame[columns].set_axis([3, 1], axis=1)
    model = short(max_iter=1, n_components=1).fit(table)
    with pytest.raises(ValueError, match="Column 1 of X is in the place of column 3"):
        model.transform(table[[1, 3]])
    with pytest.raises(ValueError, match="Column 1 of X is in the place of column 3"):
        model.transform(table.set_axis([1, 8], axis=1))  # the first left out
    gaps = table.astype({3: "Int64"}).mask(np.eye(len(table), 2) == 1)
    renumbered = gaps.set_axis([7, 8], axis=1)  # as rows that scikit-learn takes
    filled, other = model.impute(gaps), model.impute(renumbered)
    assert other.equals(filled)


@by_library
def test_a_column_that_changed_its_dtype_is_listed(frame, convert):
    model = short(max_iter=1).fit(convert(frame))
    other = frame.assign(height="tall", joined=frame["height"])
    with pytest.raises(ValueError, match="differ from those in fit") as error:
        model.transform(convert(other))
    assert re.search(r"'height': number \(.*\) in fit, text \(", str(error.value))
    assert re.search(r"'joined': date \(.*\) in fit, number \(", str(error.value))
    narrower = frame.astype({"height": "float32", "visits": "int16"})
    assert np.isfinite(model.score_samples(convert(narrower))).all()


@pytest.mark.parametrize("levels", [[1, 2], [0.5, 2.5], [False, True]])
def test_numbers_stand_for_categories_that_are_numbers(frame, levels):
    codes = (frame["height"] > 170).astype(int)
    kinds = pd.Series(pd.Categorical.from_codes(codes, levels), index=frame.index)
    model = short(max_iter=1).fit(frame.assign(kind=kinds))
    plain = frame.assign(kind=np.array(levels)[codes])
    scores = model.score_samples(frame.assign(kind=kinds))
    np.testing.assert_array_equal(model.score_samples(plain), scores)
    with pytest.raises(ValueError, match="'kind' holds 7 in row 0, which was not"):
        model.score_samples(frame.assign(kind=7))
    with pytest.raises(ValueError, match=r"'kind': text .* in fit, date .* now"):
        model.score_samples(frame.assign(kind=frame["joined"]))


@by_library
def test_missing_values_alone_fit_any_column(frame, model, convert):
    fitted = short(max_iter=1).fit(convert(frame))
    for column in frame.columns:
        unknown = frame.assign(**{column: np.nan})
        assert np.isfinite(fitted.transform(convert(unknown))).all()


@pytest.mark.parametrize("value", [-1.0, 0.5])
def test_what_cannot_be_a_count_is_no_row_to_encode(frame, value):
    model = short(likelihood={"visits": "poisson"}, max_iter=1).fit(frame)
    other = frame.assign(visits=value)
    for method in (model.transform, model.impute, model.score_samples):
        with pytest.raises(ValueError, match=f"'visits' has likelihood .* {value}"):
            method(other)


@pytest.mark.parametrize(
    ("column", "kind"), [("visits", "poisson"), ("smoker", "bernoulli")]
)
def test_an_impossible_value_of_a_new_row_need_not_change_the_model(
    frame, column, kind
):
    frame = frame.astype({column: float})
    model = short(likelihood={column: kind}, max_iter=1).fit(frame)
    new = frame.copy()
    new.loc[3, column] = -1.0
    with pytest.raises(ValueError, match="Correct such values, make them missing, or"):
        model.score_samples(new)
    with pytest.raises(ValueError, match="Correct such values, make them missing, or"):
        model.partial_fit(new)
    new.loc[3, column] = np.nan
    assert np.isfinite(model.score_samples(new)).all()


@by_library
def test_dates_may_change_their_zone_but_not_lose_it(frame, convert):
    zoned = frame.assign(joined=frame["joined"].dt.tz_localize("UTC"))
    model = short(max_iter=1).fit(convert(zoned))
    with pytest.raises(ValueError, match=r"'joined': date \(.*\) in fit, date \("):
        model.transform(convert(frame))
    tokyo = zoned.assign(joined=zoned["joined"].dt.tz_convert("Asia/Tokyo"))
    assert_allclose(model.transform(convert(tokyo)), model.transform(convert(zoned)))


def test_an_array_cannot_stand_for_a_mixed_table(frame, model):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ValueError, match="a table with named columns") as error:
            model.transform(frame.to_numpy())
    named = [name for name in frame.columns if repr(name) in str(error.value)]
    assert named == ["city", "grade", "kind"]  # not all, which may be hundreds


@by_library
def test_a_mixed_table_of_too_few_rows_is_refused(frame, model, convert):
    with pytest.raises(ValueError, match=r"1 sample.* minimum of 2 is required by ILV"):
        short().fit(rows_of(convert(frame), [0]))
    with pytest.raises(ValueError, match=r"0 sample.* minimum of 1 is required by ILV"):
        model.transform(frame[:0])


@by_library
@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_an_infinite_value_of_a_mixed_table_is_named(frame, model, convert, value):
    other = frame.assign(height=frame["height"].where(frame.index != 5, value))
    message = f"Column 'height' holds {value} in row 5. Replace infinite values"
    with pytest.raises(ValueError, match=message):
        short().fit(convert(other))
    with pytest.raises(ValueError, match=message):
        model.transform(other)


# Choices that cannot be fitted


BAD_CHOICES = {
    "likelihood of numbers for text": (
        {"likelihood": {"city": "gaussian"}},
        "'gaussian' for column 'city', which holds categories",
    ),
    "unknown column": ({"likelihood": {"town": "poisson"}}, "names column 'town'"),
    "unknown category": ({"categorical_features": ["town"]}, "names column 'town'"),
    "short mask": ({"categorical_features": [True]}, "has 1 truth value, but X has 8"),
    "long mask": ({"categorical_features": [True] * 9}, "has 9 truth values, but X"),
    "number of no column": ({"categorical_features": [8]}, "names column 8, which X"),
    "likelihood of too many columns": (
        {"likelihood": ["auto"] * 9},
        "names 9 columns, but X has 8. Name one for every column",
    ),
    "dates as categories": (
        {"categorical_features": ["joined"]},
        "Column 'joined' holds dates .* cannot be categories",
    ),
    "dates as counts": (
        {"likelihood": {"joined": "poisson"}},
        "'poisson' for column 'joined', which holds dates .* 'auto', 'gaussian' or",
    ),
    "durations as levels": (
        {"likelihood": {"wait": "ordinal"}},
        "'ordinal' for column 'wait', which holds dates or durations; it must be",
    ),
    "no counts": (
        {"likelihood": {"height": "poisson"}},
        "Column 'height' has likelihood 'poisson' but holds .* whole numbers",
    ),
    "too many components": (
        {"n_components": 11},
        "must not exceed the number of natural parameters of the columns, 10",
    ),
}


@pytest.mark.parametrize(
    ("parameters", "message"), BAD_CHOICES.values(), ids=BAD_CHOICES
)
def test_a_bad_choice_is_named_and_leaves_nothing_fitted(frame, parameters, message):
    model = short(**parameters)
    before = dict(vars(model))
    with pytest.raises(ValueError, match=message):
        model.fit(frame)
    assert vars(model) == before


@pytest.mark.parametrize("kind", ["poisson", "bernoulli", "ordinal", "gaussian"])
def test_one_likelihood_for_all_numbers_is_one_for_dates_where_it_can_be(kind):
    days = pd.Timestamp(1970, 1, 1) + pd.to_timedelta(np.arange(40) % 2, unit="D")
    frame = pd.DataFrame({"day": days, "number": np.arange(40) % 2})
    model = short(likelihood=kind, max_iter=1, warm_start=True).fit(frame)
    continuous = kind if kind == "gaussian" else "student_t"
    assert model.likelihood_ == [continuous, kind]
    assert model.fit(frame).likelihood_ == [continuous, kind]
