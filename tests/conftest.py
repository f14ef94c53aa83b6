"""Settings that must be made before scipy is imported, and tables for all tests."""

import os

# scikit-learn skips its array API checks silently unless scipy is imported with this.
os.environ["SCIPY_ARRAY_API"] = "1"

import numpy as np
import pytest
import torch
from autoencoders import short
from hypothesis import settings

from sklearn_ilvae import SteinScoreEstimator

# Networks this small run slower on several threads, and loky's workers have one.
torch.set_num_threads(1)

# Nothing fails by chance; CONTRIBUTING.md says how to try other examples.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def table():
    """Return 300 rows of two factors in five columns of very different units."""
    rng = np.random.default_rng(0)
    factors = rng.standard_normal((300, 2))
    rows = factors @ rng.standard_normal((2, 5)) + 0.3 * rng.standard_normal((300, 5))
    rows = rows * [1.0, 100.0, 0.01, 5.0, 1.0] + [0.0, 1000.0, 1.0, -5.0, 2.0]
    rows.setflags(write=False)
    return rows


@pytest.fixture(scope="session")
def fitted(table):
    """Return a short fit, shared by all tests: they must not change it."""
    return short(max_iter=30).fit(table)


@pytest.fixture(scope="session")
def mixed():
    """Return a table of all kinds with gaps, and a short fit to it."""
    from mixed import people, short  # which needs libraries of data frames

    X = people(gaps=0.1)
    return X, short(likelihood={"visits": "poisson"}).fit(X)


@pytest.fixture(scope="session")
def plane():
    """Return 120 normal rows of two columns."""
    return np.random.default_rng(0).normal(size=(120, 2))


@pytest.fixture(scope="session")
def field(plane):
    """Return a score of the plane, shared by all tests: they must not change it."""
    return SteinScoreEstimator("rbf", bandwidth=1.0, regularization=0.1).fit(plane)


@pytest.fixture
def small_figures():
    """Draw in figures of few pixels, and close them."""
    from matplotlib import pyplot as plt

    plt.switch_backend("agg")
    with plt.rc_context({"figure.dpi": 40}):
        yield
    plt.close("all")
