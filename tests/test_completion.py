"""What the linear model of the start expects and draws where values are missing."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from samples import with_gaps

from sklearn_ilvae.vae import LinearCompletion


def linear_completion():
    """Return a completion, its noise and the covariance of its rows."""
    loadings = torch.tensor([[1.0, 0.0], [1.0, 0.5], [0.0, 2.0]]).double()
    noise = torch.tensor([0.1, 0.2, 0.3]).double()
    completion = LinearCompletion(3, 2).double()
    completion.start_at(loadings, noise)
    return completion, noise, loadings @ loadings.T + noise.diag()


def test_a_decoder_too_steep_for_rounding_is_an_error_that_names_its_constant():
    # Powers of two: the second pivot is exactly 0, as 1 is lost beside the squares.
    completion = LinearCompletion(2, 2)
    completion.start_at(torch.full((2, 2), 2.0**30), torch.ones(2))
    with pytest.raises(ValueError, match="smaller inverse_lipschitz"):
        completion(torch.tensor([[1.0, torch.nan]]))


def test_wide_codes_are_completed_a_few_rows_at_a_time(monkeypatch):
    """Each row has a matrix of squared size n_components: not all may be held."""
    completion = LinearCompletion(4, 3).double()
    completion.start_at(torch.randn(4, 3).double(), torch.ones(4).double())
    rows = torch.tensor(with_gaps(np.random.default_rng(0).normal(size=(20, 4)), 0.3))
    whole = completion(rows)
    held, posterior = [], completion._posterior
    monkeypatch.setattr("sklearn_ilvae.vae.completion.PRECISION_NUMBERS", 5 * 3**2)
    monkeypatch.setattr(
        completion, "_posterior", lambda part: held.append(len(part)) or posterior(part)
    )
    torch.testing.assert_close(completion(rows), whole)
    assert max(held) == 5


def test_drawn_values_spread_as_the_linear_model_does():
    generator = torch.Generator().manual_seed(0)
    completion, noise, covariance = linear_completion()
    factor = torch.linalg.cholesky(covariance)
    rows = torch.randn(40_000, 3, generator=generator).double() @ factor.T
    rows[torch.rand(rows.shape, generator=generator) < 0.5] = torch.nan
    drawn = completion.draw(rows, noise, generator)
    assert_array_equal(drawn[~rows.isnan()], rows[~rows.isnan()])
    assert_allclose(drawn.T.cov(), covariance, atol=0.1)


@pytest.mark.parametrize("numbers", [1 << 22, 30])
def test_missing_values_are_expected_with_their_covariance(numbers, monkeypatch):
    monkeypatch.setattr("sklearn_ilvae.vae.completion.EXPECTED_NUMBERS", numbers)
    completion, noise, covariance = linear_completion()
    rows = torch.tensor(with_gaps(np.random.default_rng(0).normal(size=(20, 3)), 0.5))
    shares = torch.arange(20).double()
    filled, unknown = completion.expect(rows, noise, shares)
    total = torch.zeros_like(unknown)
    for row, found, share in zip(rows, filled, shares, strict=True):
        seen, gap = (~row.isnan()).nonzero()[:, 0], row.isnan().nonzero()[:, 0]
        gain = torch.linalg.solve(covariance[seen][:, seen], covariance[seen][:, gap])
        torch.testing.assert_close(found[seen], row[seen])
        torch.testing.assert_close(found[gap], row[seen] @ gain)
        left = covariance[gap][:, gap] - covariance[gap][:, seen] @ gain
        total[gap[:, None], gap] += share * left
    torch.testing.assert_close(unknown, total)


def test_each_coordinate_is_drawn_given_all_others():
    generator = torch.Generator().manual_seed(0)
    completion, noise, covariance = linear_completion()
    row = torch.tensor([1.0, -2.0, 0.5]).double()
    drawn = completion.draw_each(row.repeat(40_000, 1), noise, generator)
    for column, others in enumerate([[1, 2], [0, 2], [0, 1]]):
        between = covariance[others, column]
        slopes = torch.linalg.solve(covariance[others][:, others], between)
        variance = covariance[column, column] - slopes @ between
        assert_allclose(drawn[:, column].mean(), slopes @ row[others], atol=0.02)
        assert_allclose(drawn[:, column].var(), variance, rtol=0.05)
