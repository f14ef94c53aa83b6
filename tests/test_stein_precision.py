"""Fits of wide kernels, whose matrices are nearly singular, against 60 digits."""

import mpmath
import pytest
import torch
from mpmath import mpf
from samples import two_clusters

from sklearn_ilvae.stein import Settings, fit_score

N_ROWS = 25


def exact_field(
    form: str, bandwidth: float, rows: torch.Tensor, strength: float
) -> torch.Tensor:
    """Return the field of ``(G + λK) a = −b`` with a Gaussian kernel at every row."""
    with mpmath.workdps(60):
        points = [[mpf(value) for value in row] for row in rows.tolist()]
        n, d, rate = len(points), len(points[0]), 1 / mpf(bandwidth) ** 2

        def matrix(entry):
            return mpmath.matrix([[entry(u, z) for z in points] for u in points])

        def squared(u, z):
            return sum((a - b) ** 2 for a, b in zip(u, z, strict=True))

        def value(u, z):
            return mpmath.exp(-rate * squared(u, z) / 2)

        values = matrix(value)
        slopes = [
            matrix(lambda u, z, k=k: -rate * (u[k] - z[k]) * value(u, z))
            for k in range(d)
        ]
        ones = mpmath.ones(n, 1) / n
        if form == "diagonal":
            gram, penalty = values.T * values / n, values
            linear = [slope.T * ones for slope in slopes]
            fields = [values] * d
        else:
            gram = sum((slope.T * slope for slope in slopes), mpmath.zeros(n)) / n
            penalty = rate * values
            laplacian = matrix(
                lambda u, z: rate * (rate * squared(u, z) - d) * value(u, z)
            )
            linear = [laplacian.T * ones] * d
            fields = slopes
        system = gram + mpf(strength) * penalty
        columns = [
            field * mpmath.lu_solve(system, -term)
            for field, term in zip(fields, linear, strict=True)
        ]
        return torch.tensor(
            [[float(v) for v in c] for c in columns], dtype=torch.float64
        ).T


@pytest.mark.parametrize("form", ["diagonal", "curl_free"])
@pytest.mark.parametrize(
    ("bandwidth", "error"), [(1.0, 1e-8), (4.0, 1e-7), (8.0, 1e-4)]
)
@pytest.mark.parametrize("strength", [1e-2, 1e-4, 1e-6])
def test_a_fit_of_given_strength_is_its_formula(form, bandwidth, error, strength):
    x, _ = two_clusters(N_ROWS, 0)
    given = Settings(
        "rbf", form, bandwidth=bandwidth, regularization=strength, base=None
    )
    model, _ = fit_score(x, given)
    rows = (x - model.center) * model.inverse_scale
    expected = exact_field(form, 1.0, rows, strength)
    found = model.form.field(rows, model.coefficients[None])[0]
    assert float((found - expected).abs().max() / expected.abs().max()) < error
