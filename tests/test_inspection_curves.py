"""Curves and contours lie where their formulas have them."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import norm

from sklearn_ilvae.inspection import LatentMapDisplay, ParameterPathDisplay

pytest.importorskip("matplotlib")
pytestmark = pytest.mark.usefixtures("small_figures")

CODES = np.random.default_rng(0).normal(size=(20, 3))


def test_contours_of_a_gaussian_prior_are_ellipses_of_its_mass():
    """Of mass p is the ellipse of squared radius ``−2 log(1 − p)``."""
    mean, variance = np.array([[1.0, -1.0, 0.0]]), np.array([[0.5, 0.25, 1.0]])
    prior = (np.ones(1), mean, variance)
    display = LatentMapDisplay.from_predictions(CODES, prior=prior, units=[0, 1])
    contours = display.ax_[0, 0].collections[-1].get_paths()
    for path, mass in zip(contours, (0.99, 0.9, 0.5), strict=True):
        squares = (path.vertices - mean[:, :2]) ** 2 / variance[:, :2]
        assert_allclose(squares.sum(1), -2 * np.log(1 - mass), rtol=0.1)


def test_the_prior_of_one_unit_is_its_mixture():
    weights, mean, variance = [0.25, 0.75], [[-1.0], [2.0]], [[0.25], [1.0]]
    prior = tuple(map(np.array, (weights, mean, variance)))
    display = LatentMapDisplay.from_predictions(CODES[:, :1], prior=prior)
    x, density = display.ax_[0, 0].lines[0].get_data()
    assert_allclose(
        density, 0.25 * norm.pdf(x, -1.0, 0.5) + 0.75 * norm.pdf(x, 2.0, 1.0)
    )


def test_the_prior_of_an_estimator_has_a_mass_of_one(fitted, table):
    display = LatentMapDisplay.from_estimator(fitted, table, units=[1])
    x, density = display.ax_[0, 0].lines[0].get_data()
    assert np.trapezoid(density, x) == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize(
    ("values", "scale"),
    [([1, 2, 4], "linear"), ([1, 10, 100], "log"), ([0, 1, 10, 100], "symlog")],
)
def test_a_path_is_drawn_with_its_deviations_on_a_scale_of_its_width(values, scale):
    means, deviations = np.arange(len(values)), 0.5 + np.arange(len(values))
    results = {
        "param_tol": values,
        "params": [{"tol": value} for value in values],
        "mean_test_score": means,
        "std_test_score": deviations,
    }
    panel = ParameterPathDisplay.from_cv_results(results).ax_[0]
    assert panel.get_xscale() == scale
    if scale == "symlog":
        assert panel.xaxis.get_transform().linthresh == 1
    edges = panel.collections[0].get_paths()[0].vertices
    assert_allclose(edges[:, 1].max(), (means + deviations).max())
    assert_allclose(edges[:, 1].min(), (means - deviations).min())
