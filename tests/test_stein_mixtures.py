"""Starts, steps and choice of the components of a mixture."""

import pytest
import torch
from samples import points
from torch.testing import assert_close

from sklearn_ilvae.stein.bases.mixture import (
    Components,
    fit_components,
    fit_like,
    run_em,
)

IDENTITY = torch.eye(2, dtype=torch.float64)


def equal_weights(V: torch.Tensor) -> torch.Tensor:
    return torch.full((len(V),), 1.0 / len(V), dtype=torch.float64)


def responsibilities(n_starts: int, n: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(3, (n_starts, n), generator=generator)
    return torch.nn.functional.one_hot(labels, 3).mT.double()


def test_a_gaussian_is_rarely_taken_for_a_mixture():
    generator = torch.Generator().manual_seed(0)
    samples = [points(100, 2, seed) for seed in range(10)]
    found = [fit_components(V, equal_weights(V), IDENTITY, generator) for V in samples]
    assert sum(each is not None for each in found) <= 1


def test_clusters_far_apart_are_all_found_whatever_the_draws():
    places = 30.0 * torch.cartesian_prod(torch.arange(4), torch.arange(2)).double()
    V = points(160, 2, 0) + places.repeat(20, 1)
    like = Components(torch.ones(8), places, IDENTITY.expand(8, 2, 2), tied=True)
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        found = fit_like(like, V, equal_weights(V), IDENTITY, generator)
        assert torch.cdist(places, found.centers).amin(1).max() < 1.0


def test_rows_of_weight_zero_are_none_of_those_of_a_mixture():
    V, start = points(60, 2, 0), responsibilities(1, 60)[0]
    weights = equal_weights(V) * (torch.arange(60) < 30)
    found, _ = run_em(V, weights, start, IDENTITY, tied=False)
    alone, _ = run_em(V[:30], weights[:30], start[:, :30], IDENTITY, tied=False)
    assert_close(found.centers, alone.centers)
    assert_close(found.covariances, alone.covariances)


@pytest.mark.parametrize("tied", [True, False])
def test_runs_side_by_side_end_as_each_does_alone(tied):
    V, starts = points(60, 2, 0), responsibilities(4, 60)
    V = V + 6.0 * (torch.arange(60) % 3)[:, None]
    together, likelihoods = run_em(V, equal_weights(V), starts, IDENTITY, tied=tied)
    for place, start in enumerate(starts):
        alone, likelihood = run_em(V, equal_weights(V), start, IDENTITY, tied=tied)
        assert_close(together.centers[place], alone.centers)
        assert_close(likelihoods[place], likelihood)
