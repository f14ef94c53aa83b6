"""Drawn values look like those of the table: as far out at most, and as fine."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from mixed import by_library, column, people, short
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_ilvae._columns import as_fine, in_range, seen_in
from sklearn_ilvae._columns.schema import Column, TableSchema

DAY = 86_400_000_000
"""In microseconds."""


def fineness(values, dtype="float64", group="number"):
    schema = TableSchema("array", (Column(0, dtype, group),))
    rows = torch.tensor(np.asarray(values))[:, None]
    return seen_in(rows, schema)[2].item()


def numbers(seed=0, size=60):
    """A column of numbers of full precision."""
    return 5 + 2 * np.random.default_rng(seed).standard_normal(size)


def are_multiples(values, fineness):
    return np.array_equal(values, np.rint(values * fineness) / fineness)


class TestFineness:
    @pytest.mark.parametrize("decimals", range(8))
    @pytest.mark.parametrize("size", [1e-3, 1, 1e6])
    def test_is_that_of_the_decimals(self, decimals, size):
        values = (size * numbers()).round(decimals)
        values[0] = 10.0**-decimals
        assert fineness(values) == 10**decimals

    @given(st.lists(st.integers(-(10**9), 10**9), min_size=1), st.integers(0, 12))
    def test_suits_decimals_however_they_were_read(self, parts, decimals):
        values = np.array([float(f"{part}e-{decimals}") for part in parts])
        found = fineness(values)
        assert found <= 10**decimals
        assert are_multiples(values, found)

    def test_of_full_precision_there_is_none(self):
        assert fineness(numbers()) == np.inf

    def test_looks_at_every_value(self):
        values = np.zeros(3000)
        values[-1] = 0.25
        assert fineness(values) == 100

    def test_forgives_the_rounding_of_sums(self):
        assert 0.1 + 0.2 != 0.3
        assert fineness([0.1 + 0.2, 1.1]) == 10

    def test_of_short_numbers_is_that_of_what_they_are_written_as(self):
        values = numbers().round(2).astype(np.float32)
        assert fineness(values, "float32") == 100
        # As a frame of such a column is read.
        assert fineness(values.astype(float), "Float32") == 100
        assert fineness(values.astype(float), "float64") > 100

    @pytest.mark.parametrize(
        ("unit", "parts"),
        [("D", 1), ("h", 24), ("m", 1440), ("s", 86_400), ("ms", 86_400_000)],
    )
    @pytest.mark.parametrize("group", ["date", "duration"])
    def test_of_dates_is_that_of_a_clock(self, unit, parts, group):
        whole = np.random.default_rng(0).integers(0, 10_000 * parts, 50)
        stamps = whole.astype(f"m8[{unit}]").astype("m8[us]").astype(np.int64)
        assert fineness(stamps / DAY, group=group) == parts

    def test_of_dates_to_the_microsecond_there_is_none(self):
        stamps = np.random.default_rng(0).integers(0, 10_000 * DAY, 50)
        assert fineness(stamps / DAY, group="date") == np.inf

    @example([1e300, 0.5], [0.25])
    @example([np.nan], [0.5])
    @given(
        st.lists(st.floats(allow_infinity=False), min_size=1),
        st.lists(st.floats(allow_infinity=False), min_size=1),
    )
    def test_of_two_batches_is_that_of_both(self, first, second):
        schema = TableSchema("array", (Column(0, "float64", "number"),))
        batches = [
            torch.tensor(each, dtype=torch.float64)[:, None] for each in (first, second)
        ]
        whole = seen_in(torch.cat(batches), schema)
        assert_array_equal(
            seen_in(batches[1], schema, seen_in(batches[0], schema)), whole
        )


@given(
    st.floats(allow_infinity=False),
    st.sampled_from([1.0, 24.0, 100.0, 86_400_000.0, 1e12, np.inf, np.nan]),
)
def test_rounding_moves_values_by_half_a_part_at_most(value, fineness):
    seen = torch.tensor([[-np.inf], [np.inf], [fineness]], dtype=torch.float64)
    table = torch.tensor([[value]], dtype=torch.float64)
    once = as_fine(table, seen)
    assert_array_equal(as_fine(once, seen), once)
    if np.isfinite(fineness):
        assert_allclose(once, table, rtol=1e-15, atol=0.5 / fineness)
    else:
        assert_array_equal(once, table)


def test_ends_of_the_range_stay_as_they_are():
    lowest, highest = 0.1 + 0.2, 1.1
    seen = torch.tensor([[lowest], [highest], [10.0]], dtype=torch.float64)
    table = torch.tensor([[0.0], [0.44], [5.0]], dtype=torch.float64)
    assert_array_equal(in_range(as_fine(table, seen), seen)[:, 0], [lowest, 0.4, 1.1])


# Estimators


def a_table():
    return np.column_stack([numbers(0).round(), numbers(1).round(2), numbers(2)])


def test_samples_have_no_more_decimals_than_the_table():
    drawn = short().fit(a_table()).sample(50, random_state=0)
    assert are_multiples(drawn[:, 0], 1)
    assert are_multiples(drawn[:, 1], 100)
    assert not are_multiples(drawn[:, 1], 10)
    assert len(np.unique(drawn[:, 2])) > 40


def test_a_later_batch_may_be_finer():
    model = short().fit(a_table())
    model.partial_fit(a_table() / [10, 1, 1])
    drawn = model.sample(50, random_state=0)
    assert are_multiples(drawn[:, 0], 10)
    assert not are_multiples(drawn[:, 0], 1)


def test_random_fillings_have_no_more_decimals_but_expected_values_do():
    table = a_table()
    model = short().fit(table)
    gappy = np.where([True, False, False], np.nan, table)
    for filled in model.impute(gappy, 2, random_state=0):
        assert are_multiples(filled[:, 0], 1)
    assert not are_multiples(model.impute(gappy)[:, 0], 1)


def test_short_numbers_are_drawn_as_they_are_written():
    frame = pd.DataFrame({"c": numbers().round(1).astype(np.float32), "d": numbers(1)})
    drawn = short().fit(frame).sample(50, random_state=0)["c"]
    assert drawn.dtype == np.float32
    assert max(len(str(value)) for value in drawn.to_numpy()) <= len("12.3")


@by_library
def test_dates_without_a_time_of_day_are_drawn_without_one(convert):
    frame = people()[["joined", "wait", "height"]].rename(columns={"joined": "c"})
    table = convert(frame)
    drawn = column(short().fit(table).sample(50, random_state=0))
    assert len(set(drawn)) > 10
    assert {(each.hour, each.minute, each.second) for each in drawn} == {(0, 0, 0)}
