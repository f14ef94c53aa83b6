"""What the search compares, and held-out losses against dense evaluations."""

import math
import weakref
from dataclasses import replace

import pytest
import torch
from samples import error, points

from sklearn_ilvae.stein import Settings, fit_score
from sklearn_ilvae.stein.bases.fitted import hyvarinen_loss
from sklearn_ilvae.stein.fitting import best_base_alone
from sklearn_ilvae.stein.sample.reading import read_rows
from sklearn_ilvae.stein.sample.splits import split_rows
from sklearn_ilvae.stein.selection.candidates import Candidate, Neighbourhood
from sklearn_ilvae.stein.selection.comparison import (
    Choice,
    choose,
    improves,
    mean_and_error,
)
from sklearn_ilvae.stein.selection.cross_validation import cross_validate
from sklearn_ilvae.stein.selection.frames import COMMON_SCALE, OWN_SCALES, make_frame
from sklearn_ilvae.stein.selection.options import options_of
from sklearn_ilvae.stein.selection.quadratic import losses_of_parts
from sklearn_ilvae.stein.selection.search import Search


def banana(n: int, seed: int) -> torch.Tensor:
    x = points(n, 2, seed)
    return torch.stack([x[:, 0], x[:, 0].square() + 0.3 * x[:, 1]], 1)


def frame_of(x: torch.Tensor, weights=None, bases=("gaussian",)):
    generator = torch.Generator().manual_seed(0)
    rows = read_rows(x, weights, generator=generator, device=torch.device("cpu"))
    return make_frame(rows, split_rows(rows), bases, 0)


def unequal(n: int) -> torch.Tensor:
    return torch.linspace(0.1, 4.0, n).double()


@pytest.mark.parametrize("n", [10, 23, 999, 1000, 25_001])
def test_every_row_that_is_judged_is_held_out_once_and_most_are_kept(n):
    generator = torch.Generator().manual_seed(0)
    rows = read_rows(points(n, 1, 0), generator=generator, device=torch.device("cpu"))
    split = split_rows(rows)
    parts = range(split.n_held_out)
    judged = torch.cat([split.positions(part) for part in parts])
    assert torch.equal(judged.sort().values, split.validated)
    assert min(len(split.others(part)) for part in parts) == split.n_kept
    assert split.n_kept >= n // 2


def test_a_base_has_the_same_losses_in_all_scalings():
    own = frame_of(banana(100, 0) * torch.tensor([1.0, 5.0]))
    common = own.in_scaling(COMMON_SCALE)
    assert own.rows.scale.max() > 2.0 * own.rows.scale.min()
    assert common.rows.scale.max() < 1.001 * common.rows.scale.min()
    found, expected = (
        hyvarinen_loss(
            0.0,
            0.0,
            frame.rows.read(slice(None)),
            frame.bases["gaussian"].full,
            frame.metric,
        )
        for frame in (common, own)
    )
    torch.testing.assert_close(found, expected)


def test_a_search_can_go_back_from_where_it_went():
    """To another bandwidth, kernel or form, and from there to where it was."""
    kernels, forms = ("rbf", "inverse_multiquadric"), ("diagonal", "curl_free")
    space = Neighbourhood(kernels, forms, {OWN_SCALES: 2.0}, True, narrowest=1e-3)
    for kernel in kernels:
        here = Candidate(kernel, "diagonal", 1.0, OWN_SCALES)
        around = space.around(here)
        assert {each.kernel for each in around} == set(kernels)
        assert {each.form for each in around} == set(forms)
        assert len({each.bandwidth for each in around}) > 1
        assert all(here in space.around(each) for each in around)


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("asked", [None, 0.5, 2.0])
def test_a_gain_counts_in_standard_errors_of_its_mean(asked, size):
    """Without a number of them in ``√log n``, as the information criterion has it."""
    n, weights = 50, torch.full((50,), size).double()
    noise = points(n, 1, 0)
    noise = noise - noise.mean()
    mean, error = mean_and_error(noise + 3.0, weights)
    assert float(mean) == pytest.approx(3.0)
    assert float(error) == pytest.approx(float(noise.std(correction=0)) / n**0.5)
    limit = math.sqrt(math.log(n)) if asked is None else asked
    for gain, expected in ((0.99 * limit, False), (1.01 * limit, True)):
        losses = -(noise[:, 0] + gain * error)
        found = improves(losses, 0.0 * losses, weights, standard_errors=asked)
        assert found is expected


