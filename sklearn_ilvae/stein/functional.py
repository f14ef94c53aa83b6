"""Differentiable Stein estimates, to train samplers whose density is unknown."""

from typing import Any

import torch
from torch import Tensor

from .kernels.published import summed_gradients
from .kernels.radial import (
    kernel_matrix,
    make_kernel,
    median_distance,
    unit_of_length,
)
from .sample.reading import check_tensor
from .settings import is_positive


def stein_score(
    X: Tensor,
    *,
    kernel: str = "rbf",
    bandwidth: str | float = "median",
    regularization: float = 0.1,
) -> Tensor:
    """Return the Stein estimate of the score at the samples themselves.

    ``G = −(K + ηI)⁻¹ ⟨∇, K⟩``, equation 9 of Li & Turner (2018, arXiv 1705.07107), in
    the dtype and on the device of the samples. Autograd flows through it.

    Parameters
    ----------
    X : Tensor of shape (..., n, d)
        Samples; leading dimensions are independent sets of samples.
    kernel : {"rbf", "inverse_multiquadric"}, default="rbf"
        Kernel.
    bandwidth : "median" or float, default="median"
        Bandwidth; ``"median"`` is the median distance between samples, of all sets
        together, and is held constant in differentiation.
    regularization : float, default=0.1
        The ridge ``η > 0``.

    Returns
    -------
    score : Tensor of shape (..., n, d)
        Estimates of ``∇ₓ log q(x)``.

    Raises
    ------
    TypeError, ValueError
        For samples that are no finite tensor of at least two rows in single or double
        precision, for a bandwidth or a ridge that is not positive, and for a ridge that
        is too small to solve for the score in that precision.

    Examples
    --------
    >>> import torch
    >>> from sklearn_ilvae import stein
    >>> X = torch.randn(200, 2, generator=torch.Generator().manual_seed(0)).double()
    >>> stein.stein_score(X).shape
    torch.Size([200, 2])
    """
    _check_samples(X)
    _check_number("regularization", regularization, X, "")
    width = width_of(bandwidth, X)
    unit = unit_of_length(width)
    function = make_kernel(kernel, width / unit)
    # Distances do not change with the origin, and are exact near it. In units of the
    # bandwidth their squares neither vanish nor overflow.
    centered = (X - X.detach().mean(-2, keepdim=True)) / unit
    identity = torch.eye(X.shape[-2], dtype=X.dtype, device=X.device)
    matrix = kernel_matrix(function, centered, centered) + regularization * identity
    root, failed = torch.linalg.cholesky_ex(matrix)
    summed = summed_gradients(function, centered)
    score = -torch.cholesky_solve(summed, root) / unit
    if not matrix.isfinite().all():
        raise ValueError(
            f"the squares of distances between samples, up to "
            f"{float(centered.abs().max()):.3g} bandwidths, overflow {X.dtype}; choose "
            f"a larger bandwidth than {width:.3g}, such as 'median'"
        )
    if failed.any():
        raise ValueError(
            f"regularization={regularization!r} is too small to invert the kernel "
            f"matrix of {X.shape[-2]} samples in {X.dtype}; choose a larger one, or "
            "pass samples in double precision"
        )
    if not score.isfinite().all():
        raise ValueError(
            f"the score of samples whose bandwidth is {width:.3g} overflows {X.dtype}; "
            "multiply them by a large constant"
        )
    return score


def _check_samples(X: Tensor) -> None:
    """Refuse what is no finite floating-point tensor of at least two samples."""
    check_tensor(X)
    # Torch factorises no matrix in half precision.
    if X.ndim < 2 or X.shape[-1] == 0 or X.dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"X has shape {tuple(X.shape)} and dtype {X.dtype}; pass samples in single "
            "or double precision of shape (..., n, d) with at least one column"
        )
    if X.shape[-2] < 2:
        raise ValueError(
            f"X has {X.shape[-2]} sample(s) along its second last dimension; the score "
            "needs at least 2"
        )
    if not X.isfinite().all():
        raise ValueError(
            "X holds NaN or infinity; if a generator in training drew it, try a "
            "smaller learning rate"
        )


def entropy_surrogate(
    X: Tensor,
    *,
    kernel: str = "rbf",
    bandwidth: str | float = "median",
    regularization: float = 0.1,
) -> Tensor:
    """Return a scalar whose gradient estimates the gradient of the entropy.

    For samples ``x = g(ε)`` of a generator ``∇H = −E[(∂x)ᵀ ∇ₓ log q(x)]``, because the
    score has mean zero (Li & Turner 2018). The scalar is ``−mean(ŝ · x)``
    with the Stein score ``ŝ`` held constant. Its value means nothing; add it to a loss.

    Parameters
    ----------
    X : Tensor of shape (..., n, d)
        Samples that depend on the parameters to train.
    kernel, bandwidth, regularization
        As in `stein_score`.

    Returns
    -------
    surrogate : Tensor of shape ()

    Raises
    ------
    TypeError, ValueError
        As `stein_score`.

    Examples
    --------
    >>> import torch
    >>> from sklearn_ilvae import stein
    >>> X = torch.randn(200, 2, generator=torch.Generator().manual_seed(0)).double()
    >>> scale = torch.ones((), dtype=torch.float64, requires_grad=True)
    >>> stein.entropy_surrogate(scale * X).backward()
    >>> bool(scale.grad > 0)  # a wider sample has more entropy
    True
    """
    with torch.no_grad():
        score = stein_score(
            X, kernel=kernel, bandwidth=bandwidth, regularization=regularization
        )
    return -(score * X).sum(-1).mean()


def width_of(bandwidth: str | float, X: Tensor) -> float:
    """Return a bandwidth as a number.

    Parameters
    ----------
    bandwidth : "median" or float
    X : Tensor of shape (..., n, d)
        Samples whose median distance ``"median"`` stands for.

    Returns
    -------
    width : float
    """
    if isinstance(bandwidth, str) and bandwidth == "median":
        return median_bandwidth(X)
    _check_number("bandwidth", bandwidth, X, "'median' or ")
    return float(bandwidth)


def _check_number(name: str, value: Any, X: Tensor, others: str) -> None:
    """Refuse what is no positive number in the precision of the samples."""
    limits = torch.finfo(X.dtype)
    one = is_positive(value) and not getattr(value, "ndim", 0)
    # A number of NumPy in single precision would round the limits to 0 and infinity.
    if not one or not limits.tiny <= float(value) <= limits.max:
        raise ValueError(
            f"{name}={value!r} is not allowed; choose {others}a positive number, from "
            f"{limits.tiny:.3g} to {limits.max:.3g}"
        )


def median_bandwidth(X: Tensor) -> float:
    """Return the median distance between samples, which must not be 0.

    Parameters
    ----------
    X : Tensor of shape (..., n, d)
        Samples; autograd does not see them.

    Returns
    -------
    bandwidth : float
    """
    points = X.detach()
    centered = points - points.mean(-2, keepdim=True)
    unit = unit_of_length(float(centered.abs().max()))
    median = median_distance(centered / unit) * unit
    if median == 0.0:
        raise ValueError(
            "the median distance between samples is 0, because most are equal; pass "
            "a number as bandwidth"
        )
    return median
