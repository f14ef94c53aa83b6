"""`SteinScoreEstimator` as a scikit-learn estimator."""

import pickle

import numpy as np
import pytest
import torch
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV

from sklearn_ilvae import SteinScoreEstimator
from sklearn_ilvae.stein import fit_score

FIXED = {"bandwidth": "median", "regularization": 1e-2}


@pytest.fixture
def table() -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.normal(size=(200, 2)) + rng.choice([-3.0, 3.0], size=(200, 1))


def test_fitted_attributes_say_what_was_chosen(table):
    estimator = SteinScoreEstimator(base="gaussian", random_state=0).fit(table)
    assert estimator.base_ == "gaussian"
    assert estimator.kernel_ in ("rbf", "inverse_multiquadric")
    assert estimator.form_ in ("diagonal", "curl_free")
    assert estimator.bandwidth_.shape == (2,)
    assert estimator.regularization_ > 0
    assert estimator.n_landmarks_ == 200
    assert estimator.degrees_of_freedom_ > 0
    assert estimator.loss_ < estimator.base_loss_
    assert 0 <= estimator.shrinkage_ <= 1


def test_fitted_attributes_are_those_of_the_report(table, monkeypatch):
    reports = []

    def noted(*args, **kwargs):
        model, report = fit_score(*args, **kwargs)
        reports.append(report)
        return model, report

    monkeypatch.setattr("sklearn_ilvae._score.fit_score", noted)
    estimator = SteinScoreEstimator("rbf", form="diagonal", bandwidth="median")
    estimator.set_params(base="gaussian", random_state=0).fit(table)
    for name, value in vars(reports[0]).items():
        np.testing.assert_array_equal(getattr(estimator, f"{name}_"), value)
    assert estimator.degrees_of_freedom_ > 0
    assert estimator.regularization_ > 0


def test_landmarks_are_drawn_by_the_random_state(table):
    def score(seed):
        estimator = SteinScoreEstimator("rbf", form="diagonal", n_landmarks=20, **FIXED)
        return estimator.set_params(random_state=seed).fit(table).score_gradient(table)

    np.testing.assert_array_equal(score(0), score(0))
    assert np.abs(score(0) - score(1)).max() > 1e-6


def test_a_gaussian_needs_no_kernel():
    table = np.random.default_rng(0).normal(size=(300, 2))
    estimator = SteinScoreEstimator(kernel="rbf", random_state=0).fit(table)
    assert estimator.kernel_ is None
    assert estimator.bandwidth_ is None
    assert estimator.n_landmarks_ == 0
    assert np.isfinite(estimator.log_density(table)).all()


def test_scores_are_minus_the_hyvarinen_loss(table):
    estimator = SteinScoreEstimator(random_state=0, **FIXED).fit(table)
    gradient, divergence = estimator.score_gradient(table), estimator.divergence(table)
    expected = -0.5 * np.square(gradient).sum(1) - divergence
    np.testing.assert_allclose(estimator.score_samples(table), expected)
    assert estimator.score(table) == pytest.approx(expected.mean())
    assert type(estimator.score(table)) is float


def test_grid_search_works_unaided(table):
    grid = {"bandwidth": [0.05, 2.0], "regularization": [1e-3]}
    search = GridSearchCV(SteinScoreEstimator("rbf", form="diagonal"), grid, cv=3)
    assert search.fit(table).best_params_["bandwidth"] == 2.0


@pytest.mark.parametrize("method", ["tikhonov", "stein"])
def test_weights_are_repetitions(table, method):
    weights = np.random.default_rng(0).integers(0, 3, len(table))
    estimator = SteinScoreEstimator(method=method, random_state=0, **FIXED)
    repeated = clone(estimator).fit(np.repeat(table, weights, axis=0))
    estimator.fit(table, sample_weight=weights)
    expected = repeated.score_gradient(table)
    np.testing.assert_allclose(estimator.score_gradient(table), expected)
    again = pickle.loads(pickle.dumps(estimator))
    np.testing.assert_allclose(again.score_gradient(table), expected)
    assert estimator.score(table, sample_weight=weights) == pytest.approx(
        repeated.score(np.repeat(table, weights, axis=0))
    )


@pytest.mark.parametrize("method", ["fit", "score"])
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (np.zeros, "weights must contain at least one non-zero"),
        (lambda n: np.arange(n) - 1.0, "Negative values .*sample_weight"),
        (lambda n: np.full(n, np.nan), "sample_weight: Input contains NaN"),
        (lambda n: np.ones(n - 1), "sample_weight.shape"),
    ],
)
def test_bad_weights_are_named(table, method, make, message):
    estimator = SteinScoreEstimator(random_state=0, **FIXED).fit(table)
    with pytest.raises(ValueError, match=message):
        getattr(estimator, method)(table, sample_weight=make(len(table)))


