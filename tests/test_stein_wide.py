"""Tables of no more rows than columns: the same estimate, from products of rows."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import points, two_clusters

from sklearn_ilvae.stein import Settings, fit_score
from sklearn_ilvae.stein.bases.few_rows import FewRows
from sklearn_ilvae.stein.bases.gaussian import SHRINKAGES, fit_gaussian
from sklearn_ilvae.stein.bases.many_rows import ManyRows
from sklearn_ilvae.stein.bases.student import Student, log_likelihood, run_student_em
from sklearn_ilvae.stein.sample.reading import read_rows
from sklearn_ilvae.stein.sample.splits import split_rows
from sklearn_ilvae.stein.state import model_from_arrays, model_to_arrays

few = settings(max_examples=4, deadline=None)
seeds = st.integers(0, 2**16)
FIXED = {"kernel": "rbf", "bandwidth": 8.0, "regularization": 1e-3}
N, D = 20, 35


def table(seed: int) -> torch.Tensor:
    """Return a wide table with repeated, badly scaled and rarely varying columns."""
    x = points(N, D, seed)
    x[:, -5:] = x[:, :5]
    x[:, 5:10] *= torch.tensor([1e-6, 1e-2, 1.0, 1e3, 1e8])
    x[2:, 10] = 1.0
    return x


def rows_of(x: torch.Tensor, seed: int):
    generator = torch.Generator().manual_seed(seed)
    weights = torch.rand(len(x), generator=generator, dtype=torch.float64)
    return read_rows(x, weights, generator=generator, device=torch.device("cpu"))


def own_scale(variances: torch.Tensor) -> torch.Tensor:
    return torch.where(variances > 0, variances, 1.0).rsqrt()


@few
@given(seeds, st.sampled_from([own_scale, torch.ones_like]))
def test_shrunk_gaussians_are_those_of_the_matrices_of_moments(seed, target):
    rows = rows_of(table(seed), seed)
    split = split_rows(rows)
    thin, whole = (kind(rows, split, [split]) for kind in (FewRows, ManyRows))
    shrinkages = torch.tensor(SHRINKAGES, dtype=torch.float64)
    losses, expected = (each.losses(target, shrinkages) for each in (thin, whole))
    assert losses[0] == expected[0] == torch.inf  # there is no inverse
    torch.testing.assert_close(losses[1:], expected[1:], rtol=1e-5, atol=0.0)
    for part, shrinkage in ((None, 1e-4), (0, 0.1), (2, 1.0)):
        found, direct = (each.score(part, shrinkage, target) for each in (thin, whole))
        U, metric = points(9, D, seed), points(1, D, seed)[0].square()
        torch.testing.assert_close(found.pull(U), direct.pull(U), rtol=1e-8, atol=1e-8)
        torch.testing.assert_close(found.trace(metric), direct.trace(metric))
        ratio = torch.linspace(0.5, 2.0, D, dtype=torch.float64)
        apart = [each.stretched(ratio).pull(U) for each in (found, direct)]
        torch.testing.assert_close(*apart, rtol=1e-8, atol=1e-8)


@few
@given(seeds, st.sampled_from([1e-4, 0.1, 1.0]))
def test_a_student_t_along_the_rows_is_that_of_all_directions(seed, shrinkage):
    V = points(N, D, seed) / points(N, 1, seed + 1).abs()
    weights = torch.full((N,), 1 / N, dtype=torch.float64)
    origin = weights @ V
    basis, places = torch.linalg.qr((V - origin).T)
    eye, across = torch.eye(D, dtype=torch.float64), torch.ones(()).double()
    starts = (
        Student(places[:, 0], eye[:N, :N], 50.0, across, D - N),
        Student(V[0], eye, 50.0, across, 0),
    )
    thin, whole = (
        run_student_em(rows, weights, start, 4.0, shrinkage)
        for rows, start in zip((places.T, V), starts, strict=True)
    )
    likelihoods = [
        log_likelihood(rows, weights, each)
        for rows, each in ((places.T, thin), (V, whole))
    ]
    assert likelihoods[0] == pytest.approx(likelihoods[1])
    found, expected = thin.as_score_around(origin, basis), whole.as_score()
    U, metric = points(9, D, seed + 2), torch.ones(D, dtype=torch.float64)
    torch.testing.assert_close(found.score(U), expected.score(U))
    torch.testing.assert_close(
        found.divergence(U, metric), expected.divergence(U, metric)
    )
    torch.testing.assert_close(found.log_density(U), expected.log_density(U))


@few
@given(seeds)
def test_an_orthogonal_embedding_in_far_more_columns_gives_the_embedded_score(seed):
    y, _ = two_clusters(40, seed)
    y[0] *= 1e3
    turn = torch.linalg.qr(points(300, 2, seed + 1)).Q.T
    given = Settings("rbf", bandwidth=0.5, regularization=1e-3, base=None)
    flat, model = (fit_score(rows, given)[0] for rows in (y, y @ turn))
    score, divergence = model.evaluate(y @ turn)
    expected, slope = flat.evaluate(y)
    torch.testing.assert_close(score, expected @ turn, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(divergence, slope, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("base", ["gaussian", "auto"])
def test_a_plane_in_more_columns_than_rows_holds_the_score(base):
    map_ = points(3, 60, 1)
    x = points(40, 3, 0) @ map_
    model, _ = fit_score(x, Settings(base=base))
    score, divergence = model.evaluate(x)
    onto = torch.linalg.pinv(map_) @ map_
    torch.testing.assert_close(score @ onto, score, rtol=1e-9, atol=1e-9)
    across = points(1, 60, 2) - points(1, 60, 2) @ onto
    moved, same = model.evaluate(x + across)
    torch.testing.assert_close(moved, score, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(same, divergence, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("outlier", [1e3, 1e8, 1e12])
def test_a_plane_is_found_beside_a_row_far_away_in_any_unit(outlier, unit):
    y = points(40, 3, 0)
    y[0] = outlier
    rows = rows_of((y @ points(3, 60, 1) + 3.0) * unit, 0)
    axes = fit_gaussian(rows, split_rows(rows)).rows.axes
    assert axes.shape[1] == 3


def test_rows_in_general_position_lie_in_no_plane():
    for outlier in (1.0, 1e8):
        x = points(30, 29, 0)
        x[0] *= outlier
        x[1] = x[2] + 1e-9 * x[3]
        x[4] = (x[5] + x[6]) / 2
        rows = rows_of(torch.cat([x, x], 1), 0)
        assert fit_gaussian(rows, split_rows(rows)).rows.axes is None


def test_constant_columns_change_nothing():
    x = points(30, 4, 0) @ torch.cat([torch.eye(4), torch.ones(4, 1)], 1).double()
    wide = torch.cat([x, torch.full((30, 40), 3.0, dtype=torch.float64)], 1)
    score, divergence = fit_score(wide)[0].evaluate(wide)
    expected, slope = fit_score(x)[0].evaluate(x)
    torch.testing.assert_close(score[:, :5], expected, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(divergence, slope, rtol=1e-6, atol=1e-8)
    assert not score[:, 5:].any()


@pytest.mark.parametrize("base", ["gaussian", "student_t", "auto", None])
def test_a_score_of_few_rows_saved_as_arrays_comes_back_the_same(base):
    x = points(30, 60, 0) / points(30, 1, 1).abs().sqrt()
    model, _ = fit_score(x, Settings(base=base))
    again = model_from_arrays(model_to_arrays(model))
    assert torch.equal(again.score(x), model.score(x))


@pytest.mark.parametrize("form", ["diagonal", "curl_free"])
@pytest.mark.parametrize("base", ["gaussian", "student_t"])
def test_a_score_of_few_rows_has_its_divergence(form, base):
    x = points(30, 60, 0) / points(30, 1, 1).abs().sqrt()
    model, _ = fit_score(x, Settings(base=base, form=form, **FIXED))
    rows = torch.cat([x[:1], points(1, 60, 2)])
    for row, found in zip(rows, model.divergence(rows), strict=True):
        jacobian = torch.autograd.functional.jacobian(
            lambda u: model.score(u[None])[0], row
        )
        torch.testing.assert_close(jacobian.trace(), found, rtol=1e-7, atol=1e-9)
