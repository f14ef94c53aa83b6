"""Tables that look bad and can be fitted give finite results."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from autoencoders import short
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_ilvae._columns import find_scaling
from sklearn_ilvae.vae import DECODERS


def columns_of(rng, n_rows):
    factor = rng.standard_normal((n_rows, 1))
    return factor + 0.3 * rng.standard_normal((n_rows, 3))


ODD_TABLES = {
    "two rows": lambda rng: columns_of(rng, 2),
    "one column": lambda rng: columns_of(rng, 60)[:, :1],
    "one binary column": lambda rng: columns_of(rng, 60)[:, :1] > 0,
    "more columns than rows": lambda rng: rng.standard_normal((5, 40)),
    "constant columns": lambda rng: columns_of(rng, 60) * [0, 1, 1] + [7, 0, 0],
    "all columns constant": lambda rng: np.full((60, 3), 7.0),
    "all values zero": lambda rng: np.zeros((60, 3)),
    "duplicate columns": lambda rng: columns_of(rng, 60)[:, [0, 0, 1, 1, 2]],
    "duplicate rows": lambda rng: columns_of(rng, 3)[[0, 1, 2] * 20],
    "huge scale": lambda rng: columns_of(rng, 60) * 1e12,
    "tiny scale": lambda rng: columns_of(rng, 60) * 1e-12,
    "mixed scales": lambda rng: columns_of(rng, 60) * [1e12, 1, 1e-12],
    "far from zero": lambda rng: columns_of(rng, 60) + 1e9,
    "one extreme value": lambda rng: np.vstack([columns_of(rng, 60), [0, 1e12, 0]]),
    "heavy tails": lambda rng: rng.standard_cauchy((60, 3)),
    "integers": lambda rng: rng.integers(-5, 5, (60, 3)),
    "truth values": lambda rng: columns_of(rng, 60) > 0,
    "single precision": lambda rng: columns_of(rng, 60).astype(np.float32) * 1e12,
    "a list of lists": lambda rng: columns_of(rng, 60).tolist(),
    "reversed view": lambda rng: columns_of(rng, 60)[::-1, ::-1],
}


@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize("make", ODD_TABLES.values(), ids=ODD_TABLES)
def test_an_odd_table_is_fitted_with_finite_results(make, early_stopping):
    table = make(np.random.default_rng(0))
    model = short(n_components="auto", early_stopping=early_stopping).fit(table)
    assert np.isfinite(model.loss_curve_).all()
    assert np.isfinite(model.inverse_lipschitz_)
    codes, deviations = model.transform(table, return_std=True)
    assert np.isfinite(codes).all()
    assert (deviations > 0).all()
    assert np.isfinite(model.inverse_transform(codes)).all()
    assert np.isfinite(model.score_samples(table)).all()
    assert np.isfinite(model.sample(100, random_state=0)).all()


def test_a_constant_column_is_decoded_as_its_value():
    table = columns_of(np.random.default_rng(0), 60) * [0, 1, 1] + [7, 0, 0]
    model = short(max_iter=100, n_components=1).fit(table)
    assert model.scale_[0] == 0
    decoded = model.inverse_transform(model.transform(table))
    assert (decoded[:, 0] == 7).all()
    assert (model.sample(5, random_state=0)[:, 0] == 7).all()


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_constant_column_is_decoded_as_its_value_from_any_code(decoder):
    table = columns_of(np.random.default_rng(0), 60) * [0, 1, 1] + [7, 0, 0]
    model = short(decoder=decoder).fit(table)
    decoded = model.inverse_transform([[1e9, -1e9], [-1e30, 1e30]])
    assert_array_equal(decoded[:, 0], 7)


@pytest.mark.parametrize("value", [0, 1])
def test_a_constant_bernoulli_column_has_its_value_for_certain(value):
    table = np.column_stack(
        [columns_of(np.random.default_rng(0), 60), np.full(60, value)]
    )
    likelihood = ["auto", "auto", "auto", "bernoulli"]
    model = short(likelihood=likelihood).fit(table)
    decoded = model.inverse_transform(model.transform(table))
    assert_allclose(decoded[:, -1], value, atol=0.01)
    other = table.copy()
    other[:, -1] = 1 - value
    assert (model.score_samples(other) < model.score_samples(table) - 4).all()
    gaps = table.copy()
    gaps[:, -1] = np.nan
    assert_allclose(model.impute(gaps), table)


def test_a_zero_lies_a_unit_from_a_one_where_all_are_ones():
    scaling = find_scaling(torch.ones(9, 1), torch.ones(9), "bernoulli")
    zero, one = scaling.transform(torch.tensor([[0.0], [1.0]]).double())
    assert one - zero == pytest.approx(1)
    assert zero < 0 < one


def test_the_next_number_of_single_precision_is_near_a_large_constant():
    rows = torch.full((9, 1), 2.0**30)
    scaling = find_scaling(rows, torch.ones(9), "gaussian")
    (moved,) = scaling.transform(rows.nextafter(2 * rows)[:1])
    assert 0 < moved < 1


def test_a_row_far_from_all_others_has_a_finite_and_low_score(fitted, table):
    far = table.mean(0) + np.outer([1, 1e3, 1e6, 1e12, 1e100], 10 * table.std(0))
    scores = fitted.score_samples(far)
    assert np.isfinite(scores).all()
    assert (np.diff(scores) < 0).all()
    assert scores.max() < fitted.score_samples(table).min()
    assert np.isfinite(fitted.transform(far)).all()


@pytest.mark.parametrize("value", [0.7e-6, 30.7, 2e5 + 0.5])
def test_another_value_than_a_constant_counts_the_same_in_any_unit(value):
    table = columns_of(np.random.default_rng(0), 60)
    changes = [1.0, 1 + 1e-9, 1.001, 2.0]
    scores = []
    for constant in (0.7, value):
        with_constant = np.column_stack([table, np.full(60, constant)])
        model = short(max_iter=20, n_components=1).fit(with_constant)
        others = np.column_stack([table[:4], np.multiply(constant, changes)])
        scores.append(model.score_samples(others) + np.log(abs(constant)))
    assert_allclose(scores[0], scores[1], rtol=1e-6)


@pytest.mark.parametrize("unit", [2.0**-900, 1e-300, 1e300])
def test_columns_may_be_in_units_of_any_size(unit):
    table = columns_of(np.random.default_rng(0), 60)
    model, other = (short(max_iter=5).fit(each) for each in (table, unit * table))
    codes = model.transform(table)
    assert_allclose(other.transform(unit * table), codes, atol=1e-6)
    decoded = model.inverse_transform(codes)
    assert_allclose(other.inverse_transform(codes) / unit, decoded, atol=1e-6)


@pytest.mark.parametrize(("likelihood", "least"), [("gaussian", 10), ("student_t", 5)])
def test_whole_numbers_beside_a_constant_count_in_ones(likelihood, least):
    table = columns_of(np.random.default_rng(0), 60)
    falls = []
    for constant in (0, 1, 5):
        model = short(max_iter=20, n_components=1, likelihood=likelihood).fit(
            np.column_stack([table, np.full(60, constant)])
        )
        others = np.column_stack([table[[0, 0]], [constant, constant + 1]])
        falls.append(np.diff(model.score_samples(others))[0])
    assert_allclose(falls, falls[0], rtol=1e-6)
    assert falls[0] < -least


def test_a_small_spread_far_from_zero_is_no_rounding():
    table = columns_of(np.random.default_rng(0), 2000)
    table[:, 0] = 1e9 + 4e-4 * table[:, 0]
    model = short().fit(table)
    assert_allclose(model.scale_[0], table[:, 0].std(), rtol=1e-3)
    rounded = np.column_stack([table, np.where(table[:, 1] > 0, 0.3, 0.1 + 0.2)])
    assert short().fit(rounded).scale_[-1] == 0


def test_a_constant_column_gets_its_unit_for_spread_where_it_varies_later():
    first = torch.tensor([[7.0, 5.0, 0.0, 1.0], [7.0, 5.0, 0.0, 2.0]]).double()
    later = torch.tensor([[7.0, 5.0, 0.0, 9.0], [7.0, 6.0, torch.nan, 9.0]]).double()
    later[0, 0] *= 1 + 2**-52  # a rounding is no spread
    scaling = find_scaling(first, torch.ones(2), "gaussian")
    thawed = scaling.thawed(later)
    assert thawed.scale.tolist() == [0.0, scaling.unit[1], 0.0, 0.5]
    assert torch.equal(thawed.transform(first), scaling.transform(first))


def test_a_column_that_varies_only_in_later_batches_is_learned():
    rng = np.random.default_rng(0)
    first = np.column_stack([columns_of(rng, 200), np.full(200, 7.0)])
    later = first + np.outer(rng.integers(0, 5, 200), [0, 0, 0, 1])
    model = short(max_iter=30, warm_start=True).fit(first)
    assert model.sample(9, random_state=0)[:, 3].std() == 0
    for _ in range(60):
        model.partial_fit(later)
    drawn = model.sample(1000, random_state=0)[:, 3]
    assert abs(drawn.mean() - later[:, 3].mean()) < 0.5
    assert abs(drawn.std() - later[:, 3].std()) < 0.5


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize(
    "entries", [["a", "a", "b"], ["a", None, "b"], [1.0, np.nan, 2.0], [1.0, 1.0, 2.0]]
)
def test_a_level_that_a_dictionary_lists_twice_or_as_missing_counts_once(
    entries, ordered
):
    codes = np.random.default_rng(0).integers(0, 3, 60)
    levels = pa.array([entries[0], entries[2]])
    plain = pa.array([None, 0, 1], pa.int8()).take(
        pa.array([1, 1 if entries[1] == entries[0] else 0, 2]).take(pa.array(codes))
    )
    found = []
    for indices, values in [
        (codes.astype(np.int8), pa.array(entries)),
        (plain, levels),
    ]:
        array = pa.DictionaryArray.from_arrays(indices, values, ordered=ordered)
        table = pa.table({"c": array, "x": codes**2 + np.arange(60.0)})
        model = short(n_components=1, max_iter=1, random_state=0).fit(table)
        found.append((model.column_summary_[0], model.score_samples(table)))
    assert found[0][0] == found[1][0]
    assert_array_equal(found[0][1], found[1][1])


def test_rare_levels_keep_their_frequencies_beside_many_that_no_row_holds():
    codes = np.arange(300) % 10
    levels = [f"level {number:04}" for number in range(3000)]
    frame = pd.DataFrame({"c": pd.Categorical.from_codes(codes, levels)})
    model = short(max_categories=5, max_iter=5, n_components=1).fit(frame)
    assert_allclose(np.exp(model.score_samples(frame[:10])), 0.1, rtol=0.2)
    drawn = model.sample(3000, random_state=0)["c"].isin(levels[:10])
    assert drawn.mean() > 0.98
