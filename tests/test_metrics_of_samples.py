"""Divergences of samples given as arrays."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

from sklearn_ilvae import stein
from sklearn_ilvae._random import draw_seed
from sklearn_ilvae.metrics import (
    fisher_divergence_from_density,
    fisher_divergence_from_sample,
    kernel_stein_discrepancy,
)

METHODS = ["cross_fitted", "plug_in"]
FIXED = stein.Settings(
    kernel="rbf", form="diagonal", bandwidth=2.0, regularization=1e-2
)


def sample(n, d, seed, mean=0.0):
    return np.random.default_rng(seed).normal(loc=mean, size=(n, d))


@pytest.mark.parametrize("method", METHODS)
def test_divergence_of_gaussians_is_the_squared_distance_of_their_means(method):
    X, Y = sample(1000, 2, 0, mean=1.0), sample(1000, 2, 1)
    options = {"method": method, "settings": FIXED}
    density = fisher_divergence_from_density(X, lambda x: -x, **options)
    other = fisher_divergence_from_sample(X, Y, **options)
    assert type(density) is type(other) is float
    assert density == pytest.approx(2.0, rel=0.15)
    assert other == pytest.approx(2.0, rel=0.2)
    assert density == fisher_divergence_from_density(X, lambda x: -x, **options)


@pytest.mark.parametrize("reference", ["density", "sample"])
def test_draws_come_from_any_source_that_scikit_learn_takes(reference):
    X, Y = sample(50, 2, 0), sample(50, 2, 1)

    def measured(source):
        options = {"settings": FIXED, "random_state": source}
        if reference == "sample":
            return fisher_divergence_from_sample(X, Y, **options)
        return fisher_divergence_from_density(X, lambda x: -x, **options)

    first, source = measured(3), np.random.RandomState(3)
    assert measured(np.int64(3)) == measured(source) == first
    # An instance gives other draws the next time.
    assert measured(source) != first
    assert measured(None) != measured(None)
    with pytest.raises(ValueError, match="'often' cannot be used to seed"):
        measured("often")


def test_both_samples_are_fitted_with_the_settings_and_the_source():
    X, Y = sample(80, 2, 0), sample(80, 2, 1)
    settings = stein.Settings("rbf", "diagonal", 0.5, 1e-2, n_landmarks=10)
    options = {"settings": settings, "method": "plug_in", "random_state": 3}
    seed = draw_seed(3)
    rows = torch.tensor(X)
    first, second = (
        stein.fit_score(torch.tensor(each), settings, seed=seed)[0].score(rows)
        for each in (X, Y)
    )
    expected = (first - second).square().sum(1).mean()
    found = fisher_divergence_from_sample(X, Y, **options)
    assert found == pytest.approx(float(expected))


def test_only_the_plug_in_divergence_is_positive_for_equal_distributions():
    rough = stein.Settings(
        kernel="rbf", form="diagonal", bandwidth=0.5, regularization=1e-4
    )
    crossed, plug_in = (
        fisher_divergence_from_density(
            sample(300, 2, 0), lambda x: -x, method=method, settings=rough
        )
        for method in METHODS
    )
    assert crossed < 0 < plug_in


@pytest.mark.parametrize("kernel", ["rbf", "inverse_multiquadric"])
@pytest.mark.parametrize("statistic", ["U", "V"])
def test_discrepancy_scales_with_the_units_of_the_sample(kernel, statistic):
    """Of ``a x`` with score ``s/a`` it is ``1/a²`` of that of x, at its own median."""
    X = sample(200, 3, 0)
    options = {"kernel": kernel, "statistic": statistic}
    whole = kernel_stein_discrepancy(X, 0.5 - X, **options)
    scaled = kernel_stein_discrepancy(10 * X, (0.5 - X) / 10, **options)
    assert type(whole) is float
    assert scaled == pytest.approx(whole / 100)


@pytest.mark.parametrize("kernel", ["rbf", "inverse_multiquadric"])
@pytest.mark.parametrize("statistic", ["U", "V"])
@pytest.mark.parametrize("unit", [2.0**-500, 2.0**-350, 2.0**350, 2.0**500])
def test_discrepancy_of_samples_in_very_small_or_large_units(kernel, statistic, unit):
    """The fourth power of their bandwidth is no number, the discrepancy is one."""
    X = sample(50, 3, 0)
    options = {"kernel": kernel, "statistic": statistic}
    whole = kernel_stein_discrepancy(X, 0.5 - X, **options)
    scaled = kernel_stein_discrepancy(unit * X, (0.5 - X) / unit, **options)
    assert scaled * unit * unit == pytest.approx(whole, rel=1e-12)


def test_v_statistic_adds_the_pairs_of_a_row_with_itself():
    X = sample(200, 3, 0)
    u, v = (kernel_stein_discrepancy(X, -X, statistic=s) for s in ("U", "V"))
    assert v > max(u, 0)


def test_discrepancy_takes_a_score_as_a_function():
    X = sample(200, 3, 0)
    at_rows = kernel_stein_discrepancy(X, 0.5 - X)
    assert kernel_stein_discrepancy(X, lambda x: 0.5 - x) == at_rows


def test_discrepancy_takes_a_score_in_single_precision():
    X = sample(200, 3, 0)
    found = kernel_stein_discrepancy(X, lambda x: 0.5 - x.float())
    assert found == pytest.approx(kernel_stein_discrepancy(X, 0.5 - X), rel=1e-5)


def test_median_of_many_rows_is_taken_from_some():
    X = sample(2500, 2, 0)
    found = kernel_stein_discrepancy(X, 0.5 - X)
    bandwidth = float(torch.pdist(torch.tensor(X)).median())
    exact = kernel_stein_discrepancy(X, 0.5 - X, bandwidth=bandwidth)
    assert found == pytest.approx(exact, rel=0.05)


def test_samples_may_be_data_frames():
    X = pd.DataFrame(sample(50, 2, 0), columns=["a", "b"])
    array = X.to_numpy()
    assert kernel_stein_discrepancy(X, -X) == kernel_stein_discrepancy(array, -array)
    one = fisher_divergence_from_sample(X, X + 1, settings=FIXED)
    two = fisher_divergence_from_sample(array, array + 1, settings=FIXED)
    assert one == two


MEASURES = {
    "density": lambda X: fisher_divergence_from_density(X, lambda x: -x),
    "sample": lambda X: fisher_divergence_from_sample(sample(20, 2, 0), X),
    "discrepancy": lambda X: kernel_stein_discrepancy(X, lambda x: -x),
    "values of the score": lambda X: kernel_stein_discrepancy(sample(20, 2, 0), X),
}
DAYS = np.datetime64("2024-01-01") + np.arange(20)


@pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda X: np.ma.masked_greater(X, 1), "nan|NaN"),
        (lambda X: np.stack([DAYS, DAYS[::-1]], axis=1), "datetime64.* no table"),
        (lambda X: pd.DataFrame({"a": DAYS, "b": DAYS}), "'a' holds Datetime"),
        (lambda X: pl.DataFrame({"a": DAYS, "b": X[:, 0]}), "'a' holds Date"),
        (lambda X: pd.DataFrame(X.astype(str)), "0 holds String"),
        (lambda X: pd.DataFrame(X.round()).astype("category"), "0 holds Categorical"),
    ],
    ids=["gaps", "dates", "dates of pandas", "dates of polars", "text", "categories"],
)
def test_what_is_no_number_is_refused_and_not_read_as_one(measure, make, message):
    with pytest.raises(ValueError, match=rf"^(X|Y|score)\b.*({message})"):
        measure(make(sample(20, 2, 0)))


@pytest.mark.parametrize("method", METHODS)
def test_a_constant_column_has_no_density_to_compare(method):
    X, Y = (np.column_stack([sample(50, 2, seed), np.ones(50)]) for seed in (0, 1))
    message = r"column 2 is constant, .* the divergence is infinite; leave it out of"
    with pytest.raises(ValueError, match=message):
        fisher_divergence_from_density(X, lambda x: -x, method=method)
    options = {"method": method, "settings": FIXED}
    for one, other in ((X, Y + 1), (X, sample(50, 3, 2)), (sample(50, 3, 2), X)):
        with pytest.raises(ValueError, match=message):
            fisher_divergence_from_sample(one, other, **options)


def test_a_column_that_is_the_same_in_both_samples_adds_nothing():
    X, Y = sample(50, 2, 0), sample(50, 2, 1)
    options = {"method": "plug_in", "settings": FIXED}
    without = fisher_divergence_from_sample(X, Y, **options)
    ones = np.ones((50, 1))
    found = fisher_divergence_from_sample(
        np.hstack([X, ones]), np.hstack([Y, ones]), **options
    )
    assert found == pytest.approx(without)


@pytest.mark.parametrize("score", [None, np.ones((20, 2))])
def test_a_score_that_is_no_function_is_refused(score):
    with pytest.raises(TypeError, match=r"score is of type .* kernel_stein"):
        fisher_divergence_from_density(sample(20, 2, 0), score)


@pytest.mark.parametrize(
    "bandwidth", [0, -1.0, np.nan, np.inf, True, None, [1.0], np.ones(2)]
)
def test_a_bandwidth_that_is_no_positive_number_is_named(bandwidth):
    X = sample(20, 2, 0)
    with pytest.raises(
        ValueError, match=r"bandwidth=.* is not allowed; choose 'median"
    ):
        kernel_stein_discrepancy(X, -X, bandwidth=bandwidth)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (
            lambda X: fisher_divergence_from_density(X, lambda x: -x, method="exact"),
            "method='exact' is unknown; choose 'cross_fitted'",
        ),
        (
            lambda X: fisher_divergence_from_density(X, lambda x: -x, n_folds=1),
            "n_folds=1 is not allowed",
        ),
        (
            lambda X: fisher_divergence_from_density(X, lambda x: -x.sum(1)),
            r"score returned \(20,\) for rows of shape \(20, 2\)",
        ),
        (
            lambda X: fisher_divergence_from_density(X, lambda x: -x[:1]),
            r"score returned \(1, 2\) for rows of shape \(20, 2\)",
        ),
        (
            lambda X: fisher_divergence_from_density(X, lambda x: x.log()),
            "score returned nan in column 1 for row 0 of X; it must be finite",
        ),
        (
            lambda X: fisher_divergence_from_density(X, lambda x: -x.numpy()),
            "score returned ndarray for .* must return a tensor .* use fisher_diverg",
        ),
        (
            lambda X: fisher_divergence_from_density(X, lambda x: -x.detach()),
            "torch cannot differentiate",
        ),
        (lambda X: fisher_divergence_from_sample(X, X[:, :1]), "Y has 1;"),
        (
            lambda X: fisher_divergence_from_sample(
                pd.DataFrame(X, columns=["a", "b"]), pd.DataFrame(X, columns=["b", "a"])
            ),
            r"columns \['a', 'b'\] but Y has \['b', 'a'\]",
        ),
        (
            lambda X: fisher_divergence_from_sample(X, X * np.nan),
            r"^Y: Input contains NaN.*\n.*Column 0 holds nan in row 0\. Impute",
        ),
        (
            lambda X: kernel_stein_discrepancy(pd.DataFrame(X).assign(t="u"), X),
            r"^X: Column 't' holds String, but only numbers are allowed\. Encode it",
        ),
        (
            lambda X: kernel_stein_discrepancy(X, pl.DataFrame(X).lazy()),
            r"^score: score is a LazyFrame .* Pass score\.collect\(\)",
        ),
        (
            lambda X: kernel_stein_discrepancy(X, np.where(X.max() > X, X, np.nan)),
            "score is nan in column . for row .* drop the rows outside the support",
        ),
        (
            lambda X: kernel_stein_discrepancy(X, lambda x: x / 0),
            "score returned inf in column 0 for row 0 of X; .* drop the rows outside",
        ),
        (
            lambda X: kernel_stein_discrepancy(
                pd.DataFrame(X, columns=["a", "b"]), pd.DataFrame(X, columns=["b", "a"])
            ),
            r"columns \['a', 'b'\] but score has \['b', 'a'\]",
        ),
        (lambda X: kernel_stein_discrepancy(X, X[:5]), r"score has shape \(5, 2\)"),
        (
            lambda X: kernel_stein_discrepancy(X, lambda x: x[:, 0]),
            r"score returned \(20,\) for rows of shape \(20, 2\)",
        ),
        (
            lambda X: kernel_stein_discrepancy(X, lambda x: -x.numpy()),
            "score returned ndarray for .* Or pass the array of its values",
        ),
        (
            lambda X: kernel_stein_discrepancy(X, X, bandwidth="auto"),
            "bandwidth='auto' is not allowed; choose 'median' or a positive number",
        ),
        (lambda X: kernel_stein_discrepancy(X, X, kernel="cubic"), "kernel='cubic'"),
        (
            lambda X: kernel_stein_discrepancy(X, X, kernel=["rbf"]),
            r"kernel=\['rbf'\] is unknown",
        ),
        (
            lambda X: kernel_stein_discrepancy(X, X, bandwidth=1e200),
            "no number .* 1e\\+200; choose one nearer to the distances of rows",
        ),
        (
            lambda X: kernel_stein_discrepancy(X, X, bandwidth=1e-200),
            "no number .* 1e-200; choose one nearer to the distances of rows",
        ),
        (lambda X: kernel_stein_discrepancy(X, X, statistic="W"), "'U' or 'V'"),
        (lambda X: kernel_stein_discrepancy(0 * X, X), "median distance .* is 0"),
        (lambda X: kernel_stein_discrepancy(X[:1], X[:1]), "minimum of 2"),
    ],
)
def test_bad_arguments_are_named(act, message):
    with pytest.raises(ValueError, match=message):
        act(sample(20, 2, 0))
