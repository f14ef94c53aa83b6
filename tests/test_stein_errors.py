"""Settings that mean nothing and samples that cannot be fitted are refused by name."""

import math
import re
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from samples import points, two_clusters

from sklearn_ilvae.stein import Settings, fit_score

# Settings


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kernel": "cubic"}, "kernel='cubic' .* 'inverse_multiquadric'"),
        ({"form": "foo"}, "form='foo' .* 'curl_free'"),
        ({"base": "studentt"}, "base='studentt' .* 'student_t'"),
        ({"method": "lasso"}, "method='lasso' .* 'spectral_cutoff'"),
        ({"bandwidth": "wide"}, "bandwidth='wide' .* 'median', a positive number"),
        ({"bandwidth": 0.0}, "bandwidth=0.0"),
        ({"bandwidth": -1.0}, "bandwidth=-1.0"),
        ({"bandwidth": math.nan}, "bandwidth=nan"),
        ({"bandwidth": math.inf}, "bandwidth=inf"),
        ({"bandwidth": torch.tensor([1.0, math.inf])}, "bandwidth=tensor"),
        ({"bandwidth": True}, "bandwidth=True"),
        ({"bandwidth": 10**400}, "bandwidth=1000"),
        ({"regularization": Fraction(10**400, 3)}, "regularization=Fraction"),
        ({"bandwidth": torch.tensor([1.0, 0.0])}, "bandwidth=tensor"),
        ({"bandwidth": torch.ones(2, 2)}, "bandwidth=tensor"),
        ({"regularization": "none"}, "regularization='none' .* 'auto' or a positive"),
        ({"regularization": 0.0}, "regularization=0.0"),
        ({"regularization": math.inf}, "regularization=inf"),
        ({"regularization": torch.ones(2)}, "regularization=tensor"),
        ({"regularization": True}, "regularization=True"),
        ({"regularization": -1e-3}, "regularization=-0.001"),
        ({"n_averaged": 0}, "n_averaged=0 .* a whole number from 1 on"),
        ({"n_landmarks": 0}, "n_landmarks=0 .* 'auto', 'all' or a whole number"),
        ({"n_landmarks": -3}, "n_landmarks=-3"),
        ({"n_landmarks": 2.5}, "n_landmarks=2.5"),
    ],
)
def test_settings_that_mean_nothing_are_refused_by_name(given, message):
    with pytest.raises(ValueError, match=message):
        Settings(**given)


@pytest.mark.parametrize(
    ("method", "weak", "message"),
    [
        ("stein", 1e-300, "regularization=1e-300 is too small to invert"),
        ("nu", 1e-30, "regularization=1e-30 would take 1e.15 steps of method='nu'"),
    ],
)
def test_a_strength_too_weak_for_a_method_is_refused_by_name(method, weak, message):
    x = points(60, 3, 0)
    with pytest.raises(ValueError, match=message):
        fit_score(x, Settings(method=method, regularization=weak, base=None))


@pytest.mark.parametrize("method", ["tikhonov", "spectral_cutoff", "landweber"])
def test_a_strength_lost_to_rounding_is_refused_with_the_least_that_is_not(method):
    """Kernels at rows of next to no weight leave no trace in the loss."""
    x, weights = points(100, 3, 0), torch.ones(100)
    weights[:50] = 1e-15

    def fit(strength):
        given = Settings("rbf", "diagonal", bandwidth=1.0, regularization=strength)
        return fit_score(x, replace(given, method=method), weights=weights)[0]

    with pytest.raises(ValueError, match=r"=1e-300 is lost .* at least \d") as refusal:
        fit(1e-300)
    least = float(re.search("at least (.*),", str(refusal.value))[1])
    assert fit(least).score(x[50:]).isfinite().all()


def test_settings_are_no_dictionary():
    with pytest.raises(TypeError, match=r"type dict; pass stein\.Settings"):
        fit_score(points(20, 2, 0), {"kernel": "rbf"})


