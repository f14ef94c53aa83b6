"""Laws of the parametric base scores, against automatic differentiation and truth."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import points
from scipy.stats import multivariate_t

from sklearn_ilvae.stein import Settings, fit_score
from sklearn_ilvae.stein.bases.fitted import BASES, fit_bases
from sklearn_ilvae.stein.bases.gaussian import fit_gaussian
from sklearn_ilvae.stein.bases.mixture import fit_components, fit_like, run_em
from sklearn_ilvae.stein.bases.student import Student, log_likelihood, run_student_em
from sklearn_ilvae.stein.kernels.forms import FORMS
from sklearn_ilvae.stein.kernels.radial import make_kernel
from sklearn_ilvae.stein.kernels.solvers import whiten
from sklearn_ilvae.stein.sample.moments import moments_of_parts
from sklearn_ilvae.stein.sample.reading import read_rows
from sklearn_ilvae.stein.sample.splits import split_rows

few = settings(max_examples=8, deadline=None)
seeds = st.integers(0, 2**16)


def skewed(n: int, d: int, seed: int) -> torch.Tensor:
    """Return three clusters with heavy tails, so that every family differs."""
    generator = torch.Generator().manual_seed(seed)
    centers = 4.0 * points(3, d, seed + 1)
    which = torch.randint(0, 3, (n,), generator=generator)
    tail = points(n, 4, seed + 2).square().mean(1, keepdim=True).sqrt()
    return centers[which] + points(n, d, seed + 3) / tail


def rows_of(x: torch.Tensor):
    generator = torch.Generator().manual_seed(0)
    return read_rows(x, generator=generator, device=torch.device("cpu"))


def bases_of(x: torch.Tensor):
    rows = rows_of(x)
    split = split_rows(rows)
    gaussian = fit_gaussian(rows, split)
    ones = torch.ones(rows.dimension).double()
    return rows, fit_bases(split, gaussian, tuple(BASES), 0, ones)


@few
@given(seeds, st.integers(1, 4))
def test_score_and_divergence_are_derivatives_of_the_log_density(seed, d):
    rows, bases = bases_of(skewed(200, d, seed))
    metric = torch.linspace(0.5, 2.0, d).double()
    U = rows.read(slice(0, 5)).requires_grad_()
    for base in bases.values():
        for score in (base.full, base.without[0]):
            (gradient,) = torch.autograd.grad(score.log_density(U).sum(), U)
            torch.testing.assert_close(score.score(U), gradient, rtol=1e-8, atol=1e-8)
            trace = torch.stack(
                [
                    metric
                    @ torch.autograd.functional.jacobian(
                        lambda u, s=score: s.score(u[None])[0], u
                    ).diagonal()
                    for u in U.detach()
                ]
            )
            torch.testing.assert_close(
                score.divergence(U, metric), trace, rtol=1e-8, atol=1e-8
            )


@few
@given(seeds)
def test_stretched_scores_are_those_of_stretched_rows(seed):
    """In coordinates ``u' = r u`` a score is divided by ``r``."""
    rows, bases = bases_of(skewed(150, 3, seed))
    ratio = torch.tensor([0.5, 1.0, 3.0]).double()
    U = rows.read(slice(0, 9))
    for base in bases.values():
        found = base.stretched(ratio).full.score(U * ratio)
        torch.testing.assert_close(found, base.full.score(U) / ratio)


@pytest.mark.parametrize("base", BASES)
def test_scores_stay_finite_as_far_as_numbers_go(base):
    heavy = points(300, 2, 0) / points(300, 3, 1).square().mean(1, keepdim=True)
    _, bases = bases_of(heavy if base == "student_t" else skewed(300, 2, 0))
    score, metric = bases[base].full, torch.ones(2).double()
    directions = torch.tensor([[1, 1], [1, -2], [-3, 0]]).double()
    for distance in (1e120, 1e153, 1e160, 1e300):
        far = distance * directions
        assert torch.isfinite(score.score(far)).all()
        assert torch.isfinite(score.divergence(far, metric)).all()
        assert not torch.isnan(score.log_density(far)).any()


def test_far_away_the_divergence_of_a_mixture_is_that_of_one_component():
    _, bases = bases_of(skewed(300, 2, 0))
    score, metric = bases["mixture"].full, torch.ones(2).double()
    far = 1e12 * torch.tensor([[1, 1], [1, -2], [-3, 0]]).double()
    traces = -score.precisions.diagonal(dim1=-2, dim2=-1) @ metric
    apart = (score.divergence(far, metric)[:, None] - traces).abs().amin(1)
    assert apart.max() < 1e-9