def test_forms_compared_together_are_compared_as_each_alone():
    frame, landmarks = frame_of(banana(40, 0)), torch.arange(40)
    candidates = [Candidate("rbf", form, 2.0) for form in ("diagonal", "curl_free")]
    together, *alone = (
        cross_validate(frame, some, landmarks, methods=("tikhonov",))
        for some in (candidates, candidates[:1], candidates[1:])
    )
    for found, (expected,) in zip(together, alone, strict=True):
        assert found.strength == expected.strength
        assert found.loss == pytest.approx(expected.loss)
        assert found.degrees_of_freedom == pytest.approx(expected.degrees_of_freedom)


def test_a_row_without_weight_has_no_say_in_a_gain():
    values, weights = points(40, 2, 0), unequal(40)
    weights[:10] = 0.0
    found, expected = (
        mean_and_error(values, weights),
        mean_and_error(values[10:], weights[10:]),
    )
    torch.testing.assert_close(found, expected)


def test_rows_of_weights_are_fitted_and_judged_by_them():
    """Degrees of freedom are the trace of the map from scores at rows to a field.

    Of rows that are the landmarks too it is ``K (K + λ/w)⁻¹`` in each coordinate.
    """
    frame, strength = frame_of(banana(40, 0), unequal(40)), 0.3
    (choice,) = cross_validate(
        frame,
        [Candidate("rbf", "diagonal", 0.3)],
        torch.arange(40),
        methods=("tikhonov",),
        strength=strength,
    )
    traces = []
    for part in range(frame.split.n_held_out):
        others = frame.split.others(part)
        U, weights = frame.rows.read(others), frame.rows.weights[others]
        K = (-0.5 * (torch.cdist(U, U) / 0.3).square()).exp()
        ridge = (strength * weights.sum() / weights).diag()
        traces.append(2.0 * torch.linalg.solve(K + ridge, K).trace())
    expected = float(torch.stack(traces).mean())
    assert choice.degrees_of_freedom == pytest.approx(expected, rel=1e-5)
    mean = frame.weights @ choice.losses / frame.weights.sum()
    assert choice.loss == pytest.approx(float(mean), rel=1e-9)


def test_a_base_alone_is_that_of_the_least_mean_loss():
    heavy = points(80, 2, 0) / points(80, 3, 1).square().mean(1, keepdim=True).sqrt()
    frame = frame_of(heavy, unequal(80), ("gaussian", "student_t"))
    means = {
        name: float(frame.weights @ base.losses / frame.weights.sum())
        for name, base in frame.bases.items()
    }
    model, report = best_base_alone(frame)
    assert report.base == min(means, key=lambda name: means[name]) == "student_t"
    assert model.base is frame.bases["student_t"].full
    assert report.loss == report.base_loss == pytest.approx(means["student_t"])


def dense_loss(frame, candidate, landmarks, strength: float) -> torch.Tensor:
    """Return the mean loss by a ridge on all fields, by least squares."""
    rows, base, total = frame.rows, frame.bases["gaussian"], 0.0
    for part in range(frame.split.n_held_out):
        form = candidate.build(
            rows.read(landmarks[frame.split.labels[landmarks] != part])
        )
        U = rows.read(torch.nonzero(frame.split.labels != part).squeeze(1))
        values, vectors = torch.linalg.eigh(form.penalty())
        kept = values > 1e-13 * values.sum()
        basis = (vectors[:, kept] / values[kept].sqrt()).T[..., None]
        ones = torch.ones_like(frame.metric)
        fields, divergences = form.evaluate(U, basis, ones)
        right = (fields * base.without[part].score(U)).sum(-1).mean(1)
        right += divergences.mean(1)
        # AᵀA = G + λI, but half its digits are not lost.
        A = torch.cat(
            [
                fields.flatten(1).T / len(U) ** 0.5,
                strength**0.5 * torch.eye(len(fields), dtype=U.dtype),
            ]
        )
        R = torch.linalg.qr(A).R
        half = torch.linalg.solve_triangular(R.T, right[:, None], upper=False)
        found = -torch.linalg.solve_triangular(R, half, upper=True)[:, 0]
        coefficients = torch.tensordot(found, basis, 1)[None]
        V = rows.read(frame.split.positions(part))
        parts = form.evaluate(V, coefficients, frame.metric)
        loss = hyvarinen_loss(*parts, V, base.without[part], frame.metric)
        total += float(loss.sum()) / len(rows)
    return total


