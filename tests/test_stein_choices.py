"""What a search compares, and by how many standard errors it tells things apart."""

import math
from dataclasses import replace

import pytest
import torch
from samples import points, two_clusters

from sklearn_ilvae.stein import Settings
from sklearn_ilvae.stein.fitting import fit_cross_validated
from sklearn_ilvae.stein.sample.reading import read_rows
from sklearn_ilvae.stein.sample.splits import split_rows
from sklearn_ilvae.stein.selection import refinement
from sklearn_ilvae.stein.selection.candidates import Candidate, Neighbourhood
from sklearn_ilvae.stein.selection.comparison import Choice, close_to, mean_and_error
from sklearn_ilvae.stein.selection.cross_validation import cross_validate, strengths_of
from sklearn_ilvae.stein.selection.frames import (
    COMMON_SCALE,
    OWN_SCALES,
    in_all_scalings,
    make_frame,
)
from sklearn_ilvae.stein.selection.options import options_of
from sklearn_ilvae.stein.selection.search import Found, Search

ALL = ("gaussian", "student_t", "mixture")
NARROW = Candidate("rbf", "diagonal", 1.0)
WIDE = Candidate("rbf", "diagonal", 2.0)


def rows_of(x: torch.Tensor):
    generator = torch.Generator().manual_seed(0)
    return read_rows(x, generator=generator, device=torch.device("cpu"))


def frame_of(x: torch.Tensor, base: str = "gaussian"):
    rows = rows_of(x)
    return make_frame(rows, split_rows(rows), (base,), 0)


def search_of(n: int, base: str = "gaussian") -> Search:
    rows = rows_of(two_clusters(n, 0)[0])
    return Search(rows, options_of(Settings(base=base), n, n), 0)


def worse(losses: torch.Tensor, by: float, weights=None) -> torch.Tensor:
    """Return losses that are greater by a number of standard errors."""
    weights = torch.ones_like(losses) if weights is None else weights
    wave = torch.linspace(0.0, 2.0 * math.pi, len(losses)).double().sin()
    wave = wave - weights @ wave / weights.sum()
    return losses + by * mean_and_error(wave[:, None], weights)[1] + wave


def choice(candidate: Candidate, losses: torch.Tensor, weights=None) -> Choice:
    weights = torch.ones_like(losses) if weights is None else weights
    mean = float(weights @ losses / weights.sum())
    return Choice(candidate, "gaussian", "tikhonov", 1e-3, mean, 1.0, lambda: losses)


@pytest.mark.parametrize(("by", "kept"), [(1.9, True), (2.1, False)])
def test_settings_within_two_standard_errors_are_as_good(by, kept):
    """Of each other candidate of the same form the best setting counts, by weight."""
    weights = torch.linspace(0.1, 4.0, 60).double()
    zeros = torch.zeros(60).double()
    best = choice(NARROW, zeros, weights)
    rival, behind = (
        choice(WIDE, worse(zeros, more, weights), weights) for more in (by, 9.0)
    )
    other = choice(replace(WIDE, form="curl_free"), zeros + 1e-9, weights)
    same = choice(NARROW, zeros + 1e-9, weights)
    found = close_to(best, [best, same, behind, other, rival], weights, 2)
    assert len(found) == kept
    assert all(each is rival for each in found)


@pytest.mark.parametrize(
    ("base", "by", "kept"),
    [
        ("gaussian", 2.2, False),
        ("gaussian", 2.6, True),
        ("mixture", 1.9, False),
        ("mixture", 2.2, True),
    ],
)
def test_a_kernel_part_must_be_better_than_a_base_by_what_that_claims(base, by, kept):
    """By two standard errors for a mixture, and ``√log n``, here 2.39, for others."""
    frame = frame_of(two_clusters(300, 0)[0], base)
    landmarks, methods = frame.rows.lowest_ranks(20), ("tikhonov",)
    (found,) = cross_validate(frame, [NARROW], landmarks, methods=methods)
    rival = replace(frame.bases[base], losses=worse(found.losses, by))
    frame = replace(frame, bases={base: rival})
    _, report = fit_cross_validated(frame, NARROW, landmarks, methods)
    assert (report.kernel is not None) is kept


@pytest.mark.parametrize(
    ("student", "mixture", "best"),
    [
        (0.9, 0.9, "gaussian"),
        (1.5, 0.9, "student_t"),
        (0.9, 1.2, "mixture"),
        (1.1, 1.1, "mixture"),
    ],
)
def test_a_family_is_better_than_the_best_before_by_one_standard_error(
    student, mixture, best
):
    search = search_of(60)
    frame = search.frames[OWN_SCALES]
    base = frame.bases["gaussian"]
    third = torch.zeros(60).double()
    second = worse(third, mixture)
    losses = (worse(second, student), second, third)
    bases = {
        name: replace(base, name=name, losses=each)
        for name, each in zip(ALL, losses, strict=True)
    }
    search.frames[OWN_SCALES] = replace(frame, bases=bases)
    assert search._best_base_alone() == best