def test_a_mixture_is_recovered_to_the_sampling_error_of_its_parameters():
    n, d = 4000, 3
    generator = torch.Generator().manual_seed(0)
    centers = torch.tensor([[-4.0, 0, 0], [4, 0, 0], [0, 5, 1]]).double()
    roots = torch.linalg.qr(points(9, 3, 7).reshape(3, 3, 3)).Q
    roots = roots * torch.tensor([0.5, 1.0, 1.5]).double()
    precisions = torch.linalg.inv(roots @ roots.mT)

    def sample(seed: int) -> torch.Tensor:
        which = torch.randint(0, 3, (n,), generator=generator)
        noise = points(n, d, seed)[..., None]
        return centers[which] + (roots[which] @ noise)[..., 0]

    x, fresh = sample(1), sample(2)
    pull = (centers[:, None] - fresh) @ precisions
    logs = -0.5 * (pull * (centers[:, None] - fresh)).sum(-1)
    logs += 0.5 * torch.linalg.slogdet(precisions).logabsdet[:, None]
    truth = (torch.softmax(logs, 0)[..., None] * pull).sum(0)
    model, report = fit_score(x)
    assert report.base == "mixture"
    excess = (model.score(fresh) - truth).square().sum() / truth.square().sum()
    parameters = 3 * (d + d * (d + 1) / 2)
    assert excess < 3 * parameters / (n * d)


def test_a_mixture_is_fitted_to_all_rows():
    """Maximum likelihood keeps the mean of the rows."""
    x = torch.cat([points(90, 2, 0) - 4.0, points(60, 2, 1) + 4.0])
    model, _ = fit_score(x, Settings(base="mixture", kernel="rbf"))
    base = model.base
    determinants = torch.linalg.slogdet(base.precisions).logabsdet
    shares = torch.softmax(base.constants - 0.5 * determinants, 0)
    mean = shares @ base.centers / model.inverse_scale + model.center
    torch.testing.assert_close(mean, x.mean(0))


@pytest.mark.parametrize(("spread", "same"), [(1.0, True), (0.3, False)])
def test_components_share_a_covariance_where_theirs_are_the_same(spread, same):
    V = torch.cat([points(200, 2, 0) - 4.0, spread * points(200, 2, 1) + 4.0])
    weights, target = torch.full((400,), 1 / 400).double(), V.T.cov()
    found = fit_components(V, weights, target, torch.Generator().manual_seed(0))
    assert len(found.shares) == 2
    assert found.tied is same


@few
@given(seeds, st.booleans(), st.floats(1e-3, 1e3))
def test_a_covariance_in_the_shape_of_its_target_is_kept(seed, tied, size):
    """A prior of that shape is worth rows of the same covariance."""
    V, weights = points(40, 3, seed), torch.full((40,), 1 / 40).double()
    covariance = V.T.cov(correction=0)
    whole = torch.ones(1, 40).double()
    found, _ = run_em(V, weights, whole, size * covariance, tied=tied)
    torch.testing.assert_close(found.covariances[0], covariance)


@pytest.mark.parametrize("width", [1e-3, 1e-8, 1e-10, 1e-12])
def test_clusters_may_be_as_tight_as_their_rounding_allows(width):
    """Within each the score is that of its Gaussian."""
    noise, generator = points(300, 2, 1), torch.Generator().manual_seed(0)
    labels = torch.randint(0, 4, (300,), generator=generator)
    model, report = fit_score(points(4, 2, 0)[labels] + width * noise)
    found = width * model.score(points(4, 2, 0)[labels] + width * noise)
    assert report.base == "mixture"
    within = torch.stack([noise[labels == k].mean(0) for k in range(4)])
    truth = within[labels] - noise
    assert (found - truth).square().sum() < 0.1 * truth.square().sum()


def test_clusters_below_rounding_give_finite_scores():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 4, (300,), generator=generator)
    x = points(4, 2, 0)[labels] + 1e-15 * points(300, 2, 1)
    assert torch.isfinite(fit_score(x)[0].score(x)).all()


@few
@given(seeds, st.booleans())
def test_rows_held_out_have_no_say_in_a_mixture(seed, tied):
    V = torch.cat([points(40, 2, seed) - 2.0, points(40, 2, seed + 1) + 2.0])
    weights = torch.arange(80).remainder(5).bool().double() / 64
    start = fit_components(V, weights, torch.eye(2).double(), torch.Generator())
    moved = torch.where(weights[:, None] > 0, V, points(80, 2, seed + 2))
    found, expected = (
        fit_like(
            replace(start, tied=tied),
            rows,
            weights,
            torch.eye(2).double(),
            torch.Generator().manual_seed(seed),
        )
        for rows in (moved, V)
    )
    torch.testing.assert_close(found.centers, expected.centers)
    torch.testing.assert_close(found.covariances, expected.covariances)