def test_one_row_of_positive_weight_is_refused(table):
    weights = np.eye(len(table))[0]
    with pytest.raises(ValueError, match="sample_weight must be positive for at least"):
        SteinScoreEstimator().fit(table, sample_weight=weights)
    estimator = SteinScoreEstimator(random_state=0, **FIXED).fit(table)
    score = estimator.score(table, sample_weight=weights)
    assert score == pytest.approx(estimator.score_samples(table[:1])[0])


def test_searches_route_weights_to_fits_and_scores(table):
    weights = np.where(table[:, 0] > 0, 1.0, 0.0)
    grid = {"regularization": [1e-3, 1e-1]}
    with config_context(enable_metadata_routing=True):
        estimator = SteinScoreEstimator("rbf", form="diagonal", bandwidth="median")
        estimator.set_fit_request(sample_weight=True)
        estimator.set_score_request(sample_weight=True)
        search = GridSearchCV(estimator.set_params(random_state=0), grid, cv=3)
        search.fit(table, sample_weight=weights)
    expected = clone(estimator).set_params(**search.best_params_)
    expected.fit(table[weights > 0])
    np.testing.assert_allclose(
        search.best_estimator_.score_gradient(table), expected.score_gradient(table)
    )


@pytest.mark.parametrize(
    "method", ["tikhonov", "stein", "spectral_cutoff", "nu", "landweber"]
)
def test_pickles_score_the_same(table, method):
    parameters = {"method": method, "device": "cpu", "random_state": 0, **FIXED}
    estimator = SteinScoreEstimator(**parameters).fit(table)
    again = pickle.loads(pickle.dumps(estimator))
    np.testing.assert_array_equal(
        again.score_gradient(table), estimator.score_gradient(table)
    )


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("method", ["tikhonov", "stein"])
def test_a_pickle_rounds_the_same_however_memory_runs_in_the_fit(method, order):
    rows = np.random.default_rng(0).normal(size=(60, 3)).copy(order)
    estimator = SteinScoreEstimator("rbf", form="diagonal", method=method, **FIXED)
    again = pickle.loads(pickle.dumps(estimator.fit(rows)))
    np.testing.assert_array_equal(
        again.score_gradient(rows), estimator.score_gradient(rows)
    )


def test_averages_are_kept_in_pickles(table):
    estimator = SteinScoreEstimator(base="gaussian", random_state=0).fit(table)
    assert estimator.n_averaged_ > 1
    again = pickle.loads(pickle.dumps(estimator))
    np.testing.assert_array_equal(
        again.score_gradient(table), estimator.score_gradient(table)
    )
    alone = SteinScoreEstimator(base="gaussian", n_averaged=1, random_state=0)
    assert alone.fit(table).n_averaged_ == 1


def test_state_is_named_numpy_arrays(table):
    estimator = SteinScoreEstimator(random_state=0, **FIXED).fit(table)
    values = estimator.__getstate__()["model_"].values()
    assert all(isinstance(value, np.ndarray | float | str) for value in values)


def test_float32_rows_give_float32_scores(table):
    estimator = SteinScoreEstimator(form="curl_free", random_state=0, **FIXED)
    rows = table.astype(np.float32)
    estimator.fit(table)
    single = estimator.score_gradient(rows)
    assert single.dtype == np.float32
    assert estimator.divergence(rows).dtype == np.float32
    assert estimator.score_samples(rows).dtype == np.float32
    assert estimator.log_density(rows).dtype == np.float32
    np.testing.assert_allclose(
        single, estimator.score_gradient(table), rtol=1e-3, atol=1e-4
    )


def test_torch_tensors_in_torch_tensors_out(table):
    expected = (
        SteinScoreEstimator(random_state=0, **FIXED).fit(table).score_gradient(table)
    )
    with config_context(array_api_dispatch=True):
        estimator = SteinScoreEstimator(random_state=0, **FIXED)
        found = estimator.fit(torch.from_numpy(table)).score_gradient(
            torch.from_numpy(table)
        )
        lengths = estimator.bandwidth_
        again = clone(estimator).set_params(bandwidth=lengths)
        again.fit(torch.from_numpy(table))
    assert isinstance(found, torch.Tensor)
    np.testing.assert_allclose(found.numpy(), expected)
    np.testing.assert_allclose(again.bandwidth_.numpy(), lengths.numpy())