@pytest.mark.parametrize(
    ("bandwidth", "strength"), [(1.0, 1e-3), (8.0, 1e-6), (16.0, 1e-7)]
)
def test_weak_strengths_of_wide_kernels_are_not_lost_to_rounding(bandwidth, strength):
    """Eigenvalues of a wide kernel are tiny, and so are the strengths it needs."""
    frame = frame_of(banana(400, 0))
    candidate = Candidate("rbf", "curl_free", bandwidth)
    landmarks = frame.rows.lowest_ranks(150)
    (choice,) = cross_validate(
        frame, [candidate], landmarks, methods=("tikhonov",), strength=strength
    )
    expected = dense_loss(frame, candidate, landmarks, strength)
    assert choice.loss == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("seed", range(3))
def test_forms_and_bases_are_compared_where_the_search_ends(seed):
    """What is best at the first bandwidths need not be so at the last."""
    rows = frame_of(banana(300, seed)).rows
    options = options_of(Settings(method="tikhonov"), len(rows), len(rows))
    search = Search(rows, options, 0)
    search.run()
    best = choose(search.choices).candidate
    compared = {(c.candidate, c.base) for c in search.choices}
    for form in ("diagonal", "curl_free"):
        for base in search.frames[best.scaling].bases:
            assert (replace(best, form=form), base) in compared


def narrow_clusters(n: int, means: torch.Tensor, deviation: float, seed: int):
    """Return rows of equal Gaussians around means, and their score."""
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randint(len(means), (n,), generator=generator)
    x = means[chosen] + deviation * points(n, means.shape[1], seed)
    near = (-0.5 * torch.cdist(x, means).square() / deviation**2).softmax(1)
    return x, (near @ means - x) / deviation**2


def on_a_grid() -> torch.Tensor:
    places = torch.arange(7).double()
    return torch.cartesian_prod(places, places)


@pytest.mark.parametrize(
    ("means", "deviation", "n", "most"),
    [
        (1.5 * points(40, 10, 6), 0.1, 200, 0.4),
        (on_a_grid(), 0.2, 300, 0.8),
        (on_a_grid(), 0.1, 1000, 0.18),
    ],
)
def test_clusters_far_narrower_than_their_spread_are_found(means, deviation, n, most):
    """A descent from the median distance ends in a minimum that smooths over them."""
    x, _ = narrow_clusters(n, means, deviation, 1)
    fresh, truth = narrow_clusters(2000, means, deviation, 2)
    model, _ = fit_score(x)
    assert error(model.score(fresh), truth) < most


@pytest.mark.parametrize("n", [300, 1000])
def test_a_narrow_kernel_that_gains_nothing_leaves_nothing(monkeypatch, n):
    """It costs one comparison, and no fit again for the loss of each row."""
    compared, found = [], []

    def noted(frame, group, *given, **named):
        compared.append(group)
        choices = cross_validate(frame, group, *given, **named)
        found.extend(choices)
        return choices

    monkeypatch.setattr("sklearn_ilvae.stein.selection.search.cross_validate", noted)
    rows = frame_of(banana(n, 0)).rows
    search = Search(rows, options_of(Settings(), len(rows), len(rows)), 0)
    search.run()
    kept = {choice.candidate for choice in search.choices}
    (dropped,) = [group for group in compared if not kept.issuperset(group)]
    best = choose(search.choices).candidate
    narrowest = search.neighbourhood.medians[best.scaling] / 16
    assert {each.bandwidth for each in dropped} == {narrowest}
    assert kept.isdisjoint(dropped)
    fitted_again = {choice.candidate for choice in found if "losses" in vars(choice)}
    assert fitted_again
    assert fitted_again.isdisjoint(dropped)