@few
@given(seeds, st.sampled_from([1.0, 4.0, 50.0]))
def test_a_student_t_is_of_rows_by_their_weights(seed, freedom):
    """Those held out, of weight 0, have no say; its likelihood is that of SciPy.

    EM ends where that does not rise along the location: the mean score is 0.
    """
    V = points(60, 2, seed) / points(60, 1, seed + 1).abs()
    weights = torch.arange(60).remainder(3).double() / 60
    kept = weights > 0
    moved = torch.where(kept[:, None], V, points(60, 2, seed + 2))
    start = Student(V[0], torch.eye(2).double(), 50.0, torch.ones(()).double(), 0)
    found, expected = (
        run_student_em(rows, shares, start, freedom, 1e-3)
        for rows, shares in ((moved, 0.8 * weights), (V[kept], weights[kept]))
    )
    torch.testing.assert_close(found.location, expected.location)
    torch.testing.assert_close(found.scatter, expected.scatter)
    truth = multivariate_t(found.location, found.scatter, df=freedom)
    mean = float(weights.numpy() @ truth.logpdf(V)) + math.log(math.pi)
    assert log_likelihood(V, weights, found) == pytest.approx(mean)
    end = run_student_em(V, weights, start, freedom, 1e-3, iterations=200)
    slope = weights @ end.as_score().score(V)
    torch.testing.assert_close(slope, 0.0 * slope, rtol=0, atol=1e-6)


def test_a_student_t_is_recovered_with_its_tails():
    spread = points(2000, 5, 0).square().mean(1, keepdim=True)
    x = points(2000, 4, 1) / spread.sqrt()
    model, report = fit_score(x, Settings(base="student_t", kernel="rbf"))
    truth = -9.0 * x / (5.0 + x.square().sum(1, keepdim=True))
    assert report.base == "student_t"
    assert (model.score(x) - truth).square().sum() < 0.03 * truth.square().sum()


@pytest.mark.parametrize("seed", range(3))
def test_heavy_tails_hide_no_correlation(seed):
    spread = points(1000, 2, seed).square().mean(1, keepdim=True)
    x = points(1000, 2, seed + 10) / spread.sqrt()
    x[:, 1] = 0.9 * x[:, 0] + 0.19**0.5 * x[:, 1]
    rows, bases = bases_of(x)
    precision = torch.linalg.inv(torch.tensor([[1.0, 0.9], [0.9, 1.0]]).double())
    pull = x @ precision
    truth = -4.0 * pull / (2.0 + (pull * x).sum(1, keepdim=True))
    found = bases["student_t"].full.score(rows.place(x)) * rows.inverse_scale
    assert (found - truth).square().sum() < 0.03 * truth.square().sum()
    assert bases["student_t"].shrinkage < 0.01


def test_a_scatter_does_not_shrink_to_rows_that_share_a_value():
    x = points(400, 4, 0) / points(400, 3, 1).square().mean(1, keepdim=True).sqrt()
    x[20:, 3] = 0.0
    _, bases = bases_of(x)
    assert bases["student_t"].shrinkage == bases["gaussian"].shrinkage


@pytest.mark.parametrize("base", ["student_t", "mixture"])
def test_a_family_asked_for_by_name_gives_finite_scores_for_few_rows(base):
    for n in (2, 5, 12):
        x = points(n, 4, n)
        model, report = fit_score(x, Settings(base=base))
        assert n > 10 or report.base == "gaussian"
        assert torch.isfinite(model.score(10.0 * x)).all()


@pytest.mark.parametrize("n", [2, 5, 9])
@pytest.mark.parametrize("base", BASES)
def test_a_handful_of_rows_has_a_gaussian_that_is_shrunk_halfway(base, n):
    """However heavy the tails that they may seem to have."""
    x = torch.tan(torch.linspace(-1.5, 1.5, n).double())[:, None]
    _, report = fit_score(x, Settings(base=base))
    assert report.base == "gaussian"
    assert report.shrinkage == 0.5


@few
@given(seeds, st.sampled_from(sorted(FORMS)), st.sampled_from(["rbf"]))
def test_gram_of_whitened_fields_equals_the_whitened_gram(seed, form, kernel):
    U, landmarks = points(60, 3, seed), points(8, 3, seed + 1)
    space = FORMS[form](make_kernel(kernel, 1.5), landmarks)
    whitening = whiten(space.penalty()).basis
    weights = torch.full((60,), 1 / 60).double()
    base = -U[None]
    plain, linear = space.accumulate(U, weights, base)
    narrow, same = space.accumulate(U, weights, base, whitening)
    torch.testing.assert_close(linear, same)
    assert narrow.shape == (whitening.shape[1],) * 2
    expected = whitening.T @ plain @ whitening
    torch.testing.assert_close(narrow, expected, rtol=1e-6, atol=1e-8)


