"""The symmetric logarithmic scale of values far out."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_ilvae.vae.symlog import LINEAR_RANGE, symexp, symlog, symlog_log_slopes

ANY_NUMBERS = st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=20)


def tensor_of(numbers: list[float]) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


@settings(deadline=None)
@given(ANY_NUMBERS)
def test_symexp_undoes_symlog(numbers: list[float]) -> None:
    values = tensor_of(numbers)
    torch.testing.assert_close(symexp(symlog(values)), values, rtol=1e-12, atol=1e-12)


@settings(deadline=None)
@given(ANY_NUMBERS)
def test_the_scale_is_odd_rises_and_leaves_small_values_alone(
    numbers: list[float],
) -> None:
    values = tensor_of(numbers).sort().values
    result = symlog(values)
    small = values.abs() <= LINEAR_RANGE
    assert torch.equal(symlog(-values), -result)
    assert torch.equal(result[small], values[small])
    assert (result.diff() >= 0).all()
    assert (result.abs() <= values.abs()).all()


@settings(deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20))
def test_log_slopes_are_those_of_the_scale(numbers: list[float]) -> None:
    values = tensor_of(numbers).requires_grad_()
    result = symlog(values)
    (slopes,) = torch.autograd.grad(result.sum(), values)
    found = symlog_log_slopes(result.detach())
    torch.testing.assert_close(found, slopes.log(), rtol=1e-9, atol=1e-9)


def test_missing_values_stay_missing_and_add_no_slope() -> None:
    values = tensor_of([torch.nan, 1.0, 100.0])
    result = symlog(values)
    assert result.isnan().tolist() == [True, False, False]
    assert symlog_log_slopes(result)[0] == 0


def test_infinite_values_are_taken_for_the_largest_number() -> None:
    largest = torch.finfo(torch.float64).max
    assert torch.equal(
        symlog(tensor_of([-torch.inf, torch.inf])),
        symlog(tensor_of([-largest, largest])),
    )
