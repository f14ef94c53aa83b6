"""Radial kernels with their derivatives in closed form."""

import math
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from ..products import inner_products

LARGEST_EXPONENT = 300.0
"""Of the Gaussian kernel, which is 0 from there on: exp(−300) is below any rounding.

Its square is still a normal number: denormal ones would slow every later product down
by an order of magnitude.
"""

ROWS_OF_A_TRIANGLE = 128
"""Rows whose pairs are picked one by one from the matrix of all.

That takes longer than to compute them, so that blocks of more rows are taken whole.
"""


@dataclass(frozen=True)
class Kernel:
    """A radial kernel ``k(x, y) = φ(‖x − y‖²)`` with ``φ(0) = 1``.

    Attributes
    ----------
    bandwidth : float
        Length scale, in the units of the points.
    """

    bandwidth: float

    def __post_init__(self) -> None:
        if not 0.0 < self.bandwidth < math.inf:
            raise ValueError(
                f"bandwidth={self.bandwidth!r} is not allowed; choose a positive number"
            )

    def with_bandwidth(self, bandwidth: float) -> Self:
        """Return the kernel of the same family with another bandwidth."""
        return replace(self, bandwidth=bandwidth)

    def value(self, squared_distance: Tensor) -> Tensor:
        """Return ``φ``, elementwise."""
        return self.value_(squared_distance.clone())

    def value_(self, squared_distance: Tensor) -> Tensor:
        """Return ``φ`` in the memory of its argument, which saves most of the time."""
        raise NotImplementedError

    def first_derivative(self, value: Tensor) -> Tensor:
        """Return ``φ'`` from ``φ``, elementwise."""
        raise NotImplementedError

    def derivatives(self, squared_distance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return ``φ``, ``φ'`` and ``φ''``, the derivatives taken in ``r²``."""
        raise NotImplementedError


@dataclass(frozen=True)
class RBF(Kernel):
    """Gaussian kernel ``exp(−‖x − y‖² / (2 h²))`` of bandwidth ``h``.

    Examples
    --------
    >>> import torch
    >>> from sklearn_ilvae.stein import RBF
    >>> RBF(bandwidth=2.0).value(torch.tensor([0.0, 8.0]))
    tensor([1.0000, 0.3679])
    """

    def value_(self, squared_distance: Tensor) -> Tensor:
        """Return ``φ``, elementwise, in the memory of its argument."""
        exponent = squared_distance.mul_(-0.5 / self.bandwidth**2)
        return torch.threshold_(exponent, -LARGEST_EXPONENT, -torch.inf).exp_()

    def first_derivative(self, value: Tensor) -> Tensor:
        """Return ``φ' = −φ / (2 h²)``, elementwise."""
        return value * (-0.5 / self.bandwidth**2)

    def derivatives(self, squared_distance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return ``φ``, ``φ'`` and ``φ''``, elementwise."""
        value = self.value(squared_distance)
        first = self.first_derivative(value)
        return value, first, self.first_derivative(first)


@dataclass(frozen=True)
class InverseMultiquadric(Kernel):
    """Kernel ``(1 + ‖x − y‖² / h²)^(−1/2)`` of bandwidth ``h``.

    Examples
    --------
    >>> import torch
    >>> from sklearn_ilvae.stein import InverseMultiquadric
    >>> InverseMultiquadric(bandwidth=2.0).value(torch.tensor([0.0, 12.0]))
    tensor([1.0000, 0.5000])
    """

    def value_(self, squared_distance: Tensor) -> Tensor:
        """Return ``φ``, elementwise, in the memory of its argument."""
        return squared_distance.mul_(self.bandwidth**-2).add_(1.0).rsqrt_()

    def first_derivative(self, value: Tensor) -> Tensor:
        """Return ``φ' = −φ³ / (2 h²)``, elementwise."""
        return value.pow(3).mul_(-0.5 / self.bandwidth**2)

    def derivatives(self, squared_distance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return ``φ``, ``φ'`` and ``φ''``, elementwise."""
        value = self.value(squared_distance)
        first = self.first_derivative(value)
        # A fifth power would be far slower.
        second = first * value.square() * (-1.5 / self.bandwidth**2)
        return value, first, second


KERNELS: dict[str, type[Kernel]] = {
    "rbf": RBF,
    "inverse_multiquadric": InverseMultiquadric,
}


def make_kernel(name: str, bandwidth: float) -> Kernel:
    """Return the kernel called `name` with the given `bandwidth`.

    Parameters
    ----------
    name : {"rbf", "inverse_multiquadric"}
        Family of the kernel.
    bandwidth : float
        Positive length scale.

    Returns
    -------
    kernel : Kernel
        The kernel.
    """
    if name not in sorted(KERNELS):  # not all that is no name has a hash
        raise ValueError(f"kernel={name!r} is unknown; choose one of {sorted(KERNELS)}")
    return KERNELS[name](float(bandwidth))


def unit_of_length(size: float) -> float:
    """Return the power of two at or below a size: to divide by it rounds nothing.

    In such units the squares of lengths about that size neither vanish nor overflow.
    """
    return math.ldexp(1.0, math.frexp(size)[1] - 1)


def squared_distances(X: Tensor, Y: Tensor) -> Tensor:
    """Return all squared Euclidean distances between rows, by one matrix product.

    Parameters
    ----------
    X : Tensor of shape (..., n, d)
    Y : Tensor of shape (..., m, d)

    Returns
    -------
    squared_distance : Tensor of shape (..., n, m)
        Finite: times a kernel that vanishes there infinity would not be 0.
    """
    left = torch.cat([-2.0 * X, _squared_length(X), torch.ones_like(X[..., :1])], -1)
    right = torch.cat([Y, torch.ones_like(Y[..., :1]), _squared_length(Y)], -1)
    product = left @ right.mT
    largest = torch.finfo(product.dtype).max
    # Autograd needs the product untouched; elsewhere a second copy is waste.
    clamp = product.clamp if product.requires_grad else product.clamp_
    return clamp(min=0.0, max=largest)


def median_distance(X: Tensor) -> float:
    """Return the median distance between rows, of all sets of rows together.

    Parameters
    ----------
    X : Tensor of shape (..., n, d)
        At least two rows.

    Returns
    -------
    distance : float
    """
    return float(torch.cat(_squared_distances_of_pairs(X)).median().sqrt())


def _squared_distances_of_pairs(X: Tensor) -> list[Tensor]:
    """Return those of all pairs of rows: of two halves, and of the pairs in each."""
    n = X.shape[-2]
    if n <= ROWS_OF_A_TRIANGLE:
        upper = torch.triu_indices(n, n, 1, device=X.device)
        return [squared_distances(X, X)[..., upper[0], upper[1]].flatten()]
    first, second = X.tensor_split(2, -2)
    return [
        squared_distances(first, second).flatten(),
        *_squared_distances_of_pairs(first),
        *_squared_distances_of_pairs(second),
    ]


def _squared_length(X: Tensor) -> Tensor:
    return inner_products(X, X)[..., None]


def kernel_matrix(kernel: Kernel, X: Tensor, Y: Tensor) -> Tensor:
    """Return ``k(x_i, y_j)``.

    Parameters
    ----------
    kernel : Kernel
    X : Tensor of shape (..., n, d)
    Y : Tensor of shape (..., m, d)

    Returns
    -------
    K : Tensor of shape (..., n, m)
    """
    return kernel.value_(squared_distances(X, Y))


def kernel_gradient(kernel: Kernel, X: Tensor, Y: Tensor) -> Tensor:
    """Return ``∇ₓ k(x_i, y_j) = 2 φ'(r²) (x_i − y_j)``.

    Parameters
    ----------
    kernel : Kernel
    X : Tensor of shape (n, d)
    Y : Tensor of shape (m, d)

    Returns
    -------
    gradient : Tensor of shape (n, m, d)
    """
    difference = X[:, None, :] - Y[None, :, :]
    _, first, _ = kernel.derivatives(difference.square().sum(-1))
    return 2.0 * first[..., None] * difference