def test_shrinkage_does_not_hang_on_the_random_state():
    x = points(300, 5, 0) * torch.linspace(1.0, 2.0, 5).double()
    found = {
        fit_score(x, Settings(base="gaussian"), seed=s)[1].shrinkage for s in range(4)
    }
    assert len(found) == 1


@pytest.mark.parametrize("distance", [1.0, 1e10, 1e20])
def test_a_row_held_out_leaves_no_trace_however_far_it_is(distance):
    x = points(60, 2, 0)
    x[7] = distance
    rows = rows_of(x)
    split = split_rows(rows)
    part = int(split.labels[7])
    found = moments_of_parts(rows, split).without(part)
    others = rows.read(split.others(part))
    torch.testing.assert_close(found.mean, others.mean(0))
    covariance = others.T.cov(correction=0)
    torch.testing.assert_close(found.covariance(found.mean), covariance)


@pytest.mark.parametrize("distance", [1e4, 1e12, 1e20])
def test_no_gaussian_is_taken_for_a_sample_with_a_wild_row(distance):
    """Its score would be 0 at all rows but one."""
    x = points(300, 2, 0)
    x[7] = distance
    model, report = fit_score(x)
    assert report.base == "student_t"
    assert (model.score(x[:7]) * x[:7]).sum() < -0.8 * x[:7].square().sum()


@pytest.mark.parametrize("unit", [1e-100, 1.0, 1e100])
@pytest.mark.parametrize(("factor", "share"), [(50.0, True), (200.0, False)])
def test_columns_share_a_unit_where_their_spreads_are_within_a_factor_of_100(
    unit, factor, share
):
    units = unit * torch.tensor([1.0, factor]).double()
    assert rows_of(points(300, 2, 0) * units).commensurable is share


def test_a_gaussian_shrinks_to_one_unit_where_all_columns_have_the_same_noise():
    """Beside it a factor gives every column a spread of its own."""
    loading = 5.0 * points(20, 1, 3)

    def sample(n: int, seed: int) -> torch.Tensor:
        return points(n, 20, seed) + points(n, 1, seed + 1) @ loading.T

    model, _ = fit_score(sample(40, 0), Settings(base="gaussian"))
    fresh = sample(500, 2)
    covariance = torch.eye(20, dtype=torch.float64) + loading @ loading.T
    truth = -fresh @ torch.linalg.inv(covariance)
    error = (model.score(fresh) - truth).square().sum() / truth.square().sum()
    assert error < 0.3


def base_beside(x: torch.Tensor, bandwidth, base: str) -> torch.Tensor:
    # So strong a regularisation leaves no kernel part.
    alone = Settings("rbf", "diagonal", bandwidth, regularization=1e12, base=base)
    model, report = fit_score(x, alone)
    assert report.base == base
    return model.score(x)


@pytest.mark.parametrize("bandwidth", ["median", 300.0])
@pytest.mark.parametrize("base", ["gaussian", "student_t"])
def test_a_base_is_the_same_whatever_the_bandwidth(base, bandwidth):
    scale = torch.tensor([1.0, 1.0, 1.0, 300.0, 300.0, 300.0]).double()
    tail = points(60, 3, 1).square().mean(1, keepdim=True).sqrt()
    x = points(60, 6, 0) / tail * scale
    by_column = base_beside(x, scale, base)
    torch.testing.assert_close(base_beside(x, bandwidth, base), by_column)


@pytest.mark.parametrize(("n", "d"), [(60, 6), (30, 40)])
def test_small_columns_do_not_decide_the_shrinkage_whatever_the_bandwidth(n, d):
    """Their scores are the largest in units that all columns share."""
    scale = torch.ones(d).double()
    scale[: d // 3] = 0.05
    common = points(n, 1, 1) * (scale == 1)
    x = (points(n, d, 0) + 3.0 * common) * scale
    torch.testing.assert_close(
        base_beside(x, 1.0, "gaussian"), base_beside(x, scale, "gaussian")
    )


def test_small_columns_tell_clusters_whatever_the_bandwidth():
    generator = torch.Generator().manual_seed(0)
    side = torch.randint(0, 2, (200, 1), generator=generator) * 10.0
    x = torch.cat([points(200, 1, 0) + side, 1000.0 * points(200, 2, 1)], 1)
    by_column = base_beside(x, torch.tensor([1.0, 1000.0, 1000.0]).double(), "mixture")
    score = base_beside(x, 1000.0, "mixture")
    torch.testing.assert_close(score[:, 0], by_column[:, 0], rtol=0, atol=0.2)