@pytest.mark.parametrize(("n", "narrowest"), [(999, 1 / 4), (1000, 1 / 16)])
def test_from_a_thousand_rows_on_narrower_kernels_are_tried(n, narrowest):
    assert search_of(n).neighbourhood.narrowest == narrowest


@pytest.mark.parametrize(("by", "again"), [(1.9, False), (2.1, True)])
def test_a_search_begins_again_where_a_narrow_kernel_is_surely_better(
    monkeypatch, by, again
):
    """A quarter of the median distance, the limit for few rows, is not narrow."""
    search, begun = search_of(600), []
    median = search.neighbourhood.medians[OWN_SCALES]
    zeros = torch.zeros(600).double()
    narrow = choice(replace(NARROW, bandwidth=median / 16), zeros)
    wide = choice(replace(WIDE, bandwidth=median / 4), worse(zeros, by))
    monkeypatch.setattr(search, "choices", [wide])
    monkeypatch.setattr(search, "_compare", lambda _: [narrow])
    monkeypatch.setattr(search, "_descend_from", begun.extend)
    search._search_again_if_narrow()
    starts = {each for group in begun for each in group}
    assert ({narrow.candidate, wide.candidate} <= starts) is again
    assert len(search.landmarks) == (500 if again else 200)
    assert search.neighbourhood.narrowest == (1 / 16 if again else 1 / 4)
    assert search.choices == ([] if again else [wide])


@pytest.mark.parametrize(("by", "suffice"), [(0.9, True), (1.1, False)])
def test_many_rows_show_by_one_standard_error_that_bases_do_not_suffice(by, suffice):
    frame = frame_of(points(60, 2, 0))
    base, zeros = frame.bases["gaussian"], torch.zeros(60).double()
    bases = {
        "gaussian": replace(base, losses=worse(zeros, 9.0)),
        "student_t": replace(base, losses=worse(zeros, by)),
    }
    best = choice(NARROW, zeros)
    assert refinement._bases_suffice(replace(frame, bases=bases), best) is suffice
    assert not refinement._bases_suffice(replace(frame, bases={"none": base}), best)


@pytest.mark.parametrize(
    ("most", "seen", "held_out"), [(600, 600, 120), (200, 200, 40), (900, 600, 120)]
)
def test_a_refinement_holds_out_a_fifth_of_the_rows_it_sees(
    monkeypatch, most, seen, held_out
):
    """Or as many as it may, and none of them is a landmark."""
    monkeypatch.setattr(refinement, "REFINEMENT_ROWS", most)
    frame, landmarks = frames_of_a_refinement(monkeypatch, OWN_SCALES)
    assert len(frame.rows) == seen
    assert len(frame.split.validated) == held_out
    assert sorted([*frame.split.validated, *landmarks]) == [*range(seen)]
    monkeypatch.setattr(refinement, "REFINEMENT_HELD_OUT", 30)
    frame, _ = frames_of_a_refinement(monkeypatch, OWN_SCALES)
    assert len(frame.split.validated) == 30


def test_a_refinement_is_in_the_scaling_of_what_was_found(monkeypatch):
    own, common = (
        frames_of_a_refinement(monkeypatch, scaling)[0].rows.scale
        for scaling in (OWN_SCALES, COMMON_SCALE)
    )
    assert own.max() > 4 * own.min()
    assert common.max() == pytest.approx(float(common.min()))


def frames_of_a_refinement(monkeypatch, scaling: str):
    """Return the frame and the landmarks in which 600 rows are compared again."""
    found = []

    def compared(start, neighbourhood, frame, landmarks, options):
        found.extend([frame, landmarks])
        return choice(NARROW, torch.zeros(len(frame.split.validated)).double())

    monkeypatch.setattr(refinement, "_best_near", compared)
    rows = rows_of(points(600, 2, 0) * torch.tensor([1.0, 5.0]).double())
    space = Neighbourhood(("rbf",), ("diagonal",), {scaling: 1.0}, True, 0.25)
    before = Found(replace(NARROW, scaling=scaling), "gaussian", "gaussian", [])
    options = options_of(Settings(base="gaussian"), 600, 600)
    refinement.refine(before, space, rows, options, 10**6, 0)
    return found


