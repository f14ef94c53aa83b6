"""The symmetric logarithmic scale: linear near zero and logarithmic far out.

It limits the effect of heavy tails as clipping does. But it is one-to-one, so
likelihoods stay exact and values can be given back.
"""

import torch
from torch import Tensor

LINEAR_RANGE = 3.0
"""Standard deviations beyond which the scale turns logarithmic."""


def symlog(values: Tensor) -> Tensor:
    """Return standardised values on the scale, NaN where missing.

    Examples
    --------
    >>> import torch
    >>> from sklearn_ilvae.vae.symlog import symlog, symexp
    >>> values = torch.tensor([-2.0, 3.0, 1000.0])
    >>> symlog(values)
    tensor([-2.0000,  3.0000,  9.9058])
    >>> symexp(symlog(values)).round()
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


def symexp(values: Tensor) -> Tensor:
    """Return the values on the linear scale: the inverse of `symlog`."""
    size = values.abs()
    beyond = (size - LINEAR_RANGE).clamp(min=0)
    return values.sign() * (size.clamp(max=LINEAR_RANGE) + beyond.expm1())


def symlog_log_slopes(values: Tensor) -> Tensor:
    """Return ``log symlog′(x)`` of ``symlog(x) = values``: at most 0, 0 for NaN."""
    size = values.abs()
    return torch.where(size > LINEAR_RANGE, LINEAR_RANGE - size, 0)