def test_a_seed_may_be_an_integer_of_numpy():
    x, settings = points(20, 2, 0), Settings("rbf", "diagonal", regularization=0.1)
    found, _ = fit_score(x, settings, seed=np.int64(3))
    expected, _ = fit_score(x, settings, seed=3)
    torch.testing.assert_close(found.score(x), expected.score(x), rtol=0, atol=0)


def test_settings_take_the_numbers_of_numpy_and_torch():
    x, _ = two_clusters(50, 0)
    numbers = Settings(
        kernel="rbf",
        bandwidth=torch.tensor(1.5),
        regularization=np.float32(0.1),
        n_landmarks=np.int64(10),
    )
    model, _ = fit_score(x, numbers)
    assert model.n_landmarks == 10


# Samples


def test_a_value_that_hides_all_others_is_named():
    x = points(300, 2, 0)
    x[0, 1] = 1e200
    with pytest.raises(ValueError, match=r"column 1 of X reaches from .* to 1e\+200"):
        fit_score(x)


def test_a_bandwidth_for_each_column_counts_the_columns():
    fixed = Settings(bandwidth=torch.ones(3))
    with pytest.raises(ValueError, match=r"bandwidth has 3 numbers; .* columns, 2,"):
        fit_score(points(20, 2, 0), fixed)


@pytest.mark.parametrize("scale", [1e8, 1e300])
def test_a_bandwidth_far_too_small_for_a_column_names_it(scale):
    x = points(50, 2, 0) * torch.tensor([1.0, scale], dtype=torch.float64)
    fixed = Settings("rbf", "diagonal", bandwidth=1.0, regularization=0.1)
    with pytest.raises(ValueError, match=r"column 1 of X .* larger bandwidth"):
        fit_score(x, fixed)


def test_a_bandwidth_far_too_large_for_a_column_names_it():
    lengths = torch.tensor([1.0, 1e200], dtype=torch.float64)
    fixed = Settings("rbf", "diagonal", bandwidth=lengths, regularization=0.1)
    with pytest.raises(ValueError, match=r"column 1 of X .* smaller bandwidth"):
        fit_score(points(50, 2, 0), fixed)


@pytest.mark.parametrize("scale", [1e160, 1e300])
def test_a_median_distance_far_too_large_for_a_column_names_it(scale):
    """That of one column may be as nothing beside a bandwidth they all share."""
    x = points(50, 2, 0) * torch.tensor([1.0, scale], dtype=torch.float64)
    with pytest.raises(ValueError, match=r"column 0 of X .* smaller bandwidth"):
        fit_score(x, Settings(bandwidth="median", base="gaussian"))


def test_a_column_too_fine_for_its_score_is_named():
    x, _ = two_clusters(50, 0)
    x[:, 1] *= 1e-300
    with pytest.raises(ValueError, match="column 1 of X"):
        fit_score(x)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_column_with_values_that_are_not_finite_is_named(bad):
    x, _ = two_clusters(50, 0)
    x[7, 1] = bad
    with pytest.raises(ValueError, match="column 1 of X contains NaN or infinity"):
        fit_score(x)


@pytest.mark.parametrize("shape", [(0, 2), (5, 0), (5,)])
def test_a_sample_needs_rows_and_columns(shape):
    with pytest.raises(ValueError, match="at least one row and one column"):
        fit_score(torch.zeros(shape))


def test_a_sample_is_a_tensor_of_real_numbers():
    with pytest.raises(TypeError, match=r"type ndarray; .* torch\.as_tensor\(X\)"):
        fit_score(points(20, 2, 0).numpy())
    with pytest.raises(ValueError, match=r"dtype torch\.complex128; pass real numbers"):
        fit_score(points(20, 2, 0).to(torch.complex128))


def test_choosing_without_a_base_needs_ten_distinct_rows():
    with pytest.raises(ValueError, match="9 distinct rows"):
        fit_score(points(9, 2, 0), Settings(base=None))