def test_a_refinement_goes_where_losses_fall_with_the_base_that_is_best(monkeypatch):
    """From both forms of half a bandwidth and of itself, then in the better form."""
    tried, forms, bases = [], ["diagonal", "curl_free"], ["gaussian", "mixture"]

    def losses(frame, candidates, landmarks, **_):
        width, names = candidates[0].bandwidth, [*frame.bases]
        tried.append((width, [each.form for each in candidates], names))
        return [
            replace(
                choice(each, torch.zeros(1)),
                base=name,
                loss=abs(math.log2(width / 4))
                + 0.1 * (each.form == "diagonal")
                + 0.1 * (name == "mixture"),
            )
            for each in candidates
            for name in names
        ]

    monkeypatch.setattr(refinement, "cross_validate", losses)
    space = Neighbourhood(("rbf",), tuple(forms), {OWN_SCALES: 1.0}, True, 0.25)
    frame = frame_of(points(60, 2, 0))
    frame = replace(frame, bases=dict.fromkeys(bases, frame.bases["gaussian"]))
    landmarks, options = torch.arange(9), options_of(Settings(), 60, 60)
    best = refinement._best_near(NARROW, space, frame, landmarks, options)
    assert best.candidate == Candidate("rbf", "curl_free", 4.0)
    assert tried == [
        *((width, forms, bases) for width in (0.5, 1.0)),
        *((width, ["curl_free"], ["gaussian"]) for width in (2.0, 4.0, 8.0)),
    ]


@pytest.mark.parametrize(("ratio", "count"), [(1.1, 1), (1.3, 2), (80, 2), (150, 1)])
def test_one_scale_is_compared_where_those_of_columns_differ_but_not_too_much(
    ratio, count
):
    x = points(100, 2, 0)
    x = x / x.std(0) * torch.tensor([1.0, ratio]).double()
    assert len(in_all_scalings(frame_of(x))) == count


def test_bandwidths_go_as_far_as_their_limits_and_no_further():
    space = Neighbourhood(("rbf",), ("diagonal",), {OWN_SCALES: 3.0}, True, 0.25)

    def reached(factor: float, step: float) -> list[float]:
        here = Candidate("rbf", "diagonal", 3.0 * factor)
        return [each.bandwidth for each in space.at_multiples(here, step)]

    assert reached(0.5, 0.5) == [0.75]
    assert reached(0.25, 0.5) == []
    assert reached(8.0, 2.0) == [48.0]
    assert reached(16.0, 2.0) == []


GIVEN = {"kernel": "rbf", "form": "diagonal", "bandwidth": 1.0}
FILTERS = ("tikhonov", "spectral_cutoff")


@pytest.mark.parametrize(
    ("given", "bases", "methods"),
    [
        ({}, ALL, FILTERS),
        (GIVEN, ALL, FILTERS),
        ({"regularization": 0.1}, ALL, FILTERS[:1]),
        ({**GIVEN, "regularization": 0.1}, ("gaussian",), FILTERS[:1]),
        ({"base": None}, ("none",), FILTERS),
        ({"method": "stein"}, ("none",), FILTERS[:1]),
    ],
)
def test_what_is_left_open_is_compared(given, bases, methods):
    """The number of distinct rows counts for it, not how often they are repeated."""
    options = options_of(Settings(**given), 300, 1e6)
    assert (options.bases, options.methods) == (bases, methods)
    assert options.sees_all


@pytest.mark.parametrize(
    ("method", "n", "least"),
    [("tikhonov", 100, 1e-5), ("tikhonov", 1000, 10**-7.5), ("nu", 10**4, 1e-7)],
)
def test_no_strength_is_weaker_than_its_rate_or_than_can_be_afforded(method, n, least):
    form = Candidate("rbf", "curl_free", 0.5).build(points(4, 3, 0))
    shares = strengths_of(method, form, n, None) / form.trace()
    assert least <= float(shares.min()) < least * 10**0.6
    assert strengths_of(method, form, n, 1e-9).tolist() == [1e-9]


def test_losses_do_not_depend_on_how_many_rows_are_evaluated_at_once(monkeypatch):
    frame = frame_of(two_clusters(100, 0)[0])

    def losses():
        landmarks = frame.rows.lowest_ranks(30)
        found = cross_validate(frame, [NARROW], landmarks, methods=FILTERS)
        means = torch.tensor([each.loss for each in found]).double()
        return torch.cat([means, *(each.losses for each in found)])

    together = losses()
    monkeypatch.setattr("sklearn_ilvae.stein.selection.folds.CHUNK_ROWS", 7)
    torch.testing.assert_close(losses(), together, rtol=1e-9, atol=1e-9)


def test_filters_compared_together_are_told_apart():
    """A cut-off has as many degrees of freedom as fields that it keeps, in each fold.

    And the losses of rows are those of the same fit as their mean.
    """
    frame = frame_of(two_clusters(100, 0)[0])
    choices = cross_validate(
        frame, [NARROW], frame.rows.lowest_ranks(30), methods=FILTERS
    )
    for found in choices:
        mean = frame.weights @ found.losses / frame.weights.sum()
        assert found.loss == pytest.approx(float(mean), rel=1e-9)
    kept = [each.degrees_of_freedom * frame.split.n_held_out / 2 for each in choices]
    assert kept[0] != pytest.approx(round(kept[0]), abs=1e-6)
    assert kept[1] == pytest.approx(round(kept[1]), abs=1e-9)
