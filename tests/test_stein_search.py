"""The search of many rows, with the numbers that count as many made small."""

import pytest
import torch
from samples import points

from sklearn_ilvae.stein import Settings, fit_score
from sklearn_ilvae.stein.sample.reading import read_rows
from sklearn_ilvae.stein.sample.splits import split_rows
from sklearn_ilvae.stein.selection.frames import OWN_SCALES
from sklearn_ilvae.stein.selection.options import options_of
from sklearn_ilvae.stein.selection.search import Search

SMALL = {
    "selection.search.SUBSET_ROWS": 200,
    "selection.options.MANY_ROWS": 400,
    "selection.refinement.REFINEMENT_ROWS": 600,
    "selection.refinement.REFINEMENT_HELD_OUT": 150,
    "sample.splits.MOST_ROWS_IN_FOLDS": 300,
    "sample.splits.HELD_OUT_ROWS": 250,
}


@pytest.fixture(autouse=True)
def few_rows_are_many(monkeypatch):
    for name, value in SMALL.items():
        monkeypatch.setattr(f"sklearn_ilvae.stein.{name}", value)


def ring(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a blurred circle and its score, near enough."""
    x = points(n, 2, seed)
    x = x / x.norm(dim=1, keepdim=True) * (2.0 + 0.4 * points(n, 1, seed + 1))
    r = x.norm(dim=1, keepdim=True)
    return x, (-(r - 2.0) / 0.16 - 1.0 / r) * x / r


@pytest.mark.parametrize("n", [300, 900])
def test_rows_that_no_kernel_helps_are_not_passed_over_again(monkeypatch, n):
    def pass_over_all_rows(*_, **__):
        raise AssertionError("the search had found that the base suffices")

    monkeypatch.setattr(
        "sklearn_ilvae.stein.fitting.KernelFit.__init__", pass_over_all_rows
    )
    model, report = fit_score(points(n, 2, 0))
    assert model.form is None
    assert report.kernel is None
    assert report.loss == report.base_loss


@pytest.mark.parametrize("form", ["diagonal", "curl_free"])
def test_a_kernel_that_helps_is_found_and_fitted_to_all_rows(form):
    x, _ = ring(1500, 0)
    fresh, truth = ring(500, 10)
    model, report = fit_score(x, Settings(form=form, base="gaussian"))
    assert report.form == form
    assert report.loss < report.base_loss
    error = (model.score(fresh) - truth).square().sum() / truth.square().sum()
    assert float(error) < 0.15


def test_landmarks_are_none_of_the_rows_held_out():
    """A kernel centred at a held-out row would see it at distance 0."""
    x, _ = ring(1200, 0)
    model, _ = fit_score(x, Settings(base="gaussian", n_landmarks="all"))
    rows = read_rows(
        x, generator=torch.Generator().manual_seed(0), device=torch.device("cpu")
    )
    held_out = rows.read(split_rows(rows).positions(0))
    landmarks = model.form.landmarks / model.inverse_scale * rows.inverse_scale
    assert len(held_out) == 250
    assert len(landmarks) == len(x) - 250
    assert float(torch.cdist(held_out, landmarks).min()) > 1e-9


@pytest.mark.parametrize("n", [300, 900])
def test_a_given_strength_always_has_a_kernel_part(n):
    given = Settings("rbf", form="diagonal", base="gaussian", regularization=0.1)
    _, report = fit_score(points(n, 2, 0), given)
    assert report.kernel == "rbf"
    assert report.regularization == 0.1


def test_bandwidths_are_multiples_of_the_median_distance_of_all_rows():
    x = points(900, 2, 0)
    generator = torch.Generator().manual_seed(0)
    rows = read_rows(x, generator=generator, device=torch.device("cpu"))
    options = options_of(Settings(base="gaussian"), len(rows), len(rows))
    search = Search(rows, options, 0)
    assert len(search.seen) == 200
    expected = float(torch.pdist(rows.read(slice(None))).median())
    assert search.neighbourhood.medians[OWN_SCALES] == pytest.approx(expected)
