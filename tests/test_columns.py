"""Columns of a table one by one: what they hold, and how they come back."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from mixed import BASE, CODES, by_library, column, same_form, short
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_ilvae._columns.building import user_values
from sklearn_ilvae._columns.readable import readable_number
from sklearn_ilvae._columns.schema import Column
from sklearn_ilvae._columns.summary import MOST_CHARACTERS, ColumnSummary, shortened
from sklearn_ilvae._random import draw_held_out
from sklearn_ilvae._tables import rows_at_once


def quick(**parameters):
    return short(**{"n_components": 1, "max_iter": 1} | parameters)


# Values


@by_library
def test_decoded_dates_are_the_same_instants_in_any_zone(convert):
    dates = pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(CODES, unit="D")
    instants = []
    for zone in ("UTC", "Asia/Tokyo"):
        table = convert(pd.DataFrame({"c": dates.tz_convert(zone), "x": BASE}))
        instants.append(column(quick().fit(table).sample(9, random_state=0)))
        assert str(instants[-1][0].tzinfo) == zone
    assert instants[0] == instants[1]


@by_library
@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York"])
@pytest.mark.parametrize(
    ("unit", "years"), [("ns", [1677, 2262]), ("us", [1, 9999]), ("s", [1, 9999])]
)
def test_dates_far_out_can_be_told_by_the_clocks_of_their_zone(
    convert, unit, years, zone
):
    dates = pd.Timestamp("2024-01-01", tz=zone) + pd.to_timedelta(CODES, unit="D")
    table = convert(pd.DataFrame({"c": dates.as_unit(unit), "x": BASE}))
    far = quick().fit(table).inverse_transform([[-1e6], [1e6]])
    assert same_form(far, table)
    assert sorted(each.year for each in column(far)) == years


DAY = 86_400 * 10**6


@pytest.mark.parametrize("group", ["date", "duration"])
@pytest.mark.parametrize(
    ("dtype", "unit"),
    [("date64[ms]", DAY), ("M8[s]", 10**6), ("timestamp[ms]", 1000), ("M8[us]", 1)],
)
def test_dates_are_whole_units_of_their_dtype(dtype, unit, group):
    units = np.array([-1.4, -0.6, 0.4, 0.6, 1.4])
    found, _ = user_values(Column("c", dtype, group), units * unit / DAY)
    assert found.tolist() == [-unit, -unit, 0, unit, unit]


@pytest.mark.parametrize("group", ["date", "duration"])
@pytest.mark.parametrize(
    ("dtype", "most"), [("[ns]", (2**63 - 1) // 1000), ("[us]", 2**63 - 1)]
)
def test_dates_are_as_far_out_as_their_dtype_reaches(dtype, most, group):
    """Or about half as far: that of microseconds is half a million years."""
    (first, last), _ = user_values(Column("c", dtype, group), np.array([-1e12, 1e12]))
    assert -first == last
    assert most / 3 < last <= most


@by_library
@pytest.mark.parametrize("dtype", ["Int16", "float64"])
def test_numbers_of_another_dtype_are_filled_in_the_form_of_the_fit(convert, dtype):
    frame = pd.DataFrame({"c": pd.Series(CODES, dtype="Int64"), "x": BASE})
    frame.loc[3, "c"] = None
    table = convert(frame)
    filled = quick().fit(table).impute(convert(frame.astype({"c": dtype})))
    assert same_form(filled, table)
    assert np.delete(column(filled), 3).tolist() == np.delete(CODES, 3).tolist()


@pytest.mark.parametrize(
    ("dtype", "limits"),
    [(pl.Int128, (-(2.0**127), 2.0**127)), (pl.UInt128, (0, 2.0**128))],
)
def test_values_beyond_long_integers_are_about_their_ends(dtype, limits):
    table = pl.DataFrame({"c": CODES, "x": BASE}).cast({"c": dtype})
    far = quick().fit(table).inverse_transform([[-1e6], [1e6]])
    assert same_form(far, table)
    assert_allclose(np.sort(column(far)).astype(float), limits)


def test_an_imputed_masked_array_keeps_its_floating_dtype():
    rows = np.column_stack([CODES, BASE]).astype(np.float32)
    masked = np.ma.array(rows, mask=rows == 4)
    assert quick().fit(masked).impute(masked).dtype == np.float32


def test_a_missing_zero_or_one_of_an_array_is_filled_with_one_of_them():
    rows = np.column_stack([CODES > 2, BASE, BASE])
    rows[::5, 0] = np.nan
    assert set(quick().fit(rows).impute(rows)[:, 0]) == {0, 1}


def test_imputations_differ_with_their_random_state():
    rows = np.column_stack([CODES + BASE, BASE])
    rows[0, 0] = np.nan
    model = quick().fit(rows)
    (first,), (same,), (other,) = (model.impute(rows, 1, seed) for seed in (1, 1, 2))
    assert first[0, 0] == same[0, 0] != other[0, 0]


def test_an_array_with_categories_stays_as_it_is():
    rows = np.column_stack([CODES + 3.0, BASE])
    before = rows.copy()
    model = quick(categorical_features=[0]).fit(rows)
    model.transform(rows)
    model.score_samples(rows)
    assert_array_equal(rows, before)


def test_filled_rows_keep_the_headings_of_their_own_columns():
    frame = pd.DataFrame({"c": CODES, "x": BASE}).rename_axis(columns="measure")
    model = quick().fit(frame)
    assert model.sample(1).columns.names == ["measure"]
    other = frame.rename_axis(columns="quantity")
    assert model.impute(other).columns.names == ["quantity"]


# Levels


def test_a_dictionary_without_an_order_is_text():
    words = pa.array(np.array(["mid", "low", "high"])[CODES % 3])
    encoded, plain = (
        pa.table({"c": values, "x": BASE})
        for values in (words.dictionary_encode(), words)
    )
    first, second = quick().fit(encoded), quick().fit(plain)
    values = [model.column_summary_[0]["values"] for model in (first, second)]
    assert values == ["3 levels: high, low, mid"] * 2
    assert_array_equal(first.score_samples(encoded), second.score_samples(plain))


def test_truth_values_of_numpy_among_objects_are_truth_values():
    flags = pd.Series([np.bool_(code > 2) for code in CODES], dtype=object)
    frame = pd.DataFrame({"c": flags, "x": BASE})
    assert quick().fit(frame).likelihood_[0] == "bernoulli"


@pytest.mark.parametrize("kind", [np.int64, np.float32])
def test_numbers_of_numpy_among_objects_are_numbers(kind):
    numbers = pd.Series([np.float32("nan"), *map(kind, CODES[1:])], dtype=object)
    frame = pd.DataFrame({"c": numbers, "x": BASE})
    model, other = quick().fit(frame), quick().fit(frame.astype(float))
    assert_array_equal(model.score_samples(frame), other.score_samples(frame))


@pytest.mark.parametrize("gap", [pd.NaT, np.float32("nan")])
def test_any_gap_among_text_is_a_gap(gap):
    words = pd.Series([gap, *"ab" * 11, "a"], dtype=object)
    model = quick().fit(pd.DataFrame({"c": words, "x": BASE}))
    assert model.column_summary_[0]["values"] == "2 levels: a, b"


def test_categories_can_be_chosen_by_a_mask():
    rows = np.column_stack([BASE, CODES])
    for mask in ([False, True], np.array([False, True])):
        model = quick(categorical_features=mask).fit(rows)
        assert model.likelihood_ == ["student_t", "categorical"]


def test_numbers_that_are_names_come_before_positions():
    frame = pd.DataFrame({1: CODES, 0: BASE})
    for asked in ({"categorical_features": [1]}, {"likelihood": {1: "categorical"}}):
        assert quick(**asked).fit(frame).likelihood_ == ["categorical", "student_t"]


@pytest.mark.parametrize("kind", ["U", object])
def test_an_array_of_text_holds_categories_alone(kind):
    words = np.array(["red", "a", "blue"])[CODES % 3]
    rows = np.column_stack([words, words[::-1]]).astype(kind)
    both = {"categorical_features": [0, 1]}, {"likelihood": ["categorical"] * 2}
    for asked in both:
        model = quick(**asked).fit(rows)
        assert set(model.sample(9, random_state=0).ravel()) <= set(words)
    with pytest.raises(ValueError, match="has 1 features, but ILVAETransformer is exp"):
        model.transform(rows[:, :1])
    with pytest.raises(ValueError, match=r"Column 0 holds 'red' in row 0, not a numbe"):
        quick().fit(rows)


def ordered(n_levels):
    levels = pd.CategoricalDtype(range(n_levels), ordered=True)
    return pd.DataFrame({"c": pd.Series(CODES % n_levels, dtype=levels), "x": BASE})


def test_an_order_can_be_left_aside():
    model = quick(likelihood={"c": "categorical"}).fit(ordered(3))
    assert model.likelihood_[0] == "categorical"


def test_one_level_has_no_order():
    assert quick().fit(ordered(1)).likelihood_[0] == "categorical"


def test_ordered_levels_are_all_told_apart():
    """The rarest of them are no group: others may lie between them."""
    frame = ordered(5)
    model = quick(max_categories=2).fit(frame)
    assert model.likelihood_[0] == "ordinal"
    assert model.module_.architecture.n_levels[0] == 5


def test_an_order_has_256_levels_at_most():
    rows = np.column_stack([np.arange(257.0), np.arange(257) % 3])
    model = quick(likelihood=["ordinal", "auto"])
    with pytest.raises(ValueError, match=r"Column 0 has 257 .* at most 256 are"):
        model.fit(rows)
    assert model.fit(rows[1:]).module_.architecture.n_levels[0] == 256


@by_library
def test_rare_levels_may_lie_beside_a_column_without_any_value(convert):
    frame = pd.DataFrame({"c": CODES.astype(str), "nothing": np.nan, "x": BASE})
    table = convert(frame)
    model = quick(max_categories=3).fit(table)
    decoded = model.inverse_transform(model.transform(table))
    assert set(column(decoded)) <= set(frame["c"])


# What is shown


def test_the_summary_shows_three_levels_and_that_there_are_more():
    frame = pd.DataFrame({"c": (CODES % 4).astype(str), "x": BASE})
    values = quick().fit(frame).column_summary_[0]["values"]
    assert values == "4 levels: 0, 1, 2, …"


def test_the_summary_shows_a_single_date_without_its_time():
    frame = pd.DataFrame({"c": pd.Timestamp("2024-01-02"), "x": BASE})
    assert quick().fit(frame).column_summary_[0]["values"] == "2024-01-02 ± 0 days"


def test_a_number_and_its_negative_are_printed_alike():
    for value in (54321.9, 0.12345, 1e20):
        assert readable_number(-value) == f"-{readable_number(value)}"


def test_text_that_fits_is_not_shortened():
    text = "a" * MOST_CHARACTERS
    assert shortened(text) == text
    assert len(shortened(f"{text}a")) == MOST_CHARACTERS


def test_names_and_values_are_text_in_a_notebook():
    shown = ColumnSummary([{"<column>": "<b>&"}])._repr_html_()
    assert "<th>&lt;column&gt;</th>" in shown
    assert "<td>&lt;b&gt;&amp;</td>" in shown


# Rows


@pytest.mark.parametrize(
    ("n_rows", "fraction", "least_kept", "held_out"),
    [(10, 0.1, 1, 1), (11, 0.1, 1, 2), (10, 0.99, 1, 9), (10, 0.99, 12, 0)],
)
def test_the_share_of_rows_held_out_is_rounded_up_and_leaves_some(
    n_rows, fraction, least_kept, held_out
):
    drawn = draw_held_out(n_rows, fraction, 0, least_kept)
    assert drawn.shape == (n_rows,)
    assert drawn.sum() == held_out


def test_other_rows_are_held_out_with_another_seed():
    first, same, other = (draw_held_out(100, 0.5, seed, 1) for seed in (0, 0, 1))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_a_row_at_least_is_taken_at_once_however_wide_a_layer():
    module = quick().fit(np.column_stack([CODES, BASE])).module_
    assert rows_at_once(module, 1000, 10**9) == 1


def test_two_rows_can_be_fitted_however_many_validate():
    model = quick(validation_fraction=0.99).fit(np.array([[0.0, 1.0], [2.0, 5.0]]))
    assert np.isfinite(model.loss_curve_).all()


def test_samples_are_in_double_precision_whatever_the_table():
    rows = np.column_stack([CODES, BASE]).astype(np.float32)
    assert quick().fit(rows).sample(2, random_state=0).dtype == np.float64
