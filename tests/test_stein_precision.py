"""Fits of wide kernels, whose matrices are nearly singular, against 60 digits."""

import mpmath
import pytest
import torch
from mpmath import mpf
from samples import two_clusters

from sklearn_ilvae.stein import Settings, fit_score


def exact_field(form: str, rows: torch.Tensor, strength: float) -> torch.Tensor:
    """Return the field of ``(G + λK) a = −b`` at every row, in units of the bandwidth.

    The kernel is Gaussian, all rows are landmarks, and there is no base score.
    """
    with mpmath.workdps(60):
        points = [[mpf(value) for value in row] for row in rows.tolist()]
        n, d = len(points), len(points[0])

        def matrix(entry):
            return mpmath.matrix([[entry(u, z) for z in points] for u in points])

        def squared(u, z):
            return sum((a - b) ** 2 for a, b in zip(u, z, strict=True))

        def value(u, z):
            return mpmath.exp(-squared(u, z) / 2)

        values = matrix(value)
        slopes = [
            matrix(lambda u, z, k=k: (z[k] - u[k]) * value(u, z)) for k in range(d)
        ]
        mean = mpmath.ones(n, 1) / n
        if form == "diagonal":
            gram, fields = values.T * values / n, [values] * d
            linear = [slope.T * mean for slope in slopes]
        else:
            gram = sum((slope.T * slope for slope in slopes), mpmath.zeros(n)) / n
            laplacian = matrix(lambda u, z: (squared(u, z) - d) * value(u, z))
            linear, fields = [laplacian.T * mean] * d, slopes
        system = gram + mpf(strength) * values
        columns = [
            field * mpmath.lu_solve(system, -term)
            for field, term in zip(fields, linear, strict=True)
        ]
        found = [[float(number) for number in column] for column in columns]
    return torch.tensor(found, dtype=torch.float64).T


@pytest.mark.parametrize("form", ["diagonal", "curl_free"])
@pytest.mark.parametrize(
    ("bandwidth", "error"), [(1.0, 1e-8), (4.0, 1e-7), (8.0, 1e-4)]
)
@pytest.mark.parametrize("strength", [1e-2, 1e-4, 1e-6])
def test_a_fit_of_given_strength_is_its_formula(form, bandwidth, error, strength):
    x, _ = two_clusters(25, 0)
    given = Settings(
        "rbf", form, bandwidth=bandwidth, regularization=strength, base=None
    )
    model, _ = fit_score(x, given)
    rows = (x - model.center) * model.inverse_scale
    expected = exact_field(form, rows, strength)
    found = model.form.field(rows, model.coefficients[None])[0]
    assert float((found - expected).abs().max() / expected.abs().max()) < error
