"""Bad tables and parameters: a clear error that changes nothing, or a finite result."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from autoencoders import short, short_detector
from numpy.testing import assert_array_equal
from sklearn.exceptions import NotFittedError

from sklearn_ilvae import (
    ILVAEOutlierDetector,
    ILVAETransformer,
    SteinScoreEstimator,
)

DICTIONARY = pa.dictionary(pa.int32(), pa.string())


@pytest.fixture(scope="module")
def frame(table):
    """Return a data frame with named columns, one of them binary."""
    frame = pd.DataFrame(table, columns=["a", "b", "c", "d", "e"])
    frame["married"] = (frame["a"] > 0).astype(int)
    return frame


def with_value(frame, column, value):
    changed = frame.astype({column: object})
    changed.loc[5, column] = value
    return changed


# Tables that cannot be fitted


BAD_TABLES = {
    "one row": (lambda f: f[:1], "minimum of 2 is required"),
    "no rows": (lambda f: f[:0], "0 sample"),
    "no columns": (lambda f: f[[]], "The table has no columns"),
    "no columns in an array": (lambda f: f.to_numpy()[:, :0], "0 feature"),
    "one dimension": (lambda f: f["a"].to_numpy(), "Expected 2D array, got 1D"),
    "three dimensions": (lambda f: f.to_numpy()[None], "dim <= 2 is required"),
    "infinity": (
        lambda f: f.assign(c=f["c"].where(f.index != 5, np.inf)),
        "Column 'c' holds inf in row 5. Replace infinite values",
    ),
    "minus infinity in an array": (
        lambda f: f.assign(c=f["c"].where(f.index != 5, -np.inf)).to_numpy(),
        "Column 2 holds -inf in row 5",
    ),
    "text among numbers": (
        lambda f: with_value(f, "c", "red"),
        "Column 'c' holds 'red' in row 5; a column of objects must hold numbers",
    ),
    "text in an array": (
        lambda f: with_value(f, "c", "red").to_numpy(),
        "Column 2 holds 'red' in row 5, not a number. Name such columns in "
        "categorical_features",
    ),
    "values that are not there yet": (
        lambda f: pl.DataFrame(f).lazy(),
        "X is a LazyFrame without values yet. Pass X.collect",
    ),
    "two columns of one name": (
        lambda f: f.rename(columns={"b": "a"}),
        "more than one column named 'a'",
    ),
    "a column alone": (
        lambda f: f["a"].astype(str),
        "Expected a table of two dimensions, got a Series. Pass a data frame",
    ),
    "a dict of columns": (
        lambda f: dict(f),
        r"Expected a table, got a dict\. Pass pandas.DataFrame\(X\)",
    ),
    "dict of a row": (
        lambda f: f.iloc[0].to_dict(),
        r"Expected a table, got a dict\. Pass pandas.DataFrame\(\[X\]\)",
    ),
    "a list of records": (
        lambda f: f.to_dict("records"),
        r"Expected a table, got a list of dicts\. Pass pandas.DataFrame\(X\)",
    ),
    "an array of records": (
        lambda f: f.to_records(index=False),
        "dtype .* is no table of numbers. Pass pandas.DataFrame",
    ),
    "an array of dates": (
        lambda f: np.arange(8).astype("M8[D]").reshape(4, 2),
        "dtype datetime64.* is no table of numbers. Pass pandas.DataFrame",
    ),
    "a generator of rows": (
        lambda f: iter(f.to_numpy()),
        r"Expected a table, got a .*iterator\. Pass list\(X\)",
    ),
    "a stream of batches": (
        lambda f: pa.Table.from_pandas(f).to_reader(),
        r"Expected a table, got a RecordBatchReader\. Pass X\.read_all\(\)",
    ),
    "beyond float64 in an array": (
        lambda f: np.full((9, 2), 10**400, dtype=object),
        "Column 0 holds a number beyond the largest float64 in row",
    ),
    "a sparse tensor": (
        lambda f: torch.tensor(f.to_numpy()).to_sparse(),
        r"X is a sparse tensor, .* Pass X.to_dense\(\)",
    ),
    "sparse columns": (
        lambda f: f.astype({"c": "Sparse[float]"}),
        "Column 'c' has dtype Sparse.* Make it dense: X.name..sparse.to_dense",
    ),
    "dictionaries of pyarrow in pandas": (
        lambda f: f.assign(
            c=pd.Series(f["b"] > 0).map(str).astype(pd.ArrowDtype(DICTIONARY))
        ),
        r"Column 'c' has dtype dictionary.* Convert it to astype\('category'\)",
    ),
    "lists": (
        lambda f: pl.DataFrame(f).with_columns(c=pl.lit([1, 2])),
        "Column 'c' has dtype List.*stands for no kind of column",
    ),
    "lists that are all missing": (
        lambda f: pa.table({"a": f["a"], "c": pa.nulls(len(f), pa.list_(pa.int8()))}),
        "Column 'c' has dtype list.*stands for no kind of column",
    ),
    "complex numbers": (
        lambda f: f.to_numpy() + 1j,
        r"Complex data not supported[^!]*Give real and imaginary parts a column each",
    ),
    "beyond float64": (
        lambda f: f.assign(c=np.where(f.index == 0, 1e308, 0)),
        "Column 'c' spreads too widely to be standardised",
    ),
}

BAD_PARAMETERS = {
    "too many components": (
        {"n_components": 7},
        "n_components=7 must not exceed the number of columns, n_features=6",
    ),
    "no components": ({"n_components": 0}, "'n_components' parameter"),
    "fractional components": ({"n_components": 1.5}, "'n_components' parameter"),
    "negative constant": ({"inverse_lipschitz": -0.1}, "'inverse_lipschitz'"),
    "constant nan": ({"inverse_lipschitz": np.nan}, "'inverse_lipschitz'"),
    "guarantee of an mlp": (
        {"decoder": "mlp", "inverse_lipschitz": 0.5},
        "inverse_lipschitz=0.5 cannot be guaranteed by decoder='mlp'. Use",
    ),
    "unknown decoder": ({"decoder": "icnn"}, "'decoder' parameter.*anchored"),
    "no hidden layer": (
        {"hidden_layer_sizes": ()},
        r"hidden_layer_sizes=\(\) must hold at least one width",
    ),
    "empty hidden layer": (
        {"hidden_layer_sizes": (64, 0)},
        r"hidden_layer_sizes=\(64, 0\) must hold .* positive integers only",
    ),
    "no hidden units": ({"hidden_layer_sizes": 0}, "'hidden_layer_sizes' parameter"),
    "fractional width": (
        {"hidden_layer_sizes": (1.5,)},
        r"hidden_layer_sizes=\(1.5,\) must hold .* positive integers only",
    ),
    "nested widths": (
        {"hidden_layer_sizes": [[64], [64, 64]]},
        "hidden_layer_sizes=.* positive integers only",
    ),
    "unknown activation": ({"activation": "gelu"}, "'activation' parameter"),
    "unknown likelihood": ({"likelihood": "cauchy"}, "'likelihood' parameter"),
    "likelihood of too few columns": (
        {"likelihood": ["gaussian"] * 5},
        "names 5 columns, but X has 6. Name one for every column",
    ),
    "unknown likelihood of a column": (
        {"likelihood": ["auto"] * 5 + ["cauchy"]},
        "'cauchy' for column 'married'; it must be one of 'auto', 'gaussian'",
    ),
    "likelihood that is no name": (
        {"likelihood": [["auto"]] * 6},
        "for column 'a'; it must be one of 'auto', 'gaussian'",
    ),
    "bernoulli column with other values": (
        {"likelihood": ["bernoulli"] + ["auto"] * 5},
        "Column 'a' has a Bernoulli likelihood but holds .* only 0 and 1",
    ),
    "unknown device": ({"device": "abacus"}, "device='abacus' cannot be used"),
    "missing device": ({"device": "xpu:7"}, "device='xpu:7' cannot be used.*'cpu'"),
    "device of a plugin": ({"device": "hpu"}, "device='hpu' cannot be used"),
    "device without data": ({"device": "meta"}, "device='meta' cannot be used"),
    "device that is no name": ({"device": 0}, "'device' parameter"),
    "no batch": ({"batch_size": 0}, "'batch_size' parameter"),
    "all rows held out": ({"validation_fraction": 1.0}, "'validation_fraction'"),
    "learning rate zero": ({"learning_rate_init": 0}, "'learning_rate_init'"),
}

BAD_WEIGHTS = {
    "all zero": (lambda n: np.zeros(n), "weights must contain at least one non-zero"),
    "one positive": (lambda n: np.eye(n)[0], "positive for at least 2 rows, got 1"),
    "negative": (lambda n: -np.ones(n), "[Nn]egative values .*sample_weight"),
    "missing": (lambda n: np.full(n, np.nan), "sample_weight: Input contains NaN"),
    "text": (lambda n: ["a"] * n, "sample_weight: could not convert .* 'a'"),
    "an array of text": (lambda n: np.full(n, "a"), "sample_weight: could not convert"),
    "too few": (lambda n: np.ones(n - 1), "sample_weight.shape"),
    "two dimensions": (lambda n: np.ones((n, 1)), "1D array"),
}


def assert_nothing_changes(model, act, message):
    before = dict(vars(model))
    with pytest.raises((ValueError, TypeError), match=message):
        act(model)
    assert vars(model).keys() == before.keys()
    assert all(vars(model)[name] is before[name] for name in before)


parametrize_tables = pytest.mark.parametrize(
    ("make", "message"), BAD_TABLES.values(), ids=BAD_TABLES
)
methods = pytest.mark.parametrize("method", ["fit", "partial_fit"])


@methods
@parametrize_tables
def test_a_bad_table_leaves_nothing_fitted(frame, method, make, message):
    table = make(frame)
    assert_nothing_changes(short(), lambda m: getattr(m, method)(table), message)


@parametrize_tables
def test_a_bad_table_leaves_the_last_fit(frame, make, message):
    table = make(frame)
    model = short().fit(frame.iloc[:, :4])
    assert_nothing_changes(model, lambda m: m.fit(table), message)


@pytest.mark.parametrize(
    ("parameters", "message"), BAD_PARAMETERS.values(), ids=BAD_PARAMETERS
)
def test_a_bad_parameter_is_named_and_leaves_nothing_fitted(frame, parameters, message):
    model = short(**parameters)
    assert_nothing_changes(model, lambda m: m.fit(frame), message)
    model = short().fit(frame).set_params(**parameters)
    assert_nothing_changes(model, lambda m: m.fit(frame), message)


@pytest.mark.parametrize(
    ("make", "parameters"),
    [
        (short, {"kl_weight": -1.0}),
        (short, {"batch_size": 0}),
        (short_detector, {"support_fraction": 0.0}),
        (short_detector, {"n_neighbors": -1}),
    ],
)
def test_a_bad_parameter_between_two_batches_changes_nothing(frame, make, parameters):
    model = make().partial_fit(frame).set_params(**parameters)
    message = f"'{next(iter(parameters))}' parameter"
    assert_nothing_changes(model, lambda m: m.partial_fit(frame), message)


@pytest.mark.parametrize("parameter", ["inverse_lipschitz", "kl_weight"])
def test_an_infinite_loss_names_the_parameter_that_is_far_off(table, parameter):
    model = short(**{parameter: 1e39})  # which is infinite in single precision
    with pytest.raises(ValueError, match=f"{parameter}=1e.39 is probably too large"):
        model.fit(table)


@methods
@pytest.mark.parametrize(("make", "message"), BAD_WEIGHTS.values(), ids=BAD_WEIGHTS)
def test_bad_weights_leave_nothing_fitted(frame, method, make, message):
    weights = make(len(frame))
    assert_nothing_changes(
        short(), lambda m: getattr(m, method)(frame, sample_weight=weights), message
    )


# Rows that do not fit the model


@pytest.mark.parametrize("method", ["transform", "score_samples", "score"])
def test_rows_must_have_the_columns_of_the_fit(fitted, table, method):
    for wrong in (table[:, :3], np.column_stack([table, table])):
        with pytest.raises(ValueError, match=r"has \d+ features, but ILVAETransformer"):
            getattr(fitted, method)(wrong)
    for bad, message in [
        (np.full((1, 5), np.inf), "Column 0 holds inf in row 0"),
        (np.full((1, 5), "red"), "Column 0 holds .*'red'.* in row 0"),
        (table[:0], "0 sample"),
        (table[0], "Expected 2D array"),
    ]:
        with pytest.raises(ValueError, match=message):
            getattr(fitted, method)(bad)


@pytest.mark.parametrize("draws", [0, -1, "many", 1.5])
@pytest.mark.parametrize("method", ["score_samples", "impute"])
def test_a_number_of_draws_set_after_the_fit_is_refused_by_name(table, method, draws):
    model = short().fit(table).set_params(n_importance_samples=draws)
    gaps = np.where(np.eye(*table.shape), np.nan, table)
    with pytest.raises((ValueError, TypeError), match="n_importance_samples"):
        getattr(model, method)(gaps)


@pytest.mark.parametrize("make", [ILVAETransformer, ILVAEOutlierDetector])
def test_what_to_do_with_unknown_levels_is_refused_by_name_after_the_fit(table, make):
    model = make(2, max_iter=1, random_state=0).fit(table)
    model.set_params(handle_unknown="mising")
    with pytest.raises(ValueError, match="handle_unknown='mising' must be 'error' or"):
        model.score_samples(table)


MAKERS = {
    "transform": lambda: ILVAETransformer(2, max_iter=1, random_state=0),
    "predict": lambda: ILVAEOutlierDetector(2, max_iter=1, random_state=0),
    "score_gradient": lambda: SteinScoreEstimator(random_state=0),
}


@pytest.mark.parametrize("method", MAKERS)
def test_a_device_set_after_the_fit_may_be_missing_but_not_misspelt(table, method):
    model = MAKERS[method]().fit(table)
    compute = getattr(model, method)
    here = compute(table)
    model.set_params(device="xpu:7")  # as in a pickle of another machine
    assert_array_equal(compute(table), here)
    model.set_params(device="cdua")
    with pytest.raises(ValueError, match="device='cdua' cannot be used"):
        compute(table)


@pytest.mark.parametrize(
    ("make", "step"),
    [
        (lambda f: pl.from_pandas(f).lazy(), r"Pass X\.collect\(\)"),
        (lambda f: f.iloc[0].to_dict(), r"Pass pandas\.DataFrame\(\[X\]\)"),
        (lambda f: f.iloc[0], r"or frame\[:1\] for the first row"),
    ],
    ids=["values that are not there yet", "dict of a row", "a row alone"],
)
def test_what_is_no_mixed_table_yet_is_refused_with_the_next_step(mixed, make, step):
    X, model = mixed
    with pytest.raises(ValueError, match=step):
        model.transform(make(X))


def test_codes_must_have_the_width_of_the_fit(fitted):
    with pytest.raises(ValueError, match=r"shape \(n_samples, 2\), got \(4, 3\)"):
        fitted.inverse_transform(np.zeros((4, 3)))
    with pytest.raises(ValueError, match="NaN"):
        fitted.inverse_transform(np.full((4, 2), np.nan))


def test_a_bernoulli_column_scores_zeros_and_ones_only(frame):
    model = short().fit(frame)
    with pytest.raises(ValueError, match=r"Column 'married' has a Bernoulli .* 0\.5"):
        model.score_samples(frame.assign(married=0.5))
    message = "Column 'married' has a Bernoulli .* holds 2.0"
    other = frame.assign(married=2)
    assert_nothing_changes(model, lambda m: m.partial_fit(other), message)


@pytest.mark.parametrize("n_samples", [0, -1, 1.5, "many"])
def test_a_sample_has_at_least_one_row(fitted, n_samples):
    with pytest.raises((ValueError, TypeError), match="n_samples"):
        fitted.sample(n_samples)


def test_an_unfitted_estimator_says_so(table):
    model = short()
    for use in (
        lambda: model.transform(table),
        lambda: model.inverse_transform(table),
        lambda: model.score_samples(table),
        lambda: model.score(table),
        model.sample,
        model.get_feature_names_out,
    ):
        with pytest.raises(NotFittedError, match="not fitted yet"):
            use()


def test_likelihoods_may_be_named_for_every_column(frame):
    kinds = ["gaussian"] * 5 + ["auto"]
    assert short(likelihood=kinds).fit(frame).likelihood_ == [
        *["gaussian"] * 5,
        "bernoulli",
    ]
    model = short(likelihood=np.array(kinds)).fit(frame)
    assert {type(kind) for kind in model.likelihood_} == {str}
    assert short(likelihood="gaussian").fit(frame).likelihood_ == ["gaussian"] * 6


def test_a_failed_fit_does_not_touch_its_table(frame):
    before = frame.copy()
    with pytest.raises(ValueError, match="n_components"):
        short(n_components=7).fit(frame)
    assert_array_equal(frame, before)
