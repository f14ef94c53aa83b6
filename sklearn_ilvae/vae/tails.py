"""A scale that is linear near zero and logarithmic far out.

It tames heavy tails as clipping does, but is one-to-one: likelihoods stay exact and the
inverse exists.
"""

import torch
from torch import Tensor

LINEAR_RANGE = 3.0
"""Standard deviations beyond which the scale turns logarithmic."""


def tamed(values: Tensor) -> Tensor:
    """Return standardised values on the scale, NaN where missing.

    Examples
    --------
    >>> import torch
    >>> from sklearn_ilvae.vae.tails import tamed, untamed
    >>> values = torch.tensor([-2.0, 3.0, 1000.0])
    >>> tamed(values)
    tensor([-2.0000,  3.0000,  9.9058])
    >>> untamed(tamed(values)).round()
    tensor([  -2.,    3., 1000.])
    """
    size = values.abs()
    # Few are: a logarithm of every value would cost more.
    outside = (size > LINEAR_RANGE).nonzero(as_tuple=True)
    largest = torch.finfo(values.dtype).max
    beyond = size[outside].clamp(max=largest) - LINEAR_RANGE
    result = values.clone()
    result[outside] = torch.copysign(LINEAR_RANGE + beyond.log1p(), values[outside])
    return result


def untamed(values: Tensor) -> Tensor:
    """Undo `tamed`."""
    size = values.abs()
    beyond = (size - LINEAR_RANGE).clamp(min=0)
    return values.sign() * (size.clamp(max=LINEAR_RANGE) + beyond.expm1())


def log_slopes_of_tamed(values: Tensor) -> Tensor:
    """Return the log-slope of `tamed` where it is `values`: at most 0, 0 for NaN."""
    size = values.abs()
    return torch.where(size > LINEAR_RANGE, LINEAR_RANGE - size, 0)
