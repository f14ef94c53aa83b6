"""Fisher divergences and the kernel Stein discrepancy."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import points

from sklearn_ilvae.stein import (
    DensityScore,
    Settings,
    fisher_divergence_cross_fitted,
    fisher_divergence_held_out,
    fisher_divergence_plug_in,
    fit_score,
    kernel_stein_discrepancy,
)
from sklearn_ilvae.stein.kernels.radial import (
    KERNELS,
    kernel_gradient,
    kernel_matrix,
    make_kernel,
    squared_distances,
)

quick = settings(max_examples=20, deadline=None)
standard = DensityScore(lambda x: -x)


def gaussian(mean: float) -> DensityScore:
    return DensityScore(lambda x: mean - x)


def test_divergence_of_a_density_score_is_its_trace():
    x = points(4, 3, 0)
    score, divergence = DensityScore(lambda u: -(u**3)).evaluate(x)
    torch.testing.assert_close(score, -(x**3))
    torch.testing.assert_close(divergence, -3 * x.square().sum(1))


def test_a_constant_score_has_no_divergence():
    _, divergence = DensityScore(torch.zeros_like).evaluate(points(4, 2, 0))
    assert (divergence == 0).all()


def test_a_score_that_torch_cannot_differentiate_is_refused():
    with pytest.raises(ValueError, match=r"cannot differentiate it: detach\(\) or"):
        DensityScore(lambda x: -x.detach()).evaluate(points(4, 2, 0))


def test_a_score_cut_off_from_torch_is_refused_also_where_each_row_is_a_fold():
    x, cut_off = points(6, 2, 0), DensityScore(lambda x: -x.detach())
    with pytest.raises(ValueError, match="torch cannot differentiate it"):
        fisher_divergence_cross_fitted(x, lambda rows: standard, cut_off, n_folds=6)


def test_a_score_may_be_computed_in_place():
    score, divergence = DensityScore(lambda x: x.neg_()).evaluate(points(4, 2, 0))
    torch.testing.assert_close(score, -points(4, 2, 0))
    assert (divergence == -2).all()


def test_divergence_of_a_density_score_where_torch_does_without_gradients():
    with torch.inference_mode():
        _, divergence = standard.evaluate(points(4, 2, 0))
    assert (divergence == -2).all()


def test_plug_in_divergence_of_known_gaussians_is_the_distance_of_their_means():
    x = points(100, 2, 0)
    found = fisher_divergence_plug_in(x, gaussian(0.0), gaussian(1.5))
    assert float(found) == pytest.approx(2 * 1.5**2)


def test_held_out_divergence_subtracts_the_error_of_the_estimate():
    """``E‖s_q − s_p‖² − E‖ŝ − s_q‖²`` with q, p, ŝ at means 0, 2 and ½."""
    x = points(200_000, 1, 0)
    found = fisher_divergence_held_out(x, gaussian(0.5), gaussian(2.0))
    assert float(found) == pytest.approx(2.0**2 - 0.5**2, abs=0.05)


def test_cross_fitted_divergence_of_two_samples():
    base = Settings(kernel="rbf", form="diagonal", bandwidth=2.0, regularization=1e-2)
    x, y = points(1000, 2, 0), points(1000, 2, 1) + 1.0
    other, _ = fit_score(y, base)
    found = fisher_divergence_cross_fitted(
        x,
        lambda rows: fit_score(rows, base)[0],
        other,
        generator=torch.Generator().manual_seed(0),
    )
    assert float(found) == pytest.approx(2.0, rel=0.2)


def test_near_zero_plug_in_is_positive_and_cross_fitted_lies_below():
    rough = Settings(kernel="rbf", form="diagonal", bandwidth=0.5, regularization=1e-4)
    x = points(300, 2, 0)
    plug_in = fisher_divergence_plug_in(x, fit_score(x, rough)[0], standard)
    crossed = fisher_divergence_cross_fitted(
        x, lambda rows: fit_score(rows, rough)[0], standard
    )
    assert crossed < 0 < plug_in


@pytest.mark.parametrize("n_folds", [0, 1, 11, 2.5, 3.0, None, "5"])
def test_number_of_folds_must_fit_the_rows(n_folds):
    x = points(10, 1, 0).repeat(2, 1)
    with pytest.raises(ValueError, match=r"from 2 to the .* distinct rows, 10"):
        fisher_divergence_cross_fitted(
            x, lambda rows: standard, standard, n_folds=n_folds
        )


@pytest.mark.parametrize("copies", [1, 2])
def test_cross_fitted_divergence_of_few_rows_is_that_in_other_units(copies):
    """Of ``a x`` it is ``1/a²`` of that of x: folds hang on the order of rows."""
    x = points(20, 2, 0).repeat(copies, 1)

    def divergence(unit):
        return fisher_divergence_cross_fitted(
            unit * x,
            lambda rows: DensityScore(lambda y: (rows.mean(0) - y) / unit**2),
            DensityScore(lambda y: (unit - y) / unit**2),
            generator=torch.Generator().manual_seed(0),
        )

    assert float(9.0 * divergence(3.0)) == pytest.approx(float(divergence(1.0)))


def test_folds_of_unequal_size_count_by_their_rows():
    """Where nothing is fitted, cross-fitting is holding out."""
    x = points(7, 2, 0)
    found = fisher_divergence_cross_fitted(
        x, lambda rows: gaussian(0.5), standard, n_folds=3
    )
    expected = fisher_divergence_held_out(x, gaussian(0.5), standard)
    assert float(found) == pytest.approx(float(expected))


def test_no_score_has_seen_a_row_equal_to_one_that_judges_it():
    x = points(10, 2, 0).repeat(3, 1)
    fitted = []

    def fit(rows):
        fitted.append({tuple(row) for row in rows.tolist()})
        return standard

    fisher_divergence_cross_fitted(x, fit, standard)
    everything = {tuple(row) for row in x.tolist()}
    left_out = [everything - seen for seen in fitted]
    assert sorted(map(len, left_out)) == [2] * 5
    assert set.union(*left_out) == everything


@quick
@given(st.sampled_from(sorted(KERNELS)), st.integers(1, 3), st.integers(0, 999))
def test_kernel_stein_discrepancy_is_the_mean_of_the_stein_kernel(name, d, seed):
    kernel, x = make_kernel(name, 1.3), points(8, d, seed) + 5.0
    s = points(8, d, seed + 1)
    slope = kernel_gradient(kernel, x, x)
    stein = kernel_matrix(kernel, x, x) * (s @ s.T)
    stein -= torch.einsum("id,ijd->ij", s, slope)
    stein += torch.einsum("jd,ijd->ij", s, slope)
    # The trace of the mixed derivative is minus the Laplacian.
    _, first, second = kernel.derivatives(squared_distances(x, x))
    stein -= 4.0 * second * squared_distances(x, x) + 2.0 * x.shape[1] * first
    found = kernel_stein_discrepancy(x, s, kernel, statistic="V")
    torch.testing.assert_close(found, stein.mean(), rtol=1e-9, atol=1e-9)
    off_diagonal = (stein.sum() - stein.trace()) / (8 * 7)
    found = kernel_stein_discrepancy(x, s, kernel, statistic="U")
    torch.testing.assert_close(found, off_diagonal, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("statistic", ["U", "V"])
@pytest.mark.parametrize("name", sorted(KERNELS))
@pytest.mark.parametrize("distance", [1e2, 1e8])
def test_clusters_far_apart_add_up_to_the_sum_of_each(name, statistic, distance):
    """Pairs of a row with itself are at distance 0, others as far as they are."""
    kernel = make_kernel(name, 1.0)
    x = torch.cat([points(6, 1, 0), points(6, 1, 1) + distance])
    s = points(12, 1, 2)
    gap = x - x.T
    value, first, second = kernel.derivatives(gap.square())
    terms = value * s * s.T + 2.0 * first * gap * (s.T - s)
    terms -= 4.0 * second * gap.square() + 2.0 * first
    pairs = torch.ones(12, 12).double()
    pairs.diagonal().fill_(float(statistic == "V"))
    expected = (terms * pairs).sum() / pairs.sum()
    found = kernel_stein_discrepancy(x, s, kernel, statistic=statistic)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("statistic", ["U", "V"])
@pytest.mark.parametrize("spread", [1.0, 1e4])
def test_a_discrepancy_hangs_on_no_chunk(monkeypatch, spread, statistic):
    x, kernel = spread * points(10, 2, 0), make_kernel("rbf", 1.0)
    at_once = kernel_stein_discrepancy(x, -x, kernel, statistic=statistic)
    monkeypatch.setattr("sklearn_ilvae.stein.divergences.CHUNK_ROWS", 3)
    found = kernel_stein_discrepancy(x, -x, kernel, statistic=statistic)
    assert float(found) == pytest.approx(float(at_once))


def test_a_row_of_a_huge_score_hides_no_pairs_of_others():
    """One too far from them to be in a pair of its own."""
    x = torch.tensor([[0.0], [1.0], [1e9]]).double()
    s = torch.tensor([[0.5], [-0.5], [-1e9]]).double()
    kernel = make_kernel("rbf", 1.0)
    found = kernel_stein_discrepancy(x, s, kernel, statistic="U")
    near = -1.25 * math.exp(-0.5)  # of the first two rows: their trace term is 0
    assert float(found) == pytest.approx(2 * near / 6, rel=1e-6)


@pytest.mark.parametrize("name", sorted(KERNELS))
def test_clusters_far_apart_are_told_from_rounding_in_single_precision(name):
    kernel, side = make_kernel(name, 1.0), 900.0 * (torch.arange(100) % 2)[:, None]
    x = (points(100, 2, 0) + side).float()
    s = side - x
    found, exact = (
        kernel_stein_discrepancy(*each, kernel, statistic="V")
        for each in ((x, s), (x.double(), s.double()))
    )
    torch.testing.assert_close(found.double(), exact, rtol=1e-3, atol=0)


def test_kernel_stein_discrepancy_tells_the_right_density_from_a_wrong_one():
    x, kernel = points(2000, 2, 0), make_kernel("inverse_multiquadric", 1.0)
    right = kernel_stein_discrepancy(x, -x, kernel)
    wrong = kernel_stein_discrepancy(x, 0.5 - x, kernel)
    assert abs(float(right)) < 0.02 < float(wrong)
    assert kernel_stein_discrepancy(x, -x, kernel, statistic="V") > 0


def test_bad_statistic_and_too_few_rows_are_refused():
    kernel, x = make_kernel("rbf", 1.0), points(1, 2, 0)
    with pytest.raises(ValueError, match="choose 'U' or 'V'"):
        kernel_stein_discrepancy(x, x, kernel, statistic="W")
    with pytest.raises(ValueError, match="at least 2"):
        kernel_stein_discrepancy(x, x, kernel)


@pytest.mark.parametrize("shape", [(5, 2), (1, 2), (20, 1), (20,)])
def test_there_is_a_score_at_each_row(shape):
    with pytest.raises(ValueError, match=r"X has shape \(20, 2\) and scores \("):
        kernel_stein_discrepancy(
            points(20, 2, 0), torch.zeros(shape), make_kernel("rbf", 1.0)
        )


def test_scores_may_be_in_single_precision():
    x, kernel = points(20, 2, 0), make_kernel("rbf", 1.0)
    found = kernel_stein_discrepancy(x, -x.float(), kernel)
    torch.testing.assert_close(
        found, kernel_stein_discrepancy(x, -x, kernel), rtol=1e-5, atol=1e-6
    )