@pytest.mark.parametrize(
    ("of_the_best", "on_the_base", "kept"),
    [(9.0, 9.0, "best"), (1.0, 9.0, "second"), (1.0, 1.0, None)],
)
def test_a_sure_gain_on_the_base_outlasts_a_greater_one_that_is_not(
    monkeypatch, of_the_best, on_the_base, kept
):
    """Gains in standard errors: of the setting of least loss, and on the best base."""
    rows = frame_of(banana(300, 0)).rows
    search = Search(rows, options_of(Settings(), len(rows), len(rows)), 0)
    alone = search._best_base_alone()
    losses = search.frames[OWN_SCALES].bases[alone].losses
    wave = torch.linspace(0.0, 2.0 * math.pi, len(losses) + 1).double()[1:].sin()
    error = float(mean_and_error(wave[:, None], torch.ones_like(wave))[1])

    def setting(base: str, bandwidth: float, gain: float, t: float) -> Choice:
        by_row = losses - gain * (1.0 + wave / (t * error))
        candidate = Candidate("rbf", "curl_free", bandwidth)
        mean = float(by_row.mean())
        return Choice(candidate, base, "tikhonov", 1e-3, mean, 10.0, lambda: by_row)

    other = next(name for name in search.options.bases if name != alone)
    settings = {
        "best": setting(other, 1.0, 2.0, of_the_best),
        "second": setting(alone, 2.0, 1.0, on_the_base),
    }
    monkeypatch.setattr(search, "choices", list(settings.values()))
    monkeypatch.setattr(search, "_descend", lambda: None)
    found = search.run()
    assert found.alone == alone
    if kept is None:
        assert found.leaders == []
        assert found.base == alone
    else:
        assert found.leaders[0] is settings[kept]
        assert found.base == settings[kept].base
        assert {leader.base for leader in found.leaders} <= {found.base, alone}


def test_the_loss_of_each_row_takes_fits_on_one_base(monkeypatch):
    x = banana(300, 0)
    rows = frame_of(x).rows
    frame = make_frame(rows, split_rows(rows), ("none", "gaussian"), 0)
    choices = cross_validate(
        frame,
        [Candidate("rbf", "diagonal", 0.3)],
        rows.lowest_ranks(50),
        methods=("tikhonov",),
    )
    summed = []

    def noted(rows, form, scores, split):
        summed.append(scores)
        return losses_of_parts(rows, form, scores, split)

    monkeypatch.setattr("sklearn_ilvae.stein.selection.folds.losses_of_parts", noted)
    for choice in choices:
        mean = frame.weights @ choice.losses / frame.weights.sum()
        assert choice.loss == pytest.approx(float(mean), rel=1e-9)
    assert summed == [frame.bases[choice.base].without for choice in choices]


@pytest.mark.parametrize(
    ("n", "seed", "form", "bandwidth"),
    [(40, 4, "diagonal", "median"), (12, 2, "auto", "auto")],
)
def test_without_a_base_there_is_always_a_kernel_part(n, seed, form, bandwidth):
    """The true score of these rows is 0: it gains next to nothing."""
    x = torch.rand(n, 2, generator=torch.Generator().manual_seed(seed)).double()
    model, report = fit_score(
        x, Settings("rbf", form, bandwidth, base=None, n_landmarks=10)
    )
    assert report.kernel == "rbf"
    assert model.score(x).abs().max() > 0


def test_the_published_ridge_is_the_strength_of_tikhonov_times_the_rows():
    x, given = banana(60, 0), {"kernel": "rbf", "bandwidth": "median"}
    _, published = fit_score(x, Settings(**given, method="stein"))
    same = {"form": "diagonal", "base": None, "method": "tikhonov"}
    _, tikhonov = fit_score(x, Settings(**given, **same))
    assert published.regularization == pytest.approx(60 * tikhonov.regularization)


def test_a_published_ridge_is_searched_with_as_the_strength_of_tikhonov():
    x = banana(30, 0)
    _, published = fit_score(x, Settings("rbf", method="stein", regularization=0.3))
    same = {"form": "diagonal", "base": None, "method": "tikhonov"}
    _, tikhonov = fit_score(x, Settings("rbf", regularization=0.01, **same))
    torch.testing.assert_close(published.bandwidth, tikhonov.bandwidth)


def test_settings_compared_keep_no_fits_in_memory(monkeypatch):
    """A search compares dozens: their fits together are many times a wide sample."""
    built, build = [], Candidate.build

    def noted(candidate, landmarks):
        form = build(candidate, landmarks)
        built.append(weakref.ref(form))
        return form

    monkeypatch.setattr(Candidate, "build", noted)
    frame = frame_of(banana(300, 0))
    candidates = [Candidate("rbf", form, 1.0) for form in ("diagonal", "curl_free")]
    choices = cross_validate(
        frame, candidates, frame.rows.lowest_ranks(50), methods=("tikhonov",)
    )
    assert len(built) > len(candidates)
    assert not any(form() for form in built)
    for choice in choices:
        mean = frame.weights @ choice.losses / frame.weights.sum()
        assert choice.loss == pytest.approx(float(mean), rel=1e-9)
