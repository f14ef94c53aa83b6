"""Values come back as they were: large integers, fine dates, unusual dtypes."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from mixed import BASE, CODES, LIBRARIES, N_ROWS, column, same_form, short
from numpy.testing import assert_array_equal

from sklearn_ilvae import SteinScoreEstimator

GAPS = np.arange(N_ROWS) % 4 == 1

LARGE = 2**60 + 1 + CODES.astype(object)
"""No two of them have a float64 of their own."""

COLUMNS = {
    "large integers": LARGE.tolist(),
    "dates to the nanosecond": pd.date_range(
        "2024-01-01", periods=N_ROWS, freq="137ns"
    ),
    "durations to the nanosecond": pd.to_timedelta(137 * CODES + 1, unit="ns"),
}


def with_gaps(name, library):
    values = pd.Series(COLUMNS[name])
    if name == "large integers":
        values = values.astype("Int64")
    frame = pd.DataFrame({"c": values.mask(GAPS), "x": BASE})
    return LIBRARIES[library](frame)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("name", COLUMNS)
def test_observed_values_stay_exactly_as_they_are(name, library):
    table = with_gaps(name, library)
    model = short(n_components=1, max_iter=1).fit(table)
    for filled in (model.impute(table), *model.impute(table, 2, random_state=0)):
        assert same_form(filled, table)
        pairs = zip(column(filled), column(table), GAPS, strict=True)
        assert all(new == old for new, old, gap in pairs if not gap)


@pytest.mark.parametrize("library", LIBRARIES)
def test_an_observed_share_of_zeros_and_ones_stays_what_it_is(library):
    convert = LIBRARIES[library]
    model = short(max_iter=1).fit(convert(pd.DataFrame({"c": CODES % 2.0, "x": BASE})))
    rows = pd.DataFrame({"c": [0.5, 7.0, np.nan], "x": [0.5, np.nan, 1.0]})
    for filled in (model.impute(convert(rows)), *model.impute(convert(rows), 2)):
        *observed, drawn = column(filled)
        assert observed == [0.5, 7]
        assert drawn in (0, 1)


@pytest.mark.parametrize(
    "convert",
    [
        lambda f: pl.DataFrame(f).cast({"c": pl.Date}),
        lambda f: pa.table({"c": pa.array(f["c"], pa.date32()), "x": f["x"]}),
        lambda f: pa.table({"c": pa.array(f["c"]).cast(pa.date64()), "x": f["x"]}),
        lambda f: f.astype({"c": "date32[pyarrow]"}),
    ],
    ids=["polars", "pyarrow", "milliseconds", "pandas"],
)
@pytest.mark.parametrize("start", ["1965-01-01", "2024-01-01"])
def test_dates_without_a_time_of_day_are_those_of_the_nearest_midnight(convert, start):
    dates = pd.Timestamp(start) + pd.to_timedelta(CODES, unit="D")
    frame = pd.DataFrame({"c": dates, "x": BASE})
    drawn = [
        short().fit(table).sample(50, random_state=0)
        for table in (frame, convert(frame))
    ]
    nearest = drawn[0]["c"].dt.round("D").dt.date
    assert column(drawn[1]) == nearest.to_list()


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "UInt8", "Int64"])
def test_the_ends_of_an_integer_dtype_are_given_back(dtype):
    limits = np.iinfo(dtype.lower())
    ends = np.where(np.arange(60) % 2, limits.max, limits.min).astype(dtype.lower())
    frame = pd.DataFrame({"c": pd.Series(ends).astype(dtype), "x": np.arange(60) % 2})
    model = short(n_components=1, max_iter=1).fit(frame)
    assert same_form(model.sample(100, random_state=0), frame)
    far = model.inverse_transform([[-1e6], [1e6]])["c"].astype(object)
    assert limits.min <= far.min() < far.max() <= limits.max


@pytest.mark.parametrize(
    ("dtype", "library"),
    [("float16", "pandas"), *(("float32", library) for library in LIBRARIES)],
)
def test_values_beyond_a_short_floating_dtype_are_its_largest(dtype, library):
    most = float(np.finfo(dtype).max)
    frame = pd.DataFrame({"c": (CODES / 4 * most).astype(dtype), "x": BASE})
    table = LIBRARIES[library](frame)
    model = short(n_components=1, max_iter=1).fit(table)
    far = model.inverse_transform([[-1e6], [1e6]])
    assert same_form(far, table)
    assert_array_equal(np.sort(column(far)), [-most, most])


@pytest.mark.parametrize("digits", [(3, 1), (5, 5), (25, 24), (38, 2)])
@pytest.mark.parametrize("library", LIBRARIES)
def test_no_value_is_beyond_the_digits_of_decimal_numbers(digits, library):
    values = pd.Series(CODES % 2 / 4).astype(pd.ArrowDtype(pa.decimal128(*digits)))
    table = LIBRARIES[library](pd.DataFrame({"c": values, "x": BASE}))
    model = short(n_components=1, max_iter=1).fit(table)
    far = model.inverse_transform([[-1e6], [1e6]])
    assert same_form(far, table)
    largest = 10.0 ** (digits[0] - digits[1])
    assert float(max(column(far))) == pytest.approx(largest, rel=0.01)


def with_base(values):
    return pa.table({"c": values, "x": BASE})


ARROW_TEXT = pd.ArrowDtype(pa.string())

LONG_DECIMAL = pa.decimal256(50, 2)
SHORT_DECIMAL = getattr(pa, "decimal32", pa.decimal128)(9, 2)

PAIRS = [("a", int(code)) for code in CODES]

ODD_DTYPES = {
    "polars decimal": lambda: pl.DataFrame(
        {"c": [Decimal(int(code)) / 4 for code in CODES], "x": BASE}
    ).cast({"c": pl.Decimal(9, 2)}),
    "polars Int128": lambda: pl.DataFrame({"c": CODES, "x": BASE}).cast(
        {"c": pl.Int128}
    ),
    "polars UInt128": lambda: pl.DataFrame(
        {"c": np.where(CODES == 4, 2**60, CODES), "x": BASE, "t": ["a", "b"] * 12}
    ).cast({"c": pl.UInt128}),
    "polars zone": lambda: pl.DataFrame(
        {"c": [datetime(2024, 1, 1 + code, tzinfo=UTC) for code in CODES], "x": BASE}
    ).cast({"c": pl.Datetime("ns", "Asia/Tokyo")}),
    "polars Enum": lambda: pl.DataFrame(
        {"c": [str(code) for code in CODES], "x": BASE}
    ).cast({"c": pl.Enum(list("43210"))}),
    "pyarrow decimal": lambda: with_base(
        pa.array([Decimal(int(code)) / 4 for code in CODES], pa.decimal128(9, 2))
    ),
    "pyarrow long decimal": lambda: with_base(
        pa.array([Decimal(int(c)) / 4 if c else None for c in CODES], LONG_DECIMAL)
    ),
    "pyarrow short decimal": lambda: with_base(
        pa.array([Decimal(int(c)) / 4 if c else None for c in CODES], SHORT_DECIMAL)
    ),
    "pyarrow date64": lambda: with_base(
        pa.array([date(2024, 1, 1 + code) for code in CODES], pa.date64())
    ),
    "pyarrow duration": lambda: with_base(
        pa.array([timedelta(int(code)) for code in CODES], pa.duration("ns"))
    ),
    "pyarrow chunks": lambda: with_base(
        pa.chunked_array([["a", "b"] * 6, ["b", "c"] * 6])
    ),
    "pandas of pyarrow": lambda: pd.DataFrame({"c": CODES, "x": BASE}).astype(
        {"c": "int64[pyarrow]"}
    ),
    "pandas text of pyarrow": lambda: pd.DataFrame(
        {"c": [str(code) for code in CODES], "x": BASE}
    ).astype({"c": ARROW_TEXT}),
    "pandas text of python": lambda: pd.DataFrame(
        {"c": [str(code) if code else None for code in CODES], "x": BASE}
    ).astype({"c": "string[python]"}),
    "pandas categories of pyarrow text": lambda: pd.DataFrame(
        {"c": [str(code) for code in CODES], "x": BASE}
    ).astype({"c": pd.CategoricalDtype(pd.Index(list("01234"), dtype=ARROW_TEXT))}),
    "pandas decimal of pyarrow": lambda: pd.DataFrame(
        {"c": [Decimal(int(code)) / 4 if code else None for code in CODES], "x": BASE}
    ).astype({"c": pd.ArrowDtype(pa.decimal128(9, 2))}),
    "pandas long decimal of pyarrow": lambda: pd.DataFrame(
        {"c": [Decimal(int(code)) / 4 if code else None for code in CODES], "x": BASE}
    ).astype({"c": pd.ArrowDtype(LONG_DECIMAL)}),
    "pandas date64 of pyarrow": lambda: pd.DataFrame(
        {"c": [date(2024, 1, 1 + c) if c else None for c in CODES], "x": BASE}
    ).astype({"c": pd.ArrowDtype(pa.date64())}),
    "pandas long double": lambda: pd.DataFrame(
        {"c": np.where(CODES, CODES, np.nan).astype(np.longdouble), "x": BASE}
    ),
    "pandas categories of tuples": lambda: pd.DataFrame(
        {"c": pd.Categorical(pd.Index(PAIRS, tupleize_cols=False)), "x": BASE}
    ),
    "pandas categories of tuples of any length": lambda: pd.DataFrame(
        {
            "c": pd.Categorical(
                pd.Index([("a",) * (1 + code) for code in CODES], tupleize_cols=False)
            ),
            "x": BASE,
        }
    ),
    "polars objects": lambda: pl.DataFrame(
        {"c": pl.Series(CODES.tolist(), dtype=pl.Object), "x": BASE}
    ),
    "pyarrow dictionary of unsigned indices": lambda: with_base(
        pa.array([str(code) for code in CODES])
        .dictionary_encode()
        .cast(pa.dictionary(pa.uint32(), pa.string()))
    ),
    "pyarrow dictionary of dates": lambda: with_base(
        pa.array([date(2024, 1, 1 + code) for code in CODES]).dictionary_encode()
    ),
    "pyarrow dictionary of dates with a zone": lambda: with_base(
        pa.array(
            [datetime(2024, 1, 1 + code, tzinfo=UTC) for code in CODES],
            pa.timestamp("ms", "Asia/Tokyo"),
        ).dictionary_encode()
    ),
    "pyarrow dictionary of decimals": lambda: with_base(
        pa.array([Decimal(int(code)) / 4 for code in CODES]).dictionary_encode()
    ),
    "pyarrow integers of 64 bits": lambda: with_base(
        pa.array([2**63 + 2**50 * int(code) for code in CODES], pa.uint64())
    ),
    "pyarrow dates without an end": lambda: with_base(
        pa.array([date(9999, 12, 31) if c else date(2020, 1, 1) for c in CODES])
    ),
    "pyarrow bytes that are all missing": lambda: with_base(
        pa.nulls(N_ROWS, pa.binary(3))
    ),
    "pandas dates without an end": lambda: pd.DataFrame(
        {"c": np.where(CODES, pd.Timestamp.max, pd.Timestamp(2020, 1, 1)), "x": BASE}
    ).astype({"c": "M8[ns]"}),
    "pandas timestamps of pyarrow": lambda: pd.DataFrame(
        {"c": pd.Timestamp(2024, 1, 1) + pd.to_timedelta(CODES, unit="D"), "x": BASE}
    ).astype({"c": pd.ArrowDtype(pa.timestamp("s"))}),
    "pandas long durations of pyarrow": lambda: pd.DataFrame(
        {"c": pd.to_timedelta(200 * CODES, unit="D"), "x": BASE}
    ).astype({"c": pd.ArrowDtype(pa.duration("ns"))}),
    "pandas zone": lambda: pd.DataFrame(
        {
            "c": pd.Timestamp(2024, 1, 1, tz="America/New_York")
            + pd.to_timedelta(CODES, unit="D"),
            "x": BASE,
        }
    ),
    "pandas text that has no code": lambda: pd.DataFrame(
        {"c": pd.Series(np.array(["\ud800", "\ud801"])[CODES % 2], dtype=object)}
        | {"x": BASE}
    ),
    "pandas objects": lambda: pd.DataFrame({"c": CODES.astype(object), "x": BASE}),
}


@pytest.mark.parametrize("make", ODD_DTYPES.values(), ids=ODD_DTYPES)
def test_an_unusual_dtype_is_kept(make):
    table = make()
    model = short(n_components=1, max_iter=1).fit(table)
    for other in (
        model.inverse_transform(model.transform(table)),
        model.sample(3, random_state=0),
        model.impute(table),
    ):
        assert same_form(other, table)


@pytest.mark.parametrize("dtype", ["int32", "float64"])
def test_numbers_may_have_the_byte_order_of_another_machine(dtype):
    frame = pd.DataFrame({"c": CODES, "x": BASE}).astype({"c": dtype})
    swapped = frame.astype({"c": np.dtype(dtype).newbyteorder()})
    model = short(n_components=1).fit(frame)
    other = short(n_components=1).fit(swapped)
    assert_array_equal(other.score_samples(swapped), model.score_samples(frame))
    assert same_form(other.sample(3, random_state=0), frame)


@pytest.mark.parametrize("dtype", ["int32", "float64"])
def test_all_numbers_of_a_table_may_have_the_byte_order_of_another_machine(dtype):
    frame = pd.DataFrame({"c": CODES, "x": CODES**2}, dtype=dtype)
    swapped = frame.astype(np.dtype(dtype).newbyteorder())
    for model in (short(n_components=1), SteinScoreEstimator(random_state=0)):
        scores = model.fit(swapped).score_samples(swapped)
        assert_array_equal(scores, model.fit(frame).score_samples(frame))


@pytest.mark.parametrize("dtype", [pl.Int128, pl.UInt128])
def test_a_table_of_integers_may_have_some_that_numpy_has_not(dtype):
    frame = pl.DataFrame({"c": CODES, "x": CODES**2})
    longer = frame.cast({"c": dtype})
    for model in (short(n_components=1), SteinScoreEstimator(random_state=0)):
        scores = model.fit(longer).score_samples(longer)
        assert_array_equal(scores, model.fit(frame).score_samples(frame))


@pytest.mark.skipif(not hasattr(np.dtypes, "StringDType"), reason="needs NumPy 2")
@pytest.mark.parametrize("gap", [None, np.nan])
def test_text_of_variable_width_in_an_array_can_be_a_category(gap):
    dtype = np.dtypes.StringDType(na_object=gap)
    words = np.array(["red", "a longer word"] * (N_ROWS // 2), dtype=dtype)[:, None]
    words = np.hstack([words, words])
    words[0, 0] = gap
    filled = short(categorical_features=[0, 1]).fit(words).impute(words)
    assert filled[0, 0] in ("red", "a longer word")
    assert (filled[1:] == words[1:].astype(object)).all()


def test_a_zone_without_a_name_says_what_to_do():
    dates = pd.Series(pd.date_range("2024-01-01", periods=N_ROWS))
    dates = dates.dt.tz_localize("dateutil/Europe/Berlin")
    frame = pd.DataFrame({"c": dates, "x": BASE})
    with pytest.raises(ValueError, match=r"Column 'c' has dtype .* no name\. Convert"):
        short().fit(frame)
    converted = frame.assign(c=frame["c"].dt.tz_convert("UTC"))
    assert same_form(short().fit(converted).sample(2, random_state=0), converted)


def test_a_long_double_is_read_as_float64_and_observed_values_stay():
    fine = np.longdouble(1) + np.finfo(np.longdouble).eps * CODES
    frame = pd.DataFrame({"c": fine, "x": np.where(GAPS, np.nan, BASE)})
    model, other = (
        short(n_components=1, max_iter=2).fit(each)
        for each in (frame, frame.astype(float))
    )
    assert_array_equal(model.transform(frame), other.transform(frame))
    assert_array_equal(model.impute(frame)["c"], fine)


@pytest.mark.parametrize("library", LIBRARIES)
def test_short_codes_are_decoded_to_values_of_many_digits(library):
    values = 2_000_000_000 + CODES
    seconds = pd.Timestamp("2024-01-01") + pd.to_timedelta(CODES, unit="s")
    frame = pd.DataFrame({"whole": values, "number": values - 0.5, "date": seconds})
    model = short(n_components=1, max_iter=1).fit(LIBRARIES[library](frame))
    codes = model.transform(LIBRARIES[library](frame))
    exact, found = (
        model._checked(model.inverse_transform(each), "transform").numpy()
        for each in (codes, codes.astype(np.float32))
    )
    # Whole numbers may be rounded to a neighbour.
    unit = [1 / model.scale_[0], 1e-3, 1e-3]
    assert (np.abs(found - exact) <= unit * model.scale_).all()


HEADINGS = {
    "a name": pd.Index(["a", "b"], name="measure"),
    "numbers": pd.Index([3, 1], name="year"),
    "levels": pd.MultiIndex.from_tuples([("a", "b"), ("a", "c")], names=["one", "two"]),
    "tuples of one level": pd.Index([("a", "b"), ("a",)], tupleize_cols=False),
}


@pytest.mark.parametrize("first", [CODES, CODES.astype(str)], ids=["numbers", "text"])
@pytest.mark.parametrize("names", HEADINGS.values(), ids=HEADINGS)
def test_names_of_columns_keep_their_levels_and_headings(names, first):
    frame = pd.DataFrame({0: first, 1: BASE}).set_axis(names, axis=1)
    model = short(n_components=1, max_iter=1).fit(frame)
    for other in (
        model.inverse_transform(model.transform(frame)),
        model.sample(2, random_state=0),
        model.impute(frame),
    ):
        assert other.columns.equals(names)
        assert other.columns.names == names.names


def test_categories_beyond_what_float64_tells_apart_are_an_error():
    frame = pd.DataFrame({"c": LARGE.astype(np.int64), "x": BASE})
    with pytest.raises(ValueError, match=r"Column 'c' holds numbers beyond 2\*\*53"):
        short(categorical_features=["c"]).fit(frame)
    model = short(n_components=1, max_iter=1).fit(frame.astype({"c": "str"}))
    assert set(model.sample(9, random_state=0)["c"]) <= {str(each) for each in LARGE}
    known = frame.assign(c=2**53 - CODES)
    assert short(categorical_features=["c"]).fit(known).likelihood_[0] == "categorical"


@pytest.mark.parametrize("entry", [[1], {"a": 1}], ids=["lists", "structs"])
def test_a_dictionary_of_nested_values_is_named_with_what_to_do(entry):
    codes = np.zeros(N_ROWS, dtype=np.int8)
    table = with_base(pa.DictionaryArray.from_arrays(codes, pa.array([entry])))
    with pytest.raises(ValueError, match=r"Column 'c' has dtype dicti.* Convert it to"):
        short().fit(table)


@pytest.mark.parametrize(
    "value", [Decimal("1.5"), date(2024, 1, 1), [1], {}], ids=lambda v: type(v).__name__
)
def test_objects_of_no_kind_are_named_with_what_to_do(value):
    frame = pd.DataFrame({"c": pd.Series([value] * N_ROWS, dtype=object), "x": BASE})
    with pytest.raises(ValueError, match=r"Column 'c' holds .* in row 0; a column of"):
        short().fit(frame)