def test_a_row_scores_the_same_however_its_memory_runs(table):
    estimator = SteinScoreEstimator(random_state=0, **FIXED).fit(table)
    expected = estimator.score_gradient(table)
    for rows in (table[::-1], np.asfortranarray(table)[::-1]):
        np.testing.assert_allclose(estimator.score_gradient(rows), expected[::-1])
    np.testing.assert_allclose(estimator.score_gradient(table[:1][::-1]), expected[:1])


def test_memory_mapped_rows_are_read_in_place(table, tmp_path, monkeypatch):
    path = tmp_path / "rows.npy"
    np.save(path, table)
    mapped = np.load(path, mmap_mode="r")
    seen = []

    def spy(rows, *args, **kwargs):
        seen.append(rows.data_ptr())
        return fit_score(rows, *args, **kwargs)

    monkeypatch.setattr("sklearn_ilvae._score.fit_score", spy)
    estimator = SteinScoreEstimator(random_state=0, **FIXED).fit(mapped)
    assert seen == [mapped.__array_interface__["data"][0]]
    np.testing.assert_array_equal(
        estimator.score_gradient(mapped), estimator.score_gradient(table)
    )


def test_a_failed_fit_leaves_the_estimator_as_it_was(table):
    estimator = SteinScoreEstimator(random_state=0, **FIXED).fit(table)
    before = estimator.score_gradient(table)
    with pytest.raises(ValueError, match="NaN"):
        estimator.fit(np.full((10, 5), np.nan))
    assert estimator.n_features_in_ == 2
    np.testing.assert_array_equal(estimator.score_gradient(table), before)


def test_unfitted_estimators_say_so(table):
    with pytest.raises(NotFittedError):
        SteinScoreEstimator().score_gradient(table)


def test_parameters_are_left_alone(table):
    estimator = SteinScoreEstimator(bandwidth=[1.0, 2.0], regularization=0.1)
    before = clone(estimator).get_params()
    assert estimator.fit(table).get_params() == before


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"bandwidth": [1.0, 2.0, 3.0]}, "as X has features, 2"),
        ({"bandwidth": [1.0, -2.0]}, "as X has features, 2"),
        ({"bandwidth": -1.0}, "bandwidth"),
        ({"bandwidth": [1.0, np.nan]}, "bandwidth=.* as X has features, 2"),
        ({"bandwidth": [1.0, 2.0, 3.0, np.nan]}, "as X has features, 2"),
        ({"bandwidth": {"a": 1.0}}, "bandwidth={'a': 1.0} .* as X has features, 2"),
        ({"kernel": "sigmoid"}, "inverse_multiquadric"),
        ({"regularization": 0.0}, "regularization"),
        ({"n_landmarks": 0}, "n_landmarks"),
        ({"method": "stein", "base": "gaussian"}, "base='gaussian' is not allowed"),
        ({"method": "stein", "form": "curl_free"}, "form='curl_free' is not allowed"),
        ({"method": "stein", "n_landmarks": 5}, "n_landmarks=5 is not allowed"),
        ({"device": "cuda:99"}, "Use device='auto'"),
    ],
)
def test_bad_parameters_are_named(table, parameters, message):
    with pytest.raises(ValueError, match=message):
        SteinScoreEstimator(**parameters).fit(table)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_missing_and_infinite_values_are_refused(table, bad):
    table[3, 1] = bad
    with pytest.raises(ValueError, match="Input X contains"):
        SteinScoreEstimator().fit(table)


def test_one_row_is_refused():
    with pytest.raises(ValueError, match="minimum of 2"):
        SteinScoreEstimator().fit([[1.0, 2.0]])


TABLES = {
    "integers": lambda X: np.rint(3 * X).astype(int),
    "fewer rows than columns": lambda X: X[:24].reshape(6, 8),
    "constant column": lambda X: np.column_stack([X, np.ones(len(X))]),
    "equal columns": lambda X: X[:, [0, 1, 0]],
    "collinear columns": lambda X: np.column_stack([X, X.sum(1)]),
    "collinear single precision": lambda X: np.column_stack([X, X.sum(1)]).astype("f4"),
    "repeated rows": lambda X: np.repeat(X[:30], 5, axis=0),
    "all rows equal": lambda X: np.ones((20, 3)),
    "huge scale": lambda X: X * [1e200, 1e-100],
    "far from the origin": lambda X: X + 1e9,
}


@pytest.mark.parametrize("name", TABLES)
def test_difficult_tables_give_finite_scores(table, name):
    table = TABLES[name](table)
    estimator = SteinScoreEstimator(random_state=0).fit(table)
    assert np.isfinite(estimator.score_gradient(table)).all()
    assert np.isfinite(estimator.score_gradient(table + 0.5)).all()
    assert not np.isnan(estimator.score_samples(table)).any()
